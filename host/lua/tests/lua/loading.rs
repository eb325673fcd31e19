//! Files that do not load, and plugins that refuse to start.

use std::time::Duration;

use abi::*;

use crate::fake::*;

fn refused(code: &str) -> LoadError {
    match Folder::new().with("main.lua", code).load() {
        Ok(_) => panic!("loaded: {code}"),
        Err(error) => error,
    }
}

#[test]
fn a_syntax_error_has_its_line() {
    let error = refused("local a = 1\nlocal b = = 2\nreturn {}");
    assert_eq!(error.line, Some(2));
    assert_eq!(error.message, "unexpected symbol near '='");
}

#[test]
fn an_error_at_the_top_level_has_its_line() {
    let error = refused("local t\n\nt.x = 1");
    assert_eq!(error.line, Some(3), "{error}");
    let error = refused("\nforebay.sleep('x')");
    assert_eq!((error.line, error.message.contains("sleep: argument 1")), (Some(2), true), "{error}");
    assert_eq!(refused("error({ message = 'mine' })").message, "mine");
}

#[test]
fn bytecode_is_no_plugin() {
    assert_eq!(refused("\u{1b}LJ\u{2}").message, "is compiled Lua; a plugin is source text");
}

#[test]
fn a_file_returns_a_table_of_callbacks() {
    for (code, found) in [("", "nothing"), ("return nil", "nil"), ("return 5", "number"), ("return print", "function")]
    {
        let error = refused(code);
        assert!(error.message.contains(&format!("the file returned {found}; a plugin returns a table")), "{error}");
    }
}

#[test]
fn an_unknown_callback_is_named_with_the_near_miss() {
    let error = refused("return { on_request_header = function() end }");
    assert!(error.message.contains("unknown callback on_request_header (did you mean on_request_headers?)"), "{error}");
    let error = refused("return { on_log = 5 }");
    assert!(error.message.contains("on_log is number; a callback is a function"), "{error}");
}

#[test]
fn a_file_over_64_kib_is_refused() {
    let error = refused(&format!("return {{}} --{}", "x".repeat(64 << 10)));
    assert!(error.message.contains("has 65548 bytes, a Lua file may have 65536"), "{error}");
    let error = forebay_lua::load(std::path::Path::new("none/such.lua")).map(|_| ()).unwrap_err();
    assert!(error.message.starts_with("cannot be read: "), "{error}");
}

#[test]
fn a_plugin_is_made_of_files_in_its_folder() {
    let outside = Folder::new().with("secret.lua", "return 'not mine'");
    let folder = Folder::new().with("main.lua", "return { on_log = function() end }").with("..data/in.lua", "return 7");
    let path = |name: &str| folder.path(name);
    let link = |to: &std::path::Path, name: &str| std::os::unix::fs::symlink(to, path(name)).unwrap();
    link(&outside.path("secret.lua"), "out.lua");
    link(std::path::Path::new("..data/in.lua"), "mounted.lua");
    link(std::path::Path::new("/dev/zero"), "zero.lua");
    assert!(std::process::Command::new("mkfifo").arg(path("pipe.lua")).status().unwrap().success());
    // None of them holds who loads; what is inside can be required.
    folder.load().unwrap();
    let message = |name: &str| forebay_lua::load(&path(name)).map(|_| ()).unwrap_err().message;
    assert_eq!(message("pipe.lua"), "is no file; a plugin is made of files");
    assert_eq!(message("zero.lua"), "is no file; a plugin is made of files");
    assert_eq!(message("..data"), "is a folder; a plugin is made of files");
    assert!(message("out.lua").starts_with("is a link to a file outside of "), "{}", message("out.lua"));
    let text = "local ok, why = pcall(require, 'out') assert(not ok, why) assert(require('mounted') == 7) return {}";
    std::fs::write(path("main.lua"), text).unwrap();
    folder.load().unwrap();
}

#[test]
fn a_memory_bomb_at_the_top_level_is_a_load_error() {
    let error = refused("local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end");
    assert!(error.message.contains("memory"), "{error}");
}

#[test]
fn the_callbacks_of_a_file_are_known() {
    let code =
        "return { on_log = function() end, on_configure = function() end, on_tick = print, helper = 5, [1] = 2 }";
    assert_eq!(load(code).callbacks(), Callbacks::LOG | Callbacks::TICK);
    let all = [
        "request_headers",
        "request_body",
        "request_trailers",
        "response_headers",
        "response_body",
        "response_trailers",
        "log",
        "tick",
    ];
    let flags = [
        Callbacks::REQUEST_HEADERS,
        Callbacks::REQUEST_BODY,
        Callbacks::REQUEST_TRAILERS,
        Callbacks::RESPONSE_HEADERS,
        Callbacks::RESPONSE_BODY,
        Callbacks::RESPONSE_TRAILERS,
        Callbacks::LOG,
        Callbacks::TICK,
    ];
    for (name, flag) in all.into_iter().zip(flags) {
        assert_eq!(load(&format!("return {{ on_{name} = print }}")).callbacks(), flag, "{name}");
    }
}

