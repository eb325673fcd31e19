//! What exchanges share of an instance, and whom its end reaches: `isolation: worker` and `exchange`.
//! Over 400 lines, as it is one promise.

use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use harness::{Client, Edge, Origin, PATIENCE, Setup, list, wait_until};
use serde_json::Value;

use crate::pair::{Engine, Plugin, on_both_engines, plugin};

/// Counts exchanges in its own memory.
const COUNT: &str = r#"
local plugin = {}
local exchanges = 0
function plugin.on_configure() forebay.timer.every(0.02) end
function plugin.on_tick() forebay.log.info("case count: a tick after " .. exchanges .. " exchanges") end
function plugin.on_request_headers()
  exchanges = exchanges + 1
  forebay.request.headers.set("x-count", tostring(exchanges))
  local what = forebay.request.headers.get("x-do")
  if what == "trap" then local nothing; return nothing.field end
  if what == "wait" then forebay.sleep(3600) end
end
function plugin.on_response_headers() forebay.response.headers.set("x-plugin", "alive") end
return plugin
"#;

fn count(keys: &str) -> Plugin {
    plugin("count", COUNT).keys(keys)
}

/// Routes `/` and `/own`, the second with an instance for each exchange.
fn setup(engine: Engine, plugin: &Plugin, origin: &Origin) -> Setup {
    let region = format!(
        "plugins:\n{}routes:\n  - name: own\n    match: {{path: {{prefix: /own}}}}\n    \
         plugins: [{{name: count, isolation: exchange}}]\n    pool: shop\n  - name: all\n    plugins: [count]\n    \
         pool: shop\npools:\n  - name: shop\n    origins: {}\n",
        plugin.entry(engine),
        list(&[origin.address])
    );
    Setup::new(region).file("count.lua", &plugin.lua).workers(1)
}

/// Says in `x-seen` how many exchanges the plugin had counted.
fn mirror() -> Origin {
    Origin::serve(|exchange| {
        let seen = exchange.headers().get("x-count").unwrap_or("none").to_owned();
        exchange.respond(200, &[("x-seen", &seen)], b"ok")
    })
}

#[track_caller]
fn counts(client: &mut Client, path: &str, times: usize) -> Vec<u32> {
    let count = |_| {
        let response = client.get(path);
        assert_eq!((response.status, response.header("x-plugin")), (200, Some("alive")), "{path}");
        response.header("x-seen").and_then(|seen| seen.parse().ok()).expect("the plugin has counted")
    };
    (0..times).map(count).collect()
}

fn metric(edge: &Edge, name: &str) -> f64 {
    edge.metrics().sum(name, &["plugin=\"count\""])
}

#[track_caller]
fn instances(edge: &Edge, wanted: f64) {
    wait_until(&format!("{wanted} instances"), PATIENCE, || {
        (metric(edge, "forebay_plugin_instances") == wanted).then_some(())
    });
}

