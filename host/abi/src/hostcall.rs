//! The table of hostcalls: one row each, and everything that is decided from it.
//!
//! A row says what the call is named in Lua and in Wasm, in which phases it is allowed and
//! which capability it takes. The engines register from it, [`crate::Host`] refuses by it, the
//! conformance suite walks it, and both SDK READMEs are held against it.
//!
//! To add one: a row here and a variant of [`Call`], a method of [`crate::Host`]; the tests
//! that then fail name the rest.
//!
use crate::capability::{Capabilities, Named, Plain};
use crate::event::Map;
use crate::status::{Answer, Refusal, Status};

/// What `abi.version()` answers: counts up when a call changes what it means. A call that is
/// new does not count; a plugin asks for it by `abi.has`.
pub const VERSION: u32 = 1;

/// Where an exchange stands when a plugin asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Phase {
    Start = 1,
    Request = 1 << 1,
    Origin = 1 << 2,
    Response = 1 << 3,
    Log = 1 << 4,
    Background = 1 << 5,
    /// A pool's scaling has asked its policy plugin.
    Scale = 1 << 6,
}

impl Phase {
    pub const ALL: [Phase; 7] =
        [Phase::Start, Phase::Request, Phase::Origin, Phase::Response, Phase::Log, Phase::Background, Phase::Scale];

    pub fn name(self) -> &'static str {
        match self {
            Phase::Start => "start",
            Phase::Request => "request",
            Phase::Origin => "origin",
            Phase::Response => "response",
            Phase::Log => "log",
            Phase::Background => "background",
            Phase::Scale => "scale",
        }
    }
}

/// A set of phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phases(u8);

impl Phases {
    pub const ANY: Phases = Phases(0b111_1111);

    pub const fn of(phases: &[Phase]) -> Phases {
        let mut bits = 0;
        let mut i = 0;
        while i < phases.len() {
            bits |= phases[i] as u8;
            i += 1;
        }
        Phases(bits)
    }

    pub const fn contains(self, phase: Phase) -> bool {
        self.0 & phase as u8 != 0
    }

    /// `request, response`: for messages and documentation.
    pub fn names(self) -> String {
        let names: Vec<_> = Phase::ALL.into_iter().filter(|p| self.contains(*p)).map(Phase::name).collect();
        names.join(", ")
    }
}

/// What a call needs to be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Always granted.
    Nothing,
    /// One of the capabilities without a name.
    Plain(Plain),
    /// A capability that names what it reaches: checked against the call's own argument.
    Named(Named),
}

