//! `forebay.request.body`, `chunk`, `body_chunks`, `set_body`, and the same of the response.

use abi::{Call, Side, Status};

use super::{Asked, Raw, Reply, enter, functions};
use crate::state::Function;
use crate::vm::{Stage, Wait};

pub const FUNCTIONS: &[(&str, Function)] = functions! {
    "request.body" |asked| whole(asked, Side::Request, Call::RequestBody);
    "request.chunk" |asked| chunk(asked, Side::Request);
    "request.body_chunks" |asked| chunks(asked, Call::RequestBodyChunks);
    "request.body_chunks:next" |asked| next(asked, Side::Request, Call::RequestBodyChunks);
    "request.set_body" |asked| set_body(asked, Side::Request, Call::RequestSetBody);
    "response.body" |asked| whole(asked, Side::Response, Call::ResponseBody);
    "response.chunk" |asked| chunk(asked, Side::Response);
    "response.body_chunks" |asked| chunks(asked, Call::ResponseBodyChunks);
    "response.body_chunks:next" |asked| next(asked, Side::Response, Call::ResponseBodyChunks);
    "response.set_body" |asked| set_body(asked, Side::Response, Call::ResponseSetBody);
};

/// `body()`: waits until all of it is there.
fn whole(asked: Asked, side: Side, call: Call) -> Reply {
    let asking = asked.vm.asking();
    if let Err(refusal) = call.check(asking.stage.phase(), &asking.host.settings().capabilities) {
        return asked.refuse(&refusal);
    }
    if asking.stage.side() == Some(side) && !asking.whole {
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

/// `body_chunks()`: whether there may be a loop; the iterator is [`next`].
fn chunks(asked: Asked, call: Call) -> Reply {
    let asking = asked.vm.asking();
    asked.answer(call.check(asking.stage.phase(), &asking.host.settings().capabilities))
}

/// The bytes that are looked at, if no loop has had them; then lets them go on and waits for the
/// next. Nil after the last.
fn next(asked: Asked, side: Side, call: Call) -> Reply {
    let asking = asked.vm.asking();
    let wrong = |message: &str| Err(asked.error(message));
    if let Err(refusal) = call.check(asking.stage.phase(), &asking.host.settings().capabilities) {
        return wrong(&refusal.message);
    }
    if asking.stage.side() != Some(side) {
        return asked.nil();
    }
    let looks = matches!(asking.stage, Stage::RequestBody | Stage::ResponseBody) || asking.whole;
    if looks && !asking.taken.replace(true) {
        match asked.vm.host().body(side) {
            Ok(bytes) if !bytes.is_empty() => return push(asked, &bytes),
            Err(refusal) if !matches!(refusal.status, Status::NotFound | Status::Empty) => {
                return wrong(&refusal.message);
            }
            _ => {}
        }
    }
    if asking.whole { asked.nil() } else { Err(asked.wait(Wait::Chunk(side))) }
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
