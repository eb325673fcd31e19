//! How long until a Wasm module is ready to run, the first time and when its compiled code is on disk?
//!
//! `cargo bench --workspace --bench modules`. A module of 1.3 MB (what a plugin with serde and regex has),
//! loaded as the edge loads it: checked, compiled or read, linked. The bar is 5 ms from the cache.
//!
//! Beside it what of that are the digests by which a damaged file is known.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

const SIZE: usize = 1_300_000;
/// What one of its functions comes to.
const BYTES: usize = 980;
const BAR: Duration = Duration::from_millis(5);
const ROUNDS: usize = 40;

fn main() {
    let folder = std::env::temp_dir().join(format!("forebay-bench-modules-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let bytes = module(SIZE);
    println!("module: {} bytes", bytes.len());
    let load = |folder: &Path| drop(wasm::load_with(&bytes, Some(folder)).expect("the module is right"));
    let compiled = timed(1, || load(&folder));
    println!("compiled and kept: {:.0} ms", millis(compiled));
    let cached = timed(ROUNDS, || load(&folder));
    let verdict = if cached < BAR { "" } else { ": missed" };
    println!("from the cache: {:.2} ms (bar: under {:.0}){verdict}", millis(cached), millis(BAR));
    parts(&bytes, &folder);
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
}

/// What no other way of reading the code would save: both digests, by which a damaged file is known.
fn parts(bytes: &[u8], folder: &Path) {
    let file = std::fs::read_dir(folder).expect("it was just written").flatten().next().expect("a file").path();
    let code = std::fs::read(&file).expect("it was just written");
    println!("compiled code: {} bytes; of the time from the cache:", code.len());
    let part = |what: &str, time: Duration| println!("  {what}: {:.2} ms", millis(time));
    part("SHA-256 of the module", timed(ROUNDS, || keep(Sha256::digest(bytes))));
    part("reading the code", timed(ROUNDS, || keep(std::fs::read(&file))));
    part("SHA-256 of the code", timed(ROUNDS, || keep(Sha256::digest(&code))));
}

fn keep<T>(value: T) {
    std::hint::black_box(value);
}

/// The best of so many.
fn timed(rounds: usize, mut run: impl FnMut()) -> Duration {
    let once = |_| {
        let begin = Instant::now();
        run();
        begin.elapsed()
    };
    (0..rounds).map(once).min().unwrap_or_default()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A proxy-wasm module of at least this size, whose functions differ.
fn module(size: usize) -> Vec<u8> {
    let mut text = String::from(
        r#"(module (memory (export "memory") 2)
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 8192))"#,
    );
    // About a thousand bytes each. A few stand in a table, as those of real modules do.
    let functions = size / BYTES;
    let _ = write!(
        text,
        "(table 64 funcref) (elem (i32.const 0) func {})",
        (0..64).map(|n| format!("$f{n} ")).collect::<String>()
    );
    for n in 0..functions {
        let _ = write!(text, "(func $f{n} (param i32) (result i32) (local i32)");
        for step in 0..27 {
            let k = n * 27 + step;
            let _ = write!(
                text,
                "(local.set 1 (i32.xor (i32.mul (local.get 1) (i32.const {k})) (i32.load (i32.and (local.get 0) (i32.const 65535)))))\
                 (if (i32.gt_s (local.get 1) (i32.const {k})) (then (local.set 0 (i32.add (local.get 0) (local.get 1)))))"
            );
        }
        text.push_str("(local.get 1))");
    }
    text.push(')');
    wat::parse_str(text).expect("the text is right")
}
