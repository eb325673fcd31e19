//! Random programs of header and body operations, each run by a plugin in Lua and by one in Wasm behind
//! edges of their own: what every operation answered, what came to the origin and to the client, byte for
//! byte, and which faults there were must be the same. Where the two must differ stands in [`KNOWN`]. What only one of them can ask is asked of neither: `body()` in a
//! header callback, waits in a body callback, a body with trailers read whole, answers with several names.
//!
//! - [`program`]: what a program is, and who writes them
//! - [`ends`]: a client and an origin that keep what came
//!
//! ```text
//! FOREBAY_FUZZ=600 FOREBAY_FUZZ_SEED=7 cargo test --workspace --test conformance -- --nocapture every_program
//! ```
//! goes on for 600 seconds from another seed. A program of a seed is always the same one; what fails is
//! made smaller as long as it fails, and printed.

mod ends;
mod program;

use std::time::{Duration, Instant};

use harness::{Edge, PATIENCE, wait_until};

use crate::pair::{self, Engine, plugin};
use ends::{Far, ask};
use program::{Program, Writer};

/// Programs, if nothing says for how long.
const PROGRAMS: u64 = 300;
/// Programs that one pair of edges runs: the harness keeps all of their logs.
const OF_A_PAIR: u64 = 200;

/// What a refusal is in Lua, its code in Wasm, of which operations (all, if none is named), and why.
const KNOWN: &[(&str, u32, &[&str], &str)] = &[
    ("NOT_FOUND", 1, &[], "the same"),
    ("BAD_ARGUMENT", 2, &[], "the same"),
    (
        "PHASE_DENIED",
        1,
        &["body"],
        "a buffer outside its callback is NotFound in Envoy, and SDKs stop at anything else",
    ),
    ("PHASE_DENIED", 2, &[], "proxy-wasm has no code for it"),
    ("LIMIT_EXCEEDED", 10, &[], "proxy-wasm has no code for it: InternalFailure"),
];

/// What became of one program.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// A line for each callback: its letter, and what each operation answered.
    told: Vec<String>,
    /// Requests as they came to the origin.
    origin: Vec<Vec<u8>>,
    client: Vec<u8>,
    /// Verdicts.
    faults: Vec<String>,
}

struct Side {
    edge: Edge,
    far: Far,
    lines: usize,
}

impl Side {
    fn start(engine: Engine) -> Side {
        let far = Far::start();
        let keys = "    limits: {buffer: 8KiB, log_lines: 1000000, cpu: 1s, exchange_cpu: 10s, wall: 5s}\n    \
                    crash_budget: {faults: 0}";
        let plugin = plugin("program", include_str!("differential/program.lua")).keys(keys);
        let mut edge = pair::setup(&[(engine, plugin)], far.address, None).without_access_log().start();
        for words in ["fault", "told"] {
            edge.process.expect_error(words);
        }
        Side { edge, far, lines: 0 }
    }

    /// Runs a program; `id` tells its lines from others.
    fn run(&mut self, program: &Program, id: &str) -> Outcome {
        self.far.plan(program.answer());
        let client = ask(self.edge.address, &program.request(id));
        let mark = format!("told {id} ");
        let mut outcome = Outcome { told: vec![], origin: vec![], client, faults: vec![] };
        wait_until(&format!("the end of\n{program}"), PATIENCE, || {
            outcome.told.clear();
            outcome.faults.clear();
            for line in &self.edge.process.log()[self.lines..] {
                let said = line.split_once(&mark).map(|(_, said)| said.split('.').next().unwrap_or_default());
                outcome.told.extend(said.map(str::to_owned));
                assert!(!line.contains("panicked"), "{line}\nof\n{program}");
                if line.contains("forebay::fault") {
                    let verdict = line.split_once("\"verdict\":\"").map_or("", |(_, rest)| rest);
                    outcome.faults.push(verdict.split('"').next().unwrap_or_default().to_owned());
                }
            }
            // What cannot end it there goes on.
            let ends =
                |said: &String| said.starts_with('L') && !said.ends_with("responds") && !said.ends_with("closes");
            (outcome.told.last().is_some_and(ends) || !outcome.faults.is_empty()).then_some(())
        });
        self.lines = self.edge.process.log().len();
        outcome.origin = self.far.seen();
        outcome
    }
}

struct Pair {
    lua: Side,
    wasm: Side,
    runs: u64,
}

