//! What a plugin is, what it is told, and what it may ask. No engine and no I/O live here.
//!
//! The parts:
//!
//! - this file: [`Plugin`] (loaded code), [`Instance`] (a running copy; [`Started`]: before a worker has it), [`Host`] (everything
//!   a plugin may ask);
//! - [`dict`]: what is written to a dictionary;
//! - [`event`]: what an instance is told, and what it answers;
//! - [`grpc`]: what is said of a gRPC call;
//! - [`hostcall`]: one table with a row per hostcall: names, phases, capability;
//! - [`capability`]: what a plugin is granted;
//! - [`limit`]: what a token bucket answers;
//! - [`origin`]: what a plugin is told of origins; [`scale`]: what it says of what is coming;
//! - [`kv`]: what may be asked of a key-value store;
//! - [`fault`]: how a plugin fails; [`status`]: how a hostcall is refused;
//! - [`meter`]: CPU time over several entries;
//! - [`settings`]: what the configuration says about one plugin on one route.
//!
//! **Calls are synchronous; waiting is an answer.** An instance that must wait (a callout, the
//! whole body, a timer) returns [`Action::Pause`] or [`Action::Buffer`] and is called again with
//! the event that it waited for. So no engine knows the async runtime, no lock is held across a
//! plugin, and the host never re-enters a guest: an event that arrives while an instance runs
//! waits until it has returned.

pub mod capability;
pub mod dict;
pub mod event;
pub mod fault;
pub mod grpc;
pub mod hostcall;
pub mod kv;
pub mod limit;
pub mod meter;
pub mod origin;
pub mod scale;
pub mod settings;
pub mod status;

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use capability::Capabilities;
pub use dict::{DictIncr, DictWrite};
pub use event::{
    Action, Algorithm, Callbacks, Callout, CalloutError, CalloutRequest, CalloutResponse, ContextId, Event, Field,
    LocalAnswer, LogLevel, Map, MetricId, MetricKind, ServerEvent, Side, SpanId, Token, Value,
};
pub use fault::{Fault, LoadError, Verdict};
pub use grpc::{GrpcEvent, GrpcRequest, GrpcStatus};
pub use hostcall::{Call, Phase};
pub use kv::KvAsk;
pub use limit::{LeaseId, Taken};
pub use meter::{Meter, Spent};
pub use origin::{OriginStats, Picked};
pub use scale::ScaleHint;
pub use settings::{Limit, Limits, Mode, Settings};
pub use status::{Answer, Refusal, Status};

/// Fields of one line of the log, or of one span.
pub const MAX_FIELDS: usize = 16;

/// The least period of ticks.
pub const LEAST_TICK: Duration = Duration::from_millis(10);

/// Loaded code: checked, compiled, shared by all workers.
pub trait Plugin: Send + Sync {
    /// The callbacks that this code has. An event that nobody listens to is never sent.
    fn callbacks(&self) -> Callbacks;

    /// Makes an instance for the calling worker and runs its `on_vm_start` and `on_configure`;
    /// `host` answers for the plugin context. A `false` from either is [`Verdict::Config`].
    fn instantiate(&self, host: Rc<dyn Host>) -> Result<Box<dyn Instance>, Fault>;

    /// The same for a worker that is not known yet: the start runs on the calling thread, and `host`
    /// answers for it and is let go of at its end. `None` where an instance stays on the thread that
    /// has started it.
    fn start(&self, host: Rc<dyn Host>) -> Option<Result<Box<dyn Started>, Fault>> {
        let _ = host;
        None
    }

    /// Whether one instance holds many exchanges without one's fault reaching the others. Where it
    /// does not, the edge keeps a spare (see [`Instance::ended`]).
    fn shares(&self) -> bool {
        false
    }
}

/// An instance whose start has run and that no worker has yet: nothing in it belongs to a thread.
pub trait Started: Send {
    /// Makes it the calling worker's; from here on `host` answers for the plugin context.
    fn adopt(self: Box<Self>, host: Rc<dyn Host>) -> Result<Box<dyn Instance>, Fault>;
}

