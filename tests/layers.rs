//! The import table of ARCHITECTURE.md, held against every manifest, and the rules about files
//! that a reader of the tree relies on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::binary::root;

/// A crate of ours: its folder, and which of ours it may import (tests and benches included).
const OURS: &[(&str, &[&str])] = &[
    ("host/abi", &[]),
    ("host/wire", &[]),
    ("host/config", &["wire"]),
    ("host/luajit-sys", &[]),
    ("host/lua", &["abi", "luajit-sys"]),
    ("host/wasm", &["abi"]),
    ("host/scaler", &["config", "wire"]),
    ("host/edge", &["abi", "lua", "wasm", "config", "wire"]),
    ("host/aggregator", &["scaler", "config", "wire"]),
    ("host/forebay", &["abi", "edge", "aggregator", "scaler", "config"]),
    // Tests drive processes: of the code they only see the words that are spoken with it.
    ("tests", &["abi", "wire", "config"]),
    // One of them puts engines of its own into the chain, one loads modules, one replays days of demand.
    ("benches", &["abi", "lua", "wasm", "edge", "scaler", "aggregator", "config", "wire"]),
];

/// A crate of others that only these may import outside of their tests, with the reason.
const DOORS: &[(&str, &[&str], &str)] = &[
    ("luajit-src", &["host/luajit-sys"], "LuaJIT is built in one place, with its patches"),
    ("mlua", &["host/lua"], "one crate knows the Lua engine"),
    ("mlua-sys", &["host/lua"], "one crate knows the Lua engine"),
    ("wasmtime", &["host/wasm"], "one crate knows the Wasm engine"),
    ("clap", &["host/forebay"], "the command line is the binary's"),
    // host/wasm names it to fix its features, and uses it nowhere.
    ("anyhow", &["host/forebay", "host/wasm"], "errors are typed everywhere but at the rim"),
    ("mimalloc", &["host/forebay"], "the binary chooses the allocator"),
    ("tokio", &["host/edge", "host/aggregator", "host/forebay", "tests", "benches"], "the other crates are not async"),
    ("hyper", &["host/edge", "host/aggregator", "host/forebay", "tests", "benches"], "the other crates do no I/O"),
    ("hyper-util", &["host/edge", "host/aggregator", "host/forebay", "tests", "benches"], "the other crates do no I/O"),
    ("tokio-rustls", &["host/edge", "tests"], "only the edge speaks TLS, and the harness, which plays whom it calls"),
    ("serde-saphyr", &["host/config"], "one crate reads YAML"),
    ("calcard", &["host/config"], "one crate reads calendars"),
    ("redb", &["host/aggregator"], "one crate keeps the history"),
    ("full_moon", &["host/forebay"], "only the linter reads Lua without running it"),
    ("fastrand", &["host/edge"], "decisions are replayed: nothing else may be random"),
];

/// One line of a manifest's dependencies.
struct Import {
    name: String,
    /// Only for tests.
    dev: bool,
    entry: toml::Value,
}

fn manifest(folder: &str) -> toml::Table {
    let file = root().join(folder).join("Cargo.toml");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    text.parse().unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// Every dependency, of whatever kind and for whatever target.
fn imports(manifest: &toml::Table) -> Vec<Import> {
    let mut found = Vec::new();
    for (key, value) in manifest {
        let Some(table) = value.as_table() else { continue };
        if key.ends_with("dependencies") {
            let dev = key == "dev-dependencies";
            found.extend(table.iter().map(|(name, entry)| Import { name: name.clone(), dev, entry: entry.clone() }));
        } else if key == "target" {
            found.extend(table.values().filter_map(toml::Value::as_table).flat_map(imports));
        }
    }
    found
}

fn our_names() -> BTreeSet<String> {
    let root = manifest("");
    let shared = root["workspace"]["dependencies"].as_table().expect("the workspace shares its versions");
    shared.iter().filter(|(_, entry)| entry.get("path").is_some()).map(|(name, _)| name.clone()).collect()
}

/// The files that git has or would add, so that what a build leaves is not looked at.
fn files() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the files: install git");
    assert!(listed.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).expect("our files are named in text");
    names.lines().map(|name| root().join(name)).filter(|file| file.is_file()).collect()
}

fn shown(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).display().to_string()
}

fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn every_crate_of_the_workspace_has_a_row_in_the_import_table() {
    let mut folders: BTreeSet<String> = ["tests", "benches"].map(str::to_owned).into();
    for entry in std::fs::read_dir(root().join("host")).expect("host/ is there").flatten() {
        if entry.path().join("Cargo.toml").is_file() {
            folders.insert(format!("host/{}", entry.file_name().to_string_lossy()));
        }
    }
    let rows: BTreeSet<String> = OURS.iter().map(|(folder, _)| (*folder).to_owned()).collect();
    assert_eq!(folders, rows, "the crates (left) and the rows of the import table (right)");
}

#[test]
fn crates_import_only_those_of_ours_that_the_table_allows() {
    let ours = our_names();
    let mut wrong = Vec::new();
    for (folder, allowed) in OURS {
        for import in imports(&manifest(folder)) {
            // The harness starts processes: any crate's tests may do that, and it imports none of them.
            let free = import.name == "harness";
            if ours.contains(&import.name) && !free && !allowed.contains(&import.name.as_str()) {
                wrong.push(format!("{folder} imports {}; it may import {allowed:?}", import.name));
            }
        }
    }
    none(&wrong);
}

