//! Shared data: the dictionary that is the plugin's own, by its name.

use super::Guest;
use crate::memory::{self, Outcome};

pub fn get(guest: &mut Guest<'_>, at: u32, len: u32, at_out: u32, len_out: u32, cas_out: u32) -> Outcome {
    let (data, state) = memory::view(guest)?;
    memory::bytes(data, cas_out, 4)?;
    let host = state.host();
    let (value, version) = host.dict_get(&host.settings().plugin, memory::bytes(data, at, len)?)?;
    memory::give(guest, &value, at_out, len_out)?;
    memory::answer_u32(guest, cas_out, version)
}

/// A `cas` of 0 writes whatever is there.
pub fn set(guest: &mut Guest<'_>, at: u32, len: u32, value: u32, value_len: u32, cas: u32) -> Outcome {
    let (data, state) = memory::view(guest)?;
    let (key, value) = (memory::bytes(data, at, len)?, memory::bytes(data, value, value_len)?);
    let host = state.host();
    Ok(host.dict_set(&host.settings().plugin, key, Some(value), (cas != 0).then_some(cas))?)
}
