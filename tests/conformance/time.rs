//! The clock, waiting, and ticks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use harness::{Origin, PATIENCE, wait_until};

use crate::pair::{edge, in_every_language, on_both_engines, plugin};

const NOW: &str = r#"
local plugin = {}
function plugin.on_request_headers()
  forebay.request.headers.set("x-now", string.format("%.0f", forebay.now() * 1000))
end
return plugin
"#;

const SLEEP: &str = r#"
local plugin = {}
function plugin.on_request_headers()
  forebay.sleep(0.2)
  forebay.request.headers.set("x-slept", "yes")
end
return plugin
"#;

const TICK: &str = r#"
local plugin = {}
function plugin.on_configure()
  forebay.timer.every(0.02)
end
function plugin.on_tick()
  forebay.log.info("case timer_every: tick")
end
return plugin
"#;

in_every_language! {
    a_plugin_knows_the_time,
    ticks_come_without_any_request,
}

on_both_engines! {
    fn a_plugin_knows_the_time(engine) {
        let origin = Origin::saying("ok");
        let edge = edge(engine, plugin("now", NOW), &origin);
        let millis = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
        let before = millis();
        assert_eq!(edge.get("/a").status, 200);
        let told: u128 = origin.last().headers.get("x-now").and_then(|v| v.parse().ok()).expect("a number");
        assert!((before - 1000..=millis() + 1000).contains(&told), "{told} is not between {before} and now");
    }

    fn a_plugin_that_sleeps_holds_its_exchange_and_no_other(engine) {
        let origin = Origin::saying("ok");
        let edge = edge(engine, plugin("sleep", SLEEP), &origin);
        let begin = Instant::now();
        let mut clients: Vec<_> = (0..20).map(|_| edge.connect()).collect();
        for client in &mut clients {
            client.request("GET", "/a", &[], b"");
        }
        for client in &mut clients {
            assert_eq!(client.response().status, 200);
        }
        let took = begin.elapsed();
        assert!(took >= Duration::from_millis(195), "nobody slept: {took:?}");
        assert!(took < Duration::from_millis(20 * 200), "they slept one after the other: {took:?}");
        assert_eq!(origin.last().headers.get("x-slept"), Some("yes"));
    }

    fn ticks_come_without_any_request(engine) {
        let origin = Origin::saying("ok");
        let edge = edge(engine, plugin("timer_every", TICK), &origin);
        wait_until("five ticks", PATIENCE, || {
            (edge.process.log().iter().filter(|line| line.contains("case timer_every: tick")).count() >= 5).then_some(())
        });
        assert_eq!(origin.requests(), 0);
    }
}
