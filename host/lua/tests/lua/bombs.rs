//! Scripts that misbehave: each ends as a fault of its own exchange, soon after its deadline, with
//! the right verdict, and the same instance (or, out of memory, a fresh one) serves the next.

use std::time::{Duration, Instant};

use abi::*;

use crate::fake::*;

/// Faults of CPU leave the VM as it was; the next exchange of the same instance must not notice.
fn ends_by_cpu(name: &str, body: &str) {
    let code = format!(
        r#"
        local bomb = true
        return {{
            on_request_headers = function()
                if bomb then bomb = false; {body} end
                forebay.request.headers.set("x-fine", "yes")
            end,
        }}"#
    );
    let name = name.to_owned();
    on_worker(move || {
        let mut run = Run::new(&code);
        let neighbour = run.open(3);
        let (start, cpu) = (Instant::now(), cpu_time());
        let fault = run.headers().map(|action| panic!("{name}: {action:?}")).unwrap_err();
        let (wall, cpu) = (start.elapsed(), cpu_time() - cpu);
        assert_eq!(fault.verdict, Verdict::Cpu, "{name}: {fault}\n{:?}", fault.trace);
        assert!(fault.trace.is_some_and(|t| t.contains("traceback")), "{name}");
        assert!(cpu < Duration::from_millis(10 + 60), "{name}: took {cpu:?} of CPU ({wall:?})");
        assert!(run.instance.healthy(), "{name}");
        run.call_on(neighbour, Event::RequestHeaders { end_of_stream: true }).unwrap();
        assert!(run.host.maps.borrow()[0].iter().any(|(n, _)| n == b"x-fine"), "{name}");
        run.instance.close(EXCHANGE);
        run.instance.close(neighbour);
    });
}

pub fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is ours to be written.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

