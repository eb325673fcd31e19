//! Several callouts at once, and callouts that are sent again where that does no harm. One alone
//! is the `proxy-wasm` crate's `dispatch_http_call`.

use std::time::Duration;

use crate::packed::{self, Arguments, Refusal, Value};

/// An HTTP request to a pool or a named target of the region.
#[derive(Clone, Debug, Default)]
pub struct Callout {
    pub target: String,
    pub method: String,
    pub path: String,
    /// The target's name if empty.
    pub authority: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, Vec<u8>)>,
    /// The whole callout, connecting and every try included; the target's own if `None`.
    pub timeout: Option<Duration>,
    /// How often it may be sent again: if its method is idempotent and there was no connection, no
    /// answer, or one of 502, 503 and 504. At most 10.
    pub retry: u32,
}

impl Callout {
    pub fn get(target: &str, path: &str) -> Callout {
        Callout { target: target.into(), method: "GET".into(), path: path.into(), ..Callout::default() }
    }

    pub fn timeout(self, timeout: Duration) -> Callout {
        Callout { timeout: Some(timeout), ..self }
    }

    pub fn retry(self, retry: u32) -> Callout {
        Callout { retry, ..self }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// In order, names in lower case.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of a header; `name` is in lower case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(known, _)| known == name.as_bytes()).map(|(_, value)| value.as_slice())
    }
}

/// Starts all of them and calls `then` when the last has ended, with a result for each, in order:
/// one that fails or is refused takes nothing from the others. Return `Action::Pause` meanwhile and
/// let `then` end with `resume_http_request` or another call that goes on. `then` is not called if
/// the exchange ends before; what `on_log` starts is told after its end.
///
/// # Errors
/// `PHASE_DENIED` where nothing may wait, `LIMIT_EXCEEDED` for more than the limit `callouts`, code 1
/// on another host.
pub fn call_all(
    callouts: &[Callout],
    then: impl FnOnce(Result<Vec<Result<Response, Refusal>>, Refusal>) + 'static,
) -> Result<(), Refusal> {
    let pairs = |to: Arguments, pairs: &[(String, Vec<u8>)]| {
        to.list(pairs.iter(), |to, (name, value)| to.bytes(name.as_bytes()).bytes(value))
    };
    let arguments = Arguments::new().list(callouts.iter(), |to, one| {
        let to = [&one.target, &one.method, &one.path, &one.authority]
            .into_iter()
            .fold(to, |to, text| to.bytes(text.as_bytes()));
        let to = pairs(pairs(to, &one.headers).bytes(&one.body), &one.trailers);
        let nanos = one.timeout.map(|timeout| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
        to.maybe(nanos, Arguments::u64).u32(one.retry)
    });
    let token = packed::call("forebay_http_call_all", arguments)?.u32()?;
    packed::when_replied(token, |reply| {
        then(reply.map(|value| match value {
            Value::List(items) => items.into_iter().map(result).collect(),
            _ => Vec::new(),
        }))
    });
    Ok(())
}

/// One item: status, headers and body; or a code's name, a text and the code.
fn result(item: Value) -> Result<Response, Refusal> {
    let strange = || Refusal { code: 4, message: "the host lists callouts in another way".to_owned() };
    let Value::List(parts) = item else { return Err(strange()) };
    match <[Value; 3]>::try_from(parts) {
        Ok([Value::Int(status), Value::List(headers), Value::Bytes(body)]) => {
            let headers = headers.into_iter().filter_map(header).collect();
            Ok(Response { status: status as u16, headers, body })
        }
        Ok([Value::Bytes(_), Value::Bytes(message), Value::Int(code)]) => {
            Err(Refusal { code: code as i32, message: String::from_utf8_lossy(&message).into_owned() })
        }
        _ => Err(strange()),
    }
}

fn header(pair: Value) -> Option<(Vec<u8>, Vec<u8>)> {
    let Value::List(pair) = pair else { return None };
    match <[Value; 2]>::try_from(pair) {
        Ok([Value::Bytes(name), Value::Bytes(value)]) => Some((name, value)),
        _ => None,
    }
}
