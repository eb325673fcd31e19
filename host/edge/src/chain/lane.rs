//! A body on its way through the plugins of one side: pulled from the far end, one item at a
//! time, so that nothing is read before somebody asks for it. Long, as an item's way through lane,
//! slot and wait is read as one.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use abi::{Action, Callbacks, Event, Fault, Limit, Phase, Side, Verdict};
use bytes::Bytes;
use http_body::Body as _;

use super::Chain;
use super::events;
use super::slot::{Slot, Stage};
use crate::body::{Body, BodyError};
use crate::exchange::Stop;
use crate::reject::Reject;

/// What moves through a lane.
#[derive(Clone)]
pub enum Item {
    /// `end`: nothing follows, no trailers either.
    Data {
        bytes: Bytes,
        end: bool,
    },
    /// They are in the exchange. Nothing follows.
    Trailers,
    End,
}

pub type Pulling = Pin<Box<dyn Future<Output = Result<Item, Stop>>>>;

/// One side of an exchange.
#[derive(Default)]
pub struct Lane {
    source: RefCell<Option<Body>>,
    /// The slots in the order of their events.
    order: RefCell<Vec<Rc<Slot>>>,
    /// Pulled already, while the headers were held.
    pub ready: RefCell<VecDeque<Item>>,
}

impl Lane {
    pub fn begin(&self, source: Body) {
        self.source.replace(Some(source));
        self.order.borrow_mut().clear();
        self.ready.borrow_mut().clear();
    }

    pub fn add(&self, slot: &Rc<Slot>) {
        self.order.borrow_mut().push(slot.clone());
    }

    /// Puts `slot` where `old` stood.
    pub fn replace(&self, old: &Rc<Slot>, slot: &Rc<Slot>) {
        let mut order = self.order.borrow_mut();
        order.iter_mut().filter(|one| Rc::ptr_eq(one, old)).for_each(|one| *one = slot.clone());
    }

    /// Takes the source, if nobody along the lane wants to see what it carries.
    pub fn bypass(&self, side: Side) -> Option<Body> {
        if self.order.borrow().iter().any(|slot| is_active(slot, side)) { None } else { self.take() }
    }

    pub fn take(&self) -> Option<Body> {
        self.source.take()
    }

    /// Nothing comes along it: `side` is its own.
    pub fn is_empty(&self, side: Side) -> bool {
        let holds = |stage: &Stage| !stage.queue.borrow().is_empty() || !stage.replay.borrow().is_empty();
        let held = self.order.borrow().iter().any(|slot| holds(slot.stage(side)));
        !held && self.source.borrow().as_ref().is_none_or(Body::is_end_stream)
    }

    /// A callback waits for what comes along it, or for word that nothing does.
    pub fn is_awaited(&self, side: Side) -> bool {
        self.order.borrow().iter().any(|slot| slot.stage(side).chunks.get())
    }

    /// Lets go of everything: the source may hold the other side's body, which holds the chain.
    pub fn clear(&self) {
        self.order.borrow_mut().clear();
        self.ready.borrow_mut().clear();
        drop(self.source.take());
    }
}

/// Whether the slot sees or holds any of this side's body.
fn is_active(slot: &Slot, side: Side) -> bool {
    let stage = slot.stage(side);
    slot.has(callbacks(side))
        || stage.chunks.get()
        || stage.framer.borrow().is_some()
        || stage.drained.get()
        || !stage.queue.borrow().is_empty()
        || !stage.replay.borrow().is_empty()
        || slot.window(side).size() > 0
        || stage.pulling.borrow().is_some()
}

fn callbacks(side: Side) -> Callbacks {
    match side {
        Side::Request => Callbacks::REQUEST_BODY | Callbacks::REQUEST_TRAILERS,
        Side::Response => Callbacks::RESPONSE_BODY | Callbacks::RESPONSE_TRAILERS,
    }
}

fn phase(side: Side) -> Phase {
    match side {
        Side::Request => Phase::Request,
        Side::Response => Phase::Response,
    }
}

fn body_event(side: Side, size: usize, end_of_stream: bool) -> Event<'static> {
    match side {
        Side::Request => Event::RequestBody { size, end_of_stream },
        Side::Response => Event::ResponseBody { size, end_of_stream },
    }
}

