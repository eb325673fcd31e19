//! The host of the scratch sandbox: a plugin's file is run once before there is any exchange,
//! to learn its callbacks. It may ask what the start phase allows, and changes nothing.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use abi::{
    Algorithm, Answer, Call, Callout, CalloutRequest, Capabilities, DictIncr, DictWrite, Field, GrpcRequest, Host,
    KvAsk, LeaseId, Limit, Limits, LocalAnswer, LogLevel, Map, MetricId, MetricKind, OriginStats, Phase, Picked,
    Refusal, ScaleHint, ServerEvent, Settings, Side, SpanId, Taken, Token, Value,
};
use bytes::Bytes;

pub struct Scratch {
    settings: Settings,
}

impl Scratch {
    pub fn new(name: &str, limits: Limits) -> Scratch {
        let (plugin, version) = (Arc::from(name), Arc::from("scratch"));
        let capabilities = Capabilities::default();
        Scratch {
            settings: Settings { plugin, version, vm_config: Bytes::new(), config: Bytes::new(), limits, capabilities },
        }
    }

    /// What is not allowed in the start phase is refused as it would be there.
    fn check(&self, call: Call) -> Answer<()> {
        call.check(Phase::Start, &self.settings.capabilities)
    }

    fn refuse<T>(&self, call: Call) -> Answer<T> {
        self.check(call)?;
        Err(Refusal::not_found())
    }
}

