//! Random Lua programs over the whole library and `forebay.*`, against a fake host, to see whether
//! one of them crashes the process, runs past its deadline, or harms the exchange after it.
//!
//! Programs run in child processes, so that a crash is seen, and each is on disk before it runs:
//! what a child was at when it died is named and kept. It is a test of `host/lua` (the one crate
//! that knows LuaJIT), and `tests/run` runs a bounded number of programs from a fixed seed.
//!
//! ```text
//! FOREBAY_FUZZ=1200 FOREBAY_FUZZ_SEED=7 cargo test --workspace --test fuzz -- --nocapture
//! ```
//! runs it for 1200 seconds from another seed; both are printed.

#[path = "../../host/lua/tests/lua/fake.rs"]
#[allow(dead_code)]
mod fake;
mod program;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use abi::*;
use fake::{Fake, Folder, on_worker};
use program::Writer;

const TEST: &str = "no_program_crashes_overruns_or_harms_the_next_exchange";
/// Programs of one child process, and how many children there are if nothing says for how long.
const PROGRAMS: u64 = 60;
const CHILDREN: u64 = 3;
/// CPU time of one run, whose limit is 2 ms: far more than the bombs' bound, since nothing is
/// chosen here, and what is found is looked at.
const LATE: Duration = Duration::from_millis(60);

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is ours to be written.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn no_program_crashes_overruns_or_harms_the_next_exchange() {
    if let Some(seed) = number("FOREBAY_FUZZ_CHILD") {
        let file = PathBuf::from(std::env::var_os("FOREBAY_FUZZ_FILE").unwrap());
        return on_worker(move || child(seed, &file));
    }
    let seed = number("FOREBAY_FUZZ_SEED").unwrap_or(1);
    let end = number("FOREBAY_FUZZ").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    println!("seed {seed}");
    let file = std::env::temp_dir().join(format!("forebay-fuzz-{}.lua", std::process::id()));
    let mut sums = [0; 4];
    for number in 0.. {
        if end.map_or(number == CHILDREN, |end| Instant::now() >= end) {
            break;
        }
        let seed = seed.wrapping_mul(1_000_003) + number;
        let out = Command::new(std::env::current_exe().unwrap())
            .args([TEST, "--exact", "--nocapture"])
            .env("FOREBAY_FUZZ_CHILD", seed.to_string())
            .env("FOREBAY_FUZZ_FILE", &file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stdout);
        if !out.status.success() {
            let kept = file.with_extension(format!("{seed}.lua"));
            std::fs::copy(&file, &kept).unwrap();
            let why = String::from_utf8_lossy(&out.stderr);
            panic!("child {seed}: {}\nthe program: {}\n{why}\n{}", out.status, kept.display(), last(&said));
        }
        let counts = said.lines().find_map(|line| line.strip_prefix("counts ")).expect("a child says what it did");
        for (sum, count) in sums.iter_mut().zip(counts.split(' ')) {
            *sum += count.parse::<u64>().unwrap();
        }
    }
    let _ = std::fs::remove_file(&file);
    let [programs, runs, faults, waits] = sums;
    println!("{programs} programs, {runs} runs, {faults} faults, {waits} waits");
    assert!(programs > 0 && faults > 0 && faults < runs, "{sums:?}");
}

