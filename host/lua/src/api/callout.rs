//! `forebay.http.call`, `forebay.http.call_all`, `forebay.sleep`, `forebay.timer.every`: what is waited for.

use std::time::Duration;

use abi::{Callout, CalloutError, CalloutRequest, CalloutResponse, Status};
use bytes::Bytes;

use super::exchange::headers;
use super::{Asked, Out, Raw, Reply, enter, functions, push_failure};
use crate::state::{Function, Kind, State};
use crate::vm::Wait;

pub const FUNCTIONS: &[(&str, Function)] = functions! {
    "http.call" call;
    "http.call_all" call_all;
    "sleep" sleep;
    "timer.every" every;
};

/// What one callout is written as.
const PARTS: i32 = 9;
/// More than any limit `callouts` that makes sense: what is over it is refused by the host.
const MOST_AT_ONCE: usize = 1000;
/// Longest time that a script can name.
const LONGEST: f64 = 366.0 * 86_400.0;

/// `call(target, method, path, authority, flat headers, body, timeout, retry, flat trailers)`
fn call(asked: Asked) -> Reply {
    asked.can_wait()?;
    let Callout { target, request } = callout(&asked, 0, "http.call")?;
    match asked.vm.host().callout(&target, request) {
        Ok(token) => Err(asked.wait(Wait::Token(token))),
        Err(refusal) => asked.refuse(&refusal),
    }
}

/// `call_all(list)`: each item of it an array of what `call` takes. Gives what the host lists.
fn call_all(asked: Asked) -> Reply {
    asked.can_wait()?;
    if asked.state.kind(1) != Kind::Table {
        return Err(asked.wrong(1, "http.call_all", "calls", "an array"));
    }
    let top = asked.state.top();
    // No host allows more at once, and each is some memory here.
    let count = asked.state.length(1).min(MOST_AT_ONCE + 1);
    let mut callouts = Vec::with_capacity(count);
    // One string may stand in the list many times; each callout has a copy of it.
    let mut bytes = 0;
    for i in 1..=count as i32 {
        if asked.vm.kill().is_some() {
            return Err(asked.killed());
        }
        asked.state.reserve(PARTS + 4);
        asked.state.raw_get_index(1, i);
        for part in 1..=PARTS {
            asked.state.raw_get_index(top + 1, part);
        }
        let callout = callout(&asked, top + 1, "http.call_all")?;
        let request = &callout.request;
        let lines = request.headers.iter().chain(&request.trailers);
        bytes += request.body.len() + lines.map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if bytes > asked.vm.heap.limit() {
            return Err(asked.out_of_memory());
        }
        callouts.push(callout);
        asked.state.set_top(top);
    }
    match asked.vm.host().callout_all(callouts) {
        Ok(token) => Err(asked.wait(Wait::Token(token))),
        Err(refusal) => asked.refuse(&refusal),
    }
}

/// Reads what stands behind `base`.
fn callout(asked: &Asked, base: i32, function: &str) -> Result<Callout, Out> {
    let missing = |index| matches!(asked.state.kind(base + index), Kind::Nil | Kind::None);
    let text = |index, name| match missing(index) {
        true => Ok(String::new()),
        false => asked.name(base + index, function, name).map(str::to_owned),
    };
    let target = asked.name(base + 1, function, "target")?.to_owned();
    let mut request = CalloutRequest {
        method: text(2, "request.method")?,
        path: text(3, "request.path")?,
        authority: text(4, "request.authority")?,
        headers: headers(asked, base + 5, function)?,
        trailers: headers(asked, base + 9, function)?,
        ..CalloutRequest::default()
    };
    if !missing(6) {
        request.body = Bytes::copy_from_slice(asked.text(base + 6, function, "request.body")?);
    }
    if !missing(7) {
        request.timeout = Some(seconds(asked, base + 7, function, "options.timeout")?);
    }
    if !missing(8) {
        let retry = asked.number(base + 8, function, "options.retry")?;
        if retry.fract() != 0.0 || !(0.0..=f64::from(u32::MAX)).contains(&retry) {
            return Err(asked.error(&format!("{function}: options.retry is {retry}; allowed: a whole number from 0")));
        }
        request.retry = retry as u32;
    }
    Ok(Callout { target, request })
}

fn sleep(asked: Asked) -> Reply {
    asked.can_wait()?;
    let duration = seconds(&asked, 1, "sleep", "seconds")?;
    match asked.vm.host().sleep(duration) {
        Ok(token) => Err(asked.wait(Wait::Token(token))),
        Err(refusal) => asked.refuse(&refusal),
    }
}

fn every(asked: Asked) -> Reply {
    let period = seconds(&asked, 1, "timer.every", "seconds")?;
    asked.answer(asked.vm.host().set_tick(period))
}

pub(super) fn seconds(asked: &Asked, index: i32, function: &str, name: &str) -> Result<Duration, Out> {
    let seconds = asked.number(index, function, name)?;
    if !(0.0..=LONGEST).contains(&seconds) {
        return Err(asked.error(&format!(
            "{function}: argument {index} ({name}) is {seconds}; allowed: seconds from 0 to {LONGEST}"
        )));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// What `http.call` gives: `{status, headers, body}`, or nil and why not. The number of values.
pub fn push_result(state: State, result: &Result<CalloutResponse, CalloutError>) -> i32 {
    let (code, message) = match result {
        Ok(response) => {
            push_response(state, response);
            return 1;
        }
        Err(CalloutError::Timeout) => (Status::Timeout, "http.call: no response in time"),
        Err(CalloutError::Unavailable(why)) => (Status::Unavailable, why.as_str()),
        Err(CalloutError::TooLarge) => {
            (Status::LimitExceeded, "http.call: the response is larger than the plugin's buffer limit")
        }
    };
    state.push_nil();
    push_failure(state, code.name(), message);
    2
}

fn push_response(state: State, response: &CalloutResponse) {
    state.reserve(10);
    state.new_table(0, 3);
    state.push_number(response.status.into());
    state.raw_set_field(-2, "status");
    state.push_bytes(&response.body);
    state.raw_set_field(-2, "body");
    state.new_table(0, response.headers.len() as i32);
    for (name, value) in &response.headers {
        // Repeated headers become one, as HTTP allows.
        state.push_bytes(&name.to_ascii_lowercase());
        state.push_copy(-1);
        state.raw_get(-3);
        if state.kind(-1) == Kind::String {
            state.push_bytes(b", ");
            state.push_bytes(value);
            state.concat(3);
        } else {
            state.pop(1);
            state.push_bytes(value);
        }
        state.raw_set(-3);
    }
    state.raw_set_field(-2, "headers");
}
