//! How one plugin sees one exchange (or, in its plugin context, none): its phase, its grants,
//! the body bytes in front of it. Implements `abi::Host`: the first line of each method checks
//! phase and capability against the table of hostcalls.
//!
//! Past 400 lines because the one `impl` of `Host` has every call in it; what a call does stands
//! beside it, in a file of its noun.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use abi::hostcall::HeaderOp;
use abi::{
    Algorithm, Answer, Call, Callout, CalloutRequest, DictIncr, DictWrite, Fault, Field, GrpcRequest, Host, KvAsk,
    LEAST_TICK, LeaseId, Limit, LocalAnswer, LogLevel, Map, MetricId, MetricKind, OriginStats, Phase, Picked, Refusal,
    ScaleHint, ServerEvent, Settings, Side, SpanId, Status, Taken, Token, Value,
};
use bytes::Bytes;

use super::grpc::Grpcs;
use super::scale::Asked;
use super::trace::{Spans, Trace};
use super::window::{LogBudget, Window};
use super::{Exchange, Surroundings, line, property};
use crate::callout;
use crate::chain::slot::Slot;
use crate::dict::Dict;
use crate::instances::Running;
use crate::limit::Bucket;
use crate::plugins::Bound;
use crate::queue::{Queue, is_own};
use crate::stage::measure;
use crate::tokens::Leases;

pub struct Seat {
    pub bound: Arc<Bound>,
    pub surroundings: Rc<Surroundings>,
    pub phase: Cell<Phase>,
    pub home: Home,
    /// The body bytes looked at now, by side.
    pub windows: [Window; 2],
    /// A limit was passed in a hostcall: the callback's end becomes this fault.
    pub overstepped: RefCell<Option<Fault>>,
    pub(super) callouts: Cell<u32>,
    pub(super) kv_calls: Cell<u32>,
    /// What is started now holds a drain of the edge until it has ended.
    pub(super) holds_drain: Cell<bool>,
    pub(super) grpcs: Rc<Grpcs>,
    /// Tokens that were reserved and not settled yet.
    leases: Leases,
    pub log: Arc<LogBudget>,
    /// The limits whose passing has been told, a bit each.
    pub told: Cell<u32>,
    /// By a pool's scaling.
    pub asked: Asked,
    pub(super) spans: Spans,
    /// Of the plugin context, where spans have no exchange.
    pub(super) trace: Trace,
}

/// What the seat belongs to.
pub enum Home {
    Plugin { running: RefCell<Weak<Running>>, tick: Cell<Duration> },
    Exchange { exchange: Rc<Exchange>, slot: Weak<Slot> },
}

impl Seat {
    pub fn of_plugin(bound: &Arc<Bound>, surroundings: &Rc<Surroundings>, log: &Arc<LogBudget>) -> Rc<Seat> {
        let home = Home::Plugin { running: RefCell::default(), tick: Cell::default() };
        Rc::new(Seat::new(bound, surroundings, log, home, Phase::Start))
    }

    pub fn new(
        bound: &Arc<Bound>,
        surroundings: &Rc<Surroundings>,
        log: &Arc<LogBudget>,
        home: Home,
        phase: Phase,
    ) -> Seat {
        Seat {
            bound: bound.clone(),
            surroundings: surroundings.clone(),
            phase: Cell::new(phase),
            home,
            windows: Default::default(),
            overstepped: RefCell::default(),
            callouts: Cell::new(0),
            holds_drain: Cell::new(false),
            grpcs: Rc::default(),
            leases: Leases::default(),
            kv_calls: Cell::new(0),
            log: log.clone(),
            told: Cell::new(0),
            asked: Asked::default(),
            spans: Spans::default(),
            trace: Trace::default(),
        }
    }

    pub fn window(&self, side: Side) -> &Window {
        &self.windows[side as usize]
    }

    /// As the start of the instance, which had another seat, has left it.
    pub fn take_up(&self, period: Duration) {
        self.phase.set(Phase::Background);
        if let Home::Plugin { tick, .. } = &self.home {
            tick.set(period);
        }
    }

    /// The period that the plugin asked for with `set_tick`.
    pub fn tick(&self) -> Duration {
        match &self.home {
            Home::Plugin { tick, .. } => tick.get(),
            Home::Exchange { .. } => Duration::ZERO,
        }
    }

    #[inline]
    pub(super) fn check(&self, call: Call) -> Answer<()> {
        measure::hostcall();
        call.check(self.phase.get(), &self.bound.settings.capabilities)
    }

