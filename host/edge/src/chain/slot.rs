//! One plugin's place in the chain of one exchange: its context, and where each side stands.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use abi::{Action, Callbacks, ContextId, Event, Fault, Limit, Phase, Side, Verdict};
use bytes::Bytes;
use tokio::task::AbortHandle;

use super::lane::{Item, Pulling};
use super::takeover::Undo;
use crate::clock;
use crate::event_stream::Framer;
use crate::exchange::seat::{Home, Seat};
use crate::exchange::window::Window;
use crate::exchange::{Exchange, Stop};
use crate::instances::Lease;
use crate::instances::room::Held;
use crate::life::{Life, Probe};
use crate::plugins::Bound;
use crate::reject::Reject;

mod fault;

pub use fault::{judge, report};

pub struct Slot {
    pub index: usize,
    pub role: Role,
    exchange: Rc<Exchange>,
    seat: Rc<Seat>,
    context: ContextId,
    /// Given back when the context is closed.
    lease: RefCell<Option<Lease>>,
    /// It failed and the exchange goes on without it, or the exchange has ended.
    off: Cell<bool>,
    /// It has been told of the request or the response.
    told: Cell<bool>,
    /// What the version before it needs to take the exchange over, as long as it can.
    pub undo: RefCell<Option<Box<Undo>>>,
    pub stages: [Stage; 2],
    /// Callouts and timers that end with the exchange; those that its end started with the context.
    tasks: RefCell<Vec<AbortHandle>>,
    /// How many of those that the end of the exchange started are still to be told of.
    pub(super) late: Cell<u32>,
}

/// Who serves at a place of the route.
#[derive(Clone)]
pub struct Role {
    pub life: Arc<Life>,
    /// The exchange tries whether it may serve again.
    pub probe: Option<Rc<Probe>>,
    /// The version before it serves in its place.
    pub stands_in: bool,
}

/// Where one side of a slot stands.
#[derive(Default)]
pub struct Stage {
    /// `Host::resume` was called since the last event of this side.
    resumed: Cell<bool>,
    /// The answer to an event that came while the side was paused.
    answer: Cell<Option<Action>>,
    /// A callback goes on with the next bytes.
    pub chunks: Cell<bool>,
    /// How long it has been paused in all.
    pub waited: Cell<Duration>,
    /// What this slot lets through next, before it asks for more input.
    pub queue: RefCell<VecDeque<Item>>,
    /// All input was read.
    pub drained: Cell<bool>,
    pub trailers_told: Cell<bool>,
    pub trailers_passed: Cell<bool>,
    /// Input that the version after this one had read before it failed: it comes first.
    pub replay: RefCell<VecDeque<Item>>,
    /// Of an event stream whose events are told: what has come of the next one.
    pub framer: RefCell<Option<Box<Framer>>>,
    /// Input being pulled: kept across an interruption, so that nothing is lost.
    pub pulling: RefCell<Option<Pulling>>,
}

impl Slot {
    /// Opens the context of this exchange in an instance.
    pub fn open(
        index: usize,
        role: Role,
        exchange: &Rc<Exchange>,
        mut lease: Lease,
    ) -> Result<Rc<Slot>, (Role, Fault)> {
        lease.serve(exchange);
        let surroundings = &exchange.worker.instances.surroundings;
        let context = surroundings.next_context();
        let slot = Rc::new_cyclic(|slot| {
            let home = Home::Exchange { exchange: exchange.clone(), slot: slot.clone() };
            let log = &lease.running().log;
            let seat = Rc::new(Seat::new(role.bound(), surroundings, log, home, Phase::Request));
            Slot {
                index,
                role,
                exchange: exchange.clone(),
                seat,
                context,
                lease: RefCell::new(Some(lease)),
                off: Cell::new(false),
                told: Cell::new(false),
                undo: RefCell::default(),
                stages: Default::default(),
                tasks: RefCell::default(),
                late: Cell::new(0),
            }
        });
        let opened = match &*slot.lease.borrow() {
            Some(lease) => lease.running().open(context, slot.seat.clone()),
            None => Ok(()),
        };
        opened.map(|()| slot.clone()).map_err(|fault| {
            let cost = fault.cpu + slot.lost();
            let fault = fault.with_cpu(cost);
            slot.close();
            (slot.role.clone(), fault)
        })
    }

