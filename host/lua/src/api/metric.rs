//! `forebay.metric`, `forebay.now`, `forebay.abi`. The objects of metrics are made in the prelude.

use abi::hostcall::{self, VERSION};
use abi::{Answer, MetricId, MetricKind};

use super::exchange::headers;
use super::{Asked, Out, Raw, Reply, enter, functions};
use crate::state::Function;

pub const FUNCTIONS: &[(&str, Function)] = functions! {
    "metric.counter" |asked| define(asked, MetricKind::Counter, "metric.counter");
    "metric.gauge" |asked| define(asked, MetricKind::Gauge, "metric.gauge");
    "metric.histogram" |asked| define(asked, MetricKind::Histogram, "metric.histogram");
    "metric:increment" increment;
    "metric:record" record;
    "metric:get" value;
    "now" |asked| { asked.state.push_number(asked.vm.host().now().as_secs_f64()); Ok(1) };
    "abi.version" |asked| { asked.state.push_number(VERSION.into()); Ok(1) };
    "abi.has" has;
};

/// `define(name, flat labels or nil)`
fn define(asked: Asked, kind: MetricKind, function: &str) -> Reply {
    let name = asked.name(1, function, "name")?;
    let pairs = headers(&asked, 2, function)?;
    let mut labels = Vec::with_capacity(pairs.len());
    for (label, value) in &pairs {
        match (std::str::from_utf8(label), std::str::from_utf8(value)) {
            (Ok(label), Ok(value)) => labels.push((label, value)),
            _ => return Err(asked.error(&format!("{function}: a label is no UTF-8; allowed: a string in UTF-8"))),
        }
    }
    match asked.vm.host().define_metric(kind, name, &labels) {
        Ok(metric) => {
            asked.state.push_number(metric.0.into());
            Ok(1)
        }
        Err(refusal) => asked.refuse(&refusal),
    }
}

/// `increment(metric, by, function)`
fn increment(asked: Asked) -> Reply {
    let metric = MetricId(asked.number(1, "metric", "metric")? as u32);
    let by = whole(&asked, 2, f64::from(i32::MIN))?;
    asked.answer(asked.vm.host().increment_metric(metric, by as i64))
}

/// `record(metric, value, function)`
fn record(asked: Asked) -> Reply {
    let metric = MetricId(asked.number(1, "metric", "metric")? as u32);
    let value = whole(&asked, 2, 0.0)?;
    asked.answer(asked.vm.host().record_metric(metric, value as u64))
}

fn value(asked: Asked) -> Reply {
    let metric = MetricId(asked.number(1, "metric", "metric")? as u32);
    let value: Answer<u64> = asked.vm.host().metric(metric);
    match value {
        Ok(value) => {
            asked.state.push_number(value as f64);
            Ok(1)
        }
        Err(refusal) => asked.refuse(&refusal),
    }
}

/// A whole number from `least` to 2^53, which a Lua number holds exactly; its own function's
/// name is the third argument.
fn whole(asked: &Asked, index: i32, least: f64) -> Result<f64, Out> {
    let function = asked.name(3, "metric", "function")?;
    let number = asked.number(index, function, "n")?;
    if number.fract() != 0.0 || !(least..=9_007_199_254_740_992.0).contains(&number) {
        return Err(asked.error(&format!("{function}: n is {number}; allowed: a whole number from {least} to 2^53")));
    }
    Ok(number)
}

/// `has(name)`: whether the hostcall exists, by its name in Lua or in Wasm.
fn has(asked: Asked) -> Reply {
    let name = asked.name(1, "abi.has", "name")?;
    asked.state.push_bool(hostcall::has(name));
    Ok(1)
}
