//! A real edge with a Lua plugin under load, with faults of every kind mixed in: every exchange is
//! answered and rightly so, the faults that are counted are those that were asked for, and memory,
//! threads and open files stay where they were.
//!
//! `tests/run` runs it for 20 seconds. `FOREBAY_SOAK=300 cargo test --workspace --test soak --
//! --nocapture` runs it for five minutes.

mod origin;
mod process;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use harness::{Client, Edge, Port, Setup};

use process::Sample;

/// What a request asks the plugin to do: its word, of a thousand requests so many, the status that
/// must come, and the verdict if it is a fault.
struct Kind {
    word: &'static str,
    weight: u32,
    status: u16,
    verdict: Option<&'static str>,
}

const fn kind(word: &'static str, weight: u32, status: u16, verdict: Option<&'static str>) -> Kind {
    Kind { word, weight, status, verdict }
}

const KINDS: [Kind; 12] = [
    kind("work", 700, 200, None),
    kind("wait", 60, 200, None),
    kind("callout", 60, 200, None),
    kind("answer", 60, 418, None),
    kind("garbage", 50, 200, None),
    kind("compile", 20, 200, None),
    // The callout's target refuses: the plugin is told, and answers by itself.
    kind("unavailable", 20, 424, None),
    kind("loop", 10, 503, Some("CPU")),
    kind("hostile", 4, 503, Some("CPU")),
    kind("grow", 3, 503, Some("MEMORY")),
    kind("error", 10, 503, Some("TRAP")),
    kind("oversleep", 1, 503, Some("WALL")),
];

const PLUGIN: &str = r#"
local hits = forebay.metric.counter("hits_total")
local seen = forebay.dict("seen")
local does = {}

