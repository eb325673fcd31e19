//! Modules that would take too much to compile, each small, and those that would not.

use std::time::{Duration, Instant};

use super::{Way, check};
use crate::cache;
use crate::engine::engine;

fn module(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// `$bomb` behind an import and another function, which count.
fn bomb(locals: usize, code: &str) -> Vec<u8> {
    let locals = "i32 ".repeat(locals);
    module(&format!(
        "(module (import \"env\" \"i\" (func $i)) (memory 1) (func $other) (func $bomb (local {locals}) {code}))"
    ))
}

/// That it is refused with all of `said`, at once, and by who compiles too.
#[track_caller]
fn refused(bytes: &[u8], said: &[&str]) {
    let began = Instant::now();
    let error = cache::compile(engine(), bytes, None).map(|_| ()).unwrap_err().to_string();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(error.starts_with("the module is too much to compile: "), "{error}");
    for said in said {
        assert!(error.contains(said), "{said:?} is not in {error:?}");
    }
}

#[test]
fn locals_that_are_kept_through_many_loops_are_too_much() {
    let code: String =
        (0..8000).map(|n| format!("(loop local.get {n} local.set {} i32.const 0 br_if 0)", n + 1)).collect();
    let bytes = bomb(8010, &code);
    assert!(bytes.len() < 120_000, "{}", bytes.len());
    refused(
        &bytes,
        &[
            "function 2 (\"bomb\") would take some 60",
            "(allowed: at most 500 MiB)",
            "8000 loops",
            "one of its 8010 locals",
        ],
    );
}

#[test]
fn locals_that_are_set_in_nested_loops_are_too_much() {
    let sets: String = (0..1000).map(|n| format!("(local.set {n} (i32.add (local.get {n}) (i32.const 1)))")).collect();
    let code = format!("{}{sets}{}", "loop ".repeat(1000), "i32.const 0 br_if 0 end ".repeat(1000));
    refused(&bomb(1000, &code), &["(\"bomb\")", "1000000 that one of its 1000 locals is set in a block"]);
}

#[test]
fn a_stack_that_is_kept_over_many_branches_is_too_much() {
    let code = format!(
        "{}{}{}",
        "(i32.load (i32.const 0))".repeat(3000),
        "(loop (br_if 0 (local.get 0)))".repeat(3000),
        "local.set 0 ".repeat(3000)
    );
    refused(&bomb(1, &code), &["(\"bomb\")", "27009000 times that a value is kept"]);
}

#[test]
fn calls_are_counted_and_what_they_pass() {
    refused(&bomb(0, &"call $other ".repeat(200_000)), &["(\"bomb\")", "200000 calls"]);
    let many = "i32 ".repeat(900);
    let bytes = module(&format!(
        "(module (type $t (func (param {many}) (result {many}))) (import \"env\" \"f\" (func $f (type $t)))
        (func {} {} {}))",
        "i32.const 0 ".repeat(900),
        "call $f ".repeat(1000),
        "drop ".repeat(900)
    ));
    refused(&bytes, &["function 1 would take", "1792000 values passed in large numbers"]);
}

#[test]
fn functions_are_counted_and_the_locals_of_one() {
    refused(&module(&format!("(module {})", "(func)".repeat(120_000))), &["functions would leave some 700 MiB"]);
    refused(&bomb(20_001, ""), &["function 2 (\"bomb\") has 20001 locals (allowed: at most 20000)"]);
    check(&bomb(20_000, "")).unwrap();
}

#[test]
fn what_compilers_write_of_a_large_function_is_no_bomb() {
    // An interpreter: a switch of 500 cases in a loop, each with 20 instructions, in 200 locals.
    let cases: String = (0..500)
        .map(|n| {
            let set =
                format!("(local.set {} (i32.add (local.get {}) (i32.load (local.get 0))))", n % 200, (n + 7) % 200);
            format!("end {} (br_if 0 (local.get {})) ", set.repeat(5), n % 200)
        })
        .collect();
    let targets: String = (0..500).map(|n| format!("{n} ")).collect();
    let code = format!("loop {} (br_table {targets} (local.get 1)) {cases} end", "block ".repeat(500));
    assert_eq!(check(&bomb(200, &code)).unwrap(), Way::AtOnce);
    // One of 100 KB without a branch, with a local for each value, as without optimization.
    let code: String =
        (1..5000).map(|n| format!("(local.set {n} (i32.add (local.get {}) (i32.const 123456)))", n - 1)).collect();
    assert_eq!(check(&bomb(5000, &code)).unwrap(), Way::AtOnce);
}

#[test]
fn large_functions_are_compiled_one_after_another_and_run_as_any() {
    let calls = "call $f ".repeat(150_000);
    let again = format!("(func {calls})").repeat(std::thread::available_parallelism().unwrap().get().max(2));
    let bytes = module(&format!(
        "(module (memory 1) (table 1 funcref) (table 2 funcref) (func $f (export \"f\") (result i32) i32.const 7) {})",
        again.replace("call $f", "call $f drop")
    ));
    let way = check(&bytes).unwrap();
    let one = std::thread::available_parallelism().unwrap().get() == 1;
    assert_eq!(way, if one { Way::AtOnce } else { Way::OneByOne });
    let (module, _) = cache::compile(engine(), &bytes, None).unwrap();
    let mut store = wasmtime::Store::new(engine(), ());
    store.set_epoch_deadline(1_000_000);
    let instance = wasmtime::Instance::new(&mut store, &module, &[]).unwrap();
    let f = instance.get_typed_func::<(), i32>(&mut store, "f").unwrap();
    assert_eq!(f.call(&mut store, ()).unwrap(), 7);
}
