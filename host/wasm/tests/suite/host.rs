//! What is no part of the exchange: properties, shared data, metrics, log, time, our own calls.

use std::time::Duration;

use abi::{Action, ContextId, Event, LogLevel, MetricKind, Phase, Token, Value};

use super::fake::{Fake, Import, Tried, load_text, logged, module, on_request};

const PROPERTY: Import = ("proxy_get_property", "iiii");

fn property(at: u32, len: u32) -> String {
    format!("(call $num (call $get_property (i32.const {at}) (i32.const {len}) (i32.const 128) (i32.const 132)))")
}

#[test]
fn properties_come_in_proxy_wasms_encodings() {
    let host = Fake::new();
    let map = vec![(b"k".to_vec(), b"v".to_vec())];
    for (path, value) in [
        ("request.path", Value::Bytes(b"/x".to_vec())),
        ("request.size", Value::Int(-2)),
        ("request.time", Value::Nanos(1 << 33)),
        ("connection.mtls", Value::Bool(true)),
        ("request.headers", Value::Map(map)),
    ] {
        host.properties.borrow_mut().insert(path.to_owned(), value);
    }
    let data = r"request\00pathrequest\00size\00request\00timeconnection\00mtlsrequest\00headersnone";
    let value = "(i32.load (i32.const 128))";
    let num = |what: &str| format!("(call $num (i32.wrap_i64 {what}))");
    let body = [
        property(1024, 12) + "(call $show (i32.const 128))",
        // With the NUL at its end that SDKs for C++ put there.
        property(1036, 13) + &num(&format!("(i64.sub (i64.const 0) (i64.load {value}))")),
        property(1049, 12) + &num(&format!("(i64.shr_u (i64.load {value}) (i64.const 33))")),
        property(1061, 15) + &format!("(call $num (i32.load8_u {value})) (call $num (i32.load (i32.const 132)))"),
        property(1076, 15) + &format!("(call $num (i32.load {value})) (call $num (i32.load (i32.const 132)))"),
        property(1091, 4),
    ];
    let lines = logged(&[PROPERTY], data, &body.concat(), &host);
    assert_eq!(lines, ["0", "/x", "0", "2", "0", "1", "0", "1", "1", "0", "1", "16", "1"]);
}

#[test]
fn a_plugin_learns_its_own_names_and_an_empty_root_id() {
    let data = "plugin_root_idplugin_nameplugin_vm_id";
    let show = "(call $show (i32.const 128))";
    let body = [property(1024, 14), property(1038, 11), property(1049, 12)].map(|get| get + show).concat();
    assert_eq!(logged(&[PROPERTY], data, &body, &Fake::new()), ["0", "", "0", "tried", "0", "tried"]);
}

#[test]
fn a_property_that_was_set_is_read_along_the_chain() {
    let host = Fake::new();
    let body = format!(
        "(call $num (call $set_property (i32.const 1024) (i32.const 3) (i32.const 1027) (i32.const 2)))
        (call $num (call $set_property (i32.const 1024) (i32.const 0) (i32.const 1027) (i32.const 2)))
        {} (call $show (i32.const 128))",
        property(1024, 3)
    );
    let lines = logged(&[PROPERTY, ("proxy_set_property", "iiii")], r"a\00bhi", &body, &host);
    assert_eq!(lines, ["0", "proxy_set_property: an empty path", "2", "0", "hi"]);
}

#[test]
fn shared_data_has_versions_and_is_the_plugins_own() {
    let host = Fake::new();
    let set = |cas: u32| {
        format!(
            "(call $num (call $set_shared_data (i32.const 1024) (i32.const 1) (i32.const 1025) (i32.const 2) (i32.const {cas})))"
        )
    };
    let get = "(call $num (call $get_shared_data (i32.const 1024) (i32.const 1) (i32.const 128) (i32.const 132) (i32.const 136)))";
    let body = format!(
        "{get} {} {get} (call $show (i32.const 128)) (call $num (i32.load (i32.const 136))) {} {} {}",
        set(0),
        set(7),
        set(1),
        set(0)
    );
    let imports = [("proxy_get_shared_data", "iiiii"), ("proxy_set_shared_data", "iiiii")];
    assert_eq!(logged(&imports, "kvv", &body, &host), ["1", "0", "0", "vv", "1", "8", "0", "0"]);
    let dict = host.dict.borrow();
    assert_eq!(dict.keys().collect::<Vec<_>>(), [&("tried".to_owned(), b"k".to_vec())]);
    assert_eq!(dict.values().next().unwrap().1, 3);
}

