//! gRPC calls and streams that plugins start, over HTTP/2: to the pools of the region that speak it and to
//! its named targets that do.
//!
//! - this file: what is checked and sent, and how an answer becomes events
//! - [`outgoing`]: messages on their way out
//! - [`incoming`]: messages that come

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use abi::{Answer, CalloutRequest, GrpcEvent, GrpcRequest, GrpcStatus, Refusal, Status};
use bytes::Bytes;
use config::TargetTo;
use http::header::{CONTENT_TYPE, HeaderValue, TE};
use http::{HeaderMap, HeaderName, Response, StatusCode};

use self::incoming::Messages;
pub use self::outgoing::Outgoing;
use super::target::Target;
use super::{DEFAULT_TIMEOUT, Message, To, Whither, pairs};
use crate::clock;
use crate::origin;
use crate::secret::Secrets;
use crate::snapshot::Snapshot;
use crate::worker::Worker;

pub mod incoming;
pub mod outgoing;

const NAME: &str = "grpc.call";
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// What the host says itself, or does not take.
const OURS: [&str; 5] = ["content-type", "grpc-timeout", "grpc-encoding", "grpc-accept-encoding", "grpc-status"];

/// Checked, and not begun.
pub struct Prepared {
    worker: Rc<Worker>,
    way: Whither,
    message: Message,
    outgoing: Rc<Outgoing>,
    limit: Option<Duration>,
    /// Bytes of one message.
    most: usize,
    /// A call, not a stream.
    unary: bool,
}

/// The name that `callout:<name>` grants: a pool's or a target's, or that of the target at this address, as
/// other hosts have it in a `target_uri`.
pub fn name<'a>(snapshot: &'a Snapshot, upstream: &'a str) -> Answer<&'a str> {
    if snapshot.region.pools.contains_key(upstream) || snapshot.targets.contains_key(upstream) {
        return Ok(upstream);
    }
    let address = upstream.strip_prefix("dns:").map_or(upstream, |rest| rest.trim_start_matches('/'));
    let at = |target: &&Arc<Target>| matches!(&target.spec.to, TargetTo::Address(known) if known == address);
    let found = snapshot.targets.values().find(at);
    found.map(|target| &*target.spec.name).ok_or_else(|| {
        Refusal::new(Status::NotFound, format!("{NAME}: no pool and no target {upstream:?} in this region"))
    })
}

/// Checks what is asked; `outgoing` carries its messages.
pub fn prepare(
    worker: &Rc<Worker>,
    target: &str,
    request: GrpcRequest,
    most: usize,
    secrets: &Secrets,
) -> Answer<(Prepared, Rc<Outgoing>)> {
    let snapshot = worker.snapshot();
    let to = super::find(&snapshot, target)?;
    let http2 = match &to {
        To::Pool => snapshot.pools.get(target).is_some_and(|pool| pool.http2),
        To::Target(target) => target.spec.http2,
    };
    if !http2 {
        let text = format!("{NAME}: {target:?} speaks HTTP/1.1; gRPC takes `http2: true` in its entry");
        return Err(Refusal::new(Status::Unavailable, text));
    }
    let (unary, asked) = (request.message.is_some(), request.timeout);
    let usual = if let To::Target(target) = &to { target.spec.timeout } else { DEFAULT_TIMEOUT };
    let limit = if unary { Some(asked.unwrap_or(usual)) } else { asked };
    let authority = match &to {
        To::Pool => Some(target),
        To::Target(named) => named.authority(),
    };
    let outgoing = Outgoing::new(most);
    if let Some(message) = &request.message {
        outgoing.push(message, true)?;
    }
    let mut message = Message::new(NAME, target, authority, callout(request)?, secrets)?;
    frame(&mut message.headers, limit);
    let way = match &to {
        To::Pool => Whither::Pool { snapshot, pool: target.to_owned() },
        To::Target(target) => Whither::Target(target.way(message.authority(), message.uri.path())?),
    };
    let prepared = Prepared { worker: worker.clone(), way, message, outgoing: outgoing.clone(), limit, most, unary };
    Ok((prepared, outgoing))
}

