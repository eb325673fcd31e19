//! A plugin that makes all the trouble it can within its limits, and the routes beside it on the same
//! worker, which must hardly notice.

use std::time::Instant;

use harness::{Edge, PATIENCE, Setup, wait_until};

/// Asks for more than there is of everything: a tick each millisecond, and the CPU time of a callback.
const TICKS: &str = r#"
forebay.timer.every(0.001)
local plugin = {}
function plugin.on_tick() local t = os.clock() while os.clock() - t < 0.0085 do end end
return plugin
"#;

/// Tells itself of its own queue, again and again.
const PING_PONG: &str = r#"
local plugin = {}
local own = forebay.queue("plugin/own")
function plugin.on_request_headers() own:push("x") end
function plugin.on_queue_ready()
  own:pop()
  own:push("x")
  local t = os.clock()
  while os.clock() - t < 0.0085 do end
end
return plugin
"#;

/// Begins timer after timer in the background, each of which ends with a busy callback.
const TIMERS: &str = r#"
forebay.timer.every(0.05)
local plugin = {}
function plugin.on_tick()
  while true do
    forebay.sleep(0.001)
    local t = os.clock()
    while os.clock() - t < 0.0085 do end
  end
end
return plugin
"#;

/// Two routes of one worker, both answered by the edge itself: `/busy` has the plugin, `/victim` none.
fn setup(plugin: &str, keys: &str) -> Setup {
    let region = format!(
        "plugins:\n  - name: plugin\n    lua: plugin.lua\n{keys}\
         routes:\n  - name: busy\n    match: {{path: {{exact: /busy}}}}\n    plugins: [plugin]\n    respond: {{status: 200, body: busy}}\n  \
         - name: victim\n    match: {{path: {{exact: /victim}}}}\n    respond: {{status: 200, body: well}}\n"
    );
    Setup::new(region).file("plugin.lua", plugin)
}

fn cpu(edge: &Edge) -> f64 {
    edge.metrics().sum("forebay_plugin_cpu_seconds_total", &["plugin=\"plugin\""])
}

fn calls(edge: &Edge, callback: &str) -> f64 {
    let callback = format!("callback=\"{callback}\"");
    edge.metrics().sum("forebay_plugin_calls_total", &["plugin=\"plugin\"", &callback])
}

/// Over a few seconds the plugin goes on, and has no more than about its share; the victim is served meanwhile.
#[track_caller]
fn has_its_share(edge: &Edge, callback: &str) {
    assert_eq!(edge.get("/busy").status, 200);
    wait_until("the background to be held back", PATIENCE, || {
        edge.metrics().has("forebay_plugin_background_delayed_total", &["plugin=\"plugin\""]).then_some(())
    });
    let (began, used, called) = (Instant::now(), cpu(edge), calls(edge, callback));
    let mut client = edge.connect();
    while began.elapsed().as_secs() < 3 {
        assert_eq!(client.get("/victim").text(), "well");
    }
    let (used, called, took) = (cpu(edge) - used, calls(edge, callback) - called, began.elapsed().as_secs_f64());
    assert!(called >= 3.0, "what is delayed is not dropped: {called} of {callback} in {took} s");
    assert!(used < 0.25 * took, "{used} s of CPU time in {took} s, at a tenth of the worker");
    assert_eq!(edge.metrics().sum("forebay_plugin_faults_total", &[]), 0.0);
}

#[test]
fn a_plugin_that_ticks_all_the_time_has_a_share_of_the_worker() {
    let edge = setup(TICKS, "").start();
    has_its_share(&edge, "on_tick");
    edge.process.wait_for_log(&["timer.every: a period of 1ms (allowed: at least 10ms, which it is)"]);
}

#[test]
fn a_plugin_that_tells_itself_of_its_queue_has_a_share_of_the_worker() {
    has_its_share(&setup(PING_PONG, "").start(), "on_queue_ready");
}

#[test]
fn what_the_background_waits_for_has_a_share_of_the_worker() {
    // Each end counts for a callback of its own; the one callback that waits so may use more.
    has_its_share(&setup(TIMERS, "    limits: {cpu: 1h, wall: 1h}\n").start(), "on_timer");
}

#[test]
fn in_shadow_mode_a_share_is_told_and_not_kept() {
    let edge = setup(TICKS, "    limits: {mode: shadow, background_cpu: 20ms}\n").start();
    edge.process.wait_for_log(&[
        "forebay::limit",
        "\"limit\":\"background_cpu\"",
        "used more than 20ms of CPU time a second",
    ]);
    let (began, used) = (Instant::now(), cpu(&edge));
    wait_until("it to use more than the limit, and less than ten times that", PATIENCE, || {
        (cpu(&edge) - used > 0.3).then_some(())
    });
    let took = began.elapsed().as_secs_f64();
    assert!(0.3 / took > 0.04, "0.3 s of CPU time took {took} s");
    assert!(edge.metrics().sum("forebay_plugin_limit_passed_total", &["limit=\"background_cpu\""]) > 0.0);
}
