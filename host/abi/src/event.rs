//! What an instance is told, what it answers, and the words of both.

use std::time::Duration;

use bytes::Bytes;

use crate::grpc::GrpcEvent;
use crate::status::{Answer, Refusal, Status};

/// One context of an instance. The plugin context is [`ContextId::PLUGIN`]; contexts of
/// exchanges count from 2 (proxy-wasm's root context is 1 on the wire).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContextId(pub u32);

impl ContextId {
    pub const PLUGIN: ContextId = ContextId(1);
}

/// Names one callout or timer of an instance; unique on its worker while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub u32);

/// A span that a plugin began: unique in its context while it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId(pub u32);

/// A metric that a plugin defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MetricId(pub u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Request,
    Response,
}

/// The header maps of an exchange. (The headers of a callout's answer come with its event.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Map {
    RequestHeaders,
    RequestTrailers,
    ResponseHeaders,
    ResponseTrailers,
}

impl Map {
    pub const ALL: [Map; 4] = [Map::RequestHeaders, Map::RequestTrailers, Map::ResponseHeaders, Map::ResponseTrailers];

    pub fn side(self) -> Side {
        match self {
            Map::RequestHeaders | Map::RequestTrailers => Side::Request,
            Map::ResponseHeaders | Map::ResponseTrailers => Side::Response,
        }
    }

    /// The table that holds it in Lua, under `forebay`.
    pub fn lua(self) -> &'static str {
        match self {
            Map::RequestHeaders => "request.headers",
            Map::RequestTrailers => "request.trailers",
            Map::ResponseHeaders => "response.headers",
            Map::ResponseTrailers => "response.trailers",
        }
    }
}

/// What happened. The header, body and trailer events of a side come in that order; a side
/// that was paused gets no further event of that side until it goes on.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    RequestHeaders {
        end_of_stream: bool,
    },
    /// `size` is the number of bytes that [`crate::Host::body`] gives.
    RequestBody {
        size: usize,
        end_of_stream: bool,
    },
    RequestTrailers,
    ResponseHeaders {
        end_of_stream: bool,
    },
    ResponseBody {
        size: usize,
        end_of_stream: bool,
    },
    ResponseTrailers,
    /// One whole server-sent event of a `text/event-stream` response, in place of its bytes as
    /// body events. [`crate::Host::set_event`] replaces it.
    ResponseEvent(&'a ServerEvent),
    /// The next bytes of a body, asked for with [`Action::Chunk`]; `size` as in `RequestBody`. With
    /// the end of the stream there may be none.
    Chunk {
        side: Side,
        size: usize,
        end_of_stream: bool,
    },
    /// The whole body of a side is there, asked for with [`Action::Buffer`] from a header event
    /// (or from a body event, by an engine that waits for the rest of it).
    BodyReady(Side),
    /// The request is about to be given to an origin: who gets it may be chosen now. `attempt`
    /// counts from 1. The answer is not asked for; nothing can be waited for here.
    OriginSelect {
        pool: &'a str,
        attempt: u32,
    },
    /// A callout ended. An answer of [`Action::Continue`] lets the side go on that started it;
    /// [`Action::Pause`] leaves it as it was.
    Callout {
        token: Token,
        result: &'a Result<CalloutResponse, CalloutError>,
    },
    /// Something came of a gRPC call or stream; the answer means what it means for `Callout`.
    Grpc {
        token: Token,
        event: &'a GrpcEvent,
    },
    /// A timer of [`crate::Host::sleep`] ended; the answer means what it means for `Callout`.
    Timer {
        token: Token,
    },
    /// What another call that is waited for has brought; the answer means what it means for
    /// `Callout`.
    Reply {
        token: Token,
        reply: &'a Answer<Value>,
    },
    Tick,
    /// A queue has items, pushed since the plugin was last told or left by it. For the plugin
    /// context; an answer of [`Action::Pause`] says that the callback has not ended.
    QueueReady {
        id: u32,
        name: &'a str,
    },
    /// The exchange has ended; `Log` follows. An answer of [`Action::Pause`] keeps it, and the
    /// context, from ending before [`crate::Host::resume`].
    Done,
    /// The last event. What is started now and waited for is still told; then the context closes.
    Log,
    /// The edge begins to drain: it ends in `left` or earlier. For the plugin context.
    Drain {
        left: Duration,
    },
    /// A pool's scaling asks its policy plugin how many origins there should be: what it looks at, as JSON.
    /// It answers by [`crate::Host::scale_propose`], or has nothing to say. For the plugin context of an
    /// instance that is asked nothing else; nothing can be waited for here.
    Autoscale {
        view: &'a Bytes,
    },
}

impl Event<'_> {
    /// The callback that this event becomes, for logs and metrics.
    pub fn callback(&self) -> &'static str {
        match self {
            Event::RequestHeaders { .. } => "on_request_headers",
            Event::RequestBody { .. } | Event::BodyReady(Side::Request) | Event::Chunk { side: Side::Request, .. } => {
                "on_request_body"
            }
            Event::RequestTrailers => "on_request_trailers",
            Event::ResponseHeaders { .. } => "on_response_headers",
            Event::ResponseBody { .. }
            | Event::BodyReady(Side::Response)
            | Event::Chunk { side: Side::Response, .. } => "on_response_body",
            Event::ResponseTrailers => "on_response_trailers",
            Event::OriginSelect { .. } => "on_origin_select",
            Event::Callout { .. } => "on_callout",
            Event::Grpc { .. } => "on_grpc",
            Event::Timer { .. } => "on_timer",
            Event::Reply { .. } => "on_reply",
            Event::Tick => "on_tick",
            Event::QueueReady { .. } => "on_queue_ready",
            Event::Done => "on_done",
            Event::Log => "on_log",
            Event::Drain { .. } => "on_drain",
            Event::ResponseEvent(_) => "on_response_event",
            Event::Autoscale { .. } => "autoscale",
        }
    }
}

