//! The data plane on real sockets, byte by byte: what a client library would hide. One edge per
//! test, origins that say exactly what the test says.
//! Long because each case carries its own bytes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use forebay_edge::{Edge, Options};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

const LONG: Duration = Duration::from_secs(10);

fn metrics() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| PrometheusBuilder::new().install_recorder().unwrap()).clone()
}

fn region(text: &str) -> Arc<config::Region> {
    let region = config::parse(text, Path::new("test.yaml"), Path::new("/nowhere"));
    Arc::new(region.map_err(|errors| errors.to_string()).unwrap())
}

/// A file with one pool `p` behind `/`; `edge` and `pool` are further keys.
fn text(edge: &str, pool: &str, origins: &[SocketAddr]) -> String {
    let origins: Vec<_> = origins.iter().map(|origin| format!("\"{origin}\"")).collect();
    format!(
        "edge:\n  name: test\n  workers: 2\n  listeners: [{{ address: \"127.0.0.1:0\" }}]\n{edge}\n\
         log: {{ access: true }}\n\
         routes:\n  - {{ name: hello, match: {{ path: {{ exact: /hello }} }}, respond: {{ status: 200, body: hello }} }}\n  \
         - {{ name: all, match: {{ path: {{ prefix: / }} }}, pool: p }}\n\
         pools:\n  - name: p\n    origins: [{}]\n{pool}\n",
        origins.join(", ")
    )
}

fn start(edge: &str, pool: &str, origins: &[SocketAddr]) -> (Edge, SocketAddr) {
    let edge =
        Edge::start(region(&text(edge, pool, origins)), Options { metrics: metrics(), self_test: true }).unwrap();
    let address = edge.addresses()[0];
    (edge, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// Sends bytes and reads until the edge closes.
fn exchange(address: SocketAddr, bytes: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is a close too.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into()
}

/// Reads a head: up to and with the empty line.
fn head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            other => panic!("{other:?} after {:?}", String::from_utf8_lossy(&head)),
        }
    }
    String::from_utf8(head).unwrap()
}

/// An origin: each connection runs `serve` on a thread of its own.
fn origin(serve: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (serve, stream) = (serve.clone(), stream.unwrap());
            stream.set_read_timeout(Some(LONG)).unwrap();
            thread::spawn(move || serve(stream, number));
        }
    });
    address
}

/// An origin that answers every request without a body with `answer` and tells its head.
fn fixed(answer: &'static str) -> (SocketAddr, Receiver<String>) {
    let (tell, heads): (Sender<String>, _) = channel();
    let address = origin(move |stream, _| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                match reader.read_line(&mut head) {
                    Ok(n) if n > 0 => {}
                    _ => return,
                }
            }
            let _ = tell.send(head);
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    (address, heads)
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";

#[test]
fn a_request_reaches_its_origin_with_forwarding_headers_and_keeps_its_length() {
    let (address, heads) = fixed(
        "HTTP/1.1 200 Fine\r\ncontent-length: 2\r\nconnection: x-hop\r\nx-hop: 1\r\nx-end: 2\r\nkeep-alive: x\r\n\r\nok",
    );
    let (edge, at) = start("", "", &[address]);
    let answer = exchange(
        at,
        "GET /../a/../b//c?q=/../ HTTP/1.1\r\nhost: h:80\r\nconnection: close, x-mine\r\nx-mine: 1\r\n\
         x-forwarded-for: 9.9.9.9\r\nx-forwarded-proto: https\r\nte: gzip, trailers\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200 Fine\r\n"), "{answer}");
    assert!(
        answer.contains("content-length: 2\r\n") && answer.contains("x-end: 2\r\n") && answer.ends_with("\r\n\r\nok")
    );
    assert!(!answer.contains("x-hop") && !answer.contains("keep-alive"), "{answer}");
    let head = heads.recv_timeout(LONG).unwrap();
    assert!(head.starts_with("GET /b/c?q=/../ HTTP/1.1\r\n"), "{head}");
    for line in [
        "host: h:80",
        "x-forwarded-for: 9.9.9.9, 127.0.0.1",
        "x-forwarded-proto: http",
        "x-forwarded-host: h:80",
        "via: 1.1 forebay",
        "te: trailers",
        "x-request-id: ",
    ] {
        assert!(head.contains(&format!("\r\n{line}")), "{line} is missing in {head}");
    }
    assert!(!head.contains("x-mine") && !head.contains("connection"), "{head}");
    assert_eq!(edge.drain(), 0);
}

