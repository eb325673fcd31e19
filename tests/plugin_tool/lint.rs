//! `forebay plugin lint`: what it finds, where it says so, and what it leaves alone.

use harness::folder::Folder;

use crate::{Said, plugin, tool};

fn lint(capabilities: &str, main: &str) -> Said {
    let folder = plugin(capabilities, main, "- name: a\n");
    tool(&["lint"], folder.path())
}

/// The findings, each `file:line:column: …`, are these and no others.
#[track_caller]
fn finds(said: &Said, wanted: &[&str]) {
    let lines: Vec<&str> = said.out.lines().collect();
    let (count, findings) = lines.split_last().expect("it says something");
    assert_eq!(findings.len(), wanted.len(), "{}{}", said.out, said.errors);
    for part in wanted {
        assert!(findings.iter().any(|line| line.contains(part)), "no {part:?} in\n{}", said.out);
    }
    let (code, last) = match wanted.len() {
        0 => (0, "1 plugin: nothing found".to_owned()),
        1 => (1, "1 finding".to_owned()),
        n => (1, format!("{n} findings")),
    };
    assert_eq!((said.code, *count), (code, last.as_str()), "{}", said.errors);
}

#[test]
fn a_call_in_a_phase_that_refuses_it_is_found_through_the_functions_between() {
    let main = "local headers = forebay.response.headers\n\
        local function mark(value)\n  headers.set('x', value)\nend\n\
        local function twice() mark('1') mark('2') end\n\
        local plugin = {}\n\
        function plugin.on_response_headers() twice() end\n\
        function plugin.on_log() twice() end\n\
        return plugin\n";
    let part = "main.lua:3:11: forebay.response.headers.set: not in phase log (only in: response); reached from on_log through twice, mark";
    finds(&lint("[]", main), &[part]);
}

#[test]
fn calls_are_followed_through_modules_tables_closures_and_pcall() {
    let main = "local helper = require('lib.helper')\n\
        local handlers = { a = function() forebay.sleep(1) end }\n\
        return {\n\
          on_origin_select = function(pool) handlers[pool]() end,\n\
          on_configure = function() helper.ask() pcall(forebay.respond, 200) end,\n\
          on_log = function() local f = function() forebay.close() end f() end,\n\
        }\n";
    let folder = plugin("[timer, 'callout:a', http.respond]", main, "- name: a\n");
    std::fs::create_dir(folder.path().join("lib")).expect("the folder is new");
    std::fs::write(
        folder.path().join("lib/helper.lua"),
        "local M = {}\nfunction M.ask() return forebay.http.call('a') end\nreturn M\n",
    )
    .expect("it can be written");
    let said = tool(&["lint"], folder.path());
    let parts = [
        "main.lua:2:43: forebay.sleep: not in phase origin",
        "lib/helper.lua:2:38: forebay.http.call: not in phase start",
        "main.lua:5:40: forebay.respond: not in phase start",
        "main.lua:6:50: forebay.close: not in phase log",
    ];
    finds(&said, &parts);
}

#[test]
fn capabilities_that_the_manifest_does_not_ask_for_are_found() {
    let main = "local plugin = {}\n\
        function plugin.on_request_headers()\n\
          forebay.request.headers.set('a', 'b')\n\
          forebay.http.call('authz', {})\n\
          local dict = forebay.dict('seen')\n\
          dict:get('x')\n\
          forebay.dict('tried'):get('own')\n\
        end\nreturn plugin\n";
    let parts = [
        "main.lua:3:25: forebay.request.headers.set: capability http.write is not in plugin.yaml",
        "main.lua:4:14: forebay.http.call: capability callout:authz is not in plugin.yaml",
        "main.lua:6:6: forebay.dict.get: capability dict:seen is not in plugin.yaml",
    ];
    finds(&lint("[http.read]", main), &parts);
    finds(&lint("[http.read, http.write, 'callout:authz', 'dict:seen']", main), &[]);
}

#[test]
fn names_that_are_not_there_are_found_with_their_near_miss() {
    let main = "local plugin = {}\n\
        function plugin.on_request_headers()\n\
          forebay.request.haeders.set('a', 'b')\n\
          forebay.log.inof('x')\n\
          string.fromat('%s', 1)\n\
          prnt(1)\n\
          local x = io.open('a')\n\
        end\nreturn plugin\n";
    let parts = [
        "main.lua:3:17: there is no forebay.request.haeders; did you mean forebay.request.headers?",
        "main.lua:4:13: there is no forebay.log.inof; did you mean forebay.log.info?",
        "main.lua:5:8: there is no string.fromat; did you mean string.format?",
        "main.lua:6:1: undefined global prnt",
        "main.lua:7:11: undefined global io",
    ];
    finds(&lint("[]", main), &parts);
}