/// A running copy, owned by one worker (so not `Send`). After a fault it may be dropped, and
/// only the exchanges that it holds feel it.
pub trait Instance {
    /// Opens the context of one exchange; `host` answers for it until [`Instance::close`].
    fn open(&mut self, context: ContextId, host: Rc<dyn Host>) -> Result<(), Fault>;

    /// Tells `context` what happened. [`ContextId::PLUGIN`] is the plugin context, for events
    /// of the background.
    fn call(&mut self, context: ContextId, event: Event<'_>) -> Result<Action, Fault>;

    /// Where a context stands that waits, one frame a line: for a fault that the host finds.
    fn trace(&self, context: ContextId) -> Option<String> {
        let _ = context;
        None
    }

    /// Forgets the context: nothing of it is called again. Never fails, also after a fault.
    fn close(&mut self, context: ContextId);

    /// False after a fault that left more than its own exchange in doubt (a trap in shared
    /// memory, a VM out of memory): the worker then makes a fresh instance for what comes.
    fn healthy(&self) -> bool;

    /// True after a fault that ended it for all exchanges that it holds: none of them is called again.
    fn ended(&self) -> bool {
        false
    }

    /// What it uses of memory, and has used.
    fn memory(&self) -> Memory;

    /// What it has done so far.
    fn work(&self) -> Work;
}

/// What one instance has done since its start, and what its code takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// CPU time of its entries: of those that the watch has struck it is read from the clock, and
    /// these stand for the others (see [`Spent`]).
    pub cpu: Duration,
    /// Cycles that its garbage collector has finished; zero where the host has none to see.
    pub collections: u64,
    /// Bytes of machine code that were made for it alone, now.
    pub machine_code: usize,
}

/// The memory of one instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// In use now, garbage that was not collected yet included.
    pub bytes: usize,
    /// Taken since the start, in all, and in how many pieces; zero where the engine does not see
    /// them (what a Wasm guest allocates in its own memory).
    pub allocated: u64,
    pub allocations: u64,
}

/// Everything a plugin may ask. One value answers for one context. The first line of a
/// method checks phase and capability against the row of its call in [`hostcall::TABLE`]. What has
/// no row of its own needs none: to use a metric takes having defined it.
pub trait Host {
    /// Who is asking, with which configuration and limits.
    fn settings(&self) -> &Settings;

    /// Gives each value of a header, in order. Names are matched without case; pseudo headers
    /// (`:method`, `:path`, `:authority`, `:scheme`, `:status`) are headers too.
    fn header(&self, map: Map, name: &[u8], each: &mut dyn FnMut(&[u8])) -> Answer<()>;
    /// Gives every header (name, value), pseudo headers first, repeated ones in their order.
    fn headers(&self, map: Map, each: &mut dyn FnMut(&[u8], &[u8])) -> Answer<()>;
    /// Replaces all values of a header by one.
    fn set_header(&self, map: Map, name: &[u8], value: &[u8]) -> Answer<()>;
    fn add_header(&self, map: Map, name: &[u8], value: &[u8]) -> Answer<()>;
    fn remove_header(&self, map: Map, name: &[u8]) -> Answer<()>;
    /// Replaces the whole map.
    fn set_headers(&self, map: Map, pairs: &[(&[u8], &[u8])]) -> Answer<()>;

    /// The body bytes that this context looks at now: the chunk of a body event, or all that
    /// was buffered for it.
    fn body(&self, side: Side) -> Answer<Bytes>;
    /// Replaces a range of those bytes (clamped to their length, as proxy-wasm does).
    fn set_body(&self, side: Side, range: Range<usize>, bytes: &[u8]) -> Answer<()>;

    /// Replaces the server-sent event that is told now, or drops it; within [`Event::ResponseEvent`] and
    /// the waits of its callback.
    fn set_event(&self, event: Option<&ServerEvent>) -> Answer<()>;

