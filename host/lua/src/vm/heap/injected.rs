//! Each allocation of a script fails in turn, with the JIT on: the state must stay whole.
//!
//! A child process runs each script, so that a crash is seen as a failure of the test and not as
//! its end.

use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::scratch::Scratch;
use crate::source::Source;
use crate::state::Resumed;
use crate::vm::{Asking, Stage, Vm};

/// What allocates in script code: in the interpreter, in compiled code, in C functions of LuaJIT's
/// and of ours, under `pcall`, in coroutines, while code is compiled.
const SCRIPTS: [(&str, &str); 16] = [
    ("numbers", "local t = {} for i = 1, 400 do t[i] = tostring(i + 0.5) end"),
    ("concatenation", "local s = '' for i = 1, 300 do s = s .. i end"),
    ("tables", "local t = {} for i = 1, 300 do t[i] = { i, { i } } end"),
    ("hashes", "local t = {} for i = 1, 300 do t['k' .. i] = i end for k in pairs(t) do t[k] = nil end"),
    ("formats", "local t = {} for i = 1, 200 do t[i] = string.format('%d %s %q', i, 'x', 'y' .. i) end"),
    (
        "coroutines",
        "for i = 1, 60 do local co = coroutine.wrap(function(a) coroutine.yield({ a }) return 'x' .. a end) co(i) co() end",
    ),
    ("caught", "local t = {} for i = 1, 200 do pcall(function() t[#t + 1] = tostring(i / 3) error({ i }) end) end"),
    (
        "varargs",
        "local function f(n, ...) if n == 0 then return { ... } end return f(n - 1, n, ...) end for i = 1, 60 do f(i) end",
    ),
    ("methods", "local t = {} for i = 1, 200 do t[i] = ('x'):rep(i % 50, tostring(i)):upper():reverse():sub(2) end"),
    (
        "patterns",
        "for i = 1, 60 do ('a' .. i .. 'b'):gsub('%d', function(d) return ({ d })[1] .. 'x' end); ('x y z' .. i):find('(%a) (%a)') for w in ('a b' .. i):gmatch('%w+') do local _ = { w } end end",
    ),
    (
        "sorting",
        "for i = 1, 20 do local t = {} for j = 1, 40 do t[j] = tostring((j * i) % 17) end table.sort(t) table.concat(t, ',') end",
    ),
    (
        "compiling",
        "for i = 1, 40 do local f = load('local a = {' .. i .. ', \"x' .. i .. '\"} return function() return a, function() return a end end') f()() end",
    ),
    ("closures", "local t = {} for i = 1, 300 do local a = {} t[i] = function() a[1] = i return a end t[i]() end"),
    (
        "metatables",
        "local m = { __index = function(t, k) return k .. 'x' end, __concat = function(a, b) return { a, b } end } for i = 1, 200 do local t = setmetatable({}, m) local _ = t['a' .. i] local _ = t .. i end",
    ),
    (
        "traces",
        "for n = 1, 12 do local f = load('local x = ... local t = {} for i = 1, 80 do t[i] = x .. i .. ' .. n .. ' end return #t') f('s') end",
    ),
    (
        "errors",
        "for i = 1, 150 do local ok, e = pcall(error, 'e' .. i) local ok, e = xpcall(function() local x = nil + i end, function(m) return m .. i end) end",
    ),
];
/// At most so many failures a script: the first ones, then evenly.
const MOST: u64 = 170;
const EACH: u64 = 60;
const SCRIPT: &str = "FOREBAY_INJECTED";
const TEST: &str = "vm::heap::injected::an_allocation_that_fails_in_its_turn_leaves_the_state_whole";

/// Runs `script`, of which allocation number `at` fails. The number of its allocations.
fn run(script: &str, at: u64) -> u64 {
    let vm = Vm::new(Arc::new(Source::of("")), 256 << 20).unwrap();
    let host = Rc::new(Scratch::new("test", abi::Limits::default()));
    let asking = Asking::new(host, Stage::Start, true);
    let coroutine = vm.take_coroutine();
    assert!(coroutine.state.compile(script.as_bytes(), c"=script"));
    vm.heap.injected.set((0, at));
    let resumed = vm.watched(Duration::from_secs(60), || vm.resume(&asking, coroutine, 0));
    let (count, _) = vm.heap.injected.replace((0, u64::MAX));
    if count > at {
        assert_ne!(resumed, Resumed::Done, "allocation {at} of {count} failed");
        assert!(vm.stop.get().is_some() || resumed == Resumed::OutOfMemory, "{at}: {resumed:?}");
    } else {
        assert_eq!(resumed, Resumed::Done, "{at} of {count}");
    }
    // Collected whole, and the same script runs to its end: in this VM, with what was compiled.
    vm.drop_coroutine(coroutine);
    vm.main().collect();
    let next = vm.take_coroutine();
    assert!(next.state.compile(script.as_bytes(), c"=next"));
    assert_eq!(vm.watched(Duration::from_secs(60), || vm.resume(&asking, next, 0)), Resumed::Done, "after {at}");
    vm.main().collect();
    count
}

fn run_all(script: &str) {
    let count = run(script, u64::MAX);
    assert!(count > 40, "{count} allocations");
    let step = (count.saturating_sub(EACH) / (MOST - EACH)).max(1);
    let turns = (0..count.min(EACH)).chain((EACH..count).step_by(step as usize));
    let mut runs = 0;
    for at in turns {
        run(script, at);
        runs += 1;
    }
    println!("{runs} failures injected into {count} allocations");
}

/// Without the patch of `luajit-sys` the children of `numbers` and `caught` end by a signal.
#[test]
fn an_allocation_that_fails_in_its_turn_leaves_the_state_whole() {
    if let Ok(name) = std::env::var(SCRIPT) {
        let script = SCRIPTS.iter().find(|(known, _)| *known == name).unwrap().1;
        let worker = std::thread::Builder::new().stack_size(16 << 20).spawn(move || run_all(script));
        return worker.unwrap().join().unwrap();
    }
    let mut failures = 0;
    for (name, _) in SCRIPTS {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([TEST, "--exact", "--nocapture"])
            .env(SCRIPT, name)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{name}: {}\n{said}\n{}", child.status, String::from_utf8_lossy(&child.stderr));
        let injected = said.lines().find_map(|line| line.split_once(" failures injected")?.0.parse::<u64>().ok());
        println!("{name}: {injected:?}");
        failures += injected.unwrap_or_else(|| panic!("{name} did not run: {said}"));
    }
    println!("{failures} failures injected");
    assert!(failures > 2000, "{failures}");
}
