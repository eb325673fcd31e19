//! The words that edges and aggregator exchange, as JSON over HTTP: an edge POSTs a [`Report`]
//! to `/v1/reports` once a second and the answer is the [`Membership`].
//!
//! Both carry [`VERSION`]; a receiver refuses a version that it does not know.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The version of this wire format.
pub const VERSION: u32 = 1;

/// What one edge saw since its last report: differences for what counts up, the present value
/// for what goes both ways.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    pub version: u32,
    /// The edge's name, unique in its region.
    pub edge: String,
    /// When this run of the edge began (milliseconds since the Unix epoch): a restart begins a
    /// new count of `seq`.
    pub boot: u64,
    /// Counts up by one; a repeat of `(edge, boot, seq)` is dropped.
    pub seq: u64,
    /// Milliseconds that the differences cover.
    pub period_ms: u64,
    /// By pool name.
    pub pools: BTreeMap<String, PoolReport>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolReport {
    /// Requests that arrived for the pool, rejected ones included: the offered load.
    pub requests: u64,
    /// Of those, the ones that the edge refused or the origin shed (no origin, overload: 503).
    pub rejects: u64,
    /// Answers with status 500 and up, and requests that got no answer.
    pub errors: u64,
    /// Exchanges with an origin of the pool now.
    pub in_flight: u64,
    /// Time to the first byte from the origin: sum and count give the mean.
    pub latency_sum_ms: f64,
    pub latency_count: u64,
    /// 99th percentile of the period in milliseconds, 0 if nothing was measured.
    pub latency_p99_ms: f64,
    /// What this edge knows of each origin, by address.
    pub origins: BTreeMap<SocketAddr, OriginReport>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OriginReport {
    pub requests: u64,
    pub in_flight: u64,
    pub healthy: bool,
    /// This edge has sent it all of its warm-up requests, and they were answered.
    pub warmed: bool,
}

/// Who is in each pool now. It is whole, not a difference: an edge replaces what it had.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    pub version: u32,
    /// Goes up with each change, so that an edge can skip what it has.
    pub epoch: u64,
    /// By pool name. A pool that is missing here is one that the aggregator does not run.
    pub pools: BTreeMap<String, Vec<Member>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    pub address: SocketAddr,
    pub stage: Stage,
    /// Milliseconds in this stage: an age and not an instant, so that clocks need not agree.
    pub stage_age_ms: u64,
}

/// The life of an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Started; does not answer yet. Edges leave it alone.
    Booting,
    /// Answers; edges send it warm-up requests and nothing else.
    Warming,
    /// Takes traffic, at first a growing share (slow start).
    Serving,
    /// Takes no new request; what is in flight ends.
    Draining,
}

impl Stage {
    pub const ALL: [Stage; 4] = [Stage::Booting, Stage::Warming, Stage::Serving, Stage::Draining];

    pub fn name(self) -> &'static str {
        match self {
            Stage::Booting => "booting",
            Stage::Warming => "warming",
            Stage::Serving => "serving",
            Stage::Draining => "draining",
        }
    }
}
