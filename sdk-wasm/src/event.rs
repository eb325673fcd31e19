//! The server-sent events of a response.
//!
//! [`on_response_event!`](crate::on_response_event) names the function that is called with each whole
//! event of a `text/event-stream`. A module without it is not called, and pays nothing.

use proxy_wasm::types::Action;

use crate::packed::{call, call_data, Arguments, Refusal, Results};

/// One server-sent event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub event: Option<Vec<u8>>,
    /// Its lines, with a line feed between them.
    pub data: Vec<u8>,
    pub id: Option<Vec<u8>>,
    /// Milliseconds.
    pub retry: Option<u64>,
}

/// Sends this in place of the event that is looked at.
///
/// # Errors
/// No event is looked at (1), an `event` or `id` of more than one line (2), over the limit `buffer` (102).
pub fn set(event: &Event) -> Result<(), Refusal> {
    let arguments = Arguments::new()
        .u8(1)
        .maybe(event.event.as_deref(), Arguments::bytes)
        .bytes(&event.data)
        .maybe(event.id.as_deref(), Arguments::bytes)
        .maybe(event.retry, Arguments::u64);
    call("forebay_response_set_event", arguments).map(drop)
}

/// Sends nothing in place of the event that is looked at.
///
/// # Errors
/// No event is looked at (1).
pub fn discard() -> Result<(), Refusal> {
    call("forebay_response_set_event", Arguments::new().u8(0)).map(drop)
}

/// For [`on_response_event!`](crate::on_response_event).
#[doc(hidden)]
pub fn told(size: usize, then: impl FnOnce(Event) -> Action) -> Action {
    match read(&mut Results::of(call_data(size))) {
        Ok(event) => then(event),
        Err(_) => Action::Continue,
    }
}

fn read(from: &mut Results) -> Result<Event, Refusal> {
    let event = if from.u8()? == 1 { Some(from.bytes()?) } else { None };
    let data = from.bytes()?;
    let id = if from.u8()? == 1 { Some(from.bytes()?) } else { None };
    let retry = if from.u8()? == 1 { Some(from.u64()?) } else { None };
    Ok(Event { event, data, id, retry })
}

/// Has `function(event) -> Action` called with each server-sent event of a response. With
/// `Action::Pause` the response waits for `resume_http_response`.
#[macro_export]
macro_rules! on_response_event {
    ($then:expr) => {
        #[no_mangle]
        extern "C" fn forebay_on_response_event(_context: u32, size: usize) -> $crate::proxy_wasm::types::Action {
            $crate::event::told(size, $then)
        }
    };
}
