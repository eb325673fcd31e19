//! A plugin that makes all the trouble it can within its limits, and the routes beside it on the same
//! worker, which must hardly notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use harness::{Client, Edge, PATIENCE, Setup, wait_until};

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

/// A start of 0.4 s, and a fault by each request that ends the instance.
const SLOW_BOMB: &str = r#"
local t = os.clock()
while os.clock() - t < 0.4 do end
local big = ("x"):rep(4e6)
local plugin = {}
function plugin.on_request_headers() local t = big .. big .. big .. big .. big .. big .. big .. big end
return plugin
"#;

/// A client that asks again and again until it is dropped; gives how many answers came, and their statuses.
struct Asking {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<u16>>>,
}

impl Asking {
    fn begin(edge: &Edge, path: &'static str) -> Asking {
        let (stop, address) = (Arc::new(AtomicBool::new(false)), edge.address);
        let stopped = stop.clone();
        let ask = move || {
            let mut client = Client::connect(address);
            let mut statuses = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                statuses.push(client.get(path).status);
            }
            statuses
        };
        Asking { stop, thread: Some(std::thread::spawn(ask)) }
    }

    fn end(mut self) -> Vec<u16> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("it is ended once").join().expect("every answer came")
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The longest of many requests to the victim, over at least this long.
#[track_caller]
fn longest(edge: &Edge, over: Duration) -> (usize, Duration) {
    let (mut client, began) = (edge.connect(), Instant::now());
    let (mut asked, mut longest) = (0, Duration::ZERO);
    while began.elapsed() < over {
        let asking = Instant::now();
        assert_eq!(client.get("/victim").text(), "well");
        longest = longest.max(asking.elapsed());
        asked += 1;
    }
    (asked, longest)
}

/// How many starts of 0.4 s fit into the victim's time is what counts: each took all of it.
#[test]
fn a_plugin_with_a_slow_start_that_runs_out_of_memory_is_disabled_and_delays_nobody() {
    let edge = setup(SLOW_BOMB, "").start();
    let bombs = [Asking::begin(&edge, "/busy"), Asking::begin(&edge, "/busy")];
    let (asked, longest) = longest(&edge, Duration::from_secs(4));
    let statuses: Vec<u16> = bombs.into_iter().flat_map(Asking::end).collect();
    assert!(asked > 200, "{asked} requests in 4 s, the longest took {longest:?}");
    assert!(statuses.iter().all(|status| *status == 503), "{statuses:?}");
    edge.process.wait_for_log(&["forebay::life", "disabled: its crash budget is spent"]);
    let faults = edge.metrics().sum("forebay_plugin_faults_total", &["verdict=\"MEMORY\""]);
    assert!((1.0..=8.0).contains(&faults), "{faults} faults at 0.4 s each");
}

#[test]
fn restarts_after_faults_are_held_back_by_what_they_cost_where_nothing_disables() {
    let edge = setup(SLOW_BOMB, "    crash_budget: {faults: 0}\n").start();
    let began = Instant::now();
    let bombs = [Asking::begin(&edge, "/busy"), Asking::begin(&edge, "/busy")];
    wait_until("a restart to be held back", PATIENCE, || {
        (edge.metrics().sum("forebay_rejects_total", &["reject=\"plugin_restarting\""]) > 0.0).then_some(())
    });
    let (asked, longest) = longest(&edge, Duration::from_secs(2));
    assert!(asked > 100, "{asked} requests in 2 s, the longest took {longest:?}");
    bombs.into_iter().for_each(|bomb| drop(bomb.end()));
    // One second of CPU time at once, then a twentieth.
    let most = 2.0 + 3.0 + began.elapsed().as_secs_f64() / 0.4 / 20.0;
    let faults = edge.metrics().sum("forebay_plugin_faults_total", &["verdict=\"MEMORY\""]);
    assert!(faults <= most, "{faults} instances in {:?}", began.elapsed());
    edge.process.wait_for_log(&["its last instance ended with MEMORY, and its restarts take too long; next in"]);
}

#[test]
fn a_reload_of_a_plugin_with_a_slow_start_delays_nobody_and_the_old_version_serves_meanwhile() {
    let version = |version: &str| {
        format!(
            "local t = os.clock() while os.clock() - t < 1.2 do end\nlocal plugin = {{}}\n\
             function plugin.on_response_headers() forebay.response.headers.set('x-version', '{version}') end\nreturn plugin\n"
        )
    };
    let edge = setup(&version("v0"), "    limits: {start_cpu: 5s}\n").start();
    assert_eq!(edge.get("/busy").header("x-version"), Some("v0"));
    let busy = Asking::begin(&edge, "/busy");
    for n in 1..=2 {
        let name = format!("v{n}");
        edge.folder().write("plugin.lua", version(&name));
        edge.process.signal("HUP");
        // It starts twice: tried, and for the worker.
        let (asked, slowest) = longest(&edge, Duration::from_secs(5));
        assert!(asked > 200 && slowest < Duration::from_secs(1), "{asked} requests, the longest took {slowest:?}");
        wait_until(&name, PATIENCE, || (edge.get("/busy").header("x-version") == Some(&*name)).then_some(()));
    }
    let statuses = busy.end();
    assert!(statuses.len() > 200 && statuses.iter().all(|status| *status == 200), "{} answers", statuses.len());
}

/// The tick and the metric of the start are of another thread than the one that serves.
#[test]
fn what_a_start_has_begun_goes_on_on_the_worker() {
    let plugin = r#"
        local plugin, seen = {}, 0
        local starts = forebay.metric.counter("starts_total")
        function plugin.on_configure()
          starts:increment(1)
          forebay.timer.every(0.02)
          forebay.queue("plugin/own"):push("from the start")
        end
        function plugin.on_tick() seen = seen + 1 starts:increment(1000) end
        function plugin.on_queue_ready(name) forebay.log.info("told " .. forebay.queue(name):pop()) end
        function plugin.on_response_headers() forebay.response.headers.set("x-ticks", tostring(seen)) end
        return plugin"#;
    let edge = setup(plugin, "").start();
    wait_until("ticks", PATIENCE, || {
        edge.get("/busy").header("x-ticks").and_then(|ticks| ticks.parse::<u32>().ok()).filter(|ticks| *ticks > 2)
    });
    edge.process.wait_for_log(&["told from the start"]);
    assert_eq!(edge.metrics().sum("forebay_plugin_starts_total", &[]) % 1000.0, 1.0, "it has started once");
}
