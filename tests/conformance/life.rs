//! What many faults cost a plugin: it is disabled by its policy, tried again, and under
//! `last_good` the version before it serves, also the exchange that met the fault.

use harness::{Client, Edge, Origin, PATIENCE, Setup, list, wait_until};
use serde_json::Value;

use crate::pair::{Engine, Plugin, on_both_engines, plugin};

/// `life VERSION WHERE`: edits all it can, then fails where it is told.
const LIFE: &str = r#"
local plugin = {}
local version, fails
local headers = forebay.request.headers

local function fail(here)
  if fails == here and not headers.get("x-good") then error("a sentence of the plugin") end
end
function plugin.on_configure(config)
  version, fails = config:match("^life (%S+) ?(%S*)")
end
function plugin.on_request_headers()
  headers.add("x-version", version)
  headers.remove("x-gone")
  headers.add("x-seen", forebay.ctx.get("seen") or "")
  forebay.ctx.set("seen", version, { shared = true })
  fail("headers")
  if fails == "wait" then
    forebay.sleep(0.001)
    fail("wait")
  end
end
function plugin.on_request_body()
  forebay.request.set_body(version .. ":" .. forebay.request.body())
  fail("body")
end
function plugin.on_response_headers()
  forebay.response.headers.add("x-answered", version)
  fail("response")
end
return plugin
"#;

/// The plugin `p` as this version.
fn life(version: &str, fails: &str, keys: &str) -> Plugin {
    plugin("p", LIFE).words(&format!("life {version} {fails}")).keys(keys)
}

fn region(engine: Engine, plugins: &[Plugin], origin: &Origin) -> String {
    let entries: String = plugins.iter().map(|plugin| plugin.entry(engine)).collect();
    let names: Vec<_> = plugins.iter().map(|plugin| plugin.name).collect();
    format!(
        "plugins:\n{entries}routes:\n  - name: all\n    plugins: [{}]\n    pool: shop\npools:\n  - name: shop\n    \
         origins: {}\n",
        names.join(", "),
        list(&[origin.address])
    )
}

fn start(engine: Engine, plugin: &Plugin, origin: &Origin) -> Edge {
    let setup = Setup::new(region(engine, std::slice::from_ref(plugin), origin)).workers(2);
    let setup = setup.file("p.lua", LIFE).file("behind.lua", LIFE);
    let mut edge = setup.start();
    for words in ["a sentence of the plugin", "src/life.rs", "RUST_BACKTRACE"] {
        edge.process.expect_error(words);
    }
    edge
}

/// Puts these plugins there, and waits until they are.
#[track_caller]
fn replace(edge: &Edge, engine: Engine, plugins: &[Plugin], origin: &Origin) {
    let taken = || edge.process.log().iter().filter(|line| line.contains("\"SIGHUP\"")).count();
    let before = taken();
    edge.reload(&region(engine, plugins, origin));
    wait_until("the reload", PATIENCE, || (taken() > before).then_some(()));
}

#[track_caller]
fn status(edge: &Edge, headers: &[(&str, &str)]) -> (u16, Option<String>) {
    let mut client = edge.connect();
    client.request("GET", "/", headers, b"");
    let response = client.response();
    (response.status, response.header("x-forebay-reject").map(str::to_owned))
}

const GOOD: &[(&str, &str)] = &[("x-good", "1")];

#[track_caller]
fn state(edge: &Edge) -> Value {
    let response = edge.admin("/plugins");
    let all: Value = serde_json::from_slice(&response.body).expect("the answer is JSON");
    all["plugins"][0]["routes"][0].clone()
}

/// As the admin address and the metrics have it, which must agree.
#[track_caller]
fn wait_for_state(edge: &Edge, wanted: &str) -> Value {
    wait_until(&format!("the state {wanted}"), PATIENCE, || {
        let state = state(edge);
        let metric = edge
            .metrics()
            .sum("forebay_plugin_state", &["plugin=\"p\"", "route=\"all\"", &format!("state=\"{wanted}\"")]);
        (state["state"] == wanted && metric == 1.0).then_some(state)
    })
}

/// So many lines of a life with this text; the log comes a moment after what it tells of.
#[track_caller]
fn told(edge: &Edge, times: usize, text: &str) {
    let count =
        || edge.process.log().iter().filter(|line| line.contains("forebay::life") && line.contains(text)).count();
    wait_until(&format!("{times} lines with {text:?}"), PATIENCE, || (count() >= times).then_some(()));
    assert_eq!(count(), times, "{text}");
}