impl Need {
    /// As the configuration spells it.
    pub fn spelling(self) -> &'static str {
        match self {
            Need::Nothing => "-",
            Need::Plain(plain) => plain.name(),
            Need::Named(Named::Callout) => "callout:<target>",
            Need::Named(Named::Dict) => "dict:<name>",
            Need::Named(Named::Limit) => "limit:<bucket>",
            Need::Named(Named::Origin) => "origin:<pool>",
            Need::Named(Named::Queue) => "queue:<name>",
            Need::Named(Named::Secret) => "secret:<name>",
            Need::Named(Named::ScaleHint) => "scale.hint:<pool>",
            Need::Named(Named::Kv) => "kv:<name>",
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Hostcall {
    pub call: Call,
    /// The function under `forebay` in Lua.
    pub lua: &'static str,
    /// The import (module `env`) in Wasm.
    pub wasm: &'static str,
    pub phases: Phases,
    pub need: Need,
}

const EXCHANGE: Phases = Phases::of(&[Phase::Request, Phase::Response]);
const REQUEST: Phases = Phases::of(&[Phase::Request]);
const RESPONSE: Phases = Phases::of(&[Phase::Response]);
const SINCE_REQUEST: Phases = Phases::of(&[Phase::Request, Phase::Origin, Phase::Response, Phase::Log]);
const SINCE_RESPONSE: Phases = Phases::of(&[Phase::Response, Phase::Log]);
const BEFORE_ORIGIN: Phases = Phases::of(&[Phase::Request, Phase::Origin]);
const SINCE_ORIGIN: Phases = Phases::of(&[Phase::Origin, Phase::Response, Phase::Log]);
const RUNNING: Phases = Phases::of(&[Phase::Request, Phase::Origin, Phase::Response, Phase::Log, Phase::Background]);
const SCALE: Phases = Phases::of(&[Phase::Scale]);
const WAITING: Phases = Phases::of(&[Phase::Request, Phase::Response, Phase::Log, Phase::Background]);

macro_rules! table {
    ($($call:ident $lua:literal $wasm:literal $phases:expr, $need:expr;)*) => {
        /// A hostcall: the key of its row.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Call { $($call),* }

        /// Every hostcall that exists, in the order of [`Call`].
        pub const TABLE: &[Hostcall] =
            &[$(Hostcall { call: Call::$call, lua: $lua, wasm: $wasm, phases: $phases, need: $need }),*];
    };
}

const READ: Need = Need::Plain(Plain::HttpRead);
const WRITE: Need = Need::Plain(Plain::HttpWrite);
const SELECT: Need = Need::Plain(Plain::OriginSelect);

table! {
    RequestHeadersGet "request.headers.get" "proxy_get_header_map_value" SINCE_REQUEST, READ;
    RequestHeadersGetAll "request.headers.get_all" "proxy_get_header_map_pairs" SINCE_REQUEST, READ;
    RequestHeadersPairs "request.headers.pairs" "proxy_get_header_map_pairs" SINCE_REQUEST, READ;
    RequestHeadersSet "request.headers.set" "proxy_replace_header_map_value" REQUEST, WRITE;
    RequestHeadersAdd "request.headers.add" "proxy_add_header_map_value" REQUEST, WRITE;
    RequestHeadersRemove "request.headers.remove" "proxy_remove_header_map_value" REQUEST, WRITE;
    RequestTrailersGet "request.trailers.get" "proxy_get_header_map_value" SINCE_REQUEST, READ;
    RequestTrailersGetAll "request.trailers.get_all" "proxy_get_header_map_pairs" SINCE_REQUEST, READ;
    RequestTrailersPairs "request.trailers.pairs" "proxy_get_header_map_pairs" SINCE_REQUEST, READ;
    RequestTrailersSet "request.trailers.set" "proxy_replace_header_map_value" REQUEST, WRITE;
    RequestTrailersAdd "request.trailers.add" "proxy_add_header_map_value" REQUEST, WRITE;
    RequestTrailersRemove "request.trailers.remove" "proxy_remove_header_map_value" REQUEST, WRITE;
    ResponseHeadersGet "response.headers.get" "proxy_get_header_map_value" SINCE_RESPONSE, READ;
    ResponseHeadersGetAll "response.headers.get_all" "proxy_get_header_map_pairs" SINCE_RESPONSE, READ;
    ResponseHeadersPairs "response.headers.pairs" "proxy_get_header_map_pairs" SINCE_RESPONSE, READ;
    ResponseHeadersSet "response.headers.set" "proxy_replace_header_map_value" RESPONSE, WRITE;
    ResponseHeadersAdd "response.headers.add" "proxy_add_header_map_value" RESPONSE, WRITE;
    ResponseHeadersRemove "response.headers.remove" "proxy_remove_header_map_value" RESPONSE, WRITE;
    ResponseTrailersGet "response.trailers.get" "proxy_get_header_map_value" SINCE_RESPONSE, READ;
    ResponseTrailersGetAll "response.trailers.get_all" "proxy_get_header_map_pairs" SINCE_RESPONSE, READ;
    ResponseTrailersPairs "response.trailers.pairs" "proxy_get_header_map_pairs" SINCE_RESPONSE, READ;
    ResponseTrailersSet "response.trailers.set" "proxy_replace_header_map_value" RESPONSE, WRITE;
    ResponseTrailersAdd "response.trailers.add" "proxy_add_header_map_value" RESPONSE, WRITE;
    ResponseTrailersRemove "response.trailers.remove" "proxy_remove_header_map_value" RESPONSE, WRITE;
    RequestBody "request.body" "proxy_get_buffer_bytes" REQUEST, Need::Plain(Plain::BodyRead);
    RequestChunk "request.chunk" "proxy_get_buffer_bytes" REQUEST, Need::Plain(Plain::BodyRead);
    RequestBodyChunks "request.body_chunks" "proxy_get_buffer_bytes" REQUEST, Need::Plain(Plain::BodyRead);
    RequestSetBody "request.set_body" "proxy_set_buffer_bytes" REQUEST, Need::Plain(Plain::BodyWrite);
    ResponseBody "response.body" "proxy_get_buffer_bytes" RESPONSE, Need::Plain(Plain::BodyRead);
    ResponseChunk "response.chunk" "proxy_get_buffer_bytes" RESPONSE, Need::Plain(Plain::BodyRead);
    ResponseBodyChunks "response.body_chunks" "proxy_get_buffer_bytes" RESPONSE, Need::Plain(Plain::BodyRead);
    ResponseSetBody "response.set_body" "proxy_set_buffer_bytes" RESPONSE, Need::Plain(Plain::BodyWrite);
    ResponseSetEvent "response.set_event" "forebay_response_set_event" RESPONSE, Need::Plain(Plain::BodyWrite);
    Respond "respond" "proxy_send_local_response" EXCHANGE, Need::Plain(Plain::HttpRespond);
    Continue "continue" "proxy_continue_stream" WAITING, Need::Nothing;
    Close "close" "proxy_close_stream" EXCHANGE, Need::Plain(Plain::HttpRespond);
    HttpCall "http.call" "proxy_http_call" WAITING, Need::Named(Named::Callout);
    OriginSetPool "origin.set_pool" "forebay_origin_set_pool" BEFORE_ORIGIN, SELECT;
    OriginSetHost "origin.set_host" "forebay_origin_set_host" BEFORE_ORIGIN, SELECT;
    OriginExclude "origin.exclude" "forebay_origin_exclude" BEFORE_ORIGIN, SELECT;
    OriginGet "origin.get" "forebay_origin_get" SINCE_ORIGIN, SELECT;
    OriginStats "origin.stats" "forebay_origin_stats" RUNNING, SELECT;
    HttpCallAll "http.call_all" "forebay_http_call_all" WAITING, Need::Named(Named::Callout);
    // With one message each way. Streams are Wasm's alone: see `MORE_IMPORTS`.
    GrpcCall "grpc.call" "proxy_grpc_call" WAITING, Need::Named(Named::Callout);
    ScaleHint "scale.hint" "forebay_scale_hint" RUNNING, Need::Named(Named::ScaleHint);
    // Whose name stands in a pool's scaling was granted that.
    ScaleView "scale.view" "forebay_scale_view" SCALE, Need::Nothing;
    ScalePropose "scale.propose" "forebay_scale_propose" SCALE, Need::Nothing;
    PropertyGet "property.get" "proxy_get_property" Phases::ANY, Need::Plain(Plain::PropertyRead);
    CtxGet "ctx.get" "proxy_get_property" SINCE_REQUEST, Need::Nothing;
    CtxSet "ctx.set" "proxy_set_property" SINCE_REQUEST, Need::Nothing;
    DictGet "dict.get" "forebay_dict_get" Phases::ANY, Need::Named(Named::Dict);
    DictSet "dict.set" "forebay_dict_set" Phases::ANY, Need::Named(Named::Dict);
    DictAdd "dict.add" "forebay_dict_add" Phases::ANY, Need::Named(Named::Dict);
    DictIncr "dict.incr" "forebay_dict_incr" Phases::ANY, Need::Named(Named::Dict);
    DictDelete "dict.delete" "forebay_dict_delete" Phases::ANY, Need::Named(Named::Dict);
    DictCas "dict.cas" "forebay_dict_cas" Phases::ANY, Need::Named(Named::Dict);
    QueuePush "queue.push" "forebay_queue_push" Phases::ANY, Need::Named(Named::Queue);
    QueuePop "queue.pop" "forebay_queue_pop" Phases::ANY, Need::Named(Named::Queue);
    // Not at the start, which each worker and each reload makes again.
    LimitTake "limit.take" "forebay_limit_take" RUNNING, Need::Named(Named::Limit);
    TokensReserve "tokens.reserve" "forebay_tokens_reserve" RUNNING, Need::Named(Named::Limit);
    // Who has a lease was granted its bucket.
    LeaseCommit "lease.commit" "forebay_lease_commit" RUNNING, Need::Nothing;
    LeaseRelease "lease.release" "forebay_lease_release" RUNNING, Need::Nothing;
    KvGet "kv.get" "forebay_kv_get" WAITING, Need::Named(Named::Kv);
    KvSet "kv.set" "forebay_kv_set" WAITING, Need::Named(Named::Kv);
    KvIncr "kv.incr" "forebay_kv_incr" WAITING, Need::Named(Named::Kv);
    KvDelete "kv.delete" "forebay_kv_delete" WAITING, Need::Named(Named::Kv);
    KvEval "kv.eval" "forebay_kv_eval" WAITING, Need::Named(Named::Kv);
    MetricCounter "metric.counter" "proxy_define_metric" Phases::ANY, Need::Plain(Plain::Metric);
    MetricGauge "metric.gauge" "proxy_define_metric" Phases::ANY, Need::Plain(Plain::Metric);
    MetricHistogram "metric.histogram" "proxy_define_metric" Phases::ANY, Need::Plain(Plain::Metric);
    Log "log" "proxy_log" Phases::ANY, Need::Nothing;
    Secret "secret" "forebay_secret_mark" Phases::ANY, Need::Named(Named::Secret);
    SecretHmac "secret.hmac" "forebay_secret_hmac" Phases::ANY, Need::Named(Named::Secret);
    TraceSpan "trace.span" "forebay_trace_span" Phases::ANY, Need::Nothing;
    LimitsRemaining "limits.remaining" "forebay_limits_remaining" Phases::ANY, Need::Nothing;
    Now "now" "proxy_get_current_time_nanoseconds" Phases::ANY, Need::Nothing;
    Sleep "sleep" "forebay_time_sleep" WAITING, Need::Plain(Plain::Timer);
    SetTick "timer.every" "proxy_set_tick_period_milliseconds"
        Phases::of(&[Phase::Start, Phase::Background]), Need::Plain(Plain::Timer);
    AbiVersion "abi.version" "forebay_abi_version" Phases::ANY, Need::Nothing;
    AbiHas "abi.has" "forebay_abi_has" Phases::ANY, Need::Nothing;
}

/// Imports in Wasm that serve a row in another form than the one that it names: with more arguments,
/// as proxy-wasm has it, for what is the plugin's own; or as a stream, which Lua has none of (and what
/// is then done with one takes no more than having begun it).
pub const MORE_IMPORTS: &[&str] = &[
    "forebay_log",
    "forebay_metric_define",
    "forebay_trace_finish",
    "forebay_trace_set",
    "proxy_get_shared_data",
    "proxy_set_shared_data",
    "proxy_enqueue_shared_queue",
    "proxy_grpc_stream",
    "proxy_grpc_send",
    "proxy_grpc_close",
    "proxy_grpc_cancel",
    "proxy_dequeue_shared_queue",
];

/// Whether there is a hostcall of this name: the function's in Lua or the import's in Wasm.
pub fn has(name: &str) -> bool {
    TABLE.iter().any(|row| row.lua == name || row.wasm == name) || MORE_IMPORTS.contains(&name)
}

impl Call {
    pub fn row(self) -> &'static Hostcall {
        &TABLE[self as usize]
    }

    /// What must hold before anything else: the phase, then the plain capability. A named one
    /// is checked by [`Call::check_named`], where the argument is known.
    #[inline]
    pub fn check(self, phase: Phase, granted: &Capabilities) -> Answer<()> {
        let row = self.row();
        if !row.phases.contains(phase) {
            return Err(row.phase_denied(phase));
        }
        match row.need {
            Need::Plain(plain) if !granted.has(plain) => Err(row.capability_denied(plain.name())),
            _ => Ok(()),
        }
    }

    pub fn check_named(self, granted: &Capabilities, name: &str) -> Answer<()> {
        match self.row().need {
            Need::Named(named) => self.check_grant(granted, named, name),
            _ => Ok(()),
        }
    }

    /// A grant that the call takes beside that of its row, for what its argument reaches.
    pub fn check_grant(self, granted: &Capabilities, named: Named, name: &str) -> Answer<()> {
        if granted.names(named, name) {
            return Ok(());
        }
        Err(self.row().capability_denied(&format!("{}:{name}", named.prefix())))
    }
}

impl Hostcall {
    #[cold]
    fn phase_denied(&self, phase: Phase) -> Refusal {
        let text = format!("{}: not in phase {} (only in: {})", self.lua, phase.name(), self.phases.names());
        Refusal::new(Status::PhaseDenied, text)
    }

