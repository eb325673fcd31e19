//! HTTP in: from an accepted connection to an answered request.
//!
//! - this file: a connection's protocol, and the path of one request
//! - [`admit`]: what is refused before anything else, the host, the plain target
//! - [`forward`]: hop-by-hop headers and forwarding headers
//! - [`exit`]: the response body with its ending, which becomes the outcome
//! - [`upgrade`]: from a 101 on
//! - [`guard`], [`scan`], [`frames`], [`tap`], [`interim`]: the connection's bytes
//! - [`idle`], [`stall`]: HTTP/2 connections without an exchange, and responses that nobody takes

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;

pub mod admit;
pub mod exit;
pub mod forward;
pub mod frames;
pub mod guard;
pub mod idle;
pub mod interim;
pub mod scan;
pub mod stall;
pub mod tap;
pub mod upgrade;

use crate::body::{Body, ClientBody};
use crate::certificate::Certificate;
use crate::reject::Reject;
use crate::route::Route;
use crate::snapshot::Snapshot;
use crate::stream::Stream;
use crate::wheel::Timer;
use crate::worker::Worker;
use crate::{chain, origin};
use exit::{Exit, Finish};
use frames::PREFACE;
use guard::{Guard, Limits};
use idle::{Due, Idle};
use interim::InterimSink;
use stall::Streams;
use tap::Tap;

/// Exchanges that one HTTP/2 connection may hold at a time.
const STREAMS: u32 = 200;

/// Bytes of one HTTP/2 stream that wait for the client's side of the network.
const STREAM_BUFFER: usize = 64 << 10;

/// Facts about a client connection, for forwarding headers and properties.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Unique in this process.
    pub id: u64,
    pub remote: SocketAddr,
    pub local: SocketAddr,
    pub tls: Option<TlsFacts>,
}

impl Connection {
    pub fn new(remote: SocketAddr, local: SocketAddr, tls: Option<TlsFacts>) -> Connection {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Connection { id: NEXT.fetch_add(1, Ordering::Relaxed), remote, local, tls }
    }
}

#[derive(Clone, Debug)]
pub struct TlsFacts {
    /// `TLSv1.3`
    pub version: &'static str,
    pub sni: Option<Arc<str>>,
    pub alpn: Option<Arc<str>>,
    /// The one that the client was shown.
    pub certificate: Arc<Certificate>,
    /// The client's, which was found good.
    pub peer: Option<Arc<Certificate>>,
}

/// What all requests of a connection share.
pub(crate) struct Client {
    pub worker: Rc<Worker>,
    pub connection: Rc<Connection>,
    pub tap: Arc<Tap>,
    /// The client's address as it goes into `x-forwarded-for`.
    pub remote: HeaderValue,
}

/// An exchange that ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("a plugin closed the exchange")]
struct Closed;

/// Serves a connection until it ends. `http1` and `http2` are what its listener speaks.
pub(crate) async fn serve(worker: Rc<Worker>, mut stream: Stream, connection: Connection, http1: bool, http2: bool) {
    let snapshot = worker.snapshot();
    let limits = snapshot.limits.clone();
    drop(snapshot);
    let alpn = connection.tls.as_ref().and_then(|tls| tls.alpn.as_deref());
    let (early, speaks2) = match alpn {
        Some("h2") => (Bytes::new(), true),
        Some(_) => (Bytes::new(), false),
        None if http1 && http2 => match sniff(&worker, &mut stream, limits.header_timeout).await {
            Some(sniffed) => sniffed,
            None => return,
        },
        None => (Bytes::new(), http2),
    };
    let tap = Arc::new(Tap::new());
    let times = Limits { header: limits.header_timeout, idle: limits.idle_timeout, write: limits.body_timeout };
    let io = TokioIo::new(Guard::new(stream, early, !speaks2, tap.clone(), times));
    let remote = HeaderValue::try_from(connection.remote.ip().to_canonical().to_string()).expect("an address is text");
    let connection = Rc::new(connection);
    let client = Rc::new(Client { worker: worker.clone(), connection, tap: tap.clone(), remote });
    let service = service_fn(move |request| answer(client.clone(), request));
    let ended = if speaks2 {
        let mut builder = http2::Builder::new(Streams { tap: tap.clone(), within: limits.body_timeout });
        builder
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            .max_concurrent_streams(STREAMS)
            .max_send_buf_size(STREAM_BUFFER);
        let idle = Some(Idle::new(tap, times));
        let serving = pin!(builder.serve_connection(io, service));
        until_ended(&worker, idle, serving, |serving| serving.graceful_shutdown()).await
    } else {
        let mut builder = http1::Builder::new();
        builder.max_header_size(limits.header_bytes).max_buf_size(limits.header_bytes.max(64 << 10));
        if limits.headers > 100 {
            // Its default; only a different one makes the library allocate for each request.
            builder.max_headers(limits.headers);
        }
        let serving = pin!(builder.serve_connection(io, service).with_upgrades());
        until_ended(&worker, None, serving, |serving| serving.graceful_shutdown()).await
    };
    if let Some(Err(error)) = ended {
        tracing::debug!(%error, "client connection ended");
    }
}

