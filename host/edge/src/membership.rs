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
//!
//! - this file: [`Memberships`], all pools, and what is taken from an aggregator
//! - [`pool`]: one pool and its view; [`member`]: an origin in a stage

pub mod member;
pub mod pool;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use wire::Stage;

pub use member::{Member, OriginCount};
pub use pool::{PoolMembers, View};

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

/// What aggregators have published, by pool.
#[derive(Default)]
struct Published {
    pools: BTreeMap<String, BTreeMap<SocketAddr, Told>>,
}

/// What an aggregator said of an origin: its stage, and since when.
type Told = (Stage, Instant);

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
                pool.configure(spec);
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

/// A panic while one of these was held left whole values behind: each is written at once.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn region(pools: &str) -> config::Region {
        let text = format!(
            "edge:\n  listeners: [{{ address: 127.0.0.1:0 }}]\n  aggregators: [\"http://127.0.0.1:1\"]\nroutes: []\npools:\n{pools}"
        );
        config::parse(&text, Path::new("test.yaml"), Path::new("/")).map_err(|errors| errors.to_string()).unwrap()
    }

    fn membership(pool: &str, members: &[(&str, Stage, u64)]) -> wire::Membership {
        let members = members.iter().map(|(address, stage, stage_age_ms)| wire::Member {
            address: address.parse().unwrap(),
            stage: *stage,
            stage_age_ms: *stage_age_ms,
        });
        wire::Membership {
            version: wire::VERSION,
            epoch: 1,
            token: None,
            pools: [(pool.to_owned(), members.collect())].into(),
        }
    }

    fn serving(memberships: &Memberships) -> Vec<String> {
        memberships.pool("shop").unwrap().view().serving.iter().map(|one| one.address.to_string()).collect()
    }

    const BOTH: &str = "  - { name: shop, origins: [127.0.0.1:1], slow_start: 10s }";

    const SCALED: &str = "  - { name: shop, scaling: { ceiling: 9, actuator: dry_run } }";

    #[test]
    fn only_serving_origins_are_picked_and_the_file_s_are_always_there() {
        let now = Instant::now();
        let memberships = Memberships::new(&region(BOTH), 1);
        assert_eq!(serving(&memberships), ["127.0.0.1:1"]);
        let all = [
            ("127.0.0.1:2", Stage::Booting, 0),
            ("127.0.0.1:3", Stage::Warming, 0),
            ("127.0.0.1:4", Stage::Serving, 0),
            ("127.0.0.1:5", Stage::Draining, 0),
        ];
        assert_eq!(memberships.apply(&membership("shop", &all), now), Ok(true));
        assert_eq!(serving(&memberships), ["127.0.0.1:1", "127.0.0.1:4"]);
        assert_eq!(memberships.pool("shop").unwrap().view().members.len(), 5);
        // Whole, not a difference: what is not in it is gone; a pool that is not, is the file's.
        memberships.apply(&membership("shop", &all[2..3]), now).unwrap();
        assert_eq!(serving(&memberships), ["127.0.0.1:1", "127.0.0.1:4"]);
        memberships.apply(&membership("other", &all), now).unwrap();
        assert_eq!(serving(&memberships), ["127.0.0.1:1"]);
        assert!(memberships.pool("other").is_none(), "a membership does not make pools");
    }

    #[test]
    fn a_share_grows_from_a_tenth_to_the_whole_over_slow_start() {
        let now = Instant::now();
        let memberships = Memberships::new(&region(BOTH), 1);
        memberships.apply(&membership("shop", &[("127.0.0.1:4", Stage::Serving, 2_000)]), now).unwrap();
        let view = memberships.pool("shop").unwrap().view_full();
        let (listed, grown) = (&view.serving[0], &view.serving[1]);
        assert_eq!(listed.share(now), 1.0, "an origin of the file has its whole share");
        let shares = [0u64, 3, 8, 60].map(|later| grown.share(now + Duration::from_secs(later)));
        for (share, wanted) in shares.into_iter().zip([0.28, 0.55, 1.0, 1.0]) {
            assert!((share - wanted).abs() < 1e-9, "{shares:?}");
        }
        assert_eq!(grown.share(now - Duration::from_secs(2)), 0.1);
        assert_eq!(view.ramping_until, Some(now + Duration::from_secs(8)));
    }

    #[test]
    fn the_age_that_was_heard_first_stands() {
        let now = Instant::now();
        let memberships = Memberships::new(&region(BOTH), 1);
        memberships.apply(&membership("shop", &[("127.0.0.1:4", Stage::Serving, 0)]), now).unwrap();
        let epoch = memberships.epoch();
        let later = now + Duration::from_secs(1);
        let same = membership("shop", &[("127.0.0.1:4", Stage::Serving, 1_100)]);
        assert_eq!(memberships.apply(&same, later), Ok(false), "an older age is no change");
        assert_eq!(memberships.epoch(), epoch);
    }

    #[test]
    fn nonsense_is_refused_and_changes_nothing() {
        let now = Instant::now();
        let memberships = Memberships::new(&region(BOTH), 1);
        memberships.apply(&membership("shop", &[("127.0.0.1:4", Stage::Serving, 0)]), now).unwrap();
        let epoch = memberships.epoch();
        let mut unknown = membership("shop", &[]);
        unknown.version = 99;
        let twice = [("127.0.0.1:9", Stage::Serving, 0), ("127.0.0.1:9", Stage::Booting, 0)];
        for bad in [
            unknown,
            membership("shop", &twice),
            membership("shop", &[("127.0.0.1:0", Stage::Serving, 0)]),
            membership("shop", &[("0.0.0.0:80", Stage::Serving, 0)]),
        ] {
            memberships.apply(&bad, now).unwrap_err();
        }
        assert_eq!(serving(&memberships), ["127.0.0.1:1", "127.0.0.1:4"]);
        assert_eq!(memberships.epoch(), epoch);
    }

    #[test]
    fn a_reload_keeps_the_health_and_counts_of_origins_that_stay() {
        let now = Instant::now();
        let with = |origins| region(&format!("  - {{ name: shop, origins: [{origins}], health: {{ path: /h }} }}"));
        let memberships = Memberships::new(&with("127.0.0.1:1, 127.0.0.1:2"), 1);
        let pool = memberships.pool("shop").unwrap();
        let stays = pool.view().serving[1].clone();
        stays.set_healthy(false);
        stays.load(0).requests.add(7);
        memberships.reload(&with("127.0.0.1:2, 127.0.0.1:3"), now);
        let view = pool.view_full();
        assert_eq!(view.serving[0].address, stays.address);
        assert!(!view.serving[0].healthy());
        assert_eq!(view.serving[0].load(0).requests.get(), 7);
        assert!(view.serving[1].healthy());
        // Without a check nobody would find it healthy again.
        memberships.reload(&region("  - { name: shop, origins: [127.0.0.1:2] }"), now);
        assert!(pool.view().serving[0].healthy());
    }

    #[test]
    fn another_process_on_the_same_address_begins_anew() {
        let now = Instant::now();
        let memberships = Memberships::new(
            &region("  - { name: shop, scaling: { ceiling: 9, actuator: dry_run }, health: { path: /h } }"),
            1,
        );
        let tell = |stage| {
            memberships.apply(&membership("shop", &[("127.0.0.1:4", stage, 0)]), now).unwrap();
            memberships.pool("shop").unwrap().view().members[0].clone()
        };
        let first = tell(Stage::Warming);
        first.set_warmed();
        first.set_healthy(false);
        let served = tell(Stage::Serving);
        assert_eq!(served.life(), first.life());
        assert!(served.warmed() && !served.healthy(), "a stage further on it is the same origin");
        let second = tell(Stage::Booting);
        assert_ne!(second.life(), first.life());
        assert!(!second.warmed() && second.healthy());
    }

    #[test]
    fn an_origin_that_left_is_accounted_for_while_it_has_exchanges() {
        let now = Instant::now();
        let memberships = Memberships::new(&region(SCALED), 1);
        let one = membership("shop", &[("127.0.0.1:4", Stage::Serving, 0)]);
        memberships.apply(&one, now).unwrap();
        let pool = memberships.pool("shop").unwrap();
        let gone = pool.view().members[0].clone();
        gone.load(0).in_flight.add(1);
        let much_later = now + Duration::from_secs(600);
        memberships.apply(&membership("shop", &[]), now).unwrap();
        memberships.reload(&region(SCALED), much_later);
        assert_eq!(pool.origins()[&gone.address].in_flight, 1);
        gone.load(0).in_flight.sub(1);
        memberships.reload(&region(SCALED), much_later);
        assert!(pool.origins().is_empty());
    }
}