    pub fn bound(&self) -> &Arc<Bound> {
        &self.seat.bound
    }

    pub fn was_told(&self) -> bool {
        self.told.get()
    }

    pub fn is_off(&self) -> bool {
        self.off.get()
    }

    pub fn has(&self, callbacks: Callbacks) -> bool {
        !self.off.get() && self.bound().code.callbacks().intersects(callbacks)
    }

    pub fn stage(&self, side: Side) -> &Stage {
        &self.stages[side as usize]
    }

    pub fn window(&self, side: Side) -> &Window {
        self.seat.window(side)
    }

    /// Tells the plugin an event. A fault that its policy passes over answers `Continue`.
    pub fn call(&self, phase: Phase, event: &Event<'_>) -> Result<Action, Stop> {
        if self.off.get() {
            return Ok(Action::Continue);
        }
        if let Some(verdict) = self.orphaned() {
            return self.lose(verdict, event.callback()).map(|()| Action::Continue);
        }
        let side = if phase == Phase::Response { Side::Response } else { Side::Request };
        // The end of a callout or a timer takes no word back that another has given, nor does an
        // attempt, which may come while the body still passes.
        if !matches!(
            event,
            Event::Callout { .. }
                | Event::Timer { .. }
                | Event::Reply { .. }
                | Event::Grpc { .. }
                | Event::OriginSelect { .. }
        ) {
            self.stage(side).resumed.set(false);
        }
        self.seat.phase.set(phase);
        self.told.set(self.told.get() || phase != Phase::Log);
        if let Event::Callout { result: Ok(response), .. } = event {
            // What is too much has not been read; in shadow mode some of it has.
            self.seat.may(Limit::Buffer, response.body.len() as u64, self.bound().settings.limits.buffer as u64);
        }
        let plugin = &self.bound().settings.plugin;
        self.exchange.worker.telemetry.plugin_call(plugin, event.callback());
        let called = match &*self.lease.borrow() {
            Some(lease) => lease.running().call(self.context, *event),
            None => Ok(Action::Continue),
        };
        let overstepped = self.seat.overstepped.borrow_mut().take();
        if let Some(fault) = overstepped.or_else(|| called.as_ref().err().cloned()) {
            self.fail(&fault, event.callback())?;
            return Ok(Action::Continue);
        }
        if phase == Phase::Log {
            // Nothing can be stopped any more.
            return called.or(Ok(Action::Continue));
        }
        match self.exchange.stopped() {
            Some(stop) => Err(stop),
            None if self.exchange.answer.borrow().is_some() => Err(Stop::Answer { slot: self.index }),
            None => called.or(Ok(Action::Continue)),
        }
    }

    /// An event that the plugin waited for; `side` is the one that it may let go on.
    pub fn deliver(&self, side: Side, event: &Event<'_>) {
        if self.off.get() {
            return;
        }
        let phase = match side {
            Side::Request => Phase::Request,
            Side::Response => Phase::Response,
        };
        match self.call(phase, event) {
            Ok(Action::Pause) => {}
            Ok(action) => self.stage(side).answer.set(Some(action)),
            Err(stop) => self.exchange.stop(stop),
        }
        self.exchange.wake();
    }

    pub fn resume(&self, side: Side) {
        self.stage(side).resumed.set(true);
        self.exchange.wake();
    }

    /// How a paused side goes on, if it does.
    pub fn resumed(&self, side: Side) -> Option<Result<Action, Stop>> {
        if let Some(stop) = self.exchange.stopped() {
            return Some(Err(stop));
        }
        if let Some(verdict) = self.orphaned() {
            return Some(self.lose(verdict, "wait").map(|()| Action::Continue));
        }
        let stage = self.stage(side);
        let goes_on = stage.resumed.take() || self.off.get();
        stage.answer.take().or(goes_on.then_some(Action::Continue)).map(Ok)
    }

    /// A task that ends with the exchange, or, where its end has started it, with the context.
    pub fn own(&self, task: AbortHandle) {
        let mut tasks = self.tasks.borrow_mut();
        tasks.retain(|task| !task.is_finished());
        tasks.push(task);
    }

