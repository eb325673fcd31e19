//! What a script finds of Lua, and what it does not.

use crate::fake::*;

/// Runs a file and its `on_request_headers`, if it returns one, and gives what they logged.
fn start(code: &str) -> Vec<String> {
    let code = if code.contains("return { on_") { code.to_owned() } else { format!("{code} return {{}}") };
    on_worker(move || {
        let mut run = Run::new(&code);
        run.headers().unwrap();
        run.host.texts()
    })
}

#[test]
fn the_globals_are_those_of_the_list_and_no_others() {
    // While the plugin starts; after that libraries read through to tables that nobody can reach.
    let lines = start(
        "local log = forebay.log.info
        local function list(t) local names = {} for name in next, t do names[#names + 1] = name end table.sort(names) return table.concat(names, ' ') end
        local mt_hidden = getmetatable(_G) log(tostring(mt_hidden))
        local seen = {} for _, name in ipairs { 'ffi', 'io', 'debug', 'package', 'jit', 'getfenv', 'setfenv', 'newproxy',
            'collectgarbage', 'gcinfo', 'dofile', 'loadfile', 'module' } do
            if _G[name] ~= nil or rawget(_G, name) ~= nil then seen[#seen + 1] = name end end
        log(table.concat(seen, ' ')) log(list(os)) log(list(coroutine)) log(tostring(string.dump)) log(list(table)) log(list(string))",
    );
    assert_eq!(
        lines[..5],
        ["false", "", "clock difftime time", "create isyieldable resume running status wrap yield", "nil"]
    );
    assert_eq!(
        lines[5],
        "clear clone concat foreach foreachi getn insert isarray isempty maxn move new nkeys remove sort"
    );
    assert_eq!(lines[6], "byte char find format gmatch gsub len lower match rep reverse sub upper");
}

/// Each must find nothing, or be refused: the text after `return` is what it found.
#[test]
fn what_must_not_be_reachable_is_not() {
    let ways = [
        "return getmetatable('')  or nil",
        "return getmetatable('').__index",
        "return load('return io')()",
        "return load('return debug', 'x', 't', _G)()",
        "return load('\\27LJ\\2\\0')",
        "return load(function() return '\\27LJ\\2\\0' end)",
        "return load('return 1', 'x', 'b')",
        "return require('ffi')",
        "return require('jit')",
        "return require('string.buffer')",
        "return require('package')",
        "return require('os')",
        "return require('/etc/passwd')",
        "return require('../main')",
        "return require('..main')",
        "return require('./main')",
        "return require('main.lua')",
        "return string.dump",
        "return (''):dump()",
        "return coroutine.running()",
        "return _G._LOADED",
        "return getmetatable(_G) or nil",
        "return _G.loaded",
        "return setmetatable(_G, {})",
        "return getmetatable(forebay.request.headers.get)",
        "return debug and debug.getregistry()",
        "return package and package.loaded",
        "return os.execute or os.getenv or os.exit or os.remove or os.tmpname",
        "return io and io.open",
        "return newproxy and newproxy(true)",
    ];
    for way in ways {
        let found = eval(&format!("local ok, found = pcall(function() {way} end) log(tostring(ok and found or nil))"));
        assert!(found == ["nil"] || found == ["false"], "{way}: {found:?}");
    }
}

#[test]
fn what_a_script_breaks_it_breaks_for_itself() {
    let lines = start(
        "local log = forebay.log.info
        local pairs, ipairs, pcall = pairs, ipairs, pcall
        for _, lib in ipairs { string, table, math, coroutine } do for name in pairs(lib) do lib[name] = nil end end
        return { on_request_headers = function() log(tostring(string.find)) forebay.ctx.set('a', 1) log(forebay.request.headers.get('host'))
        for name, value in forebay.request.headers.pairs() do if name == 'x-id' then log(value) end end
        local ok, why = pcall(forebay.respond, 'x') log(why) end }",
    );
    assert_eq!(lines[..3], ["nil", "shop.test", "17"]);
    assert!(lines[3].contains("respond: argument 1 (status) is string"), "{}", lines[3]);
}

#[test]
fn globals_are_made_while_the_plugin_starts_and_read_only_after() {
    on_worker(|| {
        let mut run = Run::new(
            "function helper() return 'helped' end
            return { on_configure = function() setting = 5 end, on_request_headers = function()
                forebay.log.info(helper() .. setting .. tostring(missing))
                forebay.log.info(tostring(select(2, pcall(function() leak = 1 end))))
                forebay.log.info(tostring(leak) .. tostring(_G.helper == helper))
            end }",
        );
        run.headers().unwrap();
        let texts = run.host.texts();
        assert_eq!(texts[0], "helped5nil");
        assert_eq!(
            texts[1],
            "main.lua:4: global 'leak' cannot be set after the start; allowed: a local of the file, or forebay.ctx"
        );
        assert_eq!(texts[2], "niltrue");
    });
}

#[test]
fn two_instances_share_nothing() {
    on_worker(|| {
        let plugin = load(
            "count = 0 string.mark = (string.mark or 0) + 1
            return { on_request_headers = function() forebay.log.info(string.mark) end }",
        );
        for _ in 0..2 {
            let host = std::rc::Rc::new(Fake::new());
            let instance = plugin.instantiate(host.clone()).unwrap();
            let mut run = Run { host, instance };
            run.open(2);
            run.headers().unwrap();
            assert_eq!(run.host.texts(), ["1"]);
        }
    });
}

#[test]
fn modules_are_required_by_name() {
    on_worker(|| {
        let folder = Folder::new()
            .with(
                "main.lua",
                "local a = require 'a'
                return { on_request_headers = function()
                    forebay.log.info(a.name .. tostring(require('a') == a) .. require('lib.deep').name)
                    forebay.log.info(tostring(require('forebay') == forebay) .. tostring(require('quiet')))
                    forebay.log.info(require('forebay.url').encode('a b&c'))
                    forebay.log.info(require('forebay.cookie').parse('a=1; b=\"2\"').b)
                    for _, name in ipairs { 'b', 'circle', 'broken', 'large', 'lib' } do
                        forebay.log.info(tostring(select(2, pcall(require, name))))
                    end
                end }",
            )
            .with("a.lua", "return { name = ... }")
            .with("quiet.lua", "local x = 1")
            .with("lib/deep.lua", "return { name = (...) }")
            .with("circle.lua", "return require('circle2')")
            .with("circle2.lua", "return require('circle')")
            .with("broken.lua", "local x =\n= 2")
            .with("large.lua", &" ".repeat(65 * 1024));
        let host = std::rc::Rc::new(Fake::new());
        let instance = folder.load().unwrap().instantiate(host.clone()).unwrap();
        let mut run = Run { host, instance };
        run.open(2);
        run.headers().unwrap();
        let texts = run.host.texts();
        assert_eq!(texts[..4], ["atruelib.deep", "truetrue", "a%20b%26c", "2"]);
        assert!(texts[4].contains("no module 'b'"), "{}", texts[4]);
        assert!(texts[5].contains("in a circle"), "{}", texts[5]);
        assert!(texts[6].contains("broken.lua:2: unexpected symbol"), "{}", texts[6]);
        assert!(texts[7].contains("has 66560 bytes, a Lua file may have 65536"), "{}", texts[7]);
        assert!(texts[8].contains("no module 'lib'"), "{}", texts[8]);
    });
}

/// Beside the plugin, by name: no way of writing a name leads anywhere else.
#[test]
fn require_finds_nothing_outside_of_the_plugins_folder() {
    use std::os::unix::fs::symlink;

    let outside = Folder::new().with("secret.lua", "return 'secret'").with("deep/secret.lua", "return 'secret'");
    let folder = Folder::new()
        .with("near.lua", "return 'near'")
        .with("lib/near.lua", "return 'lib near'")
        .with("dotted.name.lua", "return 'dotted'")
        .with(".hidden.lua", "return 'hidden'")
        .with("text.txt", "return 'text'")
        .with("a/b/c/d/e/far.lua", "return 'far'");
    symlink(outside.0.join("secret.lua"), folder.0.join("link.lua")).unwrap();
    symlink(outside.0.join("deep"), folder.0.join("linked")).unwrap();
    symlink("..", folder.0.join("up")).unwrap();
    symlink("near.lua", folder.0.join("same.lua")).unwrap();
    let absolute = outside.0.join("secret").display().to_string();
    let beside = format!("up.{}.secret", outside.0.file_name().unwrap().to_string_lossy());
    let mut names = vec![absolute.clone(), format!("{absolute}.lua"), absolute.replace('/', "."), beside];
    for name in [
        "../near",
        "..near",
        "...near",
        "./near",
        ".near",
        "near.",
        "near.lua",
        "near/",
        "/near",
        "lib/near",
        "lib..near",
        "lib.../near",
        "lib\\\\near",
        "lib.near.lua",
        "link",
        "linked.secret",
        "linked/secret",
        "up.near",
        "dotted.name",
        "hidden",
        ".hidden",
        "text",
        "text.txt",
        "a.b.c.d.e.far",
        "",
        " near",
        "near ",
        "NEAR",
        "near\\0",
        "near\\0.lua",
        "/etc/passwd",
        "/proc/self/environ",
        "main.lua",
        "forebay.url.lua",
        "forebay/url",
        "file:///etc/passwd",
        "~/.profile",
        "$HOME",
        "?",
        "*",
        "%2e%2e%2fnear",
    ] {
        names.push(name.to_owned());
    }
    let list: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let folder = folder.with(
        "main.lua",
        &format!(
            "return {{ on_request_headers = function()
                forebay.log.info(require('near') .. ', ' .. require('lib.near') .. ', ' .. require('same'))
                for _, name in ipairs {{ {} }} do
                    local ok, what = pcall(require, name)
                    forebay.log.info(ok and name .. ' was found: ' .. tostring(what) or tostring(what))
                end
            end }}",
            list.join(", ")
        ),
    );
    on_worker(move || {
        let host = std::rc::Rc::new(Fake::new());
        let instance = folder.load().unwrap().instantiate(host.clone()).unwrap();
        let mut run = Run { host, instance };
        run.open(2);
        run.headers().unwrap();
        let texts = run.host.texts();
        // A link to a file inside is one more name of it, as in a mounted volume.
        assert_eq!(texts[0], "near, lib near, near");
        assert_eq!(texts.len(), names.len() + 1);
        for (name, text) in names.iter().zip(&texts[1..]) {
            assert!(text.contains("require: no module '"), "{name}: {text}");
            assert!(!text.contains("secret'") || name.contains("secret"), "what there is outside is listed: {text}");
        }
    });
}

