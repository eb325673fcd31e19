//! Bodies stream both ways, with back-pressure, and keep their length, chunks and trailers.

use std::io::Read;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use harness::{Client, Edge, Origin, PATIENCE, wait_until};

/// A receiver that closures of an origin may share.
fn shared(receiver: Receiver<()>) -> Arc<Mutex<Receiver<()>>> {
    Arc::new(Mutex::new(receiver))
}

#[test]
fn a_response_is_passed_on_as_it_comes() {
    let (go, wait) = channel();
    let wait = shared(wait);
    let origin = Origin::serve(move |exchange| {
        exchange.begin(200, &[])?;
        exchange.chunk(b"first")?;
        let _ = wait.lock().expect("not poisoned").recv_timeout(PATIENCE);
        exchange.chunk(b"second")?;
        exchange.end(&[])
    });
    let edge = Edge::before(&[origin.address]);
    let mut client = edge.connect();
    client.request("GET", "/", &[], b"");
    assert_eq!(client.response_head().status(), 200);
    assert_eq!(client.chunk().expect("the first piece"), b"first");
    go.send(()).expect("the origin waits");
    assert_eq!(client.messages.body().expect("the rest"), b"second");
}

#[test]
fn a_request_is_passed_on_as_it_comes() {
    let (say, said) = channel();
    let origin = Origin::serve(move |exchange| {
        let mut all = Vec::new();
        while let Some(piece) = exchange.messages.chunk()? {
            say.send(piece.clone()).expect("the test waits");
            all.extend(piece);
        }
        exchange.respond(200, &[], &all)
    });
    let edge = Edge::before(&[origin.address]);
    let mut client = edge.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    assert_eq!(said.recv_timeout(PATIENCE).expect("the first chunk, before the second was sent"), b"first");
    client.send("6\r\nsecond\r\n0\r\n\r\n");
    assert_eq!(said.recv_timeout(PATIENCE).expect("the second chunk"), b"second");
    assert_eq!(client.response().text(), "firstsecond");
}

#[test]
fn a_client_that_does_not_read_stops_the_origin() {
    const CHUNK: usize = 64 << 10;
    const MOST: usize = 1024;
    let sent = Arc::new(Mutex::new(0));
    let counting = sent.clone();
    let origin = Origin::serve(move |exchange| {
        exchange.begin(200, &[])?;
        for _ in 0..MOST {
            exchange.chunk(&[b'x'; CHUNK])?;
            *counting.lock().expect("not poisoned") += CHUNK;
        }
        exchange.end(&[])
    });
    let edge = Edge::before(&[origin.address]);
    let mut client = edge.connect();
    client.request("GET", "/", &[], b"");
    assert_eq!(client.response_head().status(), 200);
    // It stands still once the sockets' buffers are full: nothing else holds bytes.
    let stopped = standstill(&sent);
    assert!(stopped < MOST * CHUNK / 2, "{stopped} bytes were taken from the origin, and the client read none");
    let body = client.messages.body().expect("the whole body");
    assert_eq!(body.len(), MOST * CHUNK, "and then all of it comes");
}

#[test]
fn an_origin_that_does_not_read_stops_the_client() {
    const MOST: usize = 48 << 20;
    let (go, wait) = channel();
    let wait = shared(wait);
    let origin = Origin::serve(move |exchange| {
        let _ = wait.lock().expect("not poisoned").recv_timeout(PATIENCE * 2);
        let body = exchange.messages.body()?;
        exchange.respond(200, &[], body.len().to_string().as_bytes())
    });
    let edge = Edge::before(&[origin.address]);
    let mut client = edge.connect();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {MOST}\r\n\r\n"));
    let sent = Arc::new(Mutex::new(0));
    let counting = sent.clone();
    let mut writing = Client::connect(edge.address);
    std::mem::swap(&mut writing, &mut client);
    let writer = std::thread::spawn(move || {
        for _ in 0..MOST / (64 << 10) {
            writing.messages.write(&[b'x'; 64 << 10]).expect("the edge takes it in the end");
            *counting.lock().expect("not poisoned") += 64 << 10;
        }
        writing.response()
    });
    origin.wait_for_requests(1);
    let stopped = standstill(&sent);
    assert!(stopped < MOST / 2, "{stopped} bytes were taken from the client, and the origin read none");
    go.send(()).expect("the origin waits");
    assert_eq!(writer.join().expect("the client's thread").text(), MOST.to_string());
}