/// What an instance answers to an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Continue,
    /// Stop this side here, with back-pressure: nothing more of it is read. It goes on by
    /// [`crate::Host::resume`], or by the answer to the event that was waited for.
    Pause,
    /// On a header event: hold the headers, read the whole body up to the plugin's limit, then
    /// send [`Event::BodyReady`]. On a body event: keep these bytes and call again with more,
    /// all of them visible; after the last bytes wait for [`crate::Host::resume`].
    /// Past the limit the exchange gets 413 (request) or 502 (response).
    Buffer,
    /// On a body event or the end of a wait in it: keep what there is, read the rest of the
    /// body, then send [`Event::BodyReady`].
    BufferAll,
    /// On a header event: the headers go on, and with the body come [`Event::Chunk`]s in place of
    /// body events. On a body event, a chunk or the end of a wait in it: what is looked at goes on,
    /// and the next bytes come as `Chunk`. Any other answer to a chunk ends that.
    Chunk,
}

bitflags::bitflags! {
    /// The callbacks that loaded code has.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Callbacks: u16 {
        const REQUEST_HEADERS = 1;
        const REQUEST_BODY = 1 << 1;
        const REQUEST_TRAILERS = 1 << 2;
        const RESPONSE_HEADERS = 1 << 3;
        const RESPONSE_BODY = 1 << 4;
        const RESPONSE_TRAILERS = 1 << 5;
        const LOG = 1 << 6;
        const TICK = 1 << 7;
        const ORIGIN_SELECT = 1 << 8;
        const DONE = 1 << 9;
        const DRAIN = 1 << 10;
        const QUEUE_READY = 1 << 11;
        const RESPONSE_EVENT = 1 << 12;
        const AUTOSCALE = 1 << 13;
    }
}

/// An HTTP request that a plugin sends.
#[derive(Clone, Debug, Default)]
pub struct CalloutRequest {
    pub method: String,
    pub path: String,
    /// `Host` (HTTP/1) or `:authority` (HTTP/2); the target's name if empty.
    pub authority: String,
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub body: Bytes,
    pub trailers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The whole callout, connecting and every try included; the target's own limit if `None`.
    pub timeout: Option<Duration>,
    /// How often it may be sent again: if its method is idempotent and there was no connection, no
    /// answer, or one of 502, 503 and 504.
    pub retry: u32,
}

/// A callout and whom it goes to.
#[derive(Clone, Debug)]
pub struct Callout {
    pub target: String,
    pub request: CalloutRequest,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CalloutResponse {
    pub status: u16,
    pub headers: Vec<(Bytes, Bytes)>,
    pub body: Bytes,
    pub trailers: Vec<(Bytes, Bytes)>,
}

/// One server-sent event, as the HTML standard reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerEvent {
    /// Its type; `message` to a reader if it has none.
    pub event: Option<Bytes>,
    /// The lines of its data, with an LF between them.
    pub data: Bytes,
    /// What this event says of it; a reader keeps that of an earlier one if it says nothing.
    pub id: Option<Bytes>,
    /// Milliseconds.
    pub retry: Option<u64>,
}

/// Why a callout brought no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CalloutError {
    Timeout,
    /// No origin, connection refused, broken response: the text says which.
    Unavailable(String),
    /// The response was larger than the plugin's buffer limit.
    TooLarge,
}

/// What a plugin answers in place of the origin.
#[derive(Clone, Debug, Default)]
pub struct LocalAnswer {
    pub status: u16,
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub body: Bytes,
    /// For the log, never for the client.
    pub detail: String,
    /// proxy-wasm's gRPC status, when it gave one (0 or more).
    pub grpc_status: Option<i32>,
}

/// The value of a property, or of a reply. Wasm gets a property in proxy-wasm's encoding and a
/// reply packed, Lua both as its own type.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Nil,
    Bytes(Vec<u8>),
    Int(i64),
    Bool(bool),
    /// Nanoseconds, of a duration or since the Unix epoch.
    Nanos(u64),
    Map(Vec<(Vec<u8>, Vec<u8>)>),
    List(Vec<Value>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// What a field of a log line or of a span holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    Text(String),
    Number(f64),
    Bool(bool),
}

/// A hash that a secret can key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    pub const ALL: [Algorithm; 3] = [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];

    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha384 => "sha384",
            Algorithm::Sha512 => "sha512",
        }
    }

    /// [`Status::BadArgument`](crate::Status::BadArgument) names those that there are.
    pub fn from_name(name: &str) -> Answer<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name).ok_or_else(|| {
            let known = Algorithm::ALL.map(Algorithm::name).join(", ");
            Refusal::new(Status::BadArgument, format!("secret.hmac: no algorithm {name:?} (allowed: {known})"))
        })
    }
}

/// proxy-wasm's levels, in its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LogLevel {
    Trace = 0,
    Debug = 1,
    Info = 2,
    Warn = 3,
    Error = 4,
    Critical = 5,
}

impl LogLevel {
    pub const ALL: [LogLevel; 6] =
        [LogLevel::Trace, LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error, LogLevel::Critical];

    pub fn from_wire(level: u32) -> Option<LogLevel> {
        LogLevel::ALL.get(level as usize).copied()
    }
}
