//! This worker's instances. Under `isolation: worker` one of them **acts**: it serves all exchanges
//! and is told of ticks and queues. Under `exchange` each exchange gets an instance of its own, used
//! once, and the one that acts serves none of them.
//!
//! - this file: [`Instances`], a [`Set`] for each plugin in use, and a [`Lease`] for each exchange
//! - [`asking`]: the starter is asked for what is not there
//! - [`background`]: how much of the worker a plugin may use by itself
//! - [`room`]: how many there may be
//! - [`running`]: one running copy, and whom its end reaches
//! - [`spare`]: what is made ready, and what is ended, beside the exchanges
//!
//! Over 400 lines, as a set and the lease of one of its instances are one state machine.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use abi::capability::Named;
use abi::{Callbacks, Fault};
use config::Isolation;

use crate::exchange::window::LogBudget;
use crate::exchange::{Exchange, Surroundings};
use crate::plugins::Bound;
use crate::queue::Telling;
use crate::snapshot::Snapshot;
use crate::starter::Prepared;
use crate::telemetry::Held;
use crate::worker::Worker;

mod asking;
pub mod background;
pub mod room;
mod running;
mod spare;

pub use asking::Unready;
use asking::{Asked, Asking};
use room::{Lingering, Place, Share};
pub use running::Running;
use spare::{BackOff, Wanting};

/// How often a worker looks for a new snapshot, so that plugins with ticks start without a
/// request and those of an old configuration end.
const REFRESH: Duration = Duration::from_millis(250);

/// All instances of one worker.
pub struct Instances {
    pub surroundings: Rc<Surroundings>,
    sets: RefCell<HashMap<u64, Rc<Set>>>,
    /// The snapshot that `sets` were last held against.
    seen: RefCell<std::sync::Weak<Snapshot>>,
    /// When the drain that has begun ends.
    drained_by: Cell<Option<Instant>>,
    wanting: Rc<Wanting>,
    asking: Asking,
}

/// The instances of one bound plugin.
pub struct Set {
    bound: Arc<Bound>,
    /// Kept alive whether exchanges come or not, as it may tick.
    acting: RefCell<Option<Rc<Running>>>,
    /// Started and never used.
    spares: RefCell<Vec<Rc<Running>>>,
    /// What has served its time; ended beside the exchanges.
    retired: RefCell<Vec<Rc<Running>>>,
    /// Every one that lives, leased ones too, and at how many those that do not are forgotten.
    all: RefCell<Vec<Weak<Running>>>,
    crowded: Cell<usize>,
    /// Whether the plugin served anywhere when that was last looked at.
    roused: Cell<bool>,
    /// After starts that failed.
    back_off: BackOff,
    asked: Asked,
    /// It stands among those that want something done.
    wants: Cell<bool>,
    wanting: Rc<Wanting>,
    log: Arc<LogBudget>,
    share: Arc<Share>,
    lingering: Lingering,
    /// When it was last said that an exchange was refused.
    said: Cell<Option<Instant>>,
}

/// An instance for one exchange; given back when dropped.
pub struct Lease {
    set: Rc<Set>,
    running: Rc<Running>,
    /// Where the exchange stands among those that the instance's end reaches.
    place: Option<usize>,
    /// Under `isolation: exchange`.
    held: Option<Rc<room::Held>>,
    /// Among those of its set that linger.
    lingers: Option<u64>,
}

impl Instances {
    pub fn new(state: Arc<crate::state::State>) -> Instances {
        let (sets, seen, drained_by, wanting, asking) = Default::default();
        Instances { surroundings: Surroundings::new(state), sets, seen, drained_by, wanting, asking }
    }

    /// Keeps this worker's instances in step with the configuration; runs as long as the worker.
    pub async fn keep(worker: Rc<Worker>) {
        worker.instances.surroundings.attach(&worker);
        loop {
            worker.instances.refresh(&worker.snapshot());
            worker.instances.revive();
            worker.instances.ask_again();
            worker.instances.rouse();
            worker.instances.measure(&worker);
            crate::clock::sleep(REFRESH).await;
        }
    }

