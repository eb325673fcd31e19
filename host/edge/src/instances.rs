//! This worker's warm instances. An instance whose engine keeps exchanges apart
//! (`Plugin::shares`) serves all of them; any other is leased to one exchange at a time and
//! reused after, so that a trap never reaches a neighbour. Over 400 lines, as a set, its leases
//! and what runs know each other closely.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use abi::capability::Named;
use abi::{Action, Callbacks, ContextId, Event, Fault, Host, Instance, Phase, Verdict, Work};

use crate::clock;
use crate::exchange::Surroundings;
use crate::exchange::seat::{Home, Seat};
use crate::exchange::window::LogBudget;
use crate::plugins::Bound;
use crate::queue::Telling;
use crate::snapshot::Snapshot;
use crate::telemetry::Held;
use crate::worker::Worker;

/// Instances kept for reuse, of one plugin. More are made when more exchanges are in flight,
/// and dropped when they end.
const MOST_IDLE: usize = 64;

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
}

/// The instances of one bound plugin.
pub struct Set {
    bound: Arc<Bound>,
    idle: RefCell<Vec<Rc<Running>>>,
    /// Every one that lives, leased ones too.
    all: RefCell<Vec<Weak<Running>>>,
    /// Of those that tick one is kept alive, whether requests come or not.
    latest: RefCell<Weak<Running>>,
    /// The last one did not start.
    failed: Cell<bool>,
    log: Rc<LogBudget>,
}

/// One running copy. It is never entered twice: calls are synchronous and of one thread.
pub struct Running {
    bound: Arc<Bound>,
    instance: RefCell<Box<dyn Instance>>,
    seat: Rc<Seat>,
    ticking: Cell<bool>,
    /// The engine panicked in it.
    broken: Cell<bool>,
    /// It stands in the telemetry of its worker.
    counted: Cell<bool>,
    /// What its worker has counted of it.
    reported: Cell<Work>,
    /// Queues that it was told of, while that has not ended.
    told: RefCell<Vec<Telling>>,
    pub log: Rc<LogBudget>,
}

/// An instance for one exchange; given back when dropped.
pub struct Lease {
    set: Rc<Set>,
    running: Rc<Running>,
}

impl Instances {
    pub fn new(state: Arc<crate::state::State>) -> Instances {
        let (sets, seen, drained_by) = Default::default();
        Instances { surroundings: Surroundings::new(state), sets, seen, drained_by }
    }

    /// Keeps this worker's instances in step with the configuration; runs as long as the worker.
    pub async fn keep(worker: Rc<Worker>) {
        worker.instances.surroundings.attach(&worker);
        loop {
            worker.instances.refresh(&worker.snapshot());
            worker.instances.revive();
            worker.instances.measure(&worker);
            crate::clock::sleep(REFRESH).await;
        }
    }