on_both_engines! {
    fn a_closed_plugin_that_spent_its_budget_answers_503_at_once(engine) {
        let origin = Origin::saying("ok");
        let bad = life("v1", "headers", "    crash_budget: {faults: 3, within: 1h, back_off: 1h, most: 1h}");
        let edge = start(engine, &bad, &origin);
        assert_eq!(status(&edge, GOOD), (200, None));
        for left in [2, 1, 0] {
            assert_eq!(state(&edge)["state"], "serving");
            assert_eq!(status(&edge, &[]), (503, Some("plugin_fault".to_owned())));
            assert_eq!(state(&edge)["budget_left"], left);
        }
        let asked = origin.requests();
        for headers in [GOOD, &[]] {
            assert_eq!(status(&edge, headers), (503, Some("plugin_disabled".to_owned())), "good ones too");
        }
        assert_eq!(origin.requests(), asked);
        let state = wait_for_state(&edge, "disabled");
        assert_eq!(state["faults"]["total"], 3, "it is not run any more: {state:#}");
        assert_eq!(state["last_fault"]["verdict"], "TRAP");
        assert!(state["disabled_for_ms"].as_u64().is_some_and(|left| left > 3_000_000), "{state:#}");
        assert!(!state["last_fault"]["request_id"].as_str().unwrap_or_default().is_empty(), "{state:#}");
        told(&edge, 1, "disabled: its crash budget is spent");
    }

    fn an_open_plugin_that_spent_its_budget_is_passed_by(engine) {
        let origin = Origin::saying("ok");
        let keys = "    on_fault: open\n    crash_budget: {faults: 2, within: 1h, back_off: 1h, most: 1h}";
        let edge = start(engine, &life("v1", "headers", keys), &origin);
        for _ in 0..4 {
            assert_eq!(status(&edge, &[]), (200, None));
        }
        let state = wait_for_state(&edge, "disabled");
        assert_eq!(state["faults"]["total"], 2, "{state:#}");
        assert_eq!(status(&edge, GOOD), (200, None));
        assert_eq!(origin.last().headers.get("x-version"), None, "it is not run");
    }

    fn one_exchange_tries_a_disabled_plugin_and_it_serves_again(engine) {
        let origin = Origin::saying("ok");
        let bad = life("v1", "headers", "    crash_budget: {faults: 1, within: 1h, back_off: 1ms, most: 1ms}");
        let edge = start(engine, &bad, &origin);
        assert_eq!(status(&edge, &[]).0, 503);
        told(&edge, 1, "its crash budget is spent");
        wait_until("a probe that fails", PATIENCE, || {
            (status(&edge, &[]).1.as_deref() == Some("plugin_fault")).then_some(())
        });
        edge.process.wait_for_log(&["its probe failed"]);
        wait_until("a probe that passes", PATIENCE, || (status(&edge, GOOD).0 == 200).then_some(()));
        wait_for_state(&edge, "serving");
        told(&edge, 1, "serves again: its probe passed");
        assert_eq!(status(&edge, GOOD), (200, None));
    }

    fn the_operator_enables_a_disabled_plugin(engine) {
        let origin = Origin::saying("ok");
        let bad = life("v1", "headers", "    crash_budget: {faults: 1, within: 1h, back_off: 1h, most: 1h}");
        let edge = start(engine, &bad, &origin);
        assert_eq!(status(&edge, &[]).0, 503);
        assert_eq!(status(&edge, GOOD).1.as_deref(), Some("plugin_disabled"));
        let post = |path: &str| {
            let mut client = harness::Client::connect(edge.admin);
            client.request("POST", path, &[], b"");
            client.response()
        };
        assert_eq!(post("/plugins/q/enable").status, 404);
        assert_eq!(post("/plugins/p/enable?route=other").status, 404);
        assert_eq!(post("/plugins/p/enable?rout=all").status, 400);
        assert_eq!(edge.admin("/plugins/p/enable").status, 405, "it changes something");
        assert_eq!(status(&edge, GOOD).1.as_deref(), Some("plugin_disabled"), "nothing so far enabled it");
        let response = post("/plugins/p/enable");
        let said: Value = serde_json::from_slice(&response.body).expect("the answer is JSON");
        assert_eq!((response.status, &said["enabled_on"]), (200, &serde_json::json!(["all"])));
        assert_eq!(status(&edge, GOOD), (200, None));
        assert_eq!(state(&edge)["budget_left"], 1, "its faults are forgiven");
        let again: Value = serde_json::from_slice(&post("/plugins/p/enable?route=all").body).expect("the answer is JSON");
        assert_eq!(again["enabled_on"], serde_json::json!([]), "there was nothing to end");
    }

    fn a_reload_of_the_same_keeps_a_plugin_disabled_and_a_changed_one_begins_anew(engine) {
        let origin = Origin::saying("ok");
        let keys = "    crash_budget: {faults: 1, within: 1h, back_off: 1h, most: 1h}";
        let bad = life("v1", "headers", keys);
        let edge = start(engine, &bad, &origin);
        assert_eq!(status(&edge, &[]).0, 503);
        replace(&edge, engine, &[bad], &origin);
        assert_eq!(status(&edge, GOOD).1.as_deref(), Some("plugin_disabled"));
        replace(&edge, engine, &[life("v2", "none", keys)], &origin);
        assert_eq!(status(&edge, &[]), (200, None));
        assert_eq!(origin.last().headers.get("x-version"), Some("v2"));
    }

    fn the_version_before_takes_over_the_exchange_that_met_the_fault(engine) {
        for fails in ["headers", "wait", "body"] {
            takes_over(engine, fails);
        }
    }

    fn the_version_before_serves_while_the_new_one_is_disabled(engine) {
        let origin = Origin::saying("ok");
        let keys = "    on_fault: last_good\n    crash_budget: {faults: 2, within: 1h, back_off: 1h, most: 1h}";
        let edge = start(engine, &life("v1", "none", keys), &origin);
        assert_eq!(status(&edge, GOOD), (200, None));
        replace(&edge, engine, &[life("v2", "headers", keys)], &origin);
        let version = |headers: &[(&str, &str)]| {
            assert_eq!(status(&edge, headers), (200, None));
            origin.last().headers.get("x-version").map(str::to_owned)
        };
        assert_eq!(version(GOOD).as_deref(), Some("v2"));
        assert_eq!(version(&[]).as_deref(), Some("v1"));
        assert_eq!(version(GOOD).as_deref(), Some("v2"), "one fault does not disable it");
        assert_eq!(version(&[]).as_deref(), Some("v1"));
        let state = wait_for_state(&edge, "last_good");
        assert_ne!(state["last_good"], Value::Null, "{state:#}");
        assert_eq!(version(GOOD).as_deref(), Some("v1"), "now it is");
        // A third version falls back to the first: the second was no good.
        replace(&edge, engine, &[life("v3", "headers", keys)], &origin);
        assert_eq!(version(&[]).as_deref(), Some("v1"));
        assert_eq!(version(GOOD).as_deref(), Some("v3"));
    }

    fn what_others_have_seen_is_not_taken_over(engine) {
        let origin = Origin::echo();
        let keys = "    on_fault: last_good";
        let edge = start(engine, &life("v1", "none", keys), &origin);
        assert_eq!(status(&edge, GOOD), (200, None));
        // In the response: the request that the new version made has been sent.
        replace(&edge, engine, &[life("v2", "response", keys)], &origin);
        assert_eq!(status(&edge, &[]), (503, Some("plugin_fault".to_owned())));
        assert_eq!(origin.last().headers.get("x-version"), Some("v2"));
        // While the body goes by: the plugin behind has seen the headers.
        let behind = Plugin { name: "behind", ..life("behind", "none", "") };
        replace(&edge, engine, &[life("v3", "body", keys), behind], &origin);
        let asked = origin.requests();
        let mut client = edge.connect();
        client.request("POST", "/", &[], b"abc");
        assert_eq!(client.response().status, 503);
        assert_eq!(origin.requests(), asked, "no half-edited request is sent");
    }

    fn without_a_good_version_last_good_is_closed(engine) {
        let origin = Origin::saying("ok");
        let keys = "    on_fault: last_good\n    crash_budget: {faults: 1, within: 1h, back_off: 1h, most: 1h}";
        let edge = start(engine, &life("v1", "headers", keys), &origin);
        assert_eq!(status(&edge, &[]), (503, Some("plugin_fault".to_owned())));
        assert_eq!(status(&edge, GOOD), (503, Some("plugin_disabled".to_owned())));
        // It has never served, and has been disabled: no version to fall back to.
        replace(&edge, engine, &[life("v2", "headers", keys)], &origin);
        assert_eq!(status(&edge, &[]), (503, Some("plugin_fault".to_owned())));
        assert_eq!(state(&edge)["last_good"], Value::Null);
    }
}

