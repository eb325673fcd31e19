//! A pause that does not stop the worker.

use std::time::Duration;

use proxy_wasm::hostcalls::call_foreign_function;
use proxy_wasm::types::Status;

use crate::packed::Refusal;
use crate::reply::{Key, Reply};

/// Ends after `duration`, for the context that calls this.
///
/// # Errors
/// Code 1 (not found) on another host; 2 (bad argument) in a phase that may not wait or without the
/// capability `timer`.
pub fn sleep(duration: Duration) -> Reply<()> {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let answer = call_foreign_function("forebay_time_sleep", Some(&nanos.to_le_bytes()));
    let token = answer.and_then(|bytes| {
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_le_bytes).ok_or(Status::InternalFailure)
    });
    match token {
        Ok(token) => Reply::waiting(Key::Timer(token), |_| Ok(())),
        Err(status) => {
            let message = "forebay_time_sleep: refused by the host".to_owned();
            Reply::refused(Refusal { code: status as i32, message })
        }
    }
}
