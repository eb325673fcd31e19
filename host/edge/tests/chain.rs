//! What plugins of a route are told and may do, on a running edge. Long because each question
//! needs its own plugin and its own origin, and both are best read beside what they show.

#[path = "chain/stage.rs"]
mod stage;

use std::io::{Read, Write};
use std::sync::mpsc::channel;

use stage::{Code, Plugin, Stage, fixed, head, lua, origin};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nx-kind: chunks\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
const GET: &str = "GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";

#[test]
fn a_plugin_that_only_logs_is_told_of_each_exchange_once() {
    let log = "function plugin.on_log() say(forebay.response.headers.get(':status') or 'none') end";
    let stage = Stage::new(&[lua("log", log)], fixed(OK));
    assert!(stage.exchange(GET).ends_with("\r\n\r\nok"));
    stage.expect("200\n");
    stage.exchange(GET);
    stage.expect("200\n200\n");
}

#[test]
fn the_log_sees_the_status_that_the_client_got() {
    let fails = "function plugin.on_response_headers() error('no') end";
    let log = "function plugin.on_log() say(forebay.response.headers.get(':status') or 'none') end";
    let stage = Stage::new(&[lua("log", log), lua("fails", fails)], fixed(OK));
    assert!(stage.exchange(GET).starts_with("HTTP/1.1 503 "));
    stage.expect("503\n");
}

#[test]
fn response_headers_can_be_read_while_the_body_streams() {
    let reads = "function plugin.on_response_body()
        forebay.response.set_body((forebay.response.headers.get('x-kind') or 'nothing') .. forebay.response.chunk()) end";
    let stage = Stage::new(&[lua("reads", reads)], fixed(CHUNKED));
    let answer = stage.exchange(GET);
    assert!(answer.contains("chunksok\r\n"), "{answer}");
}

#[test]
fn headers_of_the_origins_connection_are_not_shown_to_plugins() {
    let list = "function plugin.on_response_headers()
        for name in forebay.response.headers.pairs() do say(name) end end";
    let answer = "HTTP/1.1 200 OK\r\nconnection: keep-alive, x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\n\
                  transfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    let stage = Stage::new(&[lua("list", list)], fixed(answer));
    assert!(stage.exchange(GET).starts_with("HTTP/1.1 200 "));
    stage.expect(":status\n");
}

#[test]
fn an_empty_answer_ends_with_its_headers_also_behind_a_held_request_body() {
    let tells = "function plugin.on_request_headers() say(forebay.request.body()) end
        function plugin.on_response_headers(last) say(tostring(last)) end";
    let stage = Stage::start(&[lua("tells", tells)], "respond: { status: 204 }", fixed(OK));
    let answer = stage.exchange("POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbody");
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    assert!(!answer.contains("content-length"), "{answer}");
    stage.expect("body\ntrue\n");
}

#[test]
fn an_answer_from_a_body_callback_holds_nothing_of_what_it_replaces() {
    // Backwards: `second` sees the origin's body first. `first` has kept its first half.
    let keeps = "function plugin.on_response_body(size, last)
        local body = forebay.response.body() say(body) forebay.response.set_body(body:upper()) end";
    let answers = "local seen = 0
        function plugin.on_response_body(size, last)
        seen = seen + 1 if seen == 2 then forebay.respond(418, {}, 'another') end end";
    let stage = Stage::new(
        &[lua("first", keeps), lua("second", answers)],
        origin(|mut stream| {
            head(&mut stream);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\none").unwrap();
            std::thread::sleep(std::time::Duration::from_millis(100));
            stream.write_all(b"two").unwrap();
        }),
    );
    let answer = stage.exchange(GET);
    assert!(answer.starts_with("HTTP/1.1 418 ") && answer.ends_with("\r\n\r\nANOTHER"), "{answer}");
    stage.expect("another\n");
}