/// The request as any other, but for its body.
fn callout(request: GrpcRequest) -> Answer<CalloutRequest> {
    let GrpcRequest { service, method, metadata, .. } = request;
    let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic() && !b"/?#%".contains(&b));
    if !word(&service) || !word(&method) {
        let text = format!("{NAME}: no method {method:?} of service {service:?} (both are names, as in shop.v1.Stock)");
        return Err(Refusal::new(Status::BadArgument, text));
    }
    let mut callout =
        CalloutRequest { method: "POST".into(), path: format!("/{service}/{method}"), ..Default::default() };
    for (name, value) in metadata {
        if name.eq_ignore_ascii_case(b":authority") || name.eq_ignore_ascii_case(b"host") {
            let text = String::from_utf8(value);
            callout.authority =
                text.map_err(|_| Refusal::new(Status::BadArgument, format!("{NAME}: the authority is no text")))?;
        } else if !OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours.as_bytes())) {
            callout.headers.push((name, value));
        }
    }
    Ok(callout)
}

fn frame(headers: &mut HeaderMap, limit: Option<Duration>) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    if let Some(limit) = limit {
        headers.insert(TIMEOUT, HeaderValue::from_str(&timeout(limit)).expect("digits and a letter are a value"));
    }
}

/// At most eight digits.
fn timeout(limit: Duration) -> String {
    match limit.as_millis() {
        millis @ 0..=99_999_999 => format!("{}m", millis.max(1)),
        _ => format!("{}S", limit.as_secs().min(99_999_999)),
    }
}

impl Prepared {
    /// Does all of it and tells each event; none after a cancel.
    pub async fn run(self, tell: impl AsyncFn(&GrpcEvent)) {
        // Also if this ends because nobody waits any more: what is not at its end then is reset.
        let reset = Reset(self.outgoing.clone());
        let tell = async |event: GrpcEvent| {
            if !self.outgoing.is_cancelled() {
                tell(&event).await;
            }
            !self.outgoing.is_cancelled()
        };
        let (mut message, mut trailed) = (None, false);
        let mut hear = async |event: GrpcEvent| match event {
            GrpcEvent::Message(bytes) if self.unary => message.replace(bytes).is_none(),
            _ if self.unary => true,
            event => {
                trailed |= matches!(event, GrpcEvent::Trailers(_));
                tell(event).await
            }
        };
        let exchange = self.exchange(&mut hear);
        let status = match self.limit {
            Some(limit) => clock::timeout(limit, exchange).await.unwrap_or_else(|_| {
                GrpcStatus::new(GrpcStatus::DEADLINE_EXCEEDED, format!("no end of it within {limit:?}"))
            }),
            None => exchange.await,
        };
        let last = match message {
            Some(message) if status.code == GrpcStatus::OK => GrpcEvent::Message(message),
            None if self.unary && status.code == GrpcStatus::OK => {
                GrpcEvent::Closed(GrpcStatus::new(GrpcStatus::INTERNAL, "it ended well and without a message"))
            }
            _ => GrpcEvent::Closed(status),
        };
        // A stream always hears of trailers, as in Envoy.
        if self.unary || trailed || tell(GrpcEvent::Trailers(Vec::new())).await {
            tell(last).await;
        }
        drop(reset);
    }

    /// What it ended with; `hear` says whether to go on.
    async fn exchange(&self, hear: &mut impl AsyncFnMut(GrpcEvent) -> bool) -> GrpcStatus {
        let unavailable = |why: String| GrpcStatus::new(GrpcStatus::UNAVAILABLE, why);
        match &self.way {
            Whither::Pool { snapshot, pool } => {
                match origin::send(&self.worker, snapshot, pool, self.message.request_with(self.outgoing.body())).await
                {
                    Ok(response) => self.read(response, hear).await,
                    Err(reject) => unavailable(reject.detail()),
                }
            }
            Whither::Target(way) => {
                match way.send(&self.worker, || self.message.request_with(self.outgoing.body())).await {
                    Ok(received) => self.read(received.response, hear).await,
                    Err(failed) => unavailable(failed.why),
                }
            }
        }
    }

