//! Attacks on the host by way of a guest's word: each is refused, or ends as a fault with the right
//! verdict soon after its deadline.

use std::time::{Duration, Instant};

use abi::{Event, Map, Value, Verdict};

use super::fake::{EXCHANGE, Fake, Tried, load_bytes, module, on_request};

/// CPU time of this thread.
fn cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is ours to be written.
    #[allow(unsafe_code)]
    unsafe {
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time)
    };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The fault of `text`, which must come at most 60 ms of CPU past its limit (a debug build, and tests side by
/// side).
fn ends_soon(name: &str, text: &str, host: std::rc::Rc<Fake>) -> abi::Fault {
    let most = host.settings.limits.cpu + Duration::from_millis(60);
    let mut tried = Tried::text_with(text, host);
    let start = cpu();
    let fault = tried.request().map(|action| panic!("{name}: {action:?}")).unwrap_err();
    let took = cpu() - start;
    println!("{name}: {took:?} {fault}");
    assert!(took < most, "{name}: took {took:?}: {fault}");
    fault
}

/// With time for [`FILL`], which may take the usual 10 ms, and for what comes after it.
fn filled() -> std::rc::Rc<Fake> {
    Fake::with(|settings| settings.limits.cpu = Duration::from_millis(50))
}

const FILL: &str = "(drop (memory.grow (i32.const 479)))
    (memory.fill (i32.const 65536) (i32.const BYTE) (i32.const 31391744))";

/// 1024 pieces of 30 MB each in one call: nothing looks at the clock inside it.
#[test]
fn printing_without_end_in_one_call_ends_at_the_deadline() {
    for byte in ["0", "10", "120"] {
        let text = module(
            &[],
            &format!(
                r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $i i32)
                {}
                (loop $l
                    (i32.store (i32.add (i32.const 8192) (i32.mul (local.get $i) (i32.const 8))) (i32.const 65536))
                    (i32.store (i32.add (i32.const 8196) (i32.mul (local.get $i) (i32.const 8))) (i32.const 31391744))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $l (i32.lt_u (local.get $i) (i32.const 1024))))
                (loop $again (drop (call $fd_write (i32.const 2) (i32.const 8192) (i32.const 1024) (i32.const 16))) (br $again))
                (i32.const 0))"#,
                FILL.replace("BYTE", byte)
            ),
        );
        let import =
            r#"(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))"#;
        let text = text.replacen("(module", &format!("(module {import}"), 1);
        let host = filled();
        assert_eq!(ends_soon(&format!("fd_write of {byte}"), &text, host.clone()).verdict, Verdict::Cpu);
        assert!(host.lines.borrow().iter().all(|(_, line)| line.len() < 70_000));
    }
}

#[test]
fn a_huge_line_is_logged_cut() {
    for byte in ["120", "255", "0"] {
        for level in [2, 5] {
            let text = on_request(
                &[],
                "",
                &format!(
                    "{} (loop $l (drop (call $log (i32.const {level}) (i32.const 65536) (i32.const 31391744))) (br $l))",
                    FILL.replace("BYTE", byte)
                ),
            );
            let host = filled();
            assert_eq!(ends_soon("log", &text, host.clone()).verdict, Verdict::Cpu);
            assert!(host.lines.borrow().iter().all(|(_, line)| line.len() < 70_000));
        }
    }
}

/// Each NUL divides: a path of nothing else would become a list 16 times its size.
#[test]
fn a_path_of_nothing_but_separators_is_refused() {
    for (name, call) in [
        (
            "proxy_get_property",
            "(call $get_property (i32.const 65536) (i32.const 31391744) (i32.const 16) (i32.const 20))",
        ),
        (
            "proxy_set_property",
            "(call $set_property (i32.const 65536) (i32.const 31391744) (i32.const 16) (i32.const 1))",
        ),
    ] {
        let text = on_request(
            &[(name, "iiii")],
            "",
            &format!("{} (call $num {call}) (loop $l (drop {call}) (br $l))", FILL.replace("BYTE", "0")),
        );
        let host = filled();
        assert_eq!(ends_soon(name, &text, host.clone()).verdict, Verdict::Cpu);
        assert!(host.lines.borrow().iter().any(|(_, line)| line == "2"), "{:?}", host.lines.borrow().last());
    }
}

