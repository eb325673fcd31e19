//! What one client may send, hold and wait for.

use std::time::{Duration, Instant};

use harness::http1::chunk;
use harness::{Edge, Origin, PATIENCE, Setup, to_shop};

fn limited(origin: &Origin, limits: &str) -> Edge {
    Setup::new(to_shop(&[origin.address], "")).edge(&format!("  limits: {{{limits}}}")).start()
}

#[test]
fn headers_over_their_bytes_or_number_are_431() {
    let origin = Origin::saying("ok");
    let edge = limited(&origin, "header_bytes: 8KiB, headers: 20");
    let mut client = edge.connect();
    client.request("GET", "/", &[("X-Long", &"a".repeat(7 << 10))], b"");
    assert_eq!(client.response().status, 200, "under the limit it passes");
    let mut client = edge.connect();
    client.request("GET", "/", &[("X-Long", &"a".repeat(9 << 10))], b"");
    assert_eq!(client.response().status, 431);
    let mut client = edge.connect();
    let many: Vec<_> = (0..30).map(|n| (format!("X-{n}"), "1")).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    client.request("GET", "/", &many, b"");
    assert_eq!(client.response().status, 431);
    assert_eq!(origin.requests(), 1);
}

#[test]
fn a_request_line_without_an_end_is_refused() {
    let origin = Origin::saying("ok");
    let edge = limited(&origin, "header_bytes: 8KiB");
    let mut client = edge.connect();
    client.send("GET /");
    let begin = Instant::now();
    let mut sent = 0;
    while client.messages.write(&[b'a'; 4096]).is_ok() {
        sent += 4096;
        assert!(sent < 64 << 20 && begin.elapsed() < PATIENCE, "the edge reads a request line of {sent} bytes");
    }
    assert_eq!(origin.requests(), 0);
    assert_eq!(edge.get("/").status, 200);
}

#[test]
fn a_body_over_its_bytes_is_413() {
    let origin = Origin::echo();
    let edge = limited(&origin, "body_bytes: 100KiB");
    let mut client = edge.connect();
    client.request("POST", "/", &[], &[b'a'; 100 << 10]);
    assert_eq!(client.response().status, 200, "at the limit it passes");
    let mut client = edge.connect();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 200 << 10));
    assert_eq!(client.response().status, 413, "a length says so before the body");
    let asked = origin.requests();
    let mut client = edge.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..20 {
        if client.messages.write(&chunk(&[b'a'; 10 << 10])).is_err() {
            break;
        }
    }
    match client.try_response() {
        Ok(response) => assert_eq!(response.status, 413),
        Err(e) => panic!("{e}: chunks are counted as they come, and the client is told"),
    }
    // The origin may have seen its beginning, but no end of it.
    assert!(origin.requests() <= asked + 1);
}

#[test]
fn a_client_that_is_slow_with_its_headers_is_let_go() {
    let origin = Origin::saying("ok");
    let edge = limited(&origin, "header_timeout: 1s");
    let mut slow = edge.connect();
    slow.send("GET / HTTP/1.1\r\nHost: ");
    let begin = Instant::now();
    let answer = slow.try_response();
    assert!(answer.as_ref().is_ok_and(|r| r.status == 408) || answer.is_err(), "{answer:?}");
    assert!(slow.closed_within(PATIENCE));
    let took = begin.elapsed();
    assert!(took > Duration::from_millis(800) && took < Duration::from_secs(15), "took {took:?}");
    assert_eq!(origin.requests(), 0);
}

#[test]
fn a_client_that_is_slow_with_its_body_is_let_go() {
    let origin = Origin::echo();
    let edge = limited(&origin, "body_timeout: 1s");
    let mut slow = edge.connect();
    slow.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    let begin = Instant::now();
    let answer = slow.try_response();
    assert!(answer.as_ref().is_ok_and(|r| r.status == 408) || answer.is_err(), "{answer:?}");
    assert!(slow.closed_within(PATIENCE));
    assert!(begin.elapsed() < Duration::from_secs(15), "took {:?}", begin.elapsed());
}

#[test]
fn a_body_that_trickles_but_keeps_coming_is_waited_for() {
    let origin = Origin::echo();
    let edge = limited(&origin, "body_timeout: 2s");
    let mut client = edge.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n");
    for byte in [b"a", b"b", b"c", b"d", b"e", b"f"] {
        // Together longer than the limit, each far shorter.
        std::thread::sleep(Duration::from_millis(500));
        client.send(byte);
    }
    assert_eq!(client.response().text(), "abcdef");
}

#[test]
fn a_connection_without_a_request_is_closed() {
    let origin = Origin::saying("ok");
    let edge = limited(&origin, "idle_timeout: 1s, header_timeout: 1s");
    let mut never = edge.connect();
    let mut once = edge.connect();
    assert_eq!(once.get("/").status, 200);
    let begin = Instant::now();
    assert!(once.closed_within(PATIENCE), "idle after a request");
    assert!(begin.elapsed() > Duration::from_millis(700), "took {:?}", begin.elapsed());
    assert!(never.closed_within(PATIENCE), "idle from the beginning");
}

#[test]
fn connections_over_their_number_wait_and_are_then_served() {
    let origin = Origin::saying("ok");
    let edge = limited(&origin, "connections: 2");
    let (mut first, mut second) = (edge.connect(), edge.connect());
    assert_eq!((first.get("/").status, second.get("/").status), (200, 200));
    let mut third = edge.connect();
    third.request("GET", "/third", &[], b"");
    third.messages.patience(Duration::from_millis(500));
    assert!(third.try_response().is_err(), "it waits in the queue of the system");
    drop(first);
    third.messages.patience(PATIENCE);
    assert_eq!(third.response().status, 200);
}
