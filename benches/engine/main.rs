//! What does a plugin in Lua cost, beside the same in Rust and through mlua's closures?
//!
//! `cargo bench --workspace --bench engine`. Nanoseconds of one exchange, the best of many rounds that
//! take turns, so that a busy machine disturbs all alike; the ratios are what counts.
//!
//! - **engine**: the instance alone, on the production seat: open, both header events, close;
//! - **chain**: `chain::serve` on a route that answers itself: exchange, slot, seat, instance, events;
//! - **waiting**, **empty**, **watch**: the parts of the engine that have a bar of their own;
//! - [`proxy_wasm`]: the same in proxy-wasm.

// As the tests of the engine call it.
extern crate lua as forebay_lua;

#[path = "../../host/lua/tests/lua/fake.rs"]
#[allow(dead_code)]
mod fake;
mod filter;
mod proxy_wasm;
mod stage;

use std::time::{Duration, Instant};

use abi::{Action, Event};
use stage::Stage;

/// That of the product: every engine allocates by it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rounds of all cases, and exchanges of one round: about a millisecond, which is seldom interrupted.
const ROUNDS: usize = 400;
const EXCHANGES: u32 = 500;

struct Case<'a> {
    name: &'static str,
    best: Duration,
    run: Box<dyn FnMut(u32) + 'a>,
}

fn main() {
    if proxy_wasm::is_bare() {
        return;
    }
    // `cargo bench` hands flags on that are its own harness's.
    let thread = std::thread::Builder::new().stack_size(16 << 20).spawn(measure).expect("a thread can be started");
    if thread.join().is_err() {
        std::process::exit(1);
    }
}

fn measure() {
    let engines = [stage::rust(), stage::lua(), stage::mlua()];
    let stages: Vec<_> = engines.iter().map(|engine| Stage::new(engine.as_ref())).collect();
    let bare = Stage::without();
    for stage in &stages {
        stage.check();
    }
    let waiting = Waiting::new();
    let idle = lua::idle_runs();
    let mut cases = vec![
        case("engine: Rust", |n| stages[0].engine(n)),
        case("engine: Lua", |n| stages[1].engine(n)),
        case("engine: mlua closures", |n| stages[2].engine(n)),
        case("chain: no plugin", |n| bare.chain(n)),
        case("chain: Rust", |n| stages[0].chain(n)),
        case("chain: Lua", |n| stages[1].chain(n)),
        case("chain: mlua closures", |n| stages[2].chain(n)),
        case("empty callback", |n| waiting.empty(n)),
        case("callback that waits once", |n| waiting.once(n)),
        case("watch: begin and end of a run", idle),
    ];
    // One case alone, for a profile: `--bench engine -- 'chain: Lua'`.
    if let Some(name) = std::env::args().skip(1).find(|word| !word.starts_with('-')) {
        let case = cases.iter_mut().find(|case| case.name == name).expect("a case of this name");
        (0..20 * ROUNDS).for_each(|_| (case.run)(EXCHANGES));
        return;
    }
    for _ in 0..ROUNDS {
        for case in &mut cases {
            let begin = Instant::now();
            (case.run)(EXCHANGES);
            case.best = case.best.min(begin.elapsed());
        }
    }
    let nanos = |name: &str| {
        let case = cases.iter().find(|case| case.name == name).expect("a case of this name");
        case.best.as_nanos() as f64 / f64::from(EXCHANGES)
    };
    println!("| case | ns an exchange |\n| --- | --- |");
    for case in &cases {
        println!("| {} | {:.1} |", case.name, nanos(case.name));
    }
    println!("\n| ratio | found | bar |\n| --- | --- | --- |");
    let ratio = |what: &str, a: &str, b: &str, bar: &str| println!("| {what} | {:.2} | {bar} |", nanos(a) / nanos(b));
    ratio("filter through the chain, Lua / Rust", "chain: Lua", "chain: Rust", "at most 2");
    ratio("engine alone, Lua / Rust", "engine: Lua", "engine: Rust", "");
    ratio("engine alone, mlua closures / Lua", "engine: mlua closures", "engine: Lua", "at least 2.5");
    ratio("through the chain, mlua closures / Lua", "chain: mlua closures", "chain: Lua", "");
    let what_it_adds = |name| nanos(name) - nanos("chain: no plugin");
    println!(
        "| what the plugin adds to the chain, Lua / Rust | {:.2} | |",
        what_it_adds("chain: Lua") / what_it_adds("chain: Rust")
    );
    println!("\n| part | ns | bar |\n| --- | --- | --- |");
    println!("| watch: begin and end of a run | {:.1} | under 10 |", nanos("watch: begin and end of a run"));
    println!(
        "| a wait for a ready callout | {:.0} | under 1000 |",
        nanos("callback that waits once") - nanos("empty callback")
    );
    proxy_wasm::measure();
}

fn case<'a>(name: &'static str, run: impl FnMut(u32) + 'a) -> Case<'a> {
    Case { name, best: Duration::MAX, run: Box::new(run) }
}

/// A plugin on the recording host of the engine's own tests: its callouts are ready at once.
struct Waiting {
    run: std::cell::RefCell<fake::Run>,
}

impl Waiting {
    fn new() -> Waiting {
        let run = fake::Run::new(
            "local call = forebay.http.call
            return {
                on_request_headers = function() call('authz', {}) end,
                on_request_trailers = function() end,
            }",
        );
        Waiting { run: run.into() }
    }

    fn empty(&self, times: u32) {
        let mut run = self.run.borrow_mut();
        for _ in 0..times {
            let _ = std::hint::black_box(run.instance.call(fake::EXCHANGE, Event::RequestTrailers));
        }
    }

    fn once(&self, times: u32) {
        let mut run = self.run.borrow_mut();
        run.host.phase.set(abi::Phase::Request);
        let answer = Ok(abi::CalloutResponse { status: 200, ..abi::CalloutResponse::default() });
        for _ in 0..times {
            let action = run.instance.call(fake::EXCHANGE, Event::RequestHeaders { end_of_stream: true });
            assert_eq!(action.ok(), Some(Action::Pause));
            let token = run.host.callouts.borrow_mut().pop().expect("it called out").2;
            let action = run.instance.call(fake::EXCHANGE, Event::Callout { token, result: &answer });
            assert_eq!(action.ok(), Some(Action::Continue));
        }
    }
}
