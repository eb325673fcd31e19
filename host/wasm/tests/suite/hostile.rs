//! Pointers and lengths that lie. None may reach outside the module's memory, read or written,
//! and each is an answer to the guest, never a fault of the host.

use super::fake::{Fake, Tried, module};

/// Every import that takes a pointer: its parameters, `p` a pointer to read with the length
/// that follows as `n`, `o` a pointer to write, `i` a plain number,
/// `m` that of a metric, `l` a 64-bit one.
const CALLS: &[(&str, &str)] = &[
    ("proxy_log", "ipn"),
    ("proxy_get_log_level", "o"),
    ("proxy_get_status", "ooo"),
    ("proxy_get_property", "pnoo"),
    ("proxy_set_property", "pnpn"),
    ("proxy_send_local_response", "ipnpnpni"),
    ("proxy_get_header_map_value", "ipnoo"),
    ("proxy_add_header_map_value", "ipnpn"),
    ("proxy_replace_header_map_value", "ipnpn"),
    ("proxy_remove_header_map_value", "ipn"),
    ("proxy_get_header_map_pairs", "ioo"),
    ("proxy_set_header_map_pairs", "ipn"),
    ("proxy_get_header_map_size", "io"),
    ("proxy_get_buffer_bytes", "iiioo"),
    ("proxy_get_buffer_status", "ioo"),
    ("proxy_set_buffer_bytes", "iiipn"),
    ("proxy_get_configuration", "oo"),
    ("proxy_http_call", "pnpnpnpnio"),
    ("proxy_grpc_call", "pnpnpnpnpnio"),
    ("proxy_grpc_stream", "pnpnpnpno"),
    ("proxy_grpc_send", "ipni"),
    ("proxy_get_shared_data", "pnooo"),
    ("proxy_set_shared_data", "pnpni"),
    ("proxy_define_metric", "ipno"),
    ("proxy_get_metric", "mo"),
    ("proxy_get_current_time_nanoseconds", "o"),
    ("proxy_call_foreign_function", "pnpnoo"),
    ("forebay_abi_version", "o"),
    ("forebay_abi_has", "pno"),
    ("forebay_time_sleep", "lo"),
];

/// Address and length of each lie: at the end, across it, wrapping, huge.
const LIES: [(u32, u32); 7] = [
    (65536, 1),
    (65535, 2),
    (65533, 4),
    (u32::MAX, 1),
    (u32::MAX, u32::MAX),
    (1, u32::MAX),
    (0x8000_0000, 0x8000_0000),
];

/// The arguments of `call` with a lie at its `which`th pointer, and the truth elsewhere; `None`
/// past the last.
fn arguments(shape: &str, which: usize, (at, len): (u32, u32)) -> Option<String> {
    let mut text = String::new();
    let mut pointer = 0;
    let mut lies = false;
    let mut lied = false;
    for c in shape.chars() {
        lies = match c {
            'p' | 'o' => {
                pointer += 1;
                pointer == which + 1
            }
            'n' => lies,
            _ => false,
        };
        lied |= lies;
        // Where memory may be written, the truth is far from what the test looks at.
        text += &match (c, lies) {
            ('p' | 'o', true) => format!("(i32.const {at})"),
            ('n', true) => format!("(i32.const {len})"),
            ('p', false) => "(i32.const 1024)".to_owned(),
            ('n', false) => "(i32.const 1)".to_owned(),
            ('o', false) => format!("(i32.const {})", 200 + 16 * pointer),
            ('m', _) => "(i32.const 1)".to_owned(),
            ('l', _) => "(i64.const 1)".to_owned(),
            _ => "(i32.const 0)".to_owned(),
        };
    }
    lied.then_some(text)
}

