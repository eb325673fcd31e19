//! HTTP callouts: to a pool by name, without blocking the worker, bounded in time.

use std::time::{Duration, Instant};

use harness::{Origin, PATIENCE};

use crate::pair::{on_both_engines, plugin, setup};

fn http_call(timeout: &str) -> crate::pair::Plugin {
    let lua = format!(
        r#"
local plugin = {{}}
function plugin.on_request_headers()
  local tell = forebay.request.headers.set
  local answer, refusal = forebay.http.call("side", {{
    method = "POST", path = "/side", authority = "side.test", headers = {{ ["x-ask"] = "1" }}, body = "hi",
  }}, {{ timeout = {timeout} / 1000 }})
  if not answer then
    tell("x-status", refusal.code == "CAPABILITY_DENIED" and "refused" or "none")
    tell("x-answer", "nil")
    tell("x-body", "")
    return
  end
  tell("x-status", tostring(answer.status))
  tell("x-answer", answer.headers["x-answer"] or "nil")
  tell("x-body", answer.body)
end
return plugin
"#
    );
    plugin("http_call", &lua).words(&format!("http_call {timeout}"))
}

on_both_engines! {
    fn a_callout_brings_its_answer(engine) {
        let (shop, side) = (Origin::saying("ok"), Origin::serve(|exchange| {
            let body = exchange.messages.body()?;
            assert_eq!(body, b"hi");
            exchange.respond(202, &[("X-Answer", "yes")], b"there")
        }));
        let plugin = http_call("5000").keys("    capabilities: [\"callout:side\"]");
        let edge = setup(&[(engine, plugin)], shop.address, Some(side.address)).start();
        assert_eq!(edge.get("/a").status, 200);
        let told = shop.last().headers;
        assert_eq!((told.get("x-status"), told.get("x-answer"), told.get("x-body")), (Some("202"), Some("yes"), Some("there")));
        let asked = side.last();
        assert_eq!((asked.method(), asked.target()), ("POST", "/side"));
        assert_eq!((asked.headers.get("host"), asked.headers.get("x-ask")), (Some("side.test"), Some("1")));
    }

    fn a_callout_that_waits_does_not_block_its_worker(engine) {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let wait = std::sync::Mutex::new(wait);
        let (shop, side) = (Origin::saying("ok"), Origin::serve(move |exchange| {
            exchange.messages.body()?;
            if exchange.number == 1 {
                let _ = wait.lock().expect("one exchange").recv_timeout(PATIENCE);
            }
            exchange.respond(200, &[], b"")
        }));
        let plugin = http_call("20000").keys("    capabilities: [\"callout:side\"]");
        // One worker: if it were blocked, nobody else would be served.
        let edge = setup(&[(engine, plugin)], shop.address, Some(side.address)).workers(1).start();
        let mut slow = edge.connect();
        slow.request("GET", "/slow", &[], b"");
        side.wait_for_requests(1);
        for _ in 0..5 {
            assert_eq!(edge.get("/quick").status, 200);
        }
        assert_eq!(shop.requests(), 5, "the slow one is still waiting");
        go.send(()).expect("the side origin waits");
        assert_eq!(slow.response().status, 200);
    }

    fn a_callout_ends_at_its_timeout(engine) {
        let (shop, side) = (Origin::saying("ok"), Origin::serve(|_| {
            std::thread::sleep(Duration::from_secs(8));
            Ok(())
        }));
        let plugin = http_call("300").keys("    capabilities: [\"callout:side\"]");
        let edge = setup(&[(engine, plugin)], shop.address, Some(side.address)).start();
        let begin = Instant::now();
        assert_eq!(edge.get("/a").status, 200);
        let took = begin.elapsed();
        assert!(took >= Duration::from_millis(290) && took < Duration::from_secs(6), "took {took:?}");
        assert_eq!(shop.last().headers.get("x-status"), Some("none"), "the plugin is told, and goes on");
    }

    fn a_callout_to_nobody_is_told_to_the_plugin(engine) {
        let (shop, side) = (Origin::saying("ok"), Origin::saying("never"));
        let plugin = http_call("5000").keys("    capabilities: [\"callout:side\"]");
        let edge = setup(&[(engine, plugin)], shop.address, Some(side.address)).start();
        side.stop();
        assert_eq!(edge.get("/a").status, 200);
        assert!(matches!(shop.last().headers.get("x-status"), Some("none" | "503")));
    }

    fn a_callout_that_was_not_granted_is_refused(engine) {
        let (shop, side) = (Origin::saying("ok"), Origin::saying("never"));
        let edge = setup(&[(engine, http_call("5000"))], shop.address, Some(side.address)).start();
        assert_eq!(edge.get("/a").status, 200);
        assert_eq!(shop.last().headers.get("x-status"), Some("refused"));
        assert_eq!(side.requests(), 0);
    }
}