fn last(said: &str) -> String {
    said.lines().rev().take(40).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// Every function that a script finds, as it would write it.
fn functions() -> Vec<String> {
    let code = r#"
        local seen = {}
        local function walk(path, table)
            if seen[table] then return end
            seen[table] = true
            for name, value in pairs(table) do
                local path = path .. "." .. tostring(name)
                if type(value) == "function" then forebay.log.info(path) elseif type(value) == "table" then walk(path, value) end
            end
        end
        for _, name in ipairs { "string", "table", "math", "bit", "os", "coroutine", "forebay" } do walk(name, _G[name]) end
        for _, name in ipairs { "json", "jwt", "hash", "base64", "hex", "time", "url", "cookie" } do
            walk(name, require("forebay." .. name))
        end
        for name, value in pairs(_G) do if type(value) == "function" then forebay.log.info(name) end end
        return {}"#;
    let folder = Folder::new().with("main.lua", code);
    let host = Rc::new(Fake::with(Limits::default(), Capabilities::default(), ""));
    drop(folder.load().unwrap().instantiate(host.clone()).unwrap());
    let mut functions = host.texts();
    functions.sort();
    assert!(functions.len() > 150 && functions.iter().any(|f| f == "forebay.http.call"), "{functions:?}");
    functions
}

/// Runs the programs of one seed.
fn child(seed: u64, file: &Path) {
    let mut writer = Writer { random: fastrand::Rng::with_seed(seed), functions: functions() };
    let folder = Folder::new();
    let mut counts = [0; 4];
    for _ in 0..PROGRAMS {
        let code = writer.program();
        std::fs::write(file, &code).unwrap();
        std::fs::write(folder.0.join("main.lua"), &code).unwrap();
        let Ok(plugin) = folder.load() else { continue };
        counts[0] += 1;
        run(&*plugin, &code, &mut counts);
    }
    println!("counts {} {} {} {}", counts[0], counts[1], counts[2], counts[3]);
}

fn run(plugin: &dyn Plugin, code: &str, counts: &mut [u64; 4]) {
    let limits = Limits { cpu: Duration::from_millis(2), memory: 4 << 20, ..Limits::default() };
    let capabilities = Capabilities::parse(["callout:abc", "dict:abc"]).unwrap();
    let host = Rc::new(Fake::with(limits, capabilities, ""));
    let mut instance = match plugin.instantiate(host.clone()) {
        Ok(instance) => instance,
        Err(fault) => return assert!(fault.verdict != Verdict::Panic, "{fault}\n{code}"),
    };
    let bystander = ContextId(9);
    instance.open(bystander, host.clone()).unwrap();
    for context in [ContextId(2), ContextId(3)] {
        instance.open(context, host.clone()).unwrap();
        for (phase, event) in [
            (Phase::Request, Event::RequestHeaders { end_of_stream: true }),
            (Phase::Response, Event::ResponseHeaders { end_of_stream: true }),
        ] {
            host.phase.set(phase);
            let outcome = timed(code, || instance.call(context, event));
            counts[1] += 1;
            if outcome.is_err() {
                counts[2] += 1;
                break;
            }
            answer_waits(&mut *instance, context, &host, code, counts);
        }
        instance.close(context);
    }
    // The neighbour that was open all the time; a VM that ran out of memory still ends what it has.
    host.phase.set(Phase::Log);
    host.logs.borrow_mut().clear();
    let healthy = instance.healthy();
    let outcome = instance.call(bystander, Event::Log);
    match outcome {
        Ok(_) => assert_eq!(host.texts(), ["fine ABC22"], "{code}"),
        // What the script keeps may leave no room: then it says so.
        Err(fault) => assert!(!healthy || fault.verdict == Verdict::Memory, "{fault}\n{code}"),
    }
}

/// Tells a context that waits what it waits for, a few times.
fn answer_waits(instance: &mut dyn Instance, context: ContextId, host: &Fake, code: &str, counts: &mut [u64; 4]) {
    for turn in 0..4 {
        let timer = host.timers.borrow_mut().pop();
        let callout = host.callouts.borrow_mut().pop();
        let outcome = if let Some((_, token)) = timer {
            timed(code, || instance.call(context, Event::Timer { token }))
        } else if let Some((_, _, token)) = callout {
            let result =
                if turn % 2 == 0 { Err(CalloutError::Timeout) } else { Err(CalloutError::Unavailable("x".into())) };
            timed(code, || instance.call(context, Event::Callout { token, result: &result }))
        } else {
            return;
        };
        counts[3] += 1;
        if outcome.is_err() {
            return;
        }
    }
}

fn timed(code: &str, call: impl FnOnce() -> Result<Action, Fault>) -> Result<Action, Fault> {
    let start = cpu_time();
    let outcome = call();
    let used = cpu_time() - start;
    assert!(used < LATE, "{used:?} of CPU\n{code}");
    if let Err(fault) = &outcome {
        assert!(fault.verdict != Verdict::Panic, "{fault}\n{code}");
    }
    outcome
}
