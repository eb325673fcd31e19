//! Tells each plugin of a route the events of an exchange, in order, and pulls its bodies
//! through them. Long, as it is the whole path of an exchange, from top to bottom.
//!
//! Request events go through the plugins in the order of the route, response events backwards.
//! A plugin that answers in place of the origin has its answer passed back through the plugins
//! that stand before it: they saw the request, so they see what became of it; the plugin itself
//! and those behind it do not.
//!
//! - [`slot`]: one plugin's place in the chain; its faults; [`ending`]: how it is told of the end
//! - [`opening`]: how a plugin comes to its place
//! - [`select`]: what plugins say before an attempt
//! - [`body`]: what goes on to origin and client, [`frame`] its length; [`answer`]: responses that no origin gave
//! - [`lane`]: a body on its way through the slots of one side
//! - [`takeover`]: the version before a plugin that failed takes its exchange over

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use abi::{Action, Callbacks, Event, Phase, Side};
use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;

use crate::body::Body;
use crate::clock;
use crate::exchange::{Exchange, Stop};
use crate::life::Admission;
use crate::origin;
use crate::reject::Reject;
use crate::route::Route;
use crate::serve::{Connection, forward};
use crate::snapshot::Snapshot;
use crate::worker::Worker;

pub mod answer;
pub mod body;
pub mod ending;
pub mod events;
pub mod frame;
pub mod lane;
mod opening;
mod select;
pub mod slot;
pub mod takeover;

use answer::{direct_response, local_response};
pub use body::ChainBody;
use lane::{Item, Lane};
use slot::{Role, Slot};

/// A body with a stated length up to this is run through the plugins before its headers are
/// sent: its true length is then known, and a plugin that holds the body back holds the headers
/// too. A longer one is sent without a length.
const HELD_BODY: usize = 64 << 10;

/// The plugins of one exchange.
pub struct Chain {
    exchange: Rc<Exchange>,
    /// By place in the route; opened when the first event reaches it.
    slots: RefCell<Vec<Option<Rc<Slot>>>>,
    /// What the exchange found at each place when it came there; it holds to the end.
    admitted: RefCell<Vec<Option<Admission>>>,
    lanes: [Lane; 2],
    /// The client asked for headers alone, whatever a plugin made of the method.
    headless: bool,
}

/// What the chain made of a request: a response (of the origin, of a plugin), and what is to be
/// said of it. `detail` is for the access log.
pub struct Answered {
    pub response: Response<Body>,
    pub detail: Option<String>,
    /// The pool that it went to, which plugins may have chosen.
    pub pool: Option<Arc<str>>,
}

/// Tells the plugins that the exchange has ended, however it did.
pub struct Finish(Rc<Chain>);

/// Serves a request on a route with plugins: request events in order, the origin, response
/// events in reverse order; `on_log` when the response body has ended or was dropped. Hop-by-hop
/// headers have been removed and forwarding headers set by the caller.
pub async fn serve(
    worker: &Rc<Worker>,
    snapshot: &Arc<Snapshot>,
    route: &Arc<Route>,
    connection: &Rc<Connection>,
    request_id: &str,
    request: Request<Body>,
) -> Result<Answered, Reject> {
    let (mut parts, body) = request.into_parts();
    let extensions = std::mem::take(&mut parts.extensions);
    let exchange = Exchange::new(worker, snapshot, route, connection, request_id, parts);
    let exchange = Rc::new(exchange);
    let chain = Chain::new(exchange.clone(), route.plugins.len());
    let finish = Finish(chain.clone());
    let mut detail = None;
    let answered = match chain.request(body).await {
        Ok(body) => chain.origin(extensions, body).await,
        Err(stop) => Err(stop),
    };
    // What was stopped in the very moment of the origin's answer is stopped.
    let answered = match chain.exchange.take_stop() {
        Some(stop) => Err(stop),
        None => answered,
    };
    let (mut response, mut below) = match answered {
        Ok(response) => (response, route.plugins.len()),
        Err(Stop::Answer { slot }) => (chain.local_answer(&mut detail), slot),
        Err(Stop::Reject(reject) | Stop::TakeOver { reject, .. }) => return Err(chain.refused(reject)),
    };
    loop {
        match chain.response(response, below).await {
            Ok((parts, body)) => {
                let body = Body::Chain(Box::pin(body.ending(finish)));
                let pool = exchange.choice.pool();
                return Ok(Answered { response: Response::from_parts(parts, body), detail, pool });
            }
            Err(Stop::Answer { slot }) => {
                chain.exchange.take_stop();
                (response, below) = (chain.local_answer(&mut detail), slot);
            }
            Err(Stop::Reject(reject) | Stop::TakeOver { reject, .. }) => return Err(chain.refused(reject)),
        }
    }
}

