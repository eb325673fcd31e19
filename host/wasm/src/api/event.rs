//! Server-sent events, packed: `maybe event, data, maybe id, maybe retry (u64)`.

use abi::{Answer, ServerEvent};
use bytes::Bytes;

use super::packed::{Reader, Writer};
use crate::state::State;

/// What `forebay_on_response_event` is told.
pub fn pack(event: &ServerEvent) -> Vec<u8> {
    let mut to = Writer::default();
    to.maybe_bytes(event.event.as_deref()).bytes(&event.data).maybe_bytes(event.id.as_deref());
    match event.retry {
        None => to.u8(0),
        Some(retry) => to.u8(1).u64(retry),
    };
    to.into_bytes()
}

/// `forebay_response_set_event`: a byte, 0 (drop it) or 1 and the event.
pub fn set(state: &State, arguments: &mut Reader<'_>) -> Answer<Writer> {
    let event = arguments.maybe(|from| {
        let bytes = |from: &mut Reader<'_>| from.bytes().map(Bytes::copy_from_slice);
        Ok(ServerEvent {
            event: from.maybe(bytes)?,
            data: bytes(from)?,
            id: from.maybe(bytes)?,
            retry: from.maybe(Reader::u64)?,
        })
    })?;
    state.host().set_event(event.as_ref())?;
    Ok(Writer::default())
}
