//! Metrics that are read off when somebody asks, in Prometheus' text form: a series is there as
//! long as what it tells of, so that plugins and routes of old configurations leave none behind.

use std::fmt::Write;

use config::PluginCode;

use crate::life::STATES;
use crate::snapshot::Snapshot;
use crate::worker::Shared;

/// To be put behind what the recorder renders.
pub fn render(shared: &Shared, snapshot: &Snapshot) -> String {
    let mut text = String::new();
    states(snapshot, &mut text);
    memory(shared, snapshot, &mut text);
    text
}

/// What the instances of each plugin hold, on each worker.
fn memory(shared: &Shared, snapshot: &Snapshot, text: &mut String) {
    for (name, about, of) in [
        ("forebay_lua_heap_bytes", "Heaps of a Lua plugin's VMs, by worker; machine code is not in it", false),
        ("forebay_wasm_memory_bytes", "Memories and tables of a Wasm plugin's instances, by worker", true),
    ] {
        head(text, name, "gauge", about);
        let plugins = snapshot.region.plugins.values();
        for plugin in plugins.filter(|plugin| matches!(plugin.code, PluginCode::Wasm(_)) == of) {
            for (worker, bytes) in shared.ledger.memory(&plugin.name) {
                let plugin = escaped(&plugin.name);
                line(text, format_args!("{name}{{plugin=\"{plugin}\",worker=\"{worker}\"}} {bytes}"));
            }
        }
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
