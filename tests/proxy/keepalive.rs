//! Connections are used again, on both sides, and never at the cost of a request.

use harness::{Client, Edge, Origin, PATIENCE, Setup, to_shop};

#[test]
fn one_connection_of_a_client_becomes_one_to_the_origin() {
    let origin = Origin::saying("ok");
    let edge = Edge::before(&[origin.address]);
    let mut client = edge.connect();
    for _ in 0..50 {
        assert_eq!(client.get("/").text(), "ok");
    }
    assert_eq!((origin.requests(), origin.connections()), (50, 1));
}

#[test]
fn connections_of_many_clients_share_those_to_the_origin() {
    let origin = Origin::saying("ok");
    let edge = Edge::before(&[origin.address]);
    for _ in 0..20 {
        assert_eq!(edge.get("/").text(), "ok");
    }
    assert_eq!((origin.requests(), origin.connections()), (20, 1), "one worker, one after the other");
}

#[test]
fn a_client_that_says_close_is_closed_and_http_1_0_too() {
    let origin = Origin::saying("ok");
    let edge = Edge::before(&[origin.address]);
    let mut client = edge.connect();
    client.request("GET", "/", &[("Connection", "close")], b"");
    assert_eq!(client.response().header("connection"), Some("close"));
    assert!(client.closed_within(PATIENCE));
    let mut client = edge.connect();
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().text(), "ok");
    assert!(client.closed_within(PATIENCE));
}

#[test]
fn an_origin_that_closes_after_each_answer_costs_no_request() {
    let origin = Origin::serve(|exchange| {
        exchange.respond(200, &[("Connection", "close")], b"ok")?;
        exchange.close()
    });
    let edge = Edge::before(&[origin.address]);
    let mut client = edge.connect();
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "ok");
    }
    assert_eq!((origin.requests(), origin.connections()), (20, 20));
}

#[test]
fn an_origin_that_closes_an_idle_connection_costs_no_request() {
    let origin = Origin::serve(|exchange| {
        exchange.respond(200, &[], b"ok")?;
        // Without a word: the edge finds out as it uses the connection.
        exchange.close()
    });
    let edge = Edge::before(&[origin.address]);
    let mut client = edge.connect();
    for n in 0..50 {
        assert_eq!(client.get("/").status, 200, "request {n}");
    }
    // A body cannot be sent twice, so a connection for it must be known to stand.
    for n in 0..20 {
        client.request("POST", "/", &[], b"abc");
        assert_eq!(client.response().status, 200, "POST {n}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn an_answer_that_was_not_read_does_not_spoil_the_next() {
    let origin = Origin::serve(|exchange| {
        let text = exchange.head.target().repeat(2000);
        exchange.respond(200, &[], text.as_bytes())
    });
    let edge = Edge::before(&[origin.address]);
    for _ in 0..10 {
        let mut client = Client::connect(edge.address);
        client.request("GET", "/gone", &[], b"");
        client.response_head();
        drop(client);
        let response = edge.get("/kept");
        assert_eq!((response.status, response.text()), (200, "/kept".repeat(2000).as_str()));
    }
}

#[test]
fn idle_connections_to_an_origin_are_bounded() {
    let origin = Origin::saying("ok");
    let edge = Setup::new(to_shop(&[origin.address], "    idle_connections: 0\n")).start();
    let mut client = edge.connect();
    for _ in 0..5 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(origin.connections(), 5, "none is kept");
}