#[test]
fn a_length_that_a_plugin_invents_is_not_sent_with_an_empty_message() {
    let invents = "function plugin.on_request_headers() forebay.request.headers.set('content-length', '5') end
        function plugin.on_response_headers() forebay.response.headers.set('content-length', '7') end";
    let (tell, heads) = channel();
    let tell = std::sync::Mutex::new(tell);
    let stage = Stage::new(
        &[lua("invents", invents)],
        origin(move |mut stream| {
            tell.lock().unwrap().send(head(&mut stream)).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        }),
    );
    let answer = stage.exchange(GET);
    let asked = heads.recv().unwrap();
    assert!(!asked.contains("content-length"), "{asked}");
    assert!(answer.contains("content-length: 0\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn a_plugin_cannot_make_an_interim_answer_of_a_final_one() {
    for status in ["100", "101", "103"] {
        let sets = "function plugin.on_response_headers() 
            local ok, why = forebay.response.headers.set(':status', 'STATUS') say(ok or why) end";
        let sets: &'static str = sets.replace("STATUS", status).leak();
        let stage = Stage::new(&[lua("sets", sets)], fixed(OK));
        let answer = stage.exchange(GET);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{status}: {answer}");
        assert!(stage.said().contains("BAD_ARGUMENT"), "{status}: {}", stage.said());
    }
}

#[test]
fn a_status_without_a_body_takes_the_body_away() {
    let empties = "function plugin.on_response_headers() forebay.response.headers.set(':status', '204') end";
    let stage = Stage::new(&[lua("empties", empties)], fixed(OK));
    let answer = stage.exchange(GET);
    assert!(answer.starts_with("HTTP/1.1 204 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(!answer.contains("content-length"), "{answer}");
    let responds = "function plugin.on_request_headers() forebay.respond(204, {}, 'text') end";
    let stage = Stage::new(&[lua("responds", responds)], fixed(OK));
    let answer = stage.exchange(GET);
    assert!(answer.starts_with("HTTP/1.1 204 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(!answer.contains("content-length"), "{answer}");
}

#[test]
fn the_log_sees_trailers_that_went_by() {
    let log = "function plugin.on_log() say(forebay.response.trailers.get('x-sum') or 'none') end";
    let answer =
        "HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n";
    let stage = Stage::new(&[lua("log", log)], fixed(answer));
    stage.exchange("GET / HTTP/1.1\r\nhost: h\r\nte: trailers\r\nconnection: te, close\r\n\r\n");
    stage.expect("7\n");
}

#[test]
fn an_exchange_both_ways_lets_go_of_its_origin_when_the_client_leaves() {
    let sees = "function plugin.on_request_body() end
        function plugin.on_response_body() end
        function plugin.on_log() say('log') end";
    let (tell, ended) = channel();
    let tell = std::sync::Mutex::new(tell);
    let stage = Stage::new(
        &[lua("sees", sees)],
        origin(move |mut stream| {
            head(&mut stream);
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n").unwrap();
            let mut rest = Vec::new();
            tell.lock().unwrap().send(stream.read_to_end(&mut rest).is_ok()).unwrap();
        }),
    );
    let mut client = stage.connect();
    client.write_all(b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n").unwrap();
    assert!(head(&mut client).starts_with("HTTP/1.1 200 "));
    let mut first = [0; 7];
    client.read_exact(&mut first).unwrap();
    drop(client);
    assert!(ended.recv().unwrap(), "the origin's connection stays open");
    stage.expect("log\n");
}

/// Sends two callouts and waits; goes on at the first answer that comes.
const TWO_CALLOUTS: &str = r#"(module
    (import "env" "proxy_http_call" (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 1024) "\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\01\00\00\00\0a\00\00\00\01\00\00\00:method\00GET\00:path\00/\00:authority\00a\00p")
    (global $answers (mut i32) (i32.const 0))
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 32768))
    (func $send (drop (call $call (i32.const 1085) (i32.const 1) (i32.const 1024) (i32.const 61)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 5000) (i32.const 128))))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $send) (call $send) (i32.const 1))
    (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
        (global.set $answers (i32.add (global.get $answers) (i32.const 1)))
        (if (i32.eq (global.get $answers) (i32.const 1)) (then (drop (call $continue (i32.const 0)))))))"#;

#[test]
fn a_paused_request_goes_on_though_another_answer_comes_right_after() {
    let plugin = || Plugin { name: "two", code: Code::Wat(TWO_CALLOUTS.into()), keys: "    limits: { wall: 2s }" };
    for _ in 0..10 {
        let stage = Stage::new(&[plugin()], fixed(OK));
        let answer = stage.exchange(GET);
        assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    }
}

/// Sends a callout when the response's headers come and goes on; fails at its answer.
fn fails_at_the_answer() -> String {
    TWO_CALLOUTS
        .replace("proxy_on_request_headers", "proxy_on_response_headers")
        .replace("(call $send) (call $send) (i32.const 1)", "(call $send) (i32.const 0)")
        .replace("(global.set $answers (i32.add (global.get $answers) (i32.const 1)))", "unreachable")
}

/// Answers `/` with a body that goes on for as long as it is read, anything else at once.
fn endless() -> std::net::SocketAddr {
    origin(|mut stream| {
        let asked = head(&mut stream);
        if asked.contains("host: a\r\n") {
            let _ = stream.write_all(OK.as_bytes());
            return;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n");
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

#[test]
fn a_fault_while_a_body_goes_by_breaks_it_off() {
    let plugin = Plugin { name: "fails", code: Code::Wat(fails_at_the_answer()), keys: "" };
    let stage = Stage::new(&[plugin], endless());
    let mut client = stage.connect();
    client.write_all(GET.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let read = client.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(read.is_ok_and(|_| !answer.ends_with("0\r\n\r\n")), "{answer}");
    let open = Plugin { name: "fails", code: Code::Wat(fails_at_the_answer()), keys: "    on_fault: open" };
    let stage = Stage::new(&[open], endless());
    let mut client = stage.connect();
    client.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
    client.write_all(GET.as_bytes()).unwrap();
    client.read_to_end(&mut Vec::new()).expect_err("an open plugin's fault breaks nothing off");
}

#[test]
fn a_plugin_whose_context_does_not_open_fails_once_in_an_exchange() {
    let text = r#"(module (memory (export "memory") 1) (global $n (mut i32) (i32.const 0))
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 32768))
        (func (export "proxy_on_context_create") (param i32 i32) (if (local.get 1) (then unreachable)))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 0)))"#;
    let plugin = Plugin { name: "never_opens", code: Code::Wat(text.into()), keys: "    on_fault: open" };
    let stage = Stage::new(&[plugin], fixed(OK));
    for exchanges in [1.0, 2.0] {
        assert!(stage.exchange(GET).ends_with("\r\n\r\nok"));
        let until = std::time::Instant::now() + stage::LONG;
        let faults = || stage.metric("forebay_plugin_faults_total", "never_opens");
        while faults() < exchanges {
            assert!(std::time::Instant::now() < until, "{} faults", faults());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(faults(), exchanges);
    }
}

#[test]
fn bytes_go_both_ways_in_turn_through_plugins_that_look_at_them() {
    let looks = "function plugin.on_request_body() forebay.request.set_body(forebay.request.chunk():upper()) end
        function plugin.on_response_body() forebay.response.set_body(forebay.response.chunk() .. '!') end";
    let stage = Stage::new(
        &[lua("first", looks), lua("second", looks)],
        origin(|mut stream| {
            head(&mut stream);
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
            // A chunk of one byte each: "1\r\nX\r\n".
            let mut chunk = [0; 6];
            while stream.read_exact(&mut chunk).is_ok() {
                stream.write_all(&chunk).unwrap();
            }
        }),
    );
    let mut client = stage.connect();
    client.write_all(b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    assert!(head(&mut client).starts_with("HTTP/1.1 200 "));
    for letter in "abcdef".chars() {
        client.write_all(format!("1\r\n{letter}\r\n").as_bytes()).unwrap();
        let mut back = [0; 8];
        client.read_exact(&mut back).unwrap();
        assert_eq!(String::from_utf8_lossy(&back), format!("3\r\n{}!!\r\n", letter.to_ascii_uppercase()));
    }
}

#[test]
fn a_client_that_leaves_while_a_plugin_waits_is_logged_once() {
    let waits = "function plugin.on_request_headers() say('begun') forebay.sleep(60) say('never') end
        function plugin.on_log() say('log') end";
    let stage = Stage::new(&[lua("waits", waits)], fixed(OK));
    let mut client = stage.connect();
    client.write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n").unwrap();
    stage.expect("begun\n");
    drop(client);
    stage.expect("begun\nlog\n");
    std::thread::sleep(std::time::Duration::from_millis(100));
    stage.expect("begun\nlog\n");
}

#[test]
fn the_body_asked_for_in_the_trailers_callback_is_no_wait_without_end() {
    let asks = "function plugin.on_request_trailers()
        local body, why = forebay.request.body() say(body or why.code) end";
    let asks = stage::Plugin { name: "asks", code: Code::Lua(asks), keys: "    limits: { wall: 2s }" };
    let stage = Stage::new(
        &[asks],
        origin(|mut stream| {
            head(&mut stream);
            let mut rest = Vec::new();
            let mut byte = [0];
            while !rest.ends_with(b"x-t: 1\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n > 0) {
                rest.push(byte[0]);
            }
            stream.write_all(OK.as_bytes()).unwrap();
        }),
    );
    let answer = stage.exchange(
        "POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\ntrailer: x-t\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n0\r\nx-t: 1\r\n\r\n",
    );
    assert!(answer.ends_with("\r\n\r\nok"), "{answer} {}", stage.said());
}

#[test]
fn the_head_of_a_body_that_plugins_change_is_answered_without_one() {
    let looks = "function plugin.on_response_headers(last) say(last) end
        function plugin.on_response_body() say('body') forebay.response.set_body('longer than before') end";
    let stage = Stage::new(&[lua("looks", looks)], fixed("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"));
    let answer = stage.exchange("HEAD / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    assert!(answer.contains("content-length: 2\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    stage.expect("true\n");
}

#[test]
fn a_request_body_may_be_refused_while_it_streams() {
    let refuses = "local seen = 0 function plugin.on_request_body(size) seen = seen + size
        if seen > 200000 then forebay.respond(413, {}, 'enough') end end
        function plugin.on_log() say(forebay.response.headers.get(':status')) end";
    let stage = Stage::new(
        &[lua("refuses", refuses)],
        origin(|mut stream| {
            let _ = stream.read_to_end(&mut Vec::new());
        }),
    );
    let mut client = stage.connect();
    client.write_all(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000\r\n\r\n").unwrap();
    client.write_all(&[b'x'; 300_000]).unwrap();
    let mut answer = head(&mut client);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let mut body = [0; 6];
    client.read_exact(&mut body).unwrap();
    answer.push_str(&String::from_utf8_lossy(&body));
    assert!(answer.ends_with("enough"), "{answer}");
    drop(client);
    stage.expect("413\n");
}

const WAT: &str = r#"(memory (export "memory") 1)
    (func (export "proxy_abi_version_0_2_1"))
    (global $next (mut i32) (i32.const 32768))
    (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
        (global.get $next) (global.set $next (i32.add (global.get $next) (local.get $size))))"#;

fn wat(name: &'static str, imports: &str, body: &str, keys: &'static str) -> Plugin {
    Plugin { name, code: Code::Wat(format!("(module {imports} {WAT} {body})")), keys }
}

#[test]
fn a_plugin_whose_tick_fails_ticks_again() {
    let imports = r#"(import "env" "proxy_set_tick_period_milliseconds" (func $every (param i32) (result i32)))"#;
    let body = r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) (drop (call $every (i32.const 20))) (i32.const 1))
        (func (export "proxy_on_tick") (param i32) unreachable)
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))"#;
    let stage = Stage::new(&[wat("ticks", imports, body, "")], fixed(OK));
    let until = std::time::Instant::now() + stage::LONG;
    while stage.metric("forebay_plugin_faults_total", "ticks") < 2.0 {
        assert!(std::time::Instant::now() < until, "its first fault was its last tick");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn what_a_plugin_reads_of_the_headers_it_may_write_back() {
    let imports = r#"(import "env" "proxy_get_header_map_pairs" (func $get (param i32 i32 i32) (result i32)))
        (import "env" "proxy_set_header_map_pairs" (func $set (param i32 i32 i32) (result i32)))"#;
    // As the SDK for Rust does, which panics at any refusal.
    let body = r#"(func $back (param i32)
            (if (call $get (local.get 0) (i32.const 16) (i32.const 20)) (then unreachable))
            (if (call $set (local.get 0) (i32.load (i32.const 16)) (i32.load (i32.const 20))) (then unreachable)))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $back (i32.const 0)) (i32.const 0))
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (call $back (i32.const 2)) (i32.const 0))"#;
    let stage = Stage::new(&[wat("back", imports, body, "")], fixed(CHUNKED));
    let answer = stage.exchange(GET);
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\r\nok\r\n"), "{answer}");
    let stage = Stage::new(
        &[wat("back", imports, body, "")],
        origin(|mut stream| {
            let asked = head(&mut stream);
            assert!(asked.contains("connection: upgrade\r\n") && asked.contains("upgrade: echo\r\n"), "{asked}");
            stream.write_all(b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nhi").unwrap();
        }),
    );
    let answer = stage.exchange("GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 101 ") && answer.contains("upgrade: echo\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhi"), "{answer}");
}

