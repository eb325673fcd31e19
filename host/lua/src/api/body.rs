//! `forebay.request.body`, `chunk`, `set_body`, and the same of the response.

use abi::{Call, Side, Status};

use super::{Asked, Raw, Reply, enter, functions};
use crate::state::Function;
use crate::vm::{Stage, Wait};

pub const FUNCTIONS: &[(&str, Function)] = functions! {
    "request.body" |asked| whole(asked, Side::Request, Call::RequestBody);
    "request.chunk" |asked| chunk(asked, Side::Request);
    "request.set_body" |asked| set_body(asked, Side::Request, Call::RequestSetBody);
    "response.body" |asked| whole(asked, Side::Response, Call::ResponseBody);
    "response.chunk" |asked| chunk(asked, Side::Response);
    "response.set_body" |asked| set_body(asked, Side::Response, Call::ResponseSetBody);
};

/// `body()`: waits until all of it is there.
fn whole(asked: Asked, side: Side, call: Call) -> Reply {
    let asking = asked.vm.asking();
    if let Err(refusal) = call.check(asking.stage.phase(), &asking.host.settings().capabilities) {
        return asked.refuse(&refusal);
    }
    let more = match asking.stage {
        Stage::RequestHeaders | Stage::RequestBody => side == Side::Request,
        Stage::ResponseHeaders | Stage::ResponseBody => side == Side::Response,
        // With the trailers the body has passed: what is still held is all there is.
        _ => false,
    };
    if more && !asking.whole {
        return Err(asked.wait(Wait::Body(side)));
    }
    match asked.vm.host().body(side) {
        Ok(bytes) => push(asked, &bytes),
        // A message without a body.
        Err(refusal) if matches!(refusal.status, Status::NotFound | Status::Empty) => push(asked, b""),
        Err(refusal) => asked.refuse(&refusal),
    }
}

/// `chunk()`: the bytes that are looked at now.
fn chunk(asked: Asked, side: Side) -> Reply {
    match asked.vm.host().body(side) {
        Ok(bytes) => push(asked, &bytes),
        Err(refusal) => asked.refuse(&refusal),
    }
}

fn push(asked: Asked, bytes: &[u8]) -> Reply {
    asked.state.push_bytes(bytes);
    Ok(1)
}

/// `set_body(bytes)`: replaces what is looked at.
fn set_body(asked: Asked, side: Side, call: Call) -> Reply {
    let bytes = asked.text(1, call.row().lua, "bytes")?;
    asked.answer(asked.vm.host().set_body(side, 0..usize::MAX, bytes))
}
