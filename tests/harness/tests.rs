//! The harness held against itself: client and origin speak to each other without an edge.

use crate::client_http2::{Ask, Http2};
use crate::origin_http2::{Answered, OriginHttp2};
use crate::{Client, Origin, PATIENCE, Port};

#[test]
fn a_client_and_an_origin_agree_on_lengths_chunks_trailers_and_interim_responses() {
    let origin = Origin::serve(|exchange| {
        let body = exchange.messages.body()?;
        let seen = exchange.messages.trailers();
        exchange.raw(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")?;
        exchange.begin(200, &[("x-trailer-was", seen.get("x-end").unwrap_or("none"))])?;
        exchange.chunk(&body)?;
        exchange.end(&[("x-sum", "7")])
    });
    let mut client = Client::connect(origin.address);
    for _ in 0..2 {
        client
            .send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-End: 9\r\n\r\n");
        let response = client.response();
        assert_eq!((response.status, response.text()), (200, "abc"));
        assert_eq!(response.interim[0].headers.get("link"), Some("</a>"));
        assert_eq!(response.header("x-trailer-was"), Some("9"));
        assert_eq!(response.trailers.get("x-sum"), Some("7"));
    }
    assert_eq!((origin.requests(), origin.connections()), (2, 1));
}

#[test]
fn an_origin_that_stops_refuses_and_can_come_back() {
    let origin = Origin::saying("here");
    assert_eq!(Client::connect(origin.address).get("/").text(), "here");
    let mut standing = Client::connect(origin.address);
    standing.get("/");
    origin.stop();
    assert!(Client::try_connect(origin.address).is_err());
    assert!(standing.closed_within(PATIENCE));
    origin.restart();
    assert_eq!(Client::connect(origin.address).get("/").text(), "here");
    assert_eq!(origin.requests(), 3);
}

#[test]
fn an_origin_can_reset() {
    let origin = Origin::serve(|exchange| exchange.reset());
    let mut client = Client::connect(origin.address);
    client.request("GET", "/", &[], b"");
    let error = client.try_response().expect_err("there is no response");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn http2_carries_bodies_and_trailers_both_ways() {
    let origin = OriginHttp2::serve(|asked| Answered {
        status: 200,
        headers: vec![("x-path".to_owned(), asked.path)],
        body: asked.body,
        trailers: asked.trailers.0,
    });
    let mut client = Http2::connect(origin.address);
    let answer = client.ask(Ask::post("/up", b"abc").trailer("x-end", "9")).expect("an answer");
    assert_eq!((answer.status, answer.text(), answer.header("x-path")), (200, "abc", Some("/up")));
    assert_eq!(answer.trailers.get("x-end"), Some("9"));
    assert_eq!(origin.connections(), 1);
}

#[test]
fn two_ports_are_never_the_same() {
    let ports: Vec<Port> = (0..50).map(|_| Port::free()).collect();
    let mut numbers: Vec<u16> = ports.iter().map(|port| port.address.port()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 50);
}

#[test]
fn the_address_of_an_origin_that_has_ended_is_no_other_origins() {
    let mut had = std::collections::BTreeSet::new();
    for i in 0..500 {
        let address = Origin::saying("here").address;
        assert!(
            had.insert(address),
            "{address} was given again to origin {i}, and who still sends there would reach it"
        );
    }
    // The blocks of a process are its own: none of its ports is ever another's.
    assert!(had.iter().all(|address| Client::try_connect(*address).is_err()));
}
