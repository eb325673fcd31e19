//! Buffers: bodies of the exchange, the body of a callout's answer, a message of gRPC, both configurations.

use abi::{GrpcEvent, LogLevel, Refusal, Side, Status};
use bytes::Bytes;

use super::Guest;
use crate::memory::{self, Outcome};
use crate::state::State;

/// A body outside its phase is not there, as in Envoy: SDKs take NotFound and stop at anything
/// else. Why it is not there goes to the log.
fn body(state: &State, side: Side) -> Result<Bytes, Refusal> {
    let host = state.host();
    host.body(side).map_err(|refusal| match refusal.status {
        Status::PhaseDenied => {
            host.log(LogLevel::Warn, &refusal.message);
            Refusal { status: Status::NotFound, ..refusal }
        }
        _ => refusal,
    })
}

fn buffer(state: &State, buffer: u32) -> Result<Bytes, Refusal> {
    let host = state.host();
    match buffer {
        0 => body(state, Side::Request),
        1 => body(state, Side::Response),
        4 => match &state.answer {
            Some(Ok(answer)) => Ok(answer.body.clone()),
            _ => Err(Refusal::new(Status::NotFound, "no callout has answered")),
        },
        6 => Ok(host.settings().vm_config.clone()),
        7 => Ok(host.settings().config.clone()),
        8 => state.reply.clone().ok_or_else(Refusal::not_found),
        5 => match &state.grpc {
            Some(GrpcEvent::Message(message)) => Ok(message.clone()),
            _ => Err(Refusal::not_found()),
        },
        // Data of plain connections.
        2 | 3 => Err(Refusal::not_found()),
        _ => Err(Refusal::new(Status::BadArgument, format!("{buffer} is no buffer (0 to 8)"))),
    }
}

/// Clipped to what there is.
pub fn get(guest: &mut Guest<'_>, which: u32, start: u32, length: u32, at_out: u32, len_out: u32) -> Outcome {
    let bytes = buffer(guest.data(), which)?;
    let start = bytes.len().min(start as usize);
    let end = start.saturating_add(length as usize).min(bytes.len());
    memory::give(guest, &bytes[start..end], at_out, len_out)
}

/// The flags are always 0, as in Envoy.
pub fn status(guest: &mut Guest<'_>, which: u32, len_out: u32, flags_out: u32) -> Outcome {
    let len = buffer(guest.data(), which)?.len();
    memory::bytes(memory::view(guest)?.0, flags_out, 4)?;
    memory::answer_u32(guest, len_out, u32::try_from(len).unwrap_or(u32::MAX))?;
    memory::answer_u32(guest, flags_out, 0)
}

pub fn set(guest: &mut Guest<'_>, which: u32, start: u32, length: u32, at: u32, len: u32) -> Outcome {
    let side = match which {
        0 => Side::Request,
        1 => Side::Response,
        _ => {
            let text = format!("buffer {which} cannot be written: only bodies (0, 1) can");
            Err(Refusal::new(Status::BadArgument, text))?
        }
    };
    let (data, state) = memory::view(guest)?;
    let bytes = memory::bytes(data, at, len)?;
    let start = start as usize;
    Ok(state.host().set_body(side, start..start.saturating_add(length as usize), bytes)?)
}

/// 0.1.0 only: the configuration of the plugin.
pub fn configuration(guest: &mut Guest<'_>, at_out: u32, len_out: u32) -> Outcome {
    let bytes = guest.data().host().settings().config.clone();
    memory::give(guest, &bytes, at_out, len_out)
}