    #[cold]
    fn capability_denied(&self, needed: &str) -> Refusal {
        let text = format!("{}: capability {needed} is not granted to this plugin", self.lua);
        Refusal::new(Status::CapabilityDenied, text)
    }
}

/// What can be done with a header map: with [`Map`] it names a [`Call`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderOp {
    Get,
    GetAll,
    Pairs,
    Set,
    Add,
    Remove,
}

impl HeaderOp {
    pub const ALL: [HeaderOp; 6] =
        [HeaderOp::Get, HeaderOp::GetAll, HeaderOp::Pairs, HeaderOp::Set, HeaderOp::Add, HeaderOp::Remove];

    /// The row for this operation on `map`: the table lists the six operations of each map in
    /// the order of `Map::ALL` and `HeaderOp::ALL` (held by a test).
    #[inline]
    pub fn on(self, map: Map) -> Call {
        TABLE[map as usize * HeaderOp::ALL.len() + self as usize].call
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_the_order_of_their_calls() {
        for (i, row) in TABLE.iter().enumerate() {
            assert_eq!(row.call as usize, i);
        }
    }

    #[test]
    fn header_rows_are_found_by_map_and_operation() {
        let names = ["get", "get_all", "pairs", "set", "add", "remove"];
        for map in Map::ALL {
            for (op, name) in HeaderOp::ALL.into_iter().zip(names) {
                assert_eq!(op.on(map).row().lua, format!("{}.{name}", map.lua()));
            }
        }
    }

    #[test]
    fn a_refusal_names_both_sides() {
        let refusal = Call::RequestHeadersSet.check(Phase::Log, &Capabilities::default()).unwrap_err();
        assert_eq!(refusal.status, Status::PhaseDenied);
        assert_eq!(refusal.message, "request.headers.set: not in phase log (only in: request)");
        let granted = Capabilities::parse(["http.read"]).unwrap();
        let refusal = Call::RequestHeadersSet.check(Phase::Request, &granted).unwrap_err();
        assert_eq!(refusal.message, "request.headers.set: capability http.write is not granted to this plugin");
        let refusal = Call::HttpCall.check_named(&granted, "authz").unwrap_err();
        assert_eq!(refusal.message, "http.call: capability callout:authz is not granted to this plugin");
    }

    #[test]
    fn a_refused_grant_names_what_the_argument_reaches() {
        let granted = Capabilities::parse(["origin.select"]).unwrap();
        let refusal = Call::OriginSetPool.check_grant(&granted, Named::Origin, "shop").unwrap_err();
        assert_eq!(refusal.message, "origin.set_pool: capability origin:shop is not granted to this plugin");
    }
}
