//! One pool: its view for workers, its counts, and how the view is made anew.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use metrics::{Histogram, counter, gauge, histogram};
use wire::Stage;

use super::member::{Member, OriginCount, Vital};
use super::{Memberships, Told, lock};
use crate::scale::Hints;
use crate::telemetry::load::PoolLoad;

/// One pool: what stays while its members change.
pub struct PoolMembers {
    pub name: Arc<str>,
    /// Differs from that of any earlier pool of this name: its counts begin at zero.
    pub life: u64,
    /// From an attempt to the first byte.
    pub latency: Histogram,
    /// What plugins ask of its scaling.
    pub hints: Hints,
    spec: ArcSwap<config::Pool>,
    view: ArcSwap<View>,
    loads: Box<[PoolLoad]>,
    /// Origins that are or lately were members. Locked by the control thread alone.
    vitals: Mutex<BTreeMap<SocketAddr, Vital>>,
}

/// The members of a pool at one time.
#[derive(Default)]
pub struct View {
    /// Goes up with each change of any pool.
    pub epoch: u64,
    /// In a stable order: those of the file first, then by address.
    pub members: Vec<Arc<Member>>,
    /// The ones that may be picked as far as their stage goes; ask [`Member::healthy`] too.
    pub serving: Vec<Arc<Member>>,
    /// Until then some of `serving` has a share below 1; `None` if none has.
    pub ramping_until: Option<Instant>,
}

impl PoolMembers {
    pub(super) fn new(spec: &Arc<config::Pool>, life: u64, workers: usize) -> PoolMembers {
        PoolMembers {
            name: spec.name.as_str().into(),
            life,
            latency: histogram!("forebay_origin_latency_seconds", "pool" => spec.name.clone()),
            hints: Hints::default(),
            spec: ArcSwap::new(spec.clone()),
            view: ArcSwap::default(),
            loads: (0..workers).map(|_| PoolLoad::default()).collect(),
            vitals: Mutex::default(),
        }
    }

    pub(super) fn configure(&self, spec: &Arc<config::Pool>) {
        self.spec.store(spec.clone());
        if spec.health.is_none() {
            // Nobody would ever find it healthy again.
            lock(&self.vitals).values().for_each(Vital::set_healthy);
        }
    }

    /// Who is in it now. Lock-free; hold it for one decision, not across an await.
    pub fn view(&self) -> Guard<Arc<View>> {
        self.view.load()
    }

    /// The same, to keep.
    pub fn view_full(&self) -> Arc<View> {
        self.view.load_full()
    }

    pub fn spec(&self) -> Arc<config::Pool> {
        self.spec.load_full()
    }

    /// What `worker` counts; only that worker writes it.
    pub fn load(&self, worker: usize) -> &PoolLoad {
        &self.loads[worker]
    }

    pub fn loads(&self) -> &[PoolLoad] {
        &self.loads
    }

    /// Every member, and who left lately.
    pub fn origins(&self) -> BTreeMap<SocketAddr, OriginCount> {
        lock(&self.vitals).iter().map(|(address, vital)| (*address, vital.count())).collect()
    }

    /// Makes the view anew from the file and from what an aggregator `published`.
    pub(super) fn rebuild(
        &self,
        published: Option<&BTreeMap<SocketAddr, Told>>,
        epoch: u64,
        now: Instant,
        all: &Memberships,
    ) {
        let spec = self.spec.load();
        let listed: BTreeSet<SocketAddr> = spec.origins.iter().copied().collect();
        let mut order: Vec<SocketAddr> = Vec::new();
        let mut seen = BTreeSet::new();
        let of_aggregator = published.into_iter().flat_map(|members| members.keys());
        for address in spec.origins.iter().chain(of_aggregator) {
            if seen.insert(*address) {
                order.push(*address);
            }
        }
        let mut vitals = lock(&self.vitals);
        vitals.retain(|address, vital| vital.remembered(seen.contains(address), now));
        let mut view = View { epoch, ..View::default() };
        for address in order {
            let told = published.and_then(|members| members.get(&address)).copied();
            let vital = vitals
                .entry(address)
                .and_modify(|vital| vital.become_member(told, now, all))
                .or_insert_with(|| Vital::new(told, now, all));
            let listed = listed.contains(&address);
            let slow_start = if listed { Duration::ZERO } else { spec.slow_start };
            view.add(vital.member(address, listed, slow_start));
        }
        self.view.store(Arc::new(view));
    }

    /// Brings its counts into the metrics.
    pub(super) fn publish(&self) {
        let pool = || self.name.to_string();
        let sum = |of: fn(&PoolLoad) -> u64| self.loads.iter().fold(0u64, |all, load| all.wrapping_add(of(load)));
        counter!("forebay_pool_requests_total", "pool" => pool()).absolute(sum(|load| load.requests.get()));
        counter!("forebay_pool_rejects_total", "pool" => pool()).absolute(sum(|load| load.rejects.get()));
        counter!("forebay_pool_errors_total", "pool" => pool()).absolute(sum(|load| load.errors.get()));
        counter!("forebay_origin_requests_total", "pool" => pool()).absolute(sum(|load| load.attempts.get()));
        counter!("forebay_origin_failures_total", "pool" => pool()).absolute(sum(|load| load.failures.get()));
        counter!("forebay_origin_retries_total", "pool" => pool()).absolute(sum(|load| load.retries.get()));
        gauge!("forebay_pool_in_flight", "pool" => pool()).set(sum(|load| load.in_flight.get()) as f64);
        let view = self.view();
        for stage in Stage::ALL {
            for healthy in [true, false] {
                let origins = view.members.iter().filter(|one| one.stage == stage && one.healthy() == healthy).count();
                let health = if healthy { "healthy" } else { "unhealthy" };
                gauge!("forebay_pool_origins", "pool" => pool(), "stage" => stage.name(), "health" => health)
                    .set(origins as f64);
            }
        }
    }
}

impl View {
    fn add(&mut self, member: Member) {
        let member = Arc::new(member);
        if member.stage == Stage::Serving {
            self.ramping_until = self.ramping_until.max(member.ramping_until());
            self.serving.push(member.clone());
        }
        self.members.push(member);
    }
}
