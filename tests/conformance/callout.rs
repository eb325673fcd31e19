//! HTTP callouts: to a pool by name, without blocking the worker, bounded in time.

use std::time::{Duration, Instant};

use harness::{Origin, PATIENCE};

use crate::pair::{in_every_language, on_both_engines, plugin, setup};

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

const RETRY: &str = r#"
local plugin = {}
function plugin.on_request_headers()
  local method = forebay.request.headers.get("x-method")
  local answer, why = forebay.http.call("side", { method = method, body = "hi" }, { timeout = 5, retry = 2 })
  forebay.request.headers.set("x-told", answer and answer.status .. " " .. answer.body or why.code)
end
return plugin
"#;

const CALL_ALL: &str = r#"
local plugin = {}
function plugin.on_request_headers()
  local results = assert(forebay.http.call_all({
    { "side", { path = "/a" }, { timeout = 5 } },
    { "other", { path = "/" } },
    { "side", { method = "PUT", path = "/b", body = "hi" }, { timeout = 5, retry = 2 } },
    { "side", { path = "/broken" }, { timeout = 5 } },
  }))
  local told = {}
  for i, result in ipairs(results) do
    if result.status then
      told[i] = result.status .. " " .. (result.headers["x-answer"] or "nil") .. " " .. result.body
    else
      told[i] = ({ CAPABILITY_DENIED = "100", UNAVAILABLE = "104" })[result.code] or result.code
    end
  end
  forebay.request.headers.set("x-told", table.concat(told, "|"))
end
return plugin
"#;

in_every_language! {
    a_callout_brings_its_answer,
    a_callout_that_waits_does_not_block_its_worker,
    a_callout_ends_at_its_timeout,
    a_callout_to_nobody_is_told_to_the_plugin,
    a_callout_that_was_not_granted_is_refused,
}

on_both_engines! {
    fn several_callouts_run_at_once_and_one_takes_nothing_from_the_others(engine) {
        // `/a` is answered when `/b` has been asked: one after the other would never end.
        let asked = std::sync::Arc::new(std::sync::Barrier::new(2));
        let (shop, side) = (Origin::saying("ok"), Origin::serve(move |exchange| {
            let body = exchange.messages.body()?;
            match exchange.head.target() {
                "/a" => {
                    asked.wait();
                    exchange.respond(200, &[("X-Answer", "a")], b"first")
                }
                "/b" if exchange.headers().get("x-try").is_none() && body == b"hi" => {
                    asked.wait();
                    exchange.respond(201, &[], &body)
                }
                _ => exchange.reset(),
            }
        }));
        let plugin = plugin("call_all", CALL_ALL).keys("    capabilities: [\"callout:side\"]");
        let edge = setup(&[(engine, plugin)], shop.address, Some(side.address)).start();
        assert_eq!(edge.get("/x").text(), "ok");
        assert_eq!(shop.last().headers.get("x-told"), Some("200 a first|100|201 nil hi|104"));
        assert_eq!(side.seen().iter().filter(|head| head.target() == "/a").count(), 1);
        assert_eq!(side.seen().iter().filter(|head| head.target() == "/b").count(), 1, "a 201 is not asked for again");
    }

    fn a_callout_is_sent_again_where_that_does_no_harm(engine) {
        let (shop, side) = (Origin::saying("ok"), Origin::serve(|exchange| {
            let body = exchange.messages.body()?;
            match (exchange.head.method(), exchange.number) {
                ("PUT", 1) => exchange.reset(),
                ("PUT", 3..) => exchange.respond(201, &[], &body),
                _ => exchange.respond(503, &[], b"not yet"),
            }
        }));
        let plugin = plugin("retry", RETRY).keys("    capabilities: [\"callout:side\"]");
        let edge = setup(&[(engine, plugin)], shop.address, Some(side.address)).start();
        let asked = |method| {
            let mut client = edge.connect();
            client.request("GET", "/x", &[("x-method", method)], b"");
            assert_eq!(client.response().text(), "ok");
            shop.last().headers.get("x-told").map(str::to_owned)
        };
        assert_eq!((asked("PUT").as_deref(), side.requests()), (Some("201 hi"), 3));
        // This one may have done something: it is sent once, whatever the plugin says.
        assert_eq!((asked("POST").as_deref(), side.requests()), (Some("503 not yet"), 4));
    }

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