on_both_engines! {
    fn an_instance_of_the_worker_keeps_its_memory_and_one_of_the_exchange_does_not(engine) {
        let origin = mirror();
        let edge = setup(engine, &count(""), &origin).start();
        let mut client = edge.connect();
        assert_eq!(counts(&mut client, "/", 3), [1, 2, 3]);
        assert_eq!(counts(&mut client, "/own", 20), [1; 20], "more than there are spares");
        assert_eq!(counts(&mut client, "/", 3), [4, 5, 6], "the routes share nothing");
        assert_eq!(metric(&edge, "forebay_plugin_faults_total"), 0.0);
        let all: Value = serde_json::from_slice(&edge.admin("/plugins").body).expect("JSON");
        let uses = all["plugins"][0]["routes"].as_array().expect("a list").iter().map(|used| used["isolation"].as_str());
        assert_eq!(uses.collect::<Vec<_>>(), [Some("exchange"), Some("worker")]);
    }

    fn exchanges_at_the_same_time_share_nothing_either(engine) {
        let (go, wait) = channel::<()>();
        let wait = Mutex::new(wait);
        let origin = Origin::serve(move |exchange| {
            let _ = wait.lock().expect("not poisoned").recv_timeout(PATIENCE);
            let seen = exchange.headers().get("x-count").unwrap_or("none").to_owned();
            exchange.respond(200, &[("x-seen", &seen)], b"ok")
        });
        let edge = setup(engine, &count(""), &origin).start();
        let mut clients: Vec<_> = (0..12).map(|_| edge.connect()).collect();
        for client in &mut clients {
            client.request("GET", "/own", &[], b"");
        }
        origin.wait_for_requests(12);
        (0..12).for_each(|_| go.send(()).expect("the origin waits"));
        for client in &mut clients {
            assert_eq!(client.response().header("x-seen"), Some("1"));
        }
        // One that acts on each route, and the spares: nothing is kept of those that were used.
        let spares = if engine == Engine::Lua { 4.0 } else { 5.0 };
        instances(&edge, 2.0 + spares);
    }

    fn ticks_come_to_one_instance_that_no_exchange_has(engine) {
        let origin = mirror();
        let region = format!(
            "plugins:\n{}routes:\n  - name: all\n    plugins: [count]\n    pool: shop\npools:\n  - name: shop\n    origins: {}\n",
            count("    isolation: exchange").entry(engine),
            list(&[origin.address])
        );
        let edge = Setup::new(region).file("count.lua", COUNT).workers(1).start();
        let ticks = |text: &str| edge.process.log().iter().filter(|line| line.contains(text)).count();
        assert_eq!(counts(&mut edge.connect(), "/", 10), [1; 10]);
        let (begin, so_far) = (std::time::Instant::now(), ticks("case count: a tick"));
        wait_until("ten ticks", PATIENCE, || (ticks("case count: a tick") >= so_far + 10).then_some(()));
        assert!(begin.elapsed() >= Duration::from_millis(150), "spares tick too: {:?}", begin.elapsed());
        assert_eq!(ticks("case count: a tick"), ticks("a tick after 0 exchanges"));
    }
}

#[test]
fn a_spare_that_does_not_start_is_tried_less_and_less_and_made_when_it_can() {
    let origin = mirror();
    let edge = setup(Engine::Wasm, &count("    on_fault: open"), &origin).start();
    instances(&edge, 7.0);
    let say = |what: &str| {
        let mut client = edge.connect();
        client.request("GET", "/", &[("x-do", what)], b"");
        assert_eq!(client.response().status, 200, "{what}");
    };
    say("yes");
    say("trap");
    // The spare serves, and no other can be made.
    assert_eq!(counts(&mut edge.connect(), "/", 2), [1, 2]);
    let tried = || edge.process.log().iter().filter(|line| line.contains("no spare instance starts")).count();
    let begin = std::time::Instant::now();
    wait_until("four tries", PATIENCE, || (tried() >= 4).then_some(()));
    assert!(begin.elapsed() >= Duration::from_millis(500), "100, 200 and 400 ms: {:?}", begin.elapsed());
    assert_eq!(counts(&mut edge.connect(), "/", 2), [3, 4], "meanwhile it serves");
    instances(&edge, 6.0);
    say("no");
    instances(&edge, 7.0);
    say("trap");
    assert_eq!(counts(&mut edge.connect(), "/", 1), [1]);
    assert_eq!(metric(&edge, "forebay_plugin_faults_total"), 2.0, "the traps, and no start");
}

/// Pooled memories take 16 TiB of address space.
#[test]
fn in_little_address_space_instances_are_made_on_demand_and_a_line_says_so() {
    const SPACE: u64 = 8 << 30;
    let origin = mirror();
    let edge = setup(Engine::Wasm, &count("    on_fault: open"), &origin).within(SPACE).start();
    let mut client = edge.connect();
    assert_eq!(counts(&mut client, "/", 3), [1, 2, 3]);
    assert_eq!(counts(&mut client, "/own", 100), [1; 100], "what has ended gives its memory back");
    client.request("GET", "/", &[("x-do", "trap")], b"");
    assert_eq!(client.response().status, 200);
    assert_eq!(counts(&mut client, "/", 2), [1, 2]);
    edge.process.wait_for_log(&["no room to pool", "made on demand", "ulimit -v"]);
    let roomy = setup(Engine::Wasm, &count(""), &origin).start();
    assert_eq!(counts(&mut roomy.connect(), "/", 1), [1]);
    assert!(!roomy.process.log_has("no room to pool"));
}

/// Three in flight beside a trap: one that waits in the plugin, one that waits for the origin, and one
/// whose body is on its way.
struct Flight {
    edge: Edge,
    origin: Origin,
    go: Sender<()>,
    waiting: Client,
    asking: Client,
    streaming: Client,
}

