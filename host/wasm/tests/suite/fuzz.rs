//! Every import, driven with hostile arguments in every callback: which there are, and their types, is asked
//! of the engine itself, so that none can be forgotten. None may panic, end its guest, answer what is no
//! code of its kind, or write where it was not told to.
//!
//! ```text
//! FOREBAY_FUZZ=600 FOREBAY_FUZZ_SEED=7 cargo test --locked --workspace --test suite -- --nocapture hostile_arguments
//! ```
//! goes on for 600 seconds from another seed; a seed gives the same calls each time.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use abi::{
    CalloutError, CalloutResponse, ContextId, Event, Fault, GrpcEvent, GrpcStatus, Map, Phase, Plugin, ServerEvent,
    Token, Verdict,
};

use super::fake::{EXCHANGE, Fake, Tried, load_text};
use super::fuzz_guest::{BLOCKS, Import, MEMORY, Script, callbacks, imports, text};
use super::fuzz_writer::Writer;

/// Calls of each import in each callback, if nothing says for how long.
const ROUNDS: u32 = 6;
/// CPU time of one call with all that is around it: far more than any takes, and what is found is looked at.
const LATE: Duration = Duration::from_millis(100);

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn hostile_arguments_are_answered_and_never_harm_host_or_guest() {
    let first = number("FOREBAY_FUZZ_SEED").unwrap_or(1);
    let end = number("FOREBAY_FUZZ").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let imports = imports();
    assert_eq!(imports.len(), forebay_wasm::import_names().len());
    let plugin = load_text(&text(&imports)).unwrap();
    let mut passed = BTreeMap::new();
    let mut calls = 0;
    for seed in first.. {
        println!("seed {seed}");
        calls += run(&*plugin, &imports, seed, &mut passed);
        if end.is_none_or(|end| Instant::now() >= end) {
            break;
        }
    }
    // What is refused at the first look tries nothing behind it.
    let never: Vec<_> = imports.iter().filter(|import| import.serves() && !passed.contains_key(&import.name)).collect();
    let never: Vec<_> = never.into_iter().map(|import| &import.name).collect();
    println!("{calls} calls, {} let through; never: {never:?}", passed.values().sum::<u32>());
    assert!(never.is_empty(), "never let through in {calls} calls: {never:?}");
}

/// All imports in all callbacks, some rounds; how many calls were made, and how often each was let through.
fn run(plugin: &dyn Plugin, imports: &[Import], seed: u64, passed: &mut BTreeMap<String, u32>) -> u32 {
    let mut writer = Writer::new(seed, imports);
    let mut calls = 0;
    let mut tried = None;
    for round in 0..ROUNDS {
        for (place, callback) in callbacks().into_iter().enumerate() {
            for (index, import) in imports.iter().enumerate() {
                let script = writer.script(place, index);
                let about = format!("seed {seed}, round {round}: {callback}: {} {}", import.name, script.said());
                let before = forebay_wasm::thread_cpu();
                let (host, outcome) = call(plugin, &mut tried, callback, &script);
                let used = forebay_wasm::thread_cpu() - before;
                assert!(used < LATE, "{about}: {used:?} of CPU");
                calls += 1;
                if import.name == "proc_exit" {
                    let fault = outcome.expect_err(&about);
                    assert!(fault.message.contains("proc_exit"), "{about}: {fault}");
                    let verdict = if place < 3 { Verdict::Config } else { Verdict::Trap };
                    assert_eq!(fault.verdict, verdict, "{about}: {fault}");
                    tried = None;
                    continue;
                }
                outcome.unwrap_or_else(|fault| panic!("{about}: {fault}"));
                if look(&host, import, &script, &about) {
                    *passed.entry(import.name.clone()).or_default() += 1;
                    writer.keep(index, &script);
                }
            }
        }
    }
    calls
}