#[test]
fn a_global_that_is_written_after_the_start_is_found_and_one_before_is_not() {
    let main = "limit = 5\nlocal plugin = {}\n\
        function plugin.on_configure() ready = true end\n\
        function plugin.on_request_headers()\n  last = limit\n  return ready\nend\nreturn plugin\n";
    finds(&lint("[]", main), &["main.lua:5:3: global last is written in on_request_headers: globals are read-only"]);
}

#[test]
fn a_plugin_that_never_runs_is_found() {
    // As one writes it elsewhere.
    let main = "local Handler = { VERSION = '1' }\nfunction Handler:access(conf) end\nreturn Handler\n";
    finds(&lint("[]", main), &["main.lua:1:1: the table that the file returns has no callback; there are: on_"]);
    // The engine passes over a byte order mark, and so does the linter.
    let said = lint("[]", "\u{feff}return { on_log = function() end }\n");
    assert_eq!(said.code, 0, "{}", said.out);
}

#[test]
fn a_callback_that_is_never_called_is_found() {
    let main =
        "local plugin = {}\nlocal function on_log() end\nfunction plugin.on_request_headers() end\nreturn plugin\n";
    finds(&lint("[]", main), &["main.lua:2:16: on_log is not in the table that the file returns"]);
    let folder = plugin("[]", "return { on_log = function() end, on_reqest_headers = function() end }", "- name: a\n");
    let said = tool(&["lint"], folder.path());
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(said.out.contains("on_reqest_headers") && said.out.contains("on_request_headers"), "{}", said.out);
    folder.write("main.lua", "return { on_log = function() end }");
    folder.write("plugin.yaml", "name: tried\nengine: lua\ncallbacks: [on_lgo]\n");
    let said = tool(&["lint"], folder.path());
    finds(
        &said,
        &[
            "plugin.yaml:3:1: callback on_lgo is listed, and the plugin has none; did you mean on_log?",
            "callback on_log, which callbacks does not list",
        ],
    );
}

#[test]
fn errors_of_syntax_are_found_where_they_are() {
    finds(&lint("[]", "return {\n  on_log = function( end }\n"), &["main.lua:2:"]);
    finds(
        &lint("[]", &format!("return {}1{}", "(".repeat(30_000), ")".repeat(30_000))),
        &["nested deeper than 200 levels"],
    );
    let chain = vec!["a"; 15_000].join("..");
    let said = lint("[]", &format!("local a = 'x'\nlocal b = {chain}\nreturn {{}}\n"));
    assert!(said.code == 1 || said.code == 0, "it ends: {}", said.errors);
    let minus = lint("[]", &format!("local b = {}1\nreturn {{}}\n", "- ".repeat(30_000)));
    assert!(minus.code == 1 || minus.code == 0, "it ends: {}", minus.errors);
}

#[test]
fn what_works_is_left_alone_and_so_is_a_line_that_says_so() {
    let main = "-- Methods, varargs, goto, numeric for, repeat: the grammar of LuaJIT.\n\
        local Class = {} Class.__index = Class\n\
        function Class.new(...) return setmetatable({ n = select('#', ...) }, Class) end\n\
        function Class:count() for i = 1, self.n do if i > 3 then goto done end end ::done:: return self.n end\n\
        local plugin = {}\n\
        function plugin.on_request_headers()\n\
          local one = Class.new(1, 2)\n\
          repeat local n = one:count() until n > 0\n\
          local text = [[\n long ]] .. 0x10 .. 1e3\n\
          forebay.request.headers.set('x-n', tostring(bit.bxor(one.n, 1)) .. text)\n\
          for name, value in forebay.request.headers.pairs() do forebay.log.debug(name .. value) end\n\
        end\n\
        function plugin.on_log() forebay.sleep(0) forebay.close() -- lint: allow\n end\n\
        return plugin\n";
    finds(&lint("[]", main), &[]);
}

#[test]
fn json_says_what_the_lines_say() {
    let folder = plugin("[]", "return { on_log = function()\n nothing() end }", "- name: a\n");
    let said = tool(&["lint", "--json"], folder.path());
    assert_eq!(said.code, 1);
    let json: serde_json::Value = serde_json::from_str(&said.out).expect("it is JSON");
    let finding = &json["plugins"][0]["findings"][0];
    assert_eq!((&finding["file"], &finding["line"], &finding["column"]), (&"main.lua".into(), &2.into(), &2.into()));
    assert_eq!(finding["message"], "undefined global nothing");
    assert_eq!(json["findings"], 1);
}

#[test]
fn folders_that_are_none_are_refused() {
    let folder = Folder::new();
    let said = tool(&["lint"], folder.path());
    assert_eq!(said.code, 64, "{}", said.out);
    assert!(said.errors.contains("there is no plugin.yaml"), "{}", said.errors);
}