fn trap_among_others(keys: &str) -> Flight {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::serve(move |exchange| {
        let held = || {
            let _ = wait.lock().expect("not poisoned").recv_timeout(PATIENCE);
        };
        if exchange.head.target() == "/asking" {
            held();
        }
        exchange.begin(200, &[])?;
        exchange.chunk(b"first ")?;
        if exchange.head.target() == "/streaming" {
            held();
        }
        exchange.chunk(b"last")?;
        exchange.end(&[])
    });
    let edge = setup(Engine::Wasm, &count(keys), &origin).start();
    let ask = |path: &str, what: &str| {
        let mut client = edge.connect();
        client.request("GET", path, &[("x-do", what)], b"");
        client
    };
    let mut streaming = ask("/streaming", "");
    assert_eq!(streaming.response_head().status(), 200);
    let asking = ask("/asking", "");
    origin.wait_for_requests(2);
    let waiting = ask("/waiting", "wait");
    wait_until("it is in the plugin", PATIENCE, || {
        let called = edge.metrics().sum("forebay_plugin_calls_total", &["callback=\"on_request_headers\""]);
        (called == 3.0).then_some(())
    });
    let open = keys.contains("open");
    let bad = ask("/bad", "trap").response();
    assert_eq!(bad.status, if open { 200 } else { 503 });
    Flight { edge, origin, go, waiting, asking, streaming }
}

/// What is counted of a trap with three others in flight: one fault, and those apart.
#[track_caller]
fn one_fault_and_three_others(edge: &Edge) {
    wait_until("three collateral", PATIENCE, || {
        let labels = ["plugin=\"count\"", "verdict=\"TRAP\""];
        (edge.metrics().sum("forebay_plugin_collateral_total", &labels) == 3.0).then_some(())
    });
    assert_eq!(metric(edge, "forebay_plugin_faults_total"), 1.0);
    let all: Value = serde_json::from_slice(&edge.admin("/plugins").body).expect("JSON");
    let plugin = &all["plugins"][0];
    assert_eq!((&plugin["faults"]["total"], &plugin["collateral"]), (&1.into(), &3.into()), "{plugin:#}");
    let used = &plugin["routes"][1];
    assert_eq!((&used["faults"]["total"], &used["collateral"]), (&1.into(), &3.into()), "{used:#}");
    assert!(used["last_fault"]["message"].as_str().is_some_and(|text| text.contains("unreachable")), "{used:#}");
    assert_eq!(used["state"], "serving", "{used:#}");
    let lines = edge.process.log();
    let lines: Vec<_> = lines.iter().filter(|line| line.contains("forebay::fault")).collect();
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert_eq!(lines.iter().filter(|line| line.contains("collateral")).count(), 3, "{lines:#?}");
}

/// The next exchange meets an instance that has seen none.
#[track_caller]
fn the_next_is_served(edge: &Edge, origin: &Origin) {
    let response = edge.get("/next");
    assert_eq!((response.status, response.header("x-plugin")), (200, Some("alive")));
    assert_eq!(origin.last().headers.get("x-count"), Some("1"), "fresh memory");
}

#[test]
fn a_trap_ends_those_in_its_instance_by_their_policy_closed() {
    // Two faults would disable it: the others do not count against it.
    let mut flight =
        trap_among_others("    crash_budget: {faults: 2, within: 1h, back_off: 1h, most: 1h}\n    limits: {wall: 1h}");
    let waiting = flight.waiting.response();
    assert_eq!((waiting.status, waiting.header("x-plugin")), (503, None), "at once, not when its wait is over");
    the_next_is_served(&flight.edge, &flight.origin);
    (0..2).for_each(|_| flight.go.send(()).expect("the origin waits"));
    assert_eq!(flight.asking.response().status, 503);
    assert!(flight.streaming.messages.body().is_err(), "a body that the plugin would have looked at is cut off");
    one_fault_and_three_others(&flight.edge);
    a_spare_is_ready_again(&flight.edge);
}

#[test]
fn a_trap_lets_those_in_its_instance_go_on_without_it_where_the_policy_is_open() {
    let mut flight = trap_among_others("    on_fault: open\n    limits: {wall: 1h}");
    let waiting = flight.waiting.response();
    assert_eq!((waiting.status, waiting.header("x-plugin"), waiting.text()), (200, None, "first last"));
    the_next_is_served(&flight.edge, &flight.origin);
    (0..2).for_each(|_| flight.go.send(()).expect("the origin waits"));
    let asking = flight.asking.response();
    assert_eq!((asking.status, asking.header("x-plugin"), asking.text()), (200, None, "first last"));
    assert_eq!(flight.streaming.messages.body().expect("a whole body"), b"first last");
    one_fault_and_three_others(&flight.edge);
    a_spare_is_ready_again(&flight.edge);
}

