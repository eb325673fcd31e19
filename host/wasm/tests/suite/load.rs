//! Modules that do not load, and what is said of them.

use abi::Callbacks;

use super::fake::{Tried, load_bytes, load_text, module, on_request};

fn refusal(text: &str) -> String {
    load_text(text).map(|_| ()).unwrap_err().message
}

#[test]
fn a_file_that_is_no_module_is_told_what_it_is() {
    for (bytes, said) in [
        (&b"#!/bin/sh\n"[..], "the file is no Wasm module: it begins with \"#!/bin/s\""),
        (b"", "the file is empty, so no Wasm module"),
        (b"(module)", "the file is Wasm in text form"),
        (b"\0asm\x0d\0\x01\0", "the file is a Wasm component; proxy-wasm modules are core modules"),
        (b"\0asm\x02\0\0\0", "the file is a Wasm module of an unknown version"),
        (b"\0asm\x01\0\0\0\x01", "no valid Wasm module: "),
    ] {
        let error = load_bytes(bytes).map(|_| ()).unwrap_err().message;
        assert!(error.starts_with(said), "{error}");
    }
    let error = forebay_wasm::load(std::path::Path::new("no/such.wasm")).map(|_| ()).unwrap_err().message;
    assert!(error.starts_with("No such file"), "{error}");
}

#[test]
fn a_module_that_lacks_exports_is_told_all_of_them() {
    let error = refusal("(module)");
    assert!(error.contains("exports no ABI version"), "{error}");
    assert!(error.contains("exports no memory named memory"), "{error}");
    assert!(error.contains("exports neither proxy_on_memory_allocate nor malloc"), "{error}");
    let error = refusal(
        r#"(module (memory (export "memory") 1) (func (export "proxy_abi_version_0_3_0"))
        (func (export "malloc") (param i64) (result i32) (i32.const 0)))"#,
    );
    assert!(error.contains("exports proxy_abi_version_0_3_0, a version of proxy-wasm that is not known"), "{error}");
    assert!(error.contains("exports malloc as (i64) -> (i32); it takes 1 i32 and returns 1"), "{error}");
}

#[test]
fn all_missing_imports_are_named_at_once_with_what_was_perhaps_meant() {
    let error = refusal(
        r#"(module
        (import "env" "proxy_get_header_map_valu" (func (param i32)))
        (import "env" "proxy_log" (func (param i64)))
        (import "wasi_snapshot_preview2" "fd_write" (func))
        (import "other" "zzz" (func))
        (import "env" "memory" (memory 1))
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.const 0)))"#,
    );
    for said in [
        "env.proxy_get_header_map_valu (did you mean env.proxy_get_header_map_value?)",
        "env.proxy_log as (i64) -> (); it is (i32, i32, i32) -> (i32)",
        "wasi_snapshot_preview2.fd_write (did you mean wasi_",
        "other.zzz",
        "env.memory, which is a memory: only functions can be imported",
        "exports no memory named memory",
    ] {
        assert!(error.contains(said), "{said} is not in: {error}");
    }
    assert!(!error.contains("other.zzz (did"), "{error}");
}

/// Names are the module's: they may be long, many, and meant for the terminal of who reads the error.
#[test]
fn an_error_shows_a_few_imports_and_nothing_that_drives_a_terminal() {
    let many: String = (0..50_000).map(|i| format!(r#"(import "env" "none{i}" (func))"#)).collect();
    let error = refusal(&format!("(module {many})"));
    assert!(error.contains("env.none0") && error.contains("env.none19; (and 49980 imports after these"), "{error}");
    assert!(error.len() < 4000, "{} bytes", error.len());
    let long = "x".repeat(50_000);
    let error = refusal(&format!(r#"(module (import "env" "\1b[2J\07{long}" (func)))"#));
    assert!(error.contains(r"env.\u{1b}[2J\u{7}xxx") && error.contains("x…"), "{error}");
    assert!(error.len() < 4000, "{} bytes", error.len());
}

#[test]
fn a_callback_of_a_wrong_type_is_named() {
    let error = refusal(&module(
        &[],
        r#"(func (export "proxy_on_request_headers") (param i32) (result i32) (i32.const 0))
        (func (export "proxy_on_log") (param i32) (result i32) (i32.const 0))
        (global (export "proxy_on_tick") i32 (i32.const 0))"#,
    ));
    assert!(error.contains("exports proxy_on_request_headers as (i32) -> (i32); it takes 2 or 3 i32"), "{error}");
    assert!(error.contains("exports proxy_on_log as (i32) -> (i32); it takes 1 i32 and returns 0"), "{error}");
    assert!(error.contains("exports proxy_on_tick, but not as a function"), "{error}");
}

#[test]
fn the_same_import_twice_is_no_problem() {
    let text = module(&[], "").replacen(
        "(module",
        r#"(module (import "env" "proxy_log" (func (param i32 i32 i32) (result i32)))"#,
        1,
    );
    load_text(&text).unwrap();
}

#[test]
fn both_of_two_equal_imports_are_served() {
    let text = on_request(
        &[],
        "onetwo",
        "(drop (call $again (i32.const 2) (i32.const 1024) (i32.const 3))) (drop (call $log (i32.const 2) (i32.const 1027) (i32.const 3)))",
    );
    let again = r#"(module (import "env" "proxy_log" (func $again (param i32 i32 i32) (result i32)))"#;
    let mut tried = Tried::text(&text.replacen("(module", again, 1));
    tried.request().unwrap();
    assert_eq!(tried.host.log_text(), "Info one\nInfo two\n");
}

#[test]
fn a_module_that_allocates_by_malloc_alone_is_given_what_it_asks_for() {
    let get = "(call $num (call $get_property (i32.const 1024) (i32.const 11) (i32.const 128) (i32.const 132)))";
    let text =
        on_request(&[("proxy_get_property", "iiii")], "plugin_name", &format!("{get} (call $show (i32.const 128))"));
    assert!(text.contains("proxy_on_memory_allocate"));
    let mut tried = Tried::text(&text.replace("proxy_on_memory_allocate", "malloc"));
    tried.request().unwrap();
    assert_eq!(tried.host.log_text(), "Info 0\nInfo tried\n");
}

#[test]
fn a_module_listens_to_what_it_exports() {
    assert_eq!(load_text(&module(&[], "")).unwrap().callbacks(), Callbacks::empty());
    let text = module(
        &[],
        r#"(func (export "proxy_on_log") (param i32))
        (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) (i32.const 0))"#,
    );
    assert_eq!(load_text(&text).unwrap().callbacks(), Callbacks::LOG | Callbacks::RESPONSE_BODY);
}