#[test]
fn no_pointer_of_any_call_reaches_outside_the_memory() {
    let imports: Vec<(&'static str, &'static str)> = CALLS
        .iter()
        .filter(|(name, _)| *name != "proxy_log")
        .map(|(name, shape)| (*name, &*shape.replace(['p', 'n', 'o', 'm'], "i").leak()))
        .collect();
    let mut tried_lies = 0;
    for (name, shape) in CALLS {
        for lie in LIES {
            let mut calls = String::new();
            for which in 0.. {
                let Some(arguments) = arguments(shape, which, lie) else { break };
                // An address alone is a lie only if four bytes do not fit there.
                if lie.0 < 65000 && !is_read(shape, which) {
                    continue;
                }
                tried_lies += 1;
                let short = name.strip_prefix("proxy_").unwrap_or(name);
                calls += &format!("(call $num (call ${short} {arguments}))\n");
            }
            let text = module(
                &imports,
                &format!(
                    r#"(func (export "forebay_on_timer") (param i32 i32))
                    (data (i32.const 1024) "a")
                    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {calls} (i32.const 0))"#
                ),
            );
            let host = Fake::new();
            host.put(abi::Map::RequestHeaders, "a", "value");
            host.dict.borrow_mut().insert(("tried".into(), b"a".to_vec()), (b"v".to_vec(), 1));
            host.properties.borrow_mut().insert("a".into(), abi::Value::Bytes(b"v".to_vec()));
            host.define("m");
            host.bodies.borrow_mut()[0] = b"body".to_vec();
            let mut tried = Tried::text_with(&text, host.clone());
            tried.request().unwrap_or_else(|fault| panic!("{name} {lie:?}: {fault}"));
            for (level, line) in host.lines.borrow().iter() {
                let refused = matches!(line.as_str(), "6" | "2") || *level == abi::LogLevel::Warn;
                assert!(refused, "{name} {lie:?}: {}", host.log_text());
            }
            assert_eq!(
                (host.answers.borrow().len(), host.callouts.borrow().len(), host.sleeps.borrow().len()),
                (0, 0, 0)
            );
            assert!(host.grpcs.borrow().is_empty(), "{name} {lie:?}");
            assert_eq!(host.map(abi::Map::RequestHeaders), [("a".to_owned(), "value".to_owned())], "{name} {lie:?}");
        }
    }
    assert!(tried_lies > 250, "{tried_lies}");
}

fn is_read(shape: &str, which: usize) -> bool {
    shape.chars().filter(|c| matches!(c, 'p' | 'o')).nth(which) == Some('p')
}

#[test]
fn an_allocator_that_lies_is_refused() {
    for (at, traps) in
        [("(i32.const 0)", false), ("(i32.const 65534)", false), ("(i32.const -1)", false), ("(unreachable)", true)]
    {
        let text = format!(
            r#"(module
            (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 1024) "a0")
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "malloc") (param i32) (result i32) {at})
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (if (i32.eq (i32.const 6) (call $get (i32.const 0) (i32.const 1024) (i32.const 1) (i32.const 8) (i32.const 12)))
                    (then (drop (call $log (i32.const 2) (i32.const 1025) (i32.const 1)))))
                (i32.const 0)))"#
        );
        let host = Fake::new();
        host.put(abi::Map::RequestHeaders, "a", "value");
        let mut tried = Tried::text_with(&text, host.clone());
        assert_eq!(tried.request().is_err(), traps);
        assert_eq!(host.log_text().ends_with("Info 0\n"), !traps, "{}", host.log_text());
    }
}

#[test]
fn an_allocator_that_grows_the_memory_is_followed() {
    let text = r#"(module
        (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 1024) "a")
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.mul (memory.grow (i32.const 1)) (i32.const 65536)))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (call $get (i32.const 0) (i32.const 1024) (i32.const 1) (i32.const 8) (i32.const 12)))
            (drop (call $log (i32.const 2) (i32.load (i32.const 8)) (i32.load (i32.const 12)))) (i32.const 0)))"#;
    let host = Fake::new();
    host.put(abi::Map::RequestHeaders, "a", "value");
    Tried::text_with(text, host.clone()).request().unwrap();
    assert_eq!(host.log_text(), "Info value\n");
}

#[test]
fn a_call_that_is_refused_for_one_place_has_written_to_no_other() {
    for (name, shape, call) in [
        ("proxy_get_status", "iii", "(call $get_status (i32.const 65533) (i32.const 200) (i32.const 204))"),
        ("proxy_get_buffer_status", "iii", "(call $get_buffer_status (i32.const 0) (i32.const 200) (i32.const 65533))"),
    ] {
        let body = format!(
            "(i64.store (i32.const 200) (i64.const 7)) (call $num {call}) (call $num (i32.load (i32.const 200)))
            (call $num (i32.load (i32.const 204)))"
        );
        let host = Fake::new();
        host.bodies.borrow_mut()[0] = b"body".to_vec();
        let mut lines = super::fake::logged(&[(name, shape)], "", &body, &host);
        assert!(lines.remove(0).contains("outside the module's memory"), "{lines:?}");
        assert_eq!(lines, ["6", "7", "0"], "{name}");
    }
}
