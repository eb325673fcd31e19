//! `edge-configs/reference.yaml` is held against the code: it loads, shows every key, and every
//! default that it shows is the one that holds. What is mangled of it is refused, never a panic.

#[path = "support/folder.rs"]
mod folder;

use std::collections::BTreeSet;
use std::path::Path;

use folder::Folder;
use forebay_config as config;
use serde_json::Value;

const REFERENCE: &str = include_str!("../../../edge-configs/reference.yaml");

fn parse(text: &str, folder: &Folder) -> Result<config::Region, config::Errors> {
    config::parse(text, Path::new("reference.yaml"), &folder.path().join("edge-configs"))
}

fn meaning(text: &str, folder: &Folder) -> String {
    match parse(text, folder) {
        Ok(region) => format!("{region:#?}"),
        Err(errors) => panic!("{errors}"),
    }
}

fn as_json() -> Value {
    serde_saphyr::from_str(REFERENCE).unwrap()
}

/// One key of the written file, found together with what the schema says of it.
struct Key<'a> {
    /// A JSON pointer into the file.
    pointer: String,
    /// Section and key, such as `Pool.balance`.
    name: String,
    schema: &'a Value,
}

fn resolve<'a>(schema: &'a Value, root: &'a Value) -> (&'a Value, String) {
    match schema.get("$ref").and_then(Value::as_str) {
        Some(reference) => {
            let name = reference.rsplit('/').next().unwrap();
            (&root["$defs"][name], name.to_owned())
        }
        None => (schema, "File".to_owned()),
    }
}

/// Walks the file beside its schema.
fn walk<'a>(schema: &'a Value, value: &Value, pointer: &str, root: &'a Value, keys: &mut Vec<Key<'a>>) {
    let (schema, section) = resolve(schema, root);
    for branch in ["anyOf", "oneOf"].iter().filter_map(|of| schema[*of].as_array()).flatten() {
        walk(branch, value, pointer, root, keys);
    }
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let Some(schema) = schema["properties"].get(key) else { continue };
                let pointer = format!("{pointer}/{key}");
                keys.push(Key { pointer: pointer.clone(), name: format!("{section}.{key}"), schema });
                walk(schema, value, &pointer, root, keys);
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                walk(&schema["items"], item, &format!("{pointer}/{i}"), root, keys);
            }
        }
        _ => {}
    }
}

fn written_keys<'a>(schema: &'a Value, file: &Value) -> Vec<Key<'a>> {
    let mut keys = Vec::new();
    walk(schema, file, "", schema, &mut keys);
    keys
}

fn without(file: &Value, pointer: &str) -> String {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let mut file = file.clone();
    file.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap();
    file.to_string()
}

#[test]
fn the_reference_loads_and_so_does_its_json() {
    let folder = Folder::like_the_repository("loads");
    let as_yaml = meaning(REFERENCE, &folder);
    assert_eq!(as_yaml, meaning(&as_json().to_string(), &folder), "JSON is a subset of YAML");
}

#[test]
fn the_reference_shows_every_key() {
    let (schema, file) = (config::schema(), as_json());
    let shown: BTreeSet<String> = written_keys(&schema, &file).into_iter().map(|key| key.name).collect();
    let sections = schema["$defs"].as_object().unwrap().iter().map(|(name, section)| (name.as_str(), section));
    let mut count = 0;
    for (section, table) in sections.chain([("File", &schema)]) {
        for key in table["properties"].as_object().into_iter().flat_map(|keys| keys.keys()) {
            count += 1;
            assert!(shown.contains(&format!("{section}.{key}")), "edge-configs/reference.yaml lacks {section}.{key}");
        }
    }
    assert!(count > 90, "{count} keys: the schema was not walked");
}

#[test]
fn every_key_has_a_description() {
    let (schema, file) = (config::schema(), as_json());
    for key in written_keys(&schema, &file) {
        let about = key.schema["description"].as_str().unwrap_or_default();
        assert!(about.len() > 5, "{} says nothing of itself", key.name);
    }
}

