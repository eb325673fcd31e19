//! Attacks on the sandbox, each named by what it tries: to reach past the memory or CPU limit in
//! one call, to corrupt a stack, to leave something behind for the next exchange.
//! Long because each attack is a script of its own.

use std::time::{Duration, Instant};

use abi::*;

use crate::bombs::cpu_time;
use crate::fake::*;

fn plugin(body: &str) -> String {
    format!("local log = forebay.log.info\nreturn {{ on_request_headers = function()\n{body}\nend }}")
}

/// The fault of `body` with a memory limit of 8 MiB and all the time it likes.
fn out_of_memory(body: &str) {
    let code = plugin(body);
    on_worker(move || {
        let limits = Limits { cpu: Duration::from_secs(20), memory: 8 << 20, ..Limits::default() };
        let fake = Fake::with(limits, Capabilities::parse(["callout:authz"]).unwrap(), "");
        let mut run = Run::with(&code, fake).unwrap();
        let fault = run.headers().map(|action| panic!("{action:?} {:?}\n{code}", run.host.texts())).unwrap_err();
        assert_eq!(fault.verdict, Verdict::Memory, "{fault}\n{code}");
        assert!(run.host.answers.borrow().is_empty() && run.host.callouts.borrow().is_empty());
    });
}

#[test]
fn a_replacement_cannot_multiply_past_the_memory_limit() {
    out_of_memory("string.gsub(string.rep('a', 1e6), '.*', string.rep('%0', 1e6))");
    out_of_memory("string.gsub(string.rep('a', 1e6), '(.*)', string.rep('%1', 1e6))");
}

#[test]
fn headers_of_too_many_lines_or_bytes_are_not_copied() {
    for (headers, what) in [
        ("for i = 1, 1001 do t[i] = 'x' end", "1001 header lines; allowed: up to 1000"),
        ("for i = 1, 900 do t[i] = s end", "headers of over 1048576 bytes"),
    ] {
        for call in ["forebay.respond, 200, { x = t }", "forebay.http.call, 'authz', { headers = { x = t } }"] {
            let code = plugin(&format!(
                "local s, t = string.rep('x', 1e6), {{}} {headers} local ok, why = pcall({call}) log(tostring(ok)) log(why)"
            ));
            on_worker(move || {
                let mut run = Run::new(&code);
                assert_eq!(run.headers().unwrap(), Action::Continue);
                let seen = run.host.texts();
                assert!(seen[0] == "false" && seen[1].contains(what), "{seen:?}");
                assert!(run.host.answers.borrow().is_empty() && run.host.callouts.borrow().is_empty());
            });
        }
    }
}

#[test]
fn an_insertion_far_below_a_list_is_refused() {
    for at in ["-2^31", "0", "-1", "1e308", "0/0", "'-2147483648'", "-1/0", "2^31"] {
        let seen = eval(&format!(
            "local t = {{ 1 }} local ok, why = pcall(table.insert, t, {at}, 2) log(tostring(ok) .. #t) log(why)"
        ));
        assert_eq!(seen[0], "false1", "{at}");
        assert!(seen[1].contains("allowed: a number from 1"), "{seen:?}");
    }
    let seen = eval(
        "local t = { 1, 2 } table.insert(t, 3) table.insert(t, 1, 0) table.insert(t, 5, 4) log(table.concat(t, ' '))
        local function no(...) return tostring((pcall(table.insert, ...))) end log(no(t) .. no(t, 'x', 1) .. no())",
    );
    assert_eq!(seen, ["0 1 2 3 4", "falsefalsefalse"]);
}

#[test]
fn a_path_of_nothing_but_dots_is_refused() {
    let seen = eval("local value, why = forebay.property.get(string.rep('.', 1e6)) log(tostring(value)) log(why.code)");
    assert_eq!(seen, ["nil", "BAD_ARGUMENT"]);
}

/// A table that grows passes the limit for a moment, and falls below it again when its old part
/// is freed. That must not switch the limit off.
#[test]
fn a_moment_past_the_memory_limit_does_not_lift_it() {
    let fill = "local keep, t = {}, {} for i = 1, 140000 do t[i + 0.5] = i end";
    out_of_memory(&format!("{fill} for i = 1, 8 do keep[i] = string.rep('x', 1e6) .. i end log(#keep)"));
}