macro_rules! cpu_bombs {
    ($($name:ident $body:literal;)*) => {
        $(#[test] fn $name() { ends_by_cpu(stringify!($name), $body); })*
    };
}

cpu_bombs! {
    a_plain_loop "while true do end";
    a_loop_with_work "local x = 0 while true do x = x + math.sin(x) end";
    a_repeat_loop "local i = 0 repeat i = i + 1 until i < 0";
    a_goto_loop "::again:: goto again";
    a_tail_call "local function f() return f() end f()";
    a_pcall_loop "while true do pcall(function() while true do end end) end";
    a_pcall_of_error_loop "while true do pcall(error, 'x') end";
    an_xpcall_loop "while true do xpcall(function() while true do end end, function() while true do end end) end";
    a_loop_in_an_error_handler "xpcall(error, function() while true do end end)";
    a_loop_in_a_coroutine "coroutine.wrap(function() while true do end end)()";
    a_loop_in_nested_coroutines "
        local function deep(n) if n == 0 then while true do end end return coroutine.wrap(function() deep(n - 1) end)() end
        deep(20)";
    coroutines_that_catch "
        while true do
            local co = coroutine.create(function() while true do pcall(function() while true do end end) end end)
            while true do coroutine.resume(co) end
        end";
    a_loop_of_yields "local co = coroutine.wrap(function() while true do coroutine.yield() end end) while true do co() end";
    a_sort_callback "local t = {} for i = 1, 100 do t[i] = i end table.sort(t, function() while true do end end)";
    a_sort_of_contradictions "local t = {} for i = 1, 300000 do t[i] = i % 7 end while true do table.sort(t, function() return true end) end";
    a_gsub_callback "string.gsub('aaa', 'a', function() while true do end end)";
    a_gsub_table "string.gsub('aaa', 'a', setmetatable({}, { __index = function() while true do end end }))";
    a_gmatch_loop "while true do for _ in string.gmatch('a b c', '%a') do end end";
    an_iterator "for _ in function() return 1 end do end";
    an_index_metamethod "local t = setmetatable({}, { __index = function() while true do end end }) local _ = t.x";
    a_call_metamethod "setmetatable({}, { __call = function() while true do end end })()";
    an_order_metamethod "local m = { __lt = function() while true do end end } local _ = setmetatable({}, m) < setmetatable({}, m)";
    a_concat_metamethod "local _ = setmetatable({}, { __concat = function() while true do end end }) .. 'x'";
    a_tostring_metamethod "tostring(setmetatable({}, { __tostring = function() while true do end end }))";
    a_format_metamethod "string.format('%s', setmetatable({}, { __tostring = function() while true do end end }))";
    a_log_metamethod "forebay.log.info(setmetatable({}, { __tostring = function() while true do end end }))";
    a_hostile_pattern "string.find(string.rep('a', 40), string.rep('a?', 40) .. string.rep('a', 40) .. 'b')";
    a_hostile_star "string.match(string.rep('a', 30000), '.-.-.-.-b')";
    a_hostile_gsub "string.gsub(string.rep('a', 30000), '.-.-.-b', '')";
    a_hostile_gmatch "for _ in string.gmatch(string.rep('a', 30000), '.-.-.-b') do end";
    a_hostile_balance "string.find(string.rep('(', 200000), '%b()')";
    a_plain_find_loop "local s = string.rep('a', 1000000) while true do string.find(s, 'b', 1, true) end";
    empty_repetition "while true do string.rep('', 1e9) end";
    a_load_reader "load(function() while true do end end)";
    a_load_loop "while true do load('return 1')() end";
    a_hostcall_loop "while true do forebay.request.headers.get('host') end";
    a_loop_in_a_new_chunk "load('while true do end')()";
    endless_sleeping_off_the_books "local t = forebay.now while true do t() end";
}

macro_rules! memory_bombs {
    ($($name:ident $body:literal;)*) => {
        $(#[test] fn $name() { ends_by_memory(stringify!($name), $body); })*
    };
}

fn ends_by_memory(name: &str, body: &str) {
    // The bombs are about memory: the deadline must not come first on a slow machine.
    let limits = Limits { cpu: Duration::from_secs(5), ..Limits::default() };
    let code = format!(
        r#"
        local bomb = true
        return {{
            on_request_headers = function()
                if bomb then bomb = false; {body} end
                forebay.request.headers.set("x-fine", "yes")
            end,
        }}"#
    );
    let name = name.to_owned();
    on_worker(move || {
        let fake = Fake::with(limits, Capabilities::default(), "");
        let mut run = Run::with(&code, fake).unwrap();
        let neighbour = run.open(3);
        let fault = run.headers().map(|action| panic!("{name}: {action:?}")).unwrap_err();
        assert_eq!(fault.verdict, Verdict::Memory, "{name}: {fault}");
        assert!(!run.instance.healthy(), "{name}");
        // What is in flight may still end on this instance.
        run.call_on(neighbour, Event::RequestHeaders { end_of_stream: true }).unwrap();
        assert!(run.host.maps.borrow()[0].iter().any(|(n, _)| n == b"x-fine"), "{name}");
    });
}

memory_bombs! {
    doubling_strings "local s = 'x' while true do s = s .. s end";
    doubling_strings_caught "local s = 'x' while true do pcall(function() s = s .. s end) end";
    a_growing_table "local t = {} while true do t[#t + 1] = {} end";
    a_growing_hash "local t, i = {}, 0 while true do i = i + 1 t['k' .. i] = i end";
    a_repetition "string.rep('x', 1e9)";
    a_repetition_of_more "string.rep('xxxxxxxxxx', 1e9, 'yy')";
    a_wide_concatenation "local s = string.rep('x', 1e6) local t = {} for i = 1, 1e5 do t[i] = s end table.concat(t)";
    a_table_made_large "table.new(1e9, 0)";
    a_hash_made_large "table.new(0, 1e9)";
    a_gsub_that_grows "string.gsub(string.rep('a', 1e6), 'a', string.rep('b', 1e6))";
    strings_of_numbers "local t = {} while true do for i = 1, 1e6 do t[#t + 1] = tostring(i + 0.5) end end";
    closures "local t = {} while true do t[#t + 1] = function() return t end end";
    coroutines "local t = {} while true do t[#t + 1] = coroutine.create(function() end) end";
    a_format "local s = string.rep('x', 1e7) string.format('%s%s%s%s%s%s%s%s%s%s%s%s', s, s, s, s, s, s, s, s, s, s, s, s)";
}

#[test]
fn deep_recursion_is_an_error_of_the_script() {
    let bodies = [
        "local function f() return 1 + f() end f()",
        "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k] end local _ = t.x",
        "local function f() return (string.gsub('a', 'a', f)) end f()",
        "local t = setmetatable({}, { __tostring = function(t) return tostring(t) .. 'x' end }) tostring(t)",
        "local t = setmetatable({}, { __tostring = function(t) return string.format('%s!', t) end }) tostring(t)",
        "local function f() return 1 + select(2, pcall(f)) end f()",
        "local function f() local ok, why = coroutine.resume(coroutine.create(f)) if not ok then error(why, 0) end end f()",
        "local function f() return load('local f = ... return 1 + f(f)')(f) end f()",
        "local function f(a, b) table.sort({ 2, 1 }, f) return true end f()",
        "local s = string.rep('(', 60000) assert(load('return ' .. s))",
        "local s = string.rep('{', 60000) assert(load('return ' .. s))",
        "string.find(string.rep('a', 1000), string.rep('(', 1000))",
        "string.byte(string.rep('a', 1e6), 1, -1)",
        "unpack({}, 1, 1e8)",
    ];
    for body in bodies {
        let fault = fault(body);
        assert!(matches!(fault.verdict, Verdict::Trap | Verdict::Cpu), "{body}: {fault}");
    }
}

#[test]
fn a_loop_at_the_top_level_is_a_load_error() {
    let error = Folder::new().with("main.lua", "while true do end").load().map(|_| ()).unwrap_err();
    assert!(error.message.contains("start limit"), "{error}");
}

#[test]
fn a_loop_in_the_start_is_a_fault_of_cpu() {
    on_worker(|| {
        let limits = Limits { start_cpu: Duration::from_millis(20), ..Limits::default() };
        let code = "return { on_configure = function() while true do end end }";
        let fault = Run::with(code, Fake::with(limits, Capabilities::default(), "")).map(|_| ()).unwrap_err();
        assert_eq!(fault.verdict, Verdict::Cpu);
    });
}

#[test]
fn a_panic_of_the_host_is_a_fault_of_one_exchange() {
    on_worker(|| {
        let mut run = Run::new(
            "return { on_request_headers = function() while true do pcall(forebay.property.get, 'x') end end }",
        );
        run.host.panic_on_property.set(true);
        let fault = run.headers().unwrap_err();
        assert_eq!(fault.verdict, Verdict::Panic);
        assert!(fault.message.contains("the host has a bug"), "{fault}");
    });
}

/// Machines that are busy must not make faults: time that others take is not the script's.
#[test]
fn waiting_for_the_processor_is_not_running() {
    let busy: Vec<_> = (0..6)
        .map(|_| {
            std::thread::spawn(|| {
                let end = Instant::now() + Duration::from_millis(600);
                while Instant::now() < end {}
            })
        })
        .collect();
    on_worker(|| {
        let mut run =
            Run::new("return { on_request_headers = function() local n = 0 for i = 1, 100000 do n = n + i end end }");
        let end = Instant::now() + Duration::from_millis(500);
        while Instant::now() < end {
            run.headers().unwrap();
        }
    });
    busy.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn teardown_of_vms_while_the_watchdog_fires() {
    let threads: Vec<_> = (0..3)
        .map(|_| {
            std::thread::Builder::new().stack_size(8 << 20).spawn(|| {
                let plugin = load("return { on_request_headers = function() while true do end end }");
                let end = Instant::now() + Duration::from_millis(700);
                while Instant::now() < end {
                    let limits = Limits { cpu: Duration::from_micros(500), ..Limits::default() };
                    let host = std::rc::Rc::new(Fake::with(limits, Capabilities::default(), ""));
                    let mut instance = plugin.instantiate(host.clone()).unwrap();
                    instance.open(EXCHANGE, host.clone()).unwrap();
                    host.phase.set(Phase::Request);
                    let fault = instance.call(EXCHANGE, Event::RequestHeaders { end_of_stream: true }).unwrap_err();
                    assert_eq!(fault.verdict, Verdict::Cpu);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.unwrap().join().unwrap());
}