    /// Makes one warm instance of each plugin in use; forgets those that no route names now
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
        state.queues.forget(bell, &used.keys().copied().collect());
        for bound in used.values() {
            match self.lease(bound) {
                Ok(lease) => drop(lease),
                Err(fault) => tracing::warn!(plugin = &*bound.settings.plugin, %fault, "plugin does not start"),
            }
            if bound.code.callbacks().contains(Callbacks::QUEUE_READY) {
                let granted = bound.settings.capabilities.granted(Named::Queue);
                granted.for_each(|name| state.queues.open(name).listen(bell, bound.id));
            }
        }
    }

    /// Tells plugins of this worker of queues; runs as long as the worker.
    pub async fn listen(worker: Rc<Worker>) {
        let instances = &worker.instances;
        loop {
            for (plugin, telling) in instances.surroundings.bell.rung().await {
                let set = instances.sets.borrow().get(&plugin).cloned();
                let latest = set.as_ref().and_then(|set| set.latest.borrow().upgrade());
                let running = latest.filter(|running| running.healthy()).or_else(|| {
                    let lease = instances.lease(&set?.bound).ok()?;
                    Some(lease.running().clone())
                });
                if let Some(running) = running {
                    running.queue_ready(telling);
                }
            }
            // What pushes to its own queue must not keep the others from their turn.
            tokio::task::yield_now().await;
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
                of.machine_code += running.reported.get().machine_code as u64;
            }
        }
        worker.telemetry.plugins_hold(&held);
    }

    /// A plugin that ticks, or is told of queues, gets a fresh instance when its tick has brought the last one into
    /// doubt: no exchange may ever come to ask for one. One that does not start waits for that.
    fn revive(&self) {
        let dead = |set: &&Rc<Set>| {
            set.bound.code.callbacks().intersects(Callbacks::TICK | Callbacks::QUEUE_READY)
                && !set.failed.get()
                && set.latest.borrow().upgrade().is_none_or(|running| !running.healthy())
        };
        let sets: Vec<_> = self.sets.borrow().values().filter(dead).cloned().collect();
        for set in sets {
            if let Err(fault) = self.lease(&set.bound).map(drop) {
                tracing::warn!(plugin = &*set.bound.settings.plugin, %fault, "plugin does not start again");
            }
        }
    }

    /// An instance for one exchange, warm if there is one.
    pub fn lease(&self, bound: &Arc<Bound>) -> Result<Lease, Fault> {
        let set = self.set(bound);
        // A shared instance may have come into doubt while it stands here.
        set.idle.borrow_mut().retain(|running| running.healthy());
        let warm = if bound.code.shares() { set.idle.borrow().last().cloned() } else { set.idle.borrow_mut().pop() };
        let running = match warm {
            Some(running) => running,
            None => {
                set.failed.set(true);
                let running = Running::start_with(bound, &self.surroundings, &set.log)?;
                set.failed.set(false);
                *set.latest.borrow_mut() = Rc::downgrade(&running);
                set.remember(&running);
                if let Some(by) = self.drained_by.get() {
                    running.drain(by.saturating_duration_since(crate::clock::now()));
                }
                if bound.code.shares() {
                    set.idle.borrow_mut().push(running.clone());
                }
                running
            }
        };
        Ok(Lease { set, running })
    }

    /// The edge drains, for at most this long: every instance is told, also one that is made later.
    pub fn drain(&self, left: Duration) {
        self.drained_by.set(Some(crate::clock::now() + left));
        let all: Vec<_> = self.sets.borrow().values().flat_map(|set| set.all.borrow().clone()).collect();
        all.iter().filter_map(Weak::upgrade).for_each(|running| running.drain(left));
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
        let (idle, all, latest, failed, log) = Default::default();
        let set = Rc::new(Set { bound: bound.clone(), idle, all, latest, failed, log });
        let seen = self.seen.borrow().upgrade();
        if seen.is_none_or(|snapshot| snapshot.plugins.kept().any(|used| used.id == bound.id)) {
            self.sets.borrow_mut().insert(bound.id, set.clone());
        }
        // Otherwise it lives as long as the exchange, and ticks no longer.
        set
    }
}

impl Set {
    fn remember(&self, running: &Rc<Running>) {
        let mut all = self.all.borrow_mut();
        all.retain(|running| running.strong_count() > 0);
        all.push(Rc::downgrade(running));
    }
}

impl Lease {
    pub fn running(&self) -> &Rc<Running> {
        &self.running
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut idle = self.set.idle.borrow_mut();
        if !self.running.healthy() {
            idle.retain(|running| !Rc::ptr_eq(running, &self.running));
        } else if !self.set.bound.code.shares() && idle.len() < MOST_IDLE {
            idle.push(self.running.clone());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.report_work();
        if let Some(worker) = self.seat.surroundings.worker().filter(|_| self.counted.get()) {
            worker.telemetry.instance_dropped(&self.bound.settings.plugin);
        }
    }
}

impl Running {
    /// Starts an instance; `on_vm_start` and `on_configure` have run.
    pub fn start(bound: &Arc<Bound>, surroundings: &Rc<Surroundings>) -> Result<Rc<Running>, Fault> {
        Running::start_with(bound, surroundings, &Rc::default())
    }

    fn start_with(
        bound: &Arc<Bound>,
        surroundings: &Rc<Surroundings>,
        log: &Rc<LogBudget>,
    ) -> Result<Rc<Running>, Fault> {
        let seat = Seat::of_plugin(bound, surroundings, log);
        let instance = RefCell::new(bound.code.instantiate(seat.clone())?);
        seat.phase.set(Phase::Background);
        let (bound, log) = (bound.clone(), log.clone());
        let running = Rc::new(Running {
            bound,
            instance,
            seat,
            ticking: Cell::new(false),
            broken: Cell::new(false),
            counted: Cell::new(false),
            reported: Cell::default(),
            told: RefCell::default(),
            log,
        });
        if let Home::Plugin { running: home, .. } = &running.seat.home {
            *home.borrow_mut() = Rc::downgrade(&running);
        }
        if let Some(worker) = running.seat.surroundings.worker() {
            worker.telemetry.instance_made(&running.bound.settings.plugin);
            running.counted.set(true);
            Running::tick(&running);
        }
        Ok(running)
    }

    /// Sees to it that `on_tick` comes as often as the plugin asked.
    pub fn tick(running: &Rc<Running>) {
        if running.seat.tick().is_zero() || running.ticking.replace(true) {
            return;
        }
        let seat = running.seat.clone();
        let running = Rc::downgrade(running);
        tokio::task::spawn_local(async move {
            loop {
                let period = seat.tick();
                if !period.is_zero() {
                    crate::clock::sleep(period).await;
                }
                let Some(running) = running.upgrade() else { return };
                if seat.tick().is_zero() {
                    running.ticking.set(false);
                    return;
                }
                // One that is disabled, or kept as the version before, does nothing by itself.
                if running.bound.acting.any() {
                    running.background(&Event::Tick);
                }
            }
        });
    }

