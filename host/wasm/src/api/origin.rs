//! Which origin gets the request: packed calls.

use abi::Answer;

use super::packed::{Reader, Writer};
use crate::state::State;

/// A pool's name.
pub fn set_pool(state: &State, arguments: &mut Reader<'_>) -> Answer<Writer> {
    state.host().origin_set_pool(arguments.text()?).map(|()| Writer::default())
}

/// An address, IP:PORT.
pub fn set_host(state: &State, arguments: &mut Reader<'_>) -> Answer<Writer> {
    state.host().origin_set_host(arguments.text()?).map(|()| Writer::default())
}

/// An address, IP:PORT.
pub fn exclude(state: &State, arguments: &mut Reader<'_>) -> Answer<Writer> {
    state.host().origin_exclude(arguments.text()?).map(|()| Writer::default())
}

/// Nothing; gives what may be missing: address, pool, attempt (u32).
pub fn get(state: &State, _: &mut Reader<'_>) -> Answer<Writer> {
    let mut results = Writer::default();
    match state.host().origin_picked()? {
        None => results.u8(0),
        Some(picked) => {
            results.u8(1).bytes(picked.address.to_string().as_bytes());
            results.bytes(picked.pool.as_bytes()).u32(picked.attempt)
        }
    };
    Ok(results)
}

/// A pool's name, which may be missing; gives a list of: address, stage, healthy (u8), share (f64), in
/// flight (u64), requests (u64), latency in nanoseconds (u64), which may be missing.
pub fn stats(state: &State, arguments: &mut Reader<'_>) -> Answer<Writer> {
    let pool = arguments.maybe(Reader::text)?;
    let origins = state.host().origin_stats(pool)?;
    let mut results = Writer::default();
    results.u32(origins.len() as u32);
    for origin in origins {
        results.bytes(origin.address.to_string().as_bytes()).bytes(origin.stage.as_bytes());
        results.u8(origin.healthy.into()).f64(origin.share).u64(origin.in_flight).u64(origin.requests);
        match origin.latency {
            None => results.u8(0),
            Some(latency) => results.u8(1).u64(latency.as_nanos() as u64),
        };
    }
    Ok(results)
}
