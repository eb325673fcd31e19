//! A plugin's limits: those of the plugin, a route's over them, and the bounds of what can be meant. A
//! limit that nothing keeps to (`cpu: 1us`) or that bounds nothing (`memory: 100GiB`) is a slip.

use std::time::Duration;

use crate::error::{Errors, Place, Problem};
use crate::raw::form::{Count, Period, Size};
use crate::raw::plugin as raw;
use crate::raw::value::{At, Written};
use crate::region::PluginLimits;

/// Asking the clock takes a hundredth of it.
const LEAST_CPU: Duration = Duration::from_micros(100);
/// A second of each second.
const MOST_BACKGROUND: Duration = Duration::from_secs(1);
/// A page of Wasm, and all that 32 bits can address.
const MEMORY: (usize, usize) = (64 << 10, 4 << 30);
const MOST_BUFFER: usize = 1 << 30;
/// What the Wasm engine has room for.
const MOST_INSTANCES: u32 = 4000;

/// The plugin's own.
pub fn of_plugin(raw: &raw::Limits, errors: &mut Errors) -> PluginLimits {
    bounds(
        [Some(&raw.cpu), Some(&raw.start_cpu), raw.exchange_cpu.as_ref(), Some(&raw.background_cpu)],
        Some(&raw.memory),
        Some(&raw.buffer),
        Some(&raw.instances),
        errors,
    );
    PluginLimits {
        mode: raw.mode.value,
        cpu: raw.cpu.0,
        start_cpu: raw.start_cpu.0,
        exchange_cpu: match &raw.exchange_cpu {
            Some(given) => given.0,
            None => PluginLimits::default().exchange_cpu.max(raw.cpu.0),
        },
        background_cpu: raw.background_cpu.0,
        wall: raw.wall.0,
        memory: raw.memory.bytes(),
        instances: raw.instances.0,
        buffer: raw.buffer.bytes(),
        callouts: raw.callouts.0,
        kv_calls: raw.kv_calls.0,
        log_lines: raw.log_lines.0,
        metrics: raw.metrics.0,
    }
}

/// The route's where it gives them, else the plugin's.
pub fn of_route(raw: &raw::RouteLimits, plugin: &PluginLimits, errors: &mut Errors) -> PluginLimits {
    bounds(
        [raw.cpu.as_ref(), raw.start_cpu.as_ref(), raw.exchange_cpu.as_ref(), raw.background_cpu.as_ref()],
        raw.memory.as_ref(),
        raw.buffer.as_ref(),
        raw.instances.as_ref(),
        errors,
    );
    let cpu = raw.cpu.as_ref().map_or(plugin.cpu, |cpu| cpu.0);
    PluginLimits {
        mode: raw.mode.as_ref().map_or(plugin.mode, |mode| mode.value),
        cpu,
        start_cpu: raw.start_cpu.as_ref().map_or(plugin.start_cpu, |cpu| cpu.0),
        exchange_cpu: raw.exchange_cpu.as_ref().map_or(plugin.exchange_cpu, |exchange| exchange.0).max(cpu),
        background_cpu: raw.background_cpu.as_ref().map_or(plugin.background_cpu, |cpu| cpu.0),
        wall: raw.wall.as_ref().map_or(plugin.wall, |wall| wall.0),
        memory: raw.memory.as_ref().map_or(plugin.memory, |memory| memory.bytes()),
        instances: raw.instances.as_ref().map_or(plugin.instances, |instances| instances.0),
        buffer: raw.buffer.as_ref().map_or(plugin.buffer, |buffer| buffer.bytes()),
        callouts: raw.callouts.as_ref().map_or(plugin.callouts, |callouts| callouts.0),
        kv_calls: raw.kv_calls.as_ref().map_or(plugin.kv_calls, |calls| calls.0),
        log_lines: raw.log_lines.as_ref().map_or(plugin.log_lines, |lines| lines.0),
        metrics: raw.metrics.as_ref().map_or(plugin.metrics, |metrics| metrics.0),
    }
}

fn bounds(
    cpu: [Option<&At<Period>>; 4],
    memory: Option<&At<Size>>,
    buffer: Option<&At<Size>>,
    instances: Option<&At<Count>>,
    errors: &mut Errors,
) {
    for given in cpu.into_iter().flatten().filter(|given| given.0 < LEAST_CPU) {
        refuse(given, &given.place, "at least 100us", errors);
    }
    if let Some(given) = cpu[3].filter(|given| given.0 > MOST_BACKGROUND) {
        refuse(given, &given.place, "100us to 1s, of each second", errors);
    }
    if let Some(given) = memory.filter(|given| !(MEMORY.0..=MEMORY.1).contains(&given.bytes())) {
        refuse(given, &given.place, "64KiB to 4GiB", errors);
    }
    if let Some(given) = buffer.filter(|given| given.bytes() > MOST_BUFFER) {
        refuse(given, &given.place, "at most 1GiB", errors);
    }
    if let Some(given) = instances.filter(|given| !(1..=MOST_INSTANCES).contains(&given.0)) {
        refuse(given, &given.place, "1 to 4000", errors);
    }
}

fn refuse<T: Written>(given: &At<T>, place: &Place, allowed: &str, errors: &mut Errors) {
    let found = match given.value.written() {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    errors.add(place, Problem::found(format!("found {found}")).allowed(format!("allowed: {allowed}")));
}