#[test]
fn every_default_that_the_reference_shows_is_the_one_that_holds() {
    let folder = Folder::like_the_repository("defaults");
    let (schema, file) = (config::schema(), as_json());
    let whole = meaning(REFERENCE, &folder);
    let mut compared = BTreeSet::new();
    for key in written_keys(&schema, &file) {
        // Empty lists are shown with something in them.
        let Some(default) = key.schema.get("default").filter(|default| **default != Value::Array(Vec::new())) else {
            continue;
        };
        // What a route says to clients is shown with a body, as an empty one shows nothing.
        if key.name == "Respond.body" {
            continue;
        }
        let left_out = meaning(&without(&file, &key.pointer), &folder);
        assert!(whole == left_out, "{}: the default is {default}, and another is shown", key.pointer);
        compared.insert(key.name);
    }
    let with_default: BTreeSet<String> = written_keys(&schema, &file)
        .into_iter()
        .filter(|key| key.schema.get("default").is_some_and(|d| *d != Value::Array(Vec::new())))
        .map(|key| key.name)
        .collect();
    assert_eq!(compared.len() + 1, with_default.len());
    assert!(compared.len() > 45, "only {} defaults", compared.len());
}

#[test]
fn every_default_of_the_schema_can_be_written() {
    let folder = Folder::like_the_repository("schema-defaults");
    let (schema, mut file) = (config::schema(), as_json());
    for key in written_keys(&schema, &file.clone()) {
        if let Some(default) = key.schema.get("default").filter(|d| **d != Value::Array(Vec::new())) {
            *file.pointer_mut(&key.pointer).unwrap() = default.clone();
        }
    }
    meaning(&file.to_string(), &folder);
}

#[test]
fn a_key_that_is_needed_is_said_to_be() {
    let folder = Folder::like_the_repository("needed");
    let (schema, file) = (config::schema(), as_json());
    let mut needed = 0;
    for (section, table) in schema["$defs"].as_object().unwrap() {
        for key in table["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let name = format!("{section}.{key}");
            let shown = written_keys(&schema, &file);
            let pointer = &shown.iter().find(|key| key.name == name).unwrap().pointer;
            let errors = parse(&without(&file, pointer), &folder).err().map(|errors| errors.to_string());
            let errors = errors.unwrap_or_else(|| panic!("{pointer} is needed and was not missed"));
            assert!(errors.contains(&format!(".{key}: missing; needed: ")), "{errors}");
            needed += 1;
        }
    }
    assert!(needed >= 15, "only {needed}");
}

#[test]
fn no_mangled_reference_makes_the_reader_panic() {
    let folder = Folder::like_the_repository("mangled");
    // Deterministic: a constant of Knuth's, so that a failure comes back.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    let pieces = [
        "\t",
        ":",
        "- ",
        "{",
        "}",
        "[",
        "]",
        "\"",
        "'",
        "\n",
        "&a ",
        "*a",
        "<<: ",
        "|",
        ">",
        "%",
        "!",
        "!!int ",
        "\0",
        "ß",
        "0",
        "-1",
        "1e999",
        ".nan",
        "99999999999999999999999",
        "null",
        "~",
        "true",
        "#",
        "---\n",
        "...\n",
        "? ",
        "`",
        "@",
    ];
    let lines: Vec<&str> = REFERENCE.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let (mut refused, mut loaded) = (0, 0);
    for round in 0..2000 {
        let mut lines = lines.clone();
        if round % 4 == 1 {
            let gone = next(lines.len());
            lines.remove(gone);
        }
        if round % 4 == 2 {
            let (a, b) = (next(lines.len()), next(lines.len()));
            lines.swap(a, b);
        }
        let mut text = lines.join("\n");
        for _ in 0..=next(3) {
            let mut at = next(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            match next(4) {
                0 => text.truncate(at.max(1)),
                1 => text.insert_str(at, pieces[next(pieces.len())]),
                2 => drop(text.remove(at)),
                _ => text
                    .replace_range(at..at + text[at..].chars().next().unwrap().len_utf8(), pieces[next(pieces.len())]),
            }
            if text.is_empty() {
                text.push(' ');
            }
        }
        match parse(&text, &folder) {
            Ok(_) => loaded += 1,
            Err(errors) => {
                refused += 1;
                assert!(!errors.is_empty());
                for error in errors.iter() {
                    let line = error.to_string();
                    assert!(line.starts_with("reference.yaml:") && !line.contains('\n'), "{line}\n--- of\n{text}");
                    assert!(error.place.line >= 1, "{line}");
                }
            }
        }
    }
    assert!(refused > 500 && loaded > 20, "refused {refused}, loaded {loaded}: the mangling is one-sided");
}