    /// Answers the client from here. Takes effect when the callback has returned.
    fn respond(&self, answer: LocalAnswer) -> Answer<()>;
    /// Lets a paused side go on. Takes effect when the callback has returned.
    fn resume(&self, side: Side) -> Answer<()>;
    /// Ends the exchange without an answer. Takes effect when the callback has returned.
    fn abort(&self) -> Answer<()>;

    /// Starts an HTTP request to a pool or a named target; its end comes as [`Event::Callout`].
    fn callout(&self, target: &str, request: CalloutRequest) -> Answer<Token>;
    /// Starts several at once; when the last has ended they come as one [`Event::Reply`], a list in
    /// their order. An answer is a list of its status, its headers (a list of lists of two) and its
    /// body; one that was refused or failed a list of the code's name, the text and the code.
    fn callout_all(&self, callouts: Vec<Callout>) -> Answer<Token>;
    /// Starts a gRPC call or stream to a pool or a named target that speaks HTTP/2; what comes of it, comes
    /// as [`Event::Grpc`]. [`Status::NotFound`]: there is no such target.
    fn grpc(&self, target: &str, request: GrpcRequest) -> Answer<Token>;
    /// Sends a message on a stream, which is this side's last if it is the `end`.
    /// [`Status::LimitExceeded`] if more than the limit `buffer` waits to be sent.
    fn grpc_send(&self, stream: Token, message: &[u8], end: bool) -> Answer<()>;
    /// Ends this side of a stream, or a call.
    fn grpc_close(&self, token: Token) -> Answer<()>;
    /// Ends a call or stream; nothing of it is told any more.
    fn grpc_cancel(&self, token: Token) -> Answer<()>;
    /// Starts a timer; its end comes as [`Event::Timer`].
    fn sleep(&self, duration: Duration) -> Answer<Token>;
    /// Sets the period of [`Event::Tick`] for the plugin context; zero stops it. One under
    /// [`LEAST_TICK`] is that, and the plugin's log says so.
    fn set_tick(&self, period: Duration) -> Answer<()>;

    /// Sends the request to another pool; a host that was set before is forgotten.
    fn origin_set_pool(&self, pool: &str) -> Answer<()>;
    /// Gives the next attempt to this origin of the chosen pool.
    fn origin_set_host(&self, address: &str) -> Answer<()>;
    /// Keeps this exchange from an origin, in all its attempts.
    fn origin_exclude(&self, address: &str) -> Answer<()>;
    /// Who got the latest attempt.
    fn origin_picked(&self) -> Answer<Option<Picked>>;
    /// How the origins of a pool stand; `None`: of the pool that is chosen.
    fn origin_stats(&self, pool: Option<&str>) -> Answer<Vec<OriginStats>>;

