//! The course of an exchange: going on, answering from here, ending it.

use abi::{LocalAnswer, Refusal, Side, Status};

use super::Guest;
use crate::memory::{self, Outcome, refuse};

pub fn continue_request(guest: &mut Guest<'_>) -> Outcome {
    Ok(guest.data().host().resume(Side::Request)?)
}

pub fn continue_response(guest: &mut Guest<'_>) -> Outcome {
    Ok(guest.data().host().resume(Side::Response)?)
}

fn side(stream: u32) -> Result<Side, Refusal> {
    match stream {
        0 => Ok(Side::Request),
        1 => Ok(Side::Response),
        2 | 3 => Err(Refusal::new(Status::Unimplemented, "plain connections are not served by this host")),
        _ => Err(Refusal::new(Status::BadArgument, format!("{stream} is no stream (0 to 3)"))),
    }
}

pub fn continue_stream(guest: &mut Guest<'_>, stream: u32) -> Outcome {
    Ok(guest.data().host().resume(side(stream)?)?)
}

/// Ends the whole exchange, whichever side is named.
pub fn close_stream(guest: &mut Guest<'_>, stream: u32) -> Outcome {
    side(stream)?;
    Ok(guest.data().host().abort()?)
}

/// The route of an exchange stands from its beginning; there is nothing to clear.
pub fn clear_route_cache(_: &mut Guest<'_>) -> Outcome {
    Ok(())
}

#[allow(clippy::too_many_arguments)] // proxy-wasm's own
pub fn respond(
    guest: &mut Guest<'_>,
    code: u32,
    detail: u32,
    detail_len: u32,
    body: u32,
    body_len: u32,
    headers: u32,
    headers_len: u32,
    grpc: i32,
) -> Outcome {
    let status = u16::try_from(code).ok().filter(|code| (200..=599).contains(code));
    let Some(status) = status else {
        return refuse(Status::BadArgument, format!("{code} is no status to answer with (200 to 599)"));
    };
    let body = memory::payload(guest, body, body_len)?;
    let (data, state) = memory::view(guest)?;
    let headers = memory::decode_pairs(memory::bytes(data, headers, headers_len)?)?;
    let answer = LocalAnswer {
        status,
        headers: headers.into_iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
        body,
        detail: String::from_utf8_lossy(memory::name(data, detail, detail_len)?).into_owned(),
        grpc_status: (grpc >= 0).then_some(grpc),
    };
    Ok(state.host().respond(answer)?)
}

/// Hostcalls are about that context until the callback returns.
pub fn set_effective_context(guest: &mut Guest<'_>, context: u32) -> Outcome {
    if guest.data_mut().switch(context) {
        return Ok(());
    }
    refuse(Status::BadArgument, format!("context {context} is not open"))
}

/// Ends the wait of a context whose `proxy_on_done` said that it was not done.
pub fn done(guest: &mut Guest<'_>) -> Outcome {
    let state = guest.data_mut();
    let context = state.effective;
    let Some(place) = state.not_done.iter().position(|waiting| *waiting == context) else {
        return refuse(Status::NotFound, format!("context {context} does not wait to be done"));
    };
    state.not_done.swap_remove(place);
    Ok(state.host().resume(Side::Request)?)
}
