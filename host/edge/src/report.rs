//! What the edge tells aggregators each second, and what it takes from their answers.
//!
//! - this file: [`Counts`], all that reports count, and the difference of two
//! - [`outbox`]: which report one aggregator gets next, so that none is lost or counted twice
//! - [`signal`]: what pools ask for beside what every report has
//! - [`reporter`]: sends them, and takes the membership of the answer

pub mod outbox;
pub mod reporter;
pub mod signal;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wire::{OriginReport, PoolReport};

use crate::membership::{Memberships, OriginCount, PoolMembers};
use crate::state::State;
use crate::telemetry::load::{LatencyCount, PoolLoad};
use signal::Asked;

/// Everything that reports count, at one time: cumulative.
#[derive(Clone, Debug)]
pub struct Counts {
    pub at: Instant,
    pools: BTreeMap<Arc<str>, PoolCount>,
}

#[derive(Clone, Debug, Default)]
struct PoolCount {
    life: u64,
    requests: u64,
    rejects: u64,
    errors: u64,
    in_flight: u64,
    latency: LatencyCount,
    origins: BTreeMap<SocketAddr, OriginCount>,
    /// As they stand; not a count.
    hints: Vec<wire::Hint>,
    /// By plugin, in thousandths of a request.
    costs: BTreeMap<Arc<str>, i64>,
    asked: Asked,
}

impl Counts {
    pub fn take(memberships: &Memberships, state: &State, at: Instant) -> Counts {
        let pools = memberships.pools().into_iter();
        let pools = pools.map(|(name, pool)| (name, PoolCount::take(&pool, state, at))).collect();
        Counts { at, pools }
    }

    /// Nothing counted yet.
    pub fn none(at: Instant) -> Counts {
        Counts { at, pools: BTreeMap::new() }
    }

    /// Leaves rejects that outnumber the requests since `earlier` to a later report: a slow answer
    /// is shed in another period than it was asked for, and aggregators rightly call more rejects
    /// than requests impossible.
    pub fn settle(&mut self, earlier: &Counts) {
        for (name, now) in &mut self.pools {
            let before = earlier.pools.get(name).filter(|before| before.life == now.life);
            let (requests, rejects) = before.map_or((0, 0), |before| (before.requests, before.rejects));
            now.rejects = now.rejects.min(rejects + now.requests.saturating_sub(requests));
        }
    }

    /// What came after `earlier`, by pool, and how long that was.
    pub fn since(&self, earlier: &Counts) -> (BTreeMap<String, PoolReport>, Duration) {
        let nothing = PoolCount::default();
        let pools = self.pools.iter().map(|(name, now)| {
            // A pool that a reload removed and brought back counts from zero.
            let before = earlier.pools.get(name).filter(|before| before.life == now.life);
            (name.to_string(), now.since(before.unwrap_or(&nothing)))
        });
        (pools.collect(), self.at.saturating_duration_since(earlier.at))
    }
}

impl PoolCount {
    fn take(pool: &PoolMembers, state: &State, at: Instant) -> PoolCount {
        let sum = |of: fn(&PoolLoad) -> u64| pool.loads().iter().map(of).fold(0, u64::wrapping_add);
        let mut count = PoolCount {
            life: pool.life,
            requests: sum(|load| load.requests.get()),
            rejects: sum(|load| load.rejects.get()),
            errors: sum(|load| load.errors.get()),
            in_flight: sum(|load| load.in_flight.get()),
            latency: LatencyCount::default(),
            origins: pool.origins(),
            hints: pool.hints.standing(at),
            costs: pool.hints.costs(),
            asked: pool.spec().scaling.as_ref().map(|scaling| Asked::of(scaling, state)).unwrap_or_default(),
        };
        for load in pool.loads() {
            count.latency.add(&load.latency);
        }
        count
    }

    fn since(&self, before: &PoolCount) -> PoolReport {
        let latency = self.latency.since(&before.latency);
        let origins = self.origins.iter().map(|(address, now)| {
            let requests = match before.origins.get(address) {
                Some(before) if before.life == now.life => now.requests.saturating_sub(before.requests),
                _ => now.requests,
            };
            let report = OriginReport { requests, in_flight: now.in_flight, healthy: now.healthy, warmed: now.warmed };
            (*address, report)
        });
        let costs = self.costs.iter().filter_map(|(plugin, now)| {
            let cost = now.wrapping_sub(before.costs.get(plugin).copied().unwrap_or(0));
            (cost != 0).then(|| (plugin.to_string(), cost as f64 / 1e3))
        });
        PoolReport {
            requests: self.requests.saturating_sub(before.requests),
            rejects: self.rejects.saturating_sub(before.rejects),
            errors: self.errors.saturating_sub(before.errors),
            in_flight: self.in_flight,
            latency_sum_ms: latency.sum_ms(),
            latency_count: latency.count(),
            latency_p99_ms: latency.quantile_ms(0.99),
            origins: origins.collect(),
            hints: self.hints.clone(),
            costs: costs.collect(),
            latencies: if self.asked.latencies { latency.steps() } else { Vec::new() },
            metrics: self.asked.since(&before.asked),
        }
    }
}
