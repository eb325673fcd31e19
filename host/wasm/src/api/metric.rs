//! Metrics that a plugin defines.

use abi::{MetricId, MetricKind, Status};

use super::Guest;
use crate::memory::{self, Outcome, refuse};

pub fn define(guest: &mut Guest<'_>, kind: u32, at: u32, len: u32, out: u32) -> Outcome {
    let (data, state) = memory::view(guest)?;
    memory::bytes(data, out, 4)?;
    let kind = match kind {
        0 => MetricKind::Counter,
        1 => MetricKind::Gauge,
        2 => MetricKind::Histogram,
        _ => return refuse(Status::BadArgument, format!("{kind} is no kind of metric (0 to 2)")),
    };
    let metric = state.host().define_metric(kind, memory::text(data, at, len)?)?;
    memory::answer_u32(guest, out, metric.0)
}

pub fn increment(guest: &mut Guest<'_>, metric: u32, by: i64) -> Outcome {
    Ok(guest.data().host().increment_metric(MetricId(metric), by)?)
}

pub fn record(guest: &mut Guest<'_>, metric: u32, value: u64) -> Outcome {
    Ok(guest.data().host().record_metric(MetricId(metric), value)?)
}

pub fn get(guest: &mut Guest<'_>, metric: u32, out: u32) -> Outcome {
    let value = guest.data().host().metric(MetricId(metric))?;
    memory::answer_u64(guest, out, value)
}
