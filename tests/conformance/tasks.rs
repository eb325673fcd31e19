//! async/await of the SDK for Rust. Lua's plugins wait like this anyway, so the bodies that both engines
//! share are elsewhere (`kv`, `callout`, `time`); here is what only tasks can get wrong.

use harness::binary::example;
use harness::{Edge, Origin, PATIENCE, Redis, Setup, list, wait_until};

use crate::pair::{Engine, plugin, setup};

fn start(how: &str, shop: &Origin, side: &Origin) -> Edge {
    let plugin = plugin("tasks", "").words(&format!("tasks {how}")).keys("    capabilities: [\"callout:side\"]");
    setup(&[(Engine::Wasm, plugin)], shop.address, Some(side.address)).workers(1).start()
}

fn no_fault(edge: &Edge) {
    assert_eq!(edge.metrics().sum("forebay_plugin_faults_total", &[]), 0.0);
}

#[test]
fn a_task_goes_on_where_it_waited_in_every_phase() {
    let (shop, side) = (
        Origin::saying("ok"),
        Origin::serve(|exchange| {
            let path = exchange.head.target().to_owned();
            exchange.respond(200, &[], path.as_bytes())
        }),
    );
    let edge = start("steps", &shop, &side);
    let mut clients: Vec<_> = (0..5).map(|_| edge.connect()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.request("GET", &format!("/{n}"), &[], b"");
    }
    for client in &mut clients {
        assert_eq!(client.response().header("x-slept"), Some("yes"));
    }
    for (n, head) in shop.seen().iter().enumerate() {
        assert_eq!(head.headers.get("x-told"), Some("200 /first, 200 /second"), "request {n}");
    }
    // Each log is about its own exchange, after the end of it.
    for n in 0..5 {
        edge.process.wait_for_log(&[&format!("case tasks: log 200 /log for /{n}")]);
    }
    no_fault(&edge);
}

#[test]
fn callouts_are_awaited_together_and_a_reply_that_is_dropped_wakes_nobody() {
    for (how, told) in [("all", "200 200"), ("dropped", "one")] {
        let (shop, side) = (Origin::saying("ok"), Origin::saying("side"));
        let edge = start(how, &shop, &side);
        assert_eq!(edge.get("/a").text(), "ok");
        assert_eq!(shop.last().headers.get("x-told"), Some(told));
        no_fault(&edge);
    }
}

#[test]
fn an_answer_after_a_wait_is_the_end_of_the_request() {
    let (shop, side) = (Origin::saying("never"), Origin::saying("never"));
    let edge = start("refuse", &shop, &side);
    for _ in 0..3 {
        let response = edge.get("/a");
        assert_eq!((response.status, response.text()), (403, "after a while"));
    }
    assert_eq!(shop.requests(), 0);
    no_fault(&edge);
}

#[test]
fn a_task_is_dropped_with_its_exchange() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let (shop, side) = (
        Origin::saying("ok"),
        Origin::serve(move |exchange| {
            let _ = wait.lock().expect("one exchange").recv_timeout(PATIENCE);
            exchange.respond(200, &[], b"late")
        }),
    );
    let edge = start("held", &shop, &side);
    let mut client = edge.connect();
    client.request("GET", "/a", &[], b"");
    side.wait_for_requests(1);
    assert!(!edge.process.log_has("case tasks: dropped"));
    drop(client);
    edge.process.wait_for_log(&["case tasks: dropped"]);
    go.send(()).expect("the side origin waits");
    // The next exchange has the same instance, and nothing of the last one.
    go.send(()).expect("the side origin waits");
    assert_eq!(edge.get("/b").text(), "ok");
    wait_until("the second one's end", PATIENCE, || {
        (edge.process.log().iter().filter(|line| line.contains("case tasks: dropped")).count() == 2).then_some(())
    });
    let went_on = edge.process.log().iter().filter(|line| line.contains("case tasks: went on with 200 late")).count();
    assert_eq!(went_on, 1, "what was dropped did not go on");
    assert_eq!(shop.requests(), 1);
    no_fault(&edge);
}

#[test]
fn a_task_that_another_context_wakes_is_about_its_own() {
    let (shop, side) = (Origin::saying("ok"), Origin::saying("never"));
    let edge = start("across", &shop, &side);
    for _ in 0..3 {
        assert_eq!(edge.get("/a").text(), "ok");
        let told = shop.last();
        assert_eq!((told.headers.get("x-across"), told.headers.get("x-root")), (Some("yes"), Some("none")));
    }
    no_fault(&edge);
}

/// The example `admit`, as its author would build it.
#[test]
fn the_example_asks_a_store_and_an_authority_and_remembers() {
    let redis = Redis::start();
    let shop = Origin::saying("ok");
    // Too busy the first time.
    let authority = Origin::serve(|exchange| match (exchange.number, exchange.headers().get("x-key")) {
        (1, _) => exchange.respond(429, &[], b""),
        (_, Some("good")) => exchange.respond(200, &[], b"gold"),
        _ => exchange.respond(404, &[], b""),
    });
    let region = format!(
        "kv: [{{name: keys, url: \"{}\", timeout: 20s}}]\nplugins:\n  - name: admit\n    wasm: {}\n    capabilities: \
         [\"kv:keys\", \"callout:authority\"]\nroutes:\n  - {{name: all, plugins: [admit], pool: shop}}\npools:\n  - \
         {{name: shop, origins: {}}}\n  - {{name: authority, origins: {}}}\n",
        redis.url(),
        example("admit").display(),
        list(&[shop.address]),
        list(&[authority.address])
    );
    let edge = Setup::new(region).start();
    let ask = |key: &[(&str, &str)]| {
        let mut client = edge.connect();
        client.request("GET", "/a", key, b"");
        client.response().status
    };
    assert_eq!(ask(&[]), 401);
    assert_eq!((shop.requests(), authority.requests()), (0, 0));
    assert_eq!(ask(&[("x-key", "good")]), 200);
    assert_eq!(authority.requests(), 2, "it was asked again after it had been too busy");
    assert_eq!(shop.last().headers.get("x-tier"), Some("gold"));
    assert_eq!(ask(&[("x-key", "good")]), 200);
    assert_eq!(authority.requests(), 2, "the store remembers");
    assert_eq!(shop.last().headers.get("x-tier"), Some("gold"));
    assert_eq!(ask(&[("x-key", "bad")]), 403);
    assert_eq!((shop.requests(), authority.requests()), (2, 3));
    edge.process.wait_for_log(&["admit: 403"]);
    no_fault(&edge);
}
