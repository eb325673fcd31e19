//! Queues by name, packed; and proxy-wasm's shared queues, which it names by numbers. What a plugin
//! registers there is its own queue `<vm id>/<name>`, and its vm id is its name; so by that name
//! others reach it, and an empty vm id resolves a queue of the configuration.

use abi::{Answer, Status};

use super::Guest;
use super::packed::{Reader, Writer};
use crate::memory::{self, Outcome, refuse};
use crate::state::State;

pub fn register(guest: &mut Guest<'_>, at: u32, len: u32, out: u32) -> Outcome {
    let (data, state) = memory::view(guest)?;
    memory::bytes(data, out, 4)?;
    let id = state.host().queue_register(memory::text(data, at, len)?)?;
    memory::answer_u32(guest, out, id)
}

pub fn resolve(guest: &mut Guest<'_>, vm: u32, vm_len: u32, at: u32, len: u32, out: u32) -> Outcome {
    let (data, state) = memory::view(guest)?;
    let id = state.host().queue_resolve(memory::text(data, vm, vm_len)?, memory::text(data, at, len)?)?;
    memory::answer_u32(guest, out, id)
}

pub fn enqueue(guest: &mut Guest<'_>, queue: u32, at: u32, len: u32) -> Outcome {
    let (data, state) = memory::view(guest)?;
    let (host, item) = (state.host(), memory::value(data, at, len)?);
    Ok(host.queue_push(&host.queue_name(queue)?, item)?)
}

pub fn dequeue(guest: &mut Guest<'_>, queue: u32, at_out: u32, len_out: u32) -> Outcome {
    let (data, state) = memory::view(guest)?;
    // What cannot be told must not be taken.
    memory::bytes(data, at_out, 4)?;
    memory::bytes(data, len_out, 4)?;
    let host = state.host();
    match host.queue_pop(&host.queue_name(queue)?)? {
        Some(item) => memory::give(guest, &item, at_out, len_out),
        None => refuse(Status::Empty, "the queue is empty"),
    }
}

/// `(queue, item)`
pub fn push(state: &State, from: &mut Reader<'_>) -> Answer<Writer> {
    state.host().queue_push(from.text()?, from.bytes()?).map(|()| Writer::default())
}

/// `(queue)`: maybe the oldest item.
pub fn pop(state: &State, from: &mut Reader<'_>) -> Answer<Writer> {
    let mut results = Writer::default();
    match state.host().queue_pop(from.text()?)? {
        Some(item) => results.u8(1).bytes(&item),
        None => results.u8(0),
    };
    Ok(results)
}
