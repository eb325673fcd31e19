//! Random programs out of what the sandbox offers, with small limits: whatever they do, each run
//! ends, soon after its deadline, and the same VM serves the next exchange as if nothing had been.
//!
//! `FOREBAY_GENERATED=SECONDS` runs it for longer, `FOREBAY_SEED=N` from another seed.

use std::time::{Duration, Instant};

use abi::*;

use crate::fake::*;

const ATOMS: &[&str] = &[
    "nil",
    "true",
    "0",
    "-1",
    "1",
    "3",
    "0/0",
    "1e308",
    "2^31",
    "''",
    "'abc'",
    "'%w+'",
    "'(a*(.)%w(%s*))'",
    "s",
    "t",
    "f",
    "co",
    "x",
    "y",
    "string.rep('ab', 5000)",
    "{}",
    "{ 3, 1, 2 }",
    "{ a = 1, b = { 2 } }",
    "function(...) return ... end",
    "error",
    "print",
    "_G",
    "function(a) n = n + 1 if n % 7 == 0 then error(a) end return a end",
    "coroutine.wrap(function(...) return coroutine.yield(...) end)",
    "setmetatable({}, m)",
    "setmetatable({ 1 }, { __index = f, __call = f })",
    "coroutine.create(f)",
    "('()'):rep(32)",
    "'[^%s]-$'",
    "'%f[%w]'",
];

const CALLS: &[&str] = &[
    "string.find",
    "string.match",
    "string.gsub",
    "string.gmatch",
    "string.rep",
    "string.format",
    "string.sub",
    "string.byte",
    "string.upper",
    "string.reverse",
    "string.char",
    "table.concat",
    "table.insert",
    "table.remove",
    "table.sort",
    "table.new",
    "table.clear",
    "table.nkeys",
    "table.clone",
    "table.isarray",
    "table.move",
    "table.maxn",
    "table.foreach",
    "unpack",
    "select",
    "next",
    "ipairs",
    "pairs",
    "tostring",
    "tonumber",
    "load",
    "pcall",
    "xpcall",
    "pcall",
    "setmetatable",
    "getmetatable",
    "rawset",
    "rawget",
    "rawequal",
    "error",
    "assert",
    "coroutine.create",
    "coroutine.resume",
    "coroutine.wrap",
    "coroutine.yield",
    "coroutine.status",
    "coroutine.running",
    "os.time",
    "math.max",
    "math.random",
    "bit.band",
    "bit.lshift",
    "forebay.request.headers.get",
    "forebay.request.headers.set",
    "forebay.request.headers.pairs",
    "forebay.request.headers.get_all",
    "forebay.request.body",
    "forebay.ctx.set",
    "forebay.ctx.get",
    "forebay.dict",
    "forebay.log.info",
    "forebay.property.get",
    "forebay.sleep",
    "forebay.http.call",
    "forebay.metric.counter",
    "forebay.abi.has",
    "forebay.now",
    "require",
    "print",
    "forebay.respond",
    "forebay.request.set_body",
    "forebay.request.headers.add",
    "f",
    "g",
    "x",
    "y",
    "co",
    "t.a",
];

struct Writer {
    random: fastrand::Rng,
}

impl Writer {
    fn one(&mut self, of: &'static [&'static str]) -> &'static str {
        of[self.random.usize(..of.len())]
    }

    fn expression(&mut self, depth: u32) -> String {
        match self.random.u32(..10) {
            0..=3 => self.one(ATOMS).to_owned(),
            _ if depth == 0 => self.one(ATOMS).to_owned(),
            4..=6 => self.call(depth - 1),
            7 => {
                let (a, b) = (self.expression(depth - 1), self.expression(depth - 1));
                let operator = self.one(&["+", "..", "<", "==", "and", "or", "%", "^", "*", "~="]);
                format!("({a} {operator} {b})")
            }
            8 => format!("({})[{}]", self.expression(depth - 1), self.expression(depth - 1)),
            _ => format!("function(...) {} end", self.block(depth - 1)),
        }
    }

    fn call(&mut self, depth: u32) -> String {
        let function = self.one(CALLS);
        let arguments: Vec<_> = (0..self.random.u32(..5)).map(|_| self.expression(depth)).collect();
        format!("{function}({})", arguments.join(", "))
    }

    fn block(&mut self, depth: u32) -> String {
        (0..1 + self.random.u32(..4)).map(|_| self.statement(depth) + " ").collect()
    }

    fn statement(&mut self, depth: u32) -> String {
        let inner = depth.saturating_sub(1);
        match self.random.u32(..14) {
            0..=3 => format!("pcall(function() {} end)", self.call(inner)),
            4 => format!("x = {}", self.expression(inner)),
            5 => format!("y, s = {}, tostring({})", self.expression(inner), self.expression(inner)),
            6 => format!("t[{} or 1] = {}", self.one(&["1", "#t + 1", "'a'", "x", "n", "{}"]), self.expression(inner)),
            7 if depth > 0 => {
                format!("for i = 1, {} do {} end", self.one(&["3", "100", "1e9", "#t"]), self.block(inner))
            }
            8 if depth > 0 => format!("for k, v in {}(t) do {} end", self.one(&["pairs", "ipairs"]), self.block(inner)),
            9 if depth > 0 => {
                format!("while {} do n = n + 1 {} end", self.one(&["n % 50 ~= 0", "true", "x"]), self.block(inner))
            }
            10 if depth > 0 => format!("if {} then {} end", self.expression(inner), self.block(inner)),
            11 if depth > 0 => format!("f = function(...) {} return ... end", self.block(inner)),
            12 if depth > 0 => format!("pcall(coroutine.wrap(function(...) {} end), x)", self.block(inner)),
            13 if depth > 0 => format!(
                "co = coroutine.wrap(function(...) {} coroutine.yield(...) {} end)",
                self.block(inner),
                self.block(inner)
            ),
            _ => format!(
                "m.{} = {}",
                self.one(&[
                    "__index",
                    "__newindex",
                    "__call",
                    "__tostring",
                    "__lt",
                    "__concat",
                    "__eq",
                    "__len",
                    "__mode"
                ]),
                self.expression(inner)
            ),
        }
    }

    fn program(&mut self) -> String {
        let body = self.block(5);
        format!(
            "local n, s, x, y = 0, 'text', 1, 2
            local t, m = {{ 1, 2, 3, a = print }}, {{}}
            local f = function(...) return ... end
            local g = function(h, ...) return pcall(h, ...) end
            local co = coroutine.wrap(function() while true do coroutine.yield(1) end end)
            return {{
                on_request_headers = function() {body} end,
                on_log = function() forebay.log.info('fine ' .. ('abc'):upper() .. math.floor(2.5) .. #table.concat({{ 1, 2 }})) end,
            }}"
        )
    }
}

