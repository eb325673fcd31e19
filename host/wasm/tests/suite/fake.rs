//! A host that remembers what it was asked, and modules written in text form.
//! Long because it answers every hostcall.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use abi::Capabilities;
use abi::hostcall::{Call, HeaderOp};
use abi::{
    Algorithm, Answer, Callout, CalloutRequest, ContextId, DictIncr, DictWrite, Fault, Field, GrpcRequest, Host,
    Instance, KvAsk, LeaseId, Limit, Limits, LoadError, LocalAnswer, LogLevel, Map, MetricId, MetricKind, OriginStats,
    Phase, Picked, Plugin, Refusal, ScaleHint, ServerEvent, Settings, Side, SpanId, Status, Taken, Token, Value,
};
use bytes::Bytes;

pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Values and their versions by dictionary and key.
pub type Dict = BTreeMap<(String, Vec<u8>), (Vec<u8>, u32)>;

pub struct Fake {
    pub settings: Settings,
    pub phase: Cell<Phase>,
    pub maps: RefCell<[Pairs; 4]>,
    pub bodies: RefCell<[Vec<u8>; 2]>,
    pub answers: RefCell<Vec<LocalAnswer>>,
    /// What events were replaced with; dropped ones are `None`.
    pub events: RefCell<Vec<Option<ServerEvent>>>,
    pub resumed: RefCell<Vec<Side>>,
    pub aborted: Cell<bool>,
    pub callouts: RefCell<Vec<(String, CalloutRequest)>>,
    /// What was asked of gRPC.
    pub grpcs: RefCell<Vec<String>>,
    pub several: RefCell<Vec<Vec<Callout>>>,
    pub sleeps: RefCell<Vec<Duration>>,
    pub kv: RefCell<Vec<(String, KvAsk)>>,
    pub tick: Cell<Option<Duration>>,
    /// What was asked of origins.
    pub chosen: RefCell<Vec<String>>,
    pub scale_view: RefCell<Bytes>,
    pub picked: RefCell<Option<Picked>>,
    pub origins: RefCell<Vec<OriginStats>>,
    pub properties: RefCell<BTreeMap<String, Value>>,
    pub dict: RefCell<Dict>,
    /// Of every write to a dictionary.
    pub ttls: RefCell<Vec<Option<Duration>>>,
    pub queue: RefCell<std::collections::VecDeque<Bytes>>,
    /// Keys and tokens that were taken; how leases ended.
    pub takes: RefCell<Vec<(Vec<u8>, u32)>>,
    pub leases: RefCell<Vec<(LeaseId, Option<u32>)>>,
    pub metrics: RefCell<Vec<(MetricKind, String, i64)>>,
    pub lines: RefCell<Vec<(LogLevel, String)>>,
    pub spans: RefCell<Vec<String>>,
    /// What was passed in shadow mode.
    pub passed: RefCell<Vec<(Limit, String)>>,
    pub lowest: Cell<LogLevel>,
    /// How long `now` sleeps, and whether it panics.
    pub slow: Cell<Duration>,
    pub panics: Cell<bool>,
}

impl Fake {
    pub fn new() -> Rc<Fake> {
        Fake::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Settings)) -> Rc<Fake> {
        let mut settings = Settings {
            plugin: "tried".into(),
            version: "1".into(),
            vm_config: Bytes::from_static(b"vm"),
            config: Bytes::from_static(b"{\"a\":1}"),
            limits: Limits::default(),
            capabilities: Capabilities::parse(["callout:authz", "limit:calls", "queue:jobs"]).unwrap(),
        };
        change(&mut settings);
        Rc::new(Fake {
            settings,
            phase: Cell::new(Phase::Request),
            maps: RefCell::default(),
            bodies: RefCell::default(),
            answers: RefCell::default(),
            events: RefCell::default(),
            resumed: RefCell::default(),
            aborted: Cell::new(false),
            callouts: RefCell::default(),
            grpcs: RefCell::default(),
            several: RefCell::default(),
            sleeps: RefCell::default(),
            kv: RefCell::default(),
            tick: Cell::new(None),
            chosen: RefCell::default(),
            scale_view: RefCell::default(),
            picked: RefCell::default(),
            origins: RefCell::default(),
            properties: RefCell::default(),
            dict: RefCell::default(),
            ttls: RefCell::default(),
            queue: RefCell::default(),
            takes: RefCell::default(),
            leases: RefCell::default(),
            metrics: RefCell::default(),
            lines: RefCell::default(),
            passed: RefCell::default(),
            spans: RefCell::default(),
            lowest: Cell::new(LogLevel::Trace),
            slow: Cell::default(),
            panics: Cell::default(),
        })
    }

    pub fn put(&self, map: Map, name: &str, value: &str) {
        self.maps.borrow_mut()[map as usize].push((name.into(), value.into()));
    }

    pub fn map(&self, map: Map) -> Vec<(String, String)> {
        let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).unwrap();
        self.maps.borrow()[map as usize].iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    pub fn define(&self, metric: &str) {
        self.metrics.borrow_mut().push((MetricKind::Counter, metric.to_owned(), 0));
    }

    /// All lines of the log, one string.
    pub fn log_text(&self) -> String {
        self.lines.borrow().iter().map(|(level, text)| format!("{level:?} {text}\n")).collect()
    }

    fn check(&self, call: Call) -> Answer<()> {
        call.check(self.phase.get(), &self.settings.capabilities)
    }

    fn bytes_of(&self, side: Side) -> Vec<u8> {
        self.bodies.borrow()[side as usize].clone()
    }
}

