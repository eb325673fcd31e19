//! One exchange with one origin. The connection is polled inside the request's own future and
//! then by the response's body: no task, no channel between them. [`Link`] is the narrow place
//! where another codec can stand later; HTTP/2 origins share a connection, which has a local
//! task of its own.
//!
//! Past 400 lines because the request, its response's body and a tunnel hand one wire on to each
//! other, and who holds it is what has to be right.

use std::error::Error as _;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;

use crate::body::{Body, BodyError, Hold};
use crate::origin::pool::Home;
use crate::origin::wire::{Interim, OriginIo, Wire};
use crate::reject::Reject;
use crate::serve::interim::InterimSink;
use crate::stream::Stream;
use crate::telemetry::PoolExchange;
use crate::wheel::Timer;

type Http1 = http1::Connection<TokioIo<OriginIo>, Body>;

/// How long a client that asked `expect: 100-continue` is kept waiting for an origin that does
/// not say.
const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);

/// An HTTP/1.1 connection to an origin.
pub struct Link {
    send: http1::SendRequest<Body>,
    /// `None` once it has ended.
    connection: Option<Http1>,
    wire: Rc<Wire>,
    timer: Timer,
}

/// What an exchange needs to know beside the request.
pub struct Terms<'a> {
    pub pool: &'a Arc<str>,
    pub spec: &'a Arc<config::Pool>,
    pub hold: Option<&'a Rc<Hold>>,
    pub interim: Option<&'a InterimSink>,
}

/// No response.
pub struct Failure {
    pub reject: Reject,
    /// The request, if it can be sent again as far as HTTP goes: nothing of it was sent, or it
    /// is safe, had no body and no byte came back.
    pub again: Option<Request<Body>>,
    /// Nothing of it was sent.
    pub unsent: bool,
}

/// Connects within the pool's time.
pub async fn connect(home: &Home, terms: &Terms<'_>) -> Result<Stream, Reject> {
    let address = home.address;
    let mut timer = Timer::new();
    timer.arm(terms.spec.timeouts.connect);
    let mut connecting = pin!(home.dial.connect(address));
    let connected = poll_fn(|cx| match connecting.as_mut().poll(cx) {
        Poll::Ready(connected) => Poll::Ready(Some(connected)),
        Poll::Pending => timer.poll(cx).map(|()| None),
    });
    let unreachable = |detail: String| Reject::OriginUnreachable { pool: terms.pool.clone(), detail };
    match connected.await {
        Some(Ok(stream)) => Ok(stream),
        Some(Err(error)) => Err(unreachable(format!("{address}: {error}"))),
        None => Err(unreachable(format!("{address}: no connection within {:?}", terms.spec.timeouts.connect))),
    }
}

impl Link {
    pub async fn open(home: &Home, terms: &Terms<'_>) -> Result<Box<Link>, Reject> {
        let stream = connect(home, terms).await?;
        let wire = Rc::new(Wire::default());
        let io = TokioIo::new(OriginIo::new(stream, wire.clone()));
        let made = http1::Builder::new().handshake(io).await;
        let (send, connection) = made.map_err(|error| Reject::OriginUnreachable {
            pool: terms.pool.clone(),
            detail: format!("{}: {error}", home.address),
        })?;
        Ok(Box::new(Link { send, connection: Some(connection), wire, timer: Timer::new() }))
    }

    /// False if the origin has closed it, or said something that nobody asked for.
    pub fn alive(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.drive(&mut cx);
        self.ready()
    }

