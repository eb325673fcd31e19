//! Patterns, sort and the other replaced functions against LuaJIT's own, on generated input: one
//! script runs in both and must write the same lines.

use std::fmt::Write;
use std::time::Duration;

use abi::{Capabilities, Limits};

use crate::fake::*;

/// Runs `script` (which calls `out(text)`) in the sandbox.
pub fn in_sandbox(script: &str) -> Vec<String> {
    let code = format!("local out = forebay.log.info\nreturn {{ on_request_headers = function()\n{script}\nend }}");
    on_worker(move || {
        let limits = Limits { cpu: Duration::from_secs(20), ..Limits::default() };
        let mut run = Run::with(&code, Fake::with(limits, Capabilities::default(), "")).unwrap();
        run.headers().unwrap_or_else(|e| panic!("{e}\n{:?}", e.trace));
        run.host.texts()
    })
}

/// The same with the library that LuaJIT comes with.
fn in_plain_luajit(script: &str) -> Vec<String> {
    let lua = mlua::Lua::new();
    let code =
        format!("local lines = {{}} local function out(text) lines[#lines + 1] = text end\n{script}\nreturn lines");
    let lines: Vec<mlua::LuaString> = lua.load(code).eval().unwrap();
    lines.iter().map(|line| String::from_utf8_lossy(&line.as_bytes()).into_owned()).collect()
}

pub fn same(script: &str) {
    let (ours, theirs) = (in_sandbox(script), in_plain_luajit(script));
    assert!(!ours.is_empty());
    for (i, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(ours, theirs, "line {i} of\n{script}");
    }
    assert_eq!(ours.len(), theirs.len());
}

fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for byte in bytes {
        write!(text, "\\{byte:03}").unwrap();
    }
    text + "\""
}

fn pattern(random: &mut fastrand::Rng) -> Vec<u8> {
    const PARTS: [&str; 46] = [
        "a", "b", "c", "x", ".", "%a", "%d", "%s", "%w", "%p", "%A", "%S", "%u", "%l", "%c", "%x", "%g", "%z", "%%",
        "%.", "[abc]", "[^abc]", "[a-c]", "[%a_]", "[^%s]", "[]]", "[^]]", "[a-]", "[%-x]", "(", ")", "(a)", "(.-)",
        "()", "%1", "%2", "%b()", "%bxx", "%f[%w]", "%f[^a]", "$", "^", "-", "[", "%", "\0",
    ];
    const REPEATS: [&str; 8] = ["", "", "", "", "*", "+", "-", "?"];
    let mut pattern = Vec::new();
    if random.u8(..) < 50 {
        pattern.push(b'^');
    }
    for _ in 0..random.usize(1..6) {
        // The last few make mistakes: seldom, or nothing else would be seen.
        let parts = if random.u8(..) < 240 { 41 } else { PARTS.len() };
        pattern.extend_from_slice(PARTS[random.usize(..parts)].as_bytes());
        pattern.extend_from_slice(REPEATS[random.usize(..REPEATS.len())].as_bytes());
    }
    pattern
}

fn subject(random: &mut fastrand::Rng) -> Vec<u8> {
    const BYTES: &[u8] = b"aaabbbccxxAB12 ()_-.%]\n\0\xff";
    (0..random.usize(..14)).map(|_| BYTES[random.usize(..BYTES.len())]).collect()
}