    async fn read<B>(&self, response: Response<B>, hear: &mut impl AsyncFnMut(GrpcEvent) -> bool) -> GrpcStatus
    where
        B: http_body::Body<Data = Bytes, Error: incoming::Broken> + Unpin,
    {
        let stopped = || GrpcStatus::new(GrpcStatus::INTERNAL, "more than one message");
        let (parts, body) = response.into_parts();
        if body.is_end_stream() {
            // Nothing but trailers, which came as headers.
            let _ =
                hear(GrpcEvent::Metadata(Vec::new())).await && hear(GrpcEvent::Trailers(pairs(&parts.headers))).await;
            return status(&parts.headers, parts.status);
        }
        if !hear(GrpcEvent::Metadata(pairs(&parts.headers))).await {
            return stopped();
        }
        if parts.status != StatusCode::OK {
            return status(&HeaderMap::new(), parts.status);
        }
        let mut messages = Messages::new(body, self.most);
        loop {
            let message = match messages.next().await {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(status) => return status,
            };
            if !hear(GrpcEvent::Message(message)).await {
                return stopped();
            }
        }
        let trailers = messages.into_trailers().unwrap_or_default();
        hear(GrpcEvent::Trailers(pairs(&trailers))).await;
        status(&trailers, parts.status)
    }
}

/// What headers or trailers say, or else what the HTTP status stands for.
fn status(headers: &HeaderMap, http: StatusCode) -> GrpcStatus {
    let said = headers.get(STATUS).and_then(|code| code.to_str().ok()?.parse().ok());
    let message = headers.get(MESSAGE).map(|text| plain(text.as_bytes())).unwrap_or_default();
    match said {
        Some(code) => GrpcStatus::new(code, message),
        None if http == StatusCode::OK => GrpcStatus::new(GrpcStatus::UNKNOWN, "it ended without a grpc-status"),
        None => GrpcStatus::new(GrpcStatus::of_http(http.as_u16()), format!("HTTP status {}", http.as_u16())),
    }
}

/// Undoes percent-encoding; what is none stays as it is.
fn plain(text: &[u8]) -> String {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| byte == b'%').and_then(|two| {
            let digit = |byte: u8| (byte as char).to_digit(16);
            Some((digit(two[0])? * 16 + digit(two[1])?) as u8)
        });
        plain.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// Resets what has not ended when it drops.
struct Reset(Rc<Outgoing>);

impl Drop for Reset {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_written_in_at_most_eight_digits() {
        let written = |millis| timeout(Duration::from_millis(millis));
        assert_eq!((written(0), written(1500)), ("1m".into(), "1500m".into()));
        assert_eq!((written(99_999_999), written(100_000_000)), ("99999999m".into(), "100000S".into()));
        assert_eq!(timeout(Duration::MAX), "99999999S");
    }

    #[test]
    fn a_status_is_the_one_that_is_said_or_what_http_stands_for() {
        let mut headers = HeaderMap::new();
        let of = |headers: &HeaderMap, http| status(headers, StatusCode::from_u16(http).unwrap()).code;
        let http = [400, 401, 403, 404, 429, 502, 503, 504, 500, 302, 200].map(|http| of(&headers, http));
        assert_eq!(http, [13, 16, 7, 12, 14, 14, 14, 14, 2, 2, 2]);
        headers.insert(STATUS, HeaderValue::from_static("5"));
        headers.insert(MESSAGE, HeaderValue::from_static("no%20such %C3%A9 100% %zz"));
        assert_eq!(status(&headers, StatusCode::BAD_GATEWAY), GrpcStatus::new(5, "no such é 100% %zz"));
        headers.insert(STATUS, HeaderValue::from_static("five"));
        assert_eq!(of(&headers, 200), GrpcStatus::UNKNOWN);
    }
}
