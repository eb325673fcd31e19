//! Token buckets, packed.

use abi::{Answer, LeaseId};

use super::packed::{Reader, Writer};
use crate::state::State;

/// `(bucket, key, cost: u32)`: allowed (u8), remaining (u32), retry after (u64, nanoseconds).
pub fn take(state: &State, from: &mut Reader<'_>) -> Answer<Writer> {
    let taken = state.host().limit_take(from.text()?, from.name()?, from.u32()?)?;
    let wait = u64::try_from(taken.retry_after.as_nanos()).unwrap_or(u64::MAX);
    Ok(Writer::default().u8(taken.allowed.into()).u32(taken.remaining).u64(wait).done())
}

/// `(bucket, key, tokens: u32)`: the lease (u32).
pub fn reserve(state: &State, from: &mut Reader<'_>) -> Answer<Writer> {
    let lease = state.host().tokens_reserve(from.text()?, from.name()?, from.u32()?)?;
    Ok(Writer::default().u32(lease.0).done())
}

/// `(lease: u32, used: u32)`
pub fn commit(state: &State, from: &mut Reader<'_>) -> Answer<Writer> {
    state.host().lease_commit(LeaseId(from.u32()?), from.u32()?).map(|()| Writer::default())
}

/// `(lease: u32)`
pub fn release(state: &State, from: &mut Reader<'_>) -> Answer<Writer> {
    state.host().lease_release(LeaseId(from.u32()?)).map(|()| Writer::default())
}
