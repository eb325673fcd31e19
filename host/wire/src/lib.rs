//! The words that edges and aggregator exchange, as JSON over HTTP: an edge POSTs a [`Report`]
//! to `/v1/reports` once a second and the answer is the [`Membership`].
//!
//! Both carry [`VERSION`]; a receiver refuses a version that it does not know. A field that is new
//! does not count the version up: who does not know it passes over it, and where it is missing it
//! has its default. So edges and aggregators of a region need not change on the same day.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The version of this wire format.
pub const VERSION: u32 = 1;

/// What one edge saw since its last report: differences for what counts up, the present value
/// for what goes both ways.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// The last of this run: the edge has ended in order, nothing is in flight, and none of its load is to come.
    #[serde(default, skip_serializing_if = "is_false")]
    pub farewell: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// What plugins ask for now: whole, not a difference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<Hint>,
    /// By plugin: how many requests more (or, negative, fewer) the requests count for than they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub costs: BTreeMap<String, f64>,
    /// Answers of the period by how long their first byte took: microseconds, and how many took about so long,
    /// ascending. Of pools that go by a latency; empty otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latencies: Vec<(u64, u64)>,
    /// By the name of a signal of the pool, what plugins say of it. Of pools that ask for it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, Metric>,
}

/// What plugins on one edge say of one signal. What counts up is a difference, what goes both ways is as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<f64>,
}

/// What a plugin asks of the scaling of a pool. Advisory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hint {
    pub plugin: String,
    /// `demand` (value: requests a second), `prewarm` (origins), `hold`. One that is not known is
    /// passed over.
    pub kind: String,
    pub value: f64,
    /// Milliseconds that it stands on.
    pub ttl_ms: u64,
    /// Milliseconds until it is needed; 0: now.
    #[serde(default)]
    pub due_ms: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OriginReport {
    pub requests: u64,
    pub in_flight: u64,
    pub healthy: bool,
    /// This edge has sent it all of its warm-up requests, and they were answered.
    pub warmed: bool,
}

/// Who is in each pool now. It is whole, not a difference: an edge replaces what it had.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Membership {
    pub version: u32,
    /// Goes up with each change, so that an edge can skip what it has.
    pub epoch: u64,
    /// Of several aggregators that share a lease: the token of the last that this one held, 0 before the
    /// first. The highest is the leader's, and edges go by it. Missing where there is no lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
    /// By pool name. A pool that is missing here is one that the aggregator does not run.
    pub pools: BTreeMap<String, Vec<Member>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_last_report_says_that_it_is_one_and_one_of_before_farewells_says_nothing() {
        let old = r#"{"version":1,"edge":"e","boot":1,"seq":1,"period_ms":1000,"pools":{}}"#;
        let report: Report = serde_json::from_str(old).unwrap();
        assert!(!report.farewell);
        assert_eq!(serde_json::to_string(&report).unwrap(), old);
        let last = Report { farewell: true, ..report };
        let written = serde_json::to_string(&last).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&written).unwrap(), last);
    }

    #[test]
    fn a_report_of_before_hints_is_read_and_a_field_of_after_them_is_passed_over() {
        let old = r#"{"requests":1,"rejects":0,"errors":0,"in_flight":0,"latency_sum_ms":0.0,"latency_count":0,
            "latency_p99_ms":0.0,"origins":{}}"#;
        let report: PoolReport = serde_json::from_str(old).unwrap();
        assert!(report.hints.is_empty() && report.costs.is_empty());
        let written = serde_json::to_string(&report).unwrap();
        let new = ["hints", "costs", "latencies", "metrics"];
        assert!(!new.iter().any(|field| written.contains(field)), "who does not hint writes as before");
        let newer = old.replace("\"requests\":1", "\"requests\":1,\"colour\":\"red\"");
        assert_eq!(serde_json::from_str::<PoolReport>(&newer).unwrap(), report);
    }

    #[test]
    fn what_not_every_report_has_is_read_as_it_was_written() {
        let hint = Hint { plugin: "p".into(), kind: "prewarm".into(), value: 3.0, ttl_ms: 5_000, due_ms: 10 };
        let metric = Metric { added: Some(2.5), now: None };
        let report = PoolReport {
            hints: vec![hint],
            costs: [("p".to_owned(), -0.5)].into(),
            latencies: vec![(1000, 3)],
            metrics: [("tokens".to_owned(), metric)].into(),
            ..PoolReport::default()
        };
        let written = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<PoolReport>(&written).unwrap(), report);
    }
}
