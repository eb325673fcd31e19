//! `forebay.http.call`, `forebay.sleep`, `forebay.timer.every`: what is waited for.

use std::time::Duration;

use abi::{CalloutError, CalloutRequest, CalloutResponse, Status};
use bytes::Bytes;

use super::exchange::headers;
use super::{Asked, Out, Raw, Reply, enter, functions, push_failure};
use crate::state::{Function, Kind, State};
use crate::vm::Wait;

pub const FUNCTIONS: &[(&str, Function)] = functions! {
    "http.call" call;
    "sleep" sleep;
    "timer.every" every;
};

/// Longest time that a script can name.
const LONGEST: f64 = 366.0 * 86_400.0;

/// `call(target, method, path, authority, flat headers, body, timeout)`
fn call(asked: Asked) -> Reply {
    asked.can_wait()?;
    let target = asked.name(1, "http.call", "target")?;
    let text = |index, name| match asked.state.kind(index) {
        Kind::Nil | Kind::None => Ok(String::new()),
        _ => asked.name(index, "http.call", name).map(str::to_owned),
    };
    let mut request = CalloutRequest {
        method: text(2, "request.method")?,
        path: text(3, "request.path")?,
        authority: text(4, "request.authority")?,
        headers: headers(&asked, 5, "http.call")?,
        body: Bytes::new(),
        trailers: Vec::new(),
        timeout: None,
    };
    if !matches!(asked.state.kind(6), Kind::Nil | Kind::None) {
        request.body = Bytes::copy_from_slice(asked.text(6, "http.call", "request.body")?);
    }
    if !matches!(asked.state.kind(7), Kind::Nil | Kind::None) {
        request.timeout = Some(seconds(&asked, 7, "http.call", "options.timeout")?);
    }
    match asked.vm.host().callout(target, request) {
        Ok(token) => Err(asked.wait(Wait::Token(token))),
        Err(refusal) => asked.refuse(&refusal),
    }
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
