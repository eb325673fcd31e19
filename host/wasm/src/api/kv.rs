//! Key-value stores of the region. The result is a token; what it brings comes as a reply.

use std::time::Duration;

use abi::{Answer, KvAsk};

use super::packed::{Reader, Writer};
use crate::state::State;

/// store, key
pub fn get(state: &State, from: &mut Reader<'_>) -> Answer<Writer> {
    let (kv, key) = (from.text()?, from.name()?.to_vec());
    ask(state, kv, KvAsk::Get { key })
}

/// store, key, value, time to live in nanoseconds (u64) if any
pub fn set(state: &State, from: &mut Reader<'_>) -> Answer<Writer> {
    let (kv, key, value) = (from.text()?, from.name()?.to_vec(), from.bytes()?.to_vec());
    let ttl = from.maybe(ttl)?;
    ask(state, kv, KvAsk::Set { key, value, ttl })
}

/// store, key, by (i64), time to live in nanoseconds (u64) if any
pub fn incr(state: &State, from: &mut Reader<'_>) -> Answer<Writer> {
    let (kv, key, by) = (from.text()?, from.name()?.to_vec(), from.i64()?);
    let ttl = from.maybe(ttl)?;
    ask(state, kv, KvAsk::Incr { key, by, ttl })
}

/// store, key
pub fn delete(state: &State, from: &mut Reader<'_>) -> Answer<Writer> {
    let (kv, key) = (from.text()?, from.name()?.to_vec());
    ask(state, kv, KvAsk::Delete { key })
}

/// store, script, list of keys, list of arguments
pub fn eval(state: &State, from: &mut Reader<'_>) -> Answer<Writer> {
    let (kv, script) = (from.text()?, from.bytes()?.to_vec());
    let keys = from.list(|from| Ok(from.name()?.to_vec()))?;
    let args = from.list(|from| Ok(from.bytes()?.to_vec()))?;
    ask(state, kv, KvAsk::Eval { script, keys, args })
}

fn ttl(from: &mut Reader<'_>) -> Answer<Duration> {
    from.u64().map(Duration::from_nanos)
}

fn ask(state: &State, kv: &str, ask: KvAsk) -> Answer<Writer> {
    state.can_reply("kv")?;
    let token = state.host().kv(kv, ask)?;
    Ok(Writer::default().u32(token.0).done())
}