    /// Has one instance of each plugin in use act; forgets those that no route names now
    /// (what is leased of them lives on until its exchange ends).
    fn refresh(&self, snapshot: &Arc<Snapshot>) {
        if std::ptr::eq(self.seen.borrow().as_ptr(), Arc::as_ptr(snapshot)) {
            return;
        }
        *self.seen.borrow_mut() = Arc::downgrade(snapshot);
        let used: HashMap<u64, &Arc<Bound>> = snapshot.plugins.bound().map(|bound| (bound.id, bound)).collect();
        let kept: HashSet<u64> = snapshot.plugins.kept().map(|bound| bound.id).collect();
        self.sets.borrow_mut().retain(|id, _| kept.contains(id));
        let Surroundings { state, bell, .. } = &*self.surroundings;
        self.surroundings.forget_background();
        state.queues.forget(bell, &used.keys().copied().collect());
        for bound in used.values() {
            let set = self.set(bound);
            if let Err(Unready::Failed(fault)) = self.acting(&set) {
                tracing::warn!(plugin = &*bound.settings.plugin, %fault, "plugin does not start");
            }
            set.want();
            if bound.code.callbacks().contains(Callbacks::QUEUE_READY) {
                let granted = bound.settings.capabilities.granted(Named::Queue);
                granted.for_each(|name| state.queues.open(name).listen(bell, bound.id));
                state.queues.listen_own(&bound.settings.plugin, bound.id, bell);
            }
        }
    }

    /// Tells plugins of this worker of queues; runs as long as the worker.
    pub async fn listen(worker: Rc<Worker>) {
        let instances = &worker.instances;
        loop {
            for (plugin, telling) in instances.surroundings.bell.rung().await {
                let set = instances.sets.borrow().get(&plugin).cloned();
                // One that is disabled does nothing by itself: the telling ends here, with nothing taken.
                let Some(set) = set.filter(|set| set.bound.acting.any()) else { continue };
                let background = instances.surroundings.background(&set.bound.settings.plugin);
                match (background.try_turn(), instances.acting(&set)) {
                    (Some(_turn), Ok(running)) => running.queue_ready(telling),
                    _ => drop(tokio::task::spawn_local(Instances::tell_late(worker.clone(), set, telling))),
                }
            }
            // What pushes to its own queue must not keep the others from their turn.
            tokio::task::yield_now().await;
        }
    }

    /// Tells it when it is the plugin's turn and an instance is there; until then the queue tells nobody else.
    async fn tell_late(worker: Rc<Worker>, set: Rc<Set>, telling: Telling) {
        let (instances, plugin) = (&worker.instances, &set.bound.settings.plugin);
        let background = instances.surroundings.background(plugin);
        let failures = set.asked.failures.get();
        loop {
            let turn = background.turn(|| worker.telemetry.plugin_delayed(plugin)).await;
            let ended = !instances.sets.borrow().contains_key(&set.bound.id) || !set.bound.acting.any();
            if ended || set.asked.failures.get() != failures {
                return;
            }
            let news = set.asked.news.notified();
            match instances.acting(&set) {
                Ok(running) => return running.queue_ready(telling),
                Err(Unready::Failed(_) | Unready::Crowded(_)) => return,
                Err(Unready::Coming) => {
                    drop(turn);
                    news.await;
                }
                Err(Unready::Held { wait, .. }) => {
                    drop(turn);
                    // A reload may have begun a new version meanwhile, whose turn this is then.
                    crate::clock::sleep(wait.min(REFRESH)).await;
                }
            }
        }
    }

    /// Says what the instances of each plugin hold, and what they have done since it was last said.
    fn measure(&self, worker: &Worker) {
        let mut held: HashMap<Arc<str>, Held> = HashMap::new();
        for set in self.sets.borrow().values() {
            let of = held.entry(set.bound.settings.plugin.clone()).or_default();
            for running in set.all.borrow().iter().filter_map(Weak::upgrade) {
                running.report_work();
                of.memory += running.memory() as u64;
                of.machine_code += running.machine_code();
            }
        }
        worker.telemetry.plugins_hold(&held);
    }