const TRY: &str = r##"
    local function show(ok, ...)
        if not ok then return "error " .. tostring((...)):match(" ?([^:]*)$"):gsub("^ ", "") end
        local parts = {}
        for i = 1, select("#", ...) do parts[i] = type((select(i, ...))) .. "=" .. tostring((select(i, ...))):gsub("%c", "?") end
        return table.concat(parts, " ")
    end
    local function all(s, p)
        local parts = {}
        for a, b in string.gmatch(s, p) do parts[#parts + 1] = tostring(a) .. "/" .. tostring(b) end
        return table.concat(parts, " ")
    end
    local function try(s, p, init, r)
        out(show(pcall(string.find, s, p, init)))
        out(show(pcall(string.match, s, p, init)))
        out(show(pcall(string.find, s, p, init, true)))
        out(show(pcall(string.gsub, s, p, r)))
        out(show(pcall(string.gsub, s, p, r, 1)))
        out(show(pcall(string.gsub, s, p, function(a, b) return b and a .. "," .. b end)))
        out(show(pcall(string.gsub, s, p, { a = "1", b = true and "2", ab = false }, 2)))
        out(show(pcall(all, s, p)))
    end
"##;

#[test]
fn patterns_match_as_luajit_matches_them() {
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..12 {
        let mut script = String::from(TRY);
        for _ in 0..150 {
            let init = random.i32(-6..10);
            let replacement = ["%0%0", "<%1>", "x", "", "%2", "%%", "%"][random.usize(..7)];
            let (s, p) = (subject(&mut random), pattern(&mut random));
            writeln!(script, "try({}, {}, {init}, {})", quoted(&s), quoted(&p), quoted(replacement.as_bytes()))
                .unwrap();
        }
        same(&script);
    }
}

#[test]
fn known_corners_of_patterns() {
    same(&format!(
        r##"{TRY}
        try("hello world", "o w", 1, "0") try("a.b", ".", 2, "%0") try("abc", "%w*", 1, "x") try("", "", 1, "x")
        try("abc", "", 1, "-") try("  trim  ", "^%s*(.-)%s*$", 1, "[%1]") try("k=v, a=b", "(%w+)=(%w+)", 1, "%2=%1")
        try("THE (quick) fox", "%f[%a]%a+%f[%A]", 1, "W") try("x", "^^x", 1, "") try("$", "$$", 1, "") try("a$", "a$$", 1, "")
        try(12, 1, 1, 5) try("f(a(b)c)d", "%b()", 1, "") try("aXb", "%u", -2, "%0") try("abc", "b", 10, "") try("abc", "b", -10, "")
        try("aaa", "a-", 2, "b") try("0123456789", "(((((((((.)))))))))", 1, "%9") try("x", "%", 1, "") try("x", "[a", 1, "")
        try("x", "[]", 1, "") try("x", "(x", 1, "") try("x", "x)", 1, "") try("x", "%b", 1, "") try("x", "%f", 1, "")
        out(tostring(pcall(string.find, nil, "x"))) out(tostring(pcall(string.gsub, "x", "x", true)))
        out(tostring(pcall(string.gsub, "x", "x", function() return {{}} end)))
    "##
    ));
}

#[test]
fn the_other_replaced_functions_do_what_luajit_does() {
    same(
        r##"
        local function show(...)
            local parts = {}
            for i = 1, select("#", ...) do parts[i] = tostring((select(i, ...))) end
            out(table.concat(parts, " "))
        end
        local function sorted(t, f) table.sort(t, f) show(unpack(t)) end
        sorted({}) sorted({ 1 }) sorted({ 3, 1, 2 }) sorted({ "b", "a", "C" }) sorted({ 1, 2, 3 }, function(a, b) return a > b end)
        local seed, long = 17, {}
        for i = 1, 5000 do seed = (seed * 1103515245 + 12345) % 2147483648 long[i] = seed % 1000 end
        table.sort(long) show(table.concat(long, ",")) table.sort(long, function(a, b) return a > b end) show(table.concat(long, ","))
        show((pcall(table.sort, { 1, "a" })))
        show(("x"):rep(3), ("x"):rep(0), ("x"):rep(-1), ("ab"):rep(2, ","), ("x"):rep(1, ","), ("x"):rep(2.9), (""):rep(5))
        show(tostring(nil), tostring(1.5), tostring(-0.0), tostring(1e300), tostring(true), tostring("s"), 0/0 ~= 0/0)
        local named = setmetatable({}, { __tostring = function() return "named" end })
        show(tostring(named), string.format("%s|%5s|%-5s|%d|%x|%g|%q", named, "a", "b", 3, 255, 0.1, "q\n"))
        show(pcall(string.format, "%d", "x") and 1, select("#", string.format("%%")))
        show(xpcall(function(a, b) return a + b end, print, 1, 2)) show(xpcall(error, function(m) return m .. "!" end, "e", 0))
        show(xpcall(error, function() error("again") end, "e") )
        show(pcall(coroutine.wrap(function() error("in co", 0) end)))
        local co = coroutine.create(function(a) local b = coroutine.yield(a * 2) error("e" .. b, 0) end)
        show(coroutine.resume(co, 4)) show(coroutine.status(co)) show(coroutine.resume(co, 5)) show(coroutine.status(co))
        show(coroutine.resume(co)) show(coroutine.wrap(function() return coroutine.status(co) end)())
        local self self = coroutine.create(function() return coroutine.running() == self, coroutine.status(self), coroutine.resume(self) end)
        show(coroutine.resume(self))
        show(load("return 1 + ...")(2)) show(load("x x x", "=name")) show(load("return x", "c", "t", { x = 5 })())
        local parts, i = { "return ", "7" }, 0
        show(load(function() i = i + 1 return parts[i] end)())
        show(loadstring("return 8")())
        show(next({}), type(next), #{ 1, 2 }, unpack({ 1, 2 }, 2), rawequal("a", "a"), tonumber("0x10"), tonumber("z", 36))
        show(bit.band(6, 3), math.floor(2.5), table.concat({ 1, 2 }, ","), ("x"):byte(), string.char(65))
    "##,
    );
}
