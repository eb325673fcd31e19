//! TLS at the listener: the protocol that both ends prefer, and nothing in clear.

use harness::{Certificate, Client, Edge, Origin, PATIENCE, Setup, to_shop};

fn start(origin: &Origin, alpn: &str) -> (Edge, Certificate) {
    let setup = Setup::new(to_shop(&[origin.address], ""));
    let certificate = Certificate::write(setup.folder());
    let keys = format!("      tls: {{certificate: certificate.pem, key: key.pem{alpn}}}");
    (setup.listener(&keys).start(), certificate)
}

#[test]
fn http_1_1_is_spoken_over_tls_and_the_origin_is_told() {
    let origin = Origin::saying("ok");
    let (edge, certificate) = start(&origin, "");
    let mut client = Client::connect_tls(edge.address, &certificate, &["http/1.1"]).expect("a handshake");
    assert_eq!(client.alpn.as_deref(), Some("http/1.1"));
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "ok");
    }
    assert_eq!(origin.last().headers.get("x-forwarded-proto"), Some("https"));
    let mut without = Client::connect_tls(edge.address, &certificate, &[]).expect("a handshake without ALPN");
    assert_eq!((without.alpn.clone(), without.get("/").status), (None, 200));
}

#[test]
fn http_2_is_preferred_when_both_can() {
    let origin = Origin::saying("ok");
    let (edge, certificate) = start(&origin, "");
    let client = Client::connect_tls(edge.address, &certificate, &["http/1.1", "h2"]).expect("a handshake");
    assert_eq!(client.alpn.as_deref(), Some("h2"), "the edge's order counts");
    let (edge, certificate) = start(&origin, ", alpn: [http/1.1]");
    let client = Client::connect_tls(edge.address, &certificate, &["h2", "http/1.1"]).expect("a handshake");
    assert_eq!(client.alpn.as_deref(), Some("http/1.1"), "what is not offered is not taken");
}

#[test]
fn what_is_not_tls_gets_nothing() {
    let origin = Origin::saying("ok");
    let (edge, certificate) = start(&origin, "");
    let mut plain = edge.connect();
    plain.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let rest = plain.messages.rest().unwrap_or_default();
    assert!(!rest.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&rest));
    assert_eq!(origin.requests(), 0);
    let mut client = Client::connect_tls(edge.address, &certificate, &[]).expect("the next handshake");
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn a_handshake_that_does_not_come_to_an_end_is_let_go() {
    let origin = Origin::saying("ok");
    let setup = Setup::new(to_shop(&[origin.address], "")).edge("  limits: {header_timeout: 1s}");
    Certificate::write(setup.folder());
    let edge = setup.listener("      tls: {certificate: certificate.pem, key: key.pem}").start();
    let mut slow = edge.connect();
    slow.send([0x16, 0x03, 0x01]);
    assert!(slow.closed_within(PATIENCE));
}
