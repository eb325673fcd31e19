//! What a plugin says of what is coming: a packed call.

use std::time::Duration;

use abi::{Answer, ScaleHint};

use super::packed::{Reader, Writer};
use crate::state::State;

/// A pool's name, the kind, the value (f64), the time that it stands in nanoseconds (u64), which may
/// be missing, and that until it is needed (u64).
pub fn hint(state: &State, arguments: &mut Reader<'_>) -> Answer<Writer> {
    let (pool, kind, value) = (arguments.text()?, arguments.text()?, arguments.f64()?);
    let ttl = arguments.maybe(Reader::u64)?.map(Duration::from_nanos);
    let due = Duration::from_nanos(arguments.u64()?);
    state.host().scale_hint(pool, &ScaleHint { kind, value, ttl, due }).map(|()| Writer::default())
}
