//! Modules that the Rust SDK made, driven like an exchange.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use abi::{Action, Callbacks, CalloutError, CalloutResponse, Event, Map, MetricKind, Phase, Side, Token, Verdict};
use bytes::Bytes;

use super::fake::{EXCHANGE, Fake, Tried};

/// The module that a package of the repository makes, built with the same script that `forebay
/// plugin build` runs. The first time on a machine that sets the target up, which takes a minute.
fn build(folder: &str, what: &[&str], module: &str) -> PathBuf {
    static TOOLCHAIN: OnceLock<PathBuf> = OnceLock::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let toolchain = TOOLCHAIN.get_or_init(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let cache = cache.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"));
        let toolchain = cache.join("forebay/wasm-toolchain");
        let script = root.join("sdk-wasm/setup-wasm-target");
        assert!(Command::new("bash").arg(script).arg(&toolchain).status().unwrap().success());
        toolchain
    });
    let dir = root.join(folder);
    let mut cargo = Command::new(toolchain.join("bin/cargo"));
    cargo.args(["build", "--release", "--locked", "--target", "wasm32-wasip1"]).args(what).current_dir(&dir);
    for name in ["RUSTC", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR"] {
        cargo.env_remove(name);
    }
    assert!(cargo.status().unwrap().success());
    dir.join("target/wasm32-wasip1/release").join(module)
}

fn plugin(name: &str) -> PathBuf {
    build(&format!("plugins/wasm/{name}"), &[], &format!("{}.wasm", name.replace('-', "_")))
}

#[test]
fn the_header_filter_does_its_work_in_rust() {
    let plugin = forebay_wasm::load(&plugin("header-filter")).unwrap();
    assert!(plugin.callbacks().contains(Callbacks::REQUEST_HEADERS | Callbacks::RESPONSE_HEADERS));
    let host = Fake::new();
    for (name, value) in [(":authority", "shop.test"), ("user-agent", "a bot"), ("x-id", "7")] {
        host.put(Map::RequestHeaders, name, value);
    }
    let mut tried = Tried::start(&*plugin, host.clone()).unwrap();
    assert_eq!(tried.request().unwrap(), Action::Continue);
    let headers = host.map(Map::RequestHeaders);
    assert_eq!(headers[3..], [("x-edge".into(), "shop.test/7".into()), ("x-seen".into(), "bot".into())]);
    host.phase.set(Phase::Response);
    host.put(Map::ResponseHeaders, "server", "origin");
    assert_eq!(tried.call(Event::ResponseHeaders { end_of_stream: true }).unwrap(), Action::Continue);
    assert_eq!(host.map(Map::ResponseHeaders), [("x-served-by".to_owned(), "forebay".to_owned())]);
    host.phase.set(Phase::Log);
    tried.call(Event::Log).unwrap();
    tried.instance.close(EXCHANGE);
    assert!(tried.instance.healthy());
    assert_eq!(host.log_text(), "");
}

