//! HTTP requests that plugins send, to the pools of the region and nowhere else.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use abi::{Answer, CalloutError, CalloutRequest, CalloutResponse, Refusal, Status, Value};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Uri};
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::body::Body;
use crate::origin;
use crate::secret::Secrets;
use crate::worker::Worker;

/// Where the plugin gives no timeout.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// How something ended that a plugin waits for.
pub enum Ended {
    Callout(Result<CalloutResponse, CalloutError>),
    Timer,
    /// Of every other call that is waited for.
    Reply(Answer<Value>),
}

/// Checks a callout now and gives its work: connecting, sending, reading the response up to
/// `most` bytes, within the timeout in all.
pub fn start(
    worker: &Rc<Worker>,
    target: &str,
    callout: CalloutRequest,
    most: usize,
    secrets: &Secrets,
) -> Answer<impl Future<Output = Ended> + use<>> {
    let snapshot = worker.snapshot();
    if !snapshot.region.pools.contains_key(target) {
        let pools: Vec<_> = snapshot.region.pools.keys().map(String::as_str).collect();
        let text = format!("http.call: no pool {target:?}; pools are: {}", pools.join(", "));
        return Err(Refusal::new(Status::BadArgument, text));
    }
    let limit = callout.timeout.unwrap_or(DEFAULT_TIMEOUT);
    let request = request(target, callout, secrets)?;
    let (worker, target) = (worker.clone(), target.to_owned());
    Ok(async move {
        let exchange = async {
            let response = origin::send(&worker, &snapshot, &target, request).await;
            let response = response.map_err(|reject| CalloutError::Unavailable(reject.detail()))?;
            collect(response, most).await
        };
        let ended = crate::clock::timeout(limit, exchange).await;
        Ended::Callout(ended.unwrap_or(Err(CalloutError::Timeout)))
    })
}

fn request(target: &str, callout: CalloutRequest, secrets: &Secrets) -> Answer<Request<Body>> {
    let bad = |text: String| Refusal::new(Status::BadArgument, text);
    if !callout.trailers.is_empty() {
        // Better refused than left out without a word.
        return Err(Refusal::new(Status::Unimplemented, "http.call: trailers of a request are not sent"));
    }
    let method = if callout.method.is_empty() { "GET" } else { &callout.method };
    let path = if callout.path.is_empty() { "/" } else { &callout.path };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| bad(format!("http.call: no method {method:?}")))?;
    let uri = Uri::try_from(path).ok().filter(|_| path.starts_with('/'));
    let uri = uri.ok_or_else(|| bad(format!("http.call: no path {path:?} (it begins with /)")))?;
    let mut headers = HeaderMap::with_capacity(callout.headers.len() + 2);
    for (name, value) in &callout.headers {
        let name = HeaderName::from_bytes(name)
            .map_err(|_| bad(format!("http.call: no header name \"{}\"", name.escape_ascii())))?;
        let value = match secrets.reveal(target, value)? {
            Some(value) => value,
            None => HeaderValue::from_bytes(value)
                .map_err(|_| bad(format!("http.call: no value for {name}: \"{}\"", value.escape_ascii())))?,
        };
        headers.append(name, value);
    }
    if !callout.authority.is_empty() || !headers.contains_key(HOST) {
        let host = if callout.authority.is_empty() { target } else { &callout.authority };
        let host = HeaderValue::from_str(host).map_err(|_| bad(format!("http.call: no authority {host:?}")))?;
        headers.insert(HOST, host);
    }
    // Framing belongs to the edge, and a callout speaks to one origin only.
    for name in ["connection", "transfer-encoding", "upgrade", "keep-alive", "te"] {
        headers.remove(name);
    }
    headers.remove(CONTENT_LENGTH);
    if !callout.body.is_empty() {
        headers.insert(CONTENT_LENGTH, callout.body.len().into());
    }
    let body = if callout.body.is_empty() { Body::Empty } else { Body::Full(callout.body) };
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

async fn collect(response: http::Response<Body>, most: usize) -> Result<CalloutResponse, CalloutError> {
    let (parts, mut body) = response.into_parts();
    if body.size_hint().lower() > most as u64 {
        return Err(CalloutError::TooLarge);
    }
    let mut all = BytesMut::new();
    let mut trailers = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| CalloutError::Unavailable(error.to_string()))?;
        match frame.into_data() {
            Ok(data) if all.len() + data.len() > most => return Err(CalloutError::TooLarge),
            Ok(data) => all.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().map(|map| pairs(&map)).unwrap_or_default(),
        }
    }
    let headers = pairs(&parts.headers);
    Ok(CalloutResponse { status: parts.status.as_u16(), headers, body: all.freeze(), trailers })
}

fn pairs(map: &HeaderMap) -> Vec<(Bytes, Bytes)> {
    let pair = |(name, value): (&HeaderName, &HeaderValue)| {
        (Bytes::copy_from_slice(name.as_ref()), Bytes::copy_from_slice(value.as_bytes()))
    };
    map.iter().map(pair).collect()
}
