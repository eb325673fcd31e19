//! What comes from others: no crate in two versions without a reason, no licence that was not
//! thought about, and a lock file that is committed and current.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use harness::binary::root;
use serde_json::Value;

/// Crates that stand twice in the build, and why that cannot be mended here.
const TWICE: &[(&str, &str)] = &[
    ("base64", "metrics-exporter-prometheus and wasmtime's cache take 0.22, serde-saphyr and pem 0.23"),
    ("cpufeatures", "sha2 takes 0.2, the chacha20 of redis' rand 0.3"),
    ("getrandom", "ring takes 0.2, the rand of metrics-util 0.3, that of redis 0.4"),
    ("hashbrown", "the macros of full_moon take 0.12, gimli and metrics-util 0.16, cranelift and indexmap 0.17"),
    ("indexmap", "the macros of full_moon take 1; none of it is in what we ship"),
    ("rand", "metrics-util takes 0.9, the cluster client of redis 0.10"),
    ("rand_core", "as rand"),
    ("syn", "derive macros are between 1 and 3; none of it is in what we ship"),
    ("winnow", "toml 0.9, which wasmtime's cache takes, reads with 1.0 and writes with 0.7"),
];

/// Licences that may be linked into what we ship. An expression must be met by these alone.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    // Of redis' xxhash-rust: asks for its text beside the source only.
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    // Of full_moon, whose files we do not change: it asks nothing of ours.
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// `cargo metadata` of this platform. `--locked` fails if Cargo.lock is not what it would write.
fn metadata() -> Value {
    let host = Command::new(env!("CARGO")).args(["-vV"]).output().expect("cargo runs");
    let host = String::from_utf8_lossy(&host.stdout).into_owned();
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo names its host").to_owned();
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", &host])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(out.status.success(), "cargo metadata --locked: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("cargo writes JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// The versions of each crate that is built for this platform, ours and build scripts included.
fn built() -> BTreeMap<String, BTreeSet<String>> {
    let out = Command::new(env!("CARGO"))
        .args(["tree", "--workspace", "--locked", "-e", "normal,build", "--prefix", "none", "--format", "{p}"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(out.status.success(), "cargo tree: {}", String::from_utf8_lossy(&out.stderr));
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in String::from_utf8_lossy(&out.stdout).lines() {
        let mut words = line.split(' ');
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            versions.entry(name.to_owned()).or_default().insert(version.to_owned());
        }
    }
    assert!(versions.len() > 100, "cargo tree has listed {} crates only", versions.len());
    versions
}

/// Whether an SPDX expression of `AND`, `OR` and one level of brackets can be met.
fn met(expression: &str) -> bool {
    let expression = expression.replace(" / ", " OR ").replace('/', " OR ");
    if let (Some(open), Some(close)) = (expression.find('('), expression.find(')')) {
        let inner = if met(&expression[open + 1..close]) { "MIT" } else { "refused" };
        return met(&format!("{}{inner}{}", &expression[..open], &expression[close + 1..]));
    }
    expression.split(" OR ").any(|all| all.split(" AND ").all(|one| LICENCES.contains(&one.trim())))
}

#[test]
fn no_crate_is_built_in_two_versions_without_a_reason() {
    let mut versions = built();
    versions.retain(|_, versions| versions.len() > 1);
    let allowed: BTreeSet<&str> = TWICE.iter().map(|(name, _)| *name).collect();
    let found: BTreeSet<&str> = versions.keys().map(String::as_str).collect();
    let new: Vec<_> = versions.iter().filter(|(name, _)| !allowed.contains(name.as_str())).collect();
    assert!(new.is_empty(), "built twice: {new:?}: choose versions that agree, or add a row with the reason to TWICE");
    let stale: Vec<_> = allowed.difference(&found).collect();
    assert!(stale.is_empty(), "no longer built twice, take them out of TWICE: {stale:?}");
}

#[test]
fn every_licence_is_one_that_was_thought_about() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("a list");
    let wrong: Vec<_> = packages
        .iter()
        .filter(|package| !met(text(package, "license")))
        .map(|package| {
            format!("{} {}: {:?}", text(package, "name"), text(package, "version"), text(package, "license"))
        })
        .collect();
    assert!(wrong.is_empty(), "not in LICENCES:\n{}", wrong.join("\n"));
}

#[test]
fn a_licence_expression_is_met_only_by_what_is_listed() {
    assert!(met("MIT OR GPL-3.0"));
    assert!(met("MIT/Apache-2.0"));
    assert!(met("(MIT OR Apache-2.0) AND Unicode-3.0"));
    assert!(!met("GPL-3.0"));
    assert!(!met("MIT AND GPL-3.0"));
    assert!(!met("(GPL-2.0 OR GPL-3.0) AND MIT"));
    assert!(!met(""));
}

#[test]
fn the_lock_file_is_committed() {
    let known = Command::new("git").args(["ls-files", "--error-unmatch", "Cargo.lock"]).current_dir(root()).output();
    assert!(known.expect("git runs: install git").status.success(), "Cargo.lock is not in git");
}

#[test]
fn everything_of_others_comes_from_the_crate_registry() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("a list");
    let wrong: Vec<_> = packages
        .iter()
        .filter(|package| !package["source"].is_null() && !text(package, "source").starts_with("registry+"))
        .map(|package| format!("{}: {}", text(package, "name"), text(package, "source")))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}