    /// Moves the connection; what ends it shows at the request or the body.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && connection.poll_without_shutdown(cx).is_ready()
        {
            self.connection = None;
        }
    }

    fn ready(&self) -> bool {
        self.connection.is_some() && self.send.is_ready()
    }

    /// Sends a request and waits for the head of the final answer.
    pub async fn exchange(&mut self, request: Request<Body>, terms: &Terms<'_>) -> Result<Response<Incoming>, Failure> {
        let safe = is_safe(request.method());
        self.wire.begin(safe && request.body().is_end_stream());
        let mut patience = terms.hold.map(|_| {
            let mut timer = Timer::new();
            timer.arm(CONTINUE_PATIENCE);
            timer
        });
        let mut sending = pin!(self.send.try_send_request(request));
        let (connection, wire, timer) = (&mut self.connection, &self.wire, &mut self.timer);
        timer.arm(terms.spec.timeouts.response);
        let mut writes = wire.writes();
        let answered = poll_fn(|cx| {
            loop {
                let ended = connection.as_mut().is_some_and(|open| open.poll_without_shutdown(cx).is_ready());
                for interim in wire.take_interims() {
                    match (interim, terms.hold, terms.interim) {
                        (Interim::Continue, Some(hold), _) => hold.release(),
                        (Interim::Head(head), _, Some(sink)) => sink.pass(&head),
                        _ => {}
                    }
                }
                if let Poll::Ready(answered) = sending.as_mut().poll(cx) {
                    return Poll::Ready(Some(answered));
                }
                if ended {
                    // Dropping it gives the request back if it was never begun. (A 101 ends it
                    // too, but is an answer; there it is kept for its bytes.)
                    *connection = None;
                    continue;
                }
                if let (Some(timer), Some(hold)) = (&mut patience, terms.hold)
                    && timer.poll(cx).is_ready()
                {
                    hold.release();
                    patience = None;
                }
                if timer.poll(cx).is_pending() {
                    return Poll::Pending;
                }
                if wire.writes() == writes {
                    return Poll::Ready(None);
                }
                // The time counts from the request sent: bytes of it went out since.
                writes = wire.writes();
                timer.arm(terms.spec.timeouts.response);
            }
        });
        let outcome = match answered.await {
            Some(Ok(response)) => Ok(response),
            Some(Err(mut error)) => match error.take_message() {
                Some(request) => Err(Failure {
                    reject: broken_before_answer(terms, error.error()),
                    again: Some(request),
                    unsent: true,
                }),
                None => Err(failed(wire, terms, error.error())),
            },
            None => {
                Err(Failure { reject: Reject::OriginTimeout { pool: terms.pool.clone() }, again: None, unsent: false })
            }
        };
        self.timer.disarm();
        self.wire.end();
        outcome
    }

    /// The connection itself, after a 101.
    fn into_tunnel(mut self: Box<Self>) -> Option<(OriginIo, Bytes)> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut connection = self.connection.take()?;
        // A 101 ends the HTTP on it, in the poll that read the head or in the next.
        let _ = connection.poll_without_shutdown(&mut cx);
        let parts = connection.into_parts();
        Some((parts.io.into_inner(), parts.read_buf))
    }
}

/// May be repeated without the client's consent.
pub fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

fn broken_before_answer(terms: &Terms<'_>, error: &hyper::Error) -> Reject {
    Reject::OriginUnreachable { pool: terms.pool.clone(), detail: describe(error) }
}

fn failed(wire: &Wire, terms: &Terms<'_>, error: &hyper::Error) -> Failure {
    if let Some(reject) = of_body(error) {
        return Failure { reject, again: None, unsent: false };
    }
    if wire.answered() {
        let reset = reset(error);
        let reject = Reject::OriginBroken { pool: terms.pool.clone(), detail: describe(error), reset };
        return Failure { reject, again: None, unsent: false };
    }
    Failure { reject: broken_before_answer(terms, error), again: wire.recorded(), unsent: false }
}

/// The refusal, if it was the request's body that broke.
fn of_body(error: &hyper::Error) -> Option<Reject> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<BodyError>() {
            return Some(match error {
                BodyError::Reject(reject) => reject.clone(),
                BodyError::Closed(_) | BodyError::Cancelled(_) => Reject::RequestBodyBroken,
            });
        }
        source = error.source();
    }
    None
}

/// What the other side has reset the stream with, if that is what ended it.
pub fn reset(error: &hyper::Error) -> Option<h2::Reason> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.reason().filter(|_| error.is_reset());
        }
        source = error.source();
    }
    None
}

fn describe(error: &hyper::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Sends over the shared HTTP/2 connection of an origin, which is made if there is none.
pub async fn exchange_http2(
    home: &Rc<Home>,
    request: Request<Body>,
    terms: &Terms<'_>,
) -> Result<Response<Incoming>, Failure> {
    let open = home.shared.borrow().as_ref().filter(|shared| !shared.is_closed()).cloned();
    let mut shared = match open {
        Some(shared) => shared,
        None => match open_http2(home, terms).await {
            Ok(shared) => shared,
            Err(reject) => return Err(Failure { reject, again: Some(request), unsent: true }),
        },
    };
    let mut timer = Timer::new();
    timer.arm(terms.spec.timeouts.response);
    let mut sending = pin!(shared.try_send_request(request));
    let answered = poll_fn(|cx| match sending.as_mut().poll(cx) {
        Poll::Ready(answered) => Poll::Ready(Some(answered)),
        Poll::Pending => timer.poll(cx).map(|()| None),
    });
    match answered.await {
        Some(Ok(response)) => Ok(response),
        None => Err(Failure { reject: Reject::OriginTimeout { pool: terms.pool.clone() }, again: None, unsent: false }),
        Some(Err(mut error)) => {
            let again = error.take_message();
            let error = error.error();
            let reject = of_body(error).unwrap_or_else(|| broken_before_answer(terms, error));
            Err(Failure { reject, unsent: again.is_some(), again })
        }
    }
}

async fn open_http2(home: &Rc<Home>, terms: &Terms<'_>) -> Result<http2::SendRequest<Body>, Reject> {
    let stream = connect(home, terms).await?;
    let io = TokioIo::new(stream);
    let made = http2::Builder::new(crate::worker::LocalExecutor).handshake(io).await;
    let (shared, connection) = made.map_err(|error| Reject::OriginUnreachable {
        pool: terms.pool.clone(),
        detail: format!("{}: {error}", home.address),
    })?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to an HTTP/2 origin ended");
        }
    });
    *home.shared.borrow_mut() = Some(shared.clone());
    Ok(shared)
}