/// v1 serves; v2 fails in `fails` after it has edited all it can; the origin gets what v1 makes.
#[track_caller]
fn takes_over(engine: Engine, fails: &str) {
    let origin = Origin::echo();
    let keys = "    on_fault: last_good";
    let edge = start(engine, &life("v1", "none", keys), &origin);
    let sent = |body: &[u8]| {
        let mut client = edge.connect();
        client.request("POST", "/", &[("x-gone", "here"), ("x-version", "client")], body);
        let response = client.response();
        let head = origin.last();
        let headers = |name: &str| head.headers.all(name).join("|");
        let edits = format!("{} {} {}", headers("x-version"), headers("x-seen"), headers("x-gone"));
        (response.status, edits, response.text().to_owned(), response.header("x-answered").map(str::to_owned))
    };
    let v1 = sent(b"abc");
    assert_eq!(v1, (200, "client|v1  ".to_owned(), "v1:abc".to_owned(), Some("v1".to_owned())));
    replace(&edge, engine, &[life("v2", fails, keys)], &origin);
    assert_eq!(sent(b"abc"), v1, "{fails}: nothing of the failed one is left");
    let long = vec![b'a'; 20 << 10];
    assert_eq!(sent(&long).2, format!("v1:{}", String::from_utf8_lossy(&long)), "{fails}: the whole body, once");
    assert_eq!(origin.requests(), 3, "{fails}: one request each");
    let faults = edge.metrics().sum("forebay_plugin_faults_total", &["plugin=\"p\"", "verdict=\"TRAP\""]);
    assert_eq!(faults, 2.0, "{fails}: the faults are counted all the same");
    told(&edge, 2, "the version before takes the exchange over");
}

