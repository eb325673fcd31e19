//! How modules start, and the WASI that they find.

use abi::Verdict;

use super::fake::{Fake, Tried, load_text, module, start_fault};

fn started(text: &str) -> String {
    let host = Fake::new();
    drop(load_text(text).unwrap().instantiate(host.clone()).unwrap());
    host.log_text()
}

const VM_START: &str =
    r#"(func (export "proxy_on_vm_start") (param i32 i32) (result i32) (call $num (i32.const 9)) (i32.const 1))"#;

#[test]
fn reactors_commands_and_start_functions_all_start_before_vm_start() {
    for (body, lines) in [
        (r#"(func (export "_initialize") (call $num (i32.const 1)))"#, "Info 1\nInfo 9\n"),
        (
            r#"(func (export "_initialize") (call $num (i32.const 1)))
            (func (export "main") (param i32 i32) (result i32) (call $num (i32.const 2)) (i32.const 0))
            (func (export "_start") (unreachable))"#,
            "Info 1\nInfo 2\nInfo 9\n",
        ),
        (
            r#"(func (export "_initialize") (call $num (i32.const 1)))
            (func (export "__main_void") (result i32) (call $num (i32.const 3)) (i32.const 0))"#,
            "Info 1\nInfo 3\nInfo 9\n",
        ),
        (r#"(func (export "_start") (call $num (i32.const 4)))"#, "Info 4\nInfo 9\n"),
        // AssemblyScript's: the host is asked before the module is even there.
        (r#"(func $s (call $num (i32.const 5))) (start $s)"#, "Info 5\nInfo 9\n"),
    ] {
        assert_eq!(started(&module(&[], &format!("{body} {VM_START}"))), lines);
    }
}

#[test]
fn a_start_function_can_be_given_values() {
    let text = module(
        &[("proxy_get_property", "iiii")],
        r#"(data (i32.const 1024) "plugin_name")
        (func $s (drop (call $get_property (i32.const 1024) (i32.const 11) (i32.const 128) (i32.const 132)))
            (call $show (i32.const 128))) (start $s)"#,
    );
    assert_eq!(started(&text), "Info tried\n");
}

fn wasi(module_name: &str, imports: &[(&str, &str)], body: &str) -> String {
    let imports: String = imports
        .iter()
        .map(|(name, params)| {
            let params: String = params.chars().map(|c| if c == 'l' { " i64" } else { " i32" }).collect();
            let result = if *name == "proc_exit" { "" } else { "(result i32)" };
            format!("(import \"{module_name}\" \"{name}\" (func ${name} (param{params}) {result}))\n")
        })
        .collect();
    let text = module(
        &[],
        &format!(r#"(data (i32.const 1024) "{}") {body}"#, r"\00\10\00\00\03\00\00\00\03\10\00\00\04\00\00\00"),
    );
    text.replacen("(module", &format!("(module {imports}"), 1)
}

const ON_HEADERS: &str = r#"(data (i32.const 4096) "ab\0ac\0ade") (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)"#;

#[test]
fn what_is_printed_is_logged_by_lines_under_both_names_of_wasi() {
    for name in ["wasi_snapshot_preview1", "wasi_unstable"] {
        let body = format!(
            "{ON_HEADERS}
            (call $num (call $fd_write (i32.const 1) (i32.const 1024) (i32.const 2) (i32.const 128)))
            (call $num (i32.load (i32.const 128)))
            (call $num (call $fd_write (i32.const 2) (i32.const 1024) (i32.const 1) (i32.const 128)))
            (call $num (call $fd_write (i32.const 3) (i32.const 1024) (i32.const 1) (i32.const 128)))
            (call $num (call $fd_write (i32.const 1) (i32.const 65532) (i32.const 9) (i32.const 128)))
            (call $num (call $fd_write (i32.const 1) (i32.const -8) (i32.const 2) (i32.const 128)))
            (i32.const 0))"
        );
        let mut tried = Tried::text(&wasi(name, &[("fd_write", "iiii")], &body));
        tried.request().unwrap();
        // The line that was left open is logged when the callback ends.
        let log = "Info ab\nInfo c\nInfo 0\nInfo 7\nError ab\nInfo 0\nInfo 8\nInfo 21\nInfo 21\nInfo de\n";
        assert_eq!(tried.host.log_text(), log, "{name}");
    }
}

#[test]
fn a_runtime_that_looks_around_finds_what_it_expects() {
    let calls = [
        ("fd_prestat_get", "ii", 8),
        ("poll_oneoff", "iiii", 0),
        ("clock_time_get", "ili", 0),
        ("clock_res_get", "ii", 0),
        ("random_get", "ii", 0),
        ("environ_sizes_get", "ii", 0),
        ("environ_get", "ii", 0),
        ("args_sizes_get", "ii", 0),
        ("args_get", "ii", 0),
        ("sched_yield", "", 0),
        ("fd_fdstat_get", "ii", 0),
        ("fd_read", "iiii", 0),
        ("fd_close", "i", 8),
        ("fd_seek", "ilii", 8),
        ("path_open", "iiiiillii", 8),
        ("proc_raise", "i", 52),
    ];
    let mut body = ON_HEADERS.to_owned();
    let mut lines = String::new();
    for (name, params, errno) in calls {
        // Numbers of files and clocks are 0, pointers 256.
        let arguments: String = params
            .chars()
            .enumerate()
            .map(|(i, c)| {
                if c == 'l' {
                    "(i64.const 0)".to_owned()
                } else {
                    format!(
                        "(i32.const {})",
                        if i == 0 && name != "random_get" && !name.ends_with("sizes_get") { 0 } else { 256 }
                    )
                }
            })
            .collect();
        body += &format!("(call $num (call ${name} {arguments}))");
        lines += &format!("Info {errno}\n");
    }
    body += "(i32.const 0))";
    let imports = calls.map(|(name, params, _)| (name, params));
    for name in ["wasi_snapshot_preview1", "wasi_unstable"] {
        let mut tried = Tried::text(&wasi(name, &imports, &body).replace("(param) ", ""));
        tried.request().unwrap();
        assert_eq!(tried.host.log_text(), lines, "{name}");
    }
}

#[test]
fn time_of_the_day_is_the_hosts_and_random_bytes_differ() {
    let body = format!(
        "{ON_HEADERS}
        (drop (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 256)))
        (call $num (i32.wrap_i64 (i64.rem_u (i64.load (i32.const 256)) (i64.const 1000))))
        (call $num (call $clock_time_get (i32.const 9) (i64.const 0) (i32.const 256)))
        (drop (call $random_get (i32.const 256) (i32.const 16)))
        (call $num (i64.eq (i64.load (i32.const 256)) (i64.load (i32.const 264))))
        (call $num (call $random_get (i32.const 65530) (i32.const 16)))
        (call $num (call $random_get (i32.const 0) (i32.const -1)))
        (i32.const 0))"
    );
    let mut tried =
        Tried::text(&wasi("wasi_snapshot_preview1", &[("clock_time_get", "ili"), ("random_get", "ii")], &body));
    tried.request().unwrap();
    assert_eq!(tried.host.log_text(), "Info 5\nInfo 28\nInfo 0\nInfo 21\nInfo 28\n");
}

#[test]
fn an_exit_ends_the_plugin_and_not_the_host() {
    let exit = [("proc_exit", "i")];
    let body = format!("{ON_HEADERS} (call $proc_exit (i32.const 3)) (i32.const 0))");
    let fault = Tried::text(&wasi("wasi_snapshot_preview1", &exit, &body)).request().unwrap_err();
    assert_eq!((fault.verdict, &*fault.message), (Verdict::Trap, "the plugin called proc_exit(3)"));
    // A command that ends well has started; one that ends badly has not.
    let start = |code: u32| {
        let body = format!(r#"(func (export "_start") (call $proc_exit (i32.const {code}))) {VM_START}"#);
        wasi("wasi_unstable", &exit, &body)
    };
    assert_eq!(started(&start(0)), "Info 9\n");
    assert_eq!(start_fault(&start(1), Fake::new()).message, "the plugin called proc_exit(1)");
}

#[test]
fn a_panic_that_was_printed_is_in_the_fault() {
    let body = format!(
        "{ON_HEADERS} (drop (call $fd_write (i32.const 2) (i32.const 1024) (i32.const 2) (i32.const 128))) (unreachable))"
    );
    let fault = Tried::text(&wasi("wasi_snapshot_preview1", &[("fd_write", "iiii")], &body)).request().unwrap_err();
    assert!(fault.message.ends_with("; the plugin said: ab\nc\nde"), "{fault}");
}

#[test]
fn emscripten_finds_its_two_functions() {
    let text = module(&[], r#"(func (export "_initialize") (call $num (call $equal (i32.const 1) (i32.const 1))) (call $grown (i32.const 0)))"#)
        .replacen("(module", r#"(module (import "env" "pthread_equal" (func $equal (param i32 i32) (result i32)))
            (import "env" "emscripten_notify_memory_growth" (func $grown (param i32)))"#, 1);
    assert_eq!(started(&text), "Info 1\n");
}