    /// The exchange; every call that needs one is refused in the other phases by the table.
    fn exchange(&self) -> Answer<&Rc<Exchange>> {
        match &self.home {
            Home::Exchange { exchange, .. } => Ok(exchange),
            Home::Plugin { .. } => Err(Refusal::new(Status::PhaseDenied, "there is no exchange here")),
        }
    }

    /// Runs `call`, in which what is started holds a drain of the edge, or does not.
    pub fn holding(&self, holds_drain: bool, call: impl FnOnce()) {
        self.holds_drain.set(holds_drain);
        call();
        self.holds_drain.set(false);
    }
}

impl Host for Seat {
    fn settings(&self) -> &Settings {
        &self.bound.settings
    }

    fn header(&self, map: Map, name: &[u8], each: &mut dyn FnMut(&[u8])) -> Answer<()> {
        self.check(HeaderOp::Get.on(map))?;
        self.exchange()?.get(map, name, each)
    }

    fn headers(&self, map: Map, each: &mut dyn FnMut(&[u8], &[u8])) -> Answer<()> {
        self.check(HeaderOp::Pairs.on(map))?;
        self.exchange()?.pairs(map, each);
        Ok(())
    }

    fn set_header(&self, map: Map, name: &[u8], value: &[u8]) -> Answer<()> {
        self.check(HeaderOp::Set.on(map))?;
        self.exchange()?.set(map, name, value)
    }

    fn add_header(&self, map: Map, name: &[u8], value: &[u8]) -> Answer<()> {
        self.check(HeaderOp::Add.on(map))?;
        self.exchange()?.add(map, name, value)
    }

    fn remove_header(&self, map: Map, name: &[u8]) -> Answer<()> {
        self.check(HeaderOp::Remove.on(map))?;
        self.exchange()?.remove(map, name)
    }

    fn set_headers(&self, map: Map, pairs: &[(&[u8], &[u8])]) -> Answer<()> {
        self.check(HeaderOp::Set.on(map))?;
        self.exchange()?.replace(map, pairs)
    }

    fn body(&self, side: Side) -> Answer<Bytes> {
        self.check(match side {
            Side::Request => Call::RequestChunk,
            Side::Response => Call::ResponseChunk,
        })?;
        let window = self.window(side);
        if !window.open.get() {
            return Err(Refusal::new(Status::NotFound, "no body is looked at now"));
        }
        Ok(window.bytes.borrow().clone())
    }

    fn set_body(&self, side: Side, range: Range<usize>, bytes: &[u8]) -> Answer<()> {
        self.check(match side {
            Side::Request => Call::RequestSetBody,
            Side::Response => Call::ResponseSetBody,
        })?;
        let window = self.window(side);
        if !window.open.get() {
            return Err(Refusal::new(Status::NotFound, "no body is looked at now"));
        }
        let most = self.bound.settings.limits.buffer.max(window.size());
        let size = window.size_with(&range, bytes.len());
        if !self.may(Limit::Buffer, size as u64, most as u64) {
            let text = format!("set_body: {size} bytes at once (allowed: {most}, the limit buffer)");
            return Err(Refusal::new(Status::LimitExceeded, text));
        }
        window.splice(range, bytes);
        Ok(())
    }

    fn set_event(&self, event: Option<&ServerEvent>) -> Answer<()> {
        self.check(Call::ResponseSetEvent)?;
        if !self.window(Side::Response).event.get() {
            return Err(Refusal::new(Status::NotFound, "response.set_event: no event is looked at now"));
        }
        let bytes = event.map(crate::event_stream::write).transpose()?.unwrap_or_default();
        self.set_body(Side::Response, 0..usize::MAX, &bytes)
    }

    fn respond(&self, answer: LocalAnswer) -> Answer<()> {
        self.check(Call::Respond)?;
        let exchange = self.exchange()?;
        if !(200..=599).contains(&answer.status) {
            let text = format!("respond: status {} (allowed: 200 to 599)", answer.status);
            return Err(Refusal::new(Status::BadArgument, text));
        }
        for (name, value) in &answer.headers {
            super::headers::may_answer(name, value)
                .map_err(|refusal| Refusal { message: format!("respond: {}", refusal.message).into(), ..refusal })?;
        }
        if exchange.response_sent.get() {
            return Err(Refusal::new(Status::PhaseDenied, "respond: the response headers have been sent already"));
        }
        let mut held = exchange.answer.borrow_mut();
        if held.is_some() {
            return Err(Refusal::new(Status::BadArgument, "respond: this exchange has been answered already"));
        }
        *held = Some(answer);
        Ok(())
    }