/// On the route `/own` the one that acts and four spares, on the other it and one; and what has ended
/// is gone.
#[track_caller]
fn a_spare_is_ready_again(edge: &Edge) {
    instances(edge, 7.0);
    assert_eq!(edge.get("/again").header("x-plugin"), Some("alive"));
}

/// Pauses each request that has so many headers.
fn pauses(held: usize) -> Vec<u8> {
    let text = format!(
        r#"(module
          (memory (export "memory") 1)
          (func (export "proxy_abi_version_0_2_1"))
          (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 8192))
          (func (export "proxy_on_context_create") (param i32 i32))
          (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (i32.ge_u (local.get 1) (i32.const {held}))))"#
    );
    wat::parse_str(&text).expect("the text of the module is right")
}

/// The refusal of an exchange for which there is no room, which says to come again.
#[track_caller]
fn is_crowded(response: &harness::Response) {
    let said = (response.status, response.header("x-forebay-reject"), response.header("retry-after"));
    assert_eq!(said, (503, Some("plugin_crowded"), Some("1")), "{}", response.text());
}

fn crowded(edge: &Edge, plugin: &str) -> f64 {
    edge.metrics().sum("forebay_plugin_crowded_total", &[&format!("plugin=\"{plugin}\"")])
}

/// What one plugin's exchanges hold open is its own share, and what comes past it is refused by itself.
#[test]
fn one_plugin_cannot_take_the_instances_of_another() {
    const HELD: usize = 1100;
    let origin = mirror();
    let region = format!(
        "plugins:\n  - name: greedy\n    wasm: apart.wasm\n    isolation: exchange\n    limits: {{wall: 1h}}\n    \
         crash_budget: {{faults: 3, within: 1h, back_off: 1h, most: 1h}}\n  - name: victim\n    wasm: apart.wasm\n    \
         isolation: exchange\n    limits: {{wall: 1h}}\n    \
         crash_budget: {{faults: 3, within: 1h, back_off: 1h, most: 1h}}\nroutes:\n  - name: plain\n    \
         match: {{path: {{prefix: /plain}}}}\n    pool: shop\n  - name: victim\n    match: {{path: {{prefix: /victim}}}}\n    \
         plugins: [victim]\n    pool: shop\n  - name: all\n    plugins: [greedy]\n    pool: shop\n\
         pools:\n  - name: shop\n    origins: {}\n",
        list(&[origin.address])
    );
    // Far more headers than an ordinary request has here.
    let edge = Setup::new(region).file("apart.wasm", pauses(30)).without_access_log().start();
    let more: Vec<_> = (0..30).map(|n| (format!("x-hold-{n}"), "yes")).collect();
    let more: Vec<_> = more.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(edge.get("/").status, 200);
    let mut held = Vec::new();
    for _ in 0..HELD {
        let mut client = edge.connect();
        client.request("GET", "/held", &more, b"");
        held.push(client);
    }
    wait_until("those past its share to be refused", PATIENCE, || (crowded(&edge, "greedy") >= 100.0).then_some(()));
    is_crowded(&edge.get("/"));
    edge.process.wait_for_log(&["greedy", "1000 exchanges have an instance of their own", "limit instances"]);
    let mut refused = 0;
    for client in &mut held {
        client.messages.socket.set_nonblocking(true).expect("a socket can be told not to wait");
        refused += usize::from(client.try_response().is_ok_and(|response| response.status == 503));
    }
    assert_eq!(refused, HELD - 1000);
    for _ in 0..50 {
        assert_eq!(edge.get("/victim").status, 200, "the neighbour has its own share");
    }
    assert_eq!(edge.get("/plain").status, 200, "routes without it are served");
    // Neither has failed in anything.
    assert_eq!((crowded(&edge, "victim"), edge.metrics().sum("forebay_plugin_faults_total", &[])), (0.0, 0.0));
    let all: Value = serde_json::from_slice(&edge.admin("/plugins").body).expect("JSON");
    for plugin in all["plugins"].as_array().expect("a list") {
        assert_eq!(plugin["routes"][0]["state"], "serving", "{plugin:#}");
        assert_eq!(plugin["routes"][0]["budget_left"], 3, "{plugin:#}");
    }
    assert_eq!(all["plugins"][0]["crowded"], HELD as u64 - 1000 + 1);
    drop(held);
    wait_until("room again", PATIENCE, || (edge.get("/").status == 200).then_some(()));
}

