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

#[test]
fn a_region_file_that_grants_less_than_a_plugin_asks_for_is_told_so() {
    let folder = harness::folder::Folder::new();
    let code = root().join("plugins/lua/callout-auth");
    let file = folder.write(
        "region.yaml",
        format!(
            "edge: {{ listeners: [{{ address: \"127.0.0.1:0\" }}] }}\nplugins:\n  - {{ name: auth, lua: {code:?}, capabilities: [http.read] }}\n\
             routes: [{{ name: all, plugins: [auth], respond: {{}} }}]\n"
        ),
    );
    let ran = Command::new(forebay()).arg("check").arg(&file).output().expect("forebay runs");
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(errors.contains("plugin \"auth\" asks for the capability callout:authz, which is not granted"), "{errors}");
    assert!(errors.contains("capability http.write, which") && !errors.contains("http.read"), "{errors}");
}