#[test]
fn tables_have_the_functions_that_openresty_adds() {
    let lines = eval(
        "local t = { 1, 2, x = 3 } log(table.nkeys(t)) log(tostring(table.isempty({})) .. tostring(table.isempty(t)))
        log(tostring(table.isarray({ 1, 2 })) .. tostring(table.isarray(t)))
        local c = table.clone(t) c.x = 4 log(t.x .. c.x .. c[2]) table.clear(t) log(table.nkeys(t)) log(#table.new(10, 10))",
    );
    assert_eq!(lines, ["3", "truefalse", "truefalse", "342", "0", "0"]);
}

#[test]
fn the_modules_of_the_sdk_do_what_they_say() {
    let lines = eval(
        r#"local url, cookie = require("forebay.url"), require("forebay.cookie")
        local q = url.decode_query("a=1&b=x+y%21&a=2&c")
        log(q.a .. "|" .. q.b .. "|" .. q.c) log(table.concat(url.decode_query("a=1&a=2", true).a, ","))
        log(url.encode_query { b = { 1, 2 }, ["a b"] = "&" }) log(url.decode("100%&%zz%41+"))
        local path, query = url.split("/p?x?y") log(path .. "|" .. query) log(tostring(select(2, url.split("/p"))))
        log(cookie.format("sid", "abc", { path = "/", max_age = 60, same_site = "Lax", secure = true, http_only = true }))
        log(tostring((pcall(cookie.format, "a b", "x")))) log(tostring((pcall(cookie.format, "a", "x;y"))))
        local c = cookie.parse("a=1; a=2;b = x=y ; junk; =z") log(c.a .. c.b .. tostring(c.junk)) log(tostring(next(cookie.parse(nil))))"#,
    );
    let wanted = [
        "1|x y!|",
        "1,2",
        "a%20b=%26&b=1&b=2",
        "100%&%zzA+",
        "/p|x?y",
        "nil",
        "sid=abc; Path=/; Max-Age=60; SameSite=Lax; Secure; HttpOnly",
        "false",
        "false",
        "1x=ynil",
        "nil",
    ];
    assert_eq!(lines, wanted);
}