impl Host for Fake {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn header(&self, map: Map, name: &[u8], each: &mut dyn FnMut(&[u8])) -> Answer<()> {
        self.check(HeaderOp::Get.on(map))?;
        for (known, value) in &self.maps.borrow()[map as usize] {
            if known.eq_ignore_ascii_case(name) {
                each(value);
            }
        }
        Ok(())
    }

    fn headers(&self, map: Map, each: &mut dyn FnMut(&[u8], &[u8])) -> Answer<()> {
        self.check(HeaderOp::Pairs.on(map))?;
        for (name, value) in &self.maps.borrow()[map as usize] {
            each(name, value);
        }
        Ok(())
    }

    fn set_header(&self, map: Map, name: &[u8], value: &[u8]) -> Answer<()> {
        self.check(HeaderOp::Set.on(map))?;
        let pairs = &mut self.maps.borrow_mut()[map as usize];
        pairs.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        pairs.push((name.into(), value.into()));
        Ok(())
    }

    fn add_header(&self, map: Map, name: &[u8], value: &[u8]) -> Answer<()> {
        self.check(HeaderOp::Add.on(map))?;
        self.maps.borrow_mut()[map as usize].push((name.into(), value.into()));
        Ok(())
    }

    fn remove_header(&self, map: Map, name: &[u8]) -> Answer<()> {
        self.check(HeaderOp::Remove.on(map))?;
        self.maps.borrow_mut()[map as usize].retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        Ok(())
    }

    fn set_headers(&self, map: Map, pairs: &[(&[u8], &[u8])]) -> Answer<()> {
        self.check(HeaderOp::Set.on(map))?;
        self.maps.borrow_mut()[map as usize] = pairs.iter().map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
        Ok(())
    }

    fn body(&self, side: Side) -> Answer<Bytes> {
        self.check(if side == Side::Request { Call::RequestBody } else { Call::ResponseBody })?;
        Ok(self.bytes_of(side).into())
    }

