//! Which origin gets the request.
//!
//! [`on_origin_select!`](crate::on_origin_select) names the function that is called before each
//! attempt. A module without it is not called, and pays nothing.

use std::time::Duration;

use crate::packed::{call, call_data, Arguments, Refusal, Results};

/// The origin that the exchange was given to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picked {
    /// `IP:PORT`.
    pub address: String,
    pub pool: String,
    /// Counts from 1; a retry is the next.
    pub attempt: u32,
}

/// How an origin stands, as this edge sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stats {
    /// `IP:PORT`.
    pub address: String,
    /// `booting`, `warming`, `serving`, `draining`.
    pub stage: String,
    pub healthy: bool,
    /// Its part of what a full origin gets: below 1 in slow start.
    pub share: f64,
    /// Exchanges with it now.
    pub in_flight: u64,
    /// Attempts that it was given.
    pub requests: u64,
    /// A moving mean of the time to the first byte.
    pub latency: Option<Duration>,
}

/// Sends the request to another pool.
///
/// # Errors
/// No such pool (2), outside the phases request and origin (101), without `origin.select` and, for
/// another pool than the route's, `origin:<pool>` (100).
pub fn set_pool(pool: &str) -> Result<(), Refusal> {
    call("forebay_origin_set_pool", Arguments::new().bytes(pool.as_bytes())).map(drop)
}

/// Gives the next attempt to this origin of the chosen pool.
///
/// # Errors
/// Not in the pool (2); excluded, failed, unhealthy or not serving (104).
pub fn set_host(address: &str) -> Result<(), Refusal> {
    call("forebay_origin_set_host", Arguments::new().bytes(address.as_bytes())).map(drop)
}

/// Keeps this exchange from an origin, in all its attempts.
///
/// # Errors
/// No address (2), over 1024 of them (102).
pub fn exclude(address: &str) -> Result<(), Refusal> {
    call("forebay_origin_exclude", Arguments::new().bytes(address.as_bytes())).map(drop)
}

/// Who got the latest attempt; `None` if nobody.
///
/// # Errors
/// Before the phase origin (101).
pub fn get() -> Result<Option<Picked>, Refusal> {
    let mut results = call("forebay_origin_get", Arguments::new())?;
    if results.u8()? == 0 {
        return Ok(None);
    }
    Ok(Some(Picked { address: results.text()?, pool: results.text()?, attempt: results.u32()? }))
}

/// How the origins of a pool stand; `None`: of the pool that is chosen.
///
/// # Errors
/// No such pool (2), without `origin:<pool>` for another pool than the route's (100).
pub fn stats(pool: Option<&str>) -> Result<Vec<Stats>, Refusal> {
    let arguments = Arguments::new().maybe(pool, |arguments, pool| arguments.bytes(pool.as_bytes()));
    let mut results = call("forebay_origin_stats", arguments)?;
    (0..results.u32()?).map(|_| one(&mut results)).collect()
}

fn one(results: &mut Results) -> Result<Stats, Refusal> {
    Ok(Stats {
        address: results.text()?,
        stage: results.text()?,
        healthy: results.u8()? != 0,
        share: results.f64()?,
        in_flight: results.u64()?,
        requests: results.u64()?,
        latency: if results.u8()? == 0 { None } else { Some(Duration::from_nanos(results.u64()?)) },
    })
}

/// For [`on_origin_select!`](crate::on_origin_select).
#[doc(hidden)]
pub fn told(pool_size: usize, attempt: u32, then: impl FnOnce(&str, u32)) {
    then(&String::from_utf8_lossy(&call_data(pool_size)), attempt);
}

/// Has a function or closure of `(pool: &str, attempt: u32)` called before each attempt; it may use
/// the functions of [`origin`](crate::origin) and read headers by `proxy_wasm::hostcalls`. Nothing
/// can be waited for there.
#[macro_export]
macro_rules! on_origin_select {
    ($then:expr) => {
        #[no_mangle]
        extern "C" fn forebay_on_origin_select(_context: u32, pool_size: usize, attempt: u32) {
            $crate::origin::told(pool_size, attempt, $then);
        }
    };
}
