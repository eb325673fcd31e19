//! What stands in for edges that fell silent. Their part of the demand is not known, and it is never nothing.
//!
//! A silent edge's last value stands for it. After two minutes that is old, and its share of what the hour usually
//! brings counts where that is more; where it is less, the last value goes on, as a guess is no reason to shrink.
//! After a quarter of an hour the edge is taken for gone, and its demand with it: by then its clients have found
//! another edge, which reports them. While less than [`ENOUGH`] of the demand is reported nothing shrinks at all.
//!
//! An edge may also be fresh and have said nothing in the window that a rule looks at, where that is shorter than a
//! report counts: its last value stands for it too, and it counts as one that reports.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::edges::{Edge, EdgeId, Latest, PoolEdges};
use crate::stamp;

/// Of the expected demand must be reported for anything to shrink.
pub const ENOUGH: f64 = 0.7;
/// For so long after an edge turned stale its last value is as good as new.
const LAST_VALUE_FOR: Duration = Duration::from_secs(120);
/// After so long without any report the usual demand of the hour may raise the count that is held.
const LONG_SILENCE: Duration = Duration::from_secs(900);

/// More edges than these are told as a number.
const TOLD: usize = 3;

/// By what a silent edge's demand was reckoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    LastValue,
    /// Its share of what the hour usually brings.
    Usual,
}

impl Basis {
    pub fn name(self) -> &'static str {
        match self {
            Basis::LastValue => "last value",
            Basis::Usual => "share of the usual",
        }
    }
}

/// What stands in for one silent edge.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StandIn {
    pub requests_per_second: f64,
    pub by: Basis,
}

/// What is not reported of one pool, and what is taken for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Missing {
    /// What part of the expected demand is reported: each edge weighs what it brought lately. `None`: no edge is known.
    pub coverage: Option<f64>,
    /// By edge, with its name.
    pub carried: BTreeMap<EdgeId, (String, StandIn)>,
    /// Requests a second that the hour usually brings, where nobody has reported for long.
    pub usual: Option<f64>,
    /// Edges are fresh, and none of them has said anything in the window of the rules.
    unheard: bool,
}

impl Missing {
    /// `usual`: what the hour brings as a rule; it is asked only where something is missing. `silence`: for how
    /// long no edge at all has reported. `heard`: whether an edge has said something in the window of the rules.
    pub fn of(
        edges: &PoolEdges,
        usual: impl Fn() -> Option<f64>,
        silence: Option<Duration>,
        heard: impl Fn(&Edge) -> bool,
        now: Timestamp,
    ) -> Missing {
        let unheard: Vec<_> = edges.fresh.iter().filter(|(edge, _)| !heard(edge)).collect();
        let silent = !unheard.is_empty() && unheard.len() == edges.fresh.len();
        let unheard = unheard.into_iter().map(|(edge, latest)| {
            let stand_in = StandIn { requests_per_second: latest.last, by: Basis::LastValue };
            (edge.id, (edge.name.clone(), stand_in))
        });
        if edges.missing.is_empty() {
            let usual = if silence.is_some_and(|silence| silence >= LONG_SILENCE) { usual() } else { None };
            let coverage = (!edges.fresh.is_empty()).then_some(1.0);
            return Missing { coverage, carried: unheard.collect(), usual, unheard: silent };
        }
        let usual = usual();
        let weights = Weights::of(edges);
        let carried = edges.missing.iter().map(|(edge, latest)| {
            let last = latest.last;
            let share = usual.map_or(0.0, |usual| usual * weights.share(latest));
            let old = stamp::age(now, edge.at) > edges.stale + LAST_VALUE_FOR;
            let stand_in = if old && share > last {
                StandIn { requests_per_second: share, by: Basis::Usual }
            } else {
                StandIn { requests_per_second: last, by: Basis::LastValue }
            };
            (edge.id, (edge.name.clone(), stand_in))
        });
        let carried = carried.chain(unheard).collect();
        let coverage = edges.fresh.iter().map(|(_, latest)| weights.share(latest)).sum::<f64>();
        Missing {
            coverage: Some(coverage),
            carried,
            usual: usual.filter(|_| silence.is_some_and(|silence| silence >= LONG_SILENCE)),
            unheard: silent,
        }
    }

    /// Why nothing may shrink, if so.
    pub fn blind(&self, edges: &PoolEdges) -> Option<String> {
        if edges.fresh.is_empty() {
            return Some("no fresh report".to_string());
        }
        let coverage = self.coverage.filter(|coverage| *coverage < ENOUGH)?;
        let mut names: Vec<_> = edges.missing.iter().map(|(edge, _)| edge.name.as_str()).collect();
        let more = format!("{} more", names.len().saturating_sub(TOLD));
        if names.len() > TOLD {
            names.truncate(TOLD);
            names.push(&more);
        }
        let (found, enough) = (100.0 * coverage, 100.0 * ENOUGH);
        Some(format!("no fresh report from {}: {found:.0} % of the demand, under {enough:.0} %", names.join(", ")))
    }

    /// Requests a second that are taken for what silent edges see.
    pub fn requests(&self) -> f64 {
        self.carried.values().map(|(_, stand_in)| stand_in.requests_per_second).sum()
    }

    /// The same where nothing else is known, of edges that count as ones that report.
    pub fn unheard(&self) -> Option<f64> {
        self.unheard.then(|| self.requests())
    }

    /// ` + 20.0 carried for e2 (last value)`; empty if nothing is.
    pub fn told(&self) -> String {
        let told = |(name, stand_in): &(String, StandIn)| {
            format!(" + {:.1} carried for {name} ({})", stand_in.requests_per_second, stand_in.by.name())
        };
        match self.carried.len() {
            0..=TOLD => self.carried.values().map(told).collect(),
            many => format!(" + {:.1} carried for {many} edges", self.requests()),
        }
    }
}

/// What part of the demand each edge brings, by what it brought lately.
struct Weights {
    sum: f64,
    edges: usize,
}

impl Weights {
    fn of(edges: &PoolEdges) -> Weights {
        let known = || edges.fresh.iter().chain(&edges.missing);
        Weights { sum: known().map(|(_, latest)| latest.lately).sum(), edges: known().count() }
    }

    fn share(&self, latest: &Latest) -> f64 {
        if self.sum > 0.0 { latest.lately / self.sum } else { 1.0 / self.edges.max(1) as f64 }
    }
}
