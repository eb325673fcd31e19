//! Which origin gets the request: what the plugin of `tests/conformance/origin.rs` does.

use std::cell::RefCell;
use std::ptr::null_mut;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, LogLevel, MapType};

use crate::imports::*;
use crate::probe;

pub struct Steered;

thread_local! {
    /// The words of the configuration: the callback below is none of the SDK's contexts.
    static WORDS: RefCell<Vec<String>> = RefCell::default();
}

pub fn configure(words: &[String]) {
    WORDS.with_borrow_mut(|kept| *kept = words.to_vec());
}

fn word(n: usize) -> String {
    WORDS.with_borrow(|words| words.get(n).cloned().unwrap_or_default())
}

fn prefix() -> String {
    let word = word(1);
    if word.is_empty() {
        "x".to_owned()
    } else {
        word
    }
}

#[no_mangle]
pub extern "C" fn forebay_on_origin_select(_context: u32, pool_size: usize, attempt: u32) {
    match (word(0).as_str(), word(1).as_str()) {
        ("probe", "origin") => probe::run("origin", &["respond", "close"]),
        ("origin", _) => {
            let pool = String::from_utf8(call_data(pool_size)).unwrap_or_default();
            log(&format!("select {pool} {attempt} after {}", got()));
            if header("x-fault").is_some_and(|when| when == attempt.to_string()) {
                panic!("a sentence of the plugin");
            }
            let again = if attempt == 1 { "-" } else { "-again-" };
            steer(&format!("{}{again}", prefix()));
        }
        _ => {}
    }
}

/// proxy-wasm's buffer of what comes with a foreign call.
fn call_data(size: usize) -> Vec<u8> {
    let (mut data, mut len) = (null_mut(), 0);
    // SAFETY: the host writes the address and length of a block that our allocator made.
    unsafe {
        match proxy_get_buffer_bytes(8, 0, size, &mut data, &mut len) {
            0 if !data.is_null() => Vec::from_raw_parts(data, len, len),
            _ => Vec::new(),
        }
    }
}

fn log(line: &str) {
    let _ = hostcalls::log(LogLevel::Info, &format!("case origin: {line}"));
}

fn header(name: &str) -> Option<String> {
    hostcalls::get_map_value(MapType::HttpRequestHeaders, name).ok().flatten()
}

fn steer(when: &str) {
    let said = |call: &str, argument: &str, code: i32| {
        let code = if code == 0 { "done".to_owned() } else { code.to_string() };
        log(&format!("{call} {argument} {code}"));
    };
    if let Some(pool) = header(&format!("{when}pool")) {
        said("set_pool", &pool, packed(forebay_origin_set_pool, &text(&pool)).0);
    }
    let exclude = format!("{when}exclude");
    for (name, address) in hostcalls::get_map(MapType::HttpRequestHeaders).unwrap_or_default() {
        if name == exclude {
            said("exclude", &address, packed(forebay_origin_exclude, &text(&address)).0);
        }
    }
    if let Some(host) = header(&format!("{when}host")) {
        said("set_host", &host, packed(forebay_origin_set_host, &text(&host)).0);
    }
}

fn got() -> String {
    let (code, results) = packed(forebay_origin_get, &[]);
    let mut results = Unpacked(&results);
    if code != 0 || results.u8() == 0 {
        return "nobody".to_owned();
    }
    let (address, pool) = (results.text(), results.text());
    format!("{address} {pool} {}", results.u32())
}

fn stats() -> String {
    let (code, results) = packed(forebay_origin_stats, &[0]);
    let mut results = Unpacked(&results);
    if code != 0 {
        return String::new();
    }
    let count = results.u32();
    let one = |_| {
        let (address, stage, healthy) = (results.text(), results.text(), results.u8() == 1);
        let (share, in_flight, requests) = (results.f64() * 100.0, results.u64(), results.u64());
        let known = results.u8() == 1 && (1..60_000_000_000).contains(&results.u64());
        let known = if known { "measured" } else { "unmeasured" };
        format!("{address} {stage} {healthy} {share:.0} {in_flight} {requests} {known}")
    };
    (0..count).map(one).collect::<Vec<_>>().join(",")
}

/// The call for the probe, by its name in Lua.
pub fn call(name: &str) -> Option<i32> {
    let (code, _) = match name {
        "origin.set_pool" => packed(forebay_origin_set_pool, &text("shop")),
        "origin.set_host" => packed(forebay_origin_set_host, &text("127.0.0.1:1")),
        "origin.exclude" => packed(forebay_origin_exclude, &text("127.0.0.1:1")),
        "origin.get" => packed(forebay_origin_get, &[]),
        "origin.stats" => packed(forebay_origin_stats, &[&[1], text("shop").as_slice()].concat()),
        _ => return None,
    };
    Some(code)
}

impl Context for Steered {}

impl HttpContext for Steered {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        steer(&format!("{}-early-", prefix()));
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.set_http_response_header("x-origin", Some(&got()));
        self.set_http_response_header("x-stats", Some(&stats()));
        Action::Continue
    }

    fn on_log(&mut self) {
        log(&format!("log {}", got()));
    }
}
