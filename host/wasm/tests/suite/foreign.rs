//! Functions that other hosts give by name.

use abi::Verdict;

use super::fake::{Fake, Import, Tried, logged, on_request};

const FOREIGN: Import = ("proxy_call_foreign_function", "iiiiii");

/// Calls the function whose name stands there, with an argument, and logs the status.
fn call(name: (u32, u32), argument: (&str, &str)) -> String {
    let (at, len) = argument;
    format!(
        "(call $num (call $call_foreign_function (i32.const {}) (i32.const {}) {at} {len} (i32.const 128) (i32.const 132)))",
        name.0, name.1
    )
}

fn constant(number: u32) -> String {
    format!("(i32.const {number})")
}

/// `compress`, `uncompress`.
const NAMES: &str = "compressuncompress";
const COMPRESS: (u32, u32) = (1024, 8);
const UNCOMPRESS: (u32, u32) = (1032, 10);
const RESULT: (&str, &str) = ("(i32.load (i32.const 128))", "(i32.load (i32.const 132))");

#[test]
fn what_is_compressed_is_smaller_and_uncompressed_again() {
    // 8 KiB of zeros, from where nothing stands.
    let zeros = (constant(4096), constant(8192));
    let body = [
        call(COMPRESS, (&zeros.0, &zeros.1)),
        // zlib's header, and far fewer bytes.
        "(call $num (i32.load8_u (i32.load (i32.const 128)))) (call $num (i32.lt_u (i32.load (i32.const 132)) (i32.const 100)))".into(),
        call(UNCOMPRESS, RESULT),
        "(call $num (i32.load (i32.const 132))) (call $num (i32.load8_u (i32.load (i32.const 128))))".into(),
    ];
    assert_eq!(logged(&[FOREIGN], NAMES, &body.concat(), &Fake::new()), ["0", "120", "1", "0", "8192", "0"]);
}

#[test]
fn what_is_not_of_zlib_is_a_serialization_failure_and_what_is_too_large_is_refused() {
    let host = Fake::with(|settings| settings.limits.buffer = 4096);
    let (at, len) = (constant(1024), constant(18));
    let zeros = (constant(4096), constant(8192));
    let small = (constant(4096), constant(4096));
    // A bomb: its first half is let through, its second would make it twice the limit.
    let body = [
        call(UNCOMPRESS, (&at, &len)),
        call(COMPRESS, (&zeros.0, &zeros.1)),
        call(COMPRESS, (&small.0, &small.1)),
        call(UNCOMPRESS, RESULT),
        "(call $num (i32.load (i32.const 132)))".into(),
    ];
    let lines = logged(&[FOREIGN], NAMES, &body.concat(), &host);
    let not = "proxy_call_foreign_function: uncompress: not in zlib's format, or not all of it";
    let large = "proxy_call_foreign_function: compress: takes more than 4096 bytes (limit buffer)";
    assert_eq!(lines, [not, "3", large, "10", "0", "0", "4096"]);
}

#[test]
fn a_bomb_ends_at_the_buffer_limit() {
    // zlib's form of 64 KiB of zeros, compressed at 4 KiB of limit elsewhere.
    let bomb = miniz_oxide::deflate::compress_to_vec_zlib(&[0; 64 << 10], 9);
    let escaped: String = bomb.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let host = Fake::with(|settings| settings.limits.buffer = 4096);
    let (at, len) = (constant(1042), constant(bomb.len() as u32));
    let lines = logged(&[FOREIGN], &format!("{NAMES}{escaped}"), &call(UNCOMPRESS, (&at, &len)), &host);
    assert_eq!(lines, ["proxy_call_foreign_function: uncompress: gives more than 4096 bytes (limit buffer)", "10"]);
}

#[test]
fn the_time_of_it_is_the_guests() {
    let (at, len) = (constant(4096), constant(24 << 10));
    let call = call(COMPRESS, (&at, &len));
    // The allocator of the test's modules gives no more after a while: its place is set back.
    let text = on_request(&[FOREIGN], NAMES, &format!("(loop $l {call} (global.set $next (i32.const 32768)) (br $l))"));
    let host = Fake::with(|settings| settings.limits.memory = 1 << 20);
    let fault = Tried::text_with(&text, host).request().unwrap_err();
    assert_eq!(fault.verdict, Verdict::Cpu, "{fault}");
}

#[test]
fn a_route_cache_is_cleared_by_doing_nothing_and_what_is_only_envoys_is_not_found() {
    let data = "clear_route_cacheset_envoy_filter_statedeclare_propertyexpr_createresolve_lua";
    let (mut at, mut body) = (1024, String::new());
    for len in [17, 22, 16, 11, 11] {
        body += &call((at, len), ("(i32.const 0)", "(i32.const 0)"));
        at += len;
    }
    assert_eq!(logged(&[FOREIGN], data, &body, &Fake::new()), ["0", "1", "1", "1", "1"]);
}
