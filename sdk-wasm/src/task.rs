//! async/await for what waits: callouts, key-value stores, sleeps.
//!
//! An exchange whose callbacks may wait is an [`AsyncHttpContext`], which [`http`] makes the
//! `proxy-wasm` crate's `HttpContext`:
//!
//! ```ignore
//! fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
//!     Some(task::http(context_id, Exchange))
//! }
//!
//! impl AsyncHttpContext for Exchange {
//!     async fn on_http_request_headers(self: Rc<Self>, _count: usize, _end: bool) -> Action {
//!         match kv::get("sessions", b"k").await {
//!             Ok(Some(_)) => Action::Continue,
//!             _ => respond_and_pause(),
//!         }
//!     }
//! }
//! ```
//!
//! Plugins with contexts of their own keep a [`Tasks`] in each, root contexts too. Tasks end with it:
//! what an exchange still awaits at its end is dropped, and never resumed.
//!
//! There are no threads and no runtime. A task is polled when what it waits for has come, in the
//! callback that tells of it, and every poll is about the task's own context, whichever callback it
//! happens in. What a task does between two awaits counts against the limit `cpu` of that callback.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as Waiting, Wake, Waker};

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, Status};

use crate::callout;

type Work = Pin<Box<dyn Future<Output = ()>>>;

struct Task {
    context: u32,
    /// Away while it is polled.
    work: Option<Work>,
}

#[derive(Default)]
struct Executor {
    last: u64,
    tasks: HashMap<u64, Task>,
}

thread_local! {
    static EXECUTOR: RefCell<Executor> = RefCell::default();
    /// Apart from the executor: anything may be woken at any time.
    static READY: RefCell<VecDeque<u64>> = RefCell::default();
    static RUNNING: Cell<bool> = const { Cell::new(false) };
}

struct Alarm(u64);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        READY.with_borrow_mut(|ready| ready.push_back(self.0));
    }
}

#[link(wasm_import_module = "env")]
extern "C" {
    fn proxy_set_effective_context(context: u32) -> i32;
}

/// False if there is no such context any more. The `proxy-wasm` crate's function would panic then.
fn enter(context: u32) -> bool {
    // SAFETY: a number goes to the host, and one comes back.
    unsafe { proxy_set_effective_context(context) == 0 }
}

/// Polls every task that can go on; `context` is what hostcalls are about before and after. Called
/// in a poll, it leaves them to the loop that runs there.
pub(crate) fn run(context: u32) {
    if RUNNING.replace(true) {
        return;
    }
    let mut away = false;
    while let Some(id) = READY.with_borrow_mut(VecDeque::pop_front) {
        away |= poll(id);
    }
    RUNNING.set(false);
    if away {
        enter(context);
    }
}

/// Whether there was such a task, so that the effective context may be another now.
fn poll(id: u64) -> bool {
    let taken = EXECUTOR.with_borrow_mut(|executor| {
        let task = executor.tasks.get_mut(&id)?;
        Some((task.context, task.work.take()?))
    });
    let Some((context, mut work)) = taken else { return false };
    let waker = Waker::from(Arc::new(Alarm(id)));
    // What cannot be about its own context is not polled about another's.
    let goes_on = enter(context) && work.as_mut().poll(&mut Waiting::from_waker(&waker)).is_pending();
    let over = EXECUTOR.with_borrow_mut(|executor| {
        if goes_on {
            // Not there: its `Tasks` was dropped while it was polled.
            match executor.tasks.get_mut(&id) {
                Some(task) => {
                    task.work = Some(work);
                    None
                }
                None => Some(work),
            }
        } else {
            executor.tasks.remove(&id);
            Some(work)
        }
    });
    drop(over);
    true
}

/// The tasks of one context. Dropped with it, which the `proxy-wasm` crate does at
/// `proxy_on_delete`, it drops them.
#[derive(Default)]
pub struct Tasks {
    context: u32,
    own: RefCell<Vec<u64>>,
}

impl Tasks {
    /// Of a context by its number, which `set_root_context` and `create_http_context` are given.
    pub fn new(context_id: u32) -> Tasks {
        Tasks { context: context_id, own: RefCell::default() }
    }

