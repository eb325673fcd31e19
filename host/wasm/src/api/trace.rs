//! Spans: what a guest measures of its exchange.

use abi::{Answer, SpanId};

use super::log::field;
use super::packed::{Reader, Writer};
use crate::state::State;

/// `forebay_trace_span`: the name; gives the span's number (u32), of this context.
pub fn span(state: &State, arguments: &mut Reader<'_>) -> Answer<Writer> {
    let span = state.host().span(arguments.text()?)?;
    Ok(Writer::default().u32(span.0).done())
}

/// `forebay_trace_set`: the span, the key, and a tag with the value as in `forebay_log`.
pub fn set(state: &State, arguments: &mut Reader<'_>) -> Answer<Writer> {
    let (span, key) = (SpanId(arguments.u32()?), arguments.text()?);
    state.host().set_span(span, key, field(arguments)?)?;
    Ok(Writer::default())
}

/// `forebay_trace_finish`: the span.
pub fn finish(state: &State, arguments: &mut Reader<'_>) -> Answer<Writer> {
    state.host().finish_span(SpanId(arguments.u32()?))?;
    Ok(Writer::default())
}
