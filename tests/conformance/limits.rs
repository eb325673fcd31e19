//! Limits: what is left of them, what entries use together, and what passing one only tells.

use harness::{Edge, Origin, PATIENCE, wait_until};

use crate::pair::{Engine, Plugin, on_both_engines, plugin, setup};

const LIMITS: &str = r#"
local plugin = {}
local how, count
local kept

-- CPU time, as the process counts it.
local function spin(milliseconds)
  local last = os.clock() + milliseconds / 1000
  while os.clock() < last do end
end

local ways = {}
function ways.tell()
  local tell = forebay.request.headers.set
  local function left(name) return forebay.limits.remaining()[name] or "nil" end
  for _, name in ipairs { "cpu", "exchange_cpu", "wall", "memory", "buffer", "callouts", "log_lines", "metrics" } do
    tell("x-" .. name:gsub("_", "-"), tostring(left(name)))
  end
  spin(20)
  tell("x-cpu-after", tostring(left("cpu")))
  spin(20)
  tell("x-cpu-last", tostring(left("cpu")))
  forebay.log.info("one line")
  tell("x-log-lines-after", tostring(left("log_lines")))
  forebay.http.call("side", { path = "/" })
  tell("x-callouts-after", tostring(left("callouts")))
end
function ways.spin() spin(count) end
function ways.memory()
  kept = {}
  for n = 1, count do kept[n] = ("7"):rep(1048576 - n) end
  kept = nil
end
function ways.buffer() forebay.request.body() end
function ways.callouts() for _ = 1, count do forebay.http.call("side", { path = "/" }) end end
function ways.lines() for n = 1, count do forebay.log.info("line " .. n) end end
function ways.series() for n = 1, count do forebay.metric.counter("series_total", { n = n }) end end
-- A little work and a short wait, often.
function ways.waits() for _ = 1, count do spin(4) forebay.sleep(0.001) end end
function ways.sleeps() for _ = 1, count do forebay.sleep(0.05) end end

function plugin.on_configure(words)
  how, count = words:match("^limits (%S+) ?(%d*)")
  count = tonumber(count)
  if how == "start" then spin(count) end
end
function plugin.on_request_headers()
  local way = ways[how]
  if way then way() end
end
function plugin.on_response_body()
  if how == "chunks" then spin(4) end
end
return plugin
"#;

/// What the Wasm guest does in a callback of this name, too.
pub fn limits(how: &str, limits: &str) -> Plugin {
    plugin("limits", LIMITS)
        .words(&format!("limits {how}"))
        .keys("    capabilities: [\"callout:side\"]")
        .keys(&format!("    limits: {{{limits}}}"))
}

fn edge(engine: Engine, plugin: Plugin, shop: &Origin, side: &Origin) -> Edge {
    setup(&[(engine, plugin)], shop.address, Some(side.address)).start()
}

fn number(head: &harness::Head, name: &str) -> f64 {
    let value = head.headers.get(name).unwrap_or_else(|| panic!("no {name} in {head:?}"));
    value.parse().unwrap_or_else(|_| panic!("{name}: {value}"))
}

#[track_caller]
fn faults(edge: &Edge, verdict: &str) -> f64 {
    edge.metrics().sum("forebay_plugin_faults_total", &[&format!("verdict=\"{verdict}\"")])
}

#[track_caller]
fn ends_with(edge: &Edge, verdict: &str, said: &str) {
    assert_eq!(edge.get("/bad").status, 503);
    let line = edge.process.wait_for_log(&["forebay::fault", &format!("\"verdict\":\"{verdict}\""), said]);
    assert!(line.contains("request_id"), "{line}");
    assert_eq!(faults(edge, verdict), 1.0);
}

/// Passing `limit` in shadow mode is told and counted, and the exchange goes on.
#[track_caller]
fn only_tells(engine: Engine, how: &str, keys: &str, limit: &str) {
    let (shop, side) = (Origin::saying("ok"), Origin::saying("there"));
    let edge = edge(engine, limits(how, &format!("mode: shadow, {keys}")), &shop, &side);
    let mut client = edge.connect();
    client.request("POST", "/a", &[], &[b'x'; 100_000]);
    let response = client.response();
    assert_eq!((response.status, response.text()), (200, "ok"), "{how}");
    let passed = format!("limit=\"{limit}\"");
    wait_until("the count", PATIENCE, || {
        let metrics = edge.metrics();
        (metrics.sum("forebay_plugin_limit_passed_total", &["plugin=\"limits\"", &passed]) >= 1.0).then_some(())
    });
    let line = edge.process.wait_for_log(&["forebay::limit", &format!("\"limit\":\"{limit}\"")]);
    assert!(line.contains("\"mode\":\"shadow\"") && line.contains("\"level\":\"WARN\""), "{line}");
    assert_eq!(edge.metrics().sum("forebay_plugin_faults_total", &[]), 0.0, "{how}: nothing failed");
}

