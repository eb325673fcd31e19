//! What is coming to a pool.

use std::time::Duration;

use crate::packed::{call, Arguments, Refusal};

/// What a plugin may say. It is weighed by the pool's `scaling.hints`, and never obeyed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Hint {
    /// So many requests a second more will come through this edge, for so long; 0 takes it back.
    Demand(f64, Duration),
    /// This request counts for so many, up to 1000.
    Cost(f64),
    /// So many origins shall serve, until the first time is over; begun early enough for them to
    /// serve when the second is. 0 takes it back.
    Prewarm(u32, Duration, Duration),
    /// No origin shall be taken away for so long.
    Hold(Duration),
    /// The hold is over.
    Release,
}

/// Says what is coming, for the pool's scaling to weigh.
///
/// # Errors
/// No such pool or value (2); the pool takes no such hint, or no `scale.hint:<pool>` (100); too many in
/// a second (102); the edge reports to no aggregator (104).
pub fn hint(pool: &str, hint: Hint) -> Result<(), Refusal> {
    let now = Duration::ZERO;
    let (kind, value, ttl, due) = match hint {
        Hint::Demand(value, ttl) => ("demand", value, Some(ttl), now),
        Hint::Cost(value) => ("cost", value, None, now),
        Hint::Prewarm(origins, ttl, due) => ("prewarm", f64::from(origins), Some(ttl), due),
        Hint::Hold(ttl) => ("hold", 1.0, Some(ttl), now),
        Hint::Release => ("hold", 0.0, Some(Duration::from_secs(1)), now),
    };
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let arguments = Arguments::new()
        .bytes(pool.as_bytes())
        .bytes(kind.as_bytes())
        .f64(value)
        .maybe(ttl, |arguments, ttl| arguments.u64(nanos(ttl)))
        .u64(nanos(due));
    call("forebay_scale_hint", arguments).map(drop)
}