/// The next item that comes out of the whole lane.
pub fn pull(chain: &Rc<Chain>, side: Side) -> Pulling {
    let last = chain.lane(side).order.borrow().len();
    pull_before(chain, side, last)
}

/// The next item that reaches position `place`.
fn pull_before(chain: &Rc<Chain>, side: Side, place: usize) -> Pulling {
    let order = chain.lane(side).order.borrow();
    let active = (0..place).rev().find(|at| is_active(&order[*at], side));
    let (chain, slot) = (chain.clone(), active.map(|at| (at, order[at].clone())));
    Box::pin(async move {
        match slot {
            None => pull_source(&chain, side).await,
            Some((at, slot)) => Through { chain, slot, side, place: at }.pull().await,
        }
    })
}

async fn pull_source(chain: &Rc<Chain>, side: Side) -> Result<Item, Stop> {
    let lane = chain.lane(side);
    let frame = std::future::poll_fn(|cx| {
        if let Some(stop) = chain.exchange.stopped() {
            return Poll::Ready(Err(stop));
        }
        let polled = match &mut *lane.source.borrow_mut() {
            Some(source) => Pin::new(source).poll_frame(cx),
            None => Poll::Ready(None),
        };
        if polled.is_pending() {
            chain.exchange.watch(cx);
        }
        polled.map(Ok)
    });
    match frame.await? {
        None => Ok(Item::End),
        // A body that a plugin stopped looks broken to whoever sends it.
        Some(Err(error)) => Err(chain.exchange.stopped().unwrap_or_else(|| Stop::Reject(broken(chain, side, error)))),
        Some(Ok(frame)) => match frame.into_data() {
            Ok(bytes) => {
                let count = &chain.exchange.bytes[side as usize];
                count.set(count.get() + bytes.len() as u64);
                let end = lane.source.borrow().as_ref().is_none_or(Body::is_end_stream);
                Ok(Item::Data { bytes, end })
            }
            Err(frame) => {
                *chain.exchange.trailers(side).borrow_mut() = frame.into_trailers().ok();
                Ok(Item::Trailers)
            }
        },
    }
}

pub fn broken(chain: &Chain, side: Side, error: BodyError) -> Reject {
    match (error, side) {
        (BodyError::Reject(reject), _) => reject,
        (BodyError::Closed(_) | BodyError::Cancelled(_), Side::Request) => Reject::RequestBodyBroken,
        (BodyError::Closed(detail), Side::Response) => Reject::OriginBroken { pool: chain.pool(), detail, reset: None },
        (error @ BodyError::Cancelled(_), Side::Response) => {
            Reject::OriginBroken { pool: chain.pool(), detail: error.to_string(), reset: None }
        }
    }
}

/// Holds the headers of `slot` while the whole body is read for it, then tells it so.
pub async fn fill(chain: &Rc<Chain>, side: Side, slot: &Rc<Slot>) -> Result<Action, Stop> {
    let place = chain.lane(side).order.borrow().iter().position(|s| Rc::ptr_eq(s, slot)).unwrap_or_default();
    let through = Through { chain: chain.clone(), slot: slot.clone(), side, place };
    if through.stage_is_fresh() { through.fill().await } else { Ok(Action::Continue) }
}

/// What was read whole goes on from here when the headers do.
pub fn release(slot: &Slot, side: Side, trailers: bool) {
    if slot.stage(side).drained.get() {
        slot.stage(side).queue_data(slot.window(side).take(), !trailers);
    }
}

/// A paused side waits for its plugin, no longer in all its waits than the plugin's wall time.
pub async fn wait(slot: &Slot, side: Side, chain: &Chain) -> Result<Action, Stop> {
    let resumed = std::future::poll_fn(|cx| match slot.resumed(side) {
        Some(goes_on) => Poll::Ready(goes_on),
        None => {
            chain.exchange.watch(cx);
            Poll::Pending
        }
    });
    tokio::pin!(resumed);
    let limits = &slot.bound().settings.limits;
    let (limit, most) = (limits.wall, limits.backstop().wall);
    let waited = &slot.stage(side).waited;
    let began = crate::clock::now();
    let left =
        |limit: Duration| limit.saturating_sub(waited.get() + crate::clock::now().saturating_duration_since(began));
    let mut ended = crate::clock::timeout(left(limit), &mut resumed).await;
    if ended.is_err() && most > limit {
        slot.tell_passed(Limit::Wall, &format!("paused for more than {limit:?} (limit wall)"));
        ended = crate::clock::timeout(left(most), &mut resumed).await;
    }
    match ended {
        Ok(goes_on) => {
            waited.set(waited.get() + crate::clock::now().saturating_duration_since(began));
            goes_on
        }
        Err(_) => {
            let text = format!("paused for {most:?} (limit wall)");
            slot.fail(&Fault::new(Verdict::Wall, text), "wait").map(|()| Action::Continue)
        }
    }
}