/// 34 results into a stack that has room for 20: the host must ask for room, and heed the answer.
#[test]
fn many_captures_do_not_run_over_a_full_stack() {
    let pattern = "()".repeat(32);
    for call in ["find", "match"] {
        for extra in [7900, 7950, 7960, 7970, 7975, 7980] {
            let extra = format!(
                "local t = {{}} for i = 1, {extra} do t[i] = i end
                local ok, why = pcall(string.{call}, 'abc', '{pattern}', 1, false, unpack(t)) log(tostring(ok))
                local ok, why = pcall(function() return select('#', string.{call}('abc', '{pattern}', 1, false, unpack(t))) end)
                log(tostring(ok))"
            );
            assert_eq!(eval(&extra).len(), 2);
        }
        let deep = format!(
            "local n = 0
            local function f(i) n = i local a = string.{call}('abc', '{pattern}') return 1 + f(i + 1) end
            for i = 1, 50 do pcall(f, i) local t = {{ unpack({{}}, 1, i) }} end log(n > 100 and 'deep' or 'flat')"
        );
        let code = plugin(&deep);
        let texts = on_worker(move || {
            let limits = Limits { cpu: Duration::from_secs(20), memory: 256 << 20, ..Limits::default() };
            let mut run = Run::with(&code, Fake::with(limits, Capabilities::default(), "")).unwrap();
            run.headers().unwrap();
            run.host.texts()
        });
        assert_eq!(texts, ["deep"]);
    }
}