on_both_engines! {
    fn what_is_left_is_told(engine) {
        let (shop, side) = (Origin::saying("ok"), Origin::saying("there"));
        let keys = "cpu: 2s, exchange_cpu: 3s, wall: 5s, memory: 8MiB, buffer: 4KiB, callouts: 3, log_lines: 50, metrics: 6";
        let edge = edge(engine, limits("tell", keys), &shop, &side);
        assert_eq!(edge.get("/a").status, 200);
        let told = shop.last();
        for (name, most) in [("x-cpu", 2.0), ("x-exchange-cpu", 3.0), ("x-wall", 5.0), ("x-memory", 8388608.0)] {
            let left = number(&told, name);
            assert!(left > most * 0.5 && left <= most, "{name}: {left} of {most}");
        }
        for (name, left) in [("x-buffer", 4096.0), ("x-callouts", 3.0), ("x-log-lines", 50.0), ("x-metrics", 6.0)] {
            assert_eq!(number(&told, name), left, "{name}");
        }
        assert_eq!((number(&told, "x-callouts-after"), number(&told, "x-log-lines-after")), (2.0, 49.0));
        let (before, after, last) = (number(&told, "x-cpu"), number(&told, "x-cpu-after"), number(&told, "x-cpu-last"));
        assert!(before > after && after > last, "work uses it up: {before} {after} {last}");
    }

    fn the_entries_of_a_callback_that_waits_count_together(engine) {
        let (shop, side) = (Origin::saying("ok"), Origin::saying("there"));
        let edge = edge(engine, limits("waits 200", "cpu: 40ms, exchange_cpu: 5s"), &shop, &side);
        ends_with(&edge, "CPU", "40ms");
        assert_eq!(shop.requests(), 0);
    }

    fn callbacks_that_keep_to_their_limit_may_pass_that_of_the_exchange(engine) {
        let (shop, side) = (Origin::serve(|exchange| {
            exchange.begin(200, &[])?;
            for _ in 0..200 {
                exchange.chunk(b"chunk")?;
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            exchange.end(&[])
        }), Origin::saying("there"));
        let edge = edge(engine, limits("chunks", "cpu: 100ms, exchange_cpu: 100ms"), &shop, &side);
        let mut client = edge.connect();
        client.request("GET", "/a", &[], b"");
        let _ = client.response_head();
        assert!(client.messages.body().is_err(), "the rest of the body is not sent");
        edge.process.wait_for_log(&["forebay::fault", "\"verdict\":\"CPU\"", "in one exchange", "100ms", "(limit exchange_cpu)"]);
        assert_eq!(faults(&edge, "CPU"), 1.0);
    }

    fn all_waits_of_a_phase_together_may_last_as_long_as_the_wall_limit(engine) {
        let (shop, side) = (Origin::saying("ok"), Origin::saying("there"));
        let edge = edge(engine, limits("sleeps 100", "wall: 300ms"), &shop, &side);
        ends_with(&edge, "WALL", "limit wall");
        assert_eq!(shop.requests(), 0);
    }

    fn waits_within_the_wall_limit_are_let_be(engine) {
        let (shop, side) = (Origin::saying("ok"), Origin::saying("there"));
        let edge = edge(engine, limits("sleeps 3", "wall: 20s"), &shop, &side);
        assert_eq!(edge.get("/a").status, 200);
        assert_eq!(edge.metrics().sum("forebay_plugin_faults_total", &[]), 0.0);
    }

    fn in_shadow_mode_passing_cpu_only_tells(engine) { only_tells(engine, "spin 60", "cpu: 20ms", "cpu") }
    fn in_shadow_mode_passing_the_cpu_of_an_exchange_only_tells(engine) {
        only_tells(engine, "waits 40", "cpu: 20ms, exchange_cpu: 20ms", "exchange_cpu");
    }
    fn in_shadow_mode_passing_start_cpu_only_tells(engine) { only_tells(engine, "start 60", "start_cpu: 20ms", "start_cpu") }
    fn in_shadow_mode_passing_wall_only_tells(engine) { only_tells(engine, "sleeps 4", "wall: 100ms", "wall") }
    fn in_shadow_mode_passing_memory_only_tells(engine) { only_tells(engine, "memory 6", "memory: 4MiB, cpu: 1s", "memory") }
    fn in_shadow_mode_passing_buffer_only_tells(engine) { only_tells(engine, "buffer", "buffer: 20000", "buffer") }
    fn in_shadow_mode_passing_callouts_only_tells(engine) { only_tells(engine, "callouts 3", "callouts: 1", "callouts") }
    fn in_shadow_mode_passing_log_lines_only_tells(engine) { only_tells(engine, "lines 6", "log_lines: 2", "log_lines") }
    fn in_shadow_mode_passing_metrics_only_tells(engine) { only_tells(engine, "series 6", "metrics: 2", "metrics") }

    fn at_ten_times_the_limit_shadow_mode_ends_what_would_hang_a_worker(engine) {
        let (shop, side) = (Origin::saying("ok"), Origin::saying("there"));
        let edge = edge(engine, limits("spin 60000", "mode: shadow, cpu: 5ms"), &shop, &side);
        ends_with(&edge, "CPU", "");
        assert_eq!(edge.metrics().sum("forebay_plugin_limit_passed_total", &["limit=\"cpu\""]), 1.0, "it was told before");
    }

    fn ten_times_the_callouts_are_a_fault_in_shadow_mode_too(engine) {
        let (shop, side) = (Origin::saying("ok"), Origin::saying("there"));
        let edge = edge(engine, limits("callouts 15", "mode: shadow, callouts: 1"), &shop, &side);
        ends_with(&edge, "CALLOUT", "callouts");
        assert_eq!(side.requests(), 10);
    }
}
