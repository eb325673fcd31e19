//! SIGTERM: what is under way ends, nothing new begins, then the process ends well.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use harness::{Client, Edge, Origin, PATIENCE, Setup, to_shop, wait_until};

#[test]
fn an_exchange_under_way_is_finished_before_the_end() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::serve(move |exchange| {
        exchange.begin(200, &[])?;
        exchange.chunk(b"begun ")?;
        let _ = wait.lock().expect("not poisoned").recv_timeout(PATIENCE);
        exchange.chunk(b"and ended")?;
        exchange.end(&[])
    });
    let mut edge = Edge::before(&[origin.address]);
    let mut client = edge.connect();
    client.request("GET", "/", &[], b"");
    assert_eq!(client.response_head().status(), 200);
    edge.process.signal("TERM");
    wait_until("new connections to be refused", PATIENCE, || {
        match Client::try_connect(edge.address) {
            Err(_) => Some(()),
            // Taken by the system's queue before the socket closed: never answered.
            Ok(mut late) => late.closed_within(Duration::from_millis(200)).then_some(()),
        }
    });
    assert!(edge.process.running(), "it waits for what is under way");
    go.send(()).expect("the origin waits");
    assert_eq!(client.messages.body().expect("the whole body"), b"begun and ended");
    assert!(client.closed_within(PATIENCE), "the connection is not kept");
    assert_eq!(edge.process.wait().code(), Some(0));
}

#[test]
fn an_idle_connection_does_not_hold_the_end_up() {
    let origin = Origin::saying("ok");
    let mut edge = Edge::before(&[origin.address]);
    let mut idle = edge.connect();
    assert_eq!(idle.get("/").status, 200);
    let _never = edge.connect();
    let begin = Instant::now();
    assert_eq!(edge.process.stop().code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(15), "took {:?}", begin.elapsed());
    assert!(idle.closed_within(PATIENCE));
}

#[test]
fn what_takes_longer_than_the_drain_is_cut_off() {
    let origin = Origin::serve(|exchange| {
        exchange.begin(200, &[])?;
        exchange.chunk(b"begun")?;
        std::thread::sleep(Duration::from_secs(20));
        exchange.end(&[])
    });
    let mut edge = Setup::new(to_shop(&[origin.address], "")).edge("  drain: 1s").start();
    edge.process.expect_error("drain");
    let mut client = edge.connect();
    client.request("GET", "/", &[], b"");
    assert_eq!(client.response_head().status(), 200);
    let begin = Instant::now();
    edge.process.stop();
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(15), "took {took:?}");
    assert!(client.messages.body().is_err(), "a body that was cut off must not look whole");
}
