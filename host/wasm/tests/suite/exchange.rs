//! The course of an exchange, and its contexts.

use abi::{Action, ContextId, Event, Host, Phase, Side, Verdict};

use super::fake::{EXCHANGE, Fake, Tried, load_text, logged, module, on_request};

#[test]
fn a_header_callback_that_pauses_pauses_and_the_guest_resumes() {
    let text = module(
        &[("proxy_continue_stream", "i"), ("proxy_continue_request", ""), ("proxy_continue_response", "")],
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (call $continue_stream (i32.const 1)))
            (drop (call $continue_request)) (drop (call $continue_response))
            (call $num (call $continue_stream (i32.const 2))) (i32.const 1))
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 4))"#,
    );
    let mut tried = Tried::text(&text);
    assert_eq!(tried.request().unwrap(), Action::Pause);
    assert_eq!(*tried.host.resumed.borrow(), [Side::Response, Side::Request, Side::Response]);
    assert!(tried.host.log_text().ends_with("Info 12\n"), "{}", tried.host.log_text());
    assert_eq!(tried.call(Event::ResponseHeaders { end_of_stream: false }).unwrap(), Action::Pause);
}

/// The specification of 0.1.0 and its SDKs do not agree on what these return.
#[test]
fn functions_of_0_1_0_can_be_imported_without_a_result() {
    let text = r#"(module
        (import "env" "proxy_continue_request" (func $request))
        (import "env" "proxy_continue_response" (func $response))
        (import "env" "proxy_clear_route_cache" (func $clear))
        (memory (export "memory") 1)
        (func (export "malloc") (param i32) (result i32) (i32.const 64))
        (func (export "proxy_abi_version_0_1_0"))
        (func (export "proxy_on_request_headers") (param i32 i32) (result i32)
            (call $clear) (call $request) (call $response) (i32.const 0)))"#;
    let mut tried = Tried::text(text);
    tried.request().unwrap();
    assert_eq!(*tried.host.resumed.borrow(), [Side::Request, Side::Response]);
}

#[test]
fn an_answer_from_here_has_all_its_parts() {
    let host = Fake::new();
    let respond = |code: u32| {
        format!(
            "(call $num (call $send_local_response (i32.const {code}) (i32.const 1024) (i32.const 3) (i32.const 1027)
                (i32.const 4) (i32.const 1031) (i32.const 20) (i32.const -1)))"
        )
    };
    let data = r"whybody\01\00\00\00\01\00\00\00\01\00\00\00a\00b\00";
    let imports = [("proxy_send_local_response", "iiiiiiii")];
    assert_eq!(logged(&imports, data, &respond(403), &host), ["0"]);
    let answers = host.answers.borrow();
    let answer = &answers[0];
    assert_eq!((answer.status, &answer.body[..], &*answer.detail), (403, &b"body"[..], "why"));
    assert_eq!((answer.headers.len(), answer.grpc_status), (1, None));
    let lines = logged(&imports, data, &[respond(99), respond(70_000)].join(""), &Fake::new());
    assert_eq!((&*lines[1], &*lines[3]), ("2", "2"));
    assert_eq!(lines[2], "proxy_send_local_response: 70000 is no status to answer with (200 to 599)");
}

#[test]
fn an_exchange_can_be_closed() {
    let host = Fake::new();
    let imports = [("proxy_close_stream", "i"), ("proxy_done", ""), ("proxy_clear_route_cache", "")];
    let body =
        "(call $num (call $close_stream (i32.const 0))) (call $num (call $done)) (call $num (call $clear_route_cache))";
    assert_eq!(logged(&imports, "", body, &host), ["0", "1", "0"]);
    assert!(host.aborted.get());
}

const LIFE: &str = r#"
    (func (export "proxy_on_context_create") (param i32 i32)
        (call $num (i32.add (i32.mul (local.get 0) (i32.const 10)) (local.get 1))))
    (func (export "proxy_on_vm_start") (param i32 i32) (result i32)
        (call $num (i32.add (i32.const 100) (local.get 1))) (i32.const 1))
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (call $num (i32.add (i32.const 200) (local.get 1))) (i32.const 1))
    (func (export "proxy_on_log") (param i32) (call $num (i32.add (i32.const 300) (local.get 0))))
    (func (export "proxy_on_done") (param i32) (result i32)
        (call $num (i32.add (i32.const 400) (local.get 0))) (i32.const 0))
    (func (export "proxy_on_delete") (param i32) (call $num (i32.add (i32.const 500) (local.get 0))))
    (func (export "proxy_on_tick") (param i32) (call $num (i32.add (i32.const 600) (local.get 0))))"#;

#[test]
fn contexts_live_in_the_order_that_proxy_wasm_gives() {
    let mut tried = Tried::text(&module(&[], LIFE));
    tried.instance.call(ContextId::PLUGIN, Event::Tick).unwrap();
    tried.host.phase.set(Phase::Log);
    tried.call(Event::Log).unwrap();
    tried.instance.close(EXCHANGE);
    tried.instance.close(EXCHANGE);
    let host = tried.host.clone();
    drop(tried);
    let lines: Vec<_> = host.lines.borrow().iter().map(|(_, text)| text.clone()).collect();
    // Root created, started, configured; exchange created; tick; log, done, delete; and the root's end.
    assert_eq!(lines, ["10", "102", "207", "21", "601", "302", "402", "502", "401", "501"]);
}

