//! `forebay plugin new`: what it makes passes its own tests at once, and nothing is written over.

use std::path::{Path, PathBuf};

use harness::binary::root;
use harness::folder::Folder;

use crate::{Said, tool};

fn make(name: &str, kind: &str, folder: &Folder) -> Said {
    let dir = format!("--dir={}", folder.path().join("made").display());
    // The folder is given by `--dir`: the last argument is the name.
    tool(&["new", kind, &dir], std::path::Path::new(name))
}

/// Of a folder and the folders in it, in order.
fn lua_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inner) = folders.pop() {
        for entry in std::fs::read_dir(inner).expect("it is there").flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path => files.push(path.strip_prefix(folder).expect("below it").to_owned()),
            }
        }
    }
    files.sort();
    files
}

#[test]
fn a_new_plugin_in_lua_passes_its_tests_and_has_nothing_to_lint() {
    let folder = Folder::new();
    let said = make("shop-gate", "--lua", &folder);
    assert_eq!(said.code, 0, "{}", said.errors);
    let made = folder.path().join("made");
    for file in ["plugin.yaml", "main.lua", "spec.yaml", "README.md", ".luarc.json", ".forebay/forebay.lua"] {
        assert!(made.join(file).is_file(), "no {file}");
        assert!(file.starts_with(".forebay") || said.out.contains(file), "{}", said.out);
    }
    // As the SDK has them, and where `require("forebay.json")` leads an editor.
    let (library, types) = (root().join("sdk-lua/library"), made.join(".forebay"));
    let names = lua_files(&library);
    assert!(names.iter().any(|name| name.ends_with("json.lua")), "{names:?}");
    assert_eq!(lua_files(&types), names);
    for name in names {
        let read = |folder: &Path| std::fs::read_to_string(folder.join(&name)).expect("it is text");
        assert_eq!(read(&types), read(&library), "{}", name.display());
    }
    let tested = tool(&["test"], &made);
    assert_eq!(tested.code, 0, "{}{}", tested.out, tested.errors);
    assert!(tested.out.ends_with("5 passed, 0 failed\n"), "three cases, two unit tests: {}", tested.out);
    assert!(tested.out.contains("a line has no line ends in it"), "{}", tested.out);
    let linted = tool(&["lint"], &made);
    assert_eq!(linted.code, 0, "{}{}", linted.out, linted.errors);
    let text = std::fs::read_to_string(made.join("main.lua")).expect("it was written");
    assert!(text.contains("x-shop-gate") && !text.contains("NAME"), "{text}");
}

#[test]
fn a_new_plugin_in_rust_passes_its_tests_and_has_nothing_to_lint() {
    let folder = Folder::new();
    let said = make("shop-gate", "--wasm", &folder);
    assert_eq!(said.code, 0, "{}", said.errors);
    let made = folder.path().join("made");
    let tested = tool(&["test"], &made);
    assert_eq!(tested.code, 0, "{}{}", tested.out, tested.errors);
    assert!(tested.out.ends_with("3 passed, 0 failed\n"), "{}", tested.out);
    let linted = tool(&["lint"], &made);
    assert_eq!(linted.code, 0, "{}{}", linted.out, linted.errors);
}

#[test]
fn what_is_there_already_is_not_written_over() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("made")).expect("the folder is new");
    let said = make("gate", "--lua", &folder);
    assert_eq!(said.code, 64, "{}", said.out);
    assert!(said.errors.contains("nothing was changed"), "{}", said.errors);
    let left = std::fs::read_dir(folder.path().join("made")).expect("it is still there").count();
    assert_eq!(left, 0);
}

#[test]
fn names_that_are_none_are_refused_with_a_near_one() {
    let folder = Folder::new();
    let long = "a".repeat(64);
    for (name, near) in [
        ("Shop Gate", "\"shop-gate\""),
        ("9x", "\"x\""),
        ("a/b", "\"a-b\""),
        ("..", ""),
        (&long, "at most 63"),
        ("x-", "\"x\""),
    ] {
        let said = make(name, "--lua", &folder);
        assert_eq!(said.code, 64, "{name}: {}", said.out);
        assert!(said.errors.contains("lower-case letters") && said.errors.contains(near), "{name}: {}", said.errors);
    }
    assert!(!folder.path().join("made").exists());
}

/// A policy that was made in `kind`, with its tests played.
fn policy(kind: &str) -> Folder {
    let folder = Folder::new();
    let dir = format!("--dir={}", folder.path().join("made").display());
    let said = tool(&["new", "--policy", kind, &dir], Path::new("shop-count"));
    assert_eq!(said.code, 0, "{}", said.errors);
    let made = folder.path().join("made");
    let tested = tool(&["test"], &made);
    assert_eq!(tested.code, 0, "{}{}", tested.out, tested.errors);
    assert!(tested.out.ends_with("4 passed, 0 failed\n"), "{}", tested.out);
    let linted = tool(&["lint"], &made);
    assert_eq!(linted.code, 0, "{}{}", linted.out, linted.errors);
    let readme = std::fs::read_to_string(made.join("README.md")).expect("it was written");
    assert!(readme.contains("scripts:\n        - { name: shop-count,") && !readme.contains("NAME"), "{readme}");
    folder
}

#[test]
fn a_new_policy_in_lua_passes_its_tests_has_nothing_to_lint_and_can_be_measured() {
    let folder = policy("--lua");
    let made = folder.path().join("made");
    assert!(made.join(".luarc.json").is_file() && made.join(".forebay/forebay.lua").is_file());
    let measured = tool(&["bench", "--exchanges=20", "--warmup=5"], &made);
    assert_eq!(measured.code, 0, "{}{}", measured.out, measured.errors);
    assert!(measured.out.lines().any(|line| line.starts_with("autoscale ") && line.contains("20")), "{}", measured.out);
    // Its cases are about what it does: another policy fails them.
    let main = std::fs::read_to_string(made.join("main.lua")).expect("it was written");
    let other = main.replace("load / each,", "load / each + 1,");
    std::fs::write(made.join("main.lua"), other).expect("it can be written over");
    let failed = tool(&["test"], &made);
    assert_eq!(failed.code, 1, "{}{}", failed.out, failed.errors);
    assert!(failed.out.contains("found     4: 120 requests/s at 50 per origin"), "{}", failed.out);
}

#[test]
fn a_new_policy_in_rust_passes_its_tests_and_has_nothing_to_lint() {
    assert!(policy("--wasm").path().join("made/src/lib.rs").is_file());
}
