//! Queues: pushed once, popped once, by whatever worker and engine; and who is told of them.

use std::collections::BTreeSet;

use harness::{Edge, Origin, PATIENCE, wait_until};

use crate::pair::{Engine, Plugin, edge, on_both_engines, plugin, setup};

const ASK: &str = r#"
local plugin = {}
local jobs = forebay.queue("jobs")
function plugin.on_request_headers()
  local item = forebay.request.headers.get("x-item")
  local said, why
  if item then said, why = jobs:push(item) else said, why = jobs:pop() end
  forebay.request.headers.set("x-said", why and why.code or tostring(said))
end
return plugin
"#;

/// Takes one item each time that it is told.
const TAKE: &str = r#"
local plugin = {}
function plugin.on_queue_ready(queue)
  local item = forebay.queue(queue):pop()
  if item then forebay.log.info("case queue_take: " .. item .. ".") end
end
return plugin
"#;

/// The same, but it waits before it takes, and after.
const TAKE_SLOWLY: &str = r#"
local plugin = {}
local busy = 0
function plugin.on_queue_ready(queue)
  busy = busy + 1
  forebay.sleep(0.01)
  local item = forebay.queue(queue):pop()
  forebay.sleep(0.01)
  if item then forebay.log.info("case queue_take: " .. item .. ".") end
  if busy > 1 then forebay.log.error("two at a time") end
  busy = busy - 1
end
return plugin
"#;

/// Pushes what a request asks for, all at once.
const FEED: &str = r#"
local plugin = {}
function plugin.on_request_headers()
  local queue = forebay.queue(forebay.request.headers.get("x-queue"))
  for i = 1, 20 do
    local ok, why = queue:push(forebay.request.headers.get("x-burst") .. i)
    if not ok then forebay.respond(500, {}, tostring(why)) end
  end
end
return plugin
"#;

fn feeder(queue: &str) -> Plugin {
    plugin("feeder", FEED).keys(&format!("    capabilities: [\"queue:{queue}\"]"))
}

/// The items that were logged as taken.
fn taken(edge: &Edge) -> Vec<String> {
    let item = |line: &String| {
        let (_, rest) = line.split_once("case queue_take: ")?;
        Some(rest.split('.').next()?.to_owned())
    };
    edge.process.log().iter().filter_map(item).collect()
}

/// Bursts of twenty, each wholly taken before the next; nothing twice.
#[track_caller]
fn bursts(edge: &Edge, queue: &str) {
    for (round, burst) in ["a", "b", "c"].into_iter().enumerate() {
        let mut client = edge.connect();
        client.request("GET", "/a", &[("x-queue", queue), ("x-burst", burst)], b"");
        let response = client.response();
        assert_eq!((response.status, response.text()), (200, "ok"));
        let wanted = 20 * (round + 1);
        wait_until("every item", PATIENCE, || (taken(edge).len() >= wanted).then_some(()));
    }
    let all = taken(edge);
    let each: BTreeSet<_> = all.iter().collect();
    assert_eq!((all.len(), each.len()), (60, 60), "{all:?}");
    let metrics = edge.metrics();
    let of = |name: &str| metrics.sum(name, &[&format!("queue=\"{queue}\"")]);
    assert_eq!((of("forebay_queue_items"), of("forebay_queue_pushed_total")), (0.0, 60.0));
    assert_eq!(metrics.sum("forebay_plugin_faults_total", &[]), 0.0);
}

on_both_engines! {
    fn items_come_out_once_in_order_and_a_full_queue_refuses(engine) {
        let origin = Origin::saying("ok");
        let plugin = plugin("queue_ask", ASK).keys("    capabilities: [\"queue:jobs\"]");
        let setup = setup(&[(engine, plugin)], origin.address, None).also("queues: [{name: jobs, items: 3}]\n");
        let edge = setup.workers(2).start();
        let ask = |item: Option<&str>| {
            let mut client = edge.connect();
            let headers: Vec<_> = item.map(|item| ("x-item", item)).into_iter().collect();
            client.request("GET", "/a", &headers, b"");
            assert_eq!(client.response().status, 200);
            origin.last().headers.get("x-said").expect("the plugin says what it got").to_owned()
        };
        assert_eq!(ask(None), "nil");
        for item in ["one", "two", "three"] {
            assert_eq!(ask(Some(item)), "true");
        }
        assert_eq!(ask(Some("four")), "LIMIT_EXCEEDED");
        let all: Vec<_> = (0..4).map(|_| ask(None)).collect();
        assert_eq!(all, ["one", "two", "three", "nil"]);
        assert_eq!(edge.metrics().sum("forebay_queue_refused_total", &["queue=\"jobs\""]), 1.0);
    }

    fn a_queue_that_was_not_granted_is_refused(engine) {
        let origin = Origin::saying("ok");
        let edge = edge(engine, plugin("queue_ask", ASK), &origin);
        assert_eq!(edge.get("/a").status, 200);
        assert_eq!(origin.last().headers.get("x-said"), Some("CAPABILITY_DENIED"));
    }

    fn who_listens_is_told_of_each_burst_until_all_is_taken(engine) {
        let origin = Origin::saying("ok");
        let taker = plugin("queue_take", TAKE).keys("    capabilities: [\"queue:jobs\"]\n    limits: {log_lines: 10000}");
        let edge = setup(&[(Engine::Lua, feeder("jobs")), (engine, taker)], origin.address, None).workers(2).start();
        bursts(&edge, "jobs");
    }
}

#[test]
fn a_lua_plugin_that_waits_is_told_again_when_it_has_ended_and_not_before() {
    let origin = Origin::saying("ok");
    let taker =
        plugin("queue_take", TAKE_SLOWLY).keys("    capabilities: [\"queue:jobs\"]\n    limits: {log_lines: 10000}");
    let edge = setup(&[(Engine::Lua, feeder("jobs")), (Engine::Lua, taker)], origin.address, None).start();
    bursts(&edge, "jobs");
    assert!(!edge.process.log_has("two at a time"));
}

/// Nothing is granted: `queue_take/own` is the taker's, and only a request makes it.
#[test]
fn a_plugin_is_told_of_its_own_queue_which_nobody_granted_it() {
    let origin = Origin::saying("ok");
    let taker = TAKE.replace(
        "return plugin",
        "local own = forebay.queue(\"queue_take/own\")\n\
        function plugin.on_request_headers()\n  for i = 1, 20 do own:push(\"item\" .. i) end\nend\nreturn plugin",
    );
    let taker = plugin("queue_take", &taker).keys("    limits: {log_lines: 10000}");
    let edge = setup(&[(Engine::Lua, taker)], origin.address, None).workers(2).start();
    assert_eq!(edge.get("/a").status, 200);
    wait_until("every item", PATIENCE, || (taken(&edge).len() >= 20).then_some(()));
    assert_eq!(taken(&edge), (1..=20).map(|i| format!("item{i}")).collect::<Vec<_>>());
    assert_eq!(edge.metrics().sum("forebay_plugin_faults_total", &[]), 0.0);
}

#[test]
fn what_a_wasm_plugin_registers_lua_reaches_by_the_plugin_and_the_name() {
    let origin = Origin::saying("ok");
    let taker = plugin("queue_take", TAKE).words("queue_take register").keys("    limits: {log_lines: 10000}");
    let chain = [(Engine::Lua, feeder("queue_take/own")), (Engine::Wasm, taker)];
    let edge = setup(&chain, origin.address, None).workers(2).start();
    bursts(&edge, "queue_take/own");
}