#[test]
fn an_answer_does_not_wait_for_a_body_that_is_held() {
    let imports = r#"(import "env" "proxy_http_call" (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_send_local_response" (func $respond (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))"#;
    let body = r#"(data (i32.const 1024) "\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\01\00\00\00\0a\00\00\00\01\00\00\00:method\00GET\00:path\00/\00:authority\00a\00p")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (call $call (i32.const 1085) (i32.const 1) (i32.const 1024) (i32.const 61)
                (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 5000) (i32.const 128)))
            (i32.const 0))
        (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (i32.const 0))
        (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
            (drop (call $respond (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1))))"#;
    let silent = origin(|mut stream| {
        if head(&mut stream).contains("host: a\r\n") {
            stream.write_all(OK.as_bytes()).unwrap();
        }
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let stage = Stage::new(&[wat("answers", imports, body, "")], silent);
    for framing in ["content-length: 10", "transfer-encoding: chunked"] {
        let mut client = stage.connect();
        client.write_all(format!("POST / HTTP/1.1\r\nhost: h\r\n{framing}\r\n\r\n").as_bytes()).unwrap();
        let answer = head(&mut client);
        assert!(answer.starts_with("HTTP/1.1 403 "), "{framing}: {answer}");
    }
}

#[test]
fn trailers_come_after_a_loop_over_the_chunks_before_them() {
    let loops = "function plugin.on_request_headers()
            for chunk in forebay.request.body_chunks() do say(chunk) forebay.request.set_body(chunk .. '!') end
            say('end') end
        function plugin.on_request_trailers() say(forebay.request.trailers.get('x-t')) end";
    let (tell, bodies) = channel();
    let tell = std::sync::Mutex::new(tell);
    let stage = Stage::new(
        &[lua("loops", loops)],
        origin(move |mut stream| {
            head(&mut stream);
            let mut rest = Vec::new();
            let mut byte = [0];
            while !rest.ends_with(b"x-t: 1\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n > 0) {
                rest.push(byte[0]);
            }
            tell.lock().unwrap().send(String::from_utf8(rest).unwrap()).unwrap();
            stream.write_all(OK.as_bytes()).unwrap();
        }),
    );
    let answer = stage.exchange(
        "POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\ntrailer: x-t\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n0\r\nx-t: 1\r\n\r\n",
    );
    assert!(answer.ends_with("\r\n\r\nok"), "{answer} {}", stage.said());
    assert_eq!(bodies.recv().unwrap(), "4\r\none!\r\n0\r\nx-t: 1\r\n\r\n");
    stage.expect("one\nend\n1\n");
}

#[test]
fn what_a_loop_over_chunks_leaves_goes_by() {
    let leaves = "function plugin.on_response_headers()
        for chunk in forebay.response.body_chunks() do forebay.response.set_body('<' .. chunk .. '>') break end
        say('left') end";
    let stage = Stage::new(
        &[lua("leaves", leaves)],
        origin(|mut stream| {
            head(&mut stream);
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n").unwrap();
            std::thread::sleep(std::time::Duration::from_millis(50));
            stream.write_all(b"3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n").unwrap();
        }),
    );
    let answer = stage.exchange(GET);
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    let body: String = body.lines().skip(1).step_by(2).collect();
    assert_eq!(body, "<one>twothree");
    stage.expect("left\n");
}

/// A megabyte each way, past one plugin in each engine that only looks at headers: both are called
/// as often as for a message without a body.
#[test]
fn a_body_callback_that_a_plugin_lacks_costs_nothing() {
    let looks = "function plugin.on_request_headers() end function plugin.on_response_headers() end";
    let body = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 0))"#;
    let stage = Stage::new(
        &[lua("only_headers_lua", looks), wat("only_headers_wasm", "", body, "")],
        origin(|mut stream| {
            head(&mut stream);
            let mut came = vec![0; 1 << 20];
            stream.read_exact(&mut came).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1048576\r\n\r\n").unwrap();
            for piece in came.chunks(1 << 10) {
                stream.write_all(piece).unwrap();
            }
        }),
    );
    let mut client = stage.connect();
    client.write_all(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1048576\r\n\r\n").unwrap();
    for _ in 0..1 << 10 {
        client.write_all(&[b'x'; 1 << 10]).unwrap();
    }
    assert!(head(&mut client).starts_with("HTTP/1.1 200 "));
    client.read_exact(&mut vec![0; 1 << 20]).unwrap();
    let calls = |plugin| stage.metric("forebay_plugin_calls_total", plugin);
    let until = std::time::Instant::now() + stage::LONG;
    while calls("only_headers_lua") < 2.0 || calls("only_headers_wasm") < 2.0 {
        assert!(std::time::Instant::now() < until, "the calls are not counted");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!((calls("only_headers_lua"), calls("only_headers_wasm")), (2.0, 2.0));
}

#[test]
fn trailers_come_after_a_body_that_two_plugins_read_whole() {
    let first = "function plugin.on_request_headers()
            forebay.request.set_body(forebay.request.body() .. '+1') end
        function plugin.on_request_trailers() say(forebay.request.trailers.get('x-t')) end";
    let second = "function plugin.on_request_body(size, last)
            local body = forebay.request.body() say(body) forebay.request.set_body(body .. '+2') end
        function plugin.on_request_trailers()
            say(forebay.request.trailers.get('x-t')) forebay.request.trailers.set('x-t', 'two') end";
    let (tell, bodies) = channel();
    let tell = std::sync::Mutex::new(tell);
    let stage = Stage::new(
        &[lua("first", first), lua("second", second)],
        origin(move |mut stream| {
            head(&mut stream);
            let mut rest = Vec::new();
            let mut byte = [0];
            while !rest.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n > 0) {
                rest.push(byte[0]);
            }
            tell.lock().unwrap().send(String::from_utf8(rest).unwrap()).unwrap();
            stream.write_all(OK.as_bytes()).unwrap();
        }),
    );
    let answer = stage.exchange(
        "POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\ntrailer: x-t\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\nx-t: 1\r\n\r\n",
    );
    assert!(answer.ends_with("\r\n\r\nok"), "{answer} {}", stage.said());
    assert_eq!(bodies.recv().unwrap(), "A\r\nonetwo+1+2\r\n0\r\nx-t: two\r\n\r\n");
    stage.expect("1\nonetwo+1\n1\n");
}

