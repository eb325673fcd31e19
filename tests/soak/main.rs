//! A real edge with plugins in both languages under load, with faults of every kind mixed in: every exchange is
//! answered and rightly so, the faults that are counted are those that were asked for, whom a fault of Wasm
//! took along is counted as that, and memory, threads and open files stay where they were.
//!
//! `tests/run` runs it for 20 seconds. `FOREBAY_SOAK=300 cargo test --workspace --test soak --
//! --nocapture` runs it for five minutes.

mod origin;
mod plugin;
mod process;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use harness::binary::guest;
use harness::{Client, Edge, Port, Response, Setup};

use plugin::{Kind, PLUGINS, Plugin};
use process::Sample;

fn start(shop: SocketAddr, side: SocketAddr, gone: SocketAddr) -> Edge {
    let module = guest("tests/conformance/guest", "conformance-guest.wasm");
    let (mut plugins, mut routes) = (String::new(), String::new());
    for Plugin { name, entry, .. } in &PLUGINS {
        let entry = entry.replace("GUEST", &module.display().to_string());
        plugins.push_str(&format!(
            "  - name: {name}\n    {entry}\n    capabilities: [\"callout:side\", \"callout:gone\", \"dict:seen\"]\n    \
             limits:\n      cpu: 25ms\n      memory: 8MiB\n      wall: 3s\n    crash_budget: {{ faults: 0 }}\n"
        ));
        routes.push_str(&format!(
            "  - name: {name}\n    match: {{path: {{prefix: /{name}}}}}\n    plugins: [{name}]\n    pool: shop\n"
        ));
    }
    let region = format!(
        "plugins:\n{plugins}routes:\n{routes}pools:\n  - name: shop\n    origins: [\"{shop}\"]\n  - name: side\n    \
         origins: [\"{side}\"]\n  - name: gone\n    origins: [\"{gone}\"]\n"
    );
    Setup::new(region).file("soaked.lua", plugin::TEXT).workers(2).without_access_log().start()
}

/// What became of the requests of one kind: `lost` to the fault of another.
#[derive(Default)]
struct Tally {
    met: AtomicU64,
    lost: AtomicU64,
}

/// By plugin and kind.
type Tallies = Vec<Vec<Tally>>;

/// A generator of numbers, so that a run can be told from another.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// The place of one of `kinds`, each as often as its weight says.
    fn choose(&mut self, kinds: &[Kind]) -> usize {
        let total: u32 = kinds.iter().map(|kind| kind.weight).sum();
        let mut at = (self.next() % u64::from(total)) as u32;
        let which = kinds.iter().position(|kind| match at.checked_sub(kind.weight) {
            Some(rest) => {
                at = rest;
                false
            }
            None => true,
        });
        which.expect("the number is below the sum of all weights")
    }
}

/// Whether the fault of another ended this exchange: its plugin failed, of what was not asked here.
fn is_lost(plugin: &Plugin, kind: &Kind, response: &Response) -> bool {
    let own = kind.verdict.map(|verdict| format!("failed: {verdict}"));
    plugin.collateral
        && response.status == 503
        && matches!(response.header("x-forebay-reject"), Some("plugin_fault" | "plugin_restarting"))
        && own.is_none_or(|own| !response.text().contains(&own))
}

/// Sends one request after the other until `end`, and holds each answer against what was asked.
fn ask(address: SocketAddr, seed: u64, end: Instant, tallies: &Tallies) {
    let mut numbers = Numbers(seed);
    let mut client = Client::connect(address);
    for n in 0.. {
        if Instant::now() >= end {
            return;
        }
        let which = (numbers.next() % PLUGINS.len() as u64) as usize;
        let plugin = &PLUGINS[which];
        let place = numbers.choose(plugin.kinds);
        let (kind, tally) = (&plugin.kinds[place], &tallies[which][place]);
        let id = format!("{seed}-{n}");
        let what = format!("{} {} {id}", plugin.name, kind.word);
        client.request("GET", &format!("/{}", plugin.name), &[("x-do", kind.word), ("x-id", &id)], b"");
        let response = client.try_response().unwrap_or_else(|e| panic!("{what} was not answered: {e}"));
        if is_lost(plugin, kind, &response) {
            tally.lost.fetch_add(1, Ordering::Relaxed);
        } else {
            assert_eq!(response.status, kind.status, "{what}: {}", response.text());
            let wanted = kind.verdict.is_none().then_some(id.as_str());
            assert_eq!(response.header("x-id"), wanted, "{what}: the answer of somebody else");
            tally.met.fetch_add(1, Ordering::Relaxed);
        }
        if response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            client = Client::connect(address);
        }
    }
}

