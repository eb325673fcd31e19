//! What a plugin's `spec.yaml` says holds before it takes over: the edge plays it against the code
//! that it has loaded, and neither traffic nor what is counted, logged or held notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use harness::binary::guest;
use harness::folder::Folder;
use harness::process::run;
use harness::{Client, Edge, Origin, PATIENCE, Setup, list, wait_until};

/// Counts its exchanges in a metric, a dictionary and its log. `VERSION` and `KIND` are put in.
const LUA: &str = r#"
local seen
local plugin = {}
function plugin.on_configure() seen = forebay.metric.counter("seen_total") end
function plugin.on_request_headers()
  seen:increment()
  forebay.log.info("an exchange passes")
  forebay.ctx.set("count", tostring(forebay.dict("counts"):incr("all", 1)))
end
function plugin.on_response_headers()
  forebay.response.headers.set("x-version", "VERSION")
  forebay.response.headers.set("x-kind", "KIND")
  forebay.response.headers.set("x-count", forebay.ctx.get("count"))
end
return plugin
"#;

const LUA_MANIFEST: &str = "name: counting\nengine: lua\ncapabilities: [\"dict:counts\"]\n";

/// Five exchanges that the edge itself never had.
const LUA_SPEC: &str = "
- name: every exchange is counted
  dict: { counts: { all: '41' } }
  steps:
    - { request: { path: / }, expect: { response: { headers: { x-count: '42', x-kind: good } }, metrics: { seen_total: 1 } } }
    - { request: { path: / }, expect: { response: { headers: { x-count: '43' } }, logs: [an exchange passes] } }
    - { request: { path: / } }
    - { request: { path: / } }
- name: a new dictionary begins with one
  request: { path: / }
  expect: { response: { headers: { x-count: '1' } } }
";

fn lua(version: &str, kind: &str) -> String {
    LUA.replace("VERSION", version).replace("KIND", kind)
}

fn region(plugin: &str, origin: &Origin) -> String {
    format!(
        "plugins:\n  - {plugin}\nroutes:\n  - {{name: all, plugins: [tried], pool: shop}}\npools:\n  - {{name: shop, origins: {}}}\n",
        list(&[origin.address])
    )
}

fn lua_region(origin: &Origin) -> String {
    region("{name: tried, lua: main.lua, capabilities: [\"dict:counts\"]}", origin)
}

fn start_lua(origin: &Origin) -> Edge {
    let setup = Setup::new(lua_region(origin)).file("main.lua", lua("v1", "good"));
    setup.file("plugin.yaml", LUA_MANIFEST).file("spec.yaml", LUA_SPEC).workers(2).start()
}

/// A client that asks on and on: each answer is 200 and of one of the versions that it was told of.
struct Asking {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(usize, Duration)>,
}

impl Asking {
    fn begin(edge: &Edge, header: &'static str, versions: &'static [&'static str]) -> Asking {
        let (stop, address) = (Arc::new(AtomicBool::new(false)), edge.address);
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let (mut client, mut asked, mut longest) = (Client::connect(address), 0, Duration::ZERO);
            while !stopped.load(Ordering::SeqCst) {
                let began = Instant::now();
                let response = client.get("/");
                longest = longest.max(began.elapsed());
                asked += 1;
                assert_eq!(response.status, 200);
                let version = response.header(header).unwrap_or("none");
                assert!(versions.contains(&version), "{version} is not one of {versions:?}");
            }
            (asked, longest)
        });
        Asking { stop, thread }
    }

    /// How many it asked, and how long the longest took.
    fn end(self) -> (usize, Duration) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("every request was answered as it must be")
    }
}

#[test]
fn changed_lua_that_its_spec_refuses_does_not_take_over_and_one_that_passes_does() {
    let origin = Origin::saying("ok");
    let mut edge = start_lua(&origin);
    let asking = Asking::begin(&edge, "x-version", &["v1", "v3"]);
    edge.process.expect_error("self-test");
    edge.folder().write("main.lua", lua("v2", "bad"));
    let refusal = edge.process.wait_for_log(&["reload refused", "self-test"]);
    for part in
        ["plugin \\\"tried\\\"", "spec.yaml:2", "every exchange is counted", "x-kind", "expected good", "found bad"]
    {
        assert!(refusal.contains(part), "{part:?} is not in {refusal}");
    }
    // Still refused: the plugin is the same, and so is what its spec says of it.
    edge.process.signal("HUP");
    wait_until("a second refusal", PATIENCE, || {
        let refused = edge.process.log().iter().filter(|line| line.contains("reload refused")).count();
        (refused > 1).then_some(())
    });
    assert_eq!(edge.get("/").header("x-version"), Some("v1"));
    edge.folder().write("main.lua", lua("v3", "good"));
    wait_until("the third version", PATIENCE, || (edge.get("/").header("x-version") == Some("v3")).then_some(()));
    asking.end();
}

