//! The time, the tick, timers.

use std::time::Duration;

use abi::Status;

use super::Guest;
use crate::memory::{self, Outcome, refuse};

pub fn now(guest: &mut Guest<'_>, out: u32) -> Outcome {
    let now = guest.data().host().now();
    memory::answer_u64(guest, out, u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}

pub fn set_tick(guest: &mut Guest<'_>, period: u32) -> Outcome {
    Ok(guest.data().host().set_tick(Duration::from_millis(period.into()))?)
}

/// `forebay_time_sleep`: its end comes as `forebay_on_timer(context, token)`, or, where a module
/// lacks that, as `proxy_on_foreign_function(context, token, 0)`.
pub fn sleep(guest: &mut Guest<'_>, nanos: u64, token_out: u32) -> Outcome {
    memory::bytes(memory::view(guest)?.0, token_out, 4)?;
    let token = start(guest, nanos)?;
    memory::answer_u32(guest, token_out, token)
}

pub fn start(guest: &mut Guest<'_>, nanos: u64) -> Outcome<u32> {
    let state = guest.data();
    state.can_wait("sleep")?;
    if !state.hears_timers {
        let text = "the module exports neither forebay_on_timer nor proxy_on_foreign_function to be told of the end";
        return refuse(Status::Unimplemented, text);
    }
    Ok(state.host().sleep(Duration::from_nanos(nanos))?.0)
}
