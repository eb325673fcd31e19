//! `forebay.grpc.call`: one message there and one back.

use abi::{GrpcEvent, GrpcRequest, GrpcStatus};
use bytes::Bytes;

use super::callout::seconds;
use super::exchange::headers;
use super::{Asked, Raw, Reply, enter, functions};
use crate::state::{Function, Kind, State};
use crate::vm::Wait;

pub const FUNCTIONS: &[(&str, Function)] = functions! {
    "grpc.call" call;
};

const NAME: &str = "grpc.call";

/// `call(target, service, method, message, flat metadata, timeout)`
fn call(asked: Asked) -> Reply {
    asked.can_wait()?;
    let target = asked.name(1, NAME, "target")?;
    let request = GrpcRequest {
        service: asked.name(2, NAME, "request.service")?.to_owned(),
        method: asked.name(3, NAME, "request.method")?.to_owned(),
        message: Some(Bytes::copy_from_slice(asked.text(4, NAME, "request.message")?)),
        metadata: headers(&asked, 5, NAME)?,
        timeout: match asked.state.kind(6) {
            Kind::Nil | Kind::None => None,
            _ => Some(seconds(&asked, 6, NAME, "request.timeout")?),
        },
    };
    match asked.vm.host().grpc(target, request) {
        Ok(token) => Err(asked.wait(Wait::Token(token))),
        Err(refusal) => asked.refuse(&refusal),
    }
}

/// What it gives: `{status, message}`, or `{status, message = "", text}`. The number of values.
pub fn push_grpc(state: State, event: &GrpcEvent) -> i32 {
    let (status, message, text) = match event {
        GrpcEvent::Message(message) => (GrpcStatus::OK, &message[..], None),
        GrpcEvent::Closed(status) => (status.code, &b""[..], Some(&status.message)),
        // Of streams, which no script has.
        GrpcEvent::Metadata(_) | GrpcEvent::Trailers(_) => (GrpcStatus::UNKNOWN, &b""[..], None),
    };
    state.reserve(4);
    state.new_table(0, 3);
    state.push_number(status.into());
    state.raw_set_field(-2, "status");
    state.push_bytes(message);
    state.raw_set_field(-2, "message");
    if let Some(text) = text {
        state.push_bytes(text.as_bytes());
        state.raw_set_field(-2, "text");
    }
    1
}