    fn set_body(&self, side: Side, range: Range<usize>, bytes: &[u8]) -> Answer<()> {
        self.check(if side == Side::Request { Call::RequestSetBody } else { Call::ResponseSetBody })?;
        let body = &mut self.bodies.borrow_mut()[side as usize];
        let start = range.start.min(body.len());
        let end = range.end.clamp(start, body.len());
        body.splice(start..end, bytes.iter().copied());
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

    fn resume(&self, side: Side) -> Answer<()> {
        self.resumed.borrow_mut().push(side);
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
        self.callouts.borrow_mut().push((target.to_owned(), request));
        Ok(Token(40 + self.callouts.borrow().len() as u32))
    }

    fn callout_all(&self, callouts: Vec<Callout>) -> Answer<Token> {
        self.check(Call::HttpCallAll)?;
        self.several.borrow_mut().push(callouts);
        Ok(Token(70))
    }

    fn grpc(&self, target: &str, request: GrpcRequest) -> Answer<Token> {
        self.check(Call::GrpcCall)?;
        if target == "nobody" {
            return Err(Refusal::not_found());
        }
        Call::GrpcCall.check_named(&self.settings.capabilities, target)?;
        let token = Token(60);
        self.grpcs.borrow_mut().push(format!("{target} {request:?}"));
        Ok(token)
    }

    fn grpc_send(&self, stream: Token, message: &[u8], end: bool) -> Answer<()> {
        self.grpcs.borrow_mut().push(format!("send {} {:?} {end}", stream.0, message.escape_ascii().to_string()));
        Ok(())
    }

    fn grpc_close(&self, token: Token) -> Answer<()> {
        self.grpcs.borrow_mut().push(format!("close {}", token.0));
        Ok(())
    }

    fn grpc_cancel(&self, token: Token) -> Answer<()> {
        if token != Token(60) {
            return Err(Refusal::not_found());
        }
        self.grpcs.borrow_mut().push(format!("cancel {}", token.0));
        Ok(())
    }

    fn sleep(&self, duration: Duration) -> Answer<Token> {
        self.check(Call::Sleep)?;
        self.sleeps.borrow_mut().push(duration);
        Ok(Token(90))
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
        self.properties.borrow().get(&path.join(".")).cloned().ok_or_else(Refusal::not_found)
    }

    fn set_property(&self, path: &[&str], value: &[u8]) -> Answer<()> {
        self.check(Call::CtxSet)?;
        self.properties.borrow_mut().insert(path.join("."), Value::Bytes(value.to_vec()));
        Ok(())
    }

    fn dict_get(&self, dict: &str, key: &[u8]) -> Answer<(Bytes, u32)> {
        let found = self.dict.borrow().get(&(dict.to_owned(), key.to_vec())).cloned();
        found.map(|(value, version)| (value.into(), version)).ok_or_else(Refusal::not_found)
    }

    fn dict_write(&self, dict: &str, key: &[u8], write: DictWrite<'_>) -> Answer<()> {
        let place = (dict.to_owned(), key.to_vec());
        let mut all = self.dict.borrow_mut();
        let now = all.get(&place).map_or(0, |(_, version)| *version);
        let (value, wanted, ttl) = match write {
            DictWrite::Set { value, ttl, version } => (Some(value), version, ttl),
            DictWrite::Add { value, ttl } => (Some(value), Some(0), ttl),
            DictWrite::Cas { value, ttl, version } => (Some(value), Some(version), ttl),
            DictWrite::Delete { version } => (None, version, None),
        };
        if wanted.is_some_and(|wanted| wanted != now) {
            return Err(Refusal::new(Status::CasMismatch, "changed meanwhile"));
        }
        self.ttls.borrow_mut().push(ttl);
        match value {
            Some(value) => drop(all.insert(place, (value.to_vec(), now + 1))),
            None => drop(all.remove(&place)),
        }
        Ok(())
    }

    fn dict_incr(&self, dict: &str, key: &[u8], incr: DictIncr) -> Answer<i64> {
        let place = (dict.to_owned(), key.to_vec());
        let mut all = self.dict.borrow_mut();
        let known = all.get(&place).map(|(value, _)| String::from_utf8_lossy(value).parse::<i64>());
        let no_number = || Refusal::new(Status::BadArgument, "the value is no number");
        let number = known.unwrap_or(Ok(incr.init)).ok().and_then(|known| known.checked_add(incr.by));
        let number = number.ok_or_else(no_number)?;
        self.ttls.borrow_mut().push(incr.ttl);
        all.insert(place, (number.to_string().into(), 1));
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
        let mut all = self.kv.borrow_mut();
        all.push((kv.to_owned(), ask));
        Ok(Token(all.len() as u32 + 300))
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
        let labels: String = labels.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        let name = &format!("{name}{labels}");
        let mut metrics = self.metrics.borrow_mut();
        metrics.push((kind, name.to_owned(), 0));
        Ok(MetricId(metrics.len() as u32))
    }

    fn increment_metric(&self, metric: MetricId, by: i64) -> Answer<()> {
        let mut metrics = self.metrics.borrow_mut();
        let (_, _, value) = metrics.get_mut((metric.0 as usize).wrapping_sub(1)).ok_or_else(Refusal::not_found)?;
        *value = value.saturating_add(by);
        Ok(())
    }

    fn record_metric(&self, metric: MetricId, value: u64) -> Answer<()> {
        let mut metrics = self.metrics.borrow_mut();
        metrics.get_mut((metric.0 as usize).wrapping_sub(1)).ok_or_else(Refusal::not_found)?.2 = value as i64;
        Ok(())
    }

    fn metric(&self, metric: MetricId) -> Answer<u64> {
        let metrics = self.metrics.borrow();
        Ok(metrics.get((metric.0 as usize).wrapping_sub(1)).ok_or_else(Refusal::not_found)?.2 as u64)
    }

    fn log_fields(&self, level: LogLevel, message: &str, fields: &[(&str, Field)]) {
        let fields: String = fields.iter().map(|(name, value)| format!(" {name}={value:?}")).collect();
        self.lines.borrow_mut().push((level, format!("{message}{fields}")));
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
        self.lowest.get()
    }

    fn now(&self) -> Duration {
        assert!(!self.panics.get(), "a bug");
        std::thread::sleep(self.slow.get());
        Duration::new(1_700_000_000, 5)
    }
}

/// A file of its own for each module; gone when dropped.
struct File(PathBuf);

impl File {
    fn new(bytes: &[u8]) -> File {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("forebay-module-{}-{}.wasm", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes).unwrap();
        File(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub fn load_bytes(bytes: &[u8]) -> Result<Arc<dyn Plugin>, LoadError> {
    forebay_wasm::load(&File::new(bytes).0)
}

/// Loads a whole module in text form.
pub fn load_text(text: &str) -> Result<Arc<dyn Plugin>, LoadError> {
    load_bytes(&wat::parse_str(text).unwrap())
}

/// A function to import from `env`: its name, and its parameters (`i` is i32, `l` is i64).
/// In the text it is called by its name without `proxy_`.
pub type Import = (&'static str, &'static str);

fn import((name, params): &Import) -> String {
    let params: String = params.chars().map(|c| if c == 'l' { " i64" } else { " i32" }).collect();
    let short = name.strip_prefix("proxy_").unwrap_or(name);
    let params = if params.is_empty() { params } else { format!("(param{params})") };
    format!("(import \"env\" \"{name}\" (func ${short} {params} (result i32)))\n")
}

/// A 0.2.1 module with a page of memory and an allocator that gives blocks from 32768 on.
/// `$num` logs a number, `$show` the text whose address and length stand at an address;
/// addresses below 1024 are free to use.
pub fn module(imports: &[Import], body: &str) -> String {
    module_of("0_2_1", imports, body)
}

pub fn module_of(version: &str, imports: &[Import], body: &str) -> String {
    let imports: String = imports.iter().chain(&[("proxy_log", "iii")]).map(import).collect();
    format!(
        r#"(module
        {imports}
        (memory (export "memory") 1)
        (global $next (mut i32) (i32.const 32768))
        (func (export "proxy_abi_version_{version}"))
        (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
            (global.get $next)
            (global.set $next (i32.add (global.get $next) (local.get $size))))
        (func $num (param $n i32) (local $at i32)
            (local.set $at (i32.const 64))
            (loop $digit
                (local.set $at (i32.sub (local.get $at) (i32.const 1)))
                (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
                (local.set $n (i32.div_u (local.get $n) (i32.const 10)))
                (br_if $digit (local.get $n)))
            (drop (call $log (i32.const 2) (local.get $at) (i32.sub (i32.const 64) (local.get $at)))))
        (func $show (param $at i32)
            (drop (call $log (i32.const 2) (i32.load (local.get $at)) (i32.load offset=4 (local.get $at)))))
        {body})"#
    )
}

/// A module that does `body` when the headers of a request come, and then continues. `data`
/// stands from address 1024 on.
pub fn on_request(imports: &[Import], data: &str, body: &str) -> String {
    let callback = format!(
        r#"(data (i32.const 1024) "{data}")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {body} (i32.const 0))"#
    );
    module(imports, &callback)
}

/// Runs that module for one request and gives what it logged, a line each.
pub fn logged(imports: &[Import], data: &str, body: &str, host: &Rc<Fake>) -> Vec<String> {
    let mut tried = Tried::text_with(&on_request(imports, data, body), host.clone());
    assert_eq!(tried.request().unwrap(), abi::Action::Continue);
    assert!(tried.instance.healthy());
    host.lines.borrow().iter().map(|(_, text)| text.clone()).collect()
}

/// An instance with one exchange open, as context 2.
pub struct Tried {
    pub host: Rc<Fake>,
    pub instance: Box<dyn Instance>,
}

pub const EXCHANGE: ContextId = ContextId(2);

impl Tried {
    pub fn start(plugin: &dyn Plugin, host: Rc<Fake>) -> Result<Tried, Fault> {
        let phase = host.phase.replace(Phase::Start);
        let mut instance = plugin.instantiate(host.clone())?;
        host.phase.set(phase);
        instance.open(EXCHANGE, host.clone())?;
        Ok(Tried { host, instance })
    }

    pub fn text(text: &str) -> Tried {
        Tried::text_with(text, Fake::new())
    }

    pub fn text_with(text: &str, host: Rc<Fake>) -> Tried {
        let plugin = load_text(text).unwrap();
        Tried::start(&*plugin, host).unwrap()
    }

    pub fn call(&mut self, event: abi::Event<'_>) -> Result<abi::Action, Fault> {
        self.instance.call(EXCHANGE, event)
    }

    pub fn request(&mut self) -> Result<abi::Action, Fault> {
        self.call(abi::Event::RequestHeaders { end_of_stream: true })
    }
}

/// The fault of an instance that must not start.
pub fn start_fault(text: &str, host: Rc<Fake>) -> Fault {
    match Tried::start(&*load_text(text).unwrap(), host) {
        Ok(_) => panic!("it started"),
        Err(fault) => fault,
    }
}