#[test]
fn each_callback_gets_its_arguments() {
    on_worker(|| {
        let names =
            "request_headers request_body request_trailers response_headers response_body response_trailers log tick";
        let list: Vec<_> = names
            .split(' ')
            .map(|n| format!("on_{n} = function(...) forebay.log.info('{n}' .. show(...)) end"))
            .collect();
        let mut run = Run::new(&format!(
            "function show(...) local s = '' for i = 1, select('#', ...) do s = s .. ' ' .. tostring((select(i, ...))) end return s end
            return {{ {} }}",
            list.join(",")
        ));
        let events = [
            Event::RequestHeaders { end_of_stream: false },
            Event::RequestBody { size: 5, end_of_stream: true },
            Event::RequestTrailers,
            Event::ResponseHeaders { end_of_stream: true },
            Event::ResponseBody { size: 6, end_of_stream: false },
            Event::ResponseTrailers,
            Event::Log,
        ];
        for event in events {
            assert_eq!(run.call(event).unwrap(), Action::Continue);
        }
        run.call_on(ContextId::PLUGIN, Event::Tick).unwrap();
        let wanted = [
            "request_headers false",
            "request_body 5 true",
            "request_trailers",
            "response_headers true",
            "response_body 6 false",
            "response_trailers",
            "log",
            "tick",
        ];
        assert_eq!(run.host.texts(), wanted);
    });
}

fn configured(config: &'static str) -> Result<Vec<String>, Fault> {
    on_worker(move || {
        let code = "local function show(v)
                if type(v) ~= 'table' then return type(v) .. ' ' .. tostring(v) end
                return 'table ' .. tostring(v.a and v.a.b[2]) .. ' ' .. table.nkeys(v)
            end
            return {
                on_vm_start = function(config) forebay.log.info(show(config)) end,
                on_configure = function(config)
                    forebay.log.info(show(config))
                    if config == 'no' then return false end
                    if config == 'why' then return false, 'because' end
                    if config == 'raise' then error('bad') end
                    return config ~= 'nil' or nil
                end }";
        Run::with(code, Fake::with(Limits::default(), Capabilities::default(), config)).map(|run| run.host.texts())
    })
}

#[test]
fn configuration_is_json_or_text() {
    assert_eq!(configured("plain text").unwrap(), ["string vm text", "string plain text"]);
    assert_eq!(configured(r#"{"a": {"b": [1, 2.5]}, "c": null}"#).unwrap()[1], "table 2.5 1");
    assert_eq!(configured("").unwrap()[1], "string ");
    assert_eq!(configured("true").unwrap()[1], "boolean true");
    assert_eq!(configured("nil").unwrap()[1], "string nil");
}

#[test]
fn a_configuration_that_is_refused_is_a_fault() {
    for (config, message) in [
        ("no", "on_configure returned false"),
        ("why", "on_configure returned false: because"),
        ("raise", "main.lua:11: bad"),
    ] {
        let fault = configured(config).unwrap_err();
        assert_eq!((fault.verdict, fault.message.as_str()), (Verdict::Config, message));
    }
}

#[test]
fn an_uncaught_error_is_a_trap_with_message_and_traceback() {
    let fault = fault("local function inner() error('broken') end\ninner()");
    assert_eq!((fault.verdict, fault.message.as_str()), (Verdict::Trap, "main.lua:3: broken"));
    let trace = fault.trace.unwrap();
    assert!(trace.contains("in function 'inner'") && trace.contains("main.lua:4"), "{trace}");
    let refusal = crate::fake::fault("assert(forebay.response.headers.set('a', 'b'))");
    assert!(refusal.message.starts_with("PHASE_DENIED: response.headers.set: not in phase request"), "{refusal}");
    let odd = crate::fake::fault("error()");
    assert_eq!((odd.verdict, odd.message.as_str()), (Verdict::Trap, "an error value that is a nil"));
}

#[test]
fn a_file_is_loaded_within_the_limits_that_are_given_for_its_start() {
    let large = "local t = {} for i = 1, 20 do t[i] = ('x'):rep(3e6) .. i end return {}";
    let folder = Folder::new().with("main.lua", large);
    let error = folder.load().map(|_| ()).unwrap_err();
    assert!(error.message.contains("33554432 bytes"), "{error}");
    let limits = Limits { start_cpu: Duration::from_secs(20), memory: 256 << 20, ..Limits::default() };
    assert!(forebay_lua::load_within(&folder.path("main.lua"), None, &limits).is_ok());
    let endless = Folder::new().with("main.lua", "while true do end");
    for (millis, text) in [(40, "ran longer than 40ms"), (60, "ran longer than 60ms")] {
        let limits = Limits { start_cpu: Duration::from_millis(millis), ..Limits::default() };
        let error = forebay_lua::load_within(&endless.path("main.lua"), None, &limits).map(|_| ()).unwrap_err();
        assert!(error.message.contains(&format!("{text} while it was loaded (limit start_cpu)")), "{error}");
    }
}