    /// Begins a task. As far as it goes without waiting it has run when this returns, and hostcalls are
    /// about this context then.
    pub fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        let id = EXECUTOR.with_borrow_mut(|executor| {
            executor.last += 1;
            executor.tasks.insert(executor.last, Task { context: self.context, work: Some(Box::pin(work)) });
            // Those that have ended are forgotten, so that a root context does not gather them.
            let mut own = self.own.borrow_mut();
            own.retain(|id| executor.tasks.contains_key(id));
            own.push(executor.last);
            executor.last
        });
        READY.with_borrow_mut(|ready| ready.push_back(id));
        run(self.context);
    }

    /// What `on_http_request_headers` and the other callbacks of a request answer: what `work` comes to,
    /// or a pause until it does. `Action::Pause` in the end means that `work` has seen to what follows
    /// (an answer was sent, or somebody else resumes).
    pub fn hold_request(&self, work: impl Future<Output = Action> + 'static) -> Action {
        self.hold(work, hostcalls::resume_http_request)
    }

    /// The same for a response.
    pub fn hold_response(&self, work: impl Future<Output = Action> + 'static) -> Action {
        self.hold(work, hostcalls::resume_http_response)
    }

    fn hold(&self, work: impl Future<Output = Action> + 'static, resume: fn() -> Result<(), Status>) -> Action {
        let answer = Rc::new(Cell::new(None));
        let paused = Rc::new(Cell::new(false));
        let (given, late) = (answer.clone(), paused.clone());
        self.spawn(async move {
            let action = work.await;
            if !late.get() {
                given.set(Some(action));
            } else if action == Action::Continue {
                let _ = resume();
            }
        });
        paused.set(true);
        answer.take().unwrap_or(Action::Pause)
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        let own = self.own.take();
        // Dropped after the borrow: a future may hold what begins or drops tasks.
        let over = EXECUTOR.with_borrow_mut(|executor| {
            own.into_iter().filter_map(|id| executor.tasks.remove(&id)).collect::<Vec<_>>()
        });
        drop(over);
    }
}

/// An exchange whose callbacks may wait. While one waits, its side of the exchange is paused; what it
/// answers in the end is as for [`Tasks::hold_request`].
///
/// Bodies and trailers are looked at without waiting, as in the `proxy-wasm` crate: what there is of
/// a body stands still only within its callback.
#[allow(async_fn_in_trait, unused_variables)] // no task needs to be `Send` here
pub trait AsyncHttpContext: 'static {
    fn on_http_request_headers(
        self: Rc<Self>,
        count: usize,
        end_of_stream: bool,
    ) -> impl Future<Output = Action> + 'static {
        async { Action::Continue }
    }

    fn on_http_request_body(&self, size: usize, end_of_stream: bool) -> Action {
        Action::Continue
    }

    fn on_http_request_trailers(&self, count: usize) -> Action {
        Action::Continue
    }

    fn on_http_response_headers(
        self: Rc<Self>,
        count: usize,
        end_of_stream: bool,
    ) -> impl Future<Output = Action> + 'static {
        async { Action::Continue }
    }

    fn on_http_response_body(&self, size: usize, end_of_stream: bool) -> Action {
        Action::Continue
    }

    fn on_http_response_trailers(&self, count: usize) -> Action {
        Action::Continue
    }

    /// The exchange has ended. What is awaited here goes on after it, for the limit `wall`.
    fn on_log(self: Rc<Self>) -> impl Future<Output = ()> + 'static {
        async {}
    }
}

/// What `create_http_context` gives for such an exchange.
pub fn http(context_id: u32, exchange: impl AsyncHttpContext) -> Box<dyn HttpContext> {
    Box::new(Adapter { exchange: Rc::new(exchange), tasks: Tasks::new(context_id) })
}

struct Adapter<T> {
    exchange: Rc<T>,
    tasks: Tasks,
}

impl<T: AsyncHttpContext> Context for Adapter<T> {
    fn on_http_call_response(&mut self, token: u32, headers: usize, size: usize, _trailers: usize) {
        callout::answered(self.tasks.context, token, headers, size);
    }
}

impl<T: AsyncHttpContext> HttpContext for Adapter<T> {
    fn on_http_request_headers(&mut self, count: usize, end_of_stream: bool) -> Action {
        self.tasks.hold_request(self.exchange.clone().on_http_request_headers(count, end_of_stream))
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.exchange.on_http_request_body(size, end_of_stream)
    }

    fn on_http_request_trailers(&mut self, count: usize) -> Action {
        self.exchange.on_http_request_trailers(count)
    }

    fn on_http_response_headers(&mut self, count: usize, end_of_stream: bool) -> Action {
        self.tasks.hold_response(self.exchange.clone().on_http_response_headers(count, end_of_stream))
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.exchange.on_http_response_body(size, end_of_stream)
    }

    fn on_http_response_trailers(&mut self, count: usize) -> Action {
        self.exchange.on_http_response_trailers(count)
    }

    fn on_log(&mut self) {
        self.tasks.spawn(self.exchange.clone().on_log());
    }
}
