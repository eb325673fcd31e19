//! Token buckets of the region file, the same for all workers.

use std::time::Duration;

use crate::packed::{Arguments, Refusal, call};

/// What a take got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub allowed: bool,
    /// Whole tokens that are there now.
    pub remaining: u32,
    /// When the same would be allowed; zero if it was.
    pub retry_after: Duration,
}

/// Tokens that were reserved. One that is dropped stays taken as it was reserved.
#[must_use = "a lease that is not settled stays taken as it was reserved"]
pub struct Lease(u32);

fn of(bucket: &str, key: &[u8], tokens: u32) -> Arguments {
    Arguments::new().bytes(bucket.as_bytes()).bytes(key).u32(tokens)
}

/// Takes `cost` tokens for `key` if they are there; 0 looks and takes nothing.
///
/// # Errors
/// [`Refusal::CAPABILITY_DENIED`] without `limit:<bucket>`; code 2 if the cost is over the burst or the
/// key over 1 KiB.
pub fn take(bucket: &str, key: &[u8], cost: u32) -> Result<Taken, Refusal> {
    let mut results = call("forebay_limit_take", of(bucket, key, cost))?;
    Ok(Taken {
        allowed: results.u8()? != 0,
        remaining: results.u32()?,
        retry_after: Duration::from_nanos(results.u64()?),
    })
}

/// Takes tokens whose use is settled later.
///
/// # Errors
/// [`Refusal::LIMIT_EXCEEDED`] if they are not there, with when they will be in its text; else as
/// [`take`].
pub fn reserve(bucket: &str, key: &[u8], tokens: u32) -> Result<Lease, Refusal> {
    Ok(Lease(call("forebay_tokens_reserve", of(bucket, key, tokens))?.u32()?))
}

impl Lease {
    /// The host's number for it.
    pub fn number(&self) -> u32 {
        self.0
    }

    /// Less than was reserved gives back, more is taken whether it is there or not.
    ///
    /// # Errors
    /// Code 1 if the exchange that reserved has ended.
    pub fn commit(self, used: u32) -> Result<(), Refusal> {
        call("forebay_lease_commit", Arguments::new().u32(self.0).u32(used)).map(drop)
    }

    /// Gives all back.
    ///
    /// # Errors
    /// As [`Lease::commit`].
    pub fn release(self) -> Result<(), Refusal> {
        call("forebay_lease_release", Arguments::new().u32(self.0)).map(drop)
    }
}
