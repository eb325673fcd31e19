//! The hostile arguments of [`super::fuzz`], against the real seat: the guest stands behind a real edge, and
//! makes its calls in whatever callback the traffic brings. The edge must not panic or hang, no fault may come
//! of it but those that a guest may cause, and the exchanges beside it are served as ever.
//!
//! ```text
//! FOREBAY_FUZZ=300 FOREBAY_FUZZ_SEED=7 cargo test --locked --workspace --test suite -- --nocapture behind_a_real_edge
//! ```
//! goes on for 300 seconds from another seed: each is a module with other calls in it. Streams of gRPC have no
//! server here, so of those the host's own suite alone tells the guest.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use harness::{Edge, Origin, Setup, list};

use super::fuzz_guest::{ARGUMENTS, BLOCKS, HOW, INDEX, Import, MEMORY, PLACE, callbacks, imports, text_with};
use super::fuzz_writer::Writer;

/// Calls that one callback makes, one after another, and the turns of each callback until they come again:
/// a prime, so that no callback of an exchange always meets the same ones.
const CALLS: usize = 3;
const TURNS: usize = 127;
/// Arguments of the import that has most.
const MOST: usize = 16;
const CALL: usize = 16 + 8 * MOST;
/// Modules, if nothing says for how long, and the exchanges of each.
const MODULES: u64 = 3;
const EXCHANGES: usize = 200;
/// Longer than any exchange takes with all its waits.
const STUCK: Duration = Duration::from_secs(10);

/// What brings another event, and is called oftener for it.
const BRINGS: [&str; 4] =
    ["proxy_http_call", "forebay_time_sleep", "forebay_http_call_all", "proxy_set_tick_period_milliseconds"];

/// What an edge tells of, and counts: each must have come.
const TOLD: &[&str] = &[
    "on_request_headers",
    "on_request_body",
    "on_request_trailers",
    "on_origin_select",
    "on_response_headers",
    "on_response_body",
    "on_response_trailers",
    "on_response_event",
    "on_done",
    "on_log",
    "on_queue_ready",
    "on_callout",
    "on_reply",
    "on_timer",
    "on_tick",
];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "\\{byte:02x}");
        text
    })
}

/// A module with the calls of a seed in it: for each callback those of its turns.
fn module(seed: u64, imports: &[Import]) -> Vec<u8> {
    let mut writer = Writer::new(seed, imports);
    let mut random = fastrand::Rng::with_seed(seed);
    let ends = |index: &usize| matches!(&*imports[*index].name, "proc_exit" | "proc_raise");
    let usual: Vec<_> = (0..imports.len()).filter(|index| !ends(index)).collect();
    let bringing: Vec<_> = (0..imports.len()).filter(|index| BRINGS.contains(&&*imports[*index].name)).collect();
    let exit = (0..imports.len()).find(ends).expect("there is a way to end");
    let (mut image, mut calls) = (Vec::new(), Vec::new());
    for (place, callback) in callbacks().into_iter().enumerate() {
        for turn in 0..TURNS {
            for call in 0..CALLS {
                // Ends the instance, so that the next begins at the first turn again.
                let last = callback == "proxy_on_request_headers" && (turn, call) == (TURNS - 1, CALLS - 1);
                let from = if random.u8(..8) == 0 { &bringing } else { &usual };
                let index = if last { exit } else { random.choice(from).copied().expect("there are imports") };
                let script = writer.script(place, index);
                // Pauses seldom: it is its wall time that ends them.
                let pauses = u32::from(random.u8(..) == 0);
                calls.extend(&script.image[HOW - 8..PLACE - 8]);
                calls.extend(pauses.to_le_bytes());
                let mut arguments = script.image[ARGUMENTS - 8..ARGUMENTS - 8 + 8 * MOST].to_vec();
                arguments[8 * script.arguments.len()..].fill(0);
                calls.extend(arguments);
                image = script.image;
            }
        }
    }
    let text = text_with(imports, &drive(&image, &calls), "(global.get $answer)");
    wat::parse_str(&text).expect("the text of the module is right")
}