    fn resume(&self, side: Side) -> Answer<()> {
        self.check(Call::Continue)?;
        if let Home::Exchange { slot, .. } = &self.home
            && let Some(slot) = slot.upgrade()
        {
            slot.resume(side);
        }
        Ok(())
    }

    fn abort(&self) -> Answer<()> {
        self.check(Call::Close)?;
        let plugin = self.bound.settings.plugin.clone();
        self.exchange()?.stop(super::Stop::Reject(crate::reject::Reject::PluginAbort { plugin }));
        Ok(())
    }

    fn callout(&self, target: &str, request: CalloutRequest) -> Answer<Token> {
        self.check(Call::HttpCall)?;
        self.start_callout(target, request)
    }

    fn callout_all(&self, callouts: Vec<Callout>) -> Answer<Token> {
        self.check(Call::HttpCallAll)?;
        self.start_callouts(callouts)
    }

    fn grpc(&self, target: &str, request: GrpcRequest) -> Answer<Token> {
        self.check(Call::GrpcCall)?;
        self.start_grpc(target, request)
    }

    fn grpc_send(&self, stream: Token, message: &[u8], end: bool) -> Answer<()> {
        self.send_grpc(stream, message, end)
    }

    fn grpc_close(&self, token: Token) -> Answer<()> {
        self.close_grpc(token)
    }

    fn grpc_cancel(&self, token: Token) -> Answer<()> {
        self.cancel_grpc(token)
    }

    fn sleep(&self, duration: Duration) -> Answer<Token> {
        self.check(Call::Sleep)?;
        let token = self.surroundings.next_token();
        self.spawn(token, async move {
            crate::clock::sleep(duration).await;
            callout::Ended::Timer
        });
        Ok(token)
    }

    fn set_tick(&self, period: Duration) -> Answer<()> {
        self.check(Call::SetTick)?;
        if let Home::Plugin { running, tick } = &self.home {
            if !period.is_zero() && period < LEAST_TICK {
                let text =
                    format!("timer.every: a period of {period:?} (allowed: at least {LEAST_TICK:?}, which it is)");
                self.log(LogLevel::Warn, &text);
            }
            tick.set(if period.is_zero() { period } else { period.max(LEAST_TICK) });
            if let Some(running) = running.borrow().upgrade() {
                Running::tick(&running);
            }
        }
        Ok(())
    }

    fn origin_set_pool(&self, pool: &str) -> Answer<()> {
        self.check(Call::OriginSetPool)?;
        self.set_pool(self.exchange()?, pool)
    }

    fn origin_set_host(&self, address: &str) -> Answer<()> {
        self.check(Call::OriginSetHost)?;
        self.set_host(self.exchange()?, address)
    }

    fn origin_exclude(&self, address: &str) -> Answer<()> {
        self.check(Call::OriginExclude)?;
        self.exclude(self.exchange()?, address)
    }

    fn origin_picked(&self) -> Answer<Option<Picked>> {
        self.check(Call::OriginGet)?;
        Ok(self.exchange()?.choice.picked())
    }

    fn origin_stats(&self, pool: Option<&str>) -> Answer<Vec<OriginStats>> {
        self.check(Call::OriginStats)?;
        self.stats(pool)
    }

    fn scale_hint(&self, pool: &str, hint: &ScaleHint<'_>) -> Answer<()> {
        self.check(Call::ScaleHint)?;
        Call::ScaleHint.check_named(&self.bound.settings.capabilities, pool)?;
        self.hint(pool, hint)
    }

    fn scale_view(&self) -> Answer<Bytes> {
        self.check(Call::ScaleView)?;
        Ok(self.asked.view.borrow().clone())
    }

    fn scale_propose(&self, origins: f64, because: &str) -> Answer<()> {
        self.check(Call::ScalePropose)?;
        self.asked.propose(origins, because)
    }