/// Waits for ever, where it is told to: in the exchange or after its end.
const WAITS: &str = r#"
local plugin = {}
local late = false
function plugin.on_request_headers()
  late = forebay.request.headers.get("x-late")
  if forebay.request.headers.get("x-wait") then forebay.sleep(3600) end
end
function plugin.on_log() if late then forebay.sleep(3600) end end
return plugin
"#;

/// Never says that it is done.
fn never_done() -> Vec<u8> {
    let text = r#"(module
          (memory (export "memory") 1)
          (func (export "proxy_abi_version_0_2_1"))
          (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 8192))
          (func (export "proxy_on_context_create") (param i32 i32))
          (func (export "proxy_on_done") (param i32) (result i32) (i32.const 0)))"#;
    wat::parse_str(text).expect("the text of the module is right")
}

/// A plugin on one worker that may have two instances for exchanges, and on `/open` is passed by where it has none.
fn with_two(code: &str, module: Vec<u8>) -> Edge {
    let region = format!(
        "plugins:\n  - name: apart\n    {code}\n    isolation: exchange\n    limits: {{wall: 1h, instances: 2}}\n    \
         crash_budget: {{faults: 1, within: 1h, back_off: 1h, most: 1h}}\nroutes:\n  - name: open\n    \
         match: {{path: {{prefix: /open}}}}\n    plugins: [{{name: apart, on_fault: open}}]\n    \
         respond: {{body: well}}\n  - name: all\n    plugins: [apart]\n    respond: {{body: well}}\n"
    );
    Setup::new(region).file("apart.lua", WAITS).file("apart.wasm", module).workers(1).start()
}

const BOTH: [&str; 2] = ["lua: apart.lua", "wasm: apart.wasm"];

#[test]
fn past_its_instances_an_exchange_is_refused_alone_and_its_plugin_has_failed_in_nothing() {
    for code in BOTH {
        let edge = with_two(code, pauses(30));
        let mut more: Vec<_> = (0..30).map(|n| (format!("x-hold-{n}"), "yes")).collect();
        more.push(("x-wait".into(), "yes"));
        let more: Vec<_> = more.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut client = edge.connect();
            client.request("GET", "/held", &more, b"");
            held.push(client);
        }
        wait_until("both to have an instance", PATIENCE, || {
            let calls = ["plugin=\"apart\"", "callback=\"on_request_headers\""];
            (edge.metrics().sum("forebay_plugin_calls_total", &calls) == 2.0).then_some(())
        });
        for n in 1..=5 {
            is_crowded(&edge.get("/"));
            assert_eq!(crowded(&edge, "apart"), f64::from(n), "{code}");
        }
        assert_eq!(edge.get("/open").text(), "well", "{code}: its policy there is to go on without it");
        edge.process.wait_for_log(&["\"reject\":\"plugin_crowded\"", "2 exchanges have an instance of their own"]);
        assert_eq!(edge.metrics().sum("forebay_plugin_faults_total", &[]), 0.0, "{code}");
        drop(held.pop());
        wait_until("room for one again", PATIENCE, || (edge.get("/").status == 200).then_some(()));
        drop(held);
        assert_eq!(edge.metrics().sum("forebay_plugin_faults_total", &[]), 0.0, "{code}: nor its end");
    }
}

#[test]
fn an_exchange_that_has_ended_gives_its_instance_up_to_one_that_waits_for_an_answer() {
    for code in BOTH {
        let edge = with_two(code, never_done());
        for _ in 0..8 {
            let mut client = edge.connect();
            client.request("GET", "/", &[("x-late", "yes")], b"");
            assert_eq!(client.response().text(), "well", "{code}");
        }
        // Two have their place still. The others have failed after their end, which costs no exchange.
        let faults = ["plugin=\"apart\"", "verdict=\"WALL\""];
        wait_until("six faults", PATIENCE, || {
            (edge.metrics().sum("forebay_plugin_faults_total", &faults) == 6.0).then_some(())
        });
        edge.process.wait_for_log(&["WALL", "another exchange needs its room (limit instances)"]);
        assert_eq!((crowded(&edge, "apart"), edge.get("/").status), (0.0, 200), "{code}");
    }
}
