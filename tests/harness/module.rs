//! Wasm plugins of a few lines, so that a test needs no toolchain.

use std::fmt::Write;

/// Adds `x-version: VERSION` to each response.
pub fn version(version: &str) -> Vec<u8> {
    build(version, 0)
}

/// The same with so many functions beside, which take a while to compile.
pub fn large(version: &str, functions: usize) -> Vec<u8> {
    build(version, functions)
}

fn build(version: &str, functions: usize) -> Vec<u8> {
    let mut more = String::new();
    for n in 0..functions {
        // Each different from the others, and none of it constant.
        let mut body = format!("(local.set 1 (i32.add (local.get 0) (i32.const {n})))");
        for step in 1..40 {
            let step = n * 40 + step;
            let _ = write!(
                body,
                "(local.set 1 (i32.xor (i32.mul (local.get 1) (i32.const {step})) (i32.load (i32.and (local.get 1) (i32.const 1023)))))\
                 (if (i32.gt_s (local.get 1) (i32.const {step})) (then (i32.store (i32.const {}) (local.get 1))))",
                step % 512 * 4
            );
        }
        let _ = write!(more, "(func (export \"more{n}\") (param i32) (result i32) (local i32) {body} (local.get 1))");
    }
    let text = format!(
        r#"(module
          (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (data (i32.const 4096) "x-version{version}")
          (func (export "proxy_abi_version_0_2_1"))
          (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 8192))
          (func (export "proxy_on_context_create") (param i32 i32))
          (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
            (drop (call $add (i32.const 2) (i32.const 4096) (i32.const 9) (i32.const 4105) (i32.const {})))
            (i32.const 0))
          {more})"#,
        version.len()
    );
    wat::parse_str(text).expect("the text of the module is right")
}