impl Chain {
    fn new(exchange: Rc<Exchange>, plugins: usize) -> Rc<Chain> {
        let slots = RefCell::new(std::iter::repeat_with(|| None).take(plugins).collect());
        let admitted = RefCell::new(vec![None; plugins]);
        let headless = exchange.request.borrow().method == Method::HEAD;
        Rc::new(Chain { exchange, slots, admitted, lanes: Default::default(), headless })
    }

    pub fn lane(&self, side: Side) -> &Lane {
        &self.lanes[side as usize]
    }

    /// Where the request goes, for messages.
    pub fn pool(&self) -> Arc<str> {
        self.exchange.choice.pool().unwrap_or_default()
    }

    /// Who serves at this place, if anybody does.
    fn role(&self, place: usize) -> Result<Option<Role>, Stop> {
        let life = &self.exchange.route.plugins[place];
        let mut admitted = self.admitted.borrow_mut();
        let (probe, stands_in) = match admitted[place].get_or_insert_with(|| life.admit(clock::now)) {
            Admission::Own(probe) => (probe.clone(), false),
            Admission::StandIn => (None, true),
            Admission::PassedBy => return Ok(None),
            Admission::Refused => return Err(Stop::Reject(Reject::PluginDisabled { plugin: life.plugin().clone() })),
        };
        Ok(Some(Role { life: life.clone(), probe, stands_in }))
    }

    /// Request events, up to what is handed to the origin.
    async fn request(self: &Rc<Chain>, body: Body) -> Result<Body, Stop> {
        // A plugin that the request has reached is told of its end, also where it wants no more.
        const SIDE: Callbacks = Callbacks::REQUEST_HEADERS
            .union(Callbacks::REQUEST_BODY)
            .union(Callbacks::REQUEST_TRAILERS)
            .union(Callbacks::DONE)
            .union(Callbacks::LOG);
        let lane = self.lane(Side::Request);
        lane.begin(body);
        for place in 0..self.exchange.route.plugins.len() {
            let Some(slot) = self.slot(place, SIDE).await? else { continue };
            let end_of_stream = lane.is_empty(Side::Request);
            self.reach(&slot, Side::Request);
            lane.add(&slot);
            self.headers(&slot, Side::Request, end_of_stream).await?;
        }
        self.outcome(Side::Request).await
    }