/// Takes what is in its queue, and fails if a request says so.
const LISTENS: &str = r#"
local plugin = {}
local jobs = forebay.queue("jobs")
function plugin.on_queue_ready(queue)
  local item = jobs:pop()
  if item then forebay.log.info("case taken: " .. item .. ".") end
end
function plugin.on_request_headers()
  local headers = forebay.request.headers
  if headers.get("x-fail") then error("a sentence of the plugin") end
end
return plugin
"#;

/// Before it, so that a request gets here whatever becomes of it.
const FEEDS: &str = r#"
local plugin = {}
function plugin.on_request_headers()
  local item = forebay.request.headers.get("x-item")
  if item then forebay.queue("jobs"):push(item) end
end
return plugin
"#;

#[test]
fn a_disabled_plugin_is_told_of_no_queue_until_it_serves_again() {
    let origin = Origin::saying("ok");
    let grants = "    capabilities: [\"queue:jobs\"]";
    let budget = "    crash_budget: {faults: 1, within: 1h, back_off: 1h, most: 1h}";
    let keys = format!("{grants}\n{budget}");
    let plugins = [plugin("p", LISTENS).keys(&keys), plugin("feeds", FEEDS).keys(grants)];
    // The file of the first is told of first: `state` looks at it.
    let text = region(Engine::Lua, &plugins, &origin).replace("plugins: [p, feeds]", "plugins: [feeds, p]");
    let mut edge = Setup::new(text).workers(2).file("p.lua", LISTENS).file("feeds.lua", FEEDS).start();
    edge.process.expect_error("a sentence of the plugin");
    let push = |item: &str| status(&edge, &[("x-item", item)]).0;
    let taken = |item: &str| edge.process.log_has(&format!("case taken: {item}."));
    assert_eq!(push("one"), 200);
    wait_until("the first item to be taken", PATIENCE, || taken("one").then_some(()));
    assert_eq!(status(&edge, &[("x-fail", "1")]).0, 503);
    wait_until("the state disabled", PATIENCE, || edge.admin("/plugins").text().contains("\"disabled\"").then_some(()));
    let calls = || edge.metrics().sum("forebay_plugin_calls_total", &["plugin=\"p\"", "on_queue_ready"]);
    let before = calls();
    for item in ["two", "three"] {
        assert_eq!(push(item), 503, "the feeder has pushed it by then");
    }
    let mut client = Client::connect(edge.admin);
    assert_eq!(edge.metrics().sum("forebay_queue_items", &["queue=\"jobs\""]), 2.0);
    // Workers look after their instances four times a second.
    let looks = std::time::Instant::now();
    wait_until("several looks", PATIENCE, || (looks.elapsed().as_millis() > 1000).then_some(()));
    assert_eq!((calls(), taken("two")), (before, false), "nobody has told it");
    client.request("POST", "/plugins/p/enable", &[], b"");
    assert_eq!(client.response().status, 200);
    wait_until("what has waited to be taken", PATIENCE, || (taken("two") && taken("three")).then_some(()));
}
