//! HTTP requests that a plugin sends.

use std::time::Duration;

use abi::{Action, CalloutError, CalloutResponse, Event, Side, Token};
use bytes::Bytes;

use super::fake::{Fake, Import, Tried, logged, module};

const CALL: Import = ("proxy_http_call", "iiiiiiiiii");

/// `(:method GET) (:path /) (:authority a) (x y)`, 73 bytes; then the names of targets.
const DATA: &str = r"\04\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\01\00\00\00\0a\00\00\00\01\00\00\00\01\00\00\00\01\00\00\00:method\00GET\00:path\00/\00:authority\00a\00x\00y\00authz";

fn call(headers_len: u32, target_len: u32, timeout: u32) -> String {
    format!(
        "(call $num (call $http_call (i32.const 1097) (i32.const {target_len}) (i32.const 1024) (i32.const {headers_len})
            (i32.const 1097) (i32.const 2) (i32.const 0) (i32.const 0) (i32.const {timeout}) (i32.const 128)))"
    )
}

#[test]
fn a_callout_is_sent_with_its_request_line_apart() {
    let host = Fake::new();
    let lines = logged(&[CALL], DATA, &format!("{} (call $num (i32.load (i32.const 128)))", call(73, 5, 250)), &host);
    assert_eq!(lines, ["0", "41"]);
    let callouts = host.callouts.borrow();
    let (target, request) = &callouts[0];
    assert_eq!((&**target, &*request.method, &*request.path, &*request.authority), ("authz", "GET", "/", "a"));
    assert_eq!(request.headers, [(b"x".to_vec(), b"y".to_vec())]);
    assert_eq!((&request.body[..], request.timeout), (&b"au"[..], Some(Duration::from_millis(250))));
}

#[test]
fn a_callout_without_its_request_line_or_to_a_target_not_granted_is_a_bad_argument() {
    let host = Fake::new();
    let lines = logged(&[CALL], DATA, &[call(0, 5, 0), call(73, 4, 0)].join(""), &host);
    assert_eq!(
        lines,
        [
            "proxy_http_call: the request has no :method",
            "2",
            "proxy_http_call: http.call: capability callout:auth is not granted to this plugin",
            "2"
        ]
    );
    assert!(host.callouts.borrow().is_empty());
}

fn answered() -> String {
    module(
        &[
            ("proxy_get_header_map_value", "iiiii"),
            ("proxy_get_header_map_pairs", "iii"),
            ("proxy_get_buffer_bytes", "iiiii"),
            ("proxy_get_status", "iii"),
            ("proxy_continue_stream", "i"),
        ],
        r#"(data (i32.const 1024) ":statuset")
        (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
            (call $num (local.get 1)) (call $num (local.get 2)) (call $num (local.get 3)) (call $num (local.get 4))
            (call $num (call $get_status (i32.const 136) (i32.const 128) (i32.const 132)))
            (call $num (i32.load (i32.const 136))) (call $show (i32.const 128))
            (if (local.get 2) (then
                (call $num (call $get_header_map_value (i32.const 6) (i32.const 1024) (i32.const 7) (i32.const 128) (i32.const 132)))
                (call $show (i32.const 128))
                (call $num (call $get_header_map_value (i32.const 7) (i32.const 1031) (i32.const 1) (i32.const 128) (i32.const 132)))
                (call $show (i32.const 128))
                (call $num (call $get_buffer_bytes (i32.const 4) (i32.const 0) (i32.const 99) (i32.const 128) (i32.const 132)))
                (call $show (i32.const 128))))
            (drop (call $continue_stream (i32.const 0))))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $num (call $get_header_map_pairs (i32.const 6) (i32.const 128) (i32.const 132)))
            (call $num (call $get_buffer_bytes (i32.const 4) (i32.const 0) (i32.const 99) (i32.const 128) (i32.const 132)))
            (i32.const 0))"#,
    )
}

fn lines(tried: &Tried) -> Vec<String> {
    tried.host.lines.borrow_mut().drain(..).map(|(_, text)| text).collect()
}

#[test]
fn the_answer_is_there_while_it_is_told_and_gone_after() {
    let mut tried = Tried::text(&answered());
    let result = Ok(CalloutResponse {
        status: 204,
        headers: vec![("server".into(), "x".into())],
        body: Bytes::from_static(b"yes"),
        trailers: vec![("E".into(), "t1".into())],
    });
    let action = tried.call(Event::Callout { token: Token(41), result: &result }).unwrap();
    // What goes on is said by the guest, not by its return.
    assert_eq!(action, Action::Pause);
    assert_eq!(*tried.host.resumed.borrow(), [Side::Request]);
    let told = ["41", "2", "3", "1", "0", "0", "", "0", "204", "0", "t1", "0", "yes"];
    assert_eq!(lines(&tried), told);
    tried.request().unwrap();
    let after = lines(&tried);
    assert_eq!((&*after[1], &*after[2]), ("2", "1"), "{after:?}");
}

#[test]
fn a_callout_that_failed_has_no_headers_and_a_status_that_says_why() {
    let mut tried = Tried::text(&answered());
    let result = Err(CalloutError::Unavailable("connection refused".to_owned()));
    tried.call(Event::Callout { token: Token(41), result: &result }).unwrap();
    assert_eq!(lines(&tried), ["41", "0", "0", "0", "0", "11", "connection refused"]);
    assert_eq!(*tried.host.resumed.borrow(), [Side::Request]);
}