    /// Response events of the slots under `below`, backwards.
    async fn response(
        self: &Rc<Chain>,
        response: Response<Body>,
        below: usize,
    ) -> Result<(http::response::Parts, ChainBody), Stop> {
        const SIDE: Callbacks = Callbacks::RESPONSE_HEADERS
            .union(Callbacks::RESPONSE_BODY)
            .union(Callbacks::RESPONSE_EVENT)
            .union(Callbacks::RESPONSE_TRAILERS);
        let (mut parts, body) = response.into_parts();
        let extensions = std::mem::take(&mut parts.extensions);
        if parts.status != StatusCode::SWITCHING_PROTOCOLS {
            // What belongs to the origin's connection is no plugin's to read or to write back.
            forward::response(&mut parts.headers);
        }
        *self.exchange.answered_by.borrow_mut() = extensions.get::<origin::Answerer>().map(|a| a.address);
        if self.exchange.answered_by.borrow().is_some() {
            self.exchange.answered_at.set(Some(clock::now()));
        }
        *self.exchange.response.borrow_mut() = Some(parts);
        *self.exchange.response_trailers.borrow_mut() = None;
        let lane = self.lane(Side::Response);
        lane.begin(body);
        // Of an answer that this one replaces.
        self.slots.borrow().iter().flatten().for_each(|slot| slot.forget(Side::Response));
        for place in (0..below).rev() {
            let Some(slot) = self.slot(place, SIDE).await? else { continue };
            let end_of_stream = lane.is_empty(Side::Response);
            self.reach(&slot, Side::Response);
            lane.add(&slot);
            self.headers(&slot, Side::Response, end_of_stream).await?;
            events::begin(self, &slot);
        }
        let body = match self.outcome(Side::Response).await? {
            Body::Chain(body) => *Pin::into_inner(body),
            other => ChainBody::passing(self, Side::Response, other),
        };
        let mut parts = self.response_parts();
        parts.extensions = extensions;
        let bodiless = matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if (bodiless || self.headless) && !body.is_end_stream() {
            // The status is a plugin's: the length is that of a body which no longer exists. Of HEAD it is what
            // another method would be answered with.
            if bodiless {
                parts.headers.remove(CONTENT_LENGTH);
            }
            self.lane(Side::Response).clear();
            return Ok((parts, ChainBody::passing(self, Side::Response, Body::Empty)));
        }
        Ok((parts, body))
    }

    /// Tells a slot the headers of a side, until they may go on.
    async fn tell_headers(self: &Rc<Chain>, slot: &Rc<Slot>, side: Side, end_of_stream: bool) -> Result<(), Stop> {
        let (callback, phase, event) = match side {
            Side::Request => (Callbacks::REQUEST_HEADERS, Phase::Request, Event::RequestHeaders { end_of_stream }),
            Side::Response => (Callbacks::RESPONSE_HEADERS, Phase::Response, Event::ResponseHeaders { end_of_stream }),
        };
        if !slot.has(callback) {
            return Ok(());
        }
        let action = slot.call(phase, &event)?;
        self.settle(slot, side, action).await
    }

    /// Carries out what a header event was answered with, until the headers may go on.
    async fn settle(self: &Rc<Chain>, slot: &Rc<Slot>, side: Side, mut action: Action) -> Result<(), Stop> {
        loop {
            action = match action {
                Action::Continue => break,
                Action::Pause => lane::wait(slot, side, self).await?,
                Action::Buffer | Action::BufferAll => lane::fill(self, side, slot).await?,
                Action::Chunk => {
                    slot.stage(side).chunks.set(true);
                    break;
                }
            };
        }
        lane::release(slot, side, self.exchange.trailers(side).borrow().is_some());
        Ok(())
    }

    /// What a side hands on when its headers have passed: headers with true framing, and a body.
    async fn pass_on(self: &Rc<Chain>, side: Side) -> Result<Body, Stop> {
        let lane = self.lane(side);
        if lane.is_empty(side) && !lane.is_awaited(side) {
            // Nobody is told of a body that is not there.
            self.frame_nothing(side);
            self.exchange_sent(side)?;
            return Ok(lane.take().unwrap_or(Body::Empty));
        }
        let Some(body) = lane.bypass(side) else {
            let length = if self.has_length(side) { self.hold(side).await? } else { None };
            self.frame(side, length);
            self.exchange_sent(side)?;
            if length == Some(0) && self.exchange.trailers(side).borrow().is_none() {
                return Ok(Body::Empty);
            }
            return Ok(Body::Chain(Box::pin(ChainBody::pulled(self, side, length))));
        };
        // A length that a plugin wrote is not to be trusted; a body that has none says so itself.
        if !body.is_end_stream() {
            self.frame(side, body.size_hint().exact());
        }
        self.exchange_sent(side)?;
        Ok(body)
    }