/// One slot's work on one side.
struct Through {
    chain: Rc<Chain>,
    slot: Rc<Slot>,
    side: Side,
    place: usize,
}

enum Next {
    Input(Item),
    Resumed(Action),
}

impl Through {
    async fn pull(&self) -> Result<Item, Stop> {
        let (slot, stage) = (&self.slot, self.slot.stage(self.side));
        loop {
            if let Some(item) = stage.queue.borrow_mut().pop_front() {
                return Ok(item);
            }
            match events::next(&self.chain, slot, self.side).await? {
                events::Next::Item(item) => return Ok(item),
                events::Next::Told => continue,
                events::Next::Nothing => {}
            }
            if stage.drained.get() {
                return if self.has_trailers() { self.trailers().await } else { Ok(Item::End) };
            }
            match self.input().await? {
                Item::Data { bytes, end } if events::takes(stage, &bytes, end) => stage.drained.set(end),
                Item::Trailers | Item::End if events::takes(stage, b"", true) => stage.drained.set(true),
                Item::Data { bytes, end } => {
                    if !self.sees() {
                        stage.drained.set(end);
                        return Ok(Item::Data { bytes, end });
                    }
                    let end = self.push(bytes, end);
                    self.body(end).await?;
                }
                // A callback that waits for more bytes hears that there are none; any other hears of
                // trailers in their own event.
                Item::Trailers if self.sees() && stage.chunks.get() => self.body(true).await?,
                // A body whose end was not known with its last bytes.
                Item::End if self.sees() => self.body(true).await?,
                Item::Trailers | Item::End => stage.drained.set(true),
            }
        }
    }

    /// Tells the slot what its window holds, until it lets that go on.
    async fn body(&self, mut end: bool) -> Result<(), Stop> {
        let (slot, side, stage) = (&self.slot, self.side, self.slot.stage(self.side));
        let mut action = self.tell(end)?;
        loop {
            match action {
                Action::Continue | Action::Chunk => {
                    stage.chunks.set(action == Action::Chunk);
                    stage.drained.set(end || stage.drained.get());
                    stage.queue_data(slot.window(side).take(), end && !self.has_trailers());
                    return Ok(());
                }
                Action::Pause => action = wait(slot, side, &self.chain).await?,
                Action::BufferAll => action = self.fill().await?,
                Action::Buffer if end || stage.drained.get() => action = wait(slot, side, &self.chain).await?,
                Action::Buffer => {
                    action = match self.next().await? {
                        Next::Resumed(action) => action,
                        Next::Input(Item::Data { bytes, end: last }) => {
                            end = self.push(bytes, last);
                            slot.overflows(side)?;
                            self.tell(end)?
                        }
                        Next::Input(Item::End) => {
                            end = true;
                            self.tell(end)?
                        }
                        Next::Input(Item::Trailers) => {
                            // Trailers end the body: the slot hears of them in their own event.
                            stage.drained.set(true);
                            if slot.has(trailers_callback(side)) {
                                stage.trailers_told.set(true);
                                slot.call(phase(side), &trailers_event(side))?
                            } else {
                                self.tell(true)?
                            }
                        }
                    };
                }
            }
            end |= stage.drained.get() && !self.has_trailers();
        }
    }

    /// Puts bytes before the slot, no more of them at once than it may buffer: whether a body is too long for
    /// it must not depend on the pieces that it came in. Whether the end is there then.
    fn push(&self, mut bytes: Bytes, end: bool) -> bool {
        let most = self.slot.bound().settings.limits.buffer.max(1);
        let rest = bytes.split_off(most.min(bytes.len()));
        self.slot.window(self.side).push(bytes);
        if rest.is_empty() {
            return end;
        }
        self.slot.stage(self.side).replay.borrow_mut().push_front(Item::Data { bytes: rest, end });
        false
    }

