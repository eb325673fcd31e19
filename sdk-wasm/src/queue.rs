//! Queues of this machine by their names, the same for all workers and for plugins in Lua.
//! `on_queue_ready` of the `proxy-wasm` crate tells of those that the plugin is granted.

use crate::packed::{Arguments, Refusal, call};

/// # Errors
/// [`Refusal::LIMIT_EXCEEDED`] if it is full, [`Refusal::CAPABILITY_DENIED`] without `queue:<name>`.
pub fn push(queue: &str, item: &[u8]) -> Result<(), Refusal> {
    call("forebay_queue_push", Arguments::new().bytes(queue.as_bytes()).bytes(item)).map(drop)
}

/// The oldest item, if there is one.
///
/// # Errors
/// [`Refusal::CAPABILITY_DENIED`] without `queue:<name>`.
pub fn pop(queue: &str) -> Result<Option<Vec<u8>>, Refusal> {
    let mut results = call("forebay_queue_pop", Arguments::new().bytes(queue.as_bytes()))?;
    Ok(if results.u8()? == 0 { None } else { Some(results.bytes()?) })
}
