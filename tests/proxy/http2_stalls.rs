//! HTTP/2 clients that hold on to what they were given: windows that never open, connections that
//! only chat. What they hold ends by the time limits, and nobody beside them is cut.

use std::time::{Duration, Instant};

use harness::client_frames::{DATA, END_HEADERS, Frame, GOAWAY, HEADERS, INITIAL_WINDOW, PING, RST_STREAM, head};
use harness::origin_http2::{Answered, OriginHttp2};
use harness::{Certificate, Edge, Frames, Origin, PATIENCE, Setup, list, wait_until};

/// `CANCEL`
const CANCELLED: u32 = 8;
const WIDE: u32 = 1 << 30;

/// An origin whose every answer has two million bytes.
fn large() -> Origin {
    Origin::serve(|exchange| exchange.respond(200, &[], &vec![b'y'; 2_000_000]))
}

/// `/big` and `/small` are answered by the edge itself, the rest by the origin.
fn region(origin: &Origin) -> String {
    format!(
        "routes:\n  - {{name: big, match: {{path: {{exact: /big}}}}, respond: {{body: {}}}}}\n  - {{name: small, match: \
         {{path: {{exact: /small}}}}, respond: {{body: here}}}}\n  - {{name: all, pool: shop}}\npools:\n  - name: shop\n    \
         origins: {}\n",
        "x".repeat(60_000),
        list(&[origin.address])
    )
}

fn limited(origin: &Origin, limits: &str) -> Edge {
    Setup::new(region(origin)).edge(&format!("  limits: {{{limits}}}")).start()
}

#[track_caller]
fn wait_for_in_flight(edge: &Edge, wanted: f64) {
    wait_until(&format!("{wanted} exchanges in flight"), PATIENCE, || {
        (edge.metrics().sum("forebay_in_flight", &[]) == wanted).then_some(())
    });
}

#[test]
fn a_stalled_http2_response_ends_by_body_timeout_and_only_it() {
    let origin = large();
    let edge = limited(&origin, "body_timeout: 1s");
    // No window at all; one that ends within a piece of the body; the connection's, used up.
    for (case, initial, path) in
        [("none", 0, "/none"), ("some", 1000, "/some"), ("own", 10, "/big"), ("all", WIDE, "/all")]
    {
        let mut client = Frames::connect(edge.address, &[(INITIAL_WINDOW, initial)]);
        let begin = Instant::now();
        client.get(1, path);
        let reset = client.until("the reset of the stalled stream", |frame| frame.kind == RST_STREAM);
        assert_eq!((reset.stream, reset.code()), (1, CANCELLED), "{case}");
        let took = begin.elapsed();
        assert!(took > Duration::from_millis(900) && took < Duration::from_secs(20), "{case}: took {took:?}");
        // The connection goes on, with all that the stalled stream had claimed of it.
        client.window(0, 1 << 20);
        client.get(3, "/small");
        client.window(3, 1 << 20);
        let end = client.until("the end of the next stream", |frame| frame.stream == 3 && frame.ends_stream());
        assert_eq!((end.kind, &end.payload[..]), (DATA, &b"here"[..]), "{case}");
        let line = edge.access_line(path);
        assert!(line.contains("\"aborted\":true") && line.contains("did not take"), "{case}: {line}");
    }
    wait_until("the origin's exchanges to end", PATIENCE, || (origin.in_flight() == 0).then_some(()));
    wait_for_in_flight(&edge, 0.0);
}

#[test]
fn beside_a_stalled_stream_others_of_the_connection_go_on() {
    let origin = large();
    let setup = Setup::new(region(&origin));
    let certificate = Certificate::write(setup.folder());
    let edge = setup
        .listener("      tls: {certificate: certificate.pem, key: key.pem}")
        .edge("  limits: {body_timeout: 1s}")
        .start();
    let mut client = Frames::connect_tls(edge.address, &certificate, &[(INITIAL_WINDOW, 0)]);
    client.window(0, WIDE);
    client.get(1, "/stalled");
    client.get(3, "/moving");
    let (begin, mut reset, mut got) = (Instant::now(), None, 0);
    while begin.elapsed() < Duration::from_secs(5) {
        client.window(3, 10_000);
        while let Some(frame) = client.next(Duration::from_millis(200)) {
            assert!(frame.kind != RST_STREAM || frame.stream == 1, "it moves: {frame:?}");
            assert_ne!(frame.kind, GOAWAY);
            got += if frame.kind == DATA { frame.payload.len() } else { 0 };
            if frame.kind == RST_STREAM {
                reset = Some(begin.elapsed());
            }
        }
        assert!(!client.closed);
    }
    assert!(reset.is_some_and(|at| at < Duration::from_secs(4)), "{reset:?}");
    client.window(3, WIDE);
    client.until("the end of the moving stream", |frame| {
        got += if frame.kind == DATA { frame.payload.len() } else { 0 };
        frame.ends_stream()
    });
    assert_eq!(got, 2_000_000);
}

