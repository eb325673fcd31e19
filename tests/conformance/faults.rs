//! A plugin that misbehaves costs one exchange: the same status and the same verdict in both
//! engines, and its neighbours and the next request do not notice.

use std::time::{Duration, Instant};

use harness::{Edge, Origin, PATIENCE, Setup, list, wait_until};

use crate::pair::{Engine, Plugin, edge, in_every_language, on_both_engines, plugin};

/// Fails as its configuration says: `fault HOW@PHASE`.
const FAULT: &str = r#"
local plugin = {}
local how, phase
local kept = {}

local function recurse(depth)
  return recurse(depth + 1) + depth
end
local ways = {
  ["loop"] = function() while true do end end,
  memory = function() while true do kept[#kept + 1] = string.rep("7", 1048576) .. #kept end end,
  trap = function() local nothing; return nothing.field end,
  error = function() error("a sentence of the plugin") end,
  recursion = function() return recurse(0) end,
  grant = function() assert(forebay.http.call("side", {})) end,
  other = function() forebay.http.call("side", {}) error("a sentence of the plugin") end,
}
local function fail(here)
  if here == phase then ways[how]() end
end

function plugin.on_configure(config)
  how, phase = config:match("^fault ([^@%s]+)@?(%S*)")
  if phase == "" then phase = "request" end
end
function plugin.on_request_headers()
  if not forebay.request.headers.get("x-good") then fail("request") end
end
function plugin.on_response_headers()
  fail("response")
  forebay.response.headers.add("x-plugin", "alive")
end
function plugin.on_log() fail("log") end
return plugin
"#;

pub fn fault(how: &str) -> Plugin {
    let plugin = plugin("fault", FAULT).words(&format!("fault {how}"));
    // A bomb that the CPU limit ends first would say nothing about memory.
    if how.starts_with("memory") { plugin.keys("    limits: {cpu: 5s}") } else { plugin }
}

/// The words that a fault of this guest may leave in lines of level ERROR.
pub const ITS_WORDS: [&str; 4] =
    ["a sentence of the plugin", "src/faults.rs", "memory allocation of", "RUST_BACKTRACE"];

pub fn expect_its_words(edge: &mut Edge, engine: Engine) {
    for words in ITS_WORDS {
        edge.process.expect_error(words);
    }
    // Go's runtime says a page of its own, a line at a time.
    if engine == Engine::Go {
        edge.process.expect_error("\"plugin\":\"fault\"");
    }
}

fn faults(edge: &Edge, verdict: &str) -> f64 {
    edge.metrics().sum("forebay_plugin_faults_total", &["plugin=\"fault\"", &format!("verdict=\"{verdict}\"")])
}

#[track_caller]
fn good(edge: &Edge) {
    let mut client = edge.connect();
    client.request("GET", "/good", &[("x-good", "1")], b"");
    let response = client.response();
    assert_eq!((response.status, response.header("x-plugin")), (200, Some("alive")), "the next request is served");
}

/// The fault, and what must be seen of it.
#[track_caller]
fn costs_one_exchange(engine: Engine, how: &str, verdict: &str) {
    let origin = Origin::saying("ok");
    let mut edge = edge(engine, fault(how), &origin);
    expect_its_words(&mut edge, engine);
    good(&edge);
    let asked = origin.requests();
    for n in 1..=3 {
        let begin = Instant::now();
        let mut client = edge.connect();
        client.request("GET", "/bad", &[], b"");
        let response = client.response();
        assert_eq!(response.status, 503, "{how}: {}", String::from_utf8_lossy(&response.body));
        assert!(begin.elapsed() < Duration::from_secs(5), "{how}: took {:?}", begin.elapsed());
        assert_eq!(response.header("x-plugin"), None, "nothing of the plugin's work is left");
        wait_until("the fault's metric", PATIENCE, || (faults(&edge, verdict) == f64::from(n)).then_some(()));
        good(&edge);
    }
    if !how.contains('@') {
        assert_eq!(origin.requests(), asked + 3, "only the good ones reach the origin");
    }
    let line = edge.process.wait_for_log(&["/bad", "503", verdict]);
    assert!(line.contains("fault"), "the line names the plugin: {line}");
    let all = edge.metrics().sum("forebay_plugin_faults_total", &[]);
    assert_eq!(all, 3.0, "three faults and no other");
}

in_every_language! {
    an_endless_loop_is_cpu,
    a_memory_bomb_is_memory,
    a_trap_is_trap,
    an_error_of_the_plugin_is_trap,
    a_fault_in_the_response_is_503_too,
    a_fault_after_the_exchange_costs_the_client_nothing,
    an_open_plugin_that_fails_is_passed_by,
    neighbours_with_instances_of_their_own_do_not_notice,
    a_plugin_that_refuses_its_configuration_is_config,
}

on_both_engines! {
    fn an_endless_loop_is_cpu(engine) { costs_one_exchange(engine, "loop", "CPU") }
    fn a_memory_bomb_is_memory(engine) { costs_one_exchange(engine, "memory", "MEMORY") }
    fn a_trap_is_trap(engine) { costs_one_exchange(engine, "trap", "TRAP") }
    fn an_error_of_the_plugin_is_trap(engine) { costs_one_exchange(engine, "error", "TRAP") }
    fn endless_recursion_is_trap(engine) { costs_one_exchange(engine, "recursion", "TRAP") }
    fn what_fails_for_want_of_a_grant_is_capability(engine) { costs_one_exchange(engine, "grant", "CAPABILITY") }
    fn a_refusal_that_the_plugin_goes_on_after_is_not_what_it_fails_of(engine) { costs_one_exchange(engine, "other", "TRAP") }

    fn a_fault_in_the_response_is_503_too(engine) {
        let origin = Origin::saying("ok");
        let mut edge = edge(engine, fault("error@response"), &origin);
        expect_its_words(&mut edge, engine);
        let response = edge.get("/bad");
        assert_eq!(response.status, 503);
        assert_eq!(origin.requests(), 1);
        wait_until("the fault's metric", PATIENCE, || (faults(&edge, "TRAP") == 1.0).then_some(()));
    }

    fn a_fault_after_the_exchange_costs_the_client_nothing(engine) {
        let origin = Origin::saying("ok");
        let mut edge = edge(engine, fault("error@log"), &origin);
        expect_its_words(&mut edge, engine);
        let response = edge.get("/a");
        assert_eq!((response.status, response.text()), (200, "ok"));
        wait_until("the fault's metric", PATIENCE, || (faults(&edge, "TRAP") == 1.0).then_some(()));
        assert_eq!(edge.get("/b").status, 200);
    }

    fn an_open_plugin_that_fails_is_passed_by(engine) {
        let origin = Origin::saying("ok");
        let mut edge = edge(engine, fault("error").keys("    on_fault: open"), &origin);
        expect_its_words(&mut edge, engine);
        let response = edge.get("/bad");
        assert_eq!((response.status, response.text()), (200, "ok"));
        wait_until("the fault's metric", PATIENCE, || (faults(&edge, "TRAP") >= 1.0).then_some(()));
        good(&edge);
    }

    fn neighbours_with_instances_of_their_own_do_not_notice(engine) {
        for (how, verdict) in [("loop", "CPU"), ("memory", "MEMORY"), ("trap", "TRAP")] {
            neighbours(engine, fault(how).keys("    isolation: exchange"), verdict);
        }
    }

    fn a_plugin_that_refuses_its_configuration_is_config(engine) {
        let lua = "local plugin = {}\nfunction plugin.on_configure() return false end\nfunction plugin.on_request_headers() end\nreturn plugin\n";
        let origin = Origin::saying("ok");
        let plugin = plugin("fault", lua).words("refuse_config");
        let setup = crate::pair::setup(&[(engine, plugin)], origin.address, None);
        refused_or_503(setup, "CONFIG");
    }
}

/// A killed coroutine leaves its VM sound.
#[test]
fn neighbours_in_one_lua_instance_do_not_notice() {
    for (how, verdict) in [("loop", "CPU"), ("memory", "MEMORY"), ("trap", "TRAP")] {
        neighbours(Engine::Lua, fault(how), verdict);
    }
}

/// Where the configuration is first tried is the edge's choice: at the start, which it then
/// refuses, or at the first exchange, which then ends as 503.
fn refused_or_503(setup: Setup, verdict: &str) {
    let folder = setup.folder().to_owned();
    let started = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut edge = setup.start();
        edge.process.expect_error(verdict);
        let response = edge.get("/a");
        assert_eq!(response.status, 503);
        wait_until("the fault's metric", PATIENCE, || (faults(&edge, verdict) >= 1.0).then_some(()));
    }));
    if let Err(panic) = started {
        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
        assert!(
            text.contains("ended before it was ready") && text.contains(verdict),
            "in {}: {text}",
            folder.display()
        );
    }
}

