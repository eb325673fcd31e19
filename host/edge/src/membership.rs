//! Who is in each pool now: listed origins, and those that the aggregator publishes; their
//! stage, health and share of traffic.
//!
//! Workers read without a lock: [`Memberships::pool`] once per configuration, then
//! [`PoolMembers::view`] per request. The control thread writes: a membership
//! ([`Memberships::apply`]), a new configuration ([`Memberships::reload`]), health and warmth.
//!
//! A published membership replaces the one before it whole and stands until the next one; a
//! pool that is missing in it has the origins of the file. If every origin of a pool is
//! unhealthy, none is picked: the pool then refuses at once, which says what is wrong and leaves
//! a struggling origin the quiet to recover, where sending to all would keep it down.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use metrics::{Histogram, counter, gauge, histogram};
use tokio::sync::watch;
use wire::Stage;

use crate::telemetry::load::{OriginLoad, PoolLoad};

/// The share of traffic with which slow start begins.
const FIRST_SHARE: f64 = 0.1;
/// An origin that left is remembered this long, so that reports can still account for it.
const REMEMBERED: Duration = Duration::from_secs(120);
/// A membership with more than this in one pool is nonsense.
const MOST_MEMBERS: usize = 10_000;

/// All pools of this edge.
pub struct Memberships {
    workers: usize,
    pools: ArcSwap<HashMap<Arc<str>, Arc<PoolMembers>>>,
    published: Mutex<Published>,
    /// Counts changes of who is where; not of health.
    epoch: watch::Sender<u64>,
    /// Names what is counted afresh: a pool or an origin that left and came back.
    lives: AtomicU64,
}

/// One pool: what stays while its members change.
pub struct PoolMembers {
    pub name: Arc<str>,
    /// Differs from that of any earlier pool of this name: its counts begin at zero.
    pub life: u64,
    /// From an attempt to the first byte.
    pub latency: Histogram,
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

/// An origin in one stage.
pub struct Member {
    pub address: SocketAddr,
    pub stage: Stage,
    /// When it came into this stage.
    pub since: Instant,
    /// It stands in the file.
    pub listed: bool,
    /// Zero if its share does not grow.
    slow_start: Duration,
    origin: Arc<OriginState>,
}

/// What is known of an origin across its stages.
struct OriginState {
    life: u64,
    healthy: AtomicBool,
    warmed: AtomicBool,
    loads: Box<[OriginLoad]>,
}

struct Vital {
    origin: Arc<OriginState>,
    stage: Stage,
    since: Instant,
    /// When it stopped being a member.
    left: Option<Instant>,
}

/// What aggregators have published, by pool.
#[derive(Default)]
struct Published {
    pools: BTreeMap<String, BTreeMap<SocketAddr, (Stage, Instant)>>,
}

/// Why a membership was not taken. Nothing changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("version {found} of the membership; this edge speaks version {}", wire::VERSION)]
    Version { found: u32 },
    #[error("pool `{pool}` names {address} twice")]
    Repeated { pool: String, address: SocketAddr },
    #[error("pool `{pool}` names {address}, which nothing can listen on")]
    Address { pool: String, address: SocketAddr },
    #[error("pool `{pool}` has {found} members; at most {MOST_MEMBERS} are allowed")]
    TooMany { pool: String, found: usize },
}

/// What an edge knows of one origin, for reports and the admin view. Counts are cumulative over
/// one `life`.
#[derive(Clone, Debug, PartialEq)]
pub struct OriginCount {
    pub life: u64,
    pub requests: u64,
    pub in_flight: u64,
    pub healthy: bool,
    pub warmed: bool,
}

impl Memberships {
    /// The pools of a region with the origins of the file; `workers` is how many threads count.
    pub fn new(region: &config::Region, workers: usize) -> Memberships {
        let memberships = Memberships {
            workers: workers.max(1),
            pools: ArcSwap::default(),
            published: Mutex::default(),
            epoch: watch::Sender::new(0),
            lives: AtomicU64::new(1),
        };
        memberships.reload(region, Instant::now());
        memberships
    }

    /// Keep the answer while the configuration stands: it follows all later memberships.
    pub fn pool(&self, name: &str) -> Option<Arc<PoolMembers>> {
        self.pools.load().get(name).cloned()
    }

