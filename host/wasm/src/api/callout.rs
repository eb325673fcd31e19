//! HTTP requests that a plugin sends, and how the last one ended.

use std::time::Duration;

use abi::{Answer, Callout, CalloutError, CalloutRequest, GrpcEvent, Refusal, Status};

use super::Guest;
use super::packed::{Reader, Writer};
use crate::memory::{self, Outcome};
use crate::state::State;

fn utf8(name: &str, value: &[u8]) -> Result<String, Refusal> {
    let text = std::str::from_utf8(value);
    let text = text.map_err(|_| Refusal::new(Status::BadArgument, format!("{name} is no UTF-8")))?;
    Ok(text.to_owned())
}

/// What proxy-wasm sends as one map is a request line and headers.
fn request(headers: &[(&[u8], &[u8])]) -> Result<CalloutRequest, Refusal> {
    let mut request = CalloutRequest::default();
    for (name, value) in headers {
        match *name {
            b":method" => request.method = utf8(":method", value)?,
            b":path" => request.path = utf8(":path", value)?,
            b":authority" => request.authority = utf8(":authority", value)?,
            // The target says whether it is TLS.
            b":scheme" => {}
            _ => request.headers.push((name.to_vec(), value.to_vec())),
        }
    }
    for (name, value) in [(":method", &request.method), (":path", &request.path), (":authority", &request.authority)] {
        if value.is_empty() {
            return Err(Refusal::new(Status::BadArgument, format!("the request has no {name}")));
        }
    }
    Ok(request)
}

#[allow(clippy::too_many_arguments)] // proxy-wasm's own
pub fn http_call(
    guest: &mut Guest<'_>,
    target: u32,
    target_len: u32,
    headers: u32,
    headers_len: u32,
    body: u32,
    body_len: u32,
    trailers: u32,
    trailers_len: u32,
    timeout: u32,
    token_out: u32,
) -> Outcome {
    let (data, state) = memory::view(guest)?;
    memory::bytes(data, token_out, 4)?;
    state.can_wait("http.call")?;
    let body = memory::payload(guest, body, body_len)?;
    let (data, state) = memory::view(guest)?;
    let target = memory::text(data, target, target_len)?;
    let trailers = memory::decode_pairs(memory::bytes(data, trailers, trailers_len)?)?;
    let request = CalloutRequest {
        body,
        trailers: trailers.into_iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
        timeout: (timeout > 0).then(|| Duration::from_millis(timeout.into())),
        ..request(&memory::decode_pairs(memory::bytes(data, headers, headers_len)?)?)?
    };
    let token = state.host().callout(target, request).map_err(|refusal| match refusal.status {
        // Envoy's answer to a cluster that it does not know.
        Status::NotFound => Refusal { status: Status::BadArgument, ..refusal },
        _ => refusal,
    })?;
    memory::answer_u32(guest, token_out, token.0)
}

/// `forebay_http_call_all`: takes a list of callouts, each its target, method, path and authority
/// (texts), a list of headers (two byte strings each), the body, a list of trailers, the timeout
/// (nanoseconds, u64, may be missing) and how often it may be sent again (u32). Gives the token.
pub fn call_all(state: &State, arguments: &mut Reader<'_>) -> Answer<Writer> {
    state.can_reply("http.call_all")?;
    let pairs = |from: &mut Reader<'_>| from.list(|pair| Ok((pair.name()?.to_vec(), pair.bytes()?.to_vec())));
    let callouts = arguments.list(|from| {
        let target = from.text()?.to_owned();
        let request = CalloutRequest {
            method: from.text()?.to_owned(),
            path: from.text()?.to_owned(),
            authority: from.text()?.to_owned(),
            headers: pairs(from)?,
            body: from.payload()?,
            trailers: pairs(from)?,
            timeout: from.maybe(Reader::u64)?.map(Duration::from_nanos),
            retry: from.u32()?,
        };
        Ok(Callout { target, request })
    })?;
    let token = state.host().callout_all(callouts)?;
    Ok(Writer::default().u32(token.0).done())
}

/// Why the callout failed that the guest is told of, or how a gRPC call or stream was closed; 0 and no text
/// if it did not, or in any other callback.
pub fn status(guest: &mut Guest<'_>, code_out: u32, at_out: u32, len_out: u32) -> Outcome {
    let (code, text) = match (&guest.data().answer, &guest.data().grpc) {
        (_, Some(GrpcEvent::Closed(status))) => (status.code, status.message.clone()),
        (Some(Err(error)), _) => (
            Status::BrokenConnection as u32,
            match error {
                CalloutError::Timeout => "timeout".to_owned(),
                CalloutError::Unavailable(why) => why.clone(),
                CalloutError::TooLarge => "the response is larger than the plugin's buffer limit".to_owned(),
            },
        ),
        _ => (0, String::new()),
    };
    memory::bytes(memory::view(guest)?.0, code_out, 4)?;
    memory::give(guest, text.as_bytes(), at_out, len_out)?;
    memory::answer_u32(guest, code_out, code)
}