/// Makes the calls of this turn, each with the memory as it was written for it.
fn drive(image: &[u8], calls: &[u8]) -> String {
    // What must be said yes to: the start, and the end of a context.
    let places = callbacks().into_iter().enumerate();
    let yes = places.filter(|(_, name)| matches!(*name, "proxy_on_vm_start" | "proxy_on_configure" | "proxy_on_done"));
    let yes = yes.fold(String::new(), |mut text, (place, _)| {
        let _ = write!(
            text,
            "(if (i32.eq (local.get $place) (i32.const {place})) (then (global.set $answer (i32.const 1))))"
        );
        text
    });
    format!(
        r#"(data $image "{image}")
        (data $calls "{calls}")
        (global $answer (mut i32) (i32.const 0))
        (global $turn (mut i32) (i32.const 0))
        (func $drive (param $place i32) (local $at i32) (local $left i32)
            (local.set $at (i32.mul (i32.const {turn}) (i32.add
                (i32.mul (local.get $place) (i32.const {TURNS}))
                (i32.rem_u (global.get $turn) (i32.const {TURNS})))))
            (global.set $turn (i32.add (global.get $turn) (i32.const 1)))
            (local.set $left (i32.const {CALLS}))
            (loop $again
                (memory.init $image (i32.const 8) (i32.const 0) (i32.const {size}))
                (memory.init $calls (i32.const {HOW}) (local.get $at) (i32.const 16))
                (memory.init $calls (i32.const {ARGUMENTS}) (i32.add (local.get $at) (i32.const 16)) (i32.const {arguments}))
                (global.set $how (i32.load (i32.const {HOW})))
                (global.set $lie (i32.load offset=4 (i32.const {HOW})))
                (global.set $next (i32.const {BLOCKS}))
                (global.set $answer (i32.load (i32.const {PLACE})))
                (drop (call_indirect (type $do) (i32.load (i32.const {INDEX}))))
                (local.set $at (i32.add (local.get $at) (i32.const {CALL})))
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (br_if $again (local.get $left)))
            {yes})"#,
        image = escaped(image),
        calls = escaped(calls),
        turn = CALL * CALLS,
        size = MEMORY - 8,
        arguments = 8 * MOST,
    )
}

/// Whatever a guest made of the request: with trailers, as events, with a length.
fn origin() -> Origin {
    Origin::serve(|exchange| {
        exchange.messages.body()?;
        if exchange.head.method() == "HEAD" || exchange.number.is_multiple_of(3) {
            return exchange.respond(200, &[("x-a", "b")], b"a body");
        }
        let kind = if exchange.number.is_multiple_of(2) { "text/event-stream" } else { "text/plain" };
        exchange.begin(200, &[("content-type", kind), ("trailer", "x-sum")])?;
        exchange.chunk(b"data: one\n\n")?;
        exchange.chunk(b"data: two\n\n")?;
        exchange.end(&[("x-sum", "7")])
    })
}

const PLAIN: &str = r#"return { on_response_headers = function()
  forebay.queue("jobs"):push("item")
  forebay.response.headers.set("x-plain", "yes")
end }"#;

fn start(seed: u64, module: &[u8], origin: &Origin) -> Edge {
    let isolation = if seed.is_multiple_of(2) { "exchange" } else { "worker" };
    let pools: String = ["web", "authz"]
        .iter()
        .map(|pool| format!("  - name: {pool}\n    origins: {}\n", list(&[origin.address])))
        .collect();
    let region = format!(
        "buckets: [{{name: calls, rate: 1000000}}]\nsecrets: [{{name: key, file: key}}]\nplugins:\n  - name: hostile\n    \
         wasm: hostile.wasm\n    config: hostile\n    isolation: {isolation}\n    crash_budget: {{faults: 0}}\n    \
         limits: {{wall: 400ms, cpu: 300ms, start_cpu: 5s, exchange_cpu: 10s}}\n    \
         capabilities: [\"callout:authz\", \"limit:calls\", \"queue:jobs\", \"dict:tried\", \"secret:key\", \"scale.hint:web\", origin.select]\n  \
         - name: plain\n    lua: plain.lua\n    capabilities: [\"queue:jobs\"]\nroutes:\n  - name: plain\n    \
         match: {{path: {{prefix: /plain}}}}\n    plugins: [plain]\n    pool: web\n  - name: hostile\n    plugins: [hostile]\n    pool: web\npools:\n{pools}"
    );
    let setup = Setup::new(region).file("hostile.wasm", module).file("plain.lua", PLAIN).file("key", "key");
    // A guest may have something that it waits for hold the drain, as long as that may take.
    setup.edge("  drain: 2s").without_access_log().start()
}

