//! A pause that does not stop the worker.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use proxy_wasm::hostcalls::call_foreign_function;
use proxy_wasm::types::Status;

type Then = Box<dyn FnOnce()>;

thread_local! {
    static WAITING: RefCell<HashMap<u32, Then>> = RefCell::default();
}

/// Calls `then` after `duration`, for the context that calls this; return `Action::Pause`
/// meanwhile and let `then` end with `resume_http_request` or another call that goes on.
/// `then` is not called if the exchange ends before.
///
/// # Errors
/// `NotFound` on another host, `BadArgument` in a phase that may not wait or without the
/// capability `timer`.
pub fn sleep(duration: Duration, then: impl FnOnce() + 'static) -> Result<(), Status> {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let answer = call_foreign_function("forebay_time_sleep", Some(&nanos.to_le_bytes()))?;
    let token = answer.and_then(|bytes| Some(u32::from_le_bytes(bytes.try_into().ok()?)));
    let token = token.ok_or(Status::InternalFailure)?;
    WAITING.with_borrow_mut(|waiting| waiting.insert(token, Box::new(then)));
    Ok(())
}

/// Told by the host. The map is let go of first: `then` may sleep again.
#[no_mangle]
extern "C" fn forebay_on_timer(_context: u32, token: u32) {
    let then = WAITING.with_borrow_mut(|waiting| waiting.remove(&token));
    if let Some(then) = then {
        then();
    }
}
