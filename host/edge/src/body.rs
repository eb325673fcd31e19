//! The bodies that pass through the edge: one enum, so that the common ones are not boxed.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::callout::grpc::Outgoing;
use crate::origin::client::{OriginBody, Tunnel};
use crate::reject::Reject;
use crate::wheel::Timer;

/// A request or response body on its way through the edge. Implements `http_body::Body` with
/// `Data = Bytes`, `Error = BodyError`; trailers are its last frame.
#[derive(Default)]
pub enum Body {
    #[default]
    Empty,
    Full(Bytes),
    /// Bytes, then trailers.
    Trailed(Bytes, Box<http::HeaderMap>),
    /// What a plugin sends in a gRPC call or stream.
    Messages(Rc<Outgoing>),
    /// The client's body, bounded in size and time.
    Client(ClientBody),
    /// An origin's answer; it drives its own connection.
    Origin(OriginBody),
    /// What plugins make of another body.
    Chain(std::pin::Pin<Box<crate::chain::ChainBody>>),
    /// Of a 101 response: the origin's side of the connection. No bytes for a reader; whoever
    /// passes a 101 on hands it on untouched.
    Tunnel(Box<Tunnel>),
}

/// Why a body broke off.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BodyError {
    /// The edge refused (too large, too slow, a fault): if nothing was sent yet, this decides
    /// the answer.
    #[error("{0}")]
    Reject(Reject),
    /// The other side went away.
    #[error("connection closed before the end of the body: {0}")]
    Closed(String),
    /// Whoever sends it has given it up.
    #[error("cancelled")]
    Cancelled(#[source] Cancelled),
}

/// Why, in the words of HTTP/2: what a stream is reset with.
#[derive(Clone, Debug)]
pub struct Cancelled(pub Arc<h2::Error>);

impl std::fmt::Display for Cancelled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

// By hand: whoever looks for the reason looks for the error itself, not for a pointer to it.
impl std::error::Error for Cancelled {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

/// See [`Body::Client`].
pub struct ClientBody {
    inner: hyper::body::Incoming,
    left: u64,
    timeout: Duration,
    /// Made when the client first lets the edge wait.
    timer: Option<(Timer, bool)>,
    /// Bytes of data that have been read.
    read: Rc<Cell<u64>>,
    /// Not read before this says so: the origin decides whether the client is to send
    /// (`expect: 100-continue`).
    hold: Option<Rc<Hold>>,
}

/// Keeps a body back until [`Hold::release`].
#[derive(Default)]
pub struct Hold {
    released: Cell<bool>,
    waker: Cell<Option<std::task::Waker>>,
}

impl Hold {
    pub fn release(&self) {
        self.released.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl ClientBody {
    /// At most `limit` bytes, each within `timeout` of the one before.
    pub fn new(inner: hyper::body::Incoming, limit: u64, timeout: Duration) -> ClientBody {
        ClientBody { inner, left: limit, timeout, timer: None, read: Rc::default(), hold: None }
    }

    /// How much of it has been read, while and after it is read.
    pub fn counter(&self) -> Rc<Cell<u64>> {
        self.read.clone()
    }

    /// Keeps the body from being read until the hold is released.
    pub fn hold(&mut self) -> Rc<Hold> {
        self.hold.get_or_insert_default().clone()
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(hold) = &self.hold {
            if !hold.released.get() {
                hold.waker.set(Some(cx.waker().clone()));
                return Poll::Pending;
            }
            self.hold = None;
        }
        match http_body::Body::poll_frame(Pin::new(&mut self.inner), cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some((timer, armed)) = &mut self.timer
                    && *armed
                {
                    timer.disarm();
                    *armed = false;
                }
                if let Some(data) = frame.data_ref() {
                    let size = data.len() as u64;
                    self.read.set(self.read.get() + size);
                    match self.left.checked_sub(size) {
                        Some(left) => self.left = left,
                        None => return Poll::Ready(Some(Err(BodyError::Reject(Reject::RequestBodyTooLarge)))),
                    }
                }
                Poll::Ready(Some(Ok(frame)))
            }
            // The client's fault either way; the text of the library is for nobody.
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(BodyError::Reject(Reject::RequestBodyBroken)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let (timer, armed) = self.timer.get_or_insert_with(|| (Timer::new(), false));
                if !*armed {
                    timer.arm(self.timeout);
                    *armed = true;
                }
                match timer.poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Some(Err(BodyError::Reject(Reject::RequestBodyTimeout)))),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Body::Empty | Body::Tunnel(_) => Poll::Ready(None),
            Body::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Body::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Body::Trailed(bytes, _) if !bytes.is_empty() => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Body::Trailed(_, trailers) => {
                let trailers = std::mem::take(&mut **trailers);
                *self = Body::Empty;
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            Body::Messages(messages) => messages.poll_frame(cx),
            Body::Client(body) => body.poll_frame(cx),
            Body::Origin(body) => body.poll_frame(cx),
            Body::Chain(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty | Body::Tunnel(_) => true,
            Body::Full(bytes) => bytes.is_empty(),
            Body::Trailed(..) => false,
            Body::Messages(messages) => messages.is_end_stream(),
            Body::Client(body) => body.inner.is_end_stream(),
            Body::Origin(body) => body.is_end_stream(),
            Body::Chain(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Empty | Body::Tunnel(_) => SizeHint::with_exact(0),
            Body::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            // No length: trailers need chunks.
            Body::Trailed(..) | Body::Messages(_) => SizeHint::default(),
            Body::Client(body) => body.inner.size_hint(),
            Body::Origin(body) => body.size_hint(),
            Body::Chain(body) => body.size_hint(),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Body {
        if bytes.is_empty() { Body::Empty } else { Body::Full(bytes) }
    }
}