/// Polls a connection; says once that it shall end, when the worker drains or it has been idle. `None`:
/// it did not end by itself.
async fn until_ended<F: Future>(
    worker: &Worker,
    mut idle: Option<Idle>,
    mut serving: Pin<&mut F>,
    end: impl Fn(Pin<&mut F>),
) -> Option<F::Output> {
    let watch = worker.drain.watch();
    let mut told = false;
    poll_fn(|cx: &mut Context<'_>| {
        let mut tell = !told && watch.begun(cx);
        while let Some(Poll::Ready(due)) = idle.as_mut().map(|idle| idle.poll(cx)) {
            match due {
                Due::Goodbye => tell |= !told,
                Due::Close => return Poll::Ready(None),
            }
        }
        if tell {
            told = true;
            end(serving.as_mut());
        }
        serving.as_mut().poll(cx).map(Some)
    })
    .await
}

/// The first bytes, and whether they are HTTP/2's. `None`: too slow, or gone, or the worker
/// drains and nothing was asked of it.
async fn sniff(worker: &Worker, stream: &mut Stream, within: std::time::Duration) -> Option<(Bytes, bool)> {
    let watch = worker.drain.watch();
    let mut timer = Timer::new();
    timer.arm(within);
    let mut early = [0; PREFACE.len()];
    let mut n = 0;
    loop {
        let mut reading = pin!(stream.read(&mut early[n..]));
        let read = poll_fn(|cx| match reading.as_mut().poll(cx) {
            Poll::Ready(read) => Poll::Ready(read.ok()),
            Poll::Pending if n == 0 && watch.begun(cx) => Poll::Ready(None),
            Poll::Pending => timer.poll(cx).map(|()| None),
        });
        n += read.await.filter(|n| *n > 0)?;
        let speaks2 = early[..n] == PREFACE[..n];
        if !speaks2 || n == PREFACE.len() {
            return Some((Bytes::copy_from_slice(&early[..n]), speaks2));
        }
    }
}

/// One request. The outcome is told when the answer's body has ended, or this future is dropped.
async fn answer(client: Rc<Client>, request: Request<Incoming>) -> Result<Response<Exit>, Closed> {
    let finding = client.tap.begin();
    let mut finish = Finish::new(&client, &request);
    let snapshot = client.worker.snapshot();
    let refused = finding.map(|finding| Reject::BadRequest { detail: finding.detail() });
    let answered = match refused {
        Some(reject) => Err(reject),
        None => exchange(&client, &snapshot, request, &mut finish).await,
    };
    let response = match answered {
        Ok(response) => response,
        Err(Reject::PluginAbort { plugin }) => {
            finish.rejected(&Reject::PluginAbort { plugin });
            return Err(Closed);
        }
        Err(reject) => {
            finish.rejected(&reject);
            let mut response = reject.response();
            response.headers_mut().extend(finish.request_id().map(|id| (forward::REQUEST_ID, id)));
            response
        }
    };
    Ok(finish.attach(response))
}

/// From the head of a request to the head of its answer.
async fn exchange(
    client: &Rc<Client>,
    snapshot: &Arc<Snapshot>,
    request: Request<Incoming>,
    finish: &mut Finish,
) -> Result<Response<Body>, Reject> {
    let on_upgrade = upgrade::asked(&request);
    let (mut parts, incoming) = request.into_parts();
    let host = admit::check(&mut parts, &incoming, &snapshot.limits)?;
    finish.host(&host);
    let route = admit::route(snapshot, &mut parts, &host)?.clone();
    finish.route(&route);
    let id = forward::request(client, &mut parts, on_upgrade);
    finish.identify(id.clone());
    let body = if incoming.is_end_stream() {
        Body::Empty
    } else {
        let body = ClientBody::new(incoming, snapshot.limits.body_bytes, snapshot.limits.body_timeout);
        finish.count(body.counter());
        Body::Client(body)
    };
    let waiting = on_upgrade.then(|| parts.extensions.remove::<hyper::upgrade::OnUpgrade>()).flatten();
    let version = parts.version;
    let request = Request::from_parts(parts, body);
    let mut response = dispatch(client, snapshot, &route, version, &id, request, finish).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return upgrade::switch(response, waiting, client, finish);
    }
    forward::response(response.headers_mut());
    // The origin's version is its own affair; the library fits ours to the client.
    *response.version_mut() = Version::HTTP_11;
    Ok(response)
}

async fn dispatch(
    client: &Rc<Client>,
    snapshot: &Arc<Snapshot>,
    route: &Arc<Route>,
    version: Version,
    id: &Arc<str>,
    mut request: Request<Body>,
    finish: &mut Finish,
) -> Result<Response<Body>, Reject> {
    let interim = (version == Version::HTTP_11).then(|| InterimSink(client.tap.clone()));
    if !route.plugins.is_empty() {
        if let Some(interim) = interim {
            request.extensions_mut().insert(interim);
        }
        let answered = chain::serve(&client.worker, snapshot, route, &client.connection, id, request).await?;
        if let Some(answerer) = answered.response.extensions().get::<origin::Answerer>() {
            finish.origin(answerer.address);
        }
        finish.detail(answered.detail);
        finish.went_to(answered.pool);
        return Ok(answered.response);
    }
    match &route.pool {
        Some(pool) => {
            let (response, address) =
                origin::attempts(&client.worker, snapshot, pool, request, interim.as_ref()).await?;
            finish.origin(address);
            Ok(response)
        }
        None => Ok(route.direct().expect("a route leads to a pool or to a response of its own")),
    }
}