    /// Pulls the body as far as [`HELD_BODY`]. Its length, if its end was reached.
    async fn hold(self: &Rc<Chain>, side: Side) -> Result<Option<u64>, Stop> {
        let lane = self.lane(side);
        let mut held = 0;
        while held <= HELD_BODY {
            let item = lane::pull(self, side).await?;
            if let Item::Data { bytes, .. } = &item {
                held += bytes.len();
            }
            let last = !matches!(item, Item::Data { end: false, .. });
            lane.ready.borrow_mut().push_back(item);
            if last {
                return Ok(Some(held as u64));
            }
        }
        Ok(None)
    }

    /// The headers of a side go out, unless the exchange was stopped meanwhile.
    fn exchange_sent(&self, side: Side) -> Result<(), Stop> {
        if let Some(stop) = self.exchange.stopped() {
            return Err(stop);
        }
        match side {
            Side::Request => {
                self.exchange.request_sent.set(true);
                self.exchange.sent_at.set(Some(clock::now()));
            }
            Side::Response => self.exchange.response_sent.set(true),
        }
        self.forget_undo();
        Ok(())
    }

    /// The client gets a refusal in place of any answer, and `on_log` sees what the client got.
    fn refused(&self, reject: Reject) -> Reject {
        let answer = (!matches!(reject, Reject::PluginAbort { .. })).then(|| reject.response().into_parts().0);
        *self.exchange.response.borrow_mut() = answer;
        reject
    }

    /// Sends the request where the route says. A plugin whose callout ends meanwhile may still
    /// answer in the origin's place.
    async fn origin(self: &Rc<Chain>, extensions: http::Extensions, body: Body) -> Result<Response<Body>, Stop> {
        let exchange = &self.exchange;
        if let config::RouteTo::Respond(direct) = &exchange.route.spec.to {
            return Ok(direct_response(direct));
        }
        // Before an attempt nothing can be waited for.
        for place in 0..exchange.route.plugins.len() {
            self.slot(place, Callbacks::ORIGIN_SELECT).await?;
        }
        let mut parts = exchange.request.borrow().clone();
        parts.extensions = extensions;
        exchange.trace.pass_on(&mut parts.headers);
        let request = Request::from_parts(parts, body);
        let ask = |attempt| self.select(attempt);
        let steer = origin::Steer { choice: &exchange.choice, ask: &ask };
        let sent = origin::send_steered(&exchange.worker, &exchange.snapshot, &steer, request);
        tokio::pin!(sent);
        let response = std::future::poll_fn(|cx| {
            if let Some(stop) = exchange.stopped() {
                return Poll::Ready(Err(stop));
            }
            exchange.watch(cx);
            sent.as_mut().poll(cx).map(|response| response.map_err(Stop::Reject))
        });
        // A body that a plugin stopped looks like a broken request to whoever sends it.
        response.await.map_err(|stop| exchange.stopped().unwrap_or(stop))
    }

    fn local_answer(&self, detail: &mut Option<String>) -> Response<Body> {
        let answer = self.exchange.answer.borrow_mut().take().unwrap_or_default();
        if !answer.detail.is_empty() {
            *detail = Some(answer.detail.clone());
        }
        local_response(answer, &self.exchange)
    }

    /// The headers to send; a copy stays where any plugin may still read them.
    fn response_parts(&self) -> http::response::Parts {
        const LATER: Callbacks = Callbacks::LOG
            .union(Callbacks::DONE)
            .union(Callbacks::RESPONSE_BODY)
            .union(Callbacks::RESPONSE_EVENT)
            .union(Callbacks::RESPONSE_TRAILERS);
        let reads = |slot: &Rc<Slot>| slot.has(LATER) || slot.waits() || slot.stage(Side::Response).chunks.get();
        let read = self.slots.borrow().iter().flatten().any(reads);
        let mut response = self.exchange.response.borrow_mut();
        let parts = if read { response.clone() } else { response.take() };
        parts.unwrap_or_else(|| Response::new(()).into_parts().0)
    }

    fn finish(&self) {
        let slots = std::mem::take(&mut *self.slots.borrow_mut());
        slots.iter().flatten().for_each(|slot| slot.finish());
        self.admitted.borrow_mut().clear();
        self.lanes.iter().for_each(Lane::clear);
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        self.0.finish();
    }
}
