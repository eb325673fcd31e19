//! HTTP requests and [`grpc`] calls that plugins send: to the pools of the region and its named [`target`]s.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use abi::{Answer, CalloutError, CalloutRequest, CalloutResponse, Refusal, Status, Value};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TRAILER, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::BodyExt;

use self::target::{Target, Way};
use crate::body::Body;
use crate::clock;
use crate::origin;
use crate::reject::Reject;
use crate::secret::Secrets;
use crate::snapshot::Snapshot;
use crate::worker::Worker;

pub mod grpc;
pub mod public;
pub mod target;

/// To a pool, where the plugin gives no timeout.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// Most times that a plugin may have one callout sent again.
const MOST_RETRIES: u32 = 10;
/// Before the first time that it is; twice as long before each further one, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// How something ended that a plugin waits for.
pub enum Ended {
    Callout(Result<CalloutResponse, CalloutError>),
    Timer,
    /// Of every other call that is waited for.
    Reply(Answer<Value>),
}

/// Checks a callout now and gives its work: connecting, sending, reading the response up to
/// `most` bytes, again where that is allowed, within the timeout in all. Redirects are answers
/// like others.
pub fn start(
    worker: &Rc<Worker>,
    target: &str,
    callout: CalloutRequest,
    most: usize,
    secrets: &Secrets,
) -> Answer<impl Future<Output = Result<CalloutResponse, CalloutError>> + use<>> {
    let snapshot = worker.snapshot();
    let to = find(&snapshot, target)?;
    if callout.retry > MOST_RETRIES {
        let text = format!("http.call: {} retries (allowed: 0 to {MOST_RETRIES})", callout.retry);
        return Err(Refusal::new(Status::BadArgument, text));
    }
    let usual = if let To::Target(target) = &to { target.spec.timeout } else { DEFAULT_TIMEOUT };
    let (limit, retry) = (callout.timeout.unwrap_or(usual), callout.retry);
    let authority = match &to {
        To::Pool => Some(target),
        To::Target(named) => named.authority(),
    };
    let message = Message::new("http.call", target, authority, callout, secrets)?;
    let way = match &to {
        To::Pool => Whither::Pool { snapshot, pool: target.to_owned() },
        To::Target(target) => Whither::Target(target.way(message.authority(), message.uri.path())?),
    };
    let worker = worker.clone();
    Ok(async move {
        let exchange = tries(&worker, &way, &message, retry, most);
        clock::timeout(limit, exchange).await.unwrap_or(Err(CalloutError::Timeout))
    })
}

enum To {
    Pool,
    Target(Arc<Target>),
}

enum Whither {
    Pool { snapshot: Arc<Snapshot>, pool: String },
    Target(Way),
}

fn find(snapshot: &Snapshot, name: &str) -> Answer<To> {
    if snapshot.region.pools.contains_key(name) {
        return Ok(To::Pool);
    }
    if let Some(target) = snapshot.targets.get(name) {
        return Ok(To::Target(target.clone()));
    }
    let pools: Vec<_> = snapshot.region.pools.keys().map(String::as_str).collect();
    let mut text = format!("http.call: no pool {name:?}; pools are: {}", pools.join(", "));
    if !snapshot.targets.is_empty() {
        let targets: Vec<_> = snapshot.region.targets.keys().map(String::as_str).collect();
        text = format!("{text}; targets are: {}", targets.join(", "));
    }
    Err(Refusal::new(Status::BadArgument, text))
}

