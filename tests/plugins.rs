//! The plugins of this repository, and the examples of the SDKs: each stands whole in its folder
//! and does what its `spec.yaml` says.

use std::path::PathBuf;
use std::process::Command;

use harness::binary::{forebay, root};

/// Every folder with a plugin in it.
fn folders() -> Vec<PathBuf> {
    let below = |folder: &str| {
        let entries = std::fs::read_dir(root().join(folder)).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let places = ["plugins/lua", "plugins/wasm", "sdk-lua/examples", "sdk-wasm/examples"];
    let mut folders: Vec<_> = places.into_iter().flat_map(below).filter(|path| path.is_dir()).collect();
    folders.sort();
    assert!(folders.len() >= 5, "only {folders:?}");
    folders
}

#[test]
fn every_plugin_has_its_four_files() {
    for folder in folders() {
        let code = if folder.join("Cargo.toml").is_file() { "Cargo.toml" } else { "main.lua" };
        for file in ["plugin.yaml", code, "spec.yaml", "README.md"] {
            assert!(folder.join(file).is_file(), "{} has no {file}", folder.display());
        }
    }
}

#[test]
fn every_plugin_does_what_its_spec_says() {
    let ran = Command::new(forebay()).args(["plugin", "test"]).args(folders()).output().expect("forebay runs");
    let (said, errors) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{said}\n{errors}");
    assert!(said.trim_end().ends_with(" passed, 0 failed"), "{said}");
}

#[test]
fn the_linter_finds_nothing_in_any_plugin() {
    let ran = Command::new(forebay()).args(["plugin", "lint"]).args(folders()).output().expect("forebay runs");
    let (said, errors) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{said}\n{errors}");
    assert_eq!(said.trim_end(), "all plugins: nothing found");
}