#[test]
fn streams_that_share_a_narrow_connection_wait_for_their_turn() {
    let origin = large();
    let edge = limited(&origin, "body_timeout: 1s");
    const STREAMS: u32 = 40;
    let mut client = Frames::connect(edge.address, &[(INITIAL_WINDOW, WIDE)]);
    for n in 0..STREAMS {
        client.get(1 + 2 * n, "/big");
    }
    let (begin, mut ended) = (Instant::now(), 0);
    // A turn of all takes longer than the limit.
    while ended < STREAMS {
        assert!(begin.elapsed() < PATIENCE * 2, "{ended} have ended");
        match client.next(Duration::from_millis(100)) {
            Some(frame) => {
                assert!(![RST_STREAM, GOAWAY].contains(&frame.kind), "after {:?}: {frame:?}", begin.elapsed());
                ended += u32::from(frame.ends_stream());
            }
            None => client.window(0, 40_000),
        }
        assert!(!client.closed);
    }
    assert!(begin.elapsed() > Duration::from_secs(3), "narrow: {:?}", begin.elapsed());
}

#[test]
fn a_response_is_not_over_before_there_is_window_for_its_end() {
    let origin = large();
    let edge = limited(&origin, "body_timeout: 20s");
    let mut client = Frames::connect(edge.address, &[(INITIAL_WINDOW, 100)]);
    let mut got = 0;
    let mut count = |frame: &Frame| {
        got += if frame.kind == DATA { frame.payload.len() } else { 0 };
        got
    };
    client.get(1, "/big");
    client.until("what there is window for", |frame| count(frame) == 100);
    assert_eq!(edge.metrics().sum("forebay_in_flight", &[]), 1.0, "it waits for the client");
    client.window(1, 59_899);
    client.until("all but the last byte", |frame| count(frame) == 59_999);
    assert_eq!(edge.metrics().sum("forebay_in_flight", &[]), 1.0, "its last byte waits");
    client.window(1, 1);
    client.until("the last byte", |frame| count(frame) == 60_000 && frame.ends_stream());
    wait_for_in_flight(&edge, 0.0);
    let line = edge.access_line("/big");
    assert!(line.contains("\"aborted\":false") && line.contains("\"bytes_out\":60000"), "{line}");
}

#[test]
fn hundreds_of_stalled_streams_leave_nothing_behind() {
    let origin = large();
    let edge = limited(&origin, "body_timeout: 5s");
    let mut clients: Vec<_> = (0..3).map(|_| Frames::connect(edge.address, &[(INITIAL_WINDOW, 0)])).collect();
    for client in &mut clients {
        (0..100).for_each(|n| client.get(1 + 2 * n, "/big"));
    }
    wait_for_in_flight(&edge, 300.0);
    wait_for_in_flight(&edge, 0.0);
    for client in &mut clients {
        let mut reset = 0;
        client.until("a reset for each", |frame| {
            reset += usize::from(frame.kind == RST_STREAM);
            reset == 100
        });
        client.window(0, 1000);
        client.get(1001, "/small");
        client.window(1001, 1000);
        client.until("an answer all the same", |frame| frame.stream == 1001 && frame.ends_stream());
    }
}

#[test]
fn a_stalled_response_is_let_go_of_at_an_http2_origin_and_with_a_body_on_its_way() {
    let origin = OriginHttp2::serve(|asked| Answered {
        status: 200,
        headers: vec![],
        body: if asked.method == "POST" { asked.body } else { vec![b'y'; 300_000] },
        trailers: vec![("x-sum".to_owned(), "1".to_owned())],
    });
    let edge = Setup::new(harness::to_shop(&[origin.address], "    http2: true\n"))
        .edge("  limits: {body_timeout: 1s}")
        .start();
    let mut client = Frames::connect(edge.address, &[(INITIAL_WINDOW, 0)]);
    client.get(1, "/from");
    client.send(HEADERS, END_HEADERS, 3, &head("POST", "/echo", &[]));
    client.send(DATA, harness::client_frames::END_STREAM, 3, &[b'e'; 9000]);
    let mut reset = [0; 2];
    for one in &mut reset {
        *one = client.until("both resets", |frame| frame.kind == RST_STREAM).stream;
    }
    reset.sort();
    assert_eq!(reset, [1, 3]);
    // A client that resets while the edge waits for it is not waited for.
    client.get(5, "/reset");
    client.until("its head", |frame| frame.kind == HEADERS && frame.stream == 5);
    client.send(RST_STREAM, 0, 5, &CANCELLED.to_be_bytes());
    wait_for_in_flight(&edge, 0.0);
}

/// Pings all the while; when the edge had closed, and whether it said so.
fn ping_until_closed(client: &mut Frames) -> (Duration, bool) {
    let (begin, mut told) = (Instant::now(), false);
    while !client.closed {
        assert!(begin.elapsed() < PATIENCE, "pings keep it open");
        client.ping();
        client.window(0, 1);
        let mut left = 50;
        while let Some(frame) = client.next(Duration::from_millis(50)) {
            told |= frame.kind == GOAWAY;
            left -= 1;
            if left == 0 {
                break;
            }
        }
    }
    (begin.elapsed(), told)
}