    /// Tells the plugin that the edge drains. What it waits for then holds the drain.
    fn drain(&self, left: Duration) {
        if self.bound.code.callbacks().contains(Callbacks::DRAIN) {
            self.seat.holding(true, || self.background(&Event::Drain { left }));
        }
    }

    /// The end of something that the plugin context waited for.
    pub fn deliver(&self, event: &Event<'_>, holds_drain: bool) {
        self.seat.holding(holds_drain, || self.background(event));
    }

    pub fn open(&self, context: ContextId, host: Rc<dyn Host>) -> Result<(), Fault> {
        self.guarded(|| self.instance.borrow_mut().open(context, host))
    }

    pub fn call(&self, context: ContextId, event: Event<'_>) -> Result<Action, Fault> {
        self.guarded(|| self.instance.borrow_mut().call(context, event))
    }

    pub fn close(&self, context: ContextId) {
        let closed = self.guarded(|| {
            self.instance.borrow_mut().close(context);
            Ok(())
        });
        if let Err(fault) = closed {
            tracing::error!(plugin = &*self.bound.settings.plugin, %fault, "closing a context failed");
        }
    }

    pub fn trace(&self, context: ContextId) -> Option<String> {
        self.instance.try_borrow().ok()?.trace(context)
    }

    /// Adds what it has done since the last report to what its worker has counted.
    fn report_work(&self) {
        let Ok(work) = self.instance.try_borrow().map(|instance| instance.work()) else { return };
        let before = self.reported.replace(work);
        if let Some(worker) = self.seat.surroundings.worker() {
            let cpu = work.cpu.saturating_sub(before.cpu);
            let collections = work.collections.saturating_sub(before.collections);
            worker.telemetry.plugin_worked(&self.bound.settings.plugin, cpu, collections);
        }
    }

    /// Bytes; none while it runs, which is not now.
    fn memory(&self) -> usize {
        self.instance.try_borrow().map_or(0, |instance| instance.memory().bytes)
    }

    pub fn healthy(&self) -> bool {
        !self.broken.get() && self.instance.try_borrow().is_ok_and(|instance| instance.healthy())
    }

    /// Tells the plugin context. A fault here costs no exchange: it is logged and counted, and
    /// an instance in doubt is not leased again.
    pub fn background(&self, event: &Event<'_>) {
        // What waited may have been the telling of a queue. If not, it is told again, and still waits.
        if self.tell(event) == Some(Action::Continue) {
            drop(self.told.take());
        }
    }

    /// Tells of a queue: that has ended with the call, or when what it waits for has.
    fn queue_ready(&self, telling: Telling) {
        let (id, name) = (telling.queue.id, telling.queue.name.clone());
        if self.tell(&Event::QueueReady { id, name: &name }) == Some(Action::Pause) {
            self.told.borrow_mut().push(telling);
        }
    }

    /// What the plugin context answers; `None` after a fault.
    fn tell(&self, event: &Event<'_>) -> Option<Action> {
        if !self.healthy() {
            return None;
        }
        self.seat.phase.set(Phase::Background);
        self.seat.told.set(0);
        let plugin = &self.bound.settings.plugin;
        let worker = self.seat.surroundings.worker();
        if let Some(worker) = &worker {
            worker.telemetry.plugin_call(plugin, event.callback());
        }
        let called = self.call(ContextId::PLUGIN, *event);
        let overstepped = self.seat.overstepped.borrow_mut().take();
        let fault = match (overstepped, called) {
            (None, Ok(action)) => return Some(action),
            (Some(fault), _) | (None, Err(fault)) => fault,
        };
        if let Some(worker) = &worker {
            worker.telemetry.plugin_fault(plugin, fault.verdict);
        }
        let at = clock::wall();
        self.bound.background.add(&fault, event.callback(), &self.bound.settings.version, "", at);
        let trace = fault.trace.as_deref().unwrap_or_default();
        tracing::warn!(
            target: "forebay::fault", plugin = &**plugin, version = &*self.bound.settings.version,
            callback = event.callback(), verdict = fault.verdict.name(), trace, "{}", fault.message
        );
        // What failed may have waited in the telling of a queue.
        drop(self.told.take());
        None
    }

    /// A panic of an engine is our bug, contained: it costs what any fault costs.
    fn guarded<T>(&self, call: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).unwrap_or_else(|panic| {
            self.broken.set(true);
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(Fault::new(Verdict::Panic, text.unwrap_or_else(|| "the engine panicked".to_owned())))
        })
    }
}
