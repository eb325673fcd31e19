//! Metrics with labels.

use proxy_wasm::types::MetricType;

use crate::packed::{self, Arguments, Refusal};

/// The series of a metric with these labels (name, value); its number is for
/// `proxy_wasm::hostcalls::increment_metric` and the others.
///
/// # Errors
/// [`Refusal::LIMIT_EXCEEDED`] past the limit `metrics`, code 2 (bad argument) for a label that
/// cannot be or other names than the metric has; code 1 (not found) on another host.
pub fn define(kind: MetricType, name: &str, labels: &[(&str, &str)]) -> Result<u32, Refusal> {
    let arguments = Arguments::new().u32(kind as u32).bytes(name.as_bytes());
    let arguments = arguments
        .list(labels.iter(), |to, (name, value)| to.bytes(name.as_bytes()).bytes(value.as_bytes()));
    packed::call("forebay_metric_define", arguments)?.u32()
}
