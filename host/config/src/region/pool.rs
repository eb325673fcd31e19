//! A pool: its origins, and how an edge uses them.

use std::net::SocketAddr;
use std::time::Duration;

use super::{RoutePlugin, Scaling};

#[derive(Clone, Debug)]
pub struct Pool {
    pub name: String,
    /// Listed origins; a pool with `scaling` gets more from the aggregator.
    pub origins: Vec<SocketAddr>,
    pub balance: Balance,
    /// Speak HTTP/2 with prior knowledge to origins.
    pub http2: bool,
    pub timeouts: PoolTimeouts,
    /// Idle connections kept per worker and origin.
    pub idle_connections: usize,
    pub health: Option<HealthCheck>,
    pub warmup: Option<Warmup>,
    /// A new origin's share of traffic grows from a tenth to the whole over this time.
    pub slow_start: Duration,
    pub scaling: Option<Scaling>,
}

impl Pool {
    /// Its policy plugins.
    pub fn scripts(&self) -> &[RoutePlugin] {
        self.scaling.as_ref().map_or(&[], |scaling| &scaling.scripts)
    }

    pub const HTTP2: bool = false;
    pub const IDLE_CONNECTIONS: u32 = 64;
    pub const SLOW_START: Duration = Duration::ZERO;
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    #[default]
    RoundRobin,
    /// The fewest requests in flight from this worker, of two picked at random.
    LeastRequests,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PoolTimeouts {
    pub connect: Duration,
    /// From the request sent to the response headers.
    pub response: Duration,
    /// Between two chunks of a response body.
    pub body: Duration,
    /// How long an idle connection is kept.
    pub idle: Duration,
}

impl Default for PoolTimeouts {
    fn default() -> PoolTimeouts {
        PoolTimeouts {
            connect: Duration::from_secs(2),
            response: Duration::from_secs(30),
            body: Duration::from_secs(60),
            idle: Duration::from_secs(30),
        }
    }
}

/// Active: a GET from each edge (not from each worker).
#[derive(Clone, Debug, PartialEq)]
pub struct HealthCheck {
    pub path: String,
    pub interval: Duration,
    pub timeout: Duration,
    /// Successes in a row until healthy again.
    pub healthy_after: u32,
    /// Failures in a row until unhealthy.
    pub unhealthy_after: u32,
    /// The status codes that count as success.
    pub statuses: Vec<u16>,
}

impl Default for HealthCheck {
    fn default() -> HealthCheck {
        HealthCheck {
            path: "/".to_owned(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            healthy_after: 2,
            unhealthy_after: 3,
            statuses: vec![200],
        }
    }
}

/// Real requests that each edge sends to a new origin before it takes traffic.
#[derive(Clone, Debug, PartialEq)]
pub struct Warmup {
    pub path: String,
    pub requests: u32,
    /// An origin that is not warm by then takes traffic all the same.
    pub timeout: Duration,
}

impl Default for Warmup {
    fn default() -> Warmup {
        Warmup { path: "/".to_owned(), requests: 10, timeout: Duration::from_secs(10) }
    }
}
