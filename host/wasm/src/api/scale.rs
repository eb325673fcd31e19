//! What a plugin says of what is coming, and how a policy plugin is asked and answers: packed calls.

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

/// What the pool's scaling sees: JSON.
pub fn view(state: &State, _: &mut Reader<'_>) -> Answer<Writer> {
    state.host().scale_view().map(|view| Writer::default().bytes(&view).done())
}

/// A count of origins (f64), and why.
pub fn propose(state: &State, arguments: &mut Reader<'_>) -> Answer<Writer> {
    let (origins, because) = (arguments.f64()?, arguments.text()?);
    state.host().scale_propose(origins, because).map(|()| Writer::default())
}