#[test]
fn what_a_self_test_does_is_in_no_metric_no_log_no_dictionary_and_reaches_no_origin() {
    let origin = Origin::saying("ok");
    let edge = start_lua(&origin);
    let mut client = edge.connect();
    let mut asked = 0u32;
    let mut ask = || {
        asked += 1;
        let response = client.get("/");
        assert_eq!(response.header("x-count"), Some(&*asked.to_string()), "nobody else has counted");
        response.header("x-version").expect("the plugin says so").to_owned()
    };
    assert_eq!(ask(), "v1");
    for version in ["v2", "v3", "v4"] {
        edge.folder().write("main.lua", lua(version, "good"));
        wait_until(version, PATIENCE, || (ask() == version).then_some(()));
    }
    let metrics = wait_until("all exchanges to be counted", PATIENCE, || {
        let metrics = edge.metrics();
        (metrics.sum("forebay_requests_total", &[]) >= f64::from(asked)).then_some(metrics)
    });
    let asked = f64::from(asked);
    assert_eq!(metrics.sum("forebay_requests_total", &[]), asked);
    assert_eq!(metrics.sum("forebay_plugin_seen_total", &[]), asked);
    assert_eq!(metrics.sum("forebay_plugin_calls_total", &["callback=\"on_request_headers\""]), asked);
    assert_eq!(metrics.sum("forebay_pool_requests_total", &[]), asked);
    for name in ["counting", "stage", "origin"] {
        let label = format!("=\"{name}\"");
        assert!(!metrics.0.contains(&label), "{name} is of the spec: {}", metrics.0);
    }
    let logged = |text: &str| edge.process.log().iter().filter(|line| line.contains(text)).count();
    wait_until("each exchange's line", PATIENCE, || (logged("an exchange passes") >= asked as usize).then_some(()));
    assert_eq!(logged("an exchange passes"), asked as usize);
}

/// The guest's own text in the module: the same code answers under another name.
fn renamed(module: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut renamed = module.to_vec();
    let places: Vec<_> = (0..=module.len() - from.len()).filter(|at| module[*at..].starts_with(from)).collect();
    assert!(!places.is_empty(), "the module says {}", String::from_utf8_lossy(from));
    places.into_iter().for_each(|at| renamed[at..at + to.len()].copy_from_slice(to));
    renamed
}

/// A custom section changes a module's bytes, and nothing that it does.
fn marked(module: &[u8], mark: u8) -> Vec<u8> {
    let mut marked = module.to_vec();
    marked.extend([0, 3, 1, b'm', mark]);
    marked
}

#[test]
fn changed_wasm_that_its_spec_refuses_does_not_take_over_and_one_that_passes_does() {
    let module = std::fs::read(guest("tests/conformance/guest", "conformance-guest.wasm")).expect("it is built");
    let origin = Origin::saying("ok");
    let region = region("{name: tried, wasm: guest.wasm, config: life v1 none}", &origin);
    let spec = "- name: the answer has the version\n  config: life spec none\n  request: { path: / }\n  \
                expect: { request: { headers: { x-version: spec } }, response: { headers: { x-answered: spec } } }\n";
    let setup = Setup::new(region.clone()).file("guest.wasm", &module).file("spec.yaml", spec);
    let mut edge = setup.file("plugin.yaml", "name: guest\nengine: wasm\n").workers(2).start();
    let set = |edge: &Edge| {
        let plugins: serde_json::Value = serde_json::from_str(edge.admin("/plugins").text()).expect("JSON");
        plugins["plugins"][0]["routes"][0]["instance_set"].as_u64().expect("a number")
    };
    let first = set(&edge);
    let asking = Asking::begin(&edge, "x-answered", &["v1"]);
    edge.process.expect_error("self-test");
    edge.folder().write("guest.wasm", renamed(&module, b"x-answered", b"x-enswered"));
    let refusal = edge.process.wait_for_log(&["reload refused", "self-test"]);
    for part in ["plugin \\\"tried\\\"", "spec.yaml:1", "the answer has the version", "expected spec", "found absent"] {
        assert!(refusal.contains(part), "{part:?} is not in {refusal}");
    }
    assert_eq!(set(&edge), first, "the old one serves on");
    edge.folder().write("guest.wasm", marked(&module, b'2'));
    wait_until("the changed module that passes", PATIENCE, || (set(&edge) != first).then_some(()));
    asking.end();
}