#[test]
fn a_callout_from_the_log_outlives_its_exchange() {
    let calls = "function plugin.on_log() forebay.http.call('p', { path = '/logged' }) say('answered') end";
    let (tell, asked) = channel();
    let tell = std::sync::Mutex::new(tell);
    let stage = Stage::new(
        &[lua("calls", calls)],
        origin(move |mut stream| {
            loop {
                let head = head(&mut stream);
                if head.is_empty() {
                    return;
                }
                tell.lock().unwrap().send(head.lines().next().unwrap().to_owned()).unwrap();
                stream.write_all(OK.as_bytes()).unwrap();
            }
        }),
    );
    stage.exchange(GET);
    assert_eq!(asked.recv_timeout(stage::LONG).unwrap(), "GET / HTTP/1.1");
    assert_eq!(asked.recv_timeout(stage::LONG).unwrap(), "GET /logged HTTP/1.1");
    stage.expect("answered\n");
}

#[test]
fn a_plugin_that_a_reload_has_taken_off_its_route_ticks_no_more() {
    let ticks = "forebay.timer.every(0.02)
        function plugin.on_tick() say('tick') end
        function plugin.on_response_headers() forebay.response.headers.set('x-old', 'yes') end";
    let (go, wait) = channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let address = origin(move |mut stream| {
        head(&mut stream);
        let _ = wait.lock().unwrap().recv_timeout(stage::LONG);
        stream.write_all(OK.as_bytes()).unwrap();
    });
    let stage = Stage::new(&[lua("ticks", ticks)], address);
    let mut client = stage.connect();
    client.write_all(GET.as_bytes()).unwrap();
    while !stage.said().contains("tick") {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    stage.reload(&[], address);
    // Until the worker has seen it.
    loop {
        let before = stage.said();
        std::thread::sleep(std::time::Duration::from_millis(300));
        if stage.said() == before {
            break;
        }
    }
    // The exchange that began before is the old plugin's to the end.
    go.send(()).unwrap();
    assert!(head(&mut client).contains("x-old: yes\r\n"));
    client.read_to_end(&mut Vec::new()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(50));
    let after = stage.said();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(stage.said(), after);
}

#[test]
fn many_short_waits_end_at_the_wall_limit_too() {
    let naps = "function plugin.on_request_headers() for _ = 1, 1000 do forebay.sleep(0.02) end end";
    let naps = stage::Plugin { name: "naps", code: Code::Lua(naps), keys: "    limits: { wall: 300ms }" };
    let stage = Stage::new(&[naps], fixed(OK));
    let began = std::time::Instant::now();
    let answer = stage.exchange(GET);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("WALL"), "{answer}");
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "the thousand naps take 20 s");
}

#[test]
fn what_a_plugin_may_write_and_share_is_bounded() {
    let writes = "function plugin.on_request_headers()
        forebay.request.body()
        local done, why = forebay.request.set_body(('x'):rep(2000)) say(done and 'written' or why.code)
        local shared, why = forebay.ctx.set('k', ('x'):rep(70000), { shared = true }) say(shared and 'shared' or why.code)
        forebay.ctx.set('k', 'small', { shared = true }) say(forebay.ctx.get('k'))
    end";
    let writes = stage::Plugin { name: "writes", code: Code::Lua(writes), keys: "    limits: { buffer: 1000 }" };
    let stage = Stage::new(&[writes], fixed(OK));
    let answer = stage.exchange("POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbody");
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    stage.expect("LIMIT_EXCEEDED\nLIMIT_EXCEEDED\nsmall\n");
}
