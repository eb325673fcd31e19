//! What does a plugin in proxy-wasm cost, with one instance for all exchanges and with one for each?
//!
//! - **engine**: the header filter alone, on the production seat; *an instance each* is started, used
//!   and ended in the same time;
//! - **chain**: through `chain::serve`, with a turn of the worker after each exchange, as its connection
//!   gives one: there what an exchange has used is ended and a spare started;
//! - **host call**: reading a short header, of a guest that reads one a thousand times;
//! - **next after a fault**: what an exchange takes longer right after a trap, where a spare is ready;
//! - **deadline**: the filter compiled with and without the look at the epoch, in a process of its own.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use config::Isolation;

use crate::stage::{Engine, Stage};

const ROUNDS: usize = 300;
const EXCHANGES: u32 = 300;
/// Given to this program by itself.
const BARE: &str = "--without-deadlines";
/// Host calls of one callback of [`CALLS`].
const CALLS_EACH: u32 = 1000;

/// Reads the header x-id a thousand times.
const CALLS: &str = r#"(module
  (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "x-id")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $n i32)
    (local.set $n (i32.const 1000))
    (loop $again
      (if (call $get (i32.const 0) (i32.const 16) (i32.const 4) (i32.const 32) (i32.const 36)) (then unreachable))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i32.const 0)))"#;

/// Traps if the request has the header x-trap.
const TRAPS: &str = r#"(module
  (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "x-trap")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (i32.eqz (call $get (i32.const 0) (i32.const 16) (i32.const 6) (i32.const 32) (i32.const 36)))
      (then unreachable))
    (i32.const 0)))"#;

fn filter() -> Engine {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let module = root.join("plugins/wasm/header-filter/target/forebay/header-filter.wasm");
    wasm::load(&module).unwrap_or_else(|error| {
        panic!("{}: {error}; `forebay plugin build plugins/wasm/header-filter` makes it", module.display())
    })
}

fn text(name: &str, text: &str) -> Engine {
    let file = std::env::temp_dir().join(format!("forebay-bench-{}-{name}.wasm", std::process::id()));
    std::fs::write(&file, wat::parse_str(text).expect("the text is Wasm")).expect("a file can be written");
    let engine = wasm::load(&file).expect("it loads");
    let _ = std::fs::remove_file(file);
    engine
}

/// Nanoseconds of one of `times`, the best of all rounds of what takes turns.
fn best<const N: usize>(times: u32, mut cases: [Box<dyn FnMut(u32) + '_>; N]) -> [f64; N] {
    let mut best = [Duration::MAX; N];
    for _ in 0..ROUNDS {
        for (case, best) in cases.iter_mut().zip(&mut best) {
            let begin = Instant::now();
            case(times);
            *best = (*best).min(begin.elapsed());
        }
    }
    best.map(|best| best.as_nanos() as f64 / f64::from(times))
}

/// This process is the one that measures without deadlines; it says so in nanoseconds.
pub fn is_bare() -> bool {
    if std::env::args().all(|argument| argument != BARE) {
        return false;
    }
    wasm::without_deadlines();
    let stage = Stage::new(Some(&filter()));
    println!("{}", best(EXCHANGES, [Box::new(|n| stage.engine(n))])[0]);
    true
}

/// The filter without a look at the epoch, and with it, each in a process of its own, in turns.
fn deadline(stage: &Stage) -> (f64, f64) {
    let program = std::env::current_exe().expect("a program has a file");
    let (mut without, mut with) = (f64::MAX, f64::MAX);
    for _ in 0..3 {
        let output = Command::new(&program).arg(BARE).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stdout);
        let nanos: f64 = said.trim().parse().unwrap_or_else(|_| panic!("{said}\n{output:?}"));
        without = without.min(nanos);
        with = with.min(best(EXCHANGES, [Box::new(|n| stage.engine(n))])[0]);
    }
    (without, with)
}

/// What a good exchange takes longer after a bad one than after a good one: the medians' difference.
fn after_a_fault() -> f64 {
    let stage = Stage::new(Some(&text("traps", TRAPS)));
    let mut took = [vec![], vec![]];
    for n in 0..4000 {
        let after_bad = n % 2 == 1;
        stage.turns(8);
        took[usize::from(after_bad)].push(stage.next_after(after_bad));
    }
    let [good, bad] = took.map(|mut all| {
        all.sort();
        all[all.len() / 2].as_nanos() as f64
    });
    bad - good
}

pub fn measure() {
    let engine = filter();
    let (worker, exchange) = (Stage::new(Some(&engine)), Stage::isolated(Some(&engine), Isolation::Exchange));
    let bare = Stage::without();
    let calls = Stage::new(Some(&text("calls", CALLS)));
    worker.check();
    exchange.check();
    let [alone, each, none, shared, own] = best(
        EXCHANGES,
        [
            Box::new(|n| worker.engine(n)),
            Box::new(|n| worker.engine_each(n)),
            Box::new(|n| bare.chain_in_turns(n)),
            Box::new(|n| worker.chain_in_turns(n)),
            Box::new(|n| exchange.chain_in_turns(n)),
        ],
    );
    let [call] = best(4, [Box::new(|n| calls.request_headers(n))]);
    let (without, with) = deadline(&worker);
    println!("\n| proxy-wasm | ns | bar |\n| --- | --- | --- |");
    let row = |what: &str, nanos: f64, bar: &str| println!("| {what} | {nanos:.0} | {bar} |");
    row("engine: one instance", alone, "under 2500");
    row("engine: an instance each", each, "under 10000");
    row("chain: no plugin", none, "");
    row("chain: isolation worker", shared, "");
    row("chain: isolation exchange", own, "");
    row("what the plugin adds, isolation worker", shared - none, "");
    row("what the plugin adds, isolation exchange", own - none, "");
    row("host call: a short header", call / f64::from(CALLS_EACH), "under 100");
    row("next exchange after a fault, spare ready", after_a_fault(), "under 10000");
    println!("| the look at the epoch, of the filter | {:.1} % | under 15 % |", (with / without - 1.0) * 100.0);
}
