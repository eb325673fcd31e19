//! Plugins that misbehave: what each ends as, and that it ends there.

use std::time::{Duration, Instant};

use abi::{Event, Phase, Verdict};

use super::fake::{EXCHANGE, Fake, Tried, load_text, module, on_request, start_fault};

/// Until the fault; then the instance must neither be called again nor fail its close.
fn fault_of(text: &str) -> abi::Fault {
    let mut tried = Tried::text(text);
    let fault = tried.request().unwrap_err();
    assert!(!tried.instance.healthy());
    let again = tried.call(Event::ResponseHeaders { end_of_stream: true }).unwrap_err();
    assert!(again.message.contains("had a fault before"), "{again}");
    tried.instance.close(EXCHANGE);
    fault
}

#[test]
fn an_endless_loop_ends_at_its_cpu_limit() {
    let start = Instant::now();
    let fault = fault_of(&on_request(&[], "", "(loop $l (br $l))"));
    assert_eq!(fault.verdict, Verdict::Cpu);
    assert_eq!(fault.message, "used more than 10ms of CPU time");
    assert!(fault.trace.is_some_and(|trace| trace.contains("wasm")));
    // Wall time is what a busy machine makes of it; seconds would be another bug.
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_loop_over_hostcalls_ends_too() {
    let text = on_request(
        &[("proxy_get_current_time_nanoseconds", "i")],
        "",
        "(loop $l (drop (call $get_current_time_nanoseconds (i32.const 128))) (br $l))",
    );
    assert_eq!(fault_of(&text).verdict, Verdict::Cpu);
}

/// CPU time past its limit that an endless guest gets.
const LATE: Duration = Duration::from_millis(2);

/// CPU time of this thread in one request, and how it ended.
fn timed(plugin: &dyn abi::Plugin, limit: Duration) -> (Duration, Option<abi::Fault>) {
    let host = Fake::with(|settings| {
        settings.limits.cpu = limit;
        settings.config = vec![b'x'; 16 << 20].into();
    });
    host.put(abi::Map::RequestHeaders, "a", "value");
    let mut tried = Tried::start(plugin, host).unwrap();
    let start = forebay_wasm::thread_cpu();
    let outcome = tried.request();
    (forebay_wasm::thread_cpu() - start, outcome.err())
}

/// How late a guest ends, the best of a few runs: what else runs here takes caches.
fn lateness(name: &str, text: &str, allowed: Duration) -> Duration {
    let plugin = load_text(text).unwrap();
    let limit = Duration::from_millis(10);
    let mut best = Duration::MAX;
    for _ in 0..12 {
        let (used, fault) = timed(&*plugin, limit);
        let fault = fault.unwrap_or_else(|| panic!("{name} ended by itself"));
        assert_eq!((fault.verdict, &*fault.message), (Verdict::Cpu, "used more than 10ms of CPU time"), "{name}");
        assert!(used >= limit, "{name} ended after {used:?}, before its limit");
        best = best.min(used - limit);
        if best < allowed {
            break;
        }
    }
    println!("{name}: {best:?} late, {allowed:?} allowed");
    best
}

/// Does `body` when a request comes; `$deep` calls itself as often as it is told.
fn endless(body: &str) -> String {
    let imports = [
        ("proxy_get_current_time_nanoseconds", "i"),
        ("proxy_get_header_map_pairs", "iii"),
        ("proxy_get_buffer_bytes", "iiiii"),
    ];
    on_request(&imports, "", body).replace(
        "(func (export \"proxy_on_request",
        "(table $t 100000 funcref) (elem declare func $deep)
        (func $deep (param i32) (if (local.get 0) (then (call $deep (i32.sub (local.get 0) (i32.const 1))))))
        (func (export \"proxy_on_request",
    )
}

#[test]
fn an_endless_guest_ends_within_2_ms_past_its_limit() {
    let guests = [
        ("a tight loop", ""),
        ("hostcalls", "(drop (call $get_current_time_nanoseconds (i32.const 128)))"),
        (
            "hostcalls that allocate",
            "(global.set $next (i32.const 32768))
            (drop (call $get_header_map_pairs (i32.const 0) (i32.const 128) (i32.const 132)))",
        ),
        ("deep recursion", "(call $deep (i32.const 2000))"),
        ("refused growth", "(drop (memory.grow (i32.const 512)))"),
        (
            "hostcalls that give 16 MiB",
            "(global.set $next (i32.const 131072))
            (drop (call $get_buffer_bytes (i32.const 7) (i32.const 0) (i32.const -1) (i32.const 128) (i32.const 132)))",
        ),
        ("1 MiB filled", "(memory.fill (i32.const 0) (i32.const 7) (i32.const 1048576))"),
        ("1 MiB copied", "(memory.copy (i32.const 1) (i32.const 0) (i32.const 1048575))"),
    ];
    for (name, body) in guests {
        let text = endless(&format!("(drop (memory.grow (i32.const 500))) (loop $l {body} (br $l))"));
        let late = lateness(name, &text, LATE);
        assert!(late < LATE, "{name}: {late:?} of CPU past its limit of 10 ms");
    }
}

/// Each of them would be one call into the engine, of 5 to 30 ms, if `src/bulk.rs` did not take it apart.
#[test]
fn bulk_operations_on_a_whole_memory_end_within_2_ms_past_their_limit_too() {
    for (name, operation) in [
        ("32 MiB filled", "(memory.fill (i32.const 0) (i32.const 7) (i32.const 33554432))"),
        ("16 MiB copied", "(memory.copy (i32.const 0) (i32.const 16777216) (i32.const 16777216))"),
        ("32 MiB copied up onto themselves", "(memory.copy (i32.const 1) (i32.const 0) (i32.const 33554431))"),
        ("32 MiB copied down onto themselves", "(memory.copy (i32.const 0) (i32.const 1) (i32.const 33554431))"),
        ("30 MiB of a segment", "(memory.init $segment (i32.const 0) (i32.const 0) (i32.const 31457280))"),
        ("100,000 elements filled", "(table.fill $t (i32.const 0) (ref.func $deep) (i32.const 100000))"),
        ("99,999 elements copied up", "(table.copy $t $t (i32.const 1) (i32.const 0) (i32.const 99999))"),
        ("99,999 elements copied down", "(table.copy $t $t (i32.const 0) (i32.const 1) (i32.const 99999))"),
        ("100,000 elements of a segment", "(table.init $t $elements (i32.const 0) (i32.const 0) (i32.const 100000))"),
    ] {
        let mut text = endless(&format!("(drop (memory.grow (i32.const 511))) (loop $l {operation} (br $l))"));
        let segments = [
            ("$segment", format!("(data $segment \"{}\")", "x".repeat(30 << 20))),
            ("$elements", format!("(elem $elements func {})", "$deep ".repeat(100_000))),
        ];
        for (name, segment) in segments {
            if operation.contains(name) {
                text = text.replacen(
                    "(func (export \"proxy_on_request",
                    &format!("{segment} (func (export \"proxy_on_request"),
                    1,
                );
            }
        }
        let late = lateness(name, &text, LATE);
        assert!(late < LATE, "{name}: {late:?} of CPU past its limit of 10 ms");
    }
}

#[test]
fn a_long_wait_for_the_core_is_no_fault() {
    // The host sleeps inside a hostcall: wall time passes, CPU time does not.
    let host = Fake::new();
    let text = on_request(
        &[("proxy_get_current_time_nanoseconds", "i")],
        "",
        "(local $n i32) (loop $l (drop (call $get_current_time_nanoseconds (i32.const 128)))
            (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if $l (i32.lt_u (local.get $n) (i32.const 20))))",
    );
    host.slow.set(Duration::from_millis(3));
    let mut tried = Tried::text_with(&text, host);
    let start = Instant::now();
    tried.request().unwrap();
    assert!(start.elapsed() > Duration::from_millis(50));
    assert!(tried.instance.healthy());
}

#[test]
fn each_callback_has_its_own_cpu_limit() {
    // About 6 ms of CPU time each, with a limit of 10: ten of them are no fault.
    let text = on_request(
        &[],
        "",
        "(local $n i32) (loop $l (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $n) (i32.const 1000000))))",
    );
    let mut tried = Tried::text(&text);
    for _ in 0..20 {
        tried.request().unwrap();
    }
}

#[test]
fn a_start_has_a_cpu_limit_of_its_own() {
    let host = || Fake::with(|settings| settings.limits.start_cpu = Duration::from_millis(30));
    for callback in ["proxy_on_vm_start", "proxy_on_configure"] {
        let text = module(
            &[],
            &format!(r#"(func (export "{callback}") (param i32 i32) (result i32) (loop $l (br $l)) (unreachable))"#),
        );
        let fault = start_fault(&text, host());
        assert_eq!((fault.verdict, &*fault.message), (Verdict::Cpu, "used more than 30ms of CPU time"));
    }
    let fault = start_fault(&module(&[], r#"(func (export "_initialize") (loop $l (br $l)))"#), host());
    assert_eq!(fault.verdict, Verdict::Cpu);
    let fault = start_fault(&module(&[], "(func $s (loop $l (br $l))) (start $s)"), host());
    assert_eq!(fault.verdict, Verdict::Cpu);
}

#[test]
fn memory_past_the_limit_is_refused_and_what_traps_then_ran_out_of_memory() {
    let grow = "(if (i32.eq (memory.grow (i32.const 1000)) (i32.const -1)) (then (unreachable)))";
    let fault = fault_of(&on_request(&[], "", grow));
    assert_eq!(fault.verdict, Verdict::Memory);
    assert_eq!(fault.message, format!("asked for {} bytes of memory, its limit is {}", 1001 << 16, 32 << 20));
    // Up to the limit there is memory, and a guest that lives with a refusal lives.
    let text = on_request(
        &[],
        "",
        "(call $num (memory.grow (i32.const 511))) (call $num (i32.eq (memory.grow (i32.const 1)) (i32.const -1)))",
    );
    let mut tried = Tried::text(&text);
    tried.request().unwrap();
    assert_eq!(tried.host.log_text(), "Info 1\nInfo 1\n");
    assert!(tried.instance.healthy());
}

#[test]
fn a_refusal_long_ago_does_not_rename_a_trap() {
    let text = module(
        &[],
        r#"
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (drop (memory.grow (i32.const 1000))) (i32.const 0))
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (unreachable))"#,
    );
    let mut tried = Tried::text(&text);
    tried.request().unwrap();
    tried.host.phase.set(Phase::Response);
    assert_eq!(tried.call(Event::ResponseHeaders { end_of_stream: true }).unwrap_err().verdict, Verdict::Trap);
}

#[test]
fn a_module_that_begins_past_its_memory_limit_does_not_start() {
    let text = module(&[], "").replace("(memory (export \"memory\") 1)", "(memory (export \"memory\") 600)");
    let fault = start_fault(&text, Fake::new());
    assert_eq!(fault.verdict, Verdict::Memory);
    assert_eq!(fault.message, format!("asked for {} bytes of memory, its limit is {}", 600 << 16, 32 << 20));
}

#[test]
fn a_trap_has_a_backtrace_with_names() {
    let text = module(
        &[],
        r#"
        (func $deep (unreachable))
        (func $on_headers (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $deep) (i32.const 0))"#,
    );
    let fault = fault_of(&text);
    assert_eq!(fault.verdict, Verdict::Trap);
    assert_eq!(fault.message, "wasm trap: wasm `unreachable` instruction executed");
    let trace = fault.trace.unwrap();
    assert!(trace.find("deep").unwrap() < trace.find("on_headers").unwrap(), "{trace}");
}

/// A long operation is done by a function that is not the author's: the trace has theirs alone, and where
/// they are in the file that the author has.
#[test]
fn a_trap_of_a_bulk_operation_is_where_its_author_wrote_it() {
    let text = on_request(&[], "", "(call $clear (i32.const 65536)) (call $clear (i32.const 65537))").replace(
        "(func (export \"proxy_on_request",
        "(func $clear (param $length i32) (memory.fill (i32.const 0) (i32.const 0) (local.get $length)))
        (func $on_headers (export \"proxy_on_request",
    );
    let fault = fault_of(&text);
    assert_eq!(fault.message, "wasm trap: out of bounds memory access");
    let trace = fault.trace.unwrap();
    let frames: Vec<_> = trace.lines().collect();
    assert_eq!(frames.len(), 2, "{trace}");
    let bytes = wat::parse_str(&text).unwrap();
    let written = [("clear", &[0xfc, 0x0b, 0x00][..]), ("on_headers", &[0x10])];
    for (number, (frame, (name, instruction))) in frames.iter().zip(written).enumerate() {
        let (begin, place) = frame.split_once("0x").unwrap();
        assert_eq!(begin.trim(), format!("{number}:"), "{trace}");
        let (offset, function) = place.split_once(" - ").unwrap();
        assert!(function.ends_with(name), "{trace}");
        let at = usize::from_str_radix(offset, 16).unwrap();
        assert!(bytes[at..].starts_with(instruction), "{trace}: {:x?}", &bytes[at..at + 4]);
    }
}

#[test]
fn every_kind_of_trap_is_a_trap() {
    for body in [
        "(drop (i32.load (i32.const 65536)))",
        "(drop (i32.div_u (i32.const 1) (i32.const 0)))",
        "(call $forever)",
        "(call_indirect (type $t) (i32.const 7))",
    ] {
        let text = on_request(&[], "", body).replace(
            "(func (export \"proxy_on_request",
            "(type $t (func)) (table 1 funcref) (func $forever (call $forever)) (func (export \"proxy_on_request",
        );
        let fault = fault_of(&text);
        assert_eq!(fault.verdict, Verdict::Trap, "{body}: {fault}");
    }
}

#[test]
fn what_a_plugin_said_last_is_in_its_fault() {
    let text = on_request(
        &[],
        "panicked at src/lib.rs:3",
        "(drop (call $log (i32.const 5) (i32.const 1024) (i32.const 24))) (unreachable)",
    );
    let fault = fault_of(&text);
    assert!(fault.message.ends_with("; the plugin said: panicked at src/lib.rs:3"), "{fault}");
}

#[test]
fn a_start_that_returns_false_or_traps_is_a_refused_configuration() {
    for callback in ["vm_start", "configure"] {
        let text = |body: &str| {
            module(&[], &format!(r#"(func (export "proxy_on_{callback}") (param i32 i32) (result i32) {body})"#))
        };
        let fault = start_fault(&text("(i32.const 0)"), Fake::new());
        assert_eq!((fault.verdict, fault.message), (Verdict::Config, format!("on_{callback} returned false")));
        assert_eq!(start_fault(&text("(unreachable)"), Fake::new()).verdict, Verdict::Config);
    }
}

#[test]
fn a_table_cannot_grow_without_end() {
    let text = on_request(
        &[],
        "",
        "(call $num (i32.eq (table.grow $grown (ref.null func) (i32.const 10000000)) (i32.const -1)))",
    )
    .replace("(func (export \"proxy_on_request", "(table $grown 1 funcref) (func (export \"proxy_on_request");
    let mut tried = Tried::text(&text);
    tried.request().unwrap();
    assert_eq!(tried.host.log_text(), "Info 1\n");
}

#[test]
fn a_panic_of_the_host_stays_in_the_call() {
    let host = Fake::new();
    host.panics.set(true);
    let plugin = load_text(&on_request(
        &[("proxy_get_current_time_nanoseconds", "i")],
        "",
        "(drop (call $get_current_time_nanoseconds (i32.const 128)))",
    ))
    .unwrap();
    let mut tried = Tried::start(&*plugin, host).unwrap();
    let fault = tried.request().unwrap_err();
    assert_eq!((fault.verdict, &*fault.message), (Verdict::Panic, "the Wasm engine panicked: a bug"));
    assert!(!tried.instance.healthy());
}

#[test]
fn a_fault_costs_its_own_instance_only() {
    let plugin = load_text(&on_request(&[("proxy_get_header_map_value", "iiiii")], "x-id",
        "(if (i32.eqz (call $get_header_map_value (i32.const 0) (i32.const 1024) (i32.const 4) (i32.const 128) (i32.const 132))) (then (unreachable)))")).unwrap();
    let (bad, good) = (Fake::new(), Fake::new());
    bad.put(abi::Map::RequestHeaders, "x-id", "1");
    let (mut bad, mut good) = (Tried::start(&*plugin, bad).unwrap(), Tried::start(&*plugin, good).unwrap());
    assert_eq!(bad.request().unwrap_err().verdict, Verdict::Trap);
    good.request().unwrap();
    assert!(good.instance.healthy());
}
