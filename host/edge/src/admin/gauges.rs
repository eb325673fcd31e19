//! Metrics that are read off when somebody asks, in Prometheus' text form: a series is there as
//! long as what it tells of, so that plugins and routes of old configurations leave none behind.

use std::collections::BTreeMap;
use std::fmt::Write;

use config::PluginCode;

use crate::life::STATES;
use crate::snapshot::Snapshot;
use crate::telemetry::PluginWork;
use crate::telemetry::ledger::PluginCount;
use crate::worker::Shared;

/// To be put behind what the recorder renders.
pub fn render(shared: &Shared, snapshot: &Snapshot) -> String {
    let mut text = String::new();
    states(snapshot, &mut text);
    work(shared, snapshot, &mut text);
    counts(shared, snapshot, &mut text);
    sources(shared, snapshot, &mut text);
    text
}

/// A count of each plugin by a label of its own: name, what it says, the label.
type Counts = (&'static str, &'static str, &'static str, fn(&PluginCount) -> &BTreeMap<&'static str, u64>);

const COUNTS: [Counts; 3] = [
    ("forebay_plugin_calls_total", "Callbacks of plugins that were called", "callback", |count| &count.calls),
    ("forebay_plugin_faults_total", "Faults of plugins, by verdict", "verdict", |count| &count.faults),
    (
        "forebay_plugin_collateral_total",
        "Exchanges that lost their instance to another's fault, by its verdict",
        "verdict",
        |count| &count.collateral,
    ),
];

/// What plugins did, and how many instances there are, over all workers.
fn counts(shared: &Shared, snapshot: &Snapshot, text: &mut String) {
    let counts = shared.ledger.plugins();
    let there = || counts.iter().filter(|(plugin, _)| snapshot.region.plugins.contains_key(&***plugin));
    for (name, about, label, of) in COUNTS {
        head(text, name, "counter", about);
        for (plugin, count) in there() {
            for (value, n) in of(count) {
                line(text, format_args!("{name}{{plugin=\"{}\",{label}=\"{value}\"}} {n}", escaped(plugin)));
            }
        }
    }
    let name = "forebay_plugin_background_delayed_total";
    head(text, name, "counter", "Ticks and other callbacks outside of exchanges that had to wait");
    for (plugin, count) in there().filter(|(_, count)| count.delayed > 0) {
        line(text, format_args!("{name}{{plugin=\"{}\"}} {}", escaped(plugin), count.delayed));
    }
    let name = "forebay_plugin_crowded_total";
    head(text, name, "counter", "Exchanges for which there was no room for one more instance");
    for (plugin, count) in there().filter(|(_, count)| count.crowded > 0) {
        line(text, format_args!("{name}{{plugin=\"{}\"}} {}", escaped(plugin), count.crowded));
    }
    let name = "forebay_plugin_instances";
    head(text, name, "gauge", "Plugin instances alive, over all workers");
    for (plugin, count) in there() {
        line(text, format_args!("{name}{{plugin=\"{}\"}} {}", escaped(plugin), count.instances));
    }
}

/// A series of each plugin on each worker: name, kind, what it says, of which engine (`None`: both).
type Series = (&'static str, &'static str, &'static str, Option<bool>, fn(&PluginWork) -> f64);

const WORK: [Series; 5] = [
    (
        "forebay_lua_heap_bytes",
        "gauge",
        "Heaps of a Lua plugin's VMs, by worker; machine code is not in it",
        Some(false),
        |work| work.held.memory as f64,
    ),
    (
        "forebay_lua_jit_bytes",
        "gauge",
        "Machine code that a Lua plugin's VMs have mapped, by worker",
        Some(false),
        |work| work.held.machine_code as f64,
    ),
    (
        "forebay_lua_gc_cycles_total",
        "counter",
        "Cycles that the collectors of a Lua plugin's VMs have finished, by worker",
        Some(false),
        |work| work.collections as f64,
    ),
    (
        "forebay_wasm_memory_bytes",
        "gauge",
        "Memories and tables of a Wasm plugin's instances, by worker",
        Some(true),
        |work| work.held.memory as f64,
    ),
    (
        "forebay_plugin_cpu_seconds_total",
        "counter",
        "CPU time of a plugin by worker, sampled: entries that the watch strikes stand for the others",
        None,
        |work| work.cpu.as_secs_f64(),
    ),
];

/// What the instances of each plugin hold and have done, on each worker.
fn work(shared: &Shared, snapshot: &Snapshot, text: &mut String) {
    for (name, kind, about, of, value) in WORK {
        head(text, name, kind, about);
        let plugins = snapshot.region.plugins.values();
        for plugin in plugins.filter(|p| of.is_none_or(|of| of == !matches!(p.code, PluginCode::Lua(_)))) {
            for work in shared.ledger.work(&plugin.name) {
                let (plugin, worker, value) = (escaped(&plugin.name), work.worker, value(&work));
                line(text, format_args!("{name}{{plugin=\"{plugin}\",worker=\"{worker}\"}} {value}"));
            }
        }
    }
}

/// How it stands with modules that are fetched.
fn sources(shared: &Shared, snapshot: &Snapshot, text: &mut String) {
    let plugins = snapshot.region.plugins.values();
    let all: Vec<_> = plugins.filter_map(|p| Some((escaped(&p.name), shared.sources.facts(p)?))).collect();
    let name = "forebay_plugin_source_fetches_total";
    head(text, name, "counter", "Attempts to fetch a plugin's module, by how they ended");
    for (plugin, facts) in &all {
        for (result, n) in [("fetched", facts.fetched), ("failed", facts.failed)] {
            line(text, format_args!("{name}{{plugin=\"{plugin}\",result=\"{result}\"}} {n}"));
        }
    }
    let name = "forebay_plugin_source_last_success_timestamp_seconds";
    head(text, name, "gauge", "When a plugin's module was fetched last; not there if it came from disk");
    for (plugin, facts) in &all {
        if let Some(last) = facts.last {
            line(text, format_args!("{name}{{plugin=\"{plugin}\"}} {}", last.as_secs_f64()));
        }
    }
    let name = "forebay_plugin_source_info";
    head(text, name, "gauge", "1, with where a plugin's module is from, its digest, and how it stands with it");
    for (plugin, facts) in &all {
        let (from, sha256, state) = (escaped(&facts.from), &facts.sha256, facts.state);
        let labels = format_args!("plugin=\"{plugin}\",from=\"{from}\",sha256=\"{sha256}\",state=\"{state}\"");
        line(text, format_args!("{name}{{{labels}}} 1"));
    }
}

fn states(snapshot: &Snapshot, text: &mut String) {
    head(text, "forebay_plugin_state", "gauge", "1 for the state that a plugin is in on a route, 0 for the others");
    let mut seen = Vec::new();
    for life in snapshot.plugins.lives() {
        // Twice on one route is one series: the first tells.
        let of = (&**life.plugin(), &*life.route);
        if seen.contains(&of) {
            continue;
        }
        seen.push(of);
        let now = life.state();
        for state in STATES {
            let value = u8::from(state == now);
            let (plugin, route) = (escaped(of.0), escaped(of.1));
            line(
                text,
                format_args!("forebay_plugin_state{{plugin=\"{plugin}\",route=\"{route}\",state=\"{state}\"}} {value}"),
            );
        }
    }
}

fn head(text: &mut String, name: &str, kind: &str, about: &str) {
    line(text, format_args!("# HELP {name} {about}"));
    line(text, format_args!("# TYPE {name} {kind}"));
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing into a string does not fail.
    let _ = writeln!(text, "{line}");
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