#[test]
fn shop_headers_sets_what_its_configuration_says_and_counts() {
    let plugin = forebay_wasm::load(&plugin("shop-headers")).unwrap();
    let host = Fake::with(|settings| {
        settings.config = Bytes::from_static(br#"{"request":{"x-shop":"1"},"response":{"x-by":"edge"}}"#);
    });
    let mut tried = Tried::start(&*plugin, host.clone()).unwrap();
    tried.request().unwrap();
    assert_eq!(host.map(Map::RequestHeaders), [("x-shop".to_owned(), "1".to_owned())]);
    host.phase.set(Phase::Response);
    tried.call(Event::ResponseHeaders { end_of_stream: true }).unwrap();
    assert_eq!(host.map(Map::ResponseHeaders), [("x-by".to_owned(), "edge".to_owned())]);
    assert_eq!(*host.metrics.borrow(), [(MetricKind::Counter, "requests_total".to_owned(), 1)]);
    assert_eq!(host.log_text(), "");
}

#[test]
fn a_configuration_that_a_plugin_refuses_is_a_fault_with_its_reason() {
    let plugin = forebay_wasm::load(&plugin("shop-headers")).unwrap();
    let host = Fake::with(|settings| settings.config = Bytes::from_static(br#"{"requset":{}}"#));
    let fault = Tried::start(&*plugin, host).map(|_| ()).unwrap_err();
    assert_eq!(fault.verdict, Verdict::Config);
    assert!(fault.message.contains("unknown field `requset`"), "{fault}");
}

#[test]
fn a_plugin_over_our_sdk_waits_without_its_worker() {
    let module = build("sdk-wasm", &["--example", "wait"], "examples/wait.wasm");
    let plugin = forebay_wasm::load(&module).unwrap();
    let host = Fake::with(|settings| settings.config = Bytes::from_static(br#"{"wait_ms":20}"#));
    let mut tried = Tried::start(&*plugin, host.clone()).unwrap();
    assert_eq!(tried.request().unwrap(), Action::Pause);
    assert_eq!(*host.sleeps.borrow(), [Duration::from_millis(20)]);
    assert!(host.resumed.borrow().is_empty());
    tried.call(Event::Timer { token: Token(90) }).unwrap();
    assert_eq!(*host.resumed.borrow(), [Side::Request]);
    assert_eq!(host.map(Map::RequestHeaders), [("x-waited".to_owned(), "yes".to_owned())]);
    // Told twice, it does nothing twice.
    tried.call(Event::Timer { token: Token(90) }).unwrap();
    assert_eq!(host.resumed.borrow().len(), 1);
    assert_eq!(host.log_text(), "");
}

#[test]
fn a_plugin_over_our_sdk_chooses_origins_and_says_what_is_coming() {
    let module = build("sdk-wasm", &["--example", "steer"], "examples/steer.wasm");
    let plugin = forebay_wasm::load(&module).unwrap();
    assert!(plugin.callbacks().contains(Callbacks::ORIGIN_SELECT));
    let host = Fake::with(|settings| {
        let grants = ["origin.select", "origin:standby", "scale.hint:shop"];
        settings.capabilities = abi::Capabilities::parse(grants).unwrap();
    });
    let origin = |port: u16, healthy, in_flight| abi::OriginStats {
        address: ([127, 0, 0, 1], port).into(),
        stage: "serving",
        healthy,
        share: 1.0,
        in_flight,
        requests: 7,
        latency: Some(Duration::from_millis(3)),
    };
    *host.origins.borrow_mut() = vec![origin(1, true, 12), origin(2, true, 10), origin(3, false, 0)];
    let mut tried = Tried::start(&*plugin, host.clone()).unwrap();
    host.phase.set(Phase::Origin);
    assert_eq!(tried.call(Event::OriginSelect { pool: "shop", attempt: 1 }).unwrap(), Action::Continue);
    let hint = "shop ScaleHint { kind: \"prewarm\", value: 3.0, ttl: Some(60s), due: 0ns }";
    assert_eq!(host.chosen.take(), ["stats None", hint, "host 127.0.0.1:2"]);
    assert_eq!(tried.call(Event::OriginSelect { pool: "shop", attempt: 2 }).unwrap(), Action::Continue);
    assert_eq!(host.chosen.take(), ["pool standby"]);
    assert_eq!(host.log_text(), "");
    let address = ([127, 0, 0, 1], 2).into();
    *host.picked.borrow_mut() = Some(abi::Picked { address, pool: "shop".into(), attempt: 1 });
    host.phase.set(Phase::Log);
    tried.call(Event::Log).unwrap();
    assert_eq!(host.log_text(), "Info 127.0.0.1:2 of shop at attempt 1\n");
}

#[test]
fn a_module_that_does_not_ask_for_it_is_not_told_of_origins() {
    let plugin = forebay_wasm::load(&plugin("header-filter")).unwrap();
    assert!(!plugin.callbacks().contains(Callbacks::ORIGIN_SELECT));
}

/// What a module imports, read from its binary form.
fn imports(module: &[u8]) -> Vec<(String, String)> {
    fn number(bytes: &mut &[u8]) -> usize {
        let (mut number, mut shift) = (0, 0);
        loop {
            let (byte, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            number |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if *byte < 0x80 {
                return number;
            }
        }
    }
    fn text(bytes: &mut &[u8]) -> String {
        let len = number(bytes);
        let (text, rest) = bytes.split_at(len);
        *bytes = rest;
        String::from_utf8(text.to_vec()).unwrap()
    }
    const IMPORTS: usize = 2;
    let mut sections = &module[8..];
    while !sections.is_empty() {
        let (id, len) = (number(&mut sections), number(&mut sections));
        let (mut section, rest) = sections.split_at(len);
        sections = rest;
        if id == IMPORTS {
            let count = number(&mut section);
            let import = |_| {
                let import = (text(&mut section), text(&mut section));
                // A function, and its type.
                assert_eq!(number(&mut section), 0, "{import:?}");
                number(&mut section);
                import
            };
            return (0..count).map(import).collect();
        }
    }
    Vec::new()
}

#[test]
fn plugins_over_our_sdk_import_nothing_that_another_host_lacks() {
    for example in ["admit", "steer", "wait"] {
        let module = build("sdk-wasm", &["--example", example], &format!("examples/{example}.wasm"));
        let all = imports(&std::fs::read(module).unwrap());
        assert!(all.iter().any(|(_, name)| name == "proxy_call_foreign_function"), "{example}: {all:?}");
        for (module, name) in all {
            let known = module == "wasi_snapshot_preview1" || module == "env" && name.starts_with("proxy_");
            assert!(known, "{example} imports {module}.{name}");
        }
    }
}

fn answer(status: u16, body: &'static [u8]) -> Result<CalloutResponse, CalloutError> {
    Ok(CalloutResponse { status, body: Bytes::from_static(body), ..CalloutResponse::default() })
}

/// The example `admit`, whose calls and callbacks of ours have names that no host knows.
fn admit_elsewhere() -> Tried {
    let module = build("sdk-wasm", &["--example", "admit"], "examples/admit.wasm");
    let mut module = std::fs::read(module).unwrap();
    let mut renamed = 0;
    while let Some(at) = module.windows(8).position(|name| name == b"forebay_") {
        module[at..at + 8].copy_from_slice(b"unknown_");
        renamed += 1;
    }
    assert!(renamed > 3, "the names of our calls stand in the module");
    let plugin = super::fake::load_bytes(&module).unwrap();
    let host = Fake::with(|settings| {
        settings.capabilities = abi::Capabilities::parse(["callout:authority"]).unwrap();
    });
    host.put(Map::RequestHeaders, "x-key", "good");
    Tried::start(&*plugin, host).unwrap()
}

#[test]
fn a_task_on_another_host_waits_for_proxy_wasms_own_callout() {
    let mut tried = admit_elsewhere();
    let host = tried.host.clone();
    assert_eq!(tried.request().unwrap(), Action::Pause);
    assert!(host.resumed.borrow().is_empty() && host.kv.borrow().is_empty());
    let (target, request) = host.callouts.borrow()[0].clone();
    assert_eq!(
        (&*target, &*request.method, &*request.path, &*request.authority),
        ("authority", "GET", "/tier", "authority")
    );
    assert_eq!(request.headers, [(b"x-key".to_vec(), b"good".to_vec())]);
    tried.call(Event::Callout { token: Token(41), result: &answer(200, b"gold") }).unwrap();
    assert_eq!(*host.resumed.borrow(), [Side::Request]);
    assert_eq!(host.map(Map::RequestHeaders)[1], ("x-tier".to_owned(), "gold".to_owned()));
    assert_eq!(host.log_text(), "");
}

#[test]
fn a_callout_that_brings_nothing_on_another_host_is_told_too() {
    let mut tried = admit_elsewhere();
    assert_eq!(tried.request().unwrap(), Action::Pause);
    tried.call(Event::Callout { token: Token(41), result: &Err(CalloutError::Timeout) }).unwrap();
    assert_eq!(tried.host.answers.borrow()[0].status, 403);
    assert!(tried.host.resumed.borrow().is_empty());
}

#[test]
fn what_an_exchange_awaits_at_its_end_is_dropped_with_it() {
    let mut tried = admit_elsewhere();
    assert_eq!(tried.request().unwrap(), Action::Pause);
    tried.host.phase.set(Phase::Log);
    tried.call(Event::Log).unwrap();
    tried.instance.close(EXCHANGE);
    tried.host.phase.set(Phase::Request);
    tried.instance.open(EXCHANGE, tried.host.clone()).unwrap();
    // The number of the first is nobody's any more; the second has its own.
    assert_eq!(tried.request().unwrap(), Action::Pause);
    assert_eq!(tried.host.callouts.borrow().len(), 2);
    tried.call(Event::Callout { token: Token(42), result: &answer(200, b"gold") }).unwrap();
    assert_eq!(*tried.host.resumed.borrow(), [Side::Request]);
    assert!(tried.instance.healthy());
}