/// Has the guest make one call in `callback`; an instance serves until its fault, but for what is
/// only called as one begins or ends.
fn call(
    plugin: &dyn Plugin,
    tried: &mut Option<Tried>,
    callback: &str,
    script: &Script,
) -> (Rc<Fake>, Result<(), Fault>) {
    let fresh = |phase| {
        let host = Fake::with(|settings| {
            let long = Duration::from_secs(60);
            (settings.limits.cpu, settings.limits.start_cpu, settings.limits.exchange_cpu) = (long, long, long);
            let granted =
                ["callout:authz", "limit:calls", "queue:jobs", "secret:key", "scale.hint:web", "origin.select"];
            settings.capabilities = abi::Capabilities::parse(granted).unwrap();
        });
        fill(&host, script);
        host.phase.set(phase);
        host
    };
    if matches!(callback, "_initialize" | "proxy_on_vm_start" | "proxy_on_configure") {
        let host = fresh(Phase::Start);
        let outcome = plugin.instantiate(host.clone()).map(|_| ());
        return (host, outcome);
    }
    let tried = tried.get_or_insert_with(|| {
        let host = fresh(Phase::Start);
        host.properties.borrow_mut().insert("script".into(), abi::Value::Bytes(Script::nothing()));
        Tried::start(plugin, host).unwrap()
    });
    let host = tried.host.clone();
    fill(&host, script);
    let outcome = fire(tried, &host, callback, script);
    (host, outcome)
}

fn fire(tried: &mut Tried, host: &Rc<Fake>, callback: &str, script: &Script) -> Result<(), Fault> {
    let other = ContextId(EXCHANGE.0 + 1);
    let answered =
        CalloutResponse { status: 200, headers: vec![("a".into(), "b".into())], ..CalloutResponse::default() };
    let response = if script.arguments.len().is_multiple_of(2) {
        Ok(answered)
    } else {
        Err(CalloutError::Unavailable("no origin".into()))
    };
    let event = ServerEvent::default();
    let view = bytes::Bytes::from_static(b"{}");
    let reply = Ok(abi::Value::Int(7));
    let end_of_stream = true;
    if let Some(event) = grpc(callback) {
        host.phase.set(Phase::Request);
        return tried.instance.call(EXCHANGE, Event::Grpc { token: Token(60), event: &event }).map(|_| ());
    }
    let (phase, context, event) = match callback {
        "proxy_on_context_create" | "proxy_on_delete" | "proxy_on_done" => {
            host.phase.set(if callback == "proxy_on_context_create" { Phase::Request } else { Phase::Log });
            tried.instance.open(other, host.clone())?;
            tried.instance.close(other);
            // Closing tells a fault to the log only.
            return match tried.instance.healthy() {
                true => Ok(()),
                false => Err(Fault::new(Verdict::Trap, host.log_text())),
            };
        }
        "proxy_on_tick" => (Phase::Background, ContextId::PLUGIN, Event::Tick),
        "proxy_on_queue_ready" => (Phase::Background, ContextId::PLUGIN, Event::QueueReady { id: 3, name: "jobs" }),
        "forebay_on_autoscale" => (Phase::Scale, ContextId::PLUGIN, Event::Autoscale { view: &view }),
        "forebay_on_drain" => (Phase::Background, ContextId::PLUGIN, Event::Drain { left: Duration::from_secs(1) }),
        "proxy_on_request_headers" => (Phase::Request, EXCHANGE, Event::RequestHeaders { end_of_stream }),
        "proxy_on_request_body" => (Phase::Request, EXCHANGE, Event::RequestBody { size: 4, end_of_stream }),
        "proxy_on_request_trailers" => (Phase::Request, EXCHANGE, Event::RequestTrailers),
        "proxy_on_http_call_response" => {
            (Phase::Request, EXCHANGE, Event::Callout { token: Token(41), result: &response })
        }
        "forebay_on_timer" => (Phase::Request, EXCHANGE, Event::Timer { token: Token(90) }),
        "forebay_on_reply" => (Phase::Request, EXCHANGE, Event::Reply { token: Token(301), reply: &reply }),
        "forebay_on_origin_select" => (Phase::Origin, EXCHANGE, Event::OriginSelect { pool: "web", attempt: 1 }),
        "proxy_on_response_headers" => (Phase::Response, EXCHANGE, Event::ResponseHeaders { end_of_stream }),
        "proxy_on_response_body" => (Phase::Response, EXCHANGE, Event::ResponseBody { size: 4, end_of_stream }),
        "proxy_on_response_trailers" => (Phase::Response, EXCHANGE, Event::ResponseTrailers),
        "forebay_on_response_event" => (Phase::Response, EXCHANGE, Event::ResponseEvent(&event)),
        "proxy_on_log" => (Phase::Log, EXCHANGE, Event::Log),
        other => panic!("{other} is a callback that nothing here calls"),
    };
    host.phase.set(phase);
    tried.instance.call(context, event).map(|_| ())
}

