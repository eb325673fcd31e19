//! Header maps.

use abi::{Map, Phase};

use super::fake::{Fake, Import, Tried, logged, module_of, on_request};

const GET: Import = ("proxy_get_header_map_value", "iiiii");
const PAIRS: Import = ("proxy_get_header_map_pairs", "iii");
const SET_PAIRS: Import = ("proxy_set_header_map_pairs", "iii");
const CHANGES: [Import; 3] = [
    ("proxy_add_header_map_value", "iiiii"),
    ("proxy_replace_header_map_value", "iiiii"),
    ("proxy_remove_header_map_value", "iii"),
];

/// Asks for the header `x-id` of the request.
const GET_ID: &str = "(call $num (call $get_header_map_value
    (i32.const 0) (i32.const 1024) (i32.const 4) (i32.const 128) (i32.const 132)))";

#[test]
fn a_header_is_read_without_regard_to_case_and_repeated_ones_are_joined() {
    let host = Fake::new();
    for (name, value) in [("X-Id", "a"), ("other", "-"), ("x-id", "b")] {
        host.put(Map::RequestHeaders, name, value);
    }
    let lines = logged(&[GET], "x-id", &format!("{GET_ID} (call $show (i32.const 128))"), &host);
    assert_eq!(lines, ["0", "a,b"]);
}

#[test]
fn a_missing_header_is_not_found_since_0_2_and_empty_in_0_1_0() {
    let show = "(call $num (i32.load (i32.const 128))) (call $num (i32.load (i32.const 132)))";
    assert_eq!(logged(&[GET], "x-id", GET_ID, &Fake::new()), ["1"]);
    for (version, parameters, lines) in [("0_2_0", "i32 i32 i32", &["1"][..]), ("0_1_0", "i32 i32", &["0", "0", "0"])] {
        let show = if version == "0_1_0" { show } else { "" };
        let text = format!(
            r#"(data (i32.const 1024) "x-id")
            (func (export "proxy_on_request_headers") (param {parameters}) (result i32) {GET_ID} {show} (i32.const 0))"#
        );
        let mut tried = Tried::text(&module_of(version, &[GET], &text));
        tried.request().unwrap();
        let logged: Vec<_> = tried.host.lines.borrow().iter().map(|(_, text)| text.clone()).collect();
        assert_eq!(logged, lines, "{version}");
    }
}

#[test]
fn an_empty_header_is_found_and_empty() {
    let host = Fake::new();
    host.put(Map::RequestHeaders, "x-id", "");
    assert_eq!(logged(&[GET], "x-id", &format!("{GET_ID} (call $num (i32.load (i32.const 132)))"), &host), ["0", "0"]);
}

#[test]
fn headers_are_added_replaced_and_removed() {
    let host = Fake::new();
    for (name, value) in [("a", "1"), ("a", "2"), ("b", "3"), ("c", "4")] {
        host.put(Map::RequestHeaders, name, value);
    }
    let body = "
        (call $num (call $add_header_map_value (i32.const 0) (i32.const 1025) (i32.const 1) (i32.const 1027) (i32.const 1)))
        (call $num (call $replace_header_map_value (i32.const 0) (i32.const 1024) (i32.const 1) (i32.const 1027) (i32.const 1)))
        (call $num (call $remove_header_map_value (i32.const 0) (i32.const 1026) (i32.const 1)))";
    assert_eq!(logged(&CHANGES, "abcX", body, &host), ["0", "0", "0"]);
    let pairs = host.map(Map::RequestHeaders);
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(pairs, ["b=3", "b=X", "a=X"]);
}

#[test]
fn a_map_goes_out_whole_and_comes_back_whole() {
    let host = Fake::new();
    for (name, value) in [(":path", "/"), ("b", ""), ("b", "2")] {
        host.put(Map::RequestHeaders, name, value);
    }
    host.phase.set(Phase::Request);
    // What was read of the request is written to its trailers, as it came.
    let body = "(call $num (call $get_header_map_pairs (i32.const 0) (i32.const 128) (i32.const 132)))
        (call $num (call $set_header_map_pairs (i32.const 1) (i32.load (i32.const 128)) (i32.load (i32.const 132))))
        (call $num (call $get_header_map_size (i32.const 0) (i32.const 128)))
        (call $num (i32.load (i32.const 128)))";
    let lines = logged(&[PAIRS, SET_PAIRS, ("proxy_get_header_map_size", "ii")], "", body, &host);
    assert_eq!(lines, ["0", "0", "0", "9"]);
    assert_eq!(host.map(Map::RequestTrailers), host.map(Map::RequestHeaders));
}

#[test]
fn a_map_that_is_refused_is_refused_with_a_reason_and_changes_nothing() {
    let host = Fake::new();
    host.put(Map::RequestHeaders, "a", "1");
    let set = |map: u32, at: u32, len: u32| {
        format!("(call $num (call $set_header_map_pairs (i32.const {map}) (i32.const {at}) (i32.const {len})))")
    };
    let body = [set(0, 1024, 4), set(0, 1028, 20), set(9, 1024, 0), set(4, 1024, 0), set(6, 1024, 0)].join("\n");
    // A count of 2000; then one pair whose name would reach past the end.
    let data = r"\d0\07\00\00\01\00\00\00\ff\ff\00\00\01\00\00\00a\00b\00";
    let lines = logged(&[SET_PAIRS], data, &body, &host);
    let call = "proxy_set_header_map_pairs";
    assert_eq!(
        lines,
        [
            &format!("{call}: a map of 2000 pairs, at most 1024 are taken"),
            "2",
            &format!("{call}: the map is not in proxy-wasm's form"),
            "2",
            &format!("{call}: 9 is no header map (0 to 7)"),
            "2",
            &format!("{call}: what a callout brought cannot be changed"),
            "2",
            &format!("{call}: what a callout brought cannot be changed"),
            "2",
        ]
    );
    assert_eq!(host.map(Map::RequestHeaders).len(), 1);
}

#[test]
fn a_call_outside_its_phase_is_a_bad_argument_and_the_log_says_why() {
    let host = Fake::new();
    let body = "(call $num (call $add_header_map_value
        (i32.const 2) (i32.const 1024) (i32.const 1) (i32.const 1024) (i32.const 1)))";
    let mut tried = Tried::text_with(&on_request(&CHANGES, "a", body), host.clone());
    tried.request().unwrap();
    assert_eq!(
        host.log_text(),
        "Warn proxy_add_header_map_value: response.headers.add: not in phase request (only in: response)\nInfo 2\n"
    );
}
