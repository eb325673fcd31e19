//! Dictionaries by name, packed; and proxy-wasm's shared data, which is the dictionary that is the
//! plugin's own.

use std::time::Duration;

use abi::{Answer, DictIncr, DictWrite};

use super::Guest;
use super::packed::{Reader, Writer};
use crate::memory::{self, Outcome};
use crate::state::State;

pub fn get(guest: &mut Guest<'_>, at: u32, len: u32, at_out: u32, len_out: u32, cas_out: u32) -> Outcome {
    let (data, state) = memory::view(guest)?;
    memory::bytes(data, cas_out, 4)?;
    let host = state.host();
    let (value, version) = host.dict_get(&host.settings().plugin, memory::name(data, at, len)?)?;
    memory::give(guest, &value, at_out, len_out)?;
    memory::answer_u32(guest, cas_out, version)
}

/// A `cas` of 0 writes whatever is there.
pub fn set(guest: &mut Guest<'_>, at: u32, len: u32, value: u32, value_len: u32, cas: u32) -> Outcome {
    let (data, state) = memory::view(guest)?;
    let (key, value) = (memory::name(data, at, len)?, memory::value(data, value, value_len)?);
    let host = state.host();
    let write = DictWrite::Set { value, ttl: None, version: (cas != 0).then_some(cas) };
    Ok(host.dict_write(&host.settings().plugin, key, write)?)
}

/// `(dict, key)`: value, version (u32).
pub fn get_named(state: &State, from: &mut Reader<'_>) -> Answer<Writer> {
    let (value, version) = state.host().dict_get(from.text()?, from.name()?)?;
    Ok(Writer::default().bytes(&value).u32(version).done())
}

/// `(dict, key, maybe value, maybe ttl, maybe version)`; without a value it deletes.
pub fn set_named(state: &State, from: &mut Reader<'_>) -> Answer<Writer> {
    let (dict, key, value) = (from.text()?, from.name()?, from.maybe(Reader::bytes)?);
    let (ttl, version) = (ttl(from)?, from.maybe(Reader::u32)?);
    let write = match value {
        Some(value) => DictWrite::Set { value, ttl, version },
        None => DictWrite::Delete { version },
    };
    nothing(state.host().dict_write(dict, key, write))
}

/// `(dict, key, value, maybe ttl)`
pub fn add(state: &State, from: &mut Reader<'_>) -> Answer<Writer> {
    let (dict, key, value) = (from.text()?, from.name()?, from.bytes()?);
    nothing(state.host().dict_write(dict, key, DictWrite::Add { value, ttl: ttl(from)? }))
}

/// `(dict, key, by: i64, init: i64, maybe ttl)`: the number as it is then (i64).
pub fn incr(state: &State, from: &mut Reader<'_>) -> Answer<Writer> {
    let (dict, key) = (from.text()?, from.name()?);
    let incr = DictIncr { by: from.i64()?, init: from.i64()?, ttl: ttl(from)? };
    Ok(Writer::default().i64(state.host().dict_incr(dict, key, incr)?).done())
}

/// `(dict, key)`
pub fn delete(state: &State, from: &mut Reader<'_>) -> Answer<Writer> {
    nothing(state.host().dict_write(from.text()?, from.name()?, DictWrite::Delete { version: None }))
}

/// `(dict, key, value, version: u32, maybe ttl)`
pub fn cas(state: &State, from: &mut Reader<'_>) -> Answer<Writer> {
    let (dict, key, value) = (from.text()?, from.name()?, from.bytes()?);
    let (version, ttl) = (from.u32()?, ttl(from)?);
    nothing(state.host().dict_write(dict, key, DictWrite::Cas { value, ttl, version }))
}

/// A time to live is nanoseconds (u64).
fn ttl(from: &mut Reader<'_>) -> Answer<Option<Duration>> {
    Ok(from.maybe(Reader::u64)?.map(Duration::from_nanos))
}

fn nothing(done: Answer<()>) -> Answer<Writer> {
    done.map(|()| Writer::default())
}