/// An answer's body, with the connection that it comes over. At its end the connection goes
/// back to the pool; dropped before it, the connection is closed.
pub struct OriginBody {
    incoming: Incoming,
    link: Option<Box<Link>>,
    home: Rc<Home>,
    pool: Arc<str>,
    spec: Arc<config::Pool>,
    /// Of an HTTP/2 origin; a link has its own.
    timer: Option<Timer>,
    waiting: bool,
    /// Ends what is in flight when it drops.
    exchange: Option<PoolExchange>,
}

impl OriginBody {
    /// The response as it goes on: with this body, or an empty one, or the tunnel of a 101.
    pub fn attach(
        response: Response<Incoming>,
        link: Option<Box<Link>>,
        home: Rc<Home>,
        terms: &Terms<'_>,
        exchange: PoolExchange,
    ) -> Result<Response<Body>, Reject> {
        let (parts, incoming) = response.into_parts();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            let (io, early) = link.and_then(Link::into_tunnel).ok_or_else(|| Reject::OriginBroken {
                pool: terms.pool.clone(),
                detail: "101 where no upgrade is possible".into(),
                reset: None,
            })?;
            let tunnel = Tunnel { io, early, exchange };
            return Ok(Response::from_parts(parts, Body::Tunnel(Box::new(tunnel))));
        }
        let mut body = OriginBody {
            incoming,
            link,
            home,
            pool: terms.pool.clone(),
            spec: terms.spec.clone(),
            timer: None,
            waiting: false,
            exchange: Some(exchange),
        };
        if body.incoming.is_end_stream() {
            body.end(&mut Context::from_waker(Waker::noop()));
            return Ok(Response::from_parts(parts, Body::Empty));
        }
        Ok(Response::from_parts(parts, Body::Origin(body)))
    }

    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut driven = false;
        loop {
            match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.rest();
                    if self.incoming.is_end_stream() || frame.is_trailers() {
                        self.end(cx);
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Poll::Ready(Some(Err(error))) => {
                    let (pool, detail) = (self.pool.clone(), describe(&error));
                    let reject = Reject::OriginBroken { pool, detail, reset: reset(&error) };
                    return Poll::Ready(Some(Err(self.fail(reject))));
                }
                Poll::Ready(None) => {
                    self.end(cx);
                    return Poll::Ready(None);
                }
                Poll::Pending => {}
            }
            if driven {
                break;
            }
            // The frame was asked for above; now the connection may bring it.
            if let Some(link) = &mut self.link {
                link.drive(cx);
            }
            driven = true;
        }
        let timer = match &mut self.link {
            Some(link) => &mut link.timer,
            None => self.timer.get_or_insert_default(),
        };
        if !self.waiting {
            timer.arm(self.spec.timeouts.body);
            self.waiting = true;
        }
        if timer.poll(cx).is_ready() {
            let reject = Reject::OriginTimeout { pool: self.pool.clone() };
            return Poll::Ready(Some(Err(self.fail(reject))));
        }
        Poll::Pending
    }

    pub fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    pub fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }

    fn rest(&mut self) {
        if self.waiting {
            self.waiting = false;
            match &mut self.link {
                Some(link) => link.timer.disarm(),
                None => self.timer = None,
            }
        }
    }

    fn end(&mut self, cx: &mut Context<'_>) {
        self.rest();
        self.exchange = None;
        if let Some(mut link) = self.link.take() {
            if !link.ready() {
                link.drive(cx);
            }
            // Not ready: the request's body is still on its way, or the origin wants to close.
            if link.ready() {
                self.home.give_back(link, self.spec.idle_connections, self.spec.timeouts.idle);
            }
        }
    }

    fn fail(&mut self, reject: Reject) -> BodyError {
        self.link = None;
        if let Some(exchange) = self.exchange.take() {
            exchange.rejected(&reject);
        }
        BodyError::Reject(reject)
    }
}

/// The origin's side of a connection after a 101.
pub struct Tunnel {
    pub io: OriginIo,
    /// What the origin sent right after the head.
    pub early: Bytes,
    pub exchange: PoolExchange,
}