/// The same module, which can be told of the end of a wait.
fn with_replies(text: &str) -> String {
    let end = text.rfind(')').unwrap();
    format!(r#"{} (func (export "forebay_on_reply") (param i32 i32 i32)))"#, &text[..end])
}

/// What `call` is answered in a module whose memory has 30 MB of zeros, with `stores` done before; and the
/// CPU time of it.
fn asked(imports: &[(&'static str, &'static str)], stores: &[(u32, u32)], call: &str) -> (String, Duration) {
    let stores: String =
        stores.iter().map(|(at, is)| format!("(i32.store (i32.const {at}) (i32.const {is}))")).collect();
    let text =
        on_request(imports, "", &format!("(drop (memory.grow (i32.const 479))) {stores} (call $num (call {call}))"));
    let text = with_replies(&text);
    let host = filled();
    let mut tried = Tried::text_with(&text, host.clone());
    let start = cpu();
    let done = tried.request();
    let took = cpu() - start;
    done.unwrap_or_else(|fault| panic!("{call}: {fault}"));
    let line = host.lines.borrow().last().unwrap().1.clone();
    (line, took)
}

/// A list of millions of empty items is hundreds of megabytes of the host's and seconds of its worker, before
/// anybody could ask what they are for. Here it took 3 s.
#[test]
fn a_list_of_millions_in_one_call_is_refused_before_it_is_read() {
    let packed = |len: u32| format!("(i32.const 65536) (i32.const {len}) (i32.const 16) (i32.const 20)");
    for (import, name, stores, len) in [
        ("forebay_metric_define", "$forebay_metric_define", [(65544, 3_000_000)], 24_000_012),
        ("forebay_kv_eval", "$forebay_kv_eval", [(65544, 6_000_000)], 24_000_012),
        ("forebay_http_call_all", "$forebay_http_call_all", [(65536, 600_000)], 24_000_000),
        // One callout, with headers by the million.
        ("forebay_http_call_all", "$forebay_http_call_all", [(65536, 1)], 24_000_000),
    ] {
        let mut stores = stores.to_vec();
        if stores == [(65536, 1)] {
            stores.push((65556, 2_900_000));
        }
        let (answer, took) = asked(&[(import, "iiii")], &stores, &format!("{name} {}", packed(len)));
        assert_eq!(answer, "2", "{import}");
        assert!(took < Duration::from_millis(40), "{import}: {took:?}");
    }
}

#[test]
fn a_name_of_megabytes_is_refused_before_it_is_looked_up() {
    let long = "(i32.const 65536) (i32.const 31391744)";
    for (import, shape, call) in [
        (
            "proxy_get_shared_data",
            "iiiii",
            format!("$get_shared_data {long} (i32.const 16) (i32.const 20) (i32.const 24)"),
        ),
        ("proxy_set_shared_data", "iiiii", format!("$set_shared_data {long} {long} (i32.const 0)")),
        (
            "proxy_set_shared_data",
            "iiiii",
            format!("$set_shared_data (i32.const 0) (i32.const 1) {long} (i32.const 0)"),
        ),
        ("proxy_define_metric", "iiii", format!("$define_metric (i32.const 0) {long} (i32.const 16)")),
        ("proxy_register_shared_queue", "iii", format!("$register_shared_queue {long} (i32.const 16)")),
        (
            "proxy_get_header_map_value",
            "iiiii",
            format!("$get_header_map_value (i32.const 0) {long} (i32.const 16) (i32.const 20)"),
        ),
        (
            "proxy_add_header_map_value",
            "iiiii",
            format!("$add_header_map_value (i32.const 0) (i32.const 0) (i32.const 1) {long}"),
        ),
    ] {
        let (answer, took) = asked(&[(import, shape)], &[], &call);
        // No header has such a name; nothing else may have one.
        let refused = if import == "proxy_get_header_map_value" { "1" } else { "2" };
        assert_eq!(answer, refused, "{import}");
        assert!(took < Duration::from_millis(40), "{import}: {took:?}");
    }
}

/// What may be large is copied within the deadline.
#[test]
fn a_body_of_megabytes_is_copied_within_the_deadline() {
    let body = "(i32.const 65536) (i32.const 31391744)";
    for (imports, stores, call) in [
        (
            [("forebay_http_call_all", "iiii")],
            vec![(65536, 1), (65560, 31_000_000)],
            "$forebay_http_call_all (i32.const 65536) (i32.const 31391744) (i32.const 16) (i32.const 20)".to_owned(),
        ),
        (
            [("proxy_send_local_response", "iiiiiiii")],
            vec![],
            format!(
                "$send_local_response (i32.const 200) (i32.const 0) (i32.const 0) {body} (i32.const 0) (i32.const 0) (i32.const -1)"
            ),
        ),
    ] {
        let stores: String =
            stores.iter().map(|(at, is)| format!("(i32.store (i32.const {at}) (i32.const {is}))")).collect();
        let text = on_request(
            &imports,
            "",
            &format!("(drop (memory.grow (i32.const 479))) {stores} (loop $l (drop (call {call})) (br $l))"),
        );
        let host = Fake::with(|settings| settings.limits.cpu = Duration::from_millis(2));
        assert_eq!(ends_soon(imports[0].0, &with_replies(&text), host).verdict, Verdict::Cpu);
    }
}

/// A module whose allocator does `body`, and which asks for a header when a request comes.
fn allocating(imports: &[(&'static str, &'static str)], body: &str) -> String {
    let text = on_request(
        &[&[("proxy_get_header_map_value", "iiiii")], imports].concat(),
        "a",
        "(call $num (call $get_header_map_value (i32.const 0) (i32.const 1024) (i32.const 1) (i32.const 16) (i32.const 20)))",
    );
    let start = text.find("(global.get $next)").unwrap();
    let end = text.find("(func $num").unwrap();
    format!("{}{body})\n{}", &text[..start], &text[end..])
}

#[test]
fn an_allocator_can_do_nothing_but_fail() {
    let host = || {
        let host = Fake::new();
        host.put(Map::RequestHeaders, "a", "value");
        host.properties.borrow_mut().insert("a".into(), Value::Bytes(b"v".to_vec()));
        host
    };
    let fault = ends_soon("loop", &allocating(&[], "(loop $l (br $l)) (i32.const 8)"), host());
    assert_eq!(fault.verdict, Verdict::Cpu);
    let fault = ends_soon("trap", &allocating(&[], "(unreachable)"), host());
    assert_eq!(fault.verdict, Verdict::Trap);
    // The host asks the guest, which asks the host, and so on.
    let again =
        "(drop (call $get_property (i32.const 1024) (i32.const 1) (i32.const 16) (i32.const 20))) (i32.const 40960)";
    let fault = ends_soon("recursion", &allocating(&[("proxy_get_property", "iiii")], again), host());
    assert_eq!(fault.verdict, Verdict::Trap, "{fault}");
    let grows = "(if (i32.eq (memory.grow (i32.const 10000)) (i32.const -1)) (then (unreachable))) (i32.const 8)";
    let fault = ends_soon("growth", &allocating(&[], grows), host());
    assert_eq!(fault.verdict, Verdict::Memory);
    // Pointers that point nowhere are an answer to the guest.
    for at in ["-1", "0", "65535", "65532", "2147483647"] {
        let host = host();
        let mut tried = Tried::text_with(&allocating(&[], &format!("(i32.const {at})")), host.clone());
        tried.request().unwrap_or_else(|fault| panic!("{at}: {fault}"));
        assert!(host.lines.borrow().iter().any(|(_, line)| line == "6"), "{at}: {:?}", host.lines.borrow());
        tried.instance.close(EXCHANGE);
    }
}

/// Of proposals that this engine has or has not: loaded, or refused, but nothing else.
#[test]
fn modules_of_newer_proposals_load_or_are_refused() {
    let header = r#"(func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.const 8))"#;
    for (name, text) in [
        ("shared memory", format!(r#"(module (memory (export "memory") 1 2 shared) {header})"#)),
        ("64-bit memory", format!(r#"(module (memory (export "memory") i64 1) {header})"#)),
        ("two memories", format!(r#"(module (memory (export "memory") 1) (memory 1) {header})"#)),
        ("a huge memory", format!(r#"(module (memory (export "memory") 65536) {header})"#)),
        ("a huge table", format!(r#"(module (memory (export "memory") 1) (table 10000000 funcref) {header})"#)),
        (
            "many tables",
            format!(r#"(module (memory (export "memory") 1) {} {header})"#, "(table 1 funcref)".repeat(90)),
        ),
        (
            "vectors",
            format!(
                r#"(module (memory (export "memory") 1) (func (export "proxy_on_tick") (param i32) (drop (i32x4.splat (i32.const 1)))) {header})"#
            ),
        ),
        (
            "structures",
            format!(
                r#"(module (type $s (struct (field i32))) (memory (export "memory") 1) (func (export "proxy_on_tick") (param i32) (drop (struct.new $s (i32.const 1)))) {header})"#
            ),
        ),
        (
            "exceptions",
            format!(
                r#"(module (tag $t) (memory (export "memory") 1) (func (export "proxy_on_tick") (param i32) (throw $t)) {header})"#
            ),
        ),
        (
            "tail calls",
            format!(
                r#"(module (memory (export "memory") 1) (func $f (export "proxy_on_tick") (param i32) (return_call $f (local.get 0))) {header})"#
            ),
        ),
        (
            "atomics",
            format!(
                r#"(module (memory (export "memory") 1 1 shared) (func (export "proxy_on_tick") (param i32) (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))) {header})"#
            ),
        ),
        (
            "data past the end",
            format!(r#"(module (memory (export "memory") 1) (data (i32.const 65530) "0123456789") {header})"#),
        ),
        ("memory that is a global", format!(r#"(module (global (export "memory") i32 (i32.const 1)) {header})"#)),
        (
            "malloc that is a memory",
            r#"(module (memory (export "memory") (export "malloc") 1) (func (export "proxy_abi_version_0_2_1")))"#
                .to_owned(),
        ),
        (
            "main of floats",
            format!(
                r#"(module (memory (export "memory") 1) (func (export "_initialize")) (func (export "main") (param f64) (result f64) (local.get 0)) {header})"#
            ),
        ),
    ] {
        let Ok(wasm) = wat::parse_str(&text) else { panic!("{name} is no text") };
        let start = cpu();
        match load_bytes(&wasm) {
            Err(error) => println!("{name}: {error}"),
            Ok(plugin) => match Tried::start(&*plugin, Fake::new()) {
                Err(fault) => println!("{name}: {fault}"),
                Ok(mut tried) => println!("{name}: {:?} {:?}", tried.request(), tried.call(Event::Tick)),
            },
        }
        assert!(cpu() - start < Duration::from_secs(3), "{name}");
    }
}

#[test]
fn a_module_of_a_hundred_megabytes_is_refused_at_once() {
    let folder = std::env::temp_dir().join(format!("forebay-wasm-large-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("large.wasm");
    std::fs::File::create(&path).unwrap().set_len(100 << 20).unwrap();
    let start = Instant::now();
    let error = forebay_wasm::load(&path).map(|_| ()).unwrap_err();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(error.message.contains("104857600 bytes"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(2));
}