    /// By name.
    pub fn pools(&self) -> BTreeMap<Arc<str>, Arc<PoolMembers>> {
        self.pools.load().iter().map(|(name, pool)| (name.clone(), pool.clone())).collect()
    }

    pub fn epoch(&self) -> u64 {
        *self.epoch.borrow()
    }

    /// Tells of each change of who is where.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.epoch.subscribe()
    }

    /// Takes the pools of a new configuration. Origins that stay keep health, warmth and counts.
    pub fn reload(&self, region: &config::Region, now: Instant) {
        let published = lock(&self.published);
        let before = self.pools.load();
        let pools: HashMap<Arc<str>, Arc<PoolMembers>> = region
            .pools
            .values()
            .map(|spec| {
                let pool = match before.get(&*spec.name) {
                    Some(pool) => pool.clone(),
                    None => Arc::new(PoolMembers::new(spec, self.next_life(), self.workers)),
                };
                pool.spec.store(spec.clone());
                if spec.health.is_none() {
                    // Nobody would ever find it healthy again.
                    lock(&pool.vitals).values().for_each(|vital| vital.origin.healthy.store(true, Ordering::Relaxed));
                }
                (pool.name.clone(), pool)
            })
            .collect();
        self.pools.store(Arc::new(pools));
        self.rebuild(&published, now);
    }

    /// Takes what an aggregator publishes, whole. True if anything is different now. Pools that
    /// this edge does not have are remembered for a configuration that brings them.
    pub fn apply(&self, membership: &wire::Membership, now: Instant) -> Result<bool, Refusal> {
        check(membership)?;
        let mut published = lock(&self.published);
        let mut pools = BTreeMap::new();
        for (pool, members) in &membership.pools {
            let known = published.pools.get(pool);
            let members = members.iter().map(|member| {
                // Ages wander with the network's delay: the first one that was heard stands.
                let since = match known.and_then(|known| known.get(&member.address)) {
                    Some((stage, since)) if *stage == member.stage => *since,
                    _ => now.checked_sub(Duration::from_millis(member.stage_age_ms)).unwrap_or(now),
                };
                (member.address, (member.stage, since))
            });
            pools.insert(pool.clone(), members.collect());
        }
        if published.pools == pools {
            return Ok(false);
        }
        published.pools = pools;
        self.rebuild(&published, now);
        Ok(true)
    }

    /// Brings the counts of all pools into the metrics.
    pub(crate) fn publish(&self) {
        for pool in self.pools().values() {
            pool.publish();
        }
    }

    fn rebuild(&self, published: &Published, now: Instant) {
        let epoch = self.epoch() + 1;
        for pool in self.pools.load().values() {
            pool.rebuild(published.pools.get(&*pool.name), epoch, now, self);
        }
        self.epoch.send_replace(epoch);
    }

    fn next_life(&self) -> u64 {
        self.lives.fetch_add(1, Ordering::Relaxed)
    }
}

fn check(membership: &wire::Membership) -> Result<(), Refusal> {
    if membership.version != wire::VERSION {
        return Err(Refusal::Version { found: membership.version });
    }
    for (pool, members) in &membership.pools {
        if members.len() > MOST_MEMBERS {
            return Err(Refusal::TooMany { pool: pool.clone(), found: members.len() });
        }
        let mut seen = BTreeSet::new();
        for address in members.iter().map(|member| member.address) {
            if address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast() {
                return Err(Refusal::Address { pool: pool.clone(), address });
            }
            if !seen.insert(address) {
                return Err(Refusal::Repeated { pool: pool.clone(), address });
            }
        }
    }
    Ok(())
}

impl PoolMembers {
    fn new(spec: &Arc<config::Pool>, life: u64, workers: usize) -> PoolMembers {
        PoolMembers {
            name: spec.name.as_str().into(),
            life,
            latency: histogram!("forebay_origin_latency_seconds", "pool" => spec.name.clone()),
            spec: ArcSwap::new(spec.clone()),
            view: ArcSwap::default(),
            loads: (0..workers).map(|_| PoolLoad::default()).collect(),
            vitals: Mutex::default(),
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

    fn rebuild(
        &self,
        published: Option<&BTreeMap<SocketAddr, (Stage, Instant)>>,
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
            view.add(Member {
                address,
                stage: vital.stage,
                since: vital.since,
                listed,
                slow_start,
                origin: vital.origin.clone(),
            });
        }
        self.view.store(Arc::new(view));
    }

    fn publish(&self) {
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
            if !member.slow_start.is_zero() {
                self.ramping_until = self.ramping_until.max(Some(member.since + member.slow_start));
            }
            self.serving.push(member.clone());
        }
        self.members.push(member);
    }
}