    /// A plugin that ticks, or is told of queues, gets a fresh instance when its tick has brought the last one into
    /// doubt: no exchange may ever come to ask for one.
    fn revive(&self) {
        let now = crate::clock::now();
        let dead = |set: &&Rc<Set>| {
            set.bound.code.callbacks().intersects(Callbacks::TICK | Callbacks::QUEUE_READY)
                && set.back_off.is_over(now)
                && set.acting.borrow().as_ref().is_none_or(|running| !running.is_fit())
        };
        let sets: Vec<_> = self.sets.borrow().values().filter(dead).cloned().collect();
        for set in sets {
            if let Err(Unready::Failed(fault)) = self.acting(&set) {
                tracing::warn!(plugin = &*set.bound.settings.plugin, %fault, "plugin does not start again");
            }
        }
    }

    /// What was pushed to queues while a plugin was disabled waits for it.
    fn rouse(&self) {
        for set in self.sets.borrow().values() {
            let acts = set.bound.acting.any();
            if !set.roused.replace(acts) && acts && set.bound.code.callbacks().contains(Callbacks::QUEUE_READY) {
                self.surroundings.state.queues.rouse(set.bound.id);
            }
        }
    }

    /// An instance for one exchange, if one is ready.
    pub fn lease(&self, bound: &Arc<Bound>) -> Result<Lease, Unready> {
        self.lease_of(&self.set(bound))
    }

    fn lease_of(&self, set: &Rc<Set>) -> Result<Lease, Unready> {
        let (running, held) = match set.bound.isolation {
            Isolation::Worker => (self.acting(set)?, None),
            Isolation::Exchange => {
                let place = set.enter()?;
                (self.fresh(set)?, Some(room::Held::new(place)))
            }
        };
        Ok(Lease { set: set.clone(), running, place: None, held, lingers: None })
    }

    /// The one that acts, or what takes its place.
    fn acting(&self, set: &Rc<Set>) -> Result<Rc<Running>, Unready> {
        if let Some(running) = set.acting.borrow().as_ref().filter(|running| running.is_fit()) {
            return Ok(running.clone());
        }
        if let Some(before) = set.acting.take() {
            if !before.healthy() {
                set.asked.lost.set(Some(before.last_fault()));
            }
            set.retire(before);
        }
        let running = self.fresh(set)?;
        set.acting.replace(Some(running.clone()));
        Running::act(&running);
        if let Some(by) = self.drained_by.get() {
            running.drain(by.saturating_duration_since(crate::clock::now()));
        }
        Ok(running)
    }

    /// One that nobody has used: a spare, or one that was prepared; else it is asked for.
    fn fresh(&self, set: &Rc<Set>) -> Result<Rc<Running>, Unready> {
        // Those that are not fit have had their time.
        let spare = std::iter::from_fn(|| set.spares.borrow_mut().pop()).find(|spare| spare.is_fit());
        set.want();
        if let Some(spare) = spare {
            return Ok(spare);
        }
        let changes = set.bound.secrets.changes();
        let prepared = std::iter::from_fn(|| set.bound.prepared.take()).find(|prepared| prepared.changes == changes);
        match prepared {
            Some(prepared) => Ok(set.adopt(&self.surroundings, prepared)?),
            None => self.ask(set),
        }
    }

    /// The edge drains, for at most this long: every instance that acts is told, also one that does later.
    pub fn drain(&self, left: Duration) {
        self.drained_by.set(Some(crate::clock::now() + left));
        let all: Vec<_> = self.sets.borrow().values().flat_map(|set| set.acting.borrow().clone()).collect();
        all.iter().for_each(|running| running.drain(left));
    }