#[test]
fn an_http2_connection_that_only_pings_ends_by_idle_timeout() {
    let origin = Origin::serve(|exchange| {
        std::thread::sleep(Duration::from_secs(3));
        exchange.respond(200, &[], b"late")
    });
    let setup = Setup::new(region(&origin));
    let certificate = Certificate::write(setup.folder());
    let edge = setup
        .listener("      tls: {certificate: certificate.pem, key: key.pem}")
        .edge("  limits: {idle_timeout: 1s, body_timeout: 1s}")
        .start();
    let mut never = Frames::connect_tls(edge.address, &certificate, &[]);
    let (took, told) = ping_until_closed(&mut never);
    assert!(told && took > Duration::from_millis(800) && took < Duration::from_secs(15), "{told}, {took:?}");
    let mut once = Frames::connect_tls(edge.address, &certificate, &[]);
    once.get(1, "/late");
    let begin = Instant::now();
    loop {
        once.ping();
        match once.next(Duration::from_millis(100)) {
            Some(frame) if frame.ends_stream() => break,
            Some(frame) => assert_ne!(frame.kind, GOAWAY, "an exchange is open"),
            None => assert!(!once.closed && begin.elapsed() < PATIENCE, "an exchange is open"),
        }
    }
    assert!(begin.elapsed() > Duration::from_secs(2), "longer than it may idle");
    let (took, told) = ping_until_closed(&mut once);
    assert!(told && took > Duration::from_millis(800) && took < Duration::from_secs(15), "{told}, {took:?}");
}

#[test]
fn an_http2_connection_with_an_end_that_nobody_takes_ends_by_idle_timeout() {
    let origin = large();
    let edge = limited(&origin, "idle_timeout: 1s");
    let mut client = Frames::connect(edge.address, &[(INITIAL_WINDOW, 1)]);
    client.get(1, "/small");
    wait_until("the exchange to end", PATIENCE, || edge.process.log().iter().find(|l| l.contains("/small")).map(drop));
    let (took, told) = ping_until_closed(&mut client);
    assert!(told && took < Duration::from_secs(15), "{told}, {took:?}");
}

#[test]
fn half_a_header_block_is_waited_for_no_longer_than_any_head() {
    let origin = large();
    let edge = limited(&origin, "header_timeout: 1s");
    let block = head("GET", "/half", &[("x-long", "1")]);
    for whole_frame in [false, true] {
        let mut client = Frames::connect(edge.address, &[]);
        client.get(1, "/small");
        client.until("an answer", |frame| frame.ends_stream());
        let begin = Instant::now();
        if whole_frame {
            // The block is to go on in another frame, which never comes.
            client.send(HEADERS, 0, 3, &block);
        } else {
            client.raw(&[0, 0, block.len() as u8, HEADERS, END_HEADERS, 0, 0, 0, 3]);
            client.raw(&block[..5]);
        }
        while !client.closed {
            let _ = client.next(Duration::from_millis(100));
            assert!(begin.elapsed() < Duration::from_secs(15), "whole frame: {whole_frame}");
        }
        assert!(begin.elapsed() > Duration::from_millis(800), "took {:?}", begin.elapsed());
    }
}

#[test]
fn an_http2_client_that_answers_the_goodbye_is_closed_in_order() {
    let origin = large();
    let edge = limited(&origin, "idle_timeout: 1s");
    let mut client = Frames::connect(edge.address, &[]);
    client.get(1, "/small");
    let goodbye = client.until("a goodbye", |frame| frame.kind == GOAWAY);
    assert_eq!(goodbye.payload[4..8], [0; 4], "it is no error");
    let ping = client.until("the ping that goes with it", |frame| frame.kind == PING);
    client.send(PING, 1, 0, &ping.payload);
    client.until("the last word", |frame| frame.kind == GOAWAY && frame.payload[..4] == [0, 0, 0, 1]);
    while !client.closed {
        assert!(client.next(PATIENCE).is_some() || client.closed);
    }
}

#[test]
fn a_stalled_http2_response_holds_a_drain_no_longer_than_its_time() {
    let origin = large();
    let mut edge = Setup::new(region(&origin)).edge("  drain: 25s\n  limits: {body_timeout: 2s}").start();
    let mut client = Frames::connect(edge.address, &[(INITIAL_WINDOW, 0)]);
    client.get(1, "/big");
    client.until("its head", |frame| frame.kind == HEADERS);
    let begin = Instant::now();
    edge.process.signal("TERM");
    let mut reset = false;
    while !client.closed {
        assert!(begin.elapsed() < Duration::from_secs(15), "the drain waits for a client that takes nothing");
        if let Some(frame) = client.next(Duration::from_millis(100)) {
            reset |= frame.kind == RST_STREAM;
            if frame.kind == PING && frame.flags == 0 {
                client.send(PING, 1, 0, &frame.payload);
            }
        }
    }
    assert!(reset, "the stream has its time, and is then told");
    assert!(edge.process.wait().success());
}
