//! Under `last_good`, the version before a plugin that failed takes the exchange over, as if the
//! failed one had never had it.
//!
//! It can as long as nobody else has seen what the failed one made of the exchange: it stands last
//! of those that were told of this side, and the side's headers have not gone to origin or client.
//! So a request is taken over up to the end of its header event with all waits in it, and, where no
//! plugin stands behind, while its body is read for it (whole, or with a stated length of up to 64
//! KiB). Headers, what it shared with later plugins, the origin it chose and body edits are undone: the version before
//! is told the same headers, and the same body from its first byte. A response is taken over if its
//! headers are the first that the plugin was told, and the version before would not have been told
//! of the request. In all other cases the exchange ends as under `closed`. What a plugin did
//! outside of the exchange (callouts, dictionaries, metrics) stays done, and may be done again.

use std::rc::Rc;

use abi::{Callbacks, Side};
use http::HeaderMap;

use super::Chain;
use super::lane::Item;
use super::slot::{Role, Slot};
use crate::body::Body;
use crate::exchange::origin::Choice;
use crate::exchange::{Exchange, Stop};

/// An exchange as a plugin found it, and what it has read since.
pub struct Undo {
    side: Side,
    head: Head,
    trailers: Option<HeaderMap>,
    shared: Vec<(String, Vec<u8>)>,
    choice: Choice,
    end_of_stream: bool,
    input: Vec<Item>,
}

enum Head {
    Request(http::request::Parts),
    Response(Option<http::response::Parts>),
}

impl Undo {
    fn take(exchange: &Exchange, side: Side, end_of_stream: bool) -> Undo {
        let head = match side {
            Side::Request => Head::Request(exchange.request.borrow().clone()),
            Side::Response => Head::Response(exchange.response.borrow().clone()),
        };
        let trailers = exchange.trailers(side).borrow().clone();
        let shared = exchange.shared.borrow().clone();
        let choice = exchange.choice.clone();
        Undo { side, head, trailers, shared, choice, end_of_stream, input: Vec::new() }
    }

    /// The plugin has got `item`.
    pub fn read(&mut self, exchange: &Exchange, item: &Item) {
        if let Item::Trailers = item {
            self.trailers = exchange.trailers(self.side).borrow().clone();
        }
        self.input.push(item.clone());
    }

    /// Brings the exchange back; what was read of its body is left to whoever comes next.
    fn carry_out(self, exchange: &Exchange) -> Vec<Item> {
        match self.head {
            Head::Request(head) => *exchange.request.borrow_mut() = head,
            Head::Response(head) => *exchange.response.borrow_mut() = head,
        }
        *exchange.trailers(self.side).borrow_mut() = self.trailers;
        *exchange.shared.borrow_mut() = self.shared;
        exchange.choice.restore(self.choice);
        self.input
    }
}

impl Chain {
    /// The events of a side come to `slot`: those before it have passed on what they made of it.
    pub(super) fn reach(&self, slot: &Rc<Slot>, side: Side) {
        self.forget_undo();
        if slot.role.stands_in || slot.was_told() {
            return;
        }
        let Some(good) = &slot.role.life.good else { return };
        const REQUEST: Callbacks =
            Callbacks::REQUEST_HEADERS.union(Callbacks::REQUEST_BODY).union(Callbacks::REQUEST_TRAILERS);
        if side == Side::Response && good.code.callbacks().intersects(REQUEST) {
            return;
        }
        let end_of_stream = self.lane(side).is_empty(side);
        *slot.undo.borrow_mut() = Some(Box::new(Undo::take(&self.exchange, side, end_of_stream)));
    }

    pub(super) fn forget_undo(&self) {
        self.slots.borrow().iter().flatten().for_each(|slot| drop(slot.undo.take()));
    }

    /// Tells a slot the headers of a side, or the version before it if it fails.
    pub(super) async fn headers(self: &Rc<Chain>, slot: &Rc<Slot>, side: Side, end: bool) -> Result<(), Stop> {
        match self.tell_headers(slot, side, end).await {
            Err(stop) => self.take_over(stop, side).await,
            Ok(()) => Ok(()),
        }
    }

    /// What a side hands on when its headers have passed.
    pub(super) async fn outcome(self: &Rc<Chain>, side: Side) -> Result<Body, Stop> {
        match self.pass_on(side).await {
            Err(stop) => {
                self.take_over(stop, side).await?;
                self.pass_on(side).await
            }
            passed => passed,
        }
    }

    /// Puts the version before it in the place of a slot that failed, if that is why it stopped.
    async fn take_over(self: &Rc<Chain>, stop: Stop, side: Side) -> Result<(), Stop> {
        let Stop::TakeOver { slot: place, .. } = stop else { return Err(stop) };
        let failed = self.slots.borrow()[place].clone();
        let undone = failed.and_then(|failed| Some((failed.undo.take()?, failed)));
        let Some((undo, failed)) = undone else { return Err(stop) };
        // It may also stand there, where the plugin failed after a wait.
        if matches!(self.exchange.stopped(), Some(Stop::TakeOver { .. })) {
            self.exchange.take_stop();
        }
        let role = Role { life: failed.role.life.clone(), probe: None, stands_in: true };
        tracing::info!(
            target: "forebay::life", plugin = &**role.life.plugin(), route = &*self.exchange.route.name,
            request_id = &*self.exchange.id, version = &*role.bound().settings.version,
            "the version before takes the exchange over"
        );
        let end_of_stream = undo.end_of_stream;
        let input = undo.carry_out(&self.exchange);
        let slot = match self.open(place, role).await? {
            Ok(slot) => slot,
            Err((role, why)) => return self.unready(&role, &why),
        };
        let (new, old) = (slot.stage(side), failed.stage(side));
        new.replay.borrow_mut().extend(input);
        // Nobody else knows what is being read from those before it.
        *new.pulling.borrow_mut() = old.pulling.take();
        let lane = self.lane(side);
        lane.ready.borrow_mut().clear();
        lane.replace(&failed, &slot);
        self.slots.borrow_mut()[place] = Some(slot.clone());
        self.tell_headers(&slot, side, end_of_stream).await
    }
}