#[test]
fn connections_to_origins_are_kept_and_requests_may_be_pipelined() {
    let (address, heads) = fixed(OK);
    let (_edge, at) = start("", "", &[address]);
    let mut stream = connect(at);
    stream.write_all("GET /1 HTTP/1.1\r\nhost: h\r\n\r\nGET /hello HTTP/1.1\r\nhost: h\r\n\r\n".as_bytes()).unwrap();
    stream.write_all(GET.as_bytes()).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
    assert!(answers.contains("\r\n\r\nokHTTP/1.1 200 OK") && answers.contains("\r\n\r\nhelloHTTP/1.1"), "{answers}");
    assert!(heads.recv_timeout(LONG).unwrap().starts_with("GET /1 "));
    assert!(heads.recv_timeout(LONG).unwrap().starts_with("GET / "));
}

#[test]
fn ambiguous_requests_are_refused_and_never_reach_an_origin() {
    let (address, heads) = fixed(OK);
    let (_edge, at) = start("", "", &[address]);
    for (what, request) in [
        (
            "both lengths",
            "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "both, reversed",
            "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
        ),
        ("two lengths", "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!"),
        ("a list of lengths", "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5, 5\r\n\r\nhello"),
        ("a signed length", "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: +5\r\n\r\nhello"),
        ("not ending in chunked", "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
        ("more than chunked", "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        ("chunked in 1.0", "POST / HTTP/1.0\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("a folded line", "GET / HTTP/1.1\r\nhost: h\r\nx: a\r\n b\r\n\r\n"),
        ("space before the colon", "GET / HTTP/1.1\r\nhost : h\r\n\r\n"),
        ("bare line feeds", "GET / HTTP/1.1\nhost: h\n\n"),
        ("one bare line feed", "GET / HTTP/1.1\r\nhost: h\nx: y\r\n\r\n"),
        ("no host", "GET / HTTP/1.1\r\n\r\n"),
        ("two hosts", "GET / HTTP/1.1\r\nhost: h\r\nhost: h\r\n\r\n"),
        ("a bad host", "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n"),
        ("another host", "GET http://a/ HTTP/1.1\r\nhost: b\r\n\r\n"),
        ("a broken escape", "GET /%2 HTTP/1.1\r\nhost: h\r\n\r\n"),
        ("connect", "CONNECT h:80 HTTP/1.1\r\nhost: h:80\r\n\r\n"),
        ("no HTTP at all", "\x16\x03\x01 hello\r\n\r\n"),
    ] {
        let answer = exchange(at, request);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{what}: {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{what}: {answer:?}");
    }
    assert!(heads.try_recv().is_err(), "nothing of that may reach an origin");
    // In the middle of a pipeline only the bad one is refused.
    let answer = exchange(
        at,
        "GET / HTTP/1.1\r\nhost: h\r\n\r\nPOST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("HTTP/1.1 400 "), "{answer}");
}

#[test]
fn limits_of_headers_and_bodies_have_their_status() {
    let (address, _heads) = fixed(OK);
    let limits = "  limits: { header_bytes: 8KiB, headers: 10, body_bytes: 100 }";
    let (_edge, at) = start(limits, "", &[address]);
    let many: String = (0..11).map(|i| format!("x-{i}: 1\r\n")).collect();
    let long = "x".repeat(9000);
    for (status, request) in [
        (431, format!("GET / HTTP/1.1\r\nhost: h\r\n{many}\r\n")),
        (431, format!("GET / HTTP/1.1\r\nhost: h\r\nx: {long}\r\n\r\n")),
        (413, "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 101\r\n\r\n".into()),
        (
            413,
            format!(
                "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n65\r\n{}\r\n0\r\n\r\n",
                "x".repeat(101)
            ),
        ),
        (200, "GET /hello HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n".into()),
    ] {
        let answer = exchange(at, &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer:?}");
    }
}

#[test]
fn slow_and_idle_clients_are_let_go() {
    let address = origin(|mut stream, _| drop(stream.read_to_end(&mut Vec::new())));
    let limits = "  limits: { header_timeout: 200ms, idle_timeout: 300ms, body_timeout: 200ms }";
    let (_edge, at) = start(limits, "", &[address]);
    for (what, bytes, status) in [
        ("nothing", "", None),
        ("half a head", "GET / HT", None),
        ("idle", "GET /hello HTTP/1.1\r\nhost: h\r\n\r\n", Some("200")),
        ("half a body", "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nab", Some("408")),
    ] {
        let began = Instant::now();
        let answer = exchange(at, bytes);
        assert!(began.elapsed() < Duration::from_secs(5), "{what}");
        assert_eq!(answer.get(9..12), status, "{what}: {answer}");
    }
}

#[test]
fn a_refused_connection_is_retried_on_another_origin_if_the_method_is_safe() {
    let (good, heads) = fixed(OK);
    let (_edge, at) = start("", "", &[free_port(), good]);
    for _ in 0..4 {
        assert!(exchange(at, GET).starts_with("HTTP/1.1 200 "));
    }
    assert_eq!(heads.iter().take(4).count(), 4);
    let post = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let mut statuses: Vec<String> = (0..4).map(|_| exchange(at, post)[9..12].into()).collect();
    statuses.sort();
    assert!(statuses.contains(&"502".to_string()), "{statuses:?}");
}

#[test]
fn a_reset_before_the_first_byte_is_retried_and_one_after_it_is_not() {
    let (good, _heads) = fixed(OK);
    let reset = origin(|mut stream, _| drop(head(&mut stream)));
    let (_edge, at) = start("", "", &[reset, good]);
    for _ in 0..4 {
        assert!(exchange(at, GET).starts_with("HTTP/1.1 200 "));
    }
    let half = origin(|mut stream, _| {
        head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 O").unwrap();
    });
    let (_edge, at) = start("", "", &[half]);
    let answer = exchange(at, GET);
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("x-forebay-reject: origin_broken"), "{answer}");
}

#[test]
fn a_stale_connection_is_replaced_without_the_client_noticing() {
    // Closes after each answer, without saying so.
    let sly = origin(|mut stream, _| {
        head(&mut stream);
        stream.write_all(OK.as_bytes()).unwrap();
    });
    let (_edge, at) = start("", "", &[sly]);
    for _ in 0..20 {
        assert!(exchange(at, GET).starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn origins_that_do_not_answer_in_time_or_at_all() {
    let silent = origin(|mut stream, _| {
        head(&mut stream);
        thread::sleep(Duration::from_secs(3));
    });
    let (_edge, at) = start("", "    timeouts: { response: 200ms }", &[silent]);
    let answer = exchange(at, GET);
    assert!(answer.starts_with("HTTP/1.1 504 ") && answer.contains("origin_timeout"), "{answer}");
    let (_edge, at) = start("", "", &[free_port()]);
    assert!(exchange(at, GET).starts_with("HTTP/1.1 502 "));
}

#[test]
fn bodies_stream_both_ways_and_trailers_pass() {
    let echo = origin(|mut stream, _| {
        let head = head(&mut stream);
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n").unwrap();
        let mut bytes = [0; 1024];
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n") {
            let n = stream.read(&mut bytes).unwrap();
            seen.extend_from_slice(&bytes[..n]);
            stream.write_all(b"3\r\nack\r\n").unwrap();
        }
        assert!(seen.ends_with(b"0\r\nx-end: yes\r\n\r\n"), "{:?}", String::from_utf8_lossy(&seen));
        stream.write_all(b"0\r\nx-sum: 7\r\n\r\n").unwrap();
    });
    let (_edge, at) = start("", "", &[echo]);
    let mut stream = connect(at);
    let begin = "POST / HTTP/1.1\r\nhost: h\r\nte: trailers\r\ntrailer: x-end\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(begin.as_bytes()).unwrap();
    assert!(head(&mut stream).starts_with("HTTP/1.1 200 "), "the answer's head comes before the request's end");
    for _ in 0..3 {
        stream.write_all(b"2\r\nhi\r\n").unwrap();
        let mut ack = [0; 8];
        stream.read_exact(&mut ack).unwrap();
        assert_eq!(&ack, b"3\r\nack\r\n");
    }
    stream.write_all(b"0\r\nx-end: yes\r\n\r\n").unwrap();
    let mut rest = String::new();
    let mut reader = BufReader::new(stream);
    while !rest.ends_with("\r\n\r\n") {
        reader.read_line(&mut rest).unwrap();
    }
    assert!(rest.ends_with("0\r\nx-sum: 7\r\n\r\n"), "{rest}");
}

#[test]
fn early_hints_and_continue_pass() {
    let hinting = origin(|mut stream, _| {
        let head = head(&mut stream);
        stream.write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n").unwrap();
        if head.contains("expect: 100-continue") {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
            let mut body = [0; 5];
            stream.read_exact(&mut body).unwrap();
        }
        stream.write_all(OK.as_bytes()).unwrap();
    });
    let (_edge, at) = start("", "", &[hinting]);
    let answer = exchange(at, GET);
    assert!(answer.starts_with("HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\n"), "{answer}");
    let mut stream = connect(at);
    let asks = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n";
    stream.write_all(asks.as_bytes()).unwrap();
    let first = head(&mut stream) + &head(&mut stream);
    assert!(first.contains("HTTP/1.1 103 ") && first.contains("HTTP/1.1 100 Continue"), "{first}");
    stream.write_all(b"hello").unwrap();
    assert!(head(&mut stream).starts_with("HTTP/1.1 200 "));
}

#[test]
fn an_origin_that_refuses_the_body_spares_the_client_from_sending_it() {
    let refusing = origin(|mut stream, _| {
        head(&mut stream);
        stream.write_all(b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n").unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "the body was not asked for");
    });
    let (_edge, at) = start("", "", &[refusing]);
    let asks = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n";
    let answer = exchange(at, asks);
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

#[test]
fn an_upgrade_becomes_a_tunnel_and_h2c_does_not() {
    let upgrading = origin(|mut stream, _| {
        let head = head(&mut stream);
        if !head.contains("upgrade: echo") {
            assert!(!head.contains("h2c"), "{head}");
            return stream.write_all(OK.as_bytes()).unwrap();
        }
        assert!(head.contains("connection: upgrade"), "{head}");
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\nearly")
            .unwrap();
        let mut bytes = [0; 64];
        while let Ok(n) = stream.read(&mut bytes)
            && n > 0
        {
            stream.write_all(&bytes[..n]).unwrap();
        }
    });
    let (edge, at) = start("  drain: 100ms", "", &[upgrading]);
    let upgrade =
        |protocol: &str| format!("GET / HTTP/1.1\r\nhost: h\r\nconnection: Upgrade\r\nupgrade: {protocol}\r\n\r\n");
    let mut plain = connect(at);
    plain.write_all(upgrade("h2c").as_bytes()).unwrap();
    assert!(head(&mut plain).starts_with("HTTP/1.1 200 "));
    let mut stream = connect(at);
    stream.write_all(upgrade("echo").as_bytes()).unwrap();
    let answer = head(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 101 ") && answer.contains("upgrade: echo"), "{answer}");
    let mut bytes = [0; 5];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"early");
    for _ in 0..3 {
        stream.write_all(b"GET \n").unwrap();
        stream.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"GET \n");
    }
    assert_eq!(edge.drain(), 1, "the tunnel was in flight and is cut off");
    assert_eq!(stream.read(&mut bytes).unwrap_or(0), 0);
}

#[test]
fn head_and_empty_answers_have_no_body_and_the_connection_goes_on() {
    let (address, _heads) = fixed("HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n");
    let (_edge, at) = start("", "", &[address]);
    let mut stream = connect(at);
    for _ in 0..2 {
        stream.write_all(b"HEAD / HTTP/1.1\r\nhost: h\r\n\r\n").unwrap();
        let answer = head(&mut stream);
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("content-length: 1234"), "{answer}");
    }
    stream.write_all(b"HEAD /hello HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("content-length: 5") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn a_drain_lets_exchanges_end_and_takes_no_new_connections() {
    let slow = origin(|mut stream, _| {
        head(&mut stream);
        thread::sleep(Duration::from_millis(300));
        stream.write_all(OK.as_bytes()).unwrap();
    });
    let (edge, at) = start("  drain: 5s", "", &[slow]);
    let idle = connect(at);
    let mut busy = connect(at);
    busy.write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n").unwrap();
    thread::sleep(Duration::from_millis(100));
    let began = Instant::now();
    assert_eq!(edge.drain(), 0);
    assert!(began.elapsed() < Duration::from_secs(3), "idle connections do not hold it up");
    assert!(head(&mut busy).starts_with("HTTP/1.1 200 "));
    assert!(TcpStream::connect(at).is_err());
    drop(idle);
}

#[test]
fn a_reload_is_taken_whole_or_refused() {
    let (a, _a) = fixed("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na");
    let (b, _b) = fixed("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nb");
    let (edge, at) = start("", "", &[a]);
    assert!(exchange(at, GET).ends_with("\r\n\r\na"));
    let refused = edge.reload(region(&text("  admin: 127.0.0.1:0", "", &[b]))).unwrap_err();
    assert!(refused.errors[0].contains("edge.admin cannot change"), "{refused}");
    assert!(exchange(at, GET).ends_with("\r\n\r\na"));
    edge.reload(region(&text("", "", &[b]))).unwrap();
    assert!(exchange(at, GET).ends_with("\r\n\r\nb"));
}
