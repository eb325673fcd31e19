//! Region files: those that we ship check, and bad ones are refused with every error at once.

use std::path::{Path, PathBuf};

use harness::binary::root;
use harness::process::{Output, run};
use harness::{Certificate, Folder, Port, Process, Signer};

/// A copy of `edge-configs` with `plugins` beside it and the certificates and secrets that the files
/// name: those are the operator's to make, and nothing of them is in the repository.
fn shipped(folder: &Folder) -> Vec<PathBuf> {
    let configs = folder.path().join("edge-configs");
    copy(&root().join("edge-configs"), &configs);
    std::os::unix::fs::symlink(root().join("plugins"), folder.path().join("plugins")).expect("a link can be made");
    for tls in ["tls", "examples/tls"] {
        std::fs::create_dir_all(configs.join(tls)).expect("a folder can be made");
        Certificate::write(&configs.join(tls));
    }
    std::fs::create_dir_all(configs.join("secrets")).expect("a folder can be made");
    std::fs::write(configs.join("secrets/billing-key"), "a value that nothing shows\n").expect("a file can be made");
    for secret in ["redis", "plugin-registry"] {
        std::fs::write(configs.join("secrets").join(secret), "a password\n").expect("a file can be written");
    }
    std::fs::create_dir_all(configs.join("keys")).expect("a folder can be made");
    std::fs::write(configs.join("keys/plugins.pem"), Signer::ed25519().pem).expect("a file can be written");
    let mut files = Vec::new();
    for folder in [configs.clone(), configs.join("examples")] {
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        files.extend(
            entries.flatten().map(|entry| entry.path()).filter(|file| file.extension().is_some_and(|e| e == "yaml")),
        );
    }
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder can be made");
    for entry in std::fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display())).flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
        }
    }
}

fn check(file: &Path) -> Output {
    run(&["check", file.to_str().expect("a path in text")])
}

/// Writes `region.yaml` beside `files`, and checks it.
fn check_text(region: &str, files: &[(&str, &[u8])]) -> Output {
    let folder = Folder::new();
    for (name, text) in files {
        folder.write(name, text);
    }
    check(&folder.write("region.yaml", region))
}

