//! Server-sent events: what `on_response_event` gets, and `forebay.response.set_event`.

use abi::ServerEvent;
use bytes::Bytes;

use super::{Asked, Out, Raw, Reply, enter, functions};
use crate::state::{Function, Kind, State};

pub const FUNCTIONS: &[(&str, Function)] = functions! {
    "response.set_event" set;
};

/// Retries past this are no numbers that a script could hold.
const MOST: f64 = 9_007_199_254_740_992.0;

/// `set(there, event or nil, data, id or nil, retry or nil)`: the prelude has seen to the types.
fn set(asked: Asked) -> Reply {
    if !asked.state.truth(1) {
        return asked.answer(asked.vm.host().set_event(None));
    }
    let text = |index, name| match asked.state.kind(index) {
        Kind::Nil | Kind::None => Ok(None),
        _ => asked.text(index, "response.set_event", name).map(|bytes| Some(Bytes::copy_from_slice(bytes))),
    };
    let event = ServerEvent {
        event: text(2, "event.event")?,
        data: text(3, "event.data")?.unwrap_or_default(),
        id: text(4, "event.id")?,
        retry: retry(&asked)?,
    };
    asked.answer(asked.vm.host().set_event(Some(&event)))
}

fn retry(asked: &Asked) -> Result<Option<u64>, Out> {
    if matches!(asked.state.kind(5), Kind::Nil | Kind::None) {
        return Ok(None);
    }
    let retry = asked.number(5, "response.set_event", "event.retry")?;
    if retry.fract() != 0.0 || !(0.0..=MOST).contains(&retry) {
        let text = format!("response.set_event: event.retry is {retry}; allowed: whole milliseconds from 0");
        return Err(asked.error(&text));
    }
    Ok(Some(retry as u64))
}

/// Pushes `{event, data, id, retry}`.
pub fn push_event(state: State, event: &ServerEvent) -> i32 {
    state.reserve(6);
    state.new_table(0, 4);
    for (name, value) in [("event", event.event.as_ref()), ("data", Some(&event.data)), ("id", event.id.as_ref())] {
        if let Some(value) = value {
            state.push_bytes(value);
            state.raw_set_field(-2, name);
        }
    }
    if let Some(retry) = event.retry {
        state.push_number(retry as f64);
        state.raw_set_field(-2, "retry");
    }
    1
}