    /// Says what is coming to a pool, for its scaling to weigh.
    fn scale_hint(&self, pool: &str, hint: &ScaleHint<'_>) -> Answer<()>;

    /// What the pool's scaling sees, as JSON: that of [`Event::Autoscale`].
    fn scale_view(&self) -> Answer<Bytes>;
    /// Proposes a count of origins, and why; what is said again stands in place of what was said.
    /// [`Status::BadArgument`] for what is no count: a fraction counts as one more, from 0 to 10000.
    fn scale_propose(&self, origins: f64, because: &str) -> Answer<()>;

    /// A fact about this exchange by proxy-wasm's attribute path (`["request", "path"]`).
    fn property(&self, path: &[&str]) -> Answer<Value>;
    /// A value shared along the chain: later plugins of this exchange read it with `property`.
    fn set_property(&self, path: &[&str], value: &[u8]) -> Answer<()>;

    /// A value of a dictionary that all workers share, and its version.
    fn dict_get(&self, dict: &str, key: &[u8]) -> Answer<(Bytes, u32)>;
    /// Writes; [`Status::CasMismatch`] if what is there is not what the write asks for.
    fn dict_write(&self, dict: &str, key: &[u8], write: DictWrite<'_>) -> Answer<()>;
    /// Adds to a whole number, which is kept as decimal text, and gives what it is then.
    fn dict_incr(&self, dict: &str, key: &[u8], incr: DictIncr) -> Answer<i64>;

    /// Appends to a queue; [`Status::LimitExceeded`] if it is full.
    fn queue_push(&self, queue: &str, item: &[u8]) -> Answer<()>;
    /// Takes the oldest item of a queue.
    fn queue_pop(&self, queue: &str) -> Answer<Option<Bytes>>;
    /// Makes a queue that is this plugin's own, `<plugin>/<name>`, and tells the plugin of it.
    fn queue_register(&self, name: &str) -> Answer<u32>;
    /// The number of the queue `<vm>/<name>`, or of `name` if `vm` is empty.
    fn queue_resolve(&self, vm: &str, name: &str) -> Answer<u32>;
    /// The name of a queue by its number.
    fn queue_name(&self, id: u32) -> Answer<Arc<str>>;

    /// Takes tokens of a bucket of the configuration for `key`, if they are there; none are taken for
    /// a `cost` of 0. [`Status::BadArgument`] if `cost` is over the bucket's burst.
    fn limit_take(&self, bucket: &str, key: &[u8], cost: u32) -> Answer<Taken>;
    /// Takes tokens whose use is settled later, or is refused with [`Status::LimitExceeded`]. A lease
    /// that is open when its context ends stays taken as it is.
    fn tokens_reserve(&self, bucket: &str, key: &[u8], tokens: u32) -> Answer<LeaseId>;
    /// Ends a lease with what was used: less gives back, more is taken whether it is there or not.
    fn lease_commit(&self, lease: LeaseId, used: u32) -> Answer<()>;
    /// Ends a lease and gives all of it back.
    fn lease_release(&self, lease: LeaseId) -> Answer<()>;
    /// Asks a store of the region; the answer comes as [`Event::Reply`].
    fn kv(&self, kv: &str, ask: KvAsk) -> Answer<Token>;

    /// What stands for a secret in the header values of a callout, alone or behind other text: a
    /// text that only this plugin's own callouts give a meaning. The secret itself is never given.
    fn secret(&self, name: &str) -> Answer<Arc<str>>;
    /// The HMAC of `data`, keyed by a secret.
    fn secret_hmac(&self, name: &str, algorithm: Algorithm, data: &[u8]) -> Answer<Vec<u8>>;

    /// The series of a metric with these labels (name, value); each set of values is one of the
    /// metrics that the limit counts.
    fn define_metric(&self, kind: MetricKind, name: &str, labels: &[(&str, &str)]) -> Answer<MetricId>;
    /// Adds to a counter (never below zero) or a gauge.
    fn increment_metric(&self, metric: MetricId, by: i64) -> Answer<()>;
    /// Sets a gauge, or adds a sample to a histogram.
    fn record_metric(&self, metric: MetricId, value: u64) -> Answer<()>;
    fn metric(&self, metric: MetricId) -> Answer<u64>;

    /// Rate-limited per plugin; what was dropped is counted. Fields past [`MAX_FIELDS`], and what
    /// of a text is past its bound, are cut off.
    fn log_fields(&self, level: LogLevel, message: &str, fields: &[(&str, Field)]);
    fn log(&self, level: LogLevel, message: &str) {
        self.log_fields(level, message, &[]);
    }
    /// The lowest level that is kept: an engine need not format what is under it.
    fn log_level(&self) -> LogLevel;
    /// Begins a span of the exchange's trace, under the innermost that is open; it ends with
    /// [`Host::finish_span`], or with the exchange.
    fn span(&self, name: &str) -> Answer<SpanId>;
    fn set_span(&self, span: SpanId, key: &str, value: Field) -> Answer<()>;
    fn finish_span(&self, span: SpanId) -> Answer<()>;

    /// What is left now of the limits that the host counts: seconds, bytes, counts. The engine adds
    /// those that it counts itself.
    fn remaining(&self) -> Answer<Vec<(Limit, f64)>>;
    /// In [`Mode::Shadow`]: a limit that an engine counts was passed. `what` says by how much, as a
    /// fault would.
    fn passed(&self, limit: Limit, what: &str);

    /// Time since the Unix epoch.
    fn now(&self) -> Duration;
}
