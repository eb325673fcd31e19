//! Upgrades: after a 101 the connection belongs to both ends, bytes go both ways.

use harness::{Edge, Origin, PATIENCE};

const ASK: &str = "GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Answers 101 and then echoes until the end.
fn echo() -> Origin {
    Origin::serve(|exchange| {
        exchange.raw(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello")?;
        while let Ok(byte) = exchange.messages.raw(1) {
            exchange.raw(&byte)?;
        }
        exchange.close()
    })
}

#[test]
fn an_upgraded_connection_carries_bytes_both_ways() {
    let origin = echo();
    let edge = Edge::before(&[origin.address]);
    let mut client = edge.connect();
    client.send(ASK);
    let head = client.response_head();
    assert_eq!(head.status(), 101);
    assert_eq!(head.headers.get("upgrade"), Some("websocket"));
    assert_eq!(head.headers.get("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(client.messages.raw(5).expect("what came with the 101"), b"hello");
    for text in ["one", "two", "three"] {
        client.messages.write(text.as_bytes()).expect("the socket is open");
        assert_eq!(client.messages.raw(text.len()).expect("it comes back"), text.as_bytes());
    }
    let big = vec![b'x'; 1 << 20];
    let copy = big.clone();
    let mut socket = client.messages.socket.try_clone().expect("a socket can be shared");
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut socket, &copy));
    assert_eq!(client.messages.raw(big.len()).expect("a megabyte comes back"), big);
    writer.join().expect("no panic").expect("a megabyte goes");
    let seen = origin.last().headers;
    assert_eq!((seen.get("upgrade"), seen.get("sec-websocket-version")), (Some("websocket"), Some("13")));
}

#[test]
fn the_end_of_one_side_is_the_end_of_the_other() {
    let origin = echo();
    let edge = Edge::before(&[origin.address]);
    let mut client = edge.connect();
    client.send(ASK);
    assert_eq!(client.response_head().status(), 101);
    client.messages.raw(5).expect("the greeting");
    origin.stop();
    assert!(client.closed_within(PATIENCE), "the origin has gone");
}

#[test]
fn an_upgrade_that_the_origin_does_not_want_is_an_answer_like_any_other() {
    let origin = Origin::saying("no sockets here");
    let edge = Edge::before(&[origin.address]);
    let mut client = edge.connect();
    client.send(ASK);
    let response = client.response();
    assert_eq!((response.status, response.text()), (200, "no sockets here"));
    assert_eq!(client.get("/next").status, 200, "and the connection goes on");
}
