//! Scripts that misbehave, each by its name. Each must end as a fault of its own exchange within its
//! CPU limit and 5 ms more; what is in flight on the same VM goes on with right answers; the next
//! exchange of the plugin is served; the worker lives.
//!
//! Time is CPU time of the worker's thread, the best of a few runs: what else runs here takes
//! caches. Long because each bomb is a script of its own.

use std::time::Duration;

use abi::*;

use crate::fake::*;

/// CPU time past its limit that a bomb gets. (`host/lua` is optimized in debug builds too, see the
/// root manifest: else its pattern matcher looks at the clock too seldom.)
pub const LATE: Duration = Duration::from_millis(5);
const RUNS: usize = 8;

pub fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is ours to be written.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A plugin whose request bombs; its response waits twice, once in a coroutine of its own, and then
/// uses what a bomb may have harmed.
fn plugin(bomb: &str) -> String {
    // What stands before "---" is made while the plugin starts, where more is allowed.
    let keys = if bomb.contains("K[") { COLLIDING } else { "" };
    let (start, bomb) = bomb.split_once("---").unwrap_or(("", bomb));
    format!(
        r#"
        {keys}
        {start}
        local log = forebay.log.info
        local function work(who)
            local t, n = {{}}, 0
            for i = 1, 60 do t[i] = tostring((i * 37) % 61) n = n + i end
            table.sort(t)
            log(who .. " " .. n .. " " .. table.concat(t, ","):sub(1, 12) .. " " .. ("a1b2"):gsub("%d", "-"))
        end
        return {{
            on_request_headers = function() {bomb} end,
            on_response_headers = function()
                local kept = {{}}
                for i = 1, 100 do kept[i] = "kept " .. i end
                forebay.sleep(1)
                local own = coroutine.wrap(function() forebay.sleep(1) coroutine.yield(#kept) end)
                work("neighbour " .. own() .. kept[77])
            end,
            on_log = function() work("next") end,
        }}"#
    )
}

/// `K`: 20,000 numbers that LuaJIT's `hashnum`, which has no seed, puts into one chain of a table of up
/// to 2^17 nodes. They have the same upper half; the lower ones are found by its formula backwards.
pub const COLLIDING: &str = r#"
    local K = {}
    do
        local bit = bit
        local rol, xor, band, low, high = bit.rol, bit.bxor, bit.band, bit.lshift, bit.rshift
        local upper = low(0x43300000, 1)
        local once = rol(upper, 14)
        local twice = rol(once, 5)
        for tail = 0, 131071 do
            local want = band(xor(twice, tail), 131071)
            if high(want, 13) == band(tail, 15) then
                for free = 0, 3 do
                    local lower = bit.bor(tail, low(free, 17), low(band(want, 8191), 19))
                    K[#K + 1] = 2 ^ 52 + xor(bit.tobit(lower + once), upper) % 2 ^ 32
                end
            end
            if #K >= 20000 then break end
        end
    end
"#;

const NEIGHBOUR: &str = "neighbour 100kept 77 1830 1,10,11,12,1 a-b-";
const NEXT: &str = "next 1830 1,10,11,12,1 a-b-";

/// One exchange of `bomb` with two neighbours in flight: its fault, and the CPU time past its limit.
pub fn explode(bomb: &str, limits: &Limits) -> (Fault, Duration) {
    let plugin = load(&plugin(bomb));
    let host = || std::rc::Rc::new(Fake::with(limits.clone(), Capabilities::parse(GRANTED).unwrap(), ""));
    let begin = |host: &std::rc::Rc<Fake>| {
        let mut instance = plugin.instantiate(host.clone()).unwrap();
        instance.open(EXCHANGE, host.clone()).unwrap();
        Run { host: host.clone(), instance }
    };
    let mut run = begin(&host());
    let neighbours = [run.open(3), run.open(4)];
    for neighbour in neighbours {
        let action = run.call_on(neighbour, Event::ResponseHeaders { end_of_stream: true }).unwrap();
        assert_eq!(action, Action::Pause);
    }
    let start = cpu_time();
    let outcome = run.headers();
    let used = cpu_time() - start;
    let fault = outcome.map(|action| panic!("{action:?}, no fault: {:?}\n{bomb}", run.host.texts())).unwrap_err();
    assert!(fault.trace.as_ref().is_some_and(|t| t.contains("traceback")), "{bomb}: {fault}");
    run.instance.close(EXCHANGE);
    // In flight: they wait twice each, and are told in turns.
    run.host.phase.set(Phase::Response);
    for _ in 0..2 {
        let tokens: Vec<_> = run.host.timers.borrow_mut().drain(..).map(|(_, token)| token).collect();
        assert_eq!(tokens.len(), 2, "{bomb}");
        for (neighbour, token) in neighbours.into_iter().zip(tokens) {
            run.call_on(neighbour, Event::Timer { token }).unwrap_or_else(|e| panic!("neighbour of {bomb}: {e}"));
        }
    }
    let told = |run: &Run| run.host.texts().iter().filter(|t| *t == NEIGHBOUR).count();
    assert_eq!(told(&run), 2, "{bomb}: {:?}", run.host.texts());
    // The next one: on the same instance if it may serve on, else on a fresh one beside it.
    let memory = matches!(fault.verdict, Verdict::Memory);
    assert_eq!(run.instance.healthy(), !memory, "{bomb}");
    let mut next = if memory {
        // What is left of it is given back elsewhere: the worker has others to serve.
        let start = cpu_time();
        drop(run);
        let used = cpu_time() - start;
        assert!(used < LATE, "{bomb}: its VM took the worker {used:?} to end");
        begin(&host())
    } else {
        run
    };
    let context = next.open(9);
    next.call_on(context, Event::Log).unwrap_or_else(|e| panic!("next of {bomb}: {e}"));
    assert_eq!(next.host.texts().last().unwrap(), NEXT, "{bomb}");
    (fault, used.saturating_sub(limits.cpu))
}

const GRANTED: [&str; 2] = ["callout:authz", "dict:cache"];

/// The best of a few runs, all of them with one of `verdicts`.
pub fn ends(name: &str, bomb: &'static str, limits: Limits, verdicts: &'static [Verdict]) {
    let name = name.to_owned();
    on_worker(move || {
        let mut best = Duration::MAX;
        for _ in 0..RUNS {
            let (fault, late) = explode(bomb, &limits);
            assert!(verdicts.contains(&fault.verdict), "{name}: {fault}\n{:?}", fault.trace);
            best = best.min(late);
            if best <= LATE {
                break;
            }
        }
        println!("{best:?} late: {name}");
        assert!(best <= LATE, "{name}: {best:?} of CPU past its limit of {:?}", limits.cpu);
    });
}

macro_rules! cpu_bombs {
    ($($name:ident $body:literal;)*) => {
        $(#[test] fn $name() { ends(stringify!($name), $body, Limits::default(), &[Verdict::Cpu]); })*
    };
}

cpu_bombs! {
    a_plain_loop "while true do end";
    a_loop_that_was_compiled "for i = 1, 200 do local x = 0 for j = 1, 100 do x = x + j end end while true do local x = 0 for j = 1, 100 do x = x + j end end";
    a_loop_with_work "local x = 0 while true do x = x + math.sin(x) end";
    a_numeric_loop_of_all_numbers "for i = 1, math.huge do end";
    a_repeat_loop "local i = 0 repeat i = i + 1 until i < 0";
    a_goto_loop "::again:: goto again";
    a_tail_call "local function f() return f() end f()";
    mutual_tail_calls "local g local function f() return g() end g = function() return f() end f()";
    a_pcall_loop "while true do pcall(function() while true do end end) end";
    a_pcall_of_error_loop "while true do pcall(error, 'x') end";
    a_pcall_of_itself "local function f() return pcall(f) end while true do f() end";
    a_pcall_of_pcall "while true do pcall(pcall, pcall, pcall, function() while true do end end) end";
    an_xpcall_loop "while true do xpcall(function() while true do end end, function() while true do end end) end";
    a_loop_in_an_error_handler "xpcall(error, function() while true do end end)";
    an_error_in_an_error_handler "while true do xpcall(error, function() error('again') end) end";
    an_error_handler_in_an_error_handler "local function h() xpcall(error, h) end while true do xpcall(error, h) end";
    a_loop_in_a_coroutine "coroutine.wrap(function() while true do end end)()";
    a_loop_in_nested_coroutines "
        local function deep(n) if n == 0 then while true do end end return coroutine.wrap(function() deep(n - 1) end)() end
        deep(90)";
    coroutines_that_catch "
        while true do
            local co = coroutine.create(function() while true do pcall(function() while true do end end) end end)
            while true do coroutine.resume(co) end
        end";
    a_loop_of_yields "local co = coroutine.wrap(function() while true do coroutine.yield() end end) while true do co() end";
    coroutines_without_end "while true do coroutine.wrap(function() end)() end";
    a_coroutine_iterator "for _ in coroutine.wrap(function() while true do coroutine.yield(1) end end) do end";
    a_sort_callback "local t = {} for i = 1, 100 do t[i] = i end table.sort(t, function() while true do end end)";
    a_sort_of_contradictions "local t = {} for i = 1, 300000 do t[i] = i % 7 end while true do table.sort(t, function() return true end) end";
    a_sort_of_half_a_million "local t = {} for i = 1, 5e5 do t[i] = -i end while true do table.sort(t) end";
    a_sort_in_a_sort "local function f(a, b) local t = { 3, 2, 1 } table.sort(t, function(x, y) while true do end end) return a < b end table.sort({ 2, 1 }, f)";
    a_gsub_callback "string.gsub('aaa', 'a', function() while true do end end)";
    a_gsub_table "string.gsub('aaa', 'a', setmetatable({}, { __index = function() while true do end end }))";
    a_gsub_callback_that_catches "while true do string.gsub('aaa', 'a', function() pcall(function() while true do end end) end) end";
    a_gmatch_loop "while true do for _ in string.gmatch('a b c', '%a') do end end";
    an_iterator "for _ in function() return 1 end do end";
    pairs_of_a_table_that_is_written "local t = { 1 } while true do for k in pairs(t) do t[k] = k end end";
    an_index_metamethod "local t = setmetatable({}, { __index = function() while true do end end }) local _ = t.x";
    a_newindex_metamethod "local t = setmetatable({}, { __newindex = function() while true do end end }) t.x = 1";
    a_call_metamethod "setmetatable({}, { __call = function() while true do end end })()";
    an_add_metamethod "local _ = setmetatable({}, { __add = function() while true do end end }) + 1";
    a_sub_metamethod "local _ = 1 - setmetatable({}, { __sub = function() while true do end end })";
    a_mul_metamethod "local _ = setmetatable({}, { __mul = function() while true do end end }) * 1";
    a_div_metamethod "local _ = setmetatable({}, { __div = function() while true do end end }) / 1";
    a_mod_metamethod "local _ = setmetatable({}, { __mod = function() while true do end end }) % 1";
    a_pow_metamethod "local _ = setmetatable({}, { __pow = function() while true do end end }) ^ 1";
    an_unm_metamethod "local _ = -setmetatable({}, { __unm = function() while true do end end })";
    a_len_metamethod "local _ = #setmetatable({}, { __len = function() while true do end end }) while true do end";
    an_order_metamethod "local m = { __lt = function() while true do end end } local _ = setmetatable({}, m) < setmetatable({}, m)";
    an_order_or_same_metamethod "local m = { __le = function() while true do end end } local _ = setmetatable({}, m) <= setmetatable({}, m)";
    a_same_metamethod "local m = { __eq = function() while true do end end } local _ = setmetatable({}, m) == setmetatable({}, m)";
    a_concat_metamethod "local _ = setmetatable({}, { __concat = function() while true do end end }) .. 'x'";
    a_tostring_metamethod "tostring(setmetatable({}, { __tostring = function() while true do end end }))";
    a_format_metamethod "string.format('%s', setmetatable({}, { __tostring = function() while true do end end }))";
    a_log_metamethod "forebay.log.info(setmetatable({}, { __tostring = function() while true do end end }))";
    a_print_metamethod "print(setmetatable({}, { __tostring = function() while true do end end }))";
    a_metamethod_that_catches "local t = setmetatable({}, { __index = function() pcall(function() while true do end end) end }) while true do local _ = t.x end";
    an_index_metamethod_in_os_time "os.time(setmetatable({}, { __index = function() while true do end end }))";
    a_chain_of_index_tables "local t = {} for i = 1, 90 do t = setmetatable({}, { __index = t }) end while true do local _ = t.x end";
    a_finalizer_that_is_none "while true do setmetatable({}, { __gc = function() while true do end end }) end";
    weak_tables "local t = setmetatable({}, { __mode = 'kv' }) while true do t[{}] = {} end";
    a_foreach "table.foreach({ 1, 2 }, function() while true do end end)";
    a_foreachi "table.foreachi({ 1, 2 }, function() while true do end end)";
    a_hostile_pattern "string.find(string.rep('a', 40), string.rep('a?', 40) .. string.rep('a', 40) .. 'b')";
    a_hostile_star "string.match(string.rep('a', 30000), '.-.-.-.-b')";
    a_hostile_gsub "string.gsub(string.rep('a', 30000), '.-.-.-b', '')";
    a_hostile_gmatch "for _ in string.gmatch(string.rep('a', 30000), '.-.-.-b') do end";
    a_hostile_balance "string.find(string.rep('(', 200000), '%b()')";
    a_hostile_back_reference "string.match(string.rep('b', 1e6), string.rep('b', 100) .. '(.-)%1%1%1c')";
    a_hostile_frontier "string.gsub(string.rep('b', 1e6), '%f[' .. string.rep('a', 1e6) .. ']', '')";
    a_hostile_set "while true do string.find(string.rep('b', 1e6), '[' .. string.rep('a', 1e6) .. ']') end";
    a_hostile_complement "while true do string.find(string.rep('b', 1e6), '[^' .. string.rep('a', 1e6) .. 'b]x') end";
    a_plain_find_loop "local s = string.rep('a', 1000000) while true do string.find(s, 'b', 1, true) end";
    a_plain_find_of_a_long_needle "local a, b = string.rep('a', 4e6), string.rep('a', 1e5) .. 'b' while true do string.find(a, b, 1, true) end";
    a_plain_find_of_a_needle_of_megabytes "local a, b = string.rep('a', 4e6), string.rep('a', 3e6) .. 'b' while true do string.find(a, b, 1, true) end";
    a_plain_find_of_a_needle_that_repeats "local a, b = string.rep('ab', 2e6), string.rep('ab', 1e6) .. 'b' while true do string.find(a, b, 1, true) end";
    a_plain_find_that_nearly_is "local a, b = string.rep('a', 4e6) .. 'b', 'b' .. string.rep('a', 1e6) while true do string.find(a, b, 1, true) end";
    empty_repetition "while true do string.rep('', 1e9) end";
    large_quoting "local s = string.rep('\"', 1.5e6) while true do string.format('%q', s) end";
    large_number_text "local s = string.rep('0', 4e6) while true do tonumber(s) end";
    large_comparison "local a = string.rep('a', 4e6) local b, c = a .. 'b', a .. 'c' while true do local _ = b < c end";
    large_format_widths "while true do string.format('%99.99f%99.99f%99s', 1e300, 1e-300, 'x') end";
    many_format_arguments "local t = {} for i = 1, 7000 do t[i] = i end local f = string.rep('%99d', 7000) while true do string.format(f, unpack(t)) end";
    bytes_by_the_thousand "local s = string.rep('x', 7900) while true do string.byte(s, 1, -1) end";
    characters_by_the_thousand "local t = {} for i = 1, 7900 do t[i] = 65 end while true do string.char(unpack(t)) end";
    arguments_by_the_thousand "local s = string.rep('x', 7900) while true do string.format('%s', select(2, string.byte(s, 1, -1))) end";
    select_by_the_thousand "local t = {} for i = 1, 7000 do t[i] = i end while true do for i = 1, 7000 do select(i, unpack(t)) end end";
    a_tostring_chain "local m = {} m.__tostring = function(t) return tostring(setmetatable({}, { __tostring = function() return 'x' .. tostring(t.n) end })) end while true do tostring(setmetatable({ n = 1 }, m)) end";
    concat_of_many "local t = {} for i = 1, 3e5 do t[i] = 'x' end while true do table.concat(t) end";
    concat_of_a_million "local t = {} for i = 1, 5e5 do t[i] = i end while true do table.concat(t) end";
    insertion_at_the_front "local t = {} for i = 1, 5e5 do t[i] = i end while true do table.insert(t, 1, 1) t[#t] = nil end";
    removal_at_the_front "local t = {} for i = 1, 5e5 do t[i] = i end while true do t[5e5] = 1 table.remove(t, 1) end";
    move_of_a_million "local t = {} for i = 1, 5e5 do t[i] = i end while true do table.move(t, 1, 5e5, 2) end";
    unpack_of_many "local t = {} for i = 1, 5e5 do t[i] = i end while true do unpack(t, 1, 7900) end";
    largest_index_of_a_million "local t = {} for i = 1, 5e5 do t[i] = i end while true do table.maxn(t) table.getn(t) end";
    keys_of_many "local t = {} for i = 1, 1e5 do t[i + 0.5] = i end while true do table.nkeys(t) end";
    keys_of_an_empty_table_that_was_large "while true do local t = table.new(0, 1.3e5) for i = 1, 50 do t[i + 0.5] = 1 end for i = 1, 100 do table.nkeys(t) end end";
    first_key_of_a_table_that_was_large "local t = {} for i = 1, 1e5 do t[i + 0.5] = i end for i = 1, 1e5 do t[i + 0.5] = nil end while true do next(t) end";
    length_of_a_sparse_table "local t = {} for i = 1, 17 do t[2 ^ i] = 1 end while true do local _ = #t end";
    cleared_tables "while true do local t = {} for i = 1, 1e5 do t[i] = i end table.clear(t) end";
    cloned_tables "local t = {} for i = 1, 1e5 do t[i] = i end while true do table.clone(t) table.isarray(t) end";
    a_load_reader "load(function() while true do end end)";
    a_load_reader_of_nothing_much "load(function() return ' ' end) while true do load(function() return ' ' end) end";
    a_load_loop "while true do load('return 1')() end";
    a_load_of_a_load "local s = 'load(...)(...)' load(s)(s)";
    a_loop_in_a_new_chunk "load('while true do end')()";
    a_load_of_many_ors "local s = 'return ' .. string.rep('a or ', 13000) .. 'a' while true do load(s) end";
    a_load_of_many_ands "local s = 'return ' .. string.rep('a and ', 10000) .. 'a' while true do load(s) end";
    a_load_of_many_elseifs "local s = 'if a then ' .. string.rep('elseif a then ', 4500) .. ' end' while true do load(s) end";
    a_load_of_many_ifs "local s = string.rep('if a then elseif b then end ', 2300) while true do load(s) end";
    a_load_of_many_gotos "local s = string.rep('goto x ', 9000) .. '::x::' while true do load(s) end";
    a_load_of_many_blocks "local s = string.rep('do goto x end ', 4500) .. '::x::' while true do load(s) end";
    a_load_of_many_blocks_that_break "local s = 'while x do ' .. string.rep('do break end ', 4900) .. ' end' while true do load(s) end";
    a_load_of_many_labels "
        local t = {} for i = 1, 3000 do t[i] = '::a' .. i .. '::x()' end local s = 'do ' .. table.concat(t) .. string.rep(' goto x', 3900) .. ' end ::x::'
        assert(load(s)) while true do load(s) end";
    a_load_of_large_numbers "local s = 'x={' .. string.rep('1e300,', 10000) .. '}' while true do load(s) end";
    a_load_of_large_numbers_caught "local s = string.rep('x=1e300 ', 8000) while true do pcall(pcall, load, s) end";
    a_load_of_small_numbers "local s = 'x={' .. string.rep('1e-300,', 9000) .. '}' while true do load(s) end";
    a_load_of_large_numbers_in_a_coroutine "local s = string.rep('x=1e300 ', 8000) coroutine.wrap(function() while true do load(s) end end)()";
    a_load_of_pieces_of_large_numbers "local n = 0 while true do n = 0 load(function() n = n + 1 return n < 8000 and 'x=1e300 ' or nil end) end";
    a_load_of_numbers_of_many_digits "local s = string.rep('x=' .. string.rep('7', 800) .. 'e-500 ', 75) while true do load(s) end";
    a_load_of_names_from_far_away "
        local s = string.rep('local ' .. string.rep('a,', 119) .. 'a return function() ', 90)
        s = s .. string.rep('x=x ', (65500 - #s - 360) / 4) .. string.rep(' end', 90)
        assert(load(s)) while true do load(s) end";
    a_load_of_numbers_that_collide "local t = {} for i = 1, 3400 do t[i] = ('%.0f'):format(K[i]) end local s = 'x={[' .. table.concat(t, ']=1,[') .. ']=1}' while true do load(s) end";
    a_rehash_of_keys_that_collide "local t = table.new(0, 8192) for i = 1, 8192 do t[K[i]] = i end --- t[K[8193]] = 1 while true do end";
    unpacked_keys_that_collide "local t = table.new(0, 8192) for i = 1, 8192 do t[K[i]] = i end --- while true do unpack(t, 1, 7900) end";
    keys_that_collide "while true do local t = {} for i = 1, #K do t[K[i]] = 1 end end";
    counted_keys_that_collide "local t = table.new(0, 8192) for i = 1, 8192 do t[K[i]] = i end --- while true do table.nkeys(t) end";
    cleared_keys_that_collide "local t = table.new(0, 8192) for i = 1, 8192 do t[K[i]] = i end --- table.clear(t) while true do end";
    many_floats_of_all_digits "local t = {} for i = 1, 7000 do t[i] = 1.2345678901234e-300 end local f = string.rep('%.99f', 7000) while true do string.format(f, unpack(t)) end";
    many_formatted_texts_of_numbers "local t = {} for i = 1, 7000 do t[i] = '1e300' end local f = string.rep('%.1g', 7000) while true do string.format(f, unpack(t)) end";
    a_largest_of_texts_of_numbers "local t = {} for i = 1, 7000 do t[i] = '1e300' end while true do math.max(unpack(t)) end";
    a_least_of_texts_of_megabytes "local t, s = {}, string.rep('0', 4e6) .. '1' for i = 1, 7000 do t[i] = s end while true do math.min(unpack(t)) end";
    bits_of_texts_of_numbers "local t = {} for i = 1, 7000 do t[i] = '1e300' end while true do bit.band(unpack(t)) end";
    characters_of_texts_of_numbers "local t, s = {}, '65.' .. string.rep('0', 700) .. '1' for i = 1, 7000 do t[i] = s end while true do string.char(unpack(t)) end";
    a_load_of_deep_tables "local s = 'return ' .. string.rep('{', 180) .. string.rep('}', 180) while true do load(s) end";
    a_load_of_deep_loops "local s = string.rep('while a do break ', 150) .. string.rep('end ', 150) while true do load(s) end";
    a_load_of_many_breaks "local s = 'while a do ' .. string.rep('if a then break end ', 3000) .. ' end' while true do load(s) end";
    a_load_of_one_long_string "local s = 'return \"' .. string.rep('x', 60000) .. '\"' while true do load(s) end";
    a_load_of_many_strings "local t = {} for i = 1, 6000 do t[i] = '\"' .. i .. '\"' end local s = 'return {' .. table.concat(t, ',') .. '}' while true do load(s) end";
    a_load_of_many_names "local t = {} for i = 1, 9000 do t[i] = 'n' .. i end local s = table.concat(t, '=1 ') .. '=1' while true do load(s) end";
    a_hostcall_loop "while true do forebay.request.headers.get('host') end";
    a_clock_loop "local t = forebay.now while true do t() end";
    a_comparison_of_what_was_made_at_the_start "local s = string.rep('a', 8e6) local b, c = s .. 'b', s .. 'c' --- while true do local _ = b < c end";
    a_number_of_what_was_made_at_the_start "local s = string.rep('0', 8e6) --- while true do tonumber(s) end";
    a_find_in_what_was_made_at_the_start "local s, n = string.rep('ab', 4e6), string.rep('ab', 2e6) .. 'b' --- while true do s:find(n, 1, true) end";
    an_insertion_into_what_was_made_at_the_start "local t = {} for i = 1, 1e6 do t[i] = i end --- while true do table.insert(t, 1, 1) t[#t] = nil end";
    a_removal_from_what_was_made_at_the_start "local t = {} for i = 1, 1e6 do t[i] = i end --- while true do t[1e6] = 1 table.remove(t, 1) end";
    a_log_of_megabytes "local s = string.rep('x', 4e6) while true do forebay.log.info(s) end";
    a_header_of_megabytes "local s = string.rep('x', 4e6) while true do forebay.request.headers.set('x-a', s) end";
    a_header_name_of_megabytes "local s = string.rep('x', 4e6) while true do forebay.request.headers.get(s) end";
    a_body_of_megabytes "local s = string.rep('x', 4e6) while true do forebay.request.set_body(s) end";
    a_dict_value_of_megabytes "local s, d = string.rep('x', 4e6), forebay.dict('cache') while true do d:set('a', s) end";
    a_dict_key_of_megabytes "local s, d = string.rep('x', 4e6), forebay.dict('cache') while true do d:get(s) end";
    a_property_path_of_megabytes "local s = string.rep('a.', 2e6) while true do forebay.property.get(s) end";
    a_context_value_of_megabytes "local s = string.rep('x', 4e6) while true do forebay.ctx.set('a', s) forebay.ctx.get(s) end";
    a_metric_name_of_megabytes "local s = string.rep('x', 4e6) while true do forebay.metric.counter(s) end";
    a_module_name_of_megabytes "local s = string.rep('x', 4e6) while true do pcall(require, s) end";
    a_token_with_lists_of_megabytes "L = {} for i = 1, 64 do L[i] = ('x'):rep(4e6) end jwt = require('forebay.jwt') --- local t = 'eyJhbGciOiJIUzI1NiJ9.e30.AA' while true do pcall(jwt.verify, t, { secret = 'x', issuer = L, audience = L, required = L, algorithms = L }) end";
    a_token_with_keys_of_megabytes "s = '{\"keys\":[' .. ('[],'):rep(1300000) .. '1]}' jwt = require('forebay.jwt') --- local t = 'eyJhbGciOiJIUzI1NiJ9.e30.AA' while true do for _, name in ipairs { 'jwks', 'secret', 'public_key' } do jwt.verify(t, { [name] = s }) end end";
    an_error_of_megabytes "local s = string.rep('x', 4e6) while true do pcall(error, s) end";
    answers_of_many_headers "local t = {} for i = 1, 1e5 do t[i] = 'x' end while true do pcall(forebay.respond, 200, { x = t }) end";
    answers_of_many_names "local t = {} for i = 1, 1e5 do t['x-' .. i] = 'x' end while true do pcall(forebay.respond, 200, t) end";
    callouts_of_many_headers "local t = {} for i = 1, 1e5 do t[i] = 'x' end while true do pcall(forebay.http.call, 'authz', { headers = { x = t } }) end";
}

/// Megabytes of garbage a call: out of time, or of memory if the collector's steps fall so.
macro_rules! garbage_bombs {
    ($($name:ident $body:literal;)*) => {
        $(#[test] fn $name() { ends(stringify!($name), $body, Limits::default(), &[Verdict::Cpu, Verdict::Memory]); })*
    };
}

garbage_bombs! {
    callouts_of_many_bodies "local s, t = string.rep('x', 4e6), {} for i = 1, 900 do t[i] = { 'authz', { body = s } } end while true do pcall(forebay.http.call_all, t) end";
    large_repetition "while true do string.rep('x', 4e6) end";
    large_case "local s = string.rep('aB', 2e6) while true do s:upper() s:lower() end";
    large_reversal "local s = string.rep('ab', 2e6) while true do s:reverse() end";
    large_cutting "local s, n = string.rep('ab', 2e6), 0 while true do n = n + 1 s:sub(n % 99, -2) end";
    tables_made_large "while true do table.new(2e5, 0) table.new(0, 1e5) end";
}

/// Out of memory or of time, whichever is first: with a second of time it is memory.
fn ends_by_memory(name: &str, bomb: &'static str) {
    ends(name, bomb, Limits::default(), &[Verdict::Memory, Verdict::Cpu]);
    let patient = Limits { cpu: Duration::from_secs(20), ..Limits::default() };
    on_worker(move || {
        let (fault, _) = explode(bomb, &patient);
        assert_eq!(fault.verdict, Verdict::Memory, "{fault}");
        assert!(fault.message.contains("memory than its limit of 33554432 bytes"), "{fault}");
    });
}

macro_rules! memory_bombs {
    ($($name:ident $body:literal;)*) => {
        $(#[test] fn $name() { ends_by_memory(stringify!($name), $body); })*
    };
}

memory_bombs! {
    a_sort_of_a_million "local t = {} for i = 1, 1e6 do t[i] = -i end --- while true do table.sort(t) end";
    an_error_message_that_grows "local function f() local _, e = pcall(f) error(e .. string.rep('x', 1000)) end while true do pcall(f) end";
    megabytes_that_are_kept "local t = {} for i = 1, 1e9 do t[i] = string.rep('x', 4e6) .. i end";
    megabytes_that_are_not_kept "for i = 1, 1e9 do local _ = string.rep('x', 4e6) .. i end";
    a_concatenation_of_a_million "local t = {} for i = 1, 1e6 do t[i] = 'xxxxxxxx' end --- while true do table.concat(t) end";
    case_of_what_was_made_at_the_start "local s = string.rep('aB', 4e6) --- while true do s:upper() end";
    a_part_of_what_was_made_at_the_start "local s = string.rep('aB', 4e6) --- while true do s:sub(2) end";
    doubling_strings "local s = 'x' while true do s = s .. s end";
    doubling_strings_caught "local s = 'x' while true do pcall(function() s = s .. s end) end";
    doubling_by_repetition "local s = 'xy' while true do s = s:rep(2) end";
    doubling_by_format "local s = 'xy' while true do s = string.format('%s%s', s, s) end";
    doubling_by_gsub "local s = 'xy' while true do s = s:gsub('.+', '%0%0') end";
    doubling_by_concat "local s = 'xy' while true do s = table.concat({ s, s }) end";
    a_growing_table "local t = {} while true do t[#t + 1] = {} end";
    a_growing_array "local t, i = {}, 0 while true do i = i + 1 t[i] = i end";
    a_growing_hash "local t, i = {}, 0 while true do i = i + 1 t['k' .. i] = i end";
    a_growing_hash_of_numbers "local t, i = {}, 0 while true do i = i + 1 t[i + 0.5] = i end";
    a_table_of_tables "local t = {} while true do t = { t, t } end";
    a_growing_table_in_a_coroutine "coroutine.wrap(function() local t = {} while true do t[#t + 1] = {} end end)()";
    a_growing_table_caught "local t = {} while true do pcall(function() while true do t[#t + 1] = {} end end) end";
    a_repetition "string.rep('x', 1e9)";
    a_repetition_of_more "string.rep('xxxxxxxxxx', 1e9, 'yy')";
    a_repetition_caught "while true do pcall(string.rep, 'x', 1e9) end";
    a_wide_concatenation "local s = string.rep('x', 1e6) local t = {} for i = 1, 1e5 do t[i] = s end table.concat(t)";
    a_wide_concatenation_of_operands "local s = string.rep('x', 1e6) local f = load('local s = ... return ' .. string.rep('s .. ', 150) .. 's') f(s)";
    a_table_made_large "table.new(1e9, 0)";
    a_hash_made_large "table.new(0, 1e9)";
    a_gsub_that_grows "string.gsub(string.rep('a', 1e6), 'a', string.rep('b', 1e6))";
    a_gsub_callback_that_grows "local s = string.rep('b', 1e6) string.gsub(string.rep('a', 1e6), 'a', function() return s end)";
    a_gsub_of_captures_that_grows "string.gsub(string.rep('a', 1e6), '.*', string.rep('%0', 1e6))";
    strings_of_numbers "local t = {} while true do for i = 1, 1e6 do t[#t + 1] = tostring(i + 0.5) end end";
    closures "local t = {} while true do t[#t + 1] = function() return t end end";
    coroutines "local t = {} while true do t[#t + 1] = coroutine.create(function() end) end";
    functions_that_are_loaded "local t = {} while true do t[#t + 1] = load('return function() return function() end end') end";
    a_format "local s = string.rep('x', 4e6) string.format('%s%s%s%s%s%s%s%s%s%s%s%s', s, s, s, s, s, s, s, s, s, s, s, s)";
    a_format_of_quotes "local s = string.rep('\"', 1e6) local t = {} while true do t[#t + 1] = string.format('%q', s) .. #t end";
    a_context_that_grows "local i = 0 while true do i = i + 1 forebay.ctx.set('k' .. i, { i }) end";
    an_error_that_grows "local e = 'x' while true do local _, why = pcall(error, e .. e) e = why end";
    one_string_in_many_headers "local s, t = string.rep('x', 1e6), {} for i = 1, 900 do t[i] = s end forebay.request.headers.set('x', table.concat(t))";
}

/// Errors of the script, or of its time: no stack ends, ours nor Lua's.
fn ends_by_an_error(name: &str, bomb: &'static str) {
    ends(name, bomb, Limits::default(), &[Verdict::Trap, Verdict::Cpu]);
}

macro_rules! recursions {
    ($($name:ident $body:literal;)*) => {
        $(#[test] fn $name() { ends_by_an_error(stringify!($name), $body); })*
    };
}

recursions! {
    recursion "local function f() return 1 + f() end f()";
    recursion_in_index "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k] end local _ = t.x";
    recursion_in_newindex "local t = setmetatable({}, {}) getmetatable(t).__newindex = function(t, k, v) t[k] = v end t.x = 1";
    recursion_in_call "local t = setmetatable({}, {}) getmetatable(t).__call = function(t) return 1 + t() end t()";
    recursion_in_order "local m = {} m.__lt = function(a, b) return a < b end local _ = setmetatable({}, m) < setmetatable({}, m)";
    recursion_in_same "local m = {} m.__eq = function(a, b) return not (a == b) end local _ = setmetatable({}, m) == setmetatable({}, m)";
    recursion_in_concat "local t = setmetatable({}, {}) getmetatable(t).__concat = function(a, b) return 'x' .. (a .. b) end local _ = t .. 'x'";
    recursion_in_add "local t = setmetatable({}, {}) getmetatable(t).__add = function(a, b) return 1 + (a + b) end local _ = t + 1";
    recursion_in_unm "local t = setmetatable({}, {}) getmetatable(t).__unm = function(a) return 1 + -a end local _ = -t";
    recursion_in_gsub "local function f() return (string.gsub('a', 'a', f)) end f()";
    recursion_in_gmatch "local function f() for _ in string.gmatch('a', 'a') do f() end end f()";
    recursion_in_tostring "local t = setmetatable({}, { __tostring = function(t) return tostring(t) .. 'x' end }) tostring(t)";
    recursion_in_format "local t = setmetatable({}, { __tostring = function(t) return string.format('%s!', t) end }) tostring(t)";
    recursion_in_print "local t = setmetatable({}, { __tostring = function(t) print(t) return 'x' end }) print(t)";
    recursion_in_pcall "local function f() return 1 + select(2, pcall(f)) end f()";
    recursion_in_xpcall "local function f() return 1 + select(2, xpcall(f, print)) end f()";
    recursion_in_error_handlers "local function h() xpcall(error, h) error('x') end xpcall(error, h) h()";
    recursion_in_coroutines "local function f() local ok, why = coroutine.resume(coroutine.create(f)) if not ok then error(why, 0) end end f()";
    recursion_in_wraps "local function f() return 1 + coroutine.wrap(f)() end f()";
    recursion_in_load "local function f() return load('local f = ... return 1 + f(f)')(f) end f()";
    recursion_in_load_readers "local function f() load(f) error('x') end f()";
    recursion_in_sort "local function f(a, b) table.sort({ 2, 1 }, f) return true end f()";
    recursion_in_foreach "local function f() table.foreach({ 1 }, f) end f() while true do end";
    recursion_in_iterators "local function f() for _ in f do end return nil end f()";
    recursion_in_os_time "local m = {} m.__index = function() return os.time(setmetatable({}, m)) end os.time(setmetatable({}, m))";
    recursion_in_require "local function f() require('f') return f() + 1 end f()";
    a_deep_expression "local s = string.rep('(', 60000) assert(load('return ' .. s))";
    a_deep_table "local s = string.rep('{', 60000) assert(load('return ' .. s))";
    a_deep_function "local s = string.rep('function() ', 6000) assert(load('return ' .. s))";
    a_deep_concatenation "assert(load('return ' .. string.rep('x .. ', 12000) .. 'x'))";
    a_deep_power "assert(load('return ' .. string.rep('x ^ ', 15000) .. 'x'))";
    a_deep_negation "assert(load('return ' .. string.rep('- ', 30000) .. 'x'))";
    captures_in_each_other "string.find(string.rep('a', 1000), string.rep('(', 1000))";
    a_deep_pattern "string.find(string.rep('a', 1e5), string.rep('a?', 3e4))";
    bytes_by_the_million "string.byte(string.rep('a', 1e6), 1, -1)";
    characters_by_the_million "string.char(unpack({}, 1, 1e6))";
    results_by_the_million "unpack({}, 1, 1e8)";
    arguments_without_end "local function f(...) return f(1, ...) end f()";
    a_format_too_wide "string.format('%1000d', 1)";
    a_number_of_a_million_arguments "local f = load('return function(...) return select(\"#\", ...) end')() f(unpack({}, 1, 1e6))";
}

#[test]
fn a_loop_at_the_top_level_is_a_load_error() {
    let error = Folder::new().with("main.lua", "while true do end").load().map(|_| ()).unwrap_err();
    assert!(error.message.contains("limit start_cpu"), "{error}");
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
fn a_file_that_compiles_for_long_is_a_fault_of_cpu() {
    on_worker(|| {
        let limits = Limits { start_cpu: Duration::from_millis(20), ..Limits::default() };
        let code = format!("{} return {{}}", "x=1e300 ".repeat(8000));
        let fault = Run::with(&code, Fake::with(limits, Capabilities::default(), "")).map(|_| ()).unwrap_err();
        assert_eq!(fault.verdict, Verdict::Cpu, "{fault}");
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
