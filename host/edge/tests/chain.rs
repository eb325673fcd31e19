//! What plugins of a route are told and may do, on a running edge.

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