#[test]
fn edge_and_aggregator_never_import_each_other() {
    // Named apart from the table, so that a row that is widened still meets this.
    let names = |folder| imports(&manifest(folder)).into_iter().map(|import| import.name).collect::<Vec<_>>();
    assert!(!names("host/edge").iter().any(|name| name == "aggregator" || name == "scaler"));
    assert!(!names("host/aggregator").iter().any(|name| name == "edge" || name == "lua" || name == "wasm"));
}

#[test]
fn crates_of_others_come_in_by_their_door() {
    let mut wrong = Vec::new();
    for (folder, _) in OURS {
        for import in imports(&manifest(folder)) {
            let Some((name, doors, reason)) = DOORS.iter().find(|(name, ..)| *name == import.name) else { continue };
            if !import.dev && !doors.contains(folder) {
                wrong.push(format!("{folder} imports {name}; only {doors:?} may: {reason}"));
            }
        }
    }
    none(&wrong);
}

#[test]
fn versions_and_features_are_given_in_the_workspace_only() {
    let mut wrong = Vec::new();
    for (folder, _) in OURS {
        for import in imports(&manifest(folder)) {
            let entry = import.entry.as_table();
            let shared = entry.is_some_and(|e| e.get("workspace") == Some(&toml::Value::Boolean(true)));
            let bare = entry.is_some_and(|e| e.keys().all(|key| key == "workspace" || key == "optional"));
            if !shared || !bare {
                wrong.push(format!(
                    "{folder}: write `{}.workspace = true`; its version and features stand in the root",
                    import.name
                ));
            }
        }
    }
    none(&wrong);
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace_or_says_why_not() {
    for (folder, _) in OURS {
        let table = manifest(folder);
        let shared = table.get("lints").and_then(|lints| lints.get("workspace")).is_some();
        let text = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("read above");
        assert!(
            shared || text.contains("# Not the workspace's lints"),
            "{folder}/Cargo.toml: [lints] workspace = true"
        );
    }
}

#[test]
fn guests_import_nothing_under_host() {
    let mut wrong = Vec::new();
    for file in files() {
        let name = shown(&file);
        let guest = name.starts_with("sdk-") || name.starts_with("plugins/") || name.contains("/guest");
        if !guest || !name.ends_with("Cargo.toml") {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("a listed file can be read");
        let table: toml::Table = text.parse().unwrap_or_else(|e| panic!("{name}: {e}"));
        for import in imports(&table) {
            let path = import.entry.get("path").and_then(toml::Value::as_str).unwrap_or_default();
            if path.split('/').any(|part| part == "host") || import.name.starts_with("forebay-") && path.is_empty() {
                wrong.push(format!("{name} imports {}, which is the host's", import.name));
            }
        }
    }
    none(&wrong);
}

#[test]
fn the_scaler_reads_no_clock_and_rolls_no_dice() {
    let banned = ["SystemTime::now", "Instant::now", "Timestamp::now", "Zoned::now", "std::fs", "std::net", "thread::"];
    let mut wrong = Vec::new();
    for file in files().into_iter().filter(|file| shown(file).starts_with("host/scaler/src/")) {
        let text = std::fs::read_to_string(&file).expect("a listed file can be read");
        for (number, line) in text.lines().enumerate() {
            if let Some(word) = banned.iter().find(|word| line.contains(**word)) {
                wrong.push(format!(
                    "{}:{}: {word}: what is decided depends on its input alone",
                    shown(&file),
                    number + 1
                ));
            }
        }
    }
    none(&wrong);
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    let refused = ["utils", "util", "common", "helpers", "helper", "core", "misc"];
    let mut wrong = Vec::new();
    for file in files() {
        let name = shown(&file);
        if name.ends_with("/mod.rs") {
            wrong.push(format!("{name}: write NAME.rs beside the folder NAME"));
        }
        for part in Path::new(&name).components() {
            let part = part.as_os_str().to_string_lossy();
            let stem = part.split('.').next().unwrap_or_default();
            if refused.contains(&stem) {
                wrong.push(format!("{name}: {stem} says nothing: name the noun"));
            }
        }
    }
    none(&wrong);
}

#[test]
fn a_long_file_says_why_and_every_file_says_what_it_is_for() {
    let mut wrong = Vec::new();
    for file in files().into_iter().filter(|file| file.extension().is_some_and(|e| e == "rs")) {
        let text = std::fs::read_to_string(&file).expect("a listed file can be read");
        let head: String = text.lines().take(30).collect::<Vec<_>>().join("\n");
        let lines = text.lines().count();
        let reasons = ["400 lines", "long because", "long, as", "one file"];
        if lines > 400 && !reasons.iter().any(|reason| head.to_lowercase().contains(reason)) {
            wrong.push(format!("{}: {lines} lines: split it by noun, or say in its head why it is long", shown(&file)));
        }
        if !text.lines().take(12).any(|line| line.starts_with("//!") && line.len() > 15) {
            wrong.push(format!("{}: open it with //! and what it is for", shown(&file)));
        }
    }
    none(&wrong);
}

#[test]
fn no_file_names_a_place_of_one_machine() {
    // Written apart, so that this file does not find itself.
    let refused = [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/home/", "user")];
    let mut wrong = Vec::new();
    for file in files() {
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        for (number, line) in text.lines().enumerate() {
            // A path of its own: `$DIR/root/usr` is none.
            let own = |place: &str| {
                line.match_indices(place).any(|(at, _)| {
                    !line[..at]
                        .ends_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '}' | '/' | '.' | '-'))
                })
            };
            if let Some(place) = refused.iter().find(|place| own(place)) {
                wrong.push(format!("{}:{}: {place}", shown(&file), number + 1));
            }
        }
    }
    none(&wrong);
}