/// Runs programs until `end`; the number of runs and of faults.
fn run(seed: u64, end: Instant) -> (u64, u64) {
    let mut writer = Writer { random: fastrand::Rng::with_seed(seed) };
    let (mut runs, mut faults) = (0, 0);
    let folder = Folder::new();
    while Instant::now() < end {
        let seed = writer.random.get_seed();
        let code = writer.program();
        if std::env::var_os("FOREBAY_GENERATED").is_some() {
            // The last one is there to be looked at if the process dies.
            std::fs::write(folder.0.with_extension("last.lua"), &code).unwrap();
        }
        std::fs::write(folder.0.join("main.lua"), &code).unwrap();
        let Ok(plugin) = folder.load() else { continue };
        let limits = Limits { cpu: Duration::from_millis(2), memory: 4 << 20, ..Limits::default() };
        let capabilities = Capabilities::parse(["callout:abc", "dict:abc"]).unwrap();
        let host = std::rc::Rc::new(Fake::with(limits, capabilities, ""));
        let mut instance = plugin.instantiate(host.clone()).unwrap();
        instance.open(ContextId(9), host.clone()).unwrap();
        for context in [ContextId(2), ContextId(3)] {
            instance.open(context, host.clone()).unwrap();
            host.phase.set(Phase::Request);
            let cpu = crate::bombs::cpu_time();
            let outcome = instance.call(context, Event::RequestHeaders { end_of_stream: true });
            let cpu = crate::bombs::cpu_time() - cpu;
            assert!(cpu < Duration::from_millis(250), "seed {seed}: {cpu:?}\n{code}");
            runs += 1;
            match outcome {
                Err(fault) => {
                    faults += 1;
                    assert!(!matches!(fault.verdict, Verdict::Panic), "seed {seed}: {fault}\n{code}");
                }
                Ok(Action::Pause) => {
                    let timer = host.timers.borrow_mut().pop();
                    if let Some((_, token)) = timer {
                        let _ = instance.call(context, Event::Timer { token });
                    }
                }
                Ok(_) => {}
            }
            instance.close(context);
        }
        // The neighbour that was open all the time; a VM that ran out of memory still ends what it has.
        host.phase.set(Phase::Log);
        host.logs.borrow_mut().clear();
        let healthy = instance.healthy();
        let outcome = instance.call(ContextId(9), Event::Log);
        if healthy {
            // What the script keeps may leave no room: then it says so.
            match outcome {
                Ok(_) => assert_eq!(host.texts(), ["fine ABC22"], "seed {seed}\n{code}"),
                Err(fault) => assert_eq!(fault.verdict, Verdict::Memory, "seed {seed}: {fault}\n{code}"),
            }
        }
    }
    (runs, faults)
}

#[test]
fn whatever_a_program_does_the_next_exchange_is_served() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = number("FOREBAY_GENERATED").unwrap_or(2);
    let (runs, faults) =
        on_worker(move || run(number("FOREBAY_SEED").unwrap_or(1), Instant::now() + Duration::from_secs(seconds)));
    println!("{runs} runs, {faults} faults");
    assert!(runs > 20 && faults > 0 && faults < runs, "{runs} runs, {faults} faults");
}
