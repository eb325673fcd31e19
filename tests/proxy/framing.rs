//! Ambiguous framing is refused: what one side reads as the end, the other might not.

use harness::{Edge, Origin, PATIENCE};

/// Sent as it is; must be answered 400 (or the given status) or not at all, then closed, and the
/// origin must never see it.
const REFUSED: &[(&str, &str)] = &[
    (
        "both lengths and chunks",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde"),
    ("two lengths in one", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 5\r\n\r\nabcde"),
    ("a length with a sign", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nabcd"),
    ("a length that is no number", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: four\r\n\r\nabcd"),
    ("a negative length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"),
    ("an unknown coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n"),
    ("chunked that is not last", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    (
        "chunked twice",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("a misspelt coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("chunks in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a folded header", "GET / HTTP/1.1\r\nHost: a\r\nX-A: one\r\n two\r\n\r\n"),
    ("a space before the colon", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 0\r\n\r\n"),
    ("a space before the name", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    ("a bare carriage return in a value", "GET / HTTP/1.1\r\nHost: a\r\nX-A: one\rtwo\r\n\r\n"),
    ("a NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX-A: one\0two\r\n\r\n"),
    ("a name that is none", "GET / HTTP/1.1\r\nHost: a\r\nX A: one\r\n\r\n"),
    ("an empty name", "GET / HTTP/1.1\r\nHost: a\r\n: one\r\n\r\n"),
    ("no host", "GET / HTTP/1.1\r\nX-A: one\r\n\r\n"),
    ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("a host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    ("a target that is for OPTIONS alone", "POST * HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"),
    ("a target without a slash", "GET path HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a version that is none", "GET / HTTP/9.1\r\nHost: a\r\n\r\n"),
    ("a method that is none", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("no request at all", "hello there\r\n\r\n"),
    ("bytes that are no text", "\u{1}\u{2}\u{3}\u{4}\r\n\r\n"),
];

#[test]
fn a_request_that_can_be_read_in_two_ways_is_refused() {
    let origin = Origin::saying("the origin must not see it");
    let edge = Edge::before(&[origin.address]);
    let mut wrong = Vec::new();
    for (what, bytes) in REFUSED {
        let mut client = edge.connect();
        client.send(bytes);
        match client.try_response() {
            Ok(response) if response.status == 400 => {
                if !client.closed_within(PATIENCE) {
                    wrong.push(format!("{what}: 400, and the connection stays open"));
                }
            }
            Ok(response) => wrong.push(format!("{what}: {} {:?}", response.status, response.text())),
            Err(_) if client.closed_within(PATIENCE) => {}
            Err(e) => wrong.push(format!("{what}: neither an answer nor an end: {e}")),
        }
    }
    for head in origin.seen() {
        wrong.push(format!("the origin saw {head:?}"));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!(edge.get("/").status, 200, "the edge serves on");
}

#[test]
fn a_body_that_is_broken_never_becomes_a_whole_one() {
    let broken: &[(&str, &str)] = &[
        ("a size that is no number", "zz\r\nabc\r\n0\r\n\r\n"),
        ("a size with a sign", "+3\r\nabc\r\n0\r\n\r\n"),
        ("a size that is too large", "fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
        ("a chunk longer than its size", "3\r\nabcdef\r\n0\r\n\r\n"),
        ("a chunk without its end", "3\r\nabc0\r\n\r\n"),
    ];
    let origin = Origin::serve(|exchange| {
        let body = exchange.messages.body()?;
        exchange.respond(200, &[], &body)
    });
    let edge = Edge::before(&[origin.address]);
    let mut wrong = Vec::new();
    for (what, bytes) in broken {
        let mut client = edge.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{bytes}"));
        if let Ok(response) = client.try_response()
            && response.status != 400
        {
            wrong.push(format!("{what}: {} {:?}", response.status, response.text()));
        }
        if !client.closed_within(PATIENCE) {
            wrong.push(format!("{what}: the connection stays open"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!(edge.get("/").status, 200, "the edge serves on");
}

#[test]
fn nothing_behind_a_refused_request_is_read_as_another() {
    let origin = Origin::saying("ok");
    let edge = Edge::before(&[origin.address]);
    let mut client = edge.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
    let _ = client.try_response();
    assert!(client.closed_within(PATIENCE));
    assert!(origin.seen().iter().all(|head| !head.target().contains("smuggled")), "{:?}", origin.seen());
}

#[test]
fn an_answer_that_can_be_read_in_two_ways_is_502() {
    let origin = Origin::serve(|exchange| {
        let bytes: &[u8] = match exchange.head.target() {
            "/two-lengths" => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
            "/no-http" => b"what is this\r\n\r\n",
            "/bad-header" => b"HTTP/1.1 200 OK\r\nX A: 1\r\nContent-Length: 0\r\n\r\n",
            "/bad-length" => b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n",
            _ => b"HTTP/1.1 99999 OK\r\nContent-Length: 0\r\n\r\n",
        };
        exchange.raw(bytes)?;
        exchange.close()
    });
    let edge = Edge::before(&[origin.address]);
    let mut wrong = Vec::new();
    for path in ["/two-lengths", "/no-http", "/bad-header", "/bad-length", "/bad-status"] {
        let response = edge.get(path);
        if response.status != 502 {
            wrong.push(format!("{path}: {} {:?}", response.status, response.text()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn requests_one_behind_the_other_are_answered_in_their_order() {
    let origin = Origin::serve(|exchange| {
        let target = exchange.head.target().to_owned();
        let body = exchange.messages.body()?;
        exchange.respond(200, &[], &[target.as_bytes(), b" ", &body].concat())
    });
    let edge = Edge::before(&[origin.address]);
    let mut client = edge.connect();
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
    let texts: Vec<_> = (0..3).map(|_| client.response().text().to_owned()).collect();
    assert_eq!(texts, ["/1 ", "/2 abc", "/3 "]);
}
