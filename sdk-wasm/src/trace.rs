//! Spans: what a plugin measures of an exchange, told in the log under W3C's trace ids.

use crate::log::Field;
use crate::packed::{self, Arguments, Refusal};

/// A span that goes on. It ends with [`Span::finish`], or with its exchange; the fields and the
/// duration are told then. Of the context that began it: another has no such span.
#[derive(Debug)]
pub struct Span(u32);

/// Begins a span of the exchange's trace, under the innermost that is open.
///
/// # Errors
/// [`Refusal::LIMIT_EXCEEDED`] with 32 open already; code 2 (bad argument) for a name that is empty or
/// over 128 bytes; code 1 (not found) on another host.
pub fn span(name: &str) -> Result<Span, Refusal> {
    packed::call("forebay_trace_span", Arguments::new().bytes(name.as_bytes()))?.u32().map(Span)
}

impl Span {
    /// # Errors
    /// [`Refusal::LIMIT_EXCEEDED`] past 16 fields.
    pub fn set(&self, key: &str, value: Field<'_>) -> Result<(), Refusal> {
        let arguments = value.pack(Arguments::new().u32(self.0).bytes(key.as_bytes()));
        packed::call("forebay_trace_set", arguments).map(drop)
    }

    /// # Errors
    /// Code 1 (not found) if it has ended with its exchange.
    pub fn finish(self) -> Result<(), Refusal> {
        packed::call("forebay_trace_finish", Arguments::new().u32(self.0)).map(drop)
    }
}
