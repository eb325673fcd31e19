//! `forebay.respond`, `forebay.close` and `forebay.continue`: they end the callback.

use abi::{Call, LocalAnswer, Status};
use bytes::Bytes;

use super::{Asked, Out, Raw, Reply, enter, functions};
use crate::state::{Function, Kind};

pub const FUNCTIONS: &[(&str, Function)] = functions! {
    "respond" respond;
    "close" close;
    "continue" go_on;
};

/// `respond(status, flat headers or nil, body or nil)`. An answer that cannot be given is an error of the
/// script: if the call returned, the request that it was to refuse would go on to the origin.
fn respond(asked: Asked) -> Reply {
    let status = asked.number(1, "respond", "status")?;
    if !(200.0..600.0).contains(&status) || status.fract() != 0.0 {
        let text = format!("respond: status {status} is none of an answer; allowed: a whole number from 200 to 599");
        return Err(asked.error(&text));
    }
    let headers = headers(&asked, 2, "respond")?;
    let body = match asked.state.kind(3) {
        Kind::Nil | Kind::None => Bytes::new(),
        _ => Bytes::copy_from_slice(asked.text(3, "respond", "body")?),
    };
    let answer = LocalAnswer { status: status as u16, headers, body, detail: String::new(), grpc_status: None };
    match asked.vm.host().respond(answer) {
        Ok(()) => Err(asked.answered()),
        Err(refusal) if refusal.status == Status::BadArgument => Err(asked.error(&refusal.message)),
        Err(refusal) => asked.refuse(&refusal),
    }
}

fn close(asked: Asked) -> Reply {
    match asked.vm.host().abort() {
        Ok(()) => Err(asked.answered()),
        Err(refusal) => asked.refuse(&refusal),
    }
}

/// `continue()`: what a callback does that returns, from any depth of calls.
fn go_on(asked: Asked) -> Reply {
    let asking = asked.vm.asking();
    match Call::Continue.check(asking.stage.phase(), &asking.host.settings().capabilities) {
        Ok(()) => Err(asked.continued()),
        Err(refusal) => asked.refuse(&refusal),
    }
}

/// Names and values, in order.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Header lines of one message, and bytes of them: no peer would take more.
const MAX_LINES: usize = 1000;
const MAX_BYTES: usize = 1 << 20;

/// Reads the flat array of names and values that the prelude made (it holds only strings). What is
/// too much is an error of the script.
pub fn headers(asked: &Asked, index: i32, function: &str) -> Result<Pairs, Out> {
    match asked.state.kind(index) {
        Kind::Nil | Kind::None => return Ok(Vec::new()),
        Kind::Table => {}
        _ => return Err(asked.wrong(index, function, "headers", "a table")),
    }
    let pairs = asked.state.length(index) / 2;
    if pairs > MAX_LINES {
        return Err(asked.error(&format!("{function}: {pairs} header lines; allowed: up to {MAX_LINES}")));
    }
    let mut headers = Vec::with_capacity(pairs);
    // One string may stand in the array a thousand times; here it is copied each time.
    let mut size = 0;
    for pair in 0..pairs as i32 {
        asked.state.raw_get_index(index, 2 * pair + 1);
        asked.state.raw_get_index(index, 2 * pair + 2);
        let name = asked.state.bytes(-2).unwrap_or_default();
        let value = asked.state.bytes(-1).unwrap_or_default();
        size += name.len() + value.len();
        if size > MAX_BYTES {
            return Err(asked.error(&format!("{function}: headers of over {MAX_BYTES} bytes; allowed: up to that")));
        }
        headers.push((name.to_vec(), value.to_vec()));
        asked.state.pop(2);
    }
    Ok(headers)
}