/// What would let one exchange change what the next one finds.
#[test]
fn an_exchange_cannot_change_what_the_next_one_finds() {
    let attacks = [
        "leak = 1",
        "_G.leak = 1",
        "rawset(_G, 'leak', 1)",
        "rawset(_G, 'pairs', error)",
        "setmetatable(_G, {})",
        "getmetatable(_G).__index = nil",
        "table.insert(_G, 'leak')",
        "table.insert(string, 'leak')",
        "table.insert(forebay.request.headers, 1, 'leak')",
        "string.find = error",
        "string.leak = 1",
        "rawset(string, 'find', error)",
        "rawset(string, 'leak', 1)",
        "table.clear(string)",
        "table.clear(forebay.request.headers)",
        "setmetatable(string, { __index = function() return 1 end })",
        "setmetatable(table, { __index = function() return 1 end })",
        "getmetatable('').__index = {}",
        "getmetatable('').__add = function() end",
        "table.concat = error",
        "math.floor = error",
        "bit.band = error",
        "os.time = error",
        "coroutine.wrap = error",
        "forebay.leak = 1",
        "forebay.log = nil",
        "forebay.log.info = nil",
        "forebay.request = nil",
        "forebay.request.headers.get = function() return 'evil' end",
        "rawset(forebay.request.headers, 'get', function() return 'evil' end)",
        "getmetatable(forebay.dict('cache')).get = function() return 'evil' end",
        "getmetatable(forebay.dict('cache')).__index = nil",
        "getmetatable(forebay.metric.counter('c')).increment = nil",
        "local _, e = forebay.dict('none'):get('x') getmetatable(e).__tostring = function() return 'evil' end",
        "local _, e = forebay.dict('none'):get('x') getmetatable(e).__index = function() return 'evil' end",
        "load('leak = 1')()",
        "load('string.find = 1')()",
    ];
    let probe = r#"
        local function look()
            local seen = {}
            local function see(name, value) seen[#seen + 1] = name .. "=" .. tostring(value) end
            see("leak", rawget(_G, "leak")) see("leak", leak) see("1", _G[1])
            see("string", string.leak) see("x", ("x").leak) see("1", string[1]) see("find", ("abc"):find("b"))
            see("unknown", string.unknown) see("unknown", table.unknown)
            see("concat", table.concat({ 1, 2 })) see("floor", math.floor(1.5)) see("band", bit.band(3, 1))
            see("time", type(os.time())) see("wrap", coroutine.wrap(function() return 7 end)())
            see("forebay", forebay.leak) see("get", forebay.request.headers.get("host"))
            see("pairs", pairs == next)
            local n = 0 for _ in pairs({ 1, 2 }) do n = n + 1 end see("n", n)
            see("dict", (forebay.dict("cache"):get("none")))
            see("counter", forebay.metric.counter("c"):increment())
            local _, e = forebay.dict("none"):get("x") see("refusal", tostring(e):match("^[%w_]+")) see("field", e.unknown)
            forebay.log.info(table.concat(seen, " "))
        end"#;
    let look = format!("{probe} return {{ on_request_headers = function() look() end }}");
    let expected = on_worker(move || {
        let mut run = Run::new(&look);
        run.headers().unwrap();
        run.host.texts()
    });
    let mut changed = Vec::new();
    for attack in attacks {
        let code = format!(
            "{probe} local first = true
            return {{ on_request_headers = function() if first then first = false {attack} else look() end end }}"
        );
        let expected = expected.clone();
        let found = on_worker(move || {
            let mut run = Run::new(&code);
            let _ = run.headers();
            run.host.logs.borrow_mut().clear();
            let other = run.open(3);
            match run.call_on(other, Event::RequestHeaders { end_of_stream: true }) {
                Ok(_) if run.host.texts() == expected => None,
                Ok(_) => Some(run.host.texts().join("\n")),
                Err(fault) => Some(fault.to_string()),
            }
        });
        if let Some(found) = found {
            changed.push(format!("{attack}: {found}"));
        }
    }
    assert!(changed.is_empty(), "{}", changed.join("\n"));
}

/// Whoever loads a module may be ended before it is loaded. The next one loads it again.
#[test]
fn a_module_whose_load_was_ended_can_be_loaded_again() {
    on_worker(|| {
        let folder = Folder::new()
            .with("slow.lua", "if forebay.request.headers.get('x-slow') then while true do end end return { 7 }")
            .with("waits.lua", "forebay.sleep(1) return { 8 }")
            .with("main.lua", "return { on_request_headers = function()
                if not forebay.request.headers.get('x-slow') then forebay.log.info(require('slow')[1]) else require('slow') end
            end, on_response_headers = function() forebay.log.info(require('waits')[1]) end }");
        let host = std::rc::Rc::new(Fake::new());
        let mut instance = folder.load().unwrap().instantiate(host.clone()).unwrap();
        let mut run = Run {
            host: host.clone(),
            instance: {
                instance.open(EXCHANGE, host.clone()).unwrap();
                instance
            },
        };
        host.maps.borrow_mut()[0].push((b"x-slow".to_vec(), b"1".to_vec()));
        assert_eq!(run.headers().unwrap_err().verdict, Verdict::Cpu);
        host.maps.borrow_mut()[0].pop();
        run.headers().unwrap();
        assert_eq!(host.texts(), ["7"]);
        // One that waits while it loads, and whose exchange ends; a neighbour meanwhile.
        let headers = Event::ResponseHeaders { end_of_stream: true };
        let neighbour = run.open(3);
        assert_eq!(run.call_on(neighbour, Event::ResponseHeaders { end_of_stream: true }).unwrap(), Action::Pause);
        run.instance.close(neighbour);
        assert_eq!(run.call(headers).unwrap(), Action::Pause);
        let token = host.timers.borrow().last().unwrap().1;
        run.call(Event::Timer { token }).unwrap();
        assert_eq!(host.texts(), ["7", "8"]);
    });
}

/// Library functions that LuaJIT runs with a C frame under a metamethod: nothing can be waited
/// for there, so nothing may be started there either.
#[test]
fn what_cannot_be_waited_for_is_not_started() {
    for under in [
        "os.time(setmetatable({}, { __index = function() ATTACK return 1 end }))",
        "string.format('%s', setmetatable({}, { __tostring = function() return setmetatable({}, { __tostring = function() ATTACK return 'x' end }) end }))",
        "tostring(setmetatable({}, { __tostring = function() return setmetatable({}, { __tostring = function() ATTACK return 'x' end }) end }))",
    ] {
        for attack in ["pcall(forebay.sleep, 1)", "pcall(forebay.http.call, 'authz', {})"] {
            let code = plugin(&format!(
                "local calls = 0 pcall(function() {} end) log('end')",
                under.replace("ATTACK", &format!("calls = calls + 1 {attack}"))
            ));
            let started = on_worker(move || {
                let mut run = Run::new(&code);
                let mut action = run.headers().unwrap();
                let mut waits = 0;
                while action == Action::Pause {
                    waits += 1;
                    let timer = run.host.timers.borrow().last().map(|(_, token)| *token);
                    let token = timer.unwrap_or_else(|| run.host.callouts.borrow().last().unwrap().2);
                    let result = Err(CalloutError::Timeout);
                    let event = if timer.is_some() {
                        Event::Timer { token }
                    } else {
                        Event::Callout { token, result: &result }
                    };
                    action = run.call(event).unwrap();
                }
                assert_eq!(run.host.texts(), ["end"]);
                run.host.timers.borrow().len() + run.host.callouts.borrow().len() - waits
            });
            assert_eq!(started, 0, "{under} {attack}: started and never waited for");
        }
    }
}

#[test]
fn loops_and_recursion_under_library_functions_end() {
    for (body, verdicts) in [
        ("os.time(setmetatable({}, { __index = function() while true do end end }))", &[Verdict::Cpu][..]),
        (
            "local m = {} m.__index = function() return os.time(setmetatable({}, m)) end os.time(setmetatable({}, m))",
            &[Verdict::Trap, Verdict::Cpu],
        ),
        (
            "local m = {} m.__index = function() while true do pcall(os.time, setmetatable({}, m)) end end os.time(setmetatable({}, m))",
            &[Verdict::Cpu],
        ),
        (
            "local m = {} m.__index = function() for i = 1, 1e9 do pcall(pcall, pcall, pcall, function() while true do end end) end end while true do pcall(os.time, setmetatable({}, m)) end",
            &[Verdict::Cpu],
        ),
        (
            "local m = {} m.__index = function() coroutine.wrap(function() while true do end end)() end while true do pcall(os.time, setmetatable({}, m)) end",
            &[Verdict::Cpu],
        ),
        (
            "local a, m = {}, {} m.__tostring = function() return setmetatable({}, { __tostring = function() return string.format('%s', setmetatable({}, m)) end }) end string.format('%s', setmetatable({}, m))",
            &[Verdict::Trap],
        ),
        (
            "local m = {} m.__tostring = function() return setmetatable({}, { __tostring = function() while true do end end }) end while true do pcall(string.format, '%s', setmetatable({}, m)) end",
            &[Verdict::Cpu],
        ),
        (
            "local function f() return coroutine.wrap(function() return pcall(f) end)() end while true do f() end",
            &[Verdict::Cpu],
        ),
        (
            "local m = {} m.__index = function(t, k) return t[k .. 'x'] end local _ = setmetatable({}, m).x",
            &[Verdict::Trap, Verdict::Cpu, Verdict::Memory],
        ),
        ("local f f = function(...) return pcall(f, 1, ...) end while true do f() end", &[Verdict::Cpu]),
        (
            "local co co = coroutine.create(function() coroutine.resume(co) error(co) end) while true do coroutine.resume(co) co = coroutine.create(function() coroutine.wrap(error)(co) end) end",
            &[Verdict::Cpu],
        ),
        ("table.foreach({ 1, 2 }, function() while true do end end)", &[Verdict::Cpu]),
        ("table.foreachi({ 1, 2 }, function() while true do end end)", &[Verdict::Cpu]),
    ] {
        let fault = fault(body);
        assert!(verdicts.contains(&fault.verdict), "{body}: {fault}");
    }
}

#[test]
fn a_huge_error_makes_no_huge_fault() {
    for body in ["error(string.rep('x', 1e6))", "error({ code = 'x', message = string.rep('x', 1e6) })"] {
        let fault = fault(body);
        assert_eq!(fault.verdict, Verdict::Trap);
        assert!(fault.message.len() < 10_000, "{} bytes", fault.message.len());
    }
}

#[test]
fn odd_arguments_are_refused_and_nothing_more() {
    let values = "nil, true, false, 0, -1, 0/0, 1/0, -1/0, 1e308, 2^53, -2^63, 0.5, '', 'x', 'host', '\\0', ('y'):rep(1e5), {}, \
        cyclic, setmetatable({}, hostile), print, coroutine.create(print), forebay, _G, string";
    let code = format!(
        r##"
        local log = forebay.log.info
        local all = {{}}
        local function collect(table, path, seen)
            for name, value in pairs(table) do
                local path = path .. "." .. tostring(name)
                if type(value) == "function" then
                    all[path] = value
                elseif type(value) == "table" and not seen[value] then
                    seen[value] = true
                    collect(value, path, seen)
                end
            end
        end
        local libraries = {{ string = string, table = table, math = math, bit = bit, os = os, coroutine = coroutine,
            load = load, select = select, tonumber = tonumber, tostring = tostring, unpack = unpack, next = next,
            ipairs = ipairs, require = require, rawget = rawget, rawset = rawset, rawequal = rawequal, xpcall = xpcall,
            setmetatable = setmetatable, getmetatable = getmetatable, assert = assert, type = type }}
        collect(forebay, "forebay", {{}})
        collect(libraries, "", {{}})
        return {{ on_request_headers = function()
        local cyclic = {{}} cyclic.x, cyclic[1], cyclic.headers, cyclic.method = cyclic, cyclic, cyclic, cyclic
        local hostile = {{}}
        for _, name in ipairs {{ "__index", "__newindex", "__call", "__tostring", "__len", "__concat", "__eq", "__lt", "__add", "__unm" }} do
            hostile[name] = function() error("hostile") end
        end
        local function list() return {{ {values} }} end
        local values, count = {{ {values} }}, select("#", {values})
        local calls = 0
        for path, value in pairs(all) do
            -- What ends the callback or waits, else all would end there.
            if not path:find("respond") and not path:find("close") and not path:find("continue") and not path:find("sleep") and not path:find("body")
                and not path:find("http") and not path:find("yield") and not path:find("rep") and not path:find("table.new") then
                for i = 1, count do
                    pcall(value, values[i])
                    for j = 1, count do
                        calls = calls + 2
                        pcall(value, values[i], values[j], values[j], values[i])
                        pcall(value, "x", values[i], values[j], values[i])
                    end
                end
            end
        end
        assert(calls > 10000, calls)
        for i = 1, count do
            local c = forebay.metric.counter("c") c.id = values[i] pcall(c.increment, c, 1) pcall(c.get, c)
            local d = forebay.dict("cache") d.name = values[i] pcall(d.get, d, "x") pcall(d.set, d, "x", "y")
        end
        log("end")
        end }}"##
    );
    on_worker(move || {
        let limits = Limits { cpu: Duration::from_secs(60), memory: 256 << 20, ..Limits::default() };
        let mut run = Run::with(
            &code,
            Fake::with(limits, Capabilities::parse(["callout:x", "dict:x", "dict:cache"]).unwrap(), ""),
        )
        .unwrap();
        let (start, cpu) = (Instant::now(), cpu_time());
        let outcome = run.headers();
        println!("{:?} {:?} {outcome:?}", start.elapsed(), cpu_time() - cpu);
        assert_eq!(outcome.unwrap(), Action::Continue);
        assert_eq!(run.host.texts().last().unwrap(), "end");
    });
}

/// One that could reach the methods that all objects share would change what the next exchange calls.
#[test]
fn no_object_leads_to_the_methods_that_others_share() {
    let objects = [
        "forebay.dict('cache')",
        "forebay.kv('sessions')",
        "forebay.queue('jobs')",
        "forebay.metric.counter('c')",
        "forebay.metric.gauge('g')",
        "forebay.metric.histogram('h')",
        "forebay.secret('key')",
        "forebay.trace.span('s')",
        "require('forebay.json').array()",
        "select(2, forebay.http.call('nobody'))",
    ];
    for object in objects {
        let lines = eval(&format!(
            "local object = {object} log(type(object))
            log(tostring(object.__index) .. tostring(object.__metatable) .. tostring(getmetatable(object)))
            log(tostring(pcall(setmetatable, object, {{}})))"
        ));
        assert_eq!(lines, ["table", "nilnilfalse", "false"], "{object}");
    }
}