/// Waits until the number has not grown for half a second.
fn standstill(sent: &Mutex<usize>) -> usize {
    let read = || *sent.lock().expect("not poisoned");
    let (mut last, mut since) = (0, Instant::now());
    wait_until("the bytes to stand still", PATIENCE, || {
        let now = read();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        (now > 0 && since.elapsed() > Duration::from_millis(500)).then_some(now)
    })
}

#[test]
fn trailers_are_passed_both_ways() {
    let origin = Origin::serve(|exchange| {
        exchange.messages.body()?;
        let seen = exchange.messages.trailers();
        exchange.begin(200, &[("Trailer", "x-sum"), ("x-seen", seen.get("x-end").unwrap_or("none"))])?;
        exchange.chunk(b"body")?;
        exchange.end(&[("X-Sum", "42")])
    });
    let edge = Edge::before(&[origin.address]);
    let mut client = edge.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: x-end\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-End: 7\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status, response.text()), (200, "body"));
    assert_eq!(response.header("x-seen"), Some("7"));
    assert_eq!(response.trailers.get("x-sum"), Some("42"));
}

#[test]
fn lengths_are_kept_and_empty_answers_have_no_body() {
    let origin = Origin::serve(|exchange| match exchange.head.target() {
        "/none" => exchange.respond(204, &[], b""),
        "/not-modified" => exchange.respond(304, &[("etag", "\"a\"")], b""),
        "/close" => {
            exchange.raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end")?;
            exchange.close()
        }
        _ => exchange.respond(200, &[], b"12345"),
    });
    let edge = Edge::before(&[origin.address]);
    let mut client = edge.connect();
    let response = client.get("/five");
    assert_eq!((response.header("content-length"), response.text()), (Some("5"), "12345"));
    client.request("HEAD", "/five", &[], b"");
    let response = client.response();
    assert_eq!((response.header("content-length"), response.body.len()), (Some("5"), 0));
    assert_eq!((client.get("/none").status, client.get("/not-modified").status), (204, 304));
    assert_eq!(client.get("/close").text(), "until the end", "a body that ended with its connection is whole");
    assert_eq!(client.get("/five").text(), "12345", "and the client's connection goes on");
}

#[test]
fn a_response_that_breaks_off_breaks_off_for_the_client_too() {
    let origin = Origin::serve(|exchange| match exchange.head.target() {
        "/length" => {
            exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")?;
            exchange.close()
        }
        _ => {
            exchange.begin(200, &[])?;
            exchange.chunk(b"only this")?;
            exchange.close()
        }
    });
    let edge = Edge::before(&[origin.address]);
    for path in ["/length", "/chunked"] {
        let mut client = edge.connect();
        client.request("GET", path, &[], b"");
        let error = client.try_response().expect_err("it must not look whole");
        assert!(
            matches!(error.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset),
            "{error}"
        );
    }
}

#[test]
fn a_client_that_goes_away_ends_the_exchange_with_the_origin() {
    let (say, said) = channel();
    let origin = Origin::serve(move |exchange| {
        exchange.begin(200, &[])?;
        exchange.chunk(b"first")?;
        // Nothing comes from the edge but the end of the connection.
        exchange.messages.patience(PATIENCE);
        let mut byte = [0];
        let n = exchange.messages.stream.read(&mut byte);
        say.send(matches!(n, Ok(0)) || n.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset))
            .expect("the test waits");
        exchange.close()
    });
    let edge = Edge::before(&[origin.address]);
    let mut client = edge.connect();
    client.request("GET", "/", &[], b"");
    assert_eq!(client.response_head().status(), 200);
    drop(client);
    assert!(said.recv_timeout(PATIENCE).expect("the origin sees an end"), "the edge must close, not send");
}