/// Ticks for a month of the stage's time, a hundred times a second: hours of ours.
const ENDLESS: &str = "
local plugin = {}
function plugin.on_configure() forebay.timer.every(0.01) end
function plugin.on_tick() end
function plugin.on_response_headers() forebay.response.headers.set('x-version', 'v2') end
return plugin
";

#[test]
fn a_spec_that_never_ends_is_refused_in_bounded_time_and_no_request_notices() {
    let origin = Origin::saying("ok");
    let mut edge = start_lua(&origin);
    let asking = Asking::begin(&edge, "x-version", &["v1"]);
    edge.process.expect_error("self-test");
    edge.folder().write("plugin.yaml", "name: counting\nengine: lua\ncapabilities: [timer]\n");
    edge.folder().write("spec.yaml", "- name: a month passes\n  steps: [ { after: 30d, request: { path: / } } ]\n");
    let began = Instant::now();
    edge.folder().write("main.lua", ENDLESS);
    edge.rewrite(&region("{name: tried, lua: main.lua, capabilities: [timer]}", &origin));
    let refused =
        || edge.process.log().into_iter().find(|line| line.contains("reload refused") && line.contains("a month"));
    let refusal = wait_until("the refusal", Duration::from_secs(60), refused);
    assert!(refusal.contains("expected an end within 10s"), "{refusal}");
    assert!(began.elapsed() < Duration::from_secs(30), "refused after {:?}", began.elapsed());
    let (asked, longest) = asking.end();
    assert!(asked > 100 && longest < Duration::from_secs(2), "{asked} requests, the longest took {longest:?}");
    assert_eq!(edge.get("/").header("x-version"), Some("v1"));
}

#[test]
fn code_that_serves_is_not_tested_again_and_a_mended_spec_is_looked_at_by_itself() {
    let origin = Origin::saying("ok");
    let mut edge = start_lua(&origin);
    edge.folder().write("spec.yaml", LUA_SPEC.replace("x-kind: good", "x-kind: best"));
    edge.process.wait_for_log(&["reloaded", "spec.yaml changed"]);
    edge.process.expect_error("self-test");
    edge.folder().write("main.lua", lua("v2", "better"));
    edge.process.wait_for_log(&["reload refused", "expected best, found better"]);
    edge.folder().write("spec.yaml", LUA_SPEC.replace("x-kind: good", "x-kind: better"));
    wait_until("the version before it", PATIENCE, || (edge.get("/").header("x-version") == Some("v2")).then_some(()));
}

#[test]
fn check_and_run_refuse_a_plugin_whose_spec_does_not_hold() {
    let (folder, origin) = (Folder::new(), Origin::saying("ok"));
    folder.write("main.lua", lua("v1", "bad"));
    folder.write("plugin.yaml", LUA_MANIFEST);
    folder.write("spec.yaml", LUA_SPEC);
    let edge = "edge: {name: e, listeners: [{address: 127.0.0.1:0}]}\n";
    let file = folder.write("region.yaml", format!("{edge}{}", lua_region(&origin)));
    let file = file.to_str().expect("temporary folders are named in text");
    for command in [&["check", file][..], &["run", "-c", file]] {
        let output = run(command);
        assert_eq!(output.code, Some(64), "{output:?}");
        assert!(output.stderr.contains("x-kind: expected good, found bad"), "{output:?}");
    }
    folder.write("spec.yaml", "- nam: a\n");
    let output = run(&["check", file]);
    assert_eq!(output.code, Some(64), "{output:?}");
    assert!(output.stderr.contains("spec.yaml") && output.stderr.contains("nam"), "{output:?}");
}
