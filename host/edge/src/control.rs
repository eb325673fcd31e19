//! The control thread: everything of an edge that is not a request. Reports and membership,
//! health checks, warm-up, the admin address. It has a runtime of its own, so that none of it
//! waits for a busy worker.

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::watch;
use tokio::task::{AbortHandle, LocalSet};
use wire::Stage;

use crate::membership::{Member, Memberships};
use crate::origin::{health, warm};
use crate::report::Counts;
use crate::report::reporter::{self, Answering, Life};
use crate::worker::Shared;
use crate::{admin, membership};

/// How often a changed configuration is looked for; changes of membership wake it at once.
const LOOK: Duration = Duration::from_millis(500);
/// How often counts are brought into the metrics, for readers other than the admin address.
const PUBLISH: Duration = Duration::from_secs(1);
/// For all aggregators to hear that the edge has ended in order. It is a round trip; an aggregator that hangs
/// keeps nobody from ending.
const FAREWELL: Duration = Duration::from_secs(1);

/// A running control thread. Dropping it stops it.
pub struct Control {
    admin: Option<SocketAddr>,
    stop: watch::Sender<Stop>,
    thread: Option<JoinHandle<()>>,
}

/// Whether the control thread shall end, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    No,
    /// The edge has served its last exchange: aggregators are told first.
    InOrder,
    AtOnce,
}

/// Starts the control thread. `admin` is bound already, so that a taken port is an error of the
/// start; the snapshot's region must have an edge.
pub fn start(shared: Arc<Shared>, metrics: PrometheusHandle, admin: Option<TcpListener>) -> io::Result<Control> {
    if let Some(listener) = &admin {
        listener.set_nonblocking(true)?;
    }
    let address = admin.as_ref().map(TcpListener::local_addr).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let base = Counts::none(Instant::now());
    let (stop, mut stopped) = watch::channel(Stop::No);
    let thread = std::thread::Builder::new().name("control".into()).spawn(move || {
        let tasks = LocalSet::new();
        tasks.block_on(&runtime, async move {
            let ended = Rc::new(watch::Sender::new(false));
            let how = tokio::select! {
                () = run(shared, metrics, admin, base, ended.clone()) => Stop::AtOnce,
                // Without a sender there is no edge any more.
                how = stopped.wait_for(|stop| *stop != Stop::No) => how.map_or(Stop::AtOnce, |how| *how),
            };
            if how == Stop::InOrder {
                ended.send_replace(true);
                // Closed once the last reporter has said it, or has given up.
                let _ = tokio::time::timeout(FAREWELL, ended.closed()).await;
            }
        });
    })?;
    Ok(Control { admin: address, stop, thread: Some(thread) })
}

impl Control {
    /// Where the admin address listens, with the port that the system gave.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Tells the aggregators that the edge has ended in order, then ends all of it, also requests to the admin address;
    /// returns when the thread has ended.
    pub fn stop(self) {
        self.stop.send_replace(Stop::InOrder);
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // What was said before is done first.
        self.stop.send_if_modified(|stop| {
            let goes_on = *stop == Stop::No;
            if goes_on {
                *stop = Stop::AtOnce;
            }
            goes_on
        });
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the control thread panicked");
        }
    }
}

async fn run(
    shared: Arc<Shared>,
    metrics: PrometheusHandle,
    admin: Option<TcpListener>,
    base: Counts,
    ended: Rc<watch::Sender<bool>>,
) {
    if let Some(listener) = admin {
        tokio::task::spawn_local(admin::serve(shared.clone(), metrics.clone(), listener));
    }
    tokio::task::spawn_local(publish(shared.clone(), metrics));
    let boot = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let boot = u64::try_from(boot.as_millis()).unwrap_or(u64::MAX);
    let mut watched = Watched { boot, ended, base: Some(base), ..Watched::default() };
    let mut changes = shared.membership.changes();
    loop {
        changes.borrow_and_update();
        watched.reconcile(&shared);
        // A change of membership, or time to look for a new configuration: both are the same here.
        let _ = tokio::time::timeout(LOOK, changes.changed()).await;
    }
}

async fn publish(shared: Arc<Shared>, metrics: PrometheusHandle) {
    let mut every = tokio::time::interval(PUBLISH);
    loop {
        every.tick().await;
        shared.ledger.publish(&shared.membership);
        shared.state.publish();
        // Without it histograms keep every single value until somebody renders them.
        metrics.run_upkeep();
    }
}