    fn tell(&self, end: bool) -> Result<Action, Stop> {
        let window = self.slot.window(self.side);
        window.open.set(true);
        let (side, size) = (self.side, window.size());
        let event = match self.slot.stage(side).chunks.get() {
            true => Event::Chunk { side, size, end_of_stream: end },
            false => body_event(side, size, end),
        };
        self.slot.call(phase(side), &event)
    }

    /// Whether the slot looks at the bytes of this side.
    fn sees(&self) -> bool {
        let waits = !self.slot.is_off() && self.slot.stage(self.side).chunks.get();
        waits || self.slot.has(body_callback(self.side))
    }

    /// Reads the rest of the body into the slot's window, then says that it is there.
    async fn fill(&self) -> Result<Action, Stop> {
        let (slot, side, stage) = (&self.slot, self.side, self.slot.stage(self.side));
        while !stage.drained.get() {
            match self.input().await? {
                Item::Data { bytes, end } => {
                    slot.window(side).push(bytes);
                    slot.overflows(side)?;
                    stage.drained.set(end);
                }
                Item::Trailers | Item::End => stage.drained.set(true),
            }
        }
        slot.window(side).open.set(true);
        slot.call(phase(side), &Event::BodyReady(side))
    }

    async fn trailers(&self) -> Result<Item, Stop> {
        let (slot, side) = (&self.slot, self.side);
        if slot.has(trailers_callback(side)) && !self.slot.stage(side).trailers_told.replace(true) {
            let mut action = slot.call(phase(side), &trailers_event(side))?;
            while action != Action::Continue {
                action = wait(slot, side, &self.chain).await?;
            }
        }
        self.slot.stage(side).trailers_passed.set(true);
        Ok(Item::Trailers)
    }

    /// Trailers have come and this slot has not passed them on.
    fn has_trailers(&self) -> bool {
        self.chain.exchange.trailers(self.side).borrow().is_some() && !self.slot.stage(self.side).trailers_passed.get()
    }

    fn stage_is_fresh(&self) -> bool {
        !self.slot.stage(self.side).drained.get()
    }

    async fn input(&self) -> Result<Item, Stop> {
        std::future::poll_fn(|cx| self.poll_input(cx)).await
    }

    /// More input, or the slot's word to go on, whichever is first.
    async fn next(&self) -> Result<Next, Stop> {
        std::future::poll_fn(|cx| {
            if let Some(goes_on) = self.slot.resumed(self.side) {
                return Poll::Ready(goes_on.map(Next::Resumed));
            }
            self.chain.exchange.watch(cx);
            self.poll_input(cx).map(|input| input.map(Next::Input))
        })
        .await
    }

    fn poll_input(&self, cx: &mut std::task::Context<'_>) -> Poll<Result<Item, Stop>> {
        let stage = self.slot.stage(self.side);
        if let Some(item) = stage.replay.borrow_mut().pop_front() {
            return Poll::Ready(Ok(item));
        }
        let kept = &stage.pulling;
        let pulling = kept.borrow_mut().take();
        let mut pulling = pulling.unwrap_or_else(|| pull_before(&self.chain, self.side, self.place));
        let polled = pulling.as_mut().poll(cx);
        if polled.is_pending() {
            *kept.borrow_mut() = Some(pulling);
        }
        if let (Poll::Ready(Ok(item)), Some(undo)) = (&polled, &mut *self.slot.undo.borrow_mut()) {
            undo.read(&self.chain.exchange, item);
        }
        polled
    }
}

fn body_callback(side: Side) -> Callbacks {
    match side {
        Side::Request => Callbacks::REQUEST_BODY,
        Side::Response => Callbacks::RESPONSE_BODY,
    }
}

fn trailers_callback(side: Side) -> Callbacks {
    match side {
        Side::Request => Callbacks::REQUEST_TRAILERS,
        Side::Response => Callbacks::RESPONSE_TRAILERS,
    }
}

fn trailers_event(side: Side) -> Event<'static> {
    match side {
        Side::Request => Event::RequestTrailers,
        Side::Response => Event::ResponseTrailers,
    }
}