/// What of gRPC a callback is told of.
fn grpc(callback: &str) -> Option<GrpcEvent> {
    let metadata = vec![("a".into(), "b".into())];
    Some(match callback.strip_prefix("proxy_on_grpc_")? {
        "receive_initial_metadata" => GrpcEvent::Metadata(metadata),
        "receive" => GrpcEvent::Message("message".into()),
        "receive_trailing_metadata" => GrpcEvent::Trailers(metadata),
        "close" => GrpcEvent::Closed(GrpcStatus::new(GrpcStatus::UNAVAILABLE, "no origin")),
        _ => return None,
    })
}

/// Everything as if nothing had been called yet, with something to be found under each noun.
fn fill(host: &Fake, script: &Script) {
    for map in [Map::RequestHeaders, Map::RequestTrailers, Map::ResponseHeaders, Map::ResponseTrailers] {
        host.maps.borrow_mut()[map as usize].clear();
        host.put(map, "a", "value");
    }
    *host.bodies.borrow_mut() = [b"body".to_vec(), b"answer".to_vec()];
    let mut properties = BTreeMap::from([("a".to_owned(), abi::Value::Int(1))]);
    properties.insert("script".into(), abi::Value::Bytes(script.image.clone()));
    host.properties.replace(properties);
    host.dict.replace(BTreeMap::from([(("tried".into(), b"a".to_vec()), (b"1".to_vec(), 1))]));
    host.queue.replace([bytes::Bytes::from_static(b"item")].into());
    host.metrics.borrow_mut().clear();
    host.define("a");
    host.answers.borrow_mut().clear();
    host.callouts.borrow_mut().clear();
    host.several.borrow_mut().clear();
    host.kv.borrow_mut().clear();
    host.spans.borrow_mut().clear();
    host.lines.borrow_mut().clear();
    host.grpcs.borrow_mut().clear();
    host.leases.borrow_mut().clear();
    host.events.borrow_mut().clear();
}

/// What came of a call: a code of its kind, and no byte written but where it was told to. Whether it was let
/// through.
fn look(host: &Fake, import: &Import, script: &Script, about: &str) -> bool {
    let dict = host.dict.borrow();
    let told = |key: &[u8]| {
        &dict.get(&("tried".to_owned(), key.to_vec())).unwrap_or_else(|| panic!("{about}: the guest never came back")).0
    };
    let (rest, result) = (told(b"d"), told(b"r"));
    let number = |at: usize| u32::from_le_bytes(result[at..at + 4].try_into().unwrap());
    let (status, next) = (number(8), number(16));
    assert!(import.codes().contains(&status), "{about}: answered {status}");
    if !script.honest {
        // An allocator that lies has had its own memory written to.
        return false;
    }
    // Who refuses has written nothing.
    let mut allowed = if status == 0 { import.writes(&script.arguments) } else { Vec::new() };
    allowed.push(BLOCKS..next as usize);
    let now = [&result[..8], rest].concat();
    assert_eq!(now.len(), MEMORY);
    for (piece, (before, after)) in script.memory().chunks(256).zip(now.chunks(256)).enumerate() {
        if before == after {
            continue;
        }
        for at in (0..before.len()).filter(|at| before[*at] != after[*at]).map(|at| 256 * piece + at) {
            let told = allowed.iter().any(|range| range.contains(&at));
            assert!(told, "{about}: answered {status} and wrote to {at:#x}; {allowed:x?} may be");
        }
    }
    status == 0
}