    fn property(&self, path: &[&str]) -> Answer<Value> {
        let exchange = match &self.home {
            Home::Exchange { exchange, .. } => Some(exchange),
            Home::Plugin { .. } => None,
        };
        let known = self.own_property(path).or_else(|| exchange.and_then(|exchange| exchange.property(path)));
        // What plugins share along the chain is `ctx.get`, which takes no capability; it never
        // stands in front of a fact.
        if known.is_none()
            && let Some(value) = exchange.and_then(|exchange| exchange.shared_value(path))
        {
            return self.check(Call::CtxGet).map(|()| value);
        }
        self.check(Call::PropertyGet)?;
        known.ok_or_else(Refusal::not_found)
    }
    fn set_property(&self, path: &[&str], value: &[u8]) -> Answer<()> {
        self.check(Call::CtxSet)?;
        self.exchange()?.share(path, value)
    }

    fn dict_get(&self, dict: &str, key: &[u8]) -> Answer<(Bytes, u32)> {
        self.check(Call::DictGet)?;
        self.dict(Call::DictGet, dict)?.get(key, self.surroundings.state.now())
    }

    fn dict_write(&self, dict: &str, key: &[u8], write: DictWrite<'_>) -> Answer<()> {
        self.check(write.call())?;
        self.dict(write.call(), dict)?.write(key, write, self.surroundings.state.now())
    }

    fn dict_incr(&self, dict: &str, key: &[u8], incr: DictIncr) -> Answer<i64> {
        self.check(Call::DictIncr)?;
        self.dict(Call::DictIncr, dict)?.incr(key, incr, self.surroundings.state.now())
    }

    fn queue_push(&self, queue: &str, item: &[u8]) -> Answer<()> {
        self.check(Call::QueuePush)?;
        self.queue(Call::QueuePush, queue)?.push(item)
    }

    fn queue_pop(&self, queue: &str) -> Answer<Option<Bytes>> {
        self.check(Call::QueuePop)?;
        Ok(self.queue(Call::QueuePop, queue)?.pop())
    }

    fn queue_register(&self, name: &str) -> Answer<u32> {
        self.check(Call::QueuePop)?;
        // It is told of it as of all queues of its own (`Instances::refresh`).
        Ok(self.surroundings.state.queues.open_own(Call::QueuePop, &self.bound.settings.plugin, name)?.id)
    }

    fn queue_resolve(&self, vm: &str, name: &str) -> Answer<u32> {
        self.check(Call::QueuePop)?;
        let name = if vm.is_empty() { name.to_owned() } else { format!("{vm}/{name}") };
        let known = self.surroundings.state.queues.get(&name);
        known.or_else(|| self.queue(Call::QueuePop, &name).ok()).map(|queue| queue.id).ok_or_else(Refusal::not_found)
    }

    fn queue_name(&self, id: u32) -> Answer<Arc<str>> {
        Ok(self.surroundings.state.queues.by_id(id)?.name.clone())
    }

    fn limit_take(&self, bucket: &str, key: &[u8], cost: u32) -> Answer<Taken> {
        self.check(Call::LimitTake)?;
        self.bucket(Call::LimitTake, bucket)?.take("limit.take", key, cost, self.surroundings.state.now())
    }

    fn tokens_reserve(&self, bucket: &str, key: &[u8], tokens: u32) -> Answer<LeaseId> {
        self.check(Call::TokensReserve)?;
        let bucket = self.bucket(Call::TokensReserve, bucket)?;
        self.leases.reserve(bucket, key, tokens, self.surroundings.state.now())
    }

    fn lease_commit(&self, lease: LeaseId, used: u32) -> Answer<()> {
        self.check(Call::LeaseCommit)?;
        self.leases.commit(lease, used, self.surroundings.state.now())
    }

    fn lease_release(&self, lease: LeaseId) -> Answer<()> {
        self.check(Call::LeaseRelease)?;
        self.leases.release(lease)
    }

    fn kv(&self, kv: &str, ask: KvAsk) -> Answer<Token> {
        let call = ask.call();
        self.check(call)?;
        call.check_named(&self.bound.settings.capabilities, kv)?;
        super::kv::ask(self, kv, ask)
    }

    fn secret(&self, name: &str) -> Answer<Arc<str>> {
        self.check(Call::Secret)?;
        Call::Secret.check_named(&self.bound.settings.capabilities, name)?;
        self.bound.secrets.mark(name)
    }

    fn secret_hmac(&self, name: &str, algorithm: Algorithm, data: &[u8]) -> Answer<Vec<u8>> {
        self.check(Call::SecretHmac)?;
        Call::SecretHmac.check_named(&self.bound.settings.capabilities, name)?;
        self.bound.secrets.hmac(name, algorithm, data)
    }