impl Pair {
    fn start() -> Pair {
        Pair { lua: Side::start(Engine::Lua), wasm: Side::start(Engine::Wasm), runs: 0 }
    }

    /// In what the two differ, if they do.
    fn differ(&mut self, program: &Program) -> Option<String> {
        self.runs += 1;
        let id = format!("run-{}", self.runs);
        let (mut lua, wasm) = (self.lua.run(program, &id), self.wasm.run(program, &id));
        for said in &mut lua.told {
            *said = in_wasm(program, said);
        }
        (lua != wasm).then(|| format!("{program}\n{}", difference(&lua, &wasm)))
    }
}

/// What a line of Lua says, as Wasm has to say it.
fn in_wasm(program: &Program, said: &str) -> String {
    let mut words = said.split(' ');
    let callback = words.next().unwrap_or_default();
    // Sizes and `end` stand before what the operations answered.
    let answers = said.split(' ').skip(1).filter(|word| word.starts_with(['=', '!']) || *word == "ok").count();
    let mut operations = program.operations(callback).into_iter().filter(|name| *name != "whole").take(answers);
    let mut all = vec![callback.to_owned()];
    for word in words {
        let answers = word.starts_with(['=', '!']) || word == "ok";
        let operation = if answers { operations.next().unwrap_or_default() } else { "" };
        let code = word.strip_prefix('!').and_then(|name| {
            let known = |(lua, _, of, _): &&(&str, u32, &[&str], &str)| {
                *lua == name && (of.is_empty() || of.contains(&operation))
            };
            KNOWN.iter().find(known).map(|(_, code, ..)| *code)
        });
        all.push(code.map_or_else(|| word.to_owned(), |code| format!("!{code}")));
    }
    all.join(" ")
}

fn difference(lua: &Outcome, wasm: &Outcome) -> String {
    let show = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let mut text = String::new();
    let mut say = |what: &str, lua: String, wasm: String| {
        if lua != wasm {
            text.push_str(&format!("{what}\n  in Lua   {lua}\n  in Wasm  {wasm}\n"));
        }
    };
    for n in 0..lua.told.len().max(wasm.told.len()) {
        let of = |outcome: &Outcome| outcome.told.get(n).cloned().unwrap_or_else(|| "nothing".into());
        say("the operations answered", of(lua), of(wasm));
    }
    for n in 0..lua.origin.len().max(wasm.origin.len()) {
        let of = |outcome: &Outcome| outcome.origin.get(n).map_or("nothing".into(), |bytes| show(bytes));
        say("the origin got", of(lua), of(wasm));
    }
    say("the client got", show(&lua.client), show(&wasm.client));
    say("faults", lua.faults.join(" "), wasm.faults.join(" "));
    text
}

/// The smallest program that can be found from here and still differs.
fn shrunk(pair: &mut Pair, mut program: Program, mut text: String) -> String {
    let end = Instant::now() + Duration::from_secs(60);
    'again: while Instant::now() < end {
        for smaller in program.smaller() {
            if let Some(less) = pair.differ(&smaller) {
                (program, text) = (smaller, less);
                continue 'again;
            }
        }
        break;
    }
    text
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_program_of_header_and_body_operations_does_the_same_in_both_engines() {
    let first = number("FOREBAY_FUZZ_SEED").unwrap_or(1).wrapping_mul(1_000_003);
    let end = number("FOREBAY_FUZZ").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let most = number("FOREBAY_FUZZ_FINDS").unwrap_or(1);
    let mut pair = Pair::start();
    let mut found = Vec::new();
    let mut counts = program::Counts::default();
    for n in 0.. {
        if end.map_or(n == PROGRAMS, |end| Instant::now() >= end) || found.len() as u64 == most {
            break;
        }
        if pair.runs >= OF_A_PAIR {
            pair = Pair::start();
        }
        let seed = first.wrapping_add(n);
        let program = Writer::new(seed).program();
        counts.count(&program);
        if let Some(text) = pair.differ(&program) {
            println!("seed {seed}:\n{text}");
            let text = shrunk(&mut pair, program, text);
            println!("seed {seed}, made smaller:\n{text}");
            found.push(format!("seed {seed}:\n{text}"));
        }
    }
    println!("{counts}");
    assert!(found.is_empty(), "{} programs differ:\n{}", found.len(), found.join("\n"));
    counts.assert_all_were_there();
}
