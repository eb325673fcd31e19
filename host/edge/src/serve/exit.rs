//! The end of an exchange: a response body that knows when it has ended or was dropped, and
//! makes the outcome of it.

use std::cell::Cell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Uri, Version};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use crate::body::{Body, BodyError};
use crate::reject::Reject;
use crate::route::Route;
use crate::serve::Client;
use crate::serve::stall::{Debt, Pieces};
use crate::telemetry::{InFlight, Outcome};

/// Of a client that went away before there was an answer; never sent.
const CLIENT_GONE: u16 = 499;

/// What is known of an exchange so far; tells the outcome when it drops.
pub struct Finish {
    client: Rc<Client>,
    started: Instant,
    method: Method,
    version: Version,
    /// Kept for the access line only.
    uri: Option<Uri>,
    host: Option<HeaderValue>,
    request_id: Option<Arc<str>>,
    route: Option<Arc<Route>>,
    /// Where plugins sent it, if not to the route's pool.
    pool: Option<Arc<str>>,
    origin: Option<SocketAddr>,
    status: u16,
    reject: Option<&'static str>,
    detail: Option<String>,
    bytes_in: Option<Rc<Cell<u64>>>,
    bytes_out: u64,
    /// Bytes that the response has, if it says.
    length: Option<u64>,
    ended: bool,
    in_flight: Option<InFlight>,
    /// Of the HTTP/2 stream that it came by.
    debt: Option<Rc<Debt>>,
}

impl Finish {
    pub(crate) fn new(client: &Rc<Client>, request: &Request<Incoming>) -> Finish {
        let worker = &client.worker;
        worker.exchanges.set(worker.exchanges.get() + 1);
        Finish {
            client: client.clone(),
            started: crate::clock::now(),
            method: request.method().clone(),
            version: request.version(),
            uri: worker.shared.ledger.access().then(|| request.uri().clone()),
            host: None,
            request_id: None,
            route: None,
            pool: None,
            origin: None,
            status: CLIENT_GONE,
            reject: None,
            detail: None,
            bytes_in: None,
            bytes_out: 0,
            length: None,
            ended: false,
            in_flight: Some(worker.telemetry.exchange_started()),
            debt: Debt::current(),
        }
    }

    pub(crate) fn host(&mut self, host: &HeaderValue) {
        self.host = Some(host.clone());
    }

    pub(crate) fn route(&mut self, route: &Arc<Route>) {
        self.route = Some(route.clone());
    }

    pub(crate) fn identify(&mut self, id: Arc<str>) {
        self.request_id = Some(id);
    }

    pub(crate) fn pool(&self) -> Arc<str> {
        self.went().unwrap_or_else(|| self.client.worker.no_id.clone())
    }

    pub(crate) fn request_id(&self) -> Option<HeaderValue> {
        self.request_id.as_deref().and_then(|id| HeaderValue::from_str(id).ok())
    }

    pub(crate) fn origin(&mut self, address: SocketAddr) {
        self.origin = Some(address);
    }

    fn went(&self) -> Option<Arc<str>> {
        self.pool.clone().or_else(|| self.route.as_ref().and_then(|route| route.pool.clone()))
    }

    pub(crate) fn went_to(&mut self, pool: Option<Arc<str>>) {
        self.pool = pool;
    }

    pub(crate) fn detail(&mut self, detail: Option<String>) {
        self.detail = detail;
    }

    pub(crate) fn count(&mut self, bytes_in: Rc<Cell<u64>>) {
        self.bytes_in = Some(bytes_in);
    }

    pub(crate) fn rejected(&mut self, reject: &Reject) {
        self.reject = Some(reject.name());
        self.detail = Some(reject.to_string());
        self.status = reject.status().as_u16();
    }

    /// The tunnel's life is the exchange's: bytes that went to the client and came from it.
    pub(crate) fn tunneled(&mut self, bytes_in: u64, bytes_out: u64) {
        self.bytes_in = Some(Rc::new(Cell::new(bytes_in)));
        self.bytes_out = bytes_out;
        self.ended = true;
    }

    pub(crate) fn status(&mut self, status: u16) {
        self.status = status;
    }

