//! One running copy of a plugin on its worker, and whom its end reaches.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use abi::{Action, Callbacks, ContextId, Event, Fault, Host, Instance, Phase, Verdict, Work};
use bytes::Bytes;
use slab::Slab;

use super::background::Background;
use super::room::Alive;
use crate::clock;
use crate::exchange::scale::Proposed;
use crate::exchange::seat::{Home, Seat};
use crate::exchange::window::LogBudget;
use crate::exchange::{Exchange, Surroundings};
use crate::plugins::Bound;
use crate::queue::Telling;
use crate::starter::Prepared;

/// One running copy. It is never entered twice: calls are synchronous and of one thread.
pub struct Running {
    bound: Arc<Bound>,
    instance: RefCell<Box<dyn Instance>>,
    seat: Rc<Seat>,
    /// CPU time of its start, until a fault is charged with that.
    cost: Cell<Duration>,
    /// The verdict of its last fault.
    last: Cell<Option<Verdict>>,
    /// It is the one of its worker that is told of ticks, queues and drains.
    acting: Cell<bool>,
    ticking: Cell<bool>,
    /// A fault has ended it for all that it holds: which one.
    ended: Cell<Option<Verdict>>,
    /// Those that it holds, and that its end would reach.
    serves: RefCell<Slab<Weak<Exchange>>>,
    /// The engine panicked in it.
    broken: Cell<bool>,
    _alive: Alive,
    /// It stands in the telemetry of its worker.
    counted: Cell<bool>,
    /// What its worker has counted of it.
    reported: Cell<Work>,
    /// Queues that it was told of, while that has not ended.
    told: RefCell<Vec<Telling>>,
    /// How often the plugin's secrets had changed when it began.
    changes: u32,
    pub background: Rc<Background>,
    pub log: Arc<LogBudget>,
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

    pub(super) fn start_with(
        bound: &Arc<Bound>,
        surroundings: &Rc<Surroundings>,
        log: &Arc<LogBudget>,
    ) -> Result<Rc<Running>, Fault> {
        let changes = bound.secrets.changes();
        let seat = Seat::of_plugin(bound, surroundings, log);
        let instance = bound.code.instantiate(seat.clone())?;
        Ok(Running::with(instance, seat, changes, Duration::ZERO))
    }

    /// What has started elsewhere becomes this worker's.
    pub(super) fn adopt(
        bound: &Arc<Bound>,
        surroundings: &Rc<Surroundings>,
        log: &Arc<LogBudget>,
        prepared: Prepared,
    ) -> Result<Rc<Running>, Fault> {
        let Prepared { started, tick, changes, cost } = prepared;
        let seat = Seat::of_plugin(bound, surroundings, log);
        let instance = started.adopt(seat.clone())?;
        seat.take_up(tick);
        Ok(Running::with(instance, seat, changes, cost))
    }

    fn with(instance: Box<dyn Instance>, seat: Rc<Seat>, changes: u32, cost: Duration) -> Rc<Running> {
        seat.phase.set(Phase::Background);
        let (bound, log, instance) = (seat.bound.clone(), seat.log.clone(), RefCell::new(instance));
        let background = seat.surroundings.background(&bound.settings.plugin);
        let alive = seat.surroundings.state.room.alive();
        let running = Rc::new(Running {
            bound,
            instance,
            seat,
            cost: Cell::new(cost),
            last: Cell::default(),
            acting: Cell::new(false),
            ticking: Cell::new(false),
            ended: Cell::default(),
            serves: RefCell::default(),
            broken: Cell::new(false),
            _alive: alive,
            counted: Cell::new(false),
            reported: Cell::default(),
            told: RefCell::default(),
            changes,
            background,
            log,
        });
        if let Home::Plugin { running: home, .. } = &running.seat.home {
            *home.borrow_mut() = Rc::downgrade(&running);
        }
        if let Some(worker) = running.seat.surroundings.worker() {
            worker.telemetry.instance_made(&running.bound.settings.plugin);
            running.counted.set(true);
        }
        running
    }

    /// From now on it is the one that is told what concerns the plugin on this worker.
    pub(super) fn act(running: &Rc<Running>) {
        running.acting.set(true);
        Running::tick(running);
    }