/// One exchange with the hostile plugin: whatever comes, it ends.
fn ask(edge: SocketAddr, number: usize, about: &str) -> Vec<u8> {
    let mut socket = TcpStream::connect(edge).unwrap_or_else(|e| panic!("{about}: the edge does not accept: {e}"));
    socket.set_read_timeout(Some(STUCK)).unwrap();
    let head = "HTTP/1.1\r\nHost: a\r\nConnection: close, te\r\nTE: trailers\r\nX-A: b\r\n";
    let text = if number.is_multiple_of(3) {
        format!("GET /a {head}\r\n")
    } else {
        format!(
            "POST /a {head}Trailer: x-t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: u\r\n\r\n"
        )
    };
    // Who has answered already may have closed.
    let _ = socket.write_all(text.as_bytes());
    let mut bytes = Vec::new();
    if let Err(error) = socket.read_to_end(&mut bytes) {
        let reset = error.kind() == std::io::ErrorKind::ConnectionReset;
        assert!(reset, "{about}: {error} after {}", bytes.escape_ascii());
    }
    bytes
}

#[test]
fn hostile_arguments_behind_a_real_edge_cost_their_own_exchange_at_most() {
    let first = number("FOREBAY_FUZZ_SEED").unwrap_or(1);
    let end = number("FOREBAY_FUZZ").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let imports = imports();
    let (mut told, mut statuses) = (std::collections::BTreeMap::new(), std::collections::BTreeMap::new());
    for seed in first.. {
        if end.map_or(seed == first + MODULES, |end| Instant::now() >= end) {
            break;
        }
        println!("seed {seed}");
        let module = module(seed, &imports);
        let origin = origin();
        let mut edge = start(seed, &module, &origin);
        edge.process.expect_error("hostile");
        for number in 0..EXCHANGES {
            let about = format!("seed {seed}, exchange {number}");
            let answer = ask(edge.address, number, &about);
            *statuses.entry(String::from_utf8_lossy(answer.get(9..12).unwrap_or(b"end")).into_owned()).or_insert(0) +=
                1;
            if number.is_multiple_of(8) {
                let response = edge.get("/plain");
                assert_eq!(
                    (response.status, response.header("x-plain")),
                    (200, Some("yes")),
                    "{about}: the one beside it"
                );
            }
        }
        let metrics = edge.metrics();
        let of = |name: &str, label: String| metrics.sum(name, &["plugin=\"hostile\"", &label]);
        let faults = |verdict: &str| of("forebay_plugin_faults_total", format!("verdict=\"{verdict}\""));
        for verdict in ["CPU", "MEMORY", "CALLOUT", "PANIC", "CONFIG", "CAPABILITY"] {
            assert_eq!(faults(verdict), 0.0, "seed {seed}: faults of {verdict}");
        }
        for name in TOLD {
            *told.entry(name).or_insert(0.0) += of("forebay_plugin_calls_total", format!("callback=\"{name}\""));
        }
        println!("seed {seed}: {} traps, {} paused too long", faults("TRAP"), faults("WALL"));
        assert!(edge.process.stop().success(), "seed {seed}: the edge drains");
    }
    println!("callbacks told: {told:?}\nstatuses: {statuses:?}");
    for name in TOLD {
        assert!(told[name] > 0.0, "{name} was never told: {told:?}");
    }
}