#[test]
fn a_context_that_is_not_done_waits_until_it_says_so_and_is_asked_once() {
    let text = module(
        &[("proxy_done", "")],
        r#"(func (export "proxy_on_done") (param i32) (result i32)
            (call $num (i32.add (i32.const 400) (local.get 0))) (i32.const 0))
        (func (export "proxy_on_log") (param i32) (call $num (i32.const 300)))
        (func (export "forebay_on_timer") (param i32 i32) (call $num (call $done)) (call $num (call $done)))
        (func (export "proxy_on_delete") (param i32) (call $num (i32.const 500)))"#,
    );
    let mut tried = Tried::text(&text);
    tried.host.phase.set(Phase::Log);
    assert_eq!(tried.call(Event::Done).unwrap(), Action::Pause);
    assert!(tried.host.resumed.borrow().is_empty());
    assert_eq!(tried.call(Event::Timer { token: abi::Token(1) }).unwrap(), Action::Pause);
    assert_eq!(*tried.host.resumed.borrow(), [Side::Request]);
    assert_eq!(tried.call(Event::Log).unwrap(), Action::Continue);
    tried.instance.close(EXCHANGE);
    let lines: Vec<_> = tried.host.lines.borrow().iter().map(|(_, text)| text.clone()).collect();
    assert_eq!(lines, ["402", "0", "1", "300", "500"]);
}

#[test]
fn what_has_started_on_one_thread_serves_on_another() {
    let plugin = load_text(&module(&[], LIFE)).unwrap();
    let start = move || {
        let host = Fake::new();
        let started = plugin.start(host.clone()).expect("it may go to another thread").unwrap();
        assert_eq!(std::rc::Rc::strong_count(&host), 1, "it holds nobody who answered for the start");
        started
    };
    let started = std::thread::spawn(start).join().unwrap();
    let (root, host) = (Fake::new(), Fake::new());
    let mut instance = started.adopt(root.clone()).unwrap();
    instance.open(EXCHANGE, host.clone()).unwrap();
    host.phase.set(Phase::Log);
    assert_eq!(instance.call(EXCHANGE, Event::Done).unwrap(), Action::Pause);
    assert_eq!(instance.call(EXCHANGE, Event::Log).unwrap(), Action::Continue);
    instance.close(EXCHANGE);
    assert!(!host.lines.borrow().is_empty());
    drop(instance);
    assert_eq!((std::rc::Rc::strong_count(&host), std::rc::Rc::strong_count(&root)), (1, 1));
}

#[test]
fn a_closed_context_leaves_nothing_of_its_host() {
    let plugin = load_text(&module(&[], LIFE)).unwrap();
    let root = Fake::new();
    let mut instance = plugin.instantiate(root.clone()).unwrap();
    let host = Fake::new();
    instance.open(EXCHANGE, host.clone()).unwrap();
    instance.close(EXCHANGE);
    assert_eq!(std::rc::Rc::strong_count(&host), 1);
    let fault = instance.call(EXCHANGE, Event::Log).unwrap_err();
    assert_eq!((fault.verdict, &*fault.message), (Verdict::Panic, "context 2 is not open"));
}

#[test]
fn a_context_that_could_not_be_opened_leaves_nothing_of_its_host() {
    let text = module(
        &[],
        r#"(func (export "proxy_on_context_create") (param i32 i32) (if (local.get 1) (then (unreachable))))"#,
    );
    let plugin = load_text(&text).unwrap();
    let mut instance = plugin.instantiate(Fake::new()).unwrap();
    let host = Fake::new();
    assert_eq!(instance.open(EXCHANGE, host.clone()).unwrap_err().verdict, Verdict::Trap);
    assert!(!instance.healthy());
    assert_eq!(std::rc::Rc::strong_count(&host), 1);
    instance.close(EXCHANGE);
}

#[test]
fn each_context_is_answered_by_its_own_host_and_can_speak_for_another() {
    let body = "(call $num (i32.const 1)) (call $num (call $set_effective_context (i32.const 1)))
        (call $num (call $set_effective_context (i32.const 9)))";
    let plugin = load_text(&on_request(&[("proxy_set_effective_context", "i")], "", body)).unwrap();
    let (root, first, second) = (Fake::new(), Fake::new(), Fake::new());
    let mut instance = plugin.instantiate(root.clone()).unwrap();
    instance.open(ContextId(2), first.clone()).unwrap();
    instance.open(ContextId(3), second.clone()).unwrap();
    instance.call(ContextId(2), Event::RequestHeaders { end_of_stream: true }).unwrap();
    assert_eq!(first.log_text(), "Info 1\n");
    assert_eq!(second.log_text(), "");
    assert_eq!(root.log_text(), "Info 0\nWarn proxy_set_effective_context: context 9 is not open\nInfo 2\n");
    instance.call(ContextId(3), Event::RequestHeaders { end_of_stream: true }).unwrap();
    assert_eq!(second.log_text(), "Info 1\n");
    assert_eq!(first.settings().plugin.as_ref(), "tried");
}

#[test]
fn callbacks_that_a_module_lacks_are_not_called() {
    let mut tried = Tried::text(&module(&[], ""));
    assert_eq!(tried.request().unwrap(), Action::Continue);
    assert_eq!(tried.call(Event::ResponseHeaders { end_of_stream: true }).unwrap(), Action::Continue);
    assert_eq!(tried.call(Event::RequestBody { size: 1, end_of_stream: true }).unwrap(), Action::Continue);
    assert_eq!(tried.call(Event::Log).unwrap(), Action::Continue);
    tried.instance.close(EXCHANGE);
    assert!(tried.instance.healthy());
    assert_eq!(tried.host.log_text(), "");
}