/// The counts of the edge for one plugin against what was asked of it.
fn count(edge: &Edge, plugin: &Plugin, tallies: &[Tally]) {
    let metrics = edge.metrics();
    let Plugin { name, kinds, .. } = plugin;
    let label = format!("plugin=\"{name}\"");
    let met = |verdict: Option<&str>| -> u64 {
        let of = kinds
            .iter()
            .zip(tallies)
            .filter(|(kind, _)| kind.verdict.is_some() && (verdict.is_none() || kind.verdict == verdict));
        of.map(|(_, tally)| tally.met.load(Ordering::Relaxed)).sum()
    };
    for verdict in ["CPU", "MEMORY", "TRAP", "WALL"] {
        let met = met(Some(verdict));
        let counted = metrics.sum("forebay_plugin_faults_total", &[&label, &format!("verdict=\"{verdict}\"")]);
        assert_eq!(counted, met as f64, "{name}: {verdict}");
        // Who waits long is mostly taken along before its time is up.
        let few = verdict == "WALL" && plugin.collateral;
        assert!(met > 0 || few, "{name}: no fault of {verdict} was asked for");
    }
    let faults = metrics.sum("forebay_plugin_faults_total", &[&label]);
    assert_eq!(faults, met(None) as f64, "{name}: faults that nobody asked for");
    let lost: u64 = tallies.iter().map(|tally| tally.lost.load(Ordering::Relaxed)).sum();
    // Those that had been answered, and of whose end the plugin was still to be told.
    let own = format!("\"plugin\":\"{name}\"");
    let lines = edge.process.log();
    let ends = lines.iter().filter(|line| line.contains("\"collateral: ") && line.contains(&own));
    let late = ends.filter(|line| ["on_done", "on_log"].iter().any(|end| line.contains(&format!("\"{end}\"")))).count();
    let counted = metrics.sum("forebay_plugin_collateral_total", &[&label]);
    assert_eq!(counted, (lost + late as u64) as f64, "{name}: whom a fault took along");
    assert_eq!(lost > 0, plugin.collateral, "{name}: {lost} were taken along by the faults of others");
    println!("{name}: {faults} faults, {lost} more taken along, {late} at their end");
}

fn all(tallies: &[Tally]) -> u64 {
    tallies.iter().map(|tally| tally.met.load(Ordering::Relaxed) + tally.lost.load(Ordering::Relaxed)).sum()
}

#[test]
fn memory_stays_and_every_exchange_is_answered_under_load_with_faults() {
    let seconds = std::env::var("FOREBAY_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let (shop, side, gone) = (origin::start("ok"), origin::start("side"), Port::free());
    let mut edge = start(shop, side, gone.address);
    for words in ["fault", "soaked", "asked for", "shared", "apart"] {
        edge.process.expect_error(words);
    }
    let pid = edge.process.pid();
    let end = Instant::now() + Duration::from_secs(seconds);
    let tallies: Arc<Tallies> =
        Arc::new(PLUGINS.iter().map(|plugin| plugin.kinds.iter().map(|_| Tally::default()).collect()).collect());
    let clients: Vec<_> = (1..=12)
        .map(|seed| {
            let (address, tallies) = (edge.address, tallies.clone());
            std::thread::spawn(move || ask(address, seed, end, &tallies))
        })
        .collect();
    let mut samples = Vec::new();
    let begin = Instant::now();
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(250));
        samples.push(Sample::of(pid, begin.elapsed()));
    }
    clients.into_iter().for_each(|client| client.join().expect("a client found a wrong answer"));
    for (plugin, tallies) in PLUGINS.iter().zip(&*tallies) {
        for (kind, tally) in plugin.kinds.iter().zip(tallies) {
            let (met, lost) = (tally.met.load(Ordering::Relaxed), tally.lost.load(Ordering::Relaxed));
            println!("{:>8} {:>12}: {met}, {lost} taken along", plugin.name, kind.word);
        }
        harness::wait_until("what was answered to be counted", harness::PATIENCE, || {
            let counted = edge.metrics().sum("forebay_requests_total", &[&format!("route=\"{}\"", plugin.name)]);
            (counted >= all(tallies) as f64).then_some(())
        });
        let counted = edge.metrics().sum("forebay_requests_total", &[&format!("route=\"{}\"", plugin.name)]);
        assert_eq!(counted, all(tallies) as f64, "{}: exchanges and answers", plugin.name);
        count(&edge, plugin, tallies);
    }
    process::assert_flat(&samples);
}