/// One task for each thing that is to be reported to, checked or warmed.
#[derive(Default)]
struct Watched {
    boot: u64,
    /// Whether this run of the edge has ended in order.
    ended: Rc<watch::Sender<bool>>,
    /// For the aggregators that the edge starts with: they are told of all that was counted.
    base: Option<Counts>,
    answering: Answering,
    reporters: Tasks<String>,
    checks: Tasks<OriginKey>,
    warming: Tasks<OriginKey>,
}

/// An origin in a pool, as long as it is the same process and asked in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct OriginKey {
    pool: Arc<str>,
    address: SocketAddr,
    life: u64,
    /// What the pool says of how it is asked, as text: a reload that changes it begins anew.
    terms: Arc<str>,
}

impl Watched {
    fn reconcile(&mut self, shared: &Arc<Shared>) {
        let snapshot = shared.snapshot.load_full();
        let aggregators = snapshot.region.edge.iter().flat_map(|edge| edge.aggregators.iter().cloned());
        let (boot, ended, answering) = (self.boot, &self.ended, &self.answering);
        let first = self.base.take();
        self.reporters.set(aggregators.map(|one| (one, ())), |aggregator, ()| {
            let now = || Counts::take(&shared.membership, &shared.state, Instant::now());
            let base = first.clone().unwrap_or_else(now);
            let (shared, aggregator) = (shared.clone(), aggregator.clone());
            let life = Life { boot, ended: ended.subscribe() };
            tokio::task::spawn_local(reporter::run(shared, aggregator, life, base, answering.clone()))
        });
        let (checked, warmed) = wanted(&shared.membership);
        self.checks.set(checked, |_, (pool, member)| tokio::task::spawn_local(health::watch(pool, member)));
        self.warming.set(warmed, |_, (pool, member)| tokio::task::spawn_local(warm::warm(pool, member)));
    }
}

type Wanted = Vec<(OriginKey, (Arc<config::Pool>, Arc<Member>))>;

/// Which origins are to be checked, and which warmed.
fn wanted(memberships: &Memberships) -> (Wanted, Wanted) {
    let (mut checked, mut warmed) = (Wanted::new(), Wanted::new());
    for pool in memberships.pools().values() {
        let spec = pool.spec();
        let how = (&spec.http2, &spec.timeouts);
        let check_terms: Arc<str> = format!("{:?} {how:?}", spec.health).into();
        let warm_terms: Arc<str> = format!("{:?} {how:?}", spec.warmup).into();
        for member in &pool.view().members {
            let key = |terms: &Arc<str>| key(pool, member, terms);
            match member.stage {
                Stage::Serving if spec.health.is_some() => {
                    checked.push((key(&check_terms), (spec.clone(), member.clone())));
                }
                // A check that a reload ended may have had the last word.
                Stage::Serving => drop(member.set_healthy(true)),
                Stage::Warming if !member.warmed() => {
                    warmed.push((key(&warm_terms), (spec.clone(), member.clone())));
                }
                Stage::Booting | Stage::Warming | Stage::Draining => {}
            }
        }
    }
    (checked, warmed)
}

fn key(pool: &membership::PoolMembers, member: &Member, terms: &Arc<str>) -> OriginKey {
    OriginKey { pool: pool.name.clone(), address: member.address, life: member.life(), terms: terms.clone() }
}

/// Tasks of this thread by what they are for.
struct Tasks<K>(HashMap<K, AbortHandle>);

impl<K> Default for Tasks<K> {
    fn default() -> Tasks<K> {
        Tasks(HashMap::new())
    }
}

impl<K: Eq + Hash + Clone> Tasks<K> {
    /// Starts what is wanted and not there, ends what is there and not wanted.
    fn set<T>(
        &mut self,
        wanted: impl IntoIterator<Item = (K, T)>,
        start: impl Fn(&K, T) -> tokio::task::JoinHandle<()>,
    ) {
        let mut before = std::mem::take(&mut self.0);
        for (key, with) in wanted {
            if self.0.contains_key(&key) {
                continue;
            }
            let task = before.remove(&key).unwrap_or_else(|| start(&key, with).abort_handle());
            self.0.insert(key, task);
        }
        before.into_values().for_each(|task| task.abort());
    }
}