impl Member {
    /// Its part of what a full origin gets: from 0.1 to 1.0 over the pool's slow start, 1.0 for
    /// origins of the file, 0.0 in any stage but serving.
    pub fn share(&self, now: Instant) -> f64 {
        if self.stage != Stage::Serving {
            return 0.0;
        }
        if self.slow_start.is_zero() {
            return 1.0;
        }
        let part = now.saturating_duration_since(self.since).as_secs_f64() / self.slow_start.as_secs_f64();
        (FIRST_SHARE + (1.0 - FIRST_SHARE) * part).min(1.0)
    }

    /// As the active check found it; true where there is none, and until it has found otherwise.
    pub fn healthy(&self) -> bool {
        self.origin.healthy.load(Ordering::Relaxed)
    }

    /// Set by the control thread. True if this is a change.
    pub fn set_healthy(&self, healthy: bool) -> bool {
        self.origin.healthy.swap(healthy, Ordering::Relaxed) != healthy
    }

    /// This edge has sent it all of its warm-up requests.
    pub fn warmed(&self) -> bool {
        self.origin.warmed.load(Ordering::Relaxed)
    }

    pub fn set_warmed(&self) {
        self.origin.warmed.store(true, Ordering::Relaxed);
    }

    /// The same origin process as far as anyone said: a new one on the same address differs.
    pub fn life(&self) -> u64 {
        self.origin.life
    }

    /// What `worker` counts; only that worker writes it.
    pub fn load(&self, worker: usize) -> &OriginLoad {
        &self.origin.loads[worker]
    }

    /// Exchanges with it now, of all workers.
    pub fn in_flight(&self) -> u64 {
        self.origin.in_flight()
    }
}

impl OriginState {
    fn in_flight(&self) -> u64 {
        self.loads.iter().fold(0, |all, load| all.wrapping_add(load.in_flight.get()))
    }
}

impl Vital {
    fn new(told: Option<(Stage, Instant)>, now: Instant, all: &Memberships) -> Vital {
        // Without an aggregator's word it stands in the file: it serves.
        let (stage, since) = told.unwrap_or((Stage::Serving, now));
        let origin = OriginState {
            life: all.next_life(),
            healthy: AtomicBool::new(true),
            warmed: AtomicBool::new(false),
            loads: (0..all.workers).map(|_| OriginLoad::default()).collect(),
        };
        Vital { origin: Arc::new(origin), stage, since, left: None }
    }

    /// It is a member after this. One that left, or went back to an earlier stage, is another
    /// process on the same address: nothing of the first one's health and warmth holds for it.
    fn become_member(&mut self, told: Option<(Stage, Instant)>, now: Instant, all: &Memberships) {
        let (stage, since) = told.unwrap_or((Stage::Serving, self.since));
        let anew = self.left.is_some() || (stage < self.stage && stage != Stage::Serving);
        if anew {
            *self = Vital::new(told, now, all);
        }
        self.stage = stage;
        self.since = since;
        self.left = None;
    }

    fn remembered(&mut self, member: bool, now: Instant) -> bool {
        if member {
            return true;
        }
        let left = *self.left.get_or_insert(now);
        now.saturating_duration_since(left) < REMEMBERED || self.origin.in_flight() > 0
    }

    fn count(&self) -> OriginCount {
        OriginCount {
            life: self.origin.life,
            requests: self.origin.loads.iter().map(|load| load.requests.get()).sum(),
            in_flight: self.origin.in_flight(),
            healthy: self.origin.healthy.load(Ordering::Relaxed),
            warmed: self.origin.warmed.load(Ordering::Relaxed) || self.stage >= Stage::Serving,
        }
    }
}

/// A panic while one of these was held left whole values behind: each is written at once.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
