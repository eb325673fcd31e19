//! Modules are compiled aside: whoever asks meanwhile is answered meanwhile. What would take too much to compile is
//! refused.

use std::time::{Duration, Instant};

use harness::{Client, Folder, Setup, module};

/// Enough to take some seconds here, and long enough anywhere to hold requests against.
const FUNCTIONS: usize = 1500;

fn region(version: &str) -> String {
    format!(
        "plugins: [{{name: p, wasm: {version}.wasm}}]\n\
         routes:\n  - {{name: all, plugins: [p], respond: {{body: here}}}}\n"
    )
}

#[test]
fn requests_are_answered_while_a_large_module_is_compiled() {
    let cache = Folder::new();
    let large = module::large("two", FUNCTIONS);
    let setup = Setup::new(region("one")).cache(cache.path());
    let edge = setup.file("one.wasm", module::version("one")).file("two.wasm", &large).workers(1).start();
    let mut client = Client::connect(edge.address);
    assert_eq!(client.get("/").header("x-version"), Some("one"));
    let begin = Instant::now();
    edge.reload(&region("two"));
    let (mut answered, mut longest) = (0, Duration::ZERO);
    let window = loop {
        let asked = Instant::now();
        let response = client.get("/");
        let waited = asked.elapsed();
        match response.header("x-version") {
            Some("one") => (answered, longest) = (answered + 1, longest.max(waited)),
            Some("two") => break begin.elapsed(),
            other => panic!("neither version: {other:?}"),
        }
        assert!(begin.elapsed() < Duration::from_secs(120), "the new version does not come");
    };
    // A worker that compiles, or waits for who does, answers nothing in all this time.
    assert!(window > Duration::from_millis(200), "compiled in {window:?}: too fast to tell anything");
    assert!(longest < window / 3, "a request waited {longest:?} of the {window:?} until the new version served");
    assert!(answered > 50, "{answered} requests in {window:?}");
}

/// 100 KB that took 1.7 GB and many seconds to compile: 8,000 locals, each last used in a loop of its own.
fn bomb() -> Vec<u8> {
    let loops: String =
        (0..8000).map(|n| format!("(loop local.get {n} local.set {} i32.const 0 br_if 0)", n + 1)).collect();
    let text = format!(
        r#"(module
          (memory (export "memory") 1)
          (func (export "proxy_abi_version_0_2_1"))
          (func (export "malloc") (param i32) (result i32) (i32.const 8192))
          (func $bomb (export "proxy_on_tick") (param i32) (local {}) {loops}))"#,
        "i32 ".repeat(8010)
    );
    wat::parse_str(&text).expect("the text of the module is right")
}

#[test]
fn a_module_that_would_take_too_much_to_compile_is_refused_before_it_does() {
    let cache = Folder::new();
    let setup = Setup::new(region("one")).cache(cache.path());
    let mut edge = setup.file("one.wasm", module::version("one")).file("bomb.wasm", bomb()).workers(1).start();
    assert_eq!(edge.get("/").header("x-version"), Some("one"));
    edge.process.expect_error("too much to compile");
    edge.process.expect_error("reload");
    let begin = Instant::now();
    edge.reload(&region("bomb"));
    edge.process.wait_for_log(&[
        "bomb.wasm: the module is too much to compile: function 2",
        "bomb",
        "MiB of memory (allowed: at most 500 MiB)",
        "8000 loops",
        "8011 locals",
    ]);
    assert!(begin.elapsed() < Duration::from_secs(5), "refused after {:?}", begin.elapsed());
    let status = std::fs::read_to_string(format!("/proc/{}/status", edge.process.pid())).expect("it runs");
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel says it");
    let most: u64 = most.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(most < 500_000, "the process has had {most} KB");
    assert_eq!(edge.get("/").header("x-version"), Some("one"), "the version before serves on");
}