/// Refused with exit code 64, each of `parts` of a line in one line of the report, and no more
/// lines than there are errors.
#[track_caller]
fn refused(output: &Output, errors: &[&[&str]]) {
    let text = format!("{}{}", output.stdout, output.stderr);
    assert_eq!(output.code, Some(64), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    for parts in errors {
        assert!(
            text.lines().any(|line| parts.iter().all(|part| line.contains(part))),
            "no line with {parts:?} in:\n{text}"
        );
    }
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
    assert_eq!(lines, errors.len(), "{text}");
}

#[test]
fn every_file_that_we_ship_checks() {
    let folder = Folder::new();
    let files = shipped(&folder);
    assert!(files.len() >= 5, "{files:?}");
    let mut wrong = Vec::new();
    for file in files {
        let output = check(&file);
        if output.code != Some(0) {
            wrong.push(format!("{}: {:?}\n{}", file.display(), output.code, output.stderr));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n(plugins are built by tests/run, or `forebay plugin build`)", wrong.join("\n"));
}

#[test]
fn every_error_of_a_file_is_told_at_once_with_its_place_and_the_near_miss() {
    let output = check_text(
        "edge:\n  listners: []\n  workers: -1\nroutes:\n  - {name: a, pool: shap}\n  - {name: a, respond: {status: 99}}\npools:\n  - {name: shop, origins: [127.0.0.1:1], balance: random}\n",
        &[],
    );
    refused(
        &output,
        &[
            &["region.yaml:2", "listners", "did you mean \"listeners\""],
            &["region.yaml:1", "edge.listeners", "missing"],
            &["region.yaml:3", "edge.workers", "-1", "allowed"],
            &["region.yaml:5", "routes[0].pool", "shap", "shop"],
            &["region.yaml:6", "routes[1].name", "\"a\""],
            &["region.yaml:6", "routes[1].respond.status", "99"],
            &["region.yaml:8", "pools[0].balance", "random", "round_robin"],
        ],
    );
}

#[test]
fn a_check_tells_first_that_the_file_is_right_and_then_when_its_rules_fire() {
    let rules = "        - {name: nights, cron: '0 22 * * *', zone: Europe/Berlin, duration: 8h, floor: 2, lead: 5m}\n        - {name: gone, at: 2020-02-29T12:00, zone: UTC, duration: 1h, floor: 3}\n";
    let output = check_text(
        &format!(
            "aggregator: {{address: 127.0.0.1:0}}\npools:\n  - name: shop\n    scaling:\n      ceiling: 4\n      actuator: dry_run\n      schedules:\n{rules}"
        ),
        &[],
    );
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert!(lines[0].ends_with("region.yaml: ok, 0 routes, 0 plugins, 1 pool"), "{}", lines[0]);
    assert_eq!(lines[1..3], ["pool shop:", "  nights: floor 2 for 8h, cron 0 22 * * * in Europe/Berlin"]);
    let firings = lines.iter().filter(|line| line.contains(" 22:00 +0") && line.ends_with(", ordered from 21:55"));
    assert_eq!(firings.count(), 5, "{}", output.stdout);
    let gone = lines.iter().position(|line| line.starts_with("  gone: floor 3 for 1h, once 2020-02-29T12:00:00"));
    assert_eq!(lines[gone.expect("every rule is told") + 1], "    never again");
}

#[test]
fn what_is_no_yaml_is_told_with_its_line() {
    let output = check_text("edge:\n  listeners: [\nroutes: {\n", &[]);
    refused(&output, &[&["region.yaml:"]]);
    let output = check_text("", &[]);
    assert_eq!(output.code, Some(64), "{}", output.stderr);
}

#[test]
fn a_file_that_is_not_there_is_told() {
    let output = run(&["check", "no-such-file.yaml"]);
    assert_eq!(output.code, Some(64), "{}", output.stderr);
    assert!(output.stderr.contains("no-such-file.yaml"), "{}", output.stderr);
}

/// A region with one plugin of each kind.
fn with_plugins(plugins: &[(&str, &str)]) -> String {
    let mut region = "edge: {listeners: [{address: \"127.0.0.1:9\"}]}\nplugins:\n".to_owned();
    for (n, (engine, file)) in plugins.iter().enumerate() {
        region.push_str(&format!("  - {{name: p{n}, {engine}: {file}}}\n"));
    }
    let names: Vec<_> = (0..plugins.len()).map(|n| format!("p{n}")).collect();
    region.push_str(&format!("routes:\n  - {{name: all, plugins: [{}], respond: {{}}}}\n", names.join(", ")));
    region
}

#[test]
fn plugins_that_do_not_load_are_told_with_their_file_line_and_reason() {
    // A module without a single export; one that imports what we do not have, by name.
    let empty = b"\0asm\x01\0\0\0";
    let unknown = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x15\x01\x03env\x0dproxy_unknown\0\0";
    let output = check_text(
        &with_plugins(&[
            ("lua", "broken.lua"),
            ("lua", "nothing.lua"),
            ("wasm", "text.wasm"),
            ("wasm", "empty.wasm"),
            ("wasm", "unknown.wasm"),
        ]),
        &[
            ("broken.lua", b"local p = {}\nfunction p.on_log( end\nreturn p\n"),
            ("nothing.lua", b"local p = 1\n"),
            ("text.wasm", b"this is text"),
            ("empty.wasm", empty),
            ("unknown.wasm", unknown),
        ],
    );
    let text = &output.stderr;
    assert_eq!(output.code, Some(64), "{text}");
    for parts in [
        &["broken.lua", "2"][..],
        &["nothing.lua"],
        &["text.wasm"],
        &["empty.wasm", "memory"],
        &["unknown.wasm", "proxy_unknown"],
    ] {
        assert!(
            text.lines().any(|line| parts.iter().all(|part| line.contains(part))),
            "no line with {parts:?} in:\n{text}"
        );
    }
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn run_refuses_what_check_refuses_and_binds_nothing() {
    let port = Port::free();
    let folder = Folder::new();
    folder.write("broken.lua", "return {");
    let region = with_plugins(&[("lua", "broken.lua")]).replace("127.0.0.1:9", &port.address.to_string());
    let file = folder.write("region.yaml", region);
    let mut process = Process::start(&["run", "-c", file.to_str().expect("a path in text")], folder.path());
    process.expect_error("broken.lua");
    assert_eq!(process.wait().code(), Some(64), "{:?}", process.log());
    assert!(process.log_has("broken.lua"), "{:?}", process.log());
}

#[test]
fn a_port_that_is_taken_is_told_with_its_key() {
    let port = Port::free();
    let _taken = std::net::TcpListener::bind(port.address).expect("a free port");
    let folder = Folder::new();
    let region = format!(
        "edge: {{listeners: [{{address: \"{}\"}}]}}\nroutes:\n  - {{name: all, respond: {{}}}}\n",
        port.address
    );
    let file = folder.write("region.yaml", region);
    let mut process = Process::start(&["run", "-c", file.to_str().expect("a path in text")], folder.path());
    process.expect_error(&port.address.to_string());
    let code = process.wait().code();
    assert!(matches!(code, Some(64..=78)), "{code:?}");
    assert!(process.log_has(&port.address.to_string()), "{:?}", process.log());
}

#[test]
fn the_schema_is_json_and_knows_the_keys() {
    let output = run(&["schema"]);
    assert_eq!(output.code, Some(0));
    let schema: serde_json::Value = serde_json::from_str(&output.stdout).expect("the schema is JSON");
    for key in ["edge", "aggregator", "log", "plugins", "routes", "pools"] {
        assert!(schema["properties"].get(key).is_some(), "{key}");
    }
}

#[test]
fn a_command_line_that_is_wrong_is_64_and_says_what_is_allowed() {
    let output = run(&["chek", "x"]);
    assert_eq!(output.code, Some(64));
    assert!(output.stderr.contains("check"), "{}", output.stderr);
    assert_eq!(run(&["--help"]).code, Some(0));
}

#[test]
fn a_trusted_plugin_is_refused_by_a_build_without_ffi_which_says_how_to_get_one() {
    let region = "\
edge: {listeners: [{address: '127.0.0.1:0'}]}
plugins: [{name: deep, lua: deep.lua, trusted: true}]
routes: [{name: all, plugins: [deep], pool: shop}]
pools: [{name: shop, origins: ['127.0.0.1:80']}]
";
    let output = check_text(region, &[("deep.lua", b"return {}")]);
    refused(
        &output,
        &[&["plugin \"deep\"", "trusted: true needs a build with FFI", "cargo build --release --features ffi"]],
    );
}