    fn define_metric(&self, kind: MetricKind, name: &str, labels: &[(&str, &str)]) -> Answer<MetricId> {
        self.check(match kind {
            MetricKind::Counter => Call::MetricCounter,
            MetricKind::Gauge => Call::MetricGauge,
            MetricKind::Histogram => Call::MetricHistogram,
        })?;
        let most = self.bound.settings.limits.metrics.into();
        let may = |series| self.may(Limit::Metrics, series, most);
        let all = &self.surroundings.state.metrics;
        self.surroundings.metrics.define(all, &self.bound.settings, kind, name, labels, &may)
    }

    fn increment_metric(&self, metric: MetricId, by: i64) -> Answer<()> {
        self.surroundings.metrics.increment(&self.surroundings.state.metrics, &self.bound.settings, metric, by)
    }

    fn record_metric(&self, metric: MetricId, value: u64) -> Answer<()> {
        self.surroundings.metrics.record(&self.surroundings.state.metrics, &self.bound.settings, metric, value)
    }

    fn metric(&self, metric: MetricId) -> Answer<u64> {
        self.surroundings.metrics.read(&self.surroundings.state.metrics, &self.bound.settings, metric)
    }

    fn log_fields(&self, level: LogLevel, message: &str, fields: &[(&str, Field)]) {
        let request_id = match &self.home {
            Home::Exchange { exchange, .. } => &exchange.id,
            Home::Plugin { .. } => "",
        };
        if self.may_log() {
            line::write(&self.bound.settings.plugin, request_id, level, message, fields);
        }
    }

    fn log_level(&self) -> LogLevel {
        line::lowest()
    }

    fn span(&self, name: &str) -> Answer<SpanId> {
        self.check(Call::TraceSpan)?;
        self.begin_span(name)
    }

    fn set_span(&self, span: SpanId, key: &str, value: Field) -> Answer<()> {
        self.set_in_span(span, key, value)
    }

    fn finish_span(&self, span: SpanId) -> Answer<()> {
        self.end_span(span)
    }

    fn remaining(&self) -> Answer<Vec<(Limit, f64)>> {
        self.check(Call::LimitsRemaining)?;
        Ok(self.left())
    }

    fn passed(&self, limit: Limit, what: &str) {
        self.tell_passed(limit, what);
    }

    fn now(&self) -> Duration {
        crate::clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

impl Seat {
    /// Whether one more line fits into this second; one that does not is counted.
    pub(super) fn may_log(&self) -> bool {
        let settings = &self.bound.settings;
        let fits = self.may(Limit::LogLines, self.log.take(self.now()).into(), settings.limits.log_lines.into());
        if !fits {
            let count = || {
                let plugin = settings.plugin.to_string();
                metrics::counter!("forebay_plugin_log_dropped_total", "plugin" => plugin).increment(1);
            };
            self.surroundings.state.metrics.about(&settings.plugin, count);
        }
        fits
    }

    /// A fact that needs no exchange.
    fn own_property(&self, path: &[&str]) -> Option<Value> {
        let worker = || self.surroundings.worker();
        let node = match path.last() {
            Some(&"id") => worker().and_then(|worker| Some(worker.snapshot().region.edge.as_ref()?.name.clone())),
            _ => None,
        };
        property::of_plugin(&self.bound.settings, node.as_deref().unwrap_or_default(), path)
    }

    /// A plugin's own dictionary (proxy-wasm's shared data of its vm id) needs no grant.
    fn dict(&self, call: Call, dict: &str) -> Answer<Arc<Dict>> {
        if dict != &*self.bound.settings.plugin {
            call.check_named(&self.bound.settings.capabilities, dict)?;
        }
        Ok(self.surroundings.state.dict(dict))
    }

    /// A plugin's own queues (proxy-wasm's of its vm id) need no grant.
    fn queue(&self, call: Call, queue: &str) -> Answer<Arc<Queue>> {
        let (queues, plugin) = (&self.surroundings.state.queues, &*self.bound.settings.plugin);
        if is_own(plugin, queue) {
            return queues.open_own(call, plugin, &queue[plugin.len() + 1..]);
        }
        call.check_named(&self.bound.settings.capabilities, queue)?;
        Ok(queues.open(queue))
    }

    fn bucket(&self, call: Call, bucket: &str) -> Answer<Arc<Bucket>> {
        call.check_named(&self.bound.settings.capabilities, bucket)?;
        self.surroundings.state.bucket(call.row().lua, bucket)
    }
}
