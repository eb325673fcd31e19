//! Callouts: one, or several at once, sent again where that does no harm.
//!
//! Each call gives a [`Reply`]: `.await` it in a [task](crate::task), or give it a closure with
//! [`then`](Reply::then). A task uses these, not the `proxy-wasm` crate's `dispatch_http_call`, which
//! tells the context of the crate's latest callback, and that need not be the task's.

use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, MapType};

use crate::packed::{ask, broken, Arguments, Refusal, Value};
use crate::reply::{deliver, Key, Reply};

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

/// Starts all of them and ends when the last has ended, with a result for each, in order: one that
/// fails or is refused takes nothing from the others. What `on_log` starts is told after its end.
///
/// # Errors
/// `PHASE_DENIED` where nothing may wait, `LIMIT_EXCEEDED` for more than the limit `callouts`, code 1
/// on another host.
pub fn call_all(callouts: &[Callout]) -> Reply<Vec<Result<Response, Refusal>>> {
    ask("forebay_http_call_all", packed(callouts), |value| match value {
        Value::List(items) => Ok(items.into_iter().map(result).collect()),
        _ => Err(broken()),
    })
}

/// Starts one. On another host it goes by `proxy_http_call`, for an exchange of
/// [`task::http`](crate::task::http) or one that hands [`answered`] on: it is not sent again there, and
/// a `timeout` of `None` is 5 s.
///
/// # Errors
/// As [`call_all`], and of the callout: 100 (not granted), 103 (no answer in time), 104 (no connection,
/// or no answer).
pub fn call(callout: &Callout) -> Reply<Response> {
    let all = packed(std::slice::from_ref(callout));
    let reply = ask("forebay_http_call_all", all, |value| match value {
        Value::List(mut items) if items.len() == 1 => result(items.remove(0)),
        _ => Err(broken()),
    });
    if reply.refusal().is_some_and(|refusal| refusal.code == NOT_FOUND) { plain(callout) } else { reply }
}

const NOT_FOUND: i32 = 1;

/// By proxy-wasm's own call.
fn plain(callout: &Callout) -> Reply<Response> {
    let authority = if callout.authority.is_empty() { &callout.target } else { &callout.authority };
    // The crate's function takes texts.
    let texts = |pairs: &[(String, Vec<u8>)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| (name.clone(), String::from_utf8_lossy(value).into_owned())).collect()
    };
    let (headers, trailers) = (texts(&callout.headers), texts(&callout.trailers));
    let fixed = [(":method", &callout.method), (":path", &callout.path), (":authority", authority)];
    let fixed = fixed.iter().map(|(name, value)| (*name, value.as_str()));
    let headers = fixed.chain(headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))).collect();
    let trailers = trailers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let body = (!callout.body.is_empty()).then_some(callout.body.as_slice());
    let timeout = callout.timeout.unwrap_or(Duration::from_secs(5));
    match hostcalls::dispatch_http_call(&callout.target, headers, body, trailers, timeout) {
        Ok(token) => Reply::waiting(Key::Answer(token), result),
        Err(status) => {
            let message = format!("proxy_http_call to {}: refused by the host", callout.target);
            Reply::refused(Refusal { code: status as i32, message })
        }
    }
}

/// For a `Context` of your own that awaits [`call`] on other hosts: hand its `on_http_call_response` on
/// to this. `context_id` is its own.
pub fn answered(context_id: u32, token: u32, headers: usize, size: usize) {
    deliver(context_id, Key::Answer(token), || {
        if headers == 0 {
            let message = "the callout brought no answer".to_owned();
            return Err(Refusal { code: Refusal::UNAVAILABLE, message });
        }
        let all = hostcalls::get_map_bytes(MapType::HttpCallResponseHeaders).unwrap_or_default();
        let status = all.iter().find(|(name, _)| name == ":status");
        let status = status.and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse().ok());
        let pair = |(name, value): (String, Vec<u8>)| {
            Value::List(vec![Value::Bytes(name.into_bytes()), Value::Bytes(value)])
        };
        let headers = all.into_iter().filter(|(name, _)| !name.starts_with(':')).map(pair).collect();
        let body = hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, size).ok().flatten();
        let parts = [Value::Int(status.unwrap_or(0)), Value::List(headers), Value::Bytes(body.unwrap_or_default())];
        Ok(Value::List(parts.into()))
    });
}

fn packed(callouts: &[Callout]) -> Arguments {
    let pairs = |to: Arguments, pairs: &[(String, Vec<u8>)]| {
        to.list(pairs.iter(), |to, (name, value)| to.bytes(name.as_bytes()).bytes(value))
    };
    Arguments::new().list(callouts.iter(), |to, one| {
        let to = [&one.target, &one.method, &one.path, &one.authority]
            .into_iter()
            .fold(to, |to, text| to.bytes(text.as_bytes()));
        let to = pairs(pairs(to, &one.headers).bytes(&one.body), &one.trailers);
        let nanos = one.timeout.map(|timeout| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
        to.maybe(nanos, Arguments::u64).u32(one.retry)
    })
}

/// One item: status, headers and body; or a code's name, a text and the code.
fn result(item: Value) -> Result<Response, Refusal> {
    let Value::List(parts) = item else { return Err(broken()) };
    match <[Value; 3]>::try_from(parts) {
        Ok([Value::Int(status), Value::List(headers), Value::Bytes(body)]) => {
            let headers = headers.into_iter().filter_map(header).collect();
            Ok(Response { status: status as u16, headers, body })
        }
        Ok([Value::Bytes(_), Value::Bytes(message), Value::Int(code)]) => {
            Err(Refusal { code: code as i32, message: String::from_utf8_lossy(&message).into_owned() })
        }
        _ => Err(broken()),
    }
}

fn header(pair: Value) -> Option<(Vec<u8>, Vec<u8>)> {
    let Value::List(pair) = pair else { return None };
    match <[Value; 2]>::try_from(pair) {
        Ok([Value::Bytes(name), Value::Bytes(value)]) => Some((name, value)),
        _ => None,
    }
}
