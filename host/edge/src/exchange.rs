//! The state of one exchange: what its plugins see and change. [`seat::Seat`] is how one plugin
//! sees it and implements `abi::Host`.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Instant, SystemTime};

use abi::{LocalAnswer, Side};
use http::HeaderMap;

use crate::instances::background::Background;
use crate::queue::Bell;
use crate::reject::Reject;
use crate::route::Route;
use crate::serve::Connection;
use crate::snapshot::Snapshot;
use crate::state::State;
use crate::worker::Worker;

mod callouts;
mod grpc;
pub mod headers;
mod kv;
pub mod limits;
pub mod line;
mod listener;
pub mod metric;
mod name;
pub mod origin;
pub mod property;
pub mod scale;
pub mod seat;
pub mod trace;
pub mod window;

/// What hosts of one worker share: everything that outlives an exchange.
pub struct Surroundings {
    pub state: Arc<State>,
    /// By which this worker hears of queues.
    pub bell: Arc<Bell>,
    pub metrics: metric::PluginMetrics,
    /// By plugin.
    background: RefCell<HashMap<Arc<str>, Rc<Background>>>,
    /// Set when the worker runs; a plugin that is only tried has none.
    worker: RefCell<Weak<Worker>>,
    last_token: Cell<u32>,
    last_context: Cell<u32>,
}

impl Surroundings {
    pub fn new(state: Arc<State>) -> Rc<Surroundings> {
        Rc::new(Surroundings {
            state,
            bell: Arc::default(),
            metrics: metric::PluginMetrics::default(),
            background: RefCell::default(),
            worker: RefCell::default(),
            last_token: Cell::new(0),
            last_context: Cell::new(abi::ContextId::PLUGIN.0),
        })
    }

    /// For trying plugins off to the side, with no worker and a state of their own.
    pub fn for_check() -> Rc<Surroundings> {
        Surroundings::new(Arc::default())
    }

    pub fn attach(&self, worker: &Rc<Worker>) {
        *self.worker.borrow_mut() = Rc::downgrade(worker);
    }

    pub fn worker(&self) -> Option<Rc<Worker>> {
        self.worker.borrow().upgrade()
    }

    /// What a plugin may do by itself on this worker.
    pub fn background(&self, plugin: &Arc<str>) -> Rc<Background> {
        self.background.borrow_mut().entry(plugin.clone()).or_default().clone()
    }

    /// Forgets plugins that nothing runs of any more.
    pub fn forget_background(&self) {
        self.background.borrow_mut().retain(|_, background| Rc::strong_count(background) > 1);
    }

    pub fn next_token(&self) -> abi::Token {
        self.last_token.set(self.last_token.get().wrapping_add(1).max(1));
        abi::Token(self.last_token.get())
    }

    pub fn next_context(&self) -> abi::ContextId {
        self.last_context.set(self.last_context.get().wrapping_add(1).max(abi::ContextId::PLUGIN.0 + 1));
        abi::ContextId(self.last_context.get())
    }
}

/// Why the events of an exchange end early.
#[derive(Clone, Debug)]
pub enum Stop {
    /// The plugin in this slot answered; the answer is in [`Exchange::answer`].
    Answer {
        slot: usize,
    },
    Reject(Reject),
    /// The plugin in this slot failed, and the version before it can have the exchange as it was.
    /// `reject` is for whoever cannot see to that.
    TakeOver {
        slot: usize,
        reject: Reject,
    },
}

/// One request on a route with plugins, and what became of it.
pub struct Exchange {
    pub worker: Rc<Worker>,
    pub snapshot: Arc<Snapshot>,
    pub route: Arc<Route>,
    pub connection: Rc<Connection>,
    pub id: Box<str>,
    pub started: Instant,
    pub started_at: SystemTime,
    /// Extensions stay behind in the request that is sent.
    pub request: RefCell<http::request::Parts>,
    pub request_trailers: RefCell<Option<HeaderMap>>,
    /// Headers have gone to the origin: they can be read, no longer changed.
    pub request_sent: Cell<bool>,
    pub response: RefCell<Option<http::response::Parts>>,
    pub response_trailers: RefCell<Option<HeaderMap>>,
    pub response_sent: Cell<bool>,
    pub answer: RefCell<Option<LocalAnswer>>,
    pub answered_by: RefCell<Option<SocketAddr>>,
    /// When the headers went to the origin, and when those of its answer came.
    pub sent_at: Cell<Option<Instant>>,
    pub answered_at: Cell<Option<Instant>>,
    /// Where plugins send it.
    pub choice: origin::Choice,
    /// What plugins say it counts for beyond one request.
    pub costs: RefCell<Vec<scale::Cost>>,
    /// Values that plugins share along the chain.
    pub shared: RefCell<Vec<(String, Vec<u8>)>>,
    pub bytes: [Cell<u64>; 2],
    pub trace: trace::Trace,
    stop: RefCell<Option<Stop>>,
    wakers: RefCell<Vec<Waker>>,
}

impl Exchange {
    pub fn new(
        worker: &Rc<Worker>,
        snapshot: &Arc<Snapshot>,
        route: &Arc<Route>,
        connection: &Rc<Connection>,
        id: &str,
        request: http::request::Parts,
    ) -> Exchange {
        Exchange {
            worker: worker.clone(),
            snapshot: snapshot.clone(),
            route: route.clone(),
            connection: connection.clone(),
            id: id.into(),
            started: crate::clock::now(),
            started_at: crate::clock::wall(),
            request: RefCell::new(request),
            request_trailers: RefCell::default(),
            request_sent: Cell::new(false),
            response: RefCell::default(),
            response_trailers: RefCell::default(),
            response_sent: Cell::new(false),
            answer: RefCell::default(),
            answered_by: RefCell::default(),
            sent_at: Cell::new(None),
            answered_at: Cell::new(None),
            choice: origin::Choice::of(route),
            costs: RefCell::default(),
            shared: RefCell::default(),
            bytes: Default::default(),
            trace: trace::Trace::default(),
            stop: RefCell::default(),
            wakers: RefCell::default(),
        }
    }

    pub fn sent(&self, side: Side) -> bool {
        match side {
            Side::Request => self.request_sent.get(),
            Side::Response => self.response_sent.get(),
        }
    }

    pub fn trailers(&self, side: Side) -> &RefCell<Option<HeaderMap>> {
        match side {
            Side::Request => &self.request_trailers,
            Side::Response => &self.response_trailers,
        }
    }

    /// Ends the events of this exchange from outside their order (a callout's callback that
    /// answers, a fault while a body streams). The first reason stands.
    pub fn stop(&self, stop: Stop) {
        self.stop.borrow_mut().get_or_insert(stop);
        self.wake();
    }

    /// Given to everyone who waits; taken by whoever carries it out.
    pub fn stopped(&self) -> Option<Stop> {
        self.stop.borrow().clone()
    }

    pub fn take_stop(&self) -> Option<Stop> {
        self.stop.borrow_mut().take()
    }

    /// Has the current task polled again when anything of this exchange changes.
    pub fn watch(&self, cx: &Context<'_>) {
        let mut wakers = self.wakers.borrow_mut();
        if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
    }

    pub fn wake(&self) {
        let wakers = std::mem::take(&mut *self.wakers.borrow_mut());
        wakers.into_iter().for_each(Waker::wake);
    }
}
