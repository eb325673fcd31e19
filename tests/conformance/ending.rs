//! The end of an exchange, and of an edge: what plugins are told then, and what they may wait for.

use harness::Origin;

use crate::pair::{Engine, Plugin, on_both_engines, plugin, setup};

/// `side` is asked by a callout that is sent after the client has its answer.
fn late() -> Plugin {
    let lua = r#"
local plugin = {}
function plugin.on_done()
  forebay.log.info("case late: done")
end
function plugin.on_log()
  forebay.log.info("case late: log")
  forebay.sleep(0.02)
  forebay.log.info("case late: slept")
  local results = forebay.http.call_all { { "side", { path = "/late" } } }
  forebay.log.info("case late: " .. results[1].status .. " for " .. forebay.request.headers.get(":path"))
end
return plugin
"#;
    plugin("late", lua).keys("    capabilities: [\"callout:side\"]")
}

const DRAIN: &str = r#"
local plugin = {}
function plugin.on_drain(left)
  forebay.log.info(("case drain: %.0f s left"):format(left))
  forebay.sleep(0.1)
  forebay.log.info("case drain: done")
end
return plugin
"#;

on_both_engines! {
    fn what_the_log_waits_for_goes_on_after_the_exchange(engine) {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let wait = std::sync::Mutex::new(wait);
        let (shop, side) = (Origin::saying("ok"), Origin::serve(move |exchange| {
            let _ = wait.lock().expect("not poisoned").recv_timeout(harness::PATIENCE);
            exchange.respond(204, &[], b"")
        }));
        let edge = setup(&[(engine, late())], shop.address, Some(side.address)).start();
        assert_eq!(edge.get("/first").text(), "ok", "the client has its answer before the callout has one");
        side.wait_for_requests(1);
        // Another exchange ends while the first one's log waits.
        assert_eq!(edge.get("/second").text(), "ok");
        side.wait_for_requests(2);
        go.send(()).expect("the side origin waits");
        go.send(()).expect("the side origin waits");
        edge.process.wait_for_log(&["case late: 204 for /first"]);
        edge.process.wait_for_log(&["case late: 204 for /second"]);
        let lines = edge.process.log();
        let place = |what: &str| lines.iter().position(|line| line.contains(what)).expect("it was logged");
        let order = ["late: done", "late: log", "late: slept", "late: 204"].map(place);
        assert!(order.is_sorted(), "{order:?}");
        assert_eq!(edge.metrics().sum("forebay_plugin_faults_total", &[]), 0.0);
    }

    fn what_the_log_waits_for_ends_at_the_wall_limit(engine) {
        let (shop, side) = (Origin::saying("ok"), Origin::serve(|_| {
            std::thread::sleep(std::time::Duration::from_secs(8));
            Ok(())
        }));
        let plugin = late().keys("    limits: {wall: 300ms}");
        let edge = setup(&[(engine, plugin)], shop.address, Some(side.address)).start();
        assert_eq!(edge.get("/a").text(), "ok");
        let line = edge.process.wait_for_log(&["WALL", "on_log"]);
        assert!(line.contains("after the end of the exchange"), "{line}");
        assert!(!edge.process.log_has("case late: 204"));
        // The context is closed, and the instance serves on.
        assert_eq!(edge.get("/b").text(), "ok");
    }

    fn a_drain_is_told_to_instances_and_waits_for_them(engine) {
        let shop = Origin::saying("ok");
        let mut edge = setup(&[(engine, plugin("drain", DRAIN))], shop.address, None).edge("  drain: 20s").start();
        assert_eq!(edge.get("/a").text(), "ok");
        assert_eq!(edge.process.stop().code(), Some(0));
        let lines = edge.process.log();
        let told = lines.iter().filter(|line| line.contains("case drain: 20 s left") || line.contains("case drain: 19 s left"));
        assert_eq!(told.count(), 1, "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("case drain: done")), "the edge ended before its plugin");
    }
}

/// The order of the specification, which Envoy has otherwise: see `host/wasm/README.md`.
#[test]
fn a_context_that_is_not_done_is_held_until_it_is_and_logged_and_deleted_then() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let (shop, side) = (
        Origin::saying("ok"),
        Origin::serve(move |exchange| {
            let _ = wait.lock().expect("not poisoned").recv_timeout(harness::PATIENCE);
            exchange.respond(204, &[], b"")
        }),
    );
    let held = plugin("held", "return {}").keys("    capabilities: [\"callout:side\"]");
    let edge = setup(&[(Engine::Wasm, held)], shop.address, Some(side.address)).start();
    assert_eq!(edge.get("/a").text(), "ok", "the client is not kept");
    side.wait_for_requests(1);
    assert!(!edge.process.log_has("case held: log") && !edge.process.log_has("case held: deleted"));
    go.send(()).expect("the side origin waits");
    edge.process.wait_for_log(&["case held: deleted"]);
    let lines = edge.process.log();
    let told: Vec<_> = lines.iter().filter_map(|line| line.split("case held: ").nth(1)?.split('"').next()).collect();
    assert_eq!(told, ["done", "called 204", "log", "deleted"]);
    assert_eq!(edge.metrics().sum("forebay_plugin_faults_total", &[]), 0.0);
}