function does.work(id)
  local t = {}
  for i = 1, 40 do t[i] = (i * #id) % 23 end
  table.sort(t)
  forebay.request.headers.set("x-made", table.concat(t, ","):gsub("%d+", "n"))
  seen:set("last", id)
  assert(seen:get("last"))
  hits:increment()
end
function does.wait() forebay.sleep(0.004) end
function does.callout(id)
  local answer = assert(forebay.http.call("side", { path = "/side", headers = { ["x-id"] = id } }, { timeout = 20 }))
  assert(answer.status == 200, answer.status)
end
function does.answer(id) forebay.respond(418, { ["x-id"] = id }, "short") end
function does.garbage(id)
  for i = 1, 300 do local _ = { id .. i, tostring(i), { i } } end
  coroutine.wrap(function() coroutine.yield(id) end)()
end
function does.compile(id) assert(load("local x = 0 for i = 1, 100 do x = x + i % " .. #id .. " end return x"))() end
function does.unavailable(id)
  local answer, why = forebay.http.call("gone", { path = "/" }, { timeout = 20 })
  assert(not answer and why.code == "UNAVAILABLE", tostring(why))
  forebay.respond(424, { ["x-id"] = id }, why.code)
end
does["loop"] = function() while true do pcall(function() while true do end end) end end
function does.hostile() string.find(string.rep("a", 40), string.rep("a?", 40) .. string.rep("a", 40) .. "b") end
function does.grow() local t = {} while true do t[#t + 1] = string.rep(#t % 10, 900000) end end
function does.error() error("asked for") end
function does.oversleep() forebay.sleep(30) end

return {
  on_request_headers = function()
    local id = forebay.request.headers.get("x-id")
    forebay.ctx.set("id", id)
    does[forebay.request.headers.get("x-do")](id)
  end,
  on_response_headers = function()
    forebay.response.headers.set("x-id", forebay.ctx.get("id") or forebay.response.headers.get("x-id"))
  end,
  on_log = function() forebay.ctx.get("id") end,
}
"#;

fn start(shop: SocketAddr, side: SocketAddr, gone: SocketAddr) -> Edge {
    let region = format!(
        "plugins:\n  - name: soaked\n    lua: soaked.lua\n    capabilities: [\"callout:side\", \"callout:gone\", \"dict:seen\"]\n    \
         limits:\n      cpu: 25ms\n      memory: 8MiB\n      wall: 3s\n    crash_budget: {{ faults: 0 }}\n\
         routes:\n  - name: all\n    plugins: [soaked]\n    pool: shop\n\
         pools:\n  - name: shop\n    origins: [\"{shop}\"]\n  - name: side\n    origins: [\"{side}\"]\n  - name: gone\n    origins: [\"{gone}\"]\n"
    );
    Setup::new(region).file("soaked.lua", PLUGIN).workers(2).without_access_log().start()
}

/// What one client did.
struct Sent([AtomicU64; KINDS.len()]);

/// A generator of numbers, so that a run can be told from another.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

/// Sends one request after the other until `end`, and holds each answer against what was asked.
fn ask(address: SocketAddr, seed: u64, end: Instant, sent: &Sent) {
    let mut numbers = Numbers(seed);
    let mut client = Client::connect(address);
    let total: u32 = KINDS.iter().map(|kind| kind.weight).sum();
    for n in 0.. {
        if Instant::now() >= end {
            return;
        }
        let mut at = (numbers.next() % u64::from(total)) as u32;
        let which = KINDS.iter().position(|kind| match at.checked_sub(kind.weight) {
            Some(rest) => {
                at = rest;
                false
            }
            None => true,
        });
        let which = which.expect("the number is below the sum of all weights");
        let kind = &KINDS[which];
        let id = format!("{seed}-{n}");
        client.request("GET", "/soak", &[("x-do", kind.word), ("x-id", &id)], b"");
        let response = client.try_response().unwrap_or_else(|e| panic!("{} {id} was not answered: {e}", kind.word));
        assert_eq!(response.status, kind.status, "{} {id}: {}", kind.word, response.text());
        let wanted = kind.verdict.is_none().then_some(id.as_str());
        assert_eq!(response.header("x-id"), wanted, "{}: the answer of somebody else", kind.word);
        sent.0[which].fetch_add(1, Ordering::Relaxed);
        if response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            client = Client::connect(address);
        }
    }
}

/// The counts of the edge against what was asked for.
fn count(edge: &Edge, sent: &[u64]) {
    let metrics = edge.metrics();
    for verdict in ["CPU", "MEMORY", "TRAP", "WALL"] {
        let asked: u64 = KINDS.iter().zip(sent).filter(|(kind, _)| kind.verdict == Some(verdict)).map(|(_, n)| n).sum();
        let label = format!("verdict=\"{verdict}\"");
        assert_eq!(metrics.sum("forebay_plugin_faults_total", &[&label]), asked as f64, "{verdict}");
        assert!(asked > 0, "no fault of {verdict} was asked for");
    }
    let faults: u64 = KINDS.iter().zip(sent).filter(|(kind, _)| kind.verdict.is_some()).map(|(_, n)| n).sum();
    assert_eq!(metrics.sum("forebay_plugin_faults_total", &[]), faults as f64, "faults that nobody asked for");
    let all: u64 = sent.iter().sum();
    assert_eq!(metrics.sum("forebay_requests_total", &["route=\"all\""]), all as f64, "exchanges and answers");
}

#[test]
fn memory_stays_and_every_exchange_is_answered_under_load_with_faults() {
    let seconds = std::env::var("FOREBAY_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let (shop, side, gone) = (origin::start("ok"), origin::start("side"), Port::free());
    let mut edge = start(shop, side, gone.address);
    for words in ["fault", "soaked"] {
        edge.process.expect_error(words);
    }
    let pid = edge.process.pid();
    let end = Instant::now() + Duration::from_secs(seconds);
    let sent = Arc::new(Sent(Default::default()));
    let clients: Vec<_> = (1..=8)
        .map(|seed| {
            let (address, sent) = (edge.address, sent.clone());
            std::thread::spawn(move || ask(address, seed, end, &sent))
        })
        .collect();
    let mut samples = Vec::new();
    let begin = Instant::now();
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(250));
        samples.push(Sample::of(pid, begin.elapsed()));
    }
    clients.into_iter().for_each(|client| client.join().expect("a client found a wrong answer"));
    let sent: Vec<u64> = sent.0.iter().map(|n| n.load(Ordering::Relaxed)).collect();
    for (kind, n) in KINDS.iter().zip(&sent) {
        println!("{:>12}: {n}", kind.word);
    }
    harness::wait_until("what was answered to be counted", harness::PATIENCE, || {
        let all = edge.metrics().sum("forebay_requests_total", &["route=\"all\""]);
        (all >= sent.iter().sum::<u64>() as f64).then_some(())
    });
    count(&edge, &sent);
    process::assert_flat(&samples);
}