impl Host for Scratch {
    fn settings(&self) -> &Settings {
        &self.settings
    }
    fn header(&self, map: Map, _: &[u8], _: &mut dyn FnMut(&[u8])) -> Answer<()> {
        self.refuse(abi::hostcall::HeaderOp::Get.on(map))
    }
    fn headers(&self, map: Map, _: &mut dyn FnMut(&[u8], &[u8])) -> Answer<()> {
        self.refuse(abi::hostcall::HeaderOp::Pairs.on(map))
    }
    fn set_header(&self, map: Map, _: &[u8], _: &[u8]) -> Answer<()> {
        self.refuse(abi::hostcall::HeaderOp::Set.on(map))
    }
    fn add_header(&self, map: Map, _: &[u8], _: &[u8]) -> Answer<()> {
        self.refuse(abi::hostcall::HeaderOp::Add.on(map))
    }
    fn remove_header(&self, map: Map, _: &[u8]) -> Answer<()> {
        self.refuse(abi::hostcall::HeaderOp::Remove.on(map))
    }
    fn set_headers(&self, map: Map, _: &[(&[u8], &[u8])]) -> Answer<()> {
        self.refuse(abi::hostcall::HeaderOp::Set.on(map))
    }
    fn body(&self, _: Side) -> Answer<Bytes> {
        self.refuse(Call::RequestChunk)
    }
    fn set_body(&self, _: Side, _: Range<usize>, _: &[u8]) -> Answer<()> {
        self.refuse(Call::RequestSetBody)
    }
    fn set_event(&self, _: Option<&ServerEvent>) -> Answer<()> {
        self.refuse(Call::ResponseSetEvent)
    }
    fn respond(&self, _: LocalAnswer) -> Answer<()> {
        self.refuse(Call::Respond)
    }
    fn resume(&self, _: Side) -> Answer<()> {
        self.refuse(Call::Continue)
    }
    fn abort(&self) -> Answer<()> {
        self.refuse(Call::Close)
    }
    fn callout(&self, _: &str, _: CalloutRequest) -> Answer<Token> {
        self.refuse(Call::HttpCall)
    }
    fn grpc(&self, _: &str, _: GrpcRequest) -> Answer<Token> {
        self.refuse(Call::GrpcCall)
    }
    fn grpc_send(&self, _: Token, _: &[u8], _: bool) -> Answer<()> {
        self.refuse(Call::GrpcCall)
    }
    fn grpc_close(&self, _: Token) -> Answer<()> {
        self.refuse(Call::GrpcCall)
    }
    fn grpc_cancel(&self, _: Token) -> Answer<()> {
        self.refuse(Call::GrpcCall)
    }
    fn callout_all(&self, _: Vec<Callout>) -> Answer<Token> {
        self.refuse(Call::HttpCallAll)
    }
    fn sleep(&self, _: Duration) -> Answer<Token> {
        self.refuse(Call::Sleep)
    }
    fn set_tick(&self, _: Duration) -> Answer<()> {
        self.check(Call::SetTick)
    }
    fn origin_set_pool(&self, _: &str) -> Answer<()> {
        self.refuse(Call::OriginSetPool)
    }
    fn origin_set_host(&self, _: &str) -> Answer<()> {
        self.refuse(Call::OriginSetHost)
    }
    fn origin_exclude(&self, _: &str) -> Answer<()> {
        self.refuse(Call::OriginExclude)
    }
    fn origin_picked(&self) -> Answer<Option<Picked>> {
        self.refuse(Call::OriginGet)
    }
    fn origin_stats(&self, _: Option<&str>) -> Answer<Vec<OriginStats>> {
        self.refuse(Call::OriginStats)
    }
    fn scale_hint(&self, _: &str, _: &ScaleHint<'_>) -> Answer<()> {
        self.refuse(Call::ScaleHint)
    }
    fn scale_view(&self) -> Answer<Bytes> {
        self.refuse(Call::ScaleView)
    }
    fn scale_propose(&self, _: f64, _: &str) -> Answer<()> {
        self.refuse(Call::ScalePropose)
    }
    fn property(&self, _: &[&str]) -> Answer<Value> {
        self.refuse(Call::PropertyGet)
    }
    fn set_property(&self, _: &[&str], _: &[u8]) -> Answer<()> {
        self.refuse(Call::CtxSet)
    }
    fn dict_get(&self, _: &str, _: &[u8]) -> Answer<(Bytes, u32)> {
        self.refuse(Call::DictGet)
    }
    fn dict_write(&self, _: &str, _: &[u8], write: DictWrite<'_>) -> Answer<()> {
        self.check(write.call())
    }
    fn dict_incr(&self, _: &str, _: &[u8], incr: DictIncr) -> Answer<i64> {
        self.check(Call::DictIncr)?;
        Ok(incr.init.saturating_add(incr.by))
    }
    fn queue_push(&self, _: &str, _: &[u8]) -> Answer<()> {
        self.check(Call::QueuePush)
    }
    fn queue_pop(&self, _: &str) -> Answer<Option<Bytes>> {
        self.check(Call::QueuePop).map(|()| None)
    }
    fn queue_register(&self, _: &str) -> Answer<u32> {
        self.refuse(Call::QueuePop)
    }
    fn queue_resolve(&self, _: &str, _: &str) -> Answer<u32> {
        self.refuse(Call::QueuePop)
    }
    fn queue_name(&self, _: u32) -> Answer<Arc<str>> {
        self.refuse(Call::QueuePop)
    }
    fn limit_take(&self, _: &str, _: &[u8], _: u32) -> Answer<Taken> {
        self.refuse(Call::LimitTake)
    }
    fn tokens_reserve(&self, _: &str, _: &[u8], _: u32) -> Answer<LeaseId> {
        self.refuse(Call::TokensReserve)
    }
    fn lease_commit(&self, _: LeaseId, _: u32) -> Answer<()> {
        self.refuse(Call::LeaseCommit)
    }
    fn lease_release(&self, _: LeaseId) -> Answer<()> {
        self.refuse(Call::LeaseRelease)
    }
    fn kv(&self, _: &str, ask: KvAsk) -> Answer<Token> {
        self.refuse(ask.call())
    }
    /// A file may ask for its secrets before anybody has said which it is granted.
    fn secret(&self, _: &str) -> Answer<Arc<str>> {
        self.check(Call::Secret)?;
        Ok(Arc::from(""))
    }
    fn secret_hmac(&self, _: &str, _: Algorithm, _: &[u8]) -> Answer<Vec<u8>> {
        self.refuse(Call::SecretHmac)
    }
    fn define_metric(&self, _: MetricKind, _: &str, _: &[(&str, &str)]) -> Answer<MetricId> {
        Ok(MetricId(0))
    }
    fn increment_metric(&self, _: MetricId, _: i64) -> Answer<()> {
        Ok(())
    }
    fn record_metric(&self, _: MetricId, _: u64) -> Answer<()> {
        Ok(())
    }
    fn metric(&self, _: MetricId) -> Answer<u64> {
        Ok(0)
    }
    fn log_fields(&self, _: LogLevel, _: &str, _: &[(&str, Field)]) {}
    fn span(&self, _: &str) -> Answer<SpanId> {
        self.check(Call::TraceSpan)?;
        Ok(SpanId(0))
    }
    fn set_span(&self, _: SpanId, _: &str, _: Field) -> Answer<()> {
        Ok(())
    }
    fn finish_span(&self, _: SpanId) -> Answer<()> {
        Ok(())
    }
    fn remaining(&self) -> Answer<Vec<(Limit, f64)>> {
        self.check(Call::LimitsRemaining)?;
        Ok(Vec::new())
    }
    fn passed(&self, _: Limit, _: &str) {}
    fn log_level(&self) -> LogLevel {
        LogLevel::Critical
    }
    fn now(&self) -> Duration {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
    }
}
