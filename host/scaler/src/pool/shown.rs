//! What of a pool is shown: to edges its members, to people all of it.

use core::net::SocketAddr;
use std::time::Duration;

use config::region::ScalingMode;
use jiff::Timestamp;
use wire::{Member, Stage};

use super::Pool;
use crate::budget::Spending;
use crate::decision::Capacity;
use crate::edges::Edges;
use crate::figure::thousandths;
use crate::policy::{Policy, ScheduleView};
use crate::region::PoolView;
use crate::series::Present;
use crate::signal::Look;
use crate::stage::OriginView;
use crate::trial::Trial;

impl Pool {
    pub fn capacity(&self) -> Capacity {
        let capacity = self.origins.capacity();
        Capacity { serving: capacity.serving + self.listed(), ..capacity }
    }

    /// What the pool can carry now, in origins.
    pub fn carries(&self, now: Timestamp) -> f64 {
        f64::from(self.listed()) + self.origins.carries(self.config.slow_start, now)
    }

    /// Those that take traffic, listed ones included.
    pub fn serving(&self) -> Vec<SocketAddr> {
        let running = self.origins.stages().filter(|(_, stage)| *stage == Stage::Serving).map(|(address, _)| address);
        self.config.origins.iter().copied().chain(running).collect()
    }

    /// `None` before the actuator has said what runs: an empty list would empty the edges.
    pub fn members(&self, now: Timestamp) -> Option<Vec<Member>> {
        // Listed ones have served since before anyone counted.
        let listed = self.config.origins.iter().map(|address| Member {
            address: *address,
            stage: Stage::Serving,
            stage_age_ms: u64::from(u32::MAX),
        });
        self.seen.then(|| listed.chain(self.origins.members(now)).collect())
    }

    pub fn view(&mut self, edges: &Edges, stale: Duration, now: Timestamp) -> PoolView {
        let pool_edges = edges.of_pool(&self.config.name, now, stale);
        let schedules: Vec<ScheduleView> = self
            .policies
            .iter_mut()
            .flat_map(|policy| match policy {
                Policy::Scheduled(rules) => rules.views(self.wall.shows(now)),
                Policy::Reactive(_) | Policy::Predictive(_) | Policy::Scripted(_) | Policy::Hinted(_) => Vec::new(),
            })
            .collect();
        let standing =
            self.policies.iter_mut().find_map(|policy| policy.standing(self.wall.shows(now))).unwrap_or_default();
        let (edges, serving) = (&pool_edges, &self.serving()[..]);
        let missing = self.missing(edges, now);
        let present = Present::of(&self.series, edges, now);
        let look = Look { now, present: &present, edges, missing: &missing, standing: &standing, serving };
        let demand = self.signals.demand(&look);
        PoolView {
            mode: self.scaling().mode,
            desired: self.desired,
            advised: self.trial.as_ref().filter(|_| self.scaling().mode == ScalingMode::Advise).map(Trial::count),
            scored: self.trial.as_ref().and_then(Trial::scored),
            floor: self.scaling().floor,
            ceiling: self.scaling().ceiling,
            capacity: self.capacity(),
            inputs: self.inputs(&present, edges, &missing, now),
            demand,
            carries: thousandths(self.carries(now)),
            replaced: self.replaced(),
            warm_pool: self.scaling().warm_pool.is_some().then_some(self.tier),
            foreign: self.desired.and_then(|desired| self.hands.foreign(desired, self.wall)),
            operator: self.held(now).cloned(),
            origin_seconds: self.origins.origin_seconds(now),
            warm_seconds: self.origins.parked_seconds(now),
            origins: self.origins(now),
            gone: self.gone.iter().map(|gone| gone.by(self.wall)).collect(),
            schedules,
            lead: self.lead.view(&self.config),
            tuner: self.policies.iter_mut().find_map(Policy::predictive).map(|policy| policy.told()),
            budget: self.spending(now),
            decision: self.last.clone(),
        }
    }

    pub(super) fn spending(&mut self, now: Timestamp) -> Option<Spending> {
        let picked = self.policies.iter_mut().find_map(Policy::predictive).and_then(|policy| policy.picked());
        let clock = self.wall.shows(now);
        self.budget.as_ref().map(|budget| budget.told(picked.as_ref(), clock))
    }

    pub fn foreseen(&mut self) -> Option<(f64, f64)> {
        self.policies.iter_mut().find_map(Policy::predictive)?.foreseen()
    }

    pub fn origins(&self, now: Timestamp) -> Vec<OriginView> {
        self.origins.views(now, self.wall)
    }
}