    fn set(&self, bound: &Arc<Bound>) -> Rc<Set> {
        let known = || self.sets.borrow().get(&bound.id).cloned();
        if let Some(set) = known() {
            return set;
        }
        // Newer than what was last looked at, or older: an exchange that began before a reload.
        if let Some(worker) = self.surroundings.worker() {
            self.refresh(&worker.snapshot());
        }
        if let Some(set) = known() {
            return set;
        }
        let share = self.surroundings.state.room.share(&bound.settings.plugin);
        let set = Rc::new(Set::new(bound, &self.wanting, share));
        let seen = self.seen.borrow().upgrade();
        if seen.is_none_or(|snapshot| snapshot.plugins.kept().any(|used| used.id == bound.id)) {
            self.sets.borrow_mut().insert(bound.id, set.clone());
        }
        // Otherwise it lives as long as the exchange, and ticks no longer.
        set
    }
}

impl Set {
    fn new(bound: &Arc<Bound>, wanting: &Rc<Wanting>, share: Arc<Share>) -> Set {
        Set {
            bound: bound.clone(),
            acting: RefCell::default(),
            spares: RefCell::default(),
            retired: RefCell::default(),
            all: RefCell::default(),
            crowded: Cell::default(),
            roused: Cell::default(),
            back_off: BackOff::default(),
            asked: Asked::default(),
            wants: Cell::default(),
            wanting: wanting.clone(),
            log: Arc::default(),
            share,
            lingering: Lingering::default(),
            said: Cell::default(),
        }
    }

    /// A place for one more exchange with an instance of its own.
    fn enter(&self) -> Result<Place, Unready> {
        let most = self.bound.instances;
        loop {
            match self.share.enter(most) {
                Ok(place) => return Ok(place),
                // Those that wait for an answer come before those that have had it.
                Err(_) if self.lingering.give_up() => {}
                Err(why) => {
                    self.say(&why);
                    return Err(Unready::Crowded(why));
                }
            }
        }
    }

    /// Once a second: it is true of every exchange that comes now.
    fn say(&self, why: &str) {
        let now = crate::clock::now();
        if self.said.get().is_none_or(|said| now.saturating_duration_since(said) >= Duration::from_secs(1)) {
            self.said.set(Some(now));
            tracing::warn!(plugin = &*self.bound.settings.plugin, "no instance for one more exchange: {why}");
        }
    }

    fn start(&self, surroundings: &Rc<Surroundings>) -> Result<Rc<Running>, Fault> {
        let started = Running::start_with(&self.bound, surroundings, &self.log);
        self.back_off.note(started.is_ok());
        started.inspect(|running| self.remember(running))
    }

    fn adopt(&self, surroundings: &Rc<Surroundings>, prepared: Prepared) -> Result<Rc<Running>, Fault> {
        let adopted = Running::adopt(&self.bound, surroundings, &self.log, prepared);
        adopted.inspect(|running| self.remember(running))
    }

    fn remember(&self, running: &Rc<Running>) {
        let mut all = self.all.borrow_mut();
        // Looked through when there are twice as many as lived at the last time, so each pays for a few.
        if all.len() >= self.crowded.get() {
            all.retain(|running| running.strong_count() > 0);
            self.crowded.set(2 * all.len() + 8);
        }
        all.push(Rc::downgrade(running));
    }
}

impl Lease {
    pub fn running(&self) -> &Rc<Running> {
        &self.running
    }

    /// The exchange has ended, and the plugin is not done with it. Ends when its place was given to another one;
    /// without an instance of its own it has none.
    pub fn linger(&mut self) -> Option<Rc<room::Held>> {
        let held = self.held.clone()?;
        self.lingers = Some(self.set.lingering.add(&held));
        Some(held)
    }

    /// It serves this exchange, which the end of the instance reaches where others are in it too.
    pub fn serve(&mut self, exchange: &Rc<Exchange>) {
        let bound = &self.set.bound;
        if bound.isolation == Isolation::Worker && !bound.code.shares() {
            self.place = Some(self.running.serve(exchange));
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(number) = self.lingers {
            self.set.lingering.left(number);
        }
        if let Some(place) = self.place {
            self.running.served(place);
        }
        if self.set.bound.isolation == Isolation::Exchange {
            self.set.retire(self.running.clone());
        }
    }
}
