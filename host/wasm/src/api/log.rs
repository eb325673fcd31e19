//! The plugin's log.

use abi::{LogLevel, Status};

use super::Guest;
use crate::memory::{self, Outcome, refuse};
use crate::state::remember;

/// Bytes of one message that are kept: a line of 30 MB would cost the edge more than the guest.
const MAX_TEXT: usize = 16 << 10;

pub fn log(guest: &mut Guest<'_>, level: u32, at: u32, len: u32) -> Outcome {
    let Some(level) = LogLevel::from_wire(level) else {
        return refuse(Status::BadArgument, format!("{level} is no log level (0 to 5)"));
    };
    let (data, state) = memory::view(guest)?;
    let text = memory::bytes(data, at, len)?;
    let text = &text[..text.len().min(MAX_TEXT)];
    let host = state.host();
    // A Rust guest's panic comes as a critical line.
    if level == LogLevel::Critical {
        remember(&mut state.printed.last_words, &String::from_utf8_lossy(text));
    }
    if level >= host.log_level() {
        host.log(level, &String::from_utf8_lossy(text));
    }
    Ok(())
}

pub fn level(guest: &mut Guest<'_>, out: u32) -> Outcome {
    let level = guest.data().host().log_level();
    memory::answer_u32(guest, out, level as u32)
}
