//! Buffers: bodies and configurations.

use abi::{Action, Event, Phase, Side};

use super::fake::{Fake, Import, Tried, logged, module};

const GET: Import = ("proxy_get_buffer_bytes", "iiiii");
const SET: Import = ("proxy_set_buffer_bytes", "iiiii");
const STATUS: Import = ("proxy_get_buffer_status", "iii");

fn get(buffer: u32, start: u32, length: u32) -> String {
    format!(
        "(call $num (call $get_buffer_bytes (i32.const {buffer}) (i32.const {start}) (i32.const {length})
            (i32.const 128) (i32.const 132))) (call $show (i32.const 128))"
    )
}

#[test]
fn a_body_is_read_in_parts_and_clipped_to_what_there_is() {
    let host = Fake::new();
    host.bodies.borrow_mut()[0] = b"0123456789".to_vec();
    let body = [get(0, 0, 4), get(0, 8, 100), get(0, 5, u32::MAX), get(0, 11, 1), get(0, u32::MAX, u32::MAX)].join("");
    assert_eq!(logged(&[GET], "", &body, &host), ["0", "0123", "0", "89", "0", "56789", "0", "", "0", ""]);
}

#[test]
fn a_body_is_changed_anywhere() {
    let host = Fake::new();
    host.bodies.borrow_mut()[0] = b"0123456789".to_vec();
    let set = |start: u32, length: u32| {
        format!(
            "(call $num (call $set_buffer_bytes (i32.const 0) (i32.const {start}) (i32.const {length})
                (i32.const 1024) (i32.const 2)))"
        )
    };
    // In the middle, before everything, behind everything.
    assert_eq!(logged(&[SET], "ab", &[set(4, 3), set(0, 0), set(u32::MAX, 1)].join(""), &host), ["0", "0", "0"]);
    assert_eq!(host.bodies.borrow()[0], b"ab0123ab789ab");
    let refused =
        "(call $num (call $set_buffer_bytes (i32.const 7) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))";
    let lines = logged(&[SET], "", refused, &Fake::new());
    assert_eq!(lines, ["proxy_set_buffer_bytes: buffer 7 cannot be written: only bodies (0, 1) can", "2"]);
}

#[test]
fn both_configurations_can_be_read() {
    let body = [get(6, 0, 99), get(7, 0, 99)].join("");
    let old = "(call $num (call $get_configuration (i32.const 128) (i32.const 132))) (call $show (i32.const 128))";
    let lines = logged(&[GET, ("proxy_get_configuration", "ii")], "", &format!("{body} {old}"), &Fake::new());
    assert_eq!(lines, ["0", "vm", "0", "{\"a\":1}", "0", "{\"a\":1}"]);
}

#[test]
fn a_buffer_tells_its_size() {
    let host = Fake::new();
    host.bodies.borrow_mut()[0] = b"0123456789".to_vec();
    let body = "(i32.store (i32.const 132) (i32.const 7))
        (call $num (call $get_buffer_status (i32.const 0) (i32.const 128) (i32.const 132)))
        (call $num (i32.load (i32.const 128))) (call $num (i32.load (i32.const 132)))";
    assert_eq!(logged(&[STATUS], "", body, &host), ["0", "10", "0"]);
}

#[test]
fn a_body_outside_its_phase_is_not_found_and_the_log_says_why() {
    let host = Fake::new();
    let body = format!("(i64.store (i32.const 128) (i64.const 0)) {}", get(1, 0, 9));
    let lines = logged(&[GET], "", &body, &host);
    assert_eq!(lines, ["response.body: not in phase request (only in: response)", "1", ""]);
}

#[test]
fn a_body_callback_that_pauses_buffers_and_sees_its_size() {
    let text = module(
        &[],
        r#"(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
            (call $num (local.get 1)) (i32.eqz (local.get 2)))
        (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) (local.get 1))
        (func (export "proxy_on_request_trailers") (param i32 i32) (result i32) (i32.const 1))"#,
    );
    let mut tried = Tried::text(&text);
    let mut body = |size, end_of_stream| tried.call(Event::RequestBody { size, end_of_stream }).unwrap();
    assert_eq!((body(3, false), body(7, true)), (Action::Buffer, Action::Continue));
    tried.host.bodies.borrow_mut()[0] = b"whole".to_vec();
    assert_eq!(tried.call(Event::BodyReady(Side::Request)).unwrap(), Action::Continue);
    assert_eq!(tried.host.log_text(), "Info 3\nInfo 7\nInfo 5\n");
    tried.host.phase.set(Phase::Response);
    // Envoy's own codes: 2 buffers too, 3 stops without.
    for (size, action) in [(0, Action::Continue), (1, Action::Buffer), (2, Action::Buffer), (3, Action::Pause)] {
        assert_eq!(tried.call(Event::ResponseBody { size, end_of_stream: false }).unwrap(), action);
    }
    assert_eq!(tried.call(Event::RequestTrailers).unwrap(), Action::Pause);
    assert_eq!(tried.call(Event::ResponseTrailers).unwrap(), Action::Continue);
}
