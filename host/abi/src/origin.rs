//! What a plugin is told of origins.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The origin that an exchange was given to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picked {
    pub address: SocketAddr,
    pub pool: Arc<str>,
    /// Counts from 1; a retry is the next.
    pub attempt: u32,
}

/// How an origin stands, as this edge sees it: other edges may have more in flight there.
#[derive(Clone, Debug, PartialEq)]
pub struct OriginStats {
    pub address: SocketAddr,
    /// `booting`, `warming`, `serving`, `draining`.
    pub stage: &'static str,
    pub healthy: bool,
    /// Its part of what a full origin gets: below 1 in slow start, 0 unless it serves.
    pub share: f64,
    /// Exchanges with it now.
    pub in_flight: u64,
    /// Attempts that it was given since this edge knows it.
    pub requests: u64,
    /// A moving mean of the time to the first byte; `None` if nothing was measured.
    pub latency: Option<Duration>,
}
