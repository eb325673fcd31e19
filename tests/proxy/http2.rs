//! HTTP/2 with prior knowledge, to clients and to origins.
//!
//! Trailers that leave the edge over HTTP/1.1 are those that a `Trailer` header has announced: the
//! edge drops others, so the tests announce theirs.

use harness::client_frames::{DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, head};
use harness::client_http2::Ask;
use harness::origin_http2::{Answered, OriginHttp2};
use harness::{Edge, Frames, Http2, Origin, to_shop};

#[test]
fn many_exchanges_share_one_connection_of_a_client() {
    let origin = Origin::echo();
    let edge = Edge::before(&[origin.address]);
    let mut client = Http2::connect(edge.address);
    let asks = (0..50).map(|n| Ask::post("/", format!("body {n}").as_bytes())).collect();
    for (n, answer) in client.ask_all(asks).into_iter().enumerate() {
        let answer = answer.unwrap_or_else(|e| panic!("exchange {n}: {e}"));
        assert_eq!((answer.status, answer.text()), (200, format!("body {n}").as_str()));
    }
    assert_eq!(edge.metrics().sum("forebay_connections_accepted_total", &[]), 1.0);
    let seen = origin.last();
    assert_eq!(seen.headers.get("host"), Some("test"), ":authority becomes the host");
}

#[test]
fn trailers_cross_from_http_2_to_http_1_and_back() {
    let origin = Origin::serve(|exchange| {
        exchange.messages.body()?;
        let end = exchange.messages.trailers().get("x-end").unwrap_or("none").to_owned();
        exchange.begin(200, &[("x-seen", &end), ("trailer", "x-sum")])?;
        exchange.chunk(b"body")?;
        exchange.end(&[("x-sum", "42")])
    });
    let edge = Edge::before(&[origin.address]);
    let mut client = Http2::connect(edge.address);
    let answer = client
        .ask(Ask::post("/", b"hi").header("te", "trailers").header("trailer", "x-end").trailer("x-end", "7"))
        .expect("an answer");
    assert_eq!((answer.status, answer.text(), answer.header("x-seen")), (200, "body", Some("7")));
    assert_eq!(answer.trailers.get("x-sum"), Some("42"));
}

#[test]
fn an_origin_is_spoken_to_in_http_2() {
    let origin = OriginHttp2::serve(|asked| Answered {
        status: 200,
        headers: vec![
            ("trailer".to_owned(), "x-sum".to_owned()),
            ("x-path".to_owned(), asked.path),
            ("x-method".to_owned(), asked.method),
            ("x-for".to_owned(), asked.headers.get("x-forwarded-for").unwrap_or("none").to_owned()),
            ("x-connection".to_owned(), asked.headers.get("connection").unwrap_or("none").to_owned()),
        ],
        body: asked.body,
        trailers: vec![("x-sum".to_owned(), asked.trailers.get("x-end").unwrap_or("none").to_owned())],
    });
    let edge = Edge::start(to_shop(&[origin.address], "    http2: true\n"));
    let mut one = edge.connect();
    one.send("POST /a?b HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: x-end\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-End: 7\r\n\r\n");
    let answer = one.response();
    assert_eq!((answer.status, answer.text()), (200, "hi"));
    assert_eq!((answer.header("x-path"), answer.header("x-method")), (Some("/a?b"), Some("POST")));
    assert_eq!((answer.header("x-for"), answer.header("x-connection")), (Some("127.0.0.1"), Some("none")));
    assert_eq!(answer.trailers.get("x-sum"), Some("7"));
    let mut two = Http2::connect(edge.address);
    let asks = (0..20).map(|n| Ask::get(&format!("/{n}"))).collect();
    for (n, answer) in two.ask_all(asks).into_iter().enumerate() {
        assert_eq!(answer.expect("an answer").header("x-path"), Some(format!("/{n}").as_str()));
    }
    assert!(origin.connections() <= 2, "{} connections for 21 exchanges of one worker", origin.connections());
}

#[test]
fn refusals_come_over_http_2_too() {
    let edge = Edge::start("routes:\n  - {name: a, match: {path: {exact: /a}}, respond: {body: here}}\n");
    let mut client = Http2::connect(edge.address);
    assert_eq!((client.get("/a").status, client.get("/b").status), (200, 404));
    assert_eq!(client.get("/a").text(), "here", "the connection goes on");
}

#[test]
fn a_length_over_all_bounds_is_refused_over_http_2_before_the_body() {
    let origin = Origin::echo();
    let edge = Edge::before(&[origin.address]);
    // The library resets what has more digits than it counts with.
    for (length, kind) in [("18446744073709551615", RST_STREAM), ("67108865", HEADERS)] {
        let mut client = Frames::connect(edge.address, &[]);
        let path = format!("/{length}");
        client.send(HEADERS, END_HEADERS, 1, &head("POST", &path, &[("content-length", length)]));
        let first = client.until("an answer before the body", |frame| frame.stream == 1);
        assert_eq!(first.kind, kind, "{length}: {first:?}");
        if kind == HEADERS {
            let line = edge.access_line(&path);
            assert!(line.contains("\"status\":413"), "{line}");
        }
    }
    assert_eq!(origin.requests(), 0);
}

/// RFC 9113, 8.1, calls it malformed; the HTTP library drops it and tells nobody.
#[test]
fn a_pseudo_header_among_trailers_goes_nowhere() {
    let origin = Origin::serve(|exchange| {
        exchange.messages.body()?;
        let seen: Vec<_> = exchange.messages.trailers().0.into_iter().map(|(name, _)| name).collect();
        exchange.respond(200, &[], seen.join(",").as_bytes())
    });
    let edge = Edge::before(&[origin.address]);
    let mut client = Frames::connect(edge.address, &[]);
    client.send(HEADERS, END_HEADERS, 1, &head("POST", "/", &[("te", "trailers"), ("trailer", "x-end")]));
    client.send(DATA, 0, 1, b"hi");
    let mut trailers = head("GET", "/smuggled", &[]);
    trailers.extend_from_slice(b"\0\x05x-end\x011");
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, &trailers);
    let end = client.until("an end", |frame| frame.stream == 1 && matches!(frame.kind, DATA | RST_STREAM));
    assert!(end.kind == RST_STREAM || end.payload == b"x-end", "{end:?}");
    assert!(origin.seen().iter().all(|head| head.target() == "/"));
}
