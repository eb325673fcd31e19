//! 1xx responses: `100 Continue` is asked for and answered, hints go through.

use harness::{Edge, Origin};

#[test]
fn early_hints_come_before_the_answer() {
    let origin = Origin::serve(|exchange| {
        exchange.raw(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")?;
        exchange.respond(200, &[], b"page")
    });
    let edge = Edge::before(&[origin.address]);
    let mut client = edge.connect();
    client.request("GET", "/", &[], b"");
    let response = client.response();
    assert_eq!((response.status, response.text()), (200, "page"));
    let hints: Vec<_> = response.interim.iter().filter(|head| head.status() == 103).collect();
    assert_eq!(hints.len(), 1, "{:?}", response.interim);
    assert_eq!(hints[0].headers.get("link"), Some("</style.css>; rel=preload"));
    assert_eq!(client.get("/again").interim.len(), 1, "on the next request of the connection too");
}

#[test]
fn a_client_that_waits_for_100_is_told_to_go_on() {
    let origin = Origin::echo();
    let edge = Edge::before(&[origin.address]);
    let mut client = edge.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.response_head().status(), 100);
    client.send("hello");
    let response = client.response();
    assert_eq!((response.status, response.text()), (200, "hello"));
}

#[test]
fn an_origin_that_answers_without_the_body_is_heard() {
    let origin = Origin::serve(|exchange| {
        exchange.respond(403, &[("Connection", "close")], b"no")?;
        exchange.close()
    });
    let edge = Edge::before(&[origin.address]);
    let mut client = edge.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\nsome of it");
    let response = client.response();
    assert_eq!((response.status, response.text()), (403, "no"));
}
