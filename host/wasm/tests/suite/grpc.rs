//! gRPC calls and streams that a plugin starts, and what it is told of them.

use abi::{Action, Event, GrpcEvent, GrpcStatus, Token};
use bytes::Bytes;

use super::fake::{Fake, Import, Tried, logged, module};

const CALL: Import = ("proxy_grpc_call", "iiiiiiiiiiii");
const STREAM: Import = ("proxy_grpc_stream", "iiiiiiiii");
const SEND: Import = ("proxy_grpc_send", "iiii");
const CLOSE: Import = ("proxy_grpc_close", "i");
const CANCEL: Import = ("proxy_grpc_cancel", "i");

/// A cluster as Envoy has it (9 bytes), `authz` (5), `s.S` (3), `M` (1), pairs of `(x y)` (16), `hi` (2),
/// and `nobody` (6).
const DATA: &str = r"\0a\07\0a\05authzauthzs.SM\01\00\00\00\01\00\00\00\01\00\00\00x\00y\00hinobody";

/// `target`: where it stands and its length; `rest`: what follows the metadata.
fn start(function: &str, (at, len): (u32, u32), rest: &str) -> String {
    format!(
        "(call $num (call ${function} (i32.const {at}) (i32.const {len}) (i32.const 1038) (i32.const 3)
            (i32.const 1041) (i32.const 1) (i32.const 1042) (i32.const 16) {rest} (i32.const 128)))"
    )
}

const MESSAGE: &str = "(i32.const 1058) (i32.const 2) (i32.const 250)";

#[test]
fn a_call_and_a_stream_are_asked_for_with_all_they_have() {
    let host = Fake::new();
    let body = [
        start("grpc_call", (1024, 9), MESSAGE),
        start("grpc_stream", (1033, 5), ""),
        "(call $num (i32.load (i32.const 128)))".into(),
        "(call $num (call $grpc_send (i32.const 60) (i32.const 1058) (i32.const 2) (i32.const 1)))".into(),
        "(call $num (call $grpc_close (i32.const 60))) (call $num (call $grpc_cancel (i32.const 60)))".into(),
        "(call $num (call $grpc_cancel (i32.const 61)))".into(),
    ];
    let lines = logged(&[CALL, STREAM, SEND, CLOSE, CANCEL], DATA, &body.concat(), &host);
    assert_eq!(lines, ["0", "0", "60", "0", "0", "0", "1"]);
    let asked = host.grpcs.borrow();
    let metadata = "metadata: [([120], [121])]";
    let request = format!("GrpcRequest {{ service: \"s.S\", method: \"M\", {metadata}");
    assert_eq!(asked[0], format!("authz {request}, message: Some(b\"hi\"), timeout: Some(250ms) }}"));
    assert_eq!(asked[1], format!("authz {request}, message: None, timeout: None }}"));
    assert_eq!(asked[2..], ["send 60 \"hi\" true", "close 60", "cancel 60"]);
}

#[test]
fn an_upstream_that_nobody_knows_is_a_parse_failure_and_one_not_granted_a_bad_argument() {
    let host = Fake::new();
    let body = [
        start("grpc_call", (1060, 6), MESSAGE),
        start("grpc_stream", (1060, 6), ""),
        // No message of Envoy's: its first byte says that it is one.
        start("grpc_call", (1024, 5), MESSAGE),
        start("grpc_call", (1038, 3), MESSAGE),
    ];
    let lines = logged(&[CALL, STREAM], DATA, &body.concat(), &host);
    let statuses: Vec<_> = lines.iter().filter(|line| line.len() == 1).collect();
    assert_eq!(statuses, ["4", "4", "4", "2"], "{lines:#?}");
    assert!(host.grpcs.borrow().is_empty());
}

/// Logs what it is told, and what it can read of it.
fn listener() -> String {
    let show = |call: &str| format!("(call $num {call}) (call $show (i32.const 128))");
    let metadata = |map: u32| {
        show(&format!(
            "(call $get_header_map_value (i32.const {map}) (i32.const 1024) (i32.const 1) (i32.const 128) (i32.const 132))"
        ))
    };
    let message =
        show("(call $get_buffer_bytes (i32.const 5) (i32.const 0) (i32.const 99) (i32.const 128) (i32.const 132))");
    let told = |name: &str, body: String| {
        format!(
            r#"(func (export "proxy_on_grpc_{name}") (param i32 i32 i32)
                (call $num (local.get 0)) (call $num (local.get 1)) (call $num (local.get 2)) {body})"#
        )
    };
    let status = "(call $num (call $get_status (i32.const 136) (i32.const 128) (i32.const 132)))
        (call $num (i32.load (i32.const 136))) (call $show (i32.const 128))";
    module(
        &[("proxy_get_header_map_value", "iiiii"), ("proxy_get_buffer_bytes", "iiiii"), ("proxy_get_status", "iii")],
        &[
            r#"(data (i32.const 1024) "x")"#.to_owned(),
            told("receive_initial_metadata", metadata(4)),
            told("receive", message.clone()),
            told("receive_trailing_metadata", metadata(5)),
            told("close", status.to_owned()),
            format!(
                r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                    (i32.store (i32.const 128) (i32.const 0)) (i32.store (i32.const 132) (i32.const 0))
                    {} {} {message} {status} (i32.const 0))"#,
                metadata(4),
                metadata(5)
            ),
        ]
        .concat(),
    )
}

fn lines(tried: &Tried) -> Vec<String> {
    tried.host.lines.borrow_mut().drain(..).map(|(_, text)| text).collect()
}

#[test]
fn what_comes_of_a_stream_is_there_while_it_is_told_and_gone_after() {
    let mut tried = Tried::text(&listener());
    let pairs = |value: &'static str| vec![(Bytes::from("X"), Bytes::from(value))];
    let events = [
        (GrpcEvent::Metadata(pairs("first")), &["2", "7", "1", "0", "first"][..]),
        (GrpcEvent::Message("hello".into()), &["2", "7", "5", "0", "hello"]),
        (GrpcEvent::Trailers(pairs("last")), &["2", "7", "1", "0", "last"]),
        (GrpcEvent::Closed(GrpcStatus::new(5, "no such")), &["2", "7", "5", "0", "5", "no such"]),
    ];
    for (event, told) in &events {
        // What goes on is said by the guest, not by its return.
        assert_eq!(tried.call(Event::Grpc { token: Token(7), event }).unwrap(), Action::Pause);
        assert_eq!(lines(&tried), *told);
    }
    tried.request().unwrap();
    let after = lines(&tried);
    let statuses: Vec<_> = after.iter().filter(|line| line.len() == 1).map(String::as_str).collect();
    assert_eq!(statuses, ["2", "2", "1", "0", "0"], "{after:#?}");
}

#[test]
fn callbacks_that_a_module_lacks_are_passed_over() {
    let mut tried = Tried::text(&module(&[], ""));
    let closed = GrpcEvent::Closed(GrpcStatus::new(14, "gone"));
    assert_eq!(tried.call(Event::Grpc { token: Token(7), event: &closed }).unwrap(), Action::Pause);
}