    /// Nothing of it is to be told any more by this value: another has taken it over.
    pub(crate) fn take(&mut self) -> Finish {
        let worker = self.client.worker.clone();
        worker.exchanges.set(worker.exchanges.get() + 1);
        Finish {
            client: self.client.clone(),
            started: self.started,
            method: self.method.clone(),
            version: self.version,
            uri: self.uri.take(),
            host: self.host.take(),
            request_id: self.request_id.take(),
            route: self.route.take(),
            pool: self.pool.take(),
            origin: self.origin,
            status: self.status,
            reject: self.reject,
            detail: self.detail.take(),
            bytes_in: self.bytes_in.take(),
            bytes_out: self.bytes_out,
            length: None,
            ended: self.ended,
            in_flight: self.in_flight.take(),
            debt: self.debt.take(),
        }
    }

    pub(crate) fn attach(mut self, response: Response<Body>) -> Response<Exit> {
        self.status = response.status().as_u16();
        self.length = response.body().size_hint().exact();
        // Nothing of these bodies is ever sent, so nothing of them can break off.
        self.ended = self.method == Method::HEAD || response.body().is_end_stream();
        response.map(|body| Exit { body, pieces: Pieces::default(), finish: self })
    }

    /// A response that its client has not taken in time was not answered, whatever was handed over.
    fn check_taken(&mut self) {
        let cut = self.debt.as_ref().is_some_and(|debt| debt.was_cut());
        self.ended &= !cut;
        if !self.ended && self.detail.is_none() && (cut || self.client.tap.write_timed_out()) {
            self.detail = Some("the client did not take the response in time".into());
        }
    }

    fn broke(&mut self, error: &BodyError) {
        match error {
            BodyError::Reject(reject) => {
                self.reject = Some(reject.name());
                self.detail = Some(reject.to_string());
            }
            BodyError::Closed(detail) => self.detail = Some(detail.clone()),
            BodyError::Cancelled(_) => self.detail = Some(error.to_string()),
        }
        self.ended = true;
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        let worker = &self.client.worker;
        worker.exchanges.set(worker.exchanges.get() - 1);
        // Taken over otherwise.
        if self.in_flight.take().is_none() {
            return;
        }
        self.check_taken();
        let worker = &self.client.worker;
        let now = crate::clock::now();
        self.client.tap.end(now);
        worker.drain.moved();
        let text = |value: &Option<HeaderValue>| value.as_ref().map(|v| String::from_utf8_lossy(v.as_bytes()).into());
        worker.telemetry.outcome(&Outcome {
            request_id: self.request_id.take().unwrap_or_else(|| worker.no_id.clone()),
            route: self.route.as_ref().map(|route| route.name.clone()),
            pool: self.went(),
            origin: self.origin,
            remote: self.client.connection.remote,
            method: std::mem::take(&mut self.method),
            path: self.uri.as_ref().map(|uri| uri.path().to_string()).unwrap_or_default(),
            host: if self.uri.is_some() { text(&self.host).unwrap_or_default() } else { String::new() },
            version: self.version,
            status: self.status,
            reject: self.reject,
            detail: self.detail.take(),
            bytes_in: self.bytes_in.as_ref().map_or(0, |read| read.get()),
            bytes_out: self.bytes_out,
            duration: now.saturating_duration_since(self.started),
            aborted: !self.ended && self.reject.is_none(),
        });
    }
}

/// A response body on its way to the client. Over HTTP/2 it goes in [`Pieces`], each of which the
/// client owes ([`Debt`]) until the next is asked for.
pub struct Exit {
    body: Body,
    /// Of the frame that the body gave last.
    pieces: Pieces,
    finish: Finish,
}

impl Exit {
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(debt) = &self.finish.debt else { return Pin::new(&mut self.body).poll_frame(cx) };
        debt.pay();
        if self.pieces.left() == 0 {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.pieces.put(data),
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => return Poll::Ready(end),
            }
        }
        let piece = self.pieces.take();
        if !piece.is_empty() {
            debt.give();
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl http_body::Body for Exit {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let polled = this.poll_body(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.finish.bytes_out += frame.data_ref().map_or(0, |data| data.len() as u64);
                // A body of known length is not asked again after its last byte.
                this.finish.ended =
                    this.is_end_stream() || frame.is_trailers() || this.finish.length == Some(this.finish.bytes_out);
            }
            Poll::Ready(Some(Err(error))) => this.finish.broke(error),
            Poll::Ready(None) => this.finish.ended = true,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.left() == 0 && self.body.is_end_stream()
    }

    /// Asked for before the first frame.
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
