//! An `abi::Host` that records what it is asked and answers from plain tables.
//! Long because it answers every hostcall.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use abi::hostcall::HeaderOp;
use abi::*;
use bytes::Bytes;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;
/// Value and version by dictionary and key.
type Dicts = BTreeMap<(String, Vec<u8>), (Bytes, u32)>;

/// A folder of its own, gone in the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("forebay-lua-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn with(self, name: &str, text: &str) -> Folder {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.join(name)
    }

    pub fn load(&self) -> Result<Arc<dyn Plugin>, LoadError> {
        forebay_lua::load(&self.0.join("main.lua"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs on a stack like a worker's.
pub fn on_worker<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::Builder::new().stack_size(8 << 20).spawn(body).unwrap();
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

pub fn load(code: &str) -> Arc<dyn Plugin> {
    Folder::new().with("main.lua", code).load().unwrap_or_else(|e| panic!("{e}\n{code}"))
}

pub struct Fake {
    pub settings: Settings,
    pub phase: Cell<Phase>,
    pub maps: RefCell<[Pairs; 4]>,
    pub bodies: RefCell<[Bytes; 2]>,
    pub answers: RefCell<Vec<LocalAnswer>>,
    /// What events were replaced with; dropped ones are `None`.
    pub events: RefCell<Vec<Option<ServerEvent>>>,
    pub aborted: Cell<bool>,
    pub callouts: RefCell<Vec<(String, CalloutRequest, Token)>>,
    /// Calls of gRPC.
    pub grpcs: RefCell<Vec<(String, GrpcRequest, Token)>>,
    pub several: RefCell<Vec<(Vec<Callout>, Token)>>,
    pub timers: RefCell<Vec<(Duration, Token)>>,
    pub kv: RefCell<Vec<(String, KvAsk, Token)>>,
    pub tick: Cell<Option<Duration>>,
    /// What was asked of origins.
    pub chosen: RefCell<Vec<String>>,
    pub scale_view: RefCell<Bytes>,
    pub picked: RefCell<Option<Picked>>,
    pub origins: RefCell<Vec<OriginStats>>,
    pub properties: RefCell<BTreeMap<String, Value>>,
    pub dicts: RefCell<Dicts>,
    /// Of every write to a dictionary.
    pub ttls: RefCell<Vec<Option<Duration>>>,
    pub queue: RefCell<std::collections::VecDeque<Bytes>>,
    /// Keys and tokens that were taken; how leases ended.
    pub takes: RefCell<Vec<(Vec<u8>, u32)>>,
    pub leases: RefCell<Vec<(LeaseId, Option<u32>)>>,
    pub metrics: RefCell<Vec<(MetricKind, String, Vec<i64>)>>,
    pub logs: RefCell<Vec<(LogLevel, String)>>,
    pub spans: RefCell<Vec<String>>,
    /// What was passed in shadow mode.
    pub passed: RefCell<Vec<(Limit, String)>>,
    pub level: Cell<LogLevel>,
    pub panic_on_property: Cell<bool>,
    /// Whether there is a body to look at.
    pub looked_at: Cell<bool>,
    next: Cell<u32>,
}

pub fn pairs(list: &[(&str, &str)]) -> Pairs {
    list.iter().map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec())).collect()
}

impl Fake {
    pub fn new() -> Fake {
        let granted = ["callout:authz", "dict:cache", "secret:key", "limit:calls", "queue:jobs", "kv:main"];
        Fake::with(Limits::default(), Capabilities::parse(granted).unwrap(), "")
    }

    pub fn with(limits: Limits, capabilities: Capabilities, config: &str) -> Fake {
        let settings = Settings {
            plugin: Arc::from("test"),
            version: Arc::from("1"),
            vm_config: Bytes::from_static(b"vm text"),
            config: Bytes::copy_from_slice(config.as_bytes()),
            limits,
            capabilities,
        };
        let request = pairs(&[
            (":method", "GET"),
            (":path", "/a?b=c"),
            (":authority", "shop.test"),
            ("host", "shop.test"),
            ("user-agent", "some-bot/1"),
            ("x-id", "17"),
            ("accept", "a"),
            ("accept", "b"),
        ]);
        let response = pairs(&[(":status", "200"), ("server", "origin"), ("content-type", "text/plain")]);
        let maps = [request, pairs(&[("t", "1")]), response, pairs(&[("t", "2")])];
        Fake {
            settings,
            phase: Cell::new(Phase::Start),
            maps: RefCell::new(maps),
            bodies: RefCell::new([Bytes::from_static(b"request body"), Bytes::from_static(b"response body")]),
            answers: RefCell::default(),
            events: RefCell::default(),
            aborted: Cell::new(false),
            callouts: RefCell::default(),
            grpcs: RefCell::default(),
            several: RefCell::default(),
            timers: RefCell::default(),
            kv: RefCell::default(),
            tick: Cell::new(None),
            chosen: RefCell::default(),
            scale_view: RefCell::default(),
            picked: RefCell::default(),
            origins: RefCell::default(),
            properties: RefCell::default(),
            dicts: RefCell::default(),
            ttls: RefCell::default(),
            queue: RefCell::default(),
            takes: RefCell::default(),
            leases: RefCell::default(),
            metrics: RefCell::default(),
            logs: RefCell::default(),
            passed: RefCell::default(),
            spans: RefCell::default(),
            level: Cell::new(LogLevel::Trace),
            panic_on_property: Cell::new(false),
            looked_at: Cell::new(true),
            next: Cell::new(1),
        }
    }

    pub fn texts(&self) -> Vec<String> {
        self.logs.borrow().iter().map(|(_, text)| text.clone()).collect()
    }

    fn check(&self, call: Call) -> Answer<()> {
        call.check(self.phase.get(), &self.settings.capabilities)
    }

    fn token(&self) -> Token {
        self.next.set(self.next.get() + 1);
        Token(self.next.get())
    }
}

fn side_index(side: Side) -> usize {
    if side == Side::Request { 0 } else { 1 }
}

impl Host for Fake {
    fn settings(&self) -> &Settings {
        &self.settings
    }
    fn header(&self, map: Map, name: &[u8], each: &mut dyn FnMut(&[u8])) -> Answer<()> {
        self.check(HeaderOp::Get.on(map))?;
        let maps = self.maps.borrow();
        maps[map as usize].iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).for_each(|(_, v)| each(v));
        Ok(())
    }
    fn headers(&self, map: Map, each: &mut dyn FnMut(&[u8], &[u8])) -> Answer<()> {
        self.check(HeaderOp::Pairs.on(map))?;
        self.maps.borrow()[map as usize].iter().for_each(|(n, v)| each(n, v));
        Ok(())
    }
    fn set_header(&self, map: Map, name: &[u8], value: &[u8]) -> Answer<()> {
        self.check(HeaderOp::Set.on(map))?;
        let pairs = &mut self.maps.borrow_mut()[map as usize];
        pairs.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        pairs.push((name.to_vec(), value.to_vec()));
        Ok(())
    }
    fn add_header(&self, map: Map, name: &[u8], value: &[u8]) -> Answer<()> {
        self.check(HeaderOp::Add.on(map))?;
        self.maps.borrow_mut()[map as usize].push((name.to_vec(), value.to_vec()));
        Ok(())
    }
    fn remove_header(&self, map: Map, name: &[u8]) -> Answer<()> {
        self.check(HeaderOp::Remove.on(map))?;
        self.maps.borrow_mut()[map as usize].retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        Ok(())
    }
    fn set_headers(&self, map: Map, pairs: &[(&[u8], &[u8])]) -> Answer<()> {
        self.check(HeaderOp::Set.on(map))?;
        self.maps.borrow_mut()[map as usize] = pairs.iter().map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
        Ok(())
    }
    fn body(&self, side: Side) -> Answer<Bytes> {
        self.check(if side == Side::Request { Call::RequestChunk } else { Call::ResponseChunk })?;
        if !self.looked_at.get() {
            return Err(Refusal::not_found());
        }
        Ok(self.bodies.borrow()[side_index(side)].clone())
    }
    fn set_body(&self, side: Side, range: Range<usize>, bytes: &[u8]) -> Answer<()> {
        self.check(if side == Side::Request { Call::RequestSetBody } else { Call::ResponseSetBody })?;
        let body = &mut self.bodies.borrow_mut()[side_index(side)];
        let (start, end) = (range.start.min(body.len()), range.end.min(body.len()));
        *body = [&body[..start], bytes, &body[end..]].concat().into();
        Ok(())
    }
    fn set_event(&self, event: Option<&ServerEvent>) -> Answer<()> {
        self.check(Call::ResponseSetEvent)?;
        self.events.borrow_mut().push(event.cloned());
        Ok(())
    }
    fn respond(&self, answer: LocalAnswer) -> Answer<()> {
        self.check(Call::Respond)?;
        self.answers.borrow_mut().push(answer);
        Ok(())
    }
    fn resume(&self, _: Side) -> Answer<()> {
        Ok(())
    }
    fn abort(&self) -> Answer<()> {
        self.check(Call::Close)?;
        self.aborted.set(true);
        Ok(())
    }
    fn callout(&self, target: &str, request: CalloutRequest) -> Answer<Token> {
        self.check(Call::HttpCall)?;
        Call::HttpCall.check_named(&self.settings.capabilities, target)?;
        let token = self.token();
        self.callouts.borrow_mut().push((target.to_owned(), request, token));
        Ok(token)
    }
    fn callout_all(&self, callouts: Vec<Callout>) -> Answer<Token> {
        self.check(Call::HttpCallAll)?;
        let token = self.token();
        self.several.borrow_mut().push((callouts, token));
        Ok(token)
    }
    fn grpc(&self, target: &str, request: GrpcRequest) -> Answer<Token> {
        self.check(Call::GrpcCall)?;
        Call::GrpcCall.check_named(&self.settings.capabilities, target)?;
        let token = self.token();
        self.grpcs.borrow_mut().push((target.to_owned(), request, token));
        Ok(token)
    }
    fn grpc_send(&self, _: Token, _: &[u8], _: bool) -> Answer<()> {
        Err(Refusal::not_found())
    }
    fn grpc_close(&self, _: Token) -> Answer<()> {
        Err(Refusal::not_found())
    }
    fn grpc_cancel(&self, _: Token) -> Answer<()> {
        Err(Refusal::not_found())
    }
    fn sleep(&self, duration: Duration) -> Answer<Token> {
        self.check(Call::Sleep)?;
        let token = self.token();
        self.timers.borrow_mut().push((duration, token));
        Ok(token)
    }
    fn set_tick(&self, period: Duration) -> Answer<()> {
        self.check(Call::SetTick)?;
        self.tick.set(Some(period));
        Ok(())
    }
    fn origin_set_pool(&self, pool: &str) -> Answer<()> {
        self.check(Call::OriginSetPool)?;
        self.chosen.borrow_mut().push(format!("pool {pool}"));
        Ok(())
    }
    fn origin_set_host(&self, address: &str) -> Answer<()> {
        self.check(Call::OriginSetHost)?;
        self.chosen.borrow_mut().push(format!("host {address}"));
        Ok(())
    }
    fn origin_exclude(&self, address: &str) -> Answer<()> {
        self.check(Call::OriginExclude)?;
        self.chosen.borrow_mut().push(format!("not {address}"));
        Ok(())
    }
    fn origin_picked(&self) -> Answer<Option<Picked>> {
        self.check(Call::OriginGet)?;
        Ok(self.picked.borrow().clone())
    }
    fn origin_stats(&self, pool: Option<&str>) -> Answer<Vec<OriginStats>> {
        self.check(Call::OriginStats)?;
        self.chosen.borrow_mut().push(format!("stats {pool:?}"));
        Ok(self.origins.borrow().clone())
    }
    fn scale_hint(&self, pool: &str, hint: &ScaleHint<'_>) -> Answer<()> {
        self.check(Call::ScaleHint)?;
        Call::ScaleHint.check_named(&self.settings.capabilities, pool)?;
        self.chosen.borrow_mut().push(format!("{pool} {hint:?}"));
        Ok(())
    }
    fn scale_view(&self) -> Answer<Bytes> {
        self.check(Call::ScaleView)?;
        Ok(self.scale_view.borrow().clone())
    }
    fn scale_propose(&self, origins: f64, because: &str) -> Answer<()> {
        self.check(Call::ScalePropose)?;
        if !(0.0..=10_000.0).contains(&origins) {
            return Err(Refusal::new(Status::BadArgument, format!("scale.propose: origins {origins}")));
        }
        self.chosen.borrow_mut().push(format!("{origins} origins: {because}"));
        Ok(())
    }
    fn property(&self, path: &[&str]) -> Answer<Value> {
        self.check(Call::PropertyGet)?;
        assert!(!self.panic_on_property.get(), "the host has a bug");
        self.properties.borrow().get(&path.join(".")).cloned().ok_or_else(Refusal::not_found)
    }
    fn set_property(&self, path: &[&str], value: &[u8]) -> Answer<()> {
        self.check(Call::CtxSet)?;
        self.properties.borrow_mut().insert(path.join("."), Value::Bytes(value.to_vec()));
        Ok(())
    }
    fn dict_get(&self, dict: &str, key: &[u8]) -> Answer<(Bytes, u32)> {
        self.check(Call::DictGet)?;
        Call::DictGet.check_named(&self.settings.capabilities, dict)?;
        self.dicts.borrow().get(&(dict.to_owned(), key.to_vec())).cloned().ok_or_else(Refusal::not_found)
    }
    fn dict_write(&self, dict: &str, key: &[u8], write: DictWrite<'_>) -> Answer<()> {
        self.check(write.call())?;
        write.call().check_named(&self.settings.capabilities, dict)?;
        let at = (dict.to_owned(), key.to_vec());
        let mut dicts = self.dicts.borrow_mut();
        let current = dicts.get(&at).map_or(0, |(_, version)| *version);
        let (value, ttl, wanted) = match write {
            DictWrite::Set { value, ttl, version } => (Some(value), ttl, version),
            DictWrite::Add { value, ttl } => (Some(value), ttl, Some(0)),
            DictWrite::Cas { value, ttl, version } => (Some(value), ttl, Some(version)),
            DictWrite::Delete { version } => (None, None, version),
        };
        if wanted.is_some_and(|version| version != current) {
            return Err(Refusal::new(Status::CasMismatch, "the value has another version"));
        }
        self.ttls.borrow_mut().push(ttl);
        match value {
            Some(value) => drop(dicts.insert(at, (Bytes::copy_from_slice(value), current + 1))),
            None => drop(dicts.remove(&at)),
        }
        Ok(())
    }
    fn dict_incr(&self, dict: &str, key: &[u8], incr: DictIncr) -> Answer<i64> {
        self.check(Call::DictIncr)?;
        Call::DictIncr.check_named(&self.settings.capabilities, dict)?;
        let at = (dict.to_owned(), key.to_vec());
        let mut dicts = self.dicts.borrow_mut();
        let known = dicts.get(&at).map(|(value, _)| String::from_utf8_lossy(value).parse::<i64>().unwrap());
        let number = known.unwrap_or(incr.init) + incr.by;
        self.ttls.borrow_mut().push(incr.ttl);
        dicts.insert(at, (number.to_string().into(), 1));
        Ok(number)
    }
    fn queue_push(&self, queue: &str, item: &[u8]) -> Answer<()> {
        self.check(Call::QueuePush)?;
        Call::QueuePush.check_named(&self.settings.capabilities, queue)?;
        self.queue.borrow_mut().push_back(item.to_vec().into());
        Ok(())
    }

    fn queue_pop(&self, queue: &str) -> Answer<Option<Bytes>> {
        self.check(Call::QueuePop)?;
        Call::QueuePop.check_named(&self.settings.capabilities, queue)?;
        Ok(self.queue.borrow_mut().pop_front())
    }

    fn queue_register(&self, name: &str) -> Answer<u32> {
        if name == "jobs" { Ok(3) } else { Err(Refusal::new(Status::LimitExceeded, "too many")) }
    }

    fn queue_resolve(&self, vm: &str, name: &str) -> Answer<u32> {
        if (vm, name) == ("vm", "jobs") { Ok(3) } else { Err(Refusal::not_found()) }
    }

    fn queue_name(&self, id: u32) -> Answer<Arc<str>> {
        if id == 3 { Ok("jobs".into()) } else { Err(Refusal::not_found()) }
    }

    fn limit_take(&self, bucket: &str, key: &[u8], cost: u32) -> Answer<Taken> {
        self.check(Call::LimitTake)?;
        Call::LimitTake.check_named(&self.settings.capabilities, bucket)?;
        self.takes.borrow_mut().push((key.to_vec(), cost));
        // There are ten, and one comes in a second.
        let allowed = cost <= 10;
        let wait = Duration::from_secs(cost.saturating_sub(10).into());
        Ok(Taken { allowed, remaining: if allowed { 10 - cost } else { 10 }, retry_after: wait })
    }

    fn tokens_reserve(&self, bucket: &str, key: &[u8], tokens: u32) -> Answer<LeaseId> {
        self.check(Call::TokensReserve)?;
        Call::TokensReserve.check_named(&self.settings.capabilities, bucket)?;
        if tokens > 10 {
            return Err(Refusal::new(Status::LimitExceeded, "retry after 5s"));
        }
        self.takes.borrow_mut().push((key.to_vec(), tokens));
        Ok(LeaseId(7))
    }

    fn lease_commit(&self, lease: LeaseId, used: u32) -> Answer<()> {
        self.check(Call::LeaseCommit)?;
        self.leases.borrow_mut().push((lease, Some(used)));
        Ok(())
    }

    fn lease_release(&self, lease: LeaseId) -> Answer<()> {
        self.check(Call::LeaseRelease)?;
        self.leases.borrow_mut().push((lease, None));
        Ok(())
    }

    fn kv(&self, kv: &str, ask: KvAsk) -> Answer<Token> {
        self.check(ask.call())?;
        ask.call().check_named(&self.settings.capabilities, kv)?;
        let token = self.token();
        self.kv.borrow_mut().push((kv.to_owned(), ask, token));
        Ok(token)
    }
    fn secret(&self, name: &str) -> Answer<Arc<str>> {
        self.check(Call::Secret)?;
        Call::Secret.check_named(&self.settings.capabilities, name)?;
        Ok(format!("mark of {name}").into())
    }
    fn secret_hmac(&self, name: &str, algorithm: Algorithm, data: &[u8]) -> Answer<Vec<u8>> {
        self.check(Call::SecretHmac)?;
        Call::SecretHmac.check_named(&self.settings.capabilities, name)?;
        Ok([algorithm.name().as_bytes(), b" of ", data].concat())
    }
    fn define_metric(&self, kind: MetricKind, name: &str, labels: &[(&str, &str)]) -> Answer<MetricId> {
        self.check(Call::MetricCounter)?;
        let labels: String = labels.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        let name = &format!("{name}{labels}");
        let mut metrics = self.metrics.borrow_mut();
        if let Some(known) = metrics.iter().position(|(k, n, _)| *k == kind && n == name) {
            return Ok(MetricId(known as u32));
        }
        metrics.push((kind, name.to_owned(), Vec::new()));
        Ok(MetricId(metrics.len() as u32 - 1))
    }
    fn increment_metric(&self, metric: MetricId, by: i64) -> Answer<()> {
        if let Some(known) = self.metrics.borrow_mut().get_mut(metric.0 as usize) {
            known.2.push(by);
        }
        Ok(())
    }
    fn record_metric(&self, metric: MetricId, value: u64) -> Answer<()> {
        if let Some(known) = self.metrics.borrow_mut().get_mut(metric.0 as usize) {
            known.2.push(value as i64);
        }
        Ok(())
    }
    fn metric(&self, metric: MetricId) -> Answer<u64> {
        Ok(self.metrics.borrow().get(metric.0 as usize).map_or(0, |known| known.2.iter().sum::<i64>() as u64))
    }
    fn log_fields(&self, level: LogLevel, message: &str, fields: &[(&str, Field)]) {
        let fields: String = fields.iter().map(|(name, value)| format!(" {name}={value:?}")).collect();
        self.logs.borrow_mut().push((level, format!("{message}{fields}")));
    }
    fn span(&self, name: &str) -> Answer<SpanId> {
        self.check(Call::TraceSpan)?;
        let mut spans = self.spans.borrow_mut();
        spans.push(format!("begin {name}"));
        Ok(SpanId(spans.len() as u32))
    }
    fn set_span(&self, span: SpanId, key: &str, value: Field) -> Answer<()> {
        self.spans.borrow_mut().push(format!("set {} {key}={value:?}", span.0));
        Ok(())
    }
    fn finish_span(&self, span: SpanId) -> Answer<()> {
        self.spans.borrow_mut().push(format!("finish {}", span.0));
        Ok(())
    }
    fn remaining(&self) -> Answer<Vec<(Limit, f64)>> {
        self.check(Call::LimitsRemaining)?;
        Ok(vec![(Limit::Callouts, 7.0)])
    }
    fn passed(&self, limit: Limit, what: &str) {
        self.passed.borrow_mut().push((limit, what.to_owned()));
    }
    fn log_level(&self) -> LogLevel {
        self.level.get()
    }
    fn now(&self) -> Duration {
        Duration::from_millis(1_500)
    }
}