    /// Sees to it that `on_tick` comes as often as the plugin asked, in the one that acts.
    pub fn tick(running: &Rc<Running>) {
        let ticks = running.acting.get() && !running.seat.tick().is_zero() && running.counted.get();
        if !ticks || running.ticking.replace(true) {
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
                let (background, running) = (running.background.clone(), Rc::downgrade(&running));
                let delayed = || running.upgrade().iter().for_each(|running| running.delayed());
                let _turn = background.turn(delayed).await;
                // One that is disabled, or kept as the version before, does nothing by itself.
                if let Some(running) = running.upgrade().filter(|running| running.bound.acting.any()) {
                    running.tell_background(&Event::Tick);
                }
            }
        });
    }

    /// Tells the plugin that the edge drains. What it waits for then holds the drain.
    pub(super) fn drain(&self, left: Duration) {
        if self.bound.code.callbacks().contains(Callbacks::DRAIN) {
            self.seat.holding(true, || self.tell_background(&Event::Drain { left }));
        }
    }

    /// The end of something that the plugin context waited for.
    pub fn deliver(&self, event: &Event<'_>, holds_drain: bool) {
        self.seat.holding(holds_drain, || self.tell_background(event));
    }

    pub fn open(&self, context: ContextId, host: Rc<dyn Host>) -> Result<(), Fault> {
        let opened = self.guarded(|| self.instance.borrow_mut().open(context, host));
        opened.inspect_err(|fault| self.failed(fault.verdict))
    }

    pub fn call(&self, context: ContextId, event: Event<'_>) -> Result<Action, Fault> {
        let called = self.guarded(|| self.instance.borrow_mut().call(context, event));
        called.inspect_err(|fault| self.failed(fault.verdict))
    }

    pub fn close(&self, context: ContextId) {
        let closed = self.guarded(|| {
            let mut instance = self.instance.borrow_mut();
            instance.close(context);
            // A fault at the end of a context is in the plugin's log.
            Ok(instance.ended() && self.ended.get().is_none())
        });
        match closed {
            Ok(false) => {}
            // It is nobody's but the instance's, and the cause of what the others are told.
            Ok(true) => {
                if let Some(worker) = self.seat.surroundings.worker() {
                    worker.telemetry.plugin_fault(&self.bound.settings.plugin, Verdict::Trap);
                }
                self.failed(Verdict::Trap);
            }
            Err(fault) => {
                tracing::error!(plugin = &*self.bound.settings.plugin, %fault, "closing a context failed");
            }
        }
    }

    /// A call has failed. If that has ended the instance, those who wait in it learn it now, the others
    /// when they come to it next.
    #[cold]
    fn failed(&self, verdict: Verdict) {
        self.last.set(Some(verdict));
        if self.ended.get().is_some() || !self.instance.try_borrow().is_ok_and(|instance| instance.ended()) {
            return;
        }
        self.ended.set(Some(verdict));
        let serves: Vec<_> = self.serves.borrow().iter().filter_map(|(_, exchange)| exchange.upgrade()).collect();
        serves.iter().for_each(|exchange| exchange.wake());
    }

    /// What a fault has cost that has ended it: its start, once.
    pub fn lost(&self) -> Duration {
        if self.healthy() { Duration::ZERO } else { self.cost.take() }
    }

    pub(super) fn last_fault(&self) -> Verdict {
        self.last.get().unwrap_or(Verdict::Panic)
    }

    /// The fault that has ended it for all that it holds.
    pub fn ended(&self) -> Option<Verdict> {
        self.ended.get()
    }

    /// It holds this exchange until [`Running::served`] is given the place.
    pub(super) fn serve(&self, exchange: &Rc<Exchange>) -> usize {
        self.serves.borrow_mut().insert(Rc::downgrade(exchange))
    }

    pub(super) fn served(&self, place: usize) {
        self.serves.borrow_mut().remove(place);
    }

    pub fn trace(&self, context: ContextId) -> Option<String> {
        self.instance.try_borrow().ok()?.trace(context)
    }

    /// CPU time of all its entries: exact where they are of the background.
    fn cpu(&self) -> Duration {
        self.instance.try_borrow().map_or(Duration::ZERO, |instance| instance.work().cpu)
    }

    /// Something of its background waits for its turn.
    pub fn delayed(&self) {
        if let Some(worker) = self.seat.surroundings.worker() {
            worker.telemetry.plugin_delayed(&self.bound.settings.plugin);
        }
    }

    /// Adds what it has done since the last report to what its worker has counted.
    pub(super) fn report_work(&self) {
        let Ok(work) = self.instance.try_borrow().map(|instance| instance.work()) else { return };
        let before = self.reported.replace(work);
        if let Some(worker) = self.seat.surroundings.worker() {
            let cpu = work.cpu.saturating_sub(before.cpu);
            let collections = work.collections.saturating_sub(before.collections);
            worker.telemetry.plugin_worked(&self.bound.settings.plugin, cpu, collections);
        }
    }

    /// Bytes, as of the last report.
    pub(super) fn machine_code(&self) -> u64 {
        self.reported.get().machine_code as u64
    }

    /// Bytes; none while it runs, which is not now.
    pub(super) fn memory(&self) -> usize {
        self.instance.try_borrow().map_or(0, |instance| instance.memory().bytes)
    }

    /// Whether more exchanges may come to it.
    pub fn is_fit(&self) -> bool {
        self.changes == self.bound.secrets.changes() && self.healthy()
    }

    pub fn healthy(&self) -> bool {
        !self.broken.get()
            && self.ended.get().is_none()
            && self.instance.try_borrow().is_ok_and(|instance| instance.healthy())
    }

    /// Tells the plugin context. A fault here costs no exchange: it is logged and counted, and
    /// an instance in doubt is not leased again.
    fn tell_background(&self, event: &Event<'_>) {
        // What waited may have been the telling of a queue. If not, it is told again, and still waits.
        if self.tell(event) == Some(Action::Continue) {
            drop(self.told.take());
        }
    }

    /// Tells of a queue: that has ended with the call, or when what it waits for has.
    pub(super) fn queue_ready(&self, telling: Telling) {
        let (id, name) = (telling.queue.id, telling.queue.name.clone());
        if self.tell(&Event::QueueReady { id, name: &name }) == Some(Action::Pause) {
            self.told.borrow_mut().push(telling);
        }
    }

    /// Asks a policy plugin about a pool: what it has proposed, if anything. A fault is the caller's to tell.
    pub fn autoscale(&self, view: Bytes) -> Result<Option<Proposed>, Fault> {
        let Seat { phase, told, asked, overstepped, .. } = &*self.seat;
        phase.set(Phase::Scale);
        told.set(0);
        asked.said.take();
        asked.view.replace(view.clone());
        let called = self.call(ContextId::PLUGIN, Event::Autoscale { view: &view });
        self.seat.end_spans();
        // What it was asked about is over.
        phase.set(Phase::Background);
        asked.view.take();
        if let Some(fault) = overstepped.take() {
            return Err(fault);
        }
        called?;
        asked.said.take().transpose().map_err(|refused| Fault::new(Verdict::Trap, refused))
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
        let before = self.cpu();
        let called = self.call(ContextId::PLUGIN, *event);
        self.background.used(self.cpu().saturating_sub(before), &self.seat);
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
