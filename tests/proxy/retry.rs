//! A request that no origin has begun to answer may go to another one: once, and only if asking
//! twice is safe.

use harness::{Edge, Origin, PATIENCE, Port, list, wait_until};

/// Resets every connection on which a request comes.
fn resetting() -> Origin {
    Origin::serve(|exchange| exchange.reset())
}

#[test]
fn a_refused_connection_is_tried_on_another_origin() {
    let (nobody, origin) = (Port::free(), Origin::saying("ok"));
    let edge = Edge::before(&[nobody.address, origin.address]);
    for n in 0..20 {
        assert_eq!(edge.get("/").status, 200, "request {n}");
    }
    assert_eq!(origin.requests(), 20);
    let retries = edge.metrics().sum("forebay_origin_retries_total", &[]);
    assert!(retries >= 1.0, "{retries} retries were counted");
}

#[test]
fn a_refused_connection_is_not_taken_elsewhere_if_the_method_is_not_safe() {
    let (nobody, origin) = (Port::free(), Origin::echo());
    let edge = Edge::before(&[nobody.address, origin.address]);
    let mut answered = 0;
    for n in 0..10 {
        let mut client = edge.connect();
        client.request("POST", "/", &[], b"once");
        let response = client.response();
        match response.status {
            200 => {
                assert_eq!(response.text(), "once");
                answered += 1;
            }
            status => assert_eq!(status, 502, "POST {n}"),
        }
    }
    // Each worker takes turns, and one of them got at least two of the ten.
    assert!((1..10).contains(&answered), "{answered} of 10 reached the origin: both must have had their turn");
    assert_eq!(origin.requests(), answered, "none was sent twice");
}

#[test]
fn a_reset_before_the_first_byte_is_tried_again_if_the_method_is_safe() {
    let (bad, good) = (resetting(), Origin::saying("ok"));
    let edge = Edge::before(&[bad.address, good.address]);
    for method in ["GET", "HEAD", "OPTIONS"] {
        for _ in 0..6 {
            let mut client = edge.connect();
            client.request(method, "/", &[], b"");
            assert_eq!(client.response().status, 200, "{method}");
        }
    }
    assert!(bad.requests() > 0, "the bad one was tried too");
}

#[test]
fn a_reset_is_not_tried_again_if_the_method_is_not_safe() {
    let (bad, good) = (resetting(), Origin::saying("ok"));
    let edge = Edge::before(&[bad.address, good.address]);
    let mut failed = 0;
    for n in 1..=10 {
        let mut client = edge.connect();
        client.request("POST", "/", &[], b"charge the card");
        let status = client.response().status;
        assert!(status == 200 || status == 502, "{status}");
        failed += usize::from(status == 502);
        assert_eq!(bad.requests() + good.requests(), n, "each was sent once");
    }
    assert_eq!(failed, bad.requests());
    assert!(failed > 0);
}

#[test]
fn it_is_tried_once_more_and_not_for_ever() {
    let origins: Vec<_> = (0..5).map(|_| resetting()).collect();
    let addresses: Vec<_> = origins.iter().map(|origin| origin.address).collect();
    let edge = Edge::before(&addresses);
    assert_eq!(edge.get("/").status, 502);
    assert_eq!(origins.iter().map(Origin::requests).sum::<usize>(), 2);
}

#[test]
fn an_answer_that_has_begun_is_never_asked_for_again() {
    let bad = Origin::serve(|exchange| {
        exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Len")?;
        exchange.reset()
    });
    let good = Origin::saying("ok");
    let edge = Edge::before(&[bad.address, good.address]);
    for _ in 0..6 {
        let status = edge.get("/").status;
        assert!(status == 200 || status == 502, "{status}");
    }
    assert_eq!(bad.requests() + good.requests(), 6);
}

#[test]
fn without_any_origin_the_edge_says_so_at_once() {
    let (nobody, nobody_either) = (Port::free(), Port::free());
    let edge = Edge::before(&[nobody.address, nobody_either.address]);
    let begin = std::time::Instant::now();
    let response = edge.get("/");
    assert!(matches!(response.status, 502 | 503), "{}", response.status);
    assert!(begin.elapsed() < PATIENCE / 2);
    let none = Edge::start(format!(
        "routes:\n  - {{name: all, pool: shop}}\npools:\n  - {{name: shop, origins: {}}}\n",
        list(&[nobody.address])
    ));
    assert!(matches!(none.get("/").status, 502 | 503));
    wait_until("the failure to be counted", PATIENCE, || {
        (none.metrics().sum("forebay_origin_failures_total", &[]) >= 1.0).then_some(())
    });
}

#[test]
fn an_origin_that_does_not_answer_in_time_is_504() {
    let origin = Origin::serve(|exchange| {
        std::thread::sleep(std::time::Duration::from_secs(5));
        exchange.respond(200, &[], b"late")
    });
    let edge = Edge::start(harness::to_shop(&[origin.address], "    timeouts: {response: 500ms}\n"));
    let begin = std::time::Instant::now();
    assert_eq!(edge.get("/").status, 504);
    assert!(begin.elapsed() < std::time::Duration::from_secs(4));
    assert_eq!(origin.requests(), 1, "what may be under way is not asked for again");
}