/// One instance with one host for everything: the exchange's context is 2, others as asked.
pub struct Run {
    pub host: Rc<Fake>,
    pub instance: Box<dyn Instance>,
}

pub const EXCHANGE: ContextId = ContextId(2);

impl Run {
    pub fn new(code: &str) -> Run {
        Run::with(code, Fake::new()).unwrap()
    }

    pub fn with(code: &str, fake: Fake) -> Result<Run, Fault> {
        let plugin = load(code);
        let host = Rc::new(fake);
        let mut instance = plugin.instantiate(host.clone())?;
        instance.open(EXCHANGE, host.clone()).unwrap();
        Ok(Run { host, instance })
    }

    pub fn call(&mut self, event: Event<'_>) -> Result<Action, Fault> {
        self.call_on(EXCHANGE, event)
    }

    pub fn call_on(&mut self, context: ContextId, event: Event<'_>) -> Result<Action, Fault> {
        match event {
            Event::RequestHeaders { .. } | Event::RequestBody { .. } | Event::RequestTrailers => {
                self.host.phase.set(Phase::Request);
            }
            Event::ResponseHeaders { .. }
            | Event::ResponseBody { .. }
            | Event::ResponseEvent(_)
            | Event::ResponseTrailers => {
                self.host.phase.set(Phase::Response);
            }
            Event::Done | Event::Log => self.host.phase.set(Phase::Log),
            Event::Tick | Event::Drain { .. } => self.host.phase.set(Phase::Background),
            Event::OriginSelect { .. } => self.host.phase.set(Phase::Origin),
            Event::Autoscale { view } => {
                self.host.phase.set(Phase::Scale);
                *self.host.scale_view.borrow_mut() = view.clone();
            }
            _ => {}
        }
        self.instance.call(context, event)
    }

    pub fn headers(&mut self) -> Result<Action, Fault> {
        self.call(Event::RequestHeaders { end_of_stream: false })
    }

    pub fn open(&mut self, context: u32) -> ContextId {
        self.instance.open(ContextId(context), self.host.clone()).unwrap();
        ContextId(context)
    }
}

/// Runs `body` as `on_request_headers` and gives what it logged.
pub fn eval(body: &str) -> Vec<String> {
    let code = format!("local log = forebay.log.info\nreturn {{ on_request_headers = function()\n{body}\nend }}");
    on_worker(move || {
        let mut run = Run::new(&code);
        if let Err(fault) = run.headers() {
            panic!("{fault}\n{}\n{code}", fault.trace.clone().unwrap_or_default());
        }
        run.host.texts()
    })
}

/// Runs `body` as `on_request_headers` and gives its fault.
pub fn fault(body: &str) -> Fault {
    let code = format!("local log = forebay.log.info\nreturn {{ on_request_headers = function()\n{body}\nend }}");
    on_worker(move || match Run::new(&code).headers() {
        Ok(action) => panic!("no fault but {action:?}\n{code}"),
        Err(fault) => fault,
    })
}