    /// Something that it started has not ended yet.
    pub fn waits(&self) -> bool {
        self.tasks.borrow().iter().any(|task| !task.is_finished())
    }

    /// Nothing of this side has happened.
    pub fn forget(&self, side: Side) {
        self.stage(side).forget();
        self.window(side).take();
    }

    /// The exchange ends, and the plugin has not failed in it.
    pub(super) fn prove(&self) {
        // What was lost with its instance proves nothing.
        if self.told.get() && !self.off.get() && !self.role.stands_in && self.orphaned().is_none() {
            self.role.life.served(self.role.probe.as_deref());
        }
    }

    /// Whether `Host::resume` was called for a side, and takes that word.
    pub(super) fn released(&self) -> bool {
        // Both are asked, so that both are taken.
        self.stages.iter().fold(false, |said, stage| stage.resumed.take() | said)
    }

    /// Ends what it has started.
    pub(super) fn drop_tasks(&self) {
        self.tasks.borrow_mut().drain(..).for_each(|task| task.abort());
    }

    pub(super) fn exchange(&self) -> &Rc<Exchange> {
        &self.exchange
    }

    /// The exchange has ended, and the plugin is not done with it.
    pub(super) fn gives_way(&self) -> Option<Rc<Held>> {
        self.lease.borrow_mut().as_mut().and_then(Lease::linger)
    }

    pub(super) fn close(&self) {
        self.off.set(true);
        self.drop_tasks();
        if let Some(lease) = self.lease.borrow_mut().take() {
            // Wherever the exchange stands, this context's part in it is over.
            self.seat.phase.set(Phase::Log);
            lease.running().close(self.context);
            self.seat.end_spans();
        }
    }

    /// A limit of the plugin was passed, in shadow mode.
    pub fn tell_passed(&self, limit: Limit, what: &str) {
        self.seat.tell_passed(limit, what);
    }

    /// More bytes than the plugin's limit are buffered for it.
    pub fn overflows(&self, side: Side) -> Result<(), Stop> {
        self.holds(side, self.window(side).size())
    }

    /// So many bytes are buffered for the plugin.
    pub fn holds(&self, side: Side, held: usize) -> Result<(), Stop> {
        let most = self.bound().settings.limits.buffer;
        if self.is_off() || self.seat.may(Limit::Buffer, held as u64, most as u64) {
            return Ok(());
        }
        let text = format!("buffered {held} bytes of body (limit buffer: {most})");
        // Not of its crash budget: how long a body is was for somebody else to say.
        report(&self.role, &self.exchange, &self.placed(&Fault::new(Verdict::Buffer, text)), "buffer");
        self.close();
        Err(Stop::Reject(match side {
            Side::Request => Reject::RequestBodyTooLarge,
            Side::Response => Reject::ResponseBodyTooLarge { plugin: self.bound().settings.plugin.clone() },
        }))
    }
}

impl Stage {
    fn forget(&self) {
        // Its waits are kept: what it has used up stays used up.
        let Stage {
            resumed,
            answer,
            queue,
            drained,
            trailers_told,
            trailers_passed,
            replay,
            pulling,
            chunks,
            framer,
            waited: _,
        } = self;
        [resumed, drained, trailers_told, trailers_passed, chunks].iter().for_each(|said| said.set(false));
        answer.set(None);
        queue.borrow_mut().clear();
        replay.borrow_mut().clear();
        pulling.take();
        framer.take();
    }

    pub fn queue(&self, item: Item) {
        self.queue.borrow_mut().push_back(item);
    }

    pub fn queue_data(&self, bytes: Bytes, end: bool) {
        if end || !bytes.is_empty() {
            self.queue(Item::Data { bytes, end });
        }
    }
}

impl Role {
    /// The version that serves.
    pub fn bound(&self) -> &Arc<Bound> {
        match &self.life.good {
            Some(good) if self.stands_in => good,
            _ => &self.life.bound,
        }
    }

    /// It has failed, at this cost of CPU time; of the version before it nobody keeps count, as nothing stands in for it.
    pub fn fault(&self, cost: Duration) {
        if !self.stands_in {
            self.life.fault(clock::now(), cost, self.probe.as_deref());
        }
    }
}