/// Sends it, and again where it may be and it helps: no connection, no answer, or an answer that
/// says that there is none. What can do harm twice is sent once.
async fn tries(
    worker: &Rc<Worker>,
    way: &Whither,
    message: &Message,
    retry: u32,
    most: usize,
) -> Result<CalloutResponse, CalloutError> {
    let mut left = if message.method.is_idempotent() { retry } else { 0 };
    let mut pause = FIRST_PAUSE;
    loop {
        let ended = once(worker, way, message, most).await;
        let again = match &ended {
            Ok(response) => matches!(response.status, 502..=504),
            Err(failed) => failed.unanswered,
        };
        if !again || left == 0 {
            return ended.map_err(|failed| failed.error);
        }
        left -= 1;
        // Not all edges at the same moment.
        clock::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

struct Failed {
    error: CalloutError,
    /// There was no connection, or it ended before any answer.
    unanswered: bool,
}

async fn once(worker: &Rc<Worker>, way: &Whither, message: &Message, most: usize) -> Result<CalloutResponse, Failed> {
    let broken = |error| Failed { error, unanswered: false };
    match way {
        Whither::Pool { snapshot, pool } => {
            let sent = origin::send(worker, snapshot, pool, message.request()).await;
            let response = sent.map_err(|reject| Failed {
                unanswered: matches!(reject, Reject::OriginUnreachable { .. } | Reject::NoOrigin { .. }),
                error: CalloutError::Unavailable(reject.detail()),
            })?;
            collect(response, most).await.map_err(broken)
        }
        Whither::Target(way) => {
            let sent = way.send(worker, || message.request()).await;
            let received = sent.map_err(|failed| Failed {
                unanswered: failed.unanswered,
                error: CalloutError::Unavailable(failed.why),
            })?;
            let response = collect(received.response, most).await.map_err(broken)?;
            way.keep(worker, received.sender);
            Ok(response)
        }
    }
}

/// What is sent, checked; each try is a request of its own.
struct Message {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    trailers: HeaderMap,
}

impl Message {
    /// `authority` is that of a callout that names none.
    fn new(
        call: &str,
        target: &str,
        authority: Option<&str>,
        callout: CalloutRequest,
        secrets: &Secrets,
    ) -> Answer<Message> {
        let bad = |text: String| Refusal::new(Status::BadArgument, text);
        let method = if callout.method.is_empty() { "GET" } else { &callout.method };
        let path = if callout.path.is_empty() { "/" } else { &callout.path };
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| bad(format!("{call}: no method {method:?}")))?;
        if method == Method::CONNECT {
            return Err(bad(format!("{call}: a callout is no tunnel: CONNECT is not allowed")));
        }
        let uri = Uri::try_from(path).ok().filter(|_| path.starts_with('/'));
        let uri = uri.ok_or_else(|| bad(format!("{call}: no path {path:?} (it begins with /)")))?;
        let mut headers = headers(call, target, &callout.headers, secrets)?;
        let trailers = self::headers(call, target, &callout.trailers, secrets)?;
        if !callout.authority.is_empty() || !headers.contains_key(HOST) {
            let host = if callout.authority.is_empty() { authority } else { Some(&*callout.authority) };
            let host = host.ok_or_else(|| bad(format!("{call}: target {target:?} needs an authority")))?;
            let fits = Authority::try_from(host).is_ok_and(|asked| !asked.as_str().contains('@'));
            let value = fits.then(|| HeaderValue::from_str(host).ok()).flatten();
            let host = value.ok_or_else(|| bad(format!("{call}: no authority {host:?} (host or host:port)")))?;
            headers.insert(HOST, host);
        }
        // Framing belongs to the edge, and a callout speaks to one origin only.
        for name in ["connection", "transfer-encoding", "upgrade", "keep-alive", "te", "trailer"] {
            headers.remove(name);
        }
        headers.remove(CONTENT_LENGTH);
        if !trailers.is_empty() {
            // HTTP/1.1 sends only what was announced.
            let names: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
            // And says nothing of a body of unknown length to these, unless told to.
            if matches!(method, Method::GET | Method::HEAD) {
                headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            headers.insert(TRAILER, HeaderValue::from_str(&names.join(", ")).expect("names of headers are a value"));
        } else if !callout.body.is_empty() {
            headers.insert(CONTENT_LENGTH, callout.body.len().into());
        }
        Ok(Message { method, uri, headers, body: callout.body, trailers })
    }

    fn request(&self) -> Request<Body> {
        self.request_with(match self.trailers.is_empty() {
            true => Body::from(self.body.clone()),
            false => Body::Trailed(self.body.clone(), Box::new(self.trailers.clone())),
        })
    }

    fn request_with(&self, body: Body) -> Request<Body> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// Empty if it is no text.
    fn authority(&self) -> &str {
        self.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()
    }
}

fn headers(call: &str, target: &str, pairs: &[(Vec<u8>, Vec<u8>)], secrets: &Secrets) -> Answer<HeaderMap> {
    let bad = |text: String| Refusal::new(Status::BadArgument, text);
    let mut headers = HeaderMap::with_capacity(pairs.len() + 2);
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name)
            .map_err(|_| bad(format!("{call}: no header name \"{}\"", name.escape_ascii())))?;
        let value = match secrets.reveal(target, value)? {
            Some(value) => value,
            None => HeaderValue::from_bytes(value)
                .map_err(|_| bad(format!("{call}: no value for {name}: \"{}\"", value.escape_ascii())))?,
        };
        headers.append(name, value);
    }
    Ok(headers)
}

async fn collect<B>(response: Response<B>, most: usize) -> Result<CalloutResponse, CalloutError>
where
    B: http_body::Body<Data = Bytes, Error: std::fmt::Display> + Unpin,
{
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