#[test]
fn metrics_are_defined_counted_and_read() {
    let host = Fake::new();
    let define = |kind: u32| {
        format!("(call $num (call $define_metric (i32.const {kind}) (i32.const 1024) (i32.const 1) (i32.const 128)))")
    };
    let body = [
        define(0),
        "(call $num (i32.load (i32.const 128))) (call $num (call $increment_metric (i32.const 1) (i64.const 5)))"
            .into(),
        define(1),
        "(call $num (call $record_metric (i32.const 2) (i64.const 9)))
        (call $num (call $increment_metric (i32.const 2) (i64.const -2)))
        (call $num (call $get_metric (i32.const 2) (i32.const 136))) (call $num (i32.load (i32.const 136)))
        (call $num (call $get_metric (i32.const 77) (i32.const 136)))"
            .into(),
        define(2),
        define(3),
    ];
    let imports = [
        ("proxy_define_metric", "iiii"),
        ("proxy_increment_metric", "il"),
        ("proxy_record_metric", "il"),
        ("proxy_get_metric", "ii"),
    ];
    let lines = logged(&imports, "m", &body.concat(), &host);
    let refusal = "proxy_define_metric: 3 is no kind of metric (0 to 2)";
    assert_eq!(lines, ["0", "1", "0", "0", "0", "0", "0", "7", "1", "0", refusal, "2"]);
    let metrics = host.metrics.borrow();
    let kinds: Vec<_> = metrics.iter().map(|(kind, _, value)| (*kind, *value)).collect();
    assert_eq!(kinds, [(MetricKind::Counter, 5), (MetricKind::Gauge, 7), (MetricKind::Histogram, 0)]);
}

#[test]
fn the_log_keeps_levels_and_leaves_out_what_is_under_the_lowest() {
    let host = Fake::new();
    host.lowest.set(LogLevel::Warn);
    let log = |level: u32| format!("(drop (call $log (i32.const {level}) (i32.const 1024) (i32.const 2)))");
    let body = [0, 2, 3, 5].map(log).concat()
        + "(drop (call $get_log_level (i32.const 128))) (i32.store8 (i32.const 1024) (i32.add (i32.const 48) (i32.load (i32.const 128))))"
        + &log(4)
        + &log(6);
    let mut tried = Tried::text_with(&on_request(&[("proxy_get_log_level", "i")], "hi", &body), host.clone());
    tried.request().unwrap();
    let refusal = "Warn proxy_log: 6 is no log level (0 to 5)\n";
    assert_eq!(host.log_text(), format!("Warn hi\nCritical hi\nError 3i\n{refusal}"));
}

#[test]
fn time_and_tick() {
    let text = module(
        &[("proxy_set_tick_period_milliseconds", "i"), ("proxy_get_current_time_nanoseconds", "i")],
        r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
            (call $num (call $set_tick_period_milliseconds (i32.const 1500)))
            (call $num (call $get_current_time_nanoseconds (i32.const 128)))
            (call $num (i32.wrap_i64 (i64.rem_u (i64.load (i32.const 128)) (i64.const 1000)))) (i32.const 1))
        (func (export "proxy_on_tick") (param i32) (call $num (local.get 0)))"#,
    );
    let mut tried = Tried::text(&text);
    assert_eq!(tried.host.tick.get(), Some(Duration::from_millis(1500)));
    tried.host.phase.set(Phase::Background);
    tried.instance.call(ContextId::PLUGIN, Event::Tick).unwrap();
    assert_eq!(tried.host.log_text(), "Info 0\nInfo 0\nInfo 5\nInfo 1\n");
}

#[test]
fn our_calls_are_imports() {
    let has = |at: u32, len: u32| {
        format!(
            "(call $num (call $forebay_abi_has (i32.const {at}) (i32.const {len}) (i32.const 128))) (call $num (i32.load (i32.const 128)))"
        )
    };
    let body = [
        "(call $num (call $forebay_abi_version (i32.const 128))) (call $num (i32.load (i32.const 128)))".into(),
        has(1024, 5),
        has(1029, 18),
        has(1047, 4),
    ];
    let imports = [("forebay_abi_version", "i"), ("forebay_abi_has", "iii")];
    let lines = logged(&imports, "sleepforebay_time_sleepnone", &body.concat(), &Fake::new());
    assert_eq!(lines, ["0", "1", "0", "1", "0", "1", "0", "0"]);
}

#[test]
fn our_calls_are_foreign_functions_too_and_others_are_not_found() {
    let call = |at: u32, len: u32, arg: u32, arg_len: u32| {
        format!(
            "(call $num (call $call_foreign_function (i32.const {at}) (i32.const {len}) (i32.const {arg}) (i32.const {arg_len})
                (i32.const 128) (i32.const 132)))"
        )
    };
    let body = [
        call(1024, 19, 0, 0) + "(call $num (i32.load (i32.load (i32.const 128))))",
        call(1043, 15, 1058, 7)
            + "(call $num (i32.load8_u (i32.load (i32.const 128)))) (call $num (i32.load (i32.const 132)))",
        call(1058, 8, 0, 0),
        call(1066, 18, 0, 3),
    ];
    let data = "forebay_abi_versionforebay_abi_hasrespondXforebay_time_sleep";
    let lines = logged(&[("proxy_call_foreign_function", "iiiiii")], data, &body.concat(), &Fake::new());
    let refusal = "proxy_call_foreign_function: forebay_time_sleep takes 8 bytes: nanoseconds, little-endian";
    assert_eq!(lines, ["0", "1", "0", "1", "1", "1", refusal, "2"]);
}

