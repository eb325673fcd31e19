//! Metrics that a plugin defines.

use abi::{Answer, MetricId, MetricKind, Refusal, Status};

use super::Guest;
use super::packed::{Reader, Writer};
use crate::memory::{self, Outcome};
use crate::state::State;

pub fn define(guest: &mut Guest<'_>, kind: u32, at: u32, len: u32, out: u32) -> Outcome {
    let (data, state) = memory::view(guest)?;
    memory::bytes(data, out, 4)?;
    let kind = kind_of(kind)?;
    let metric = state.host().define_metric(kind, memory::text(data, at, len)?, &[])?;
    memory::answer_u32(guest, out, metric.0)
}

/// `forebay_metric_define`: the kind (u32, as in `proxy_define_metric`), the name, a list of labels
/// (name, value); gives the number (u32) that `proxy_increment_metric` and the others take.
pub fn define_with_labels(state: &State, arguments: &mut Reader<'_>) -> Answer<Writer> {
    let (kind, name) = (kind_of(arguments.u32()?)?, arguments.text()?);
    let labels = arguments.list(|label| Ok((label.text()?, label.text()?)))?;
    let metric = state.host().define_metric(kind, name, &labels)?;
    Ok(Writer::default().u32(metric.0).done())
}

fn kind_of(kind: u32) -> Answer<MetricKind> {
    match kind {
        0 => Ok(MetricKind::Counter),
        1 => Ok(MetricKind::Gauge),
        2 => Ok(MetricKind::Histogram),
        _ => Err(Refusal::new(Status::BadArgument, format!("{kind} is no kind of metric (0 to 2)"))),
    }
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