/// Exchanges that are under way, with the same plugin and without it, while it fails.
fn neighbours(engine: Engine, fault: Plugin, verdict: &str) {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::serve(move |exchange| {
        exchange.begin(200, &[])?;
        exchange.chunk(b"first ")?;
        if exchange.head.target().starts_with("/slow") {
            let _ = wait.lock().expect("not poisoned").recv_timeout(PATIENCE);
        }
        exchange.chunk(b"last")?;
        exchange.end(&[])
    });
    let region = format!(
        "plugins:\n{}routes:\n  - name: free\n    match: {{path: {{prefix: /slow-free}}}}\n    pool: shop\n  - name: all\n    \
         plugins: [fault]\n    pool: shop\npools:\n  - name: shop\n    origins: {}\n",
        fault.entry(engine),
        list(&[origin.address])
    );
    let mut edge = Setup::new(region).file("fault.lua", &fault.lua).start();
    expect_its_words(&mut edge, engine);
    let mut slow: Vec<_> = ["/slow-free", "/slow-same", "/slow-same"]
        .iter()
        .map(|path| {
            let mut client = edge.connect();
            client.request("GET", path, &[("x-good", "1")], b"");
            assert_eq!(client.response_head().status(), 200, "{path}");
            client
        })
        .collect();
    for _ in 0..3 {
        assert_eq!(edge.get("/bad").status, 503);
    }
    for _ in 0..3 {
        go.send(()).expect("the origin waits");
    }
    for client in &mut slow {
        let body = client.messages.body().expect("the neighbour's body is whole");
        assert_eq!(body, b"first last", "{verdict}");
    }
    wait_until("three faults", PATIENCE, || (faults(&edge, verdict) == 3.0).then_some(()));
    assert_eq!(edge.metrics().sum("forebay_plugin_collateral_total", &[]), 0.0);
}