const SLEEP: Import = ("forebay_time_sleep", "li");

fn sleeper(callback: &str) -> String {
    module(
        &[SLEEP],
        &format!(
            r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $num (call $forebay_time_sleep (i64.const 5000000000) (i32.const 128)))
            (call $num (i32.load (i32.const 128))) (i32.const 1))
            {callback}"#
        ),
    )
}

#[test]
fn the_end_of_a_sleep_is_told_to_ours_or_to_every_sdks_callback() {
    for callback in [
        r#"(func (export "forebay_on_timer") (param i32 i32) (call $num (local.get 0)) (call $num (local.get 1)))
        (func (export "proxy_on_foreign_function") (param i32 i32 i32) (unreachable))"#,
        r#"(func (export "proxy_on_foreign_function") (param i32 i32 i32)
            (call $num (local.get 0)) (call $num (local.get 1)))"#,
    ] {
        let mut tried = Tried::text(&sleeper(callback));
        assert_eq!(tried.request().unwrap(), Action::Pause);
        assert_eq!(*tried.host.sleeps.borrow(), [Duration::from_secs(5)]);
        assert_eq!(tried.call(Event::Timer { token: Token(90) }).unwrap(), Action::Pause);
        assert_eq!(tried.host.log_text(), "Info 0\nInfo 90\nInfo 2\nInfo 90\n");
    }
}

#[test]
fn who_cannot_be_told_of_the_end_cannot_sleep_and_our_imports_have_all_our_codes() {
    let mut tried = Tried::text(&sleeper(""));
    tried.request().unwrap();
    assert!(tried.host.sleeps.borrow().is_empty());
    assert!(tried.host.log_text().contains("exports neither forebay_on_timer nor"), "{}", tried.host.log_text());
    let mut tried = Tried::text(&sleeper(r#"(func (export "forebay_on_timer") (param i32 i32))"#));
    tried.host.phase.set(Phase::Origin);
    tried.request().unwrap();
    assert!(tried.host.log_text().contains("Info 101\n"), "{}", tried.host.log_text());
}

#[test]
fn shared_queues_are_registered_resolved_filled_and_emptied() {
    let host = Fake::new();
    let dequeue = |id: u32, out: u32| {
        format!("(call $num (call $dequeue_shared_queue (i32.const {id}) (i32.const {out}) (i32.const 132)))")
    };
    // `jobs`, `vm`, and an item.
    let body = format!(
        "(call $num (call $register_shared_queue (i32.const 1024) (i32.const 4) (i32.const 128))) (call $num (i32.load (i32.const 128)))
        (call $num (call $resolve_shared_queue (i32.const 1028) (i32.const 2) (i32.const 1024) (i32.const 4) (i32.const 128)))
        (call $num (i32.load (i32.const 128)))
        (call $num (call $resolve_shared_queue (i32.const 1028) (i32.const 1) (i32.const 1024) (i32.const 4) (i32.const 128)))
        (call $num (call $enqueue_shared_queue (i32.const 3) (i32.const 1030) (i32.const 4)))
        (call $num (call $enqueue_shared_queue (i32.const 4) (i32.const 1030) (i32.const 4)))
        {} {} (call $show (i32.const 128)) {} {}",
        dequeue(3, 65535),
        dequeue(3, 128),
        dequeue(3, 128),
        dequeue(4, 128)
    );
    let imports = [
        ("proxy_register_shared_queue", "iii"),
        ("proxy_resolve_shared_queue", "iiiii"),
        ("proxy_enqueue_shared_queue", "iii"),
        ("proxy_dequeue_shared_queue", "iii"),
    ];
    let lines = logged(&imports, "jobsvmitem", &body, &host);
    let outside =
        "proxy_dequeue_shared_queue: pointer 0xffff with length 4 is outside the module's memory of 65536 bytes";
    // What cannot be told is not taken; 7 is Empty, 1 is NotFound.
    assert_eq!(lines, ["0", "3", "0", "3", "1", "0", "1", outside, "6", "0", "item", "7", "1"]);
}

#[test]
fn a_module_is_told_of_its_queue_by_number() {
    let text = module(
        &[],
        r#"(func (export "proxy_on_queue_ready") (param $context i32) (param $queue i32)
            (call $num (local.get $context)) (call $num (local.get $queue)))"#,
    );
    let plugin = load_text(&text).unwrap();
    assert_eq!(plugin.callbacks(), abi::Callbacks::QUEUE_READY);
    let mut tried = Tried::start(&*plugin, Fake::new()).unwrap();
    let ready = abi::Event::QueueReady { id: 9, name: "jobs" };
    assert_eq!(tried.instance.call(abi::ContextId::PLUGIN, ready).unwrap(), abi::Action::Continue);
    assert_eq!(tried.host.log_text(), "Info 1\nInfo 9\n");
}
