//! Which origin gets the next request, and which gets none.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use harness::{Edge, Origin, PATIENCE, Setup, to_shop, wait_until};

#[test]
fn round_robin_gives_each_origin_its_turn() {
    let origins: Vec<_> = ["a", "b", "c"].map(Origin::saying).into_iter().collect();
    let addresses: Vec<_> = origins.iter().map(|origin| origin.address).collect();
    let edge = Edge::before(&addresses);
    let mut client = edge.connect();
    let said: Vec<String> = (0..30).map(|_| client.get("/").text().to_owned()).collect();
    assert_eq!(origins.iter().map(Origin::requests).collect::<Vec<_>>(), [10, 10, 10]);
    for three in said.chunks(3) {
        let mut three = three.to_vec();
        three.sort();
        assert_eq!(three, ["a", "b", "c"], "each before any comes again");
    }
}

#[test]
fn least_requests_avoids_an_origin_that_is_busy() {
    let (go, wait) = channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let busy = Origin::serve(move |exchange| {
        let _ = wait.lock().expect("not poisoned").recv_timeout(PATIENCE * 2);
        exchange.respond(200, &[], b"busy")
    });
    let free = Origin::saying("free");
    let edge = Edge::start(to_shop(&[busy.address, free.address], "    balance: least_requests\n"));
    let mut waiting = Vec::new();
    // Until one is stuck at the busy one.
    while busy.requests() == 0 {
        let mut client = edge.connect();
        client.request("GET", "/", &[], b"");
        wait_until("the request at an origin", PATIENCE, || {
            (busy.requests() + free.requests() > waiting.len()).then_some(())
        });
        waiting.push(client);
        assert!(waiting.len() < 200, "the busy origin never gets one");
    }
    for _ in 0..50 {
        assert_eq!(edge.get("/").text(), "free");
    }
    assert_eq!(busy.requests(), 1, "it got no second one while it had the first");
    go.send(()).expect("the origin waits");
    for client in &mut waiting {
        assert_eq!(client.response().status, 200);
    }
}

#[test]
fn an_origin_that_fails_its_checks_gets_no_request_until_it_passes_them() {
    let sick = Arc::new(AtomicBool::new(false));
    let seen = sick.clone();
    let first = Origin::serve(move |exchange| {
        let status = if exchange.head.target() == "/health" && seen.load(Ordering::SeqCst) { 500 } else { 200 };
        exchange.respond(status, &[], b"first")
    });
    let second = Origin::saying("second");
    let keys = "    health: {path: /health, interval: 100ms, timeout: 5s, healthy_after: 2, unhealthy_after: 2}\n";
    let edge = Edge::start(to_shop(&[first.address, second.address], keys));
    let both = |edge: &Edge| {
        let said: Vec<_> = (0..8).map(|_| edge.get("/").text().to_owned()).collect();
        (said.iter().any(|s| s == "first"), said.iter().any(|s| s == "second"))
    };
    wait_until("both to serve", PATIENCE, || (both(&edge) == (true, true)).then_some(()));
    sick.store(true, Ordering::SeqCst);
    edge.process.wait_for_log(&["origin is unhealthy"]);
    wait_until("only the healthy one to serve", PATIENCE, || (both(&edge) == (false, true)).then_some(()));
    for _ in 0..20 {
        assert_eq!(edge.get("/").text(), "second");
    }
    sick.store(false, Ordering::SeqCst);
    edge.process.wait_for_log(&["origin is healthy again"]);
    wait_until("both to serve again", PATIENCE, || (both(&edge) == (true, true)).then_some(()));
    let changes = edge.metrics().sum("forebay_health_changes_total", &[]);
    assert!(changes >= 2.0, "{changes} changes were counted");
}

#[test]
fn an_origin_that_is_gone_is_found_again_when_it_is_back() {
    let (first, second) = (Origin::saying("first"), Origin::saying("second"));
    let keys = "    health: {path: /health, interval: 100ms, timeout: 1s, healthy_after: 1, unhealthy_after: 1}\n";
    let edge = Setup::new(to_shop(&[first.address, second.address], keys)).workers(2).start();
    first.stop();
    edge.process.wait_for_log(&["origin is unhealthy"]);
    for _ in 0..20 {
        assert_eq!(edge.get("/").text(), "second");
    }
    first.restart();
    wait_until("the first to serve again", PATIENCE, || (edge.get("/").text() == "first").then_some(()));
}
