//! Messages of a gRPC request on their way out: what a plugin has sent and the other side has not taken yet
//! is bounded.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use abi::{Answer, Refusal, Status};
use bytes::{BufMut, Bytes, BytesMut};
use http_body::Frame;

use crate::body::{Body, BodyError, Cancelled};

pub struct Outgoing {
    messages: RefCell<VecDeque<Bytes>>,
    bytes: Cell<usize>,
    most: usize,
    ended: Cell<bool>,
    cancelled: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Outgoing {
    /// At most so many bytes wait in it.
    pub fn new(most: usize) -> Rc<Outgoing> {
        Rc::new(Outgoing {
            messages: RefCell::default(),
            bytes: Cell::new(0),
            most,
            ended: Cell::new(false),
            cancelled: Cell::new(false),
            waker: RefCell::default(),
        })
    }

    pub fn body(self: &Rc<Outgoing>) -> Body {
        Body::Messages(self.clone())
    }

    /// The last one, if it is the `end`.
    pub fn push(&self, message: &[u8], end: bool) -> Answer<()> {
        if self.ended.get() || self.cancelled.get() {
            return Err(Refusal::new(Status::BadArgument, "grpc: this side of the stream has ended"));
        }
        let waiting = self.bytes.get() + message.len();
        if waiting > self.most {
            let text = format!("grpc: {waiting} bytes wait to be sent (allowed: {}, the limit buffer)", self.most);
            return Err(Refusal::new(Status::LimitExceeded, text));
        }
        let mut framed = BytesMut::with_capacity(message.len() + 5);
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.len()).expect("no guest has more than 4 GiB"));
        framed.extend_from_slice(message);
        self.bytes.set(waiting);
        self.messages.borrow_mut().push_back(framed.freeze());
        self.ended.set(end);
        self.wake();
        Ok(())
    }

    pub fn end(&self) {
        self.ended.set(true);
        self.wake();
    }

    /// Resets the stream, if its end has not been sent.
    pub fn cancel(&self) {
        self.cancelled.set(true);
        self.wake();
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancelled.get()
    }

    pub fn has_ended(&self) -> bool {
        self.ended.get()
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    pub fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.cancelled.get() {
            let reason = Arc::new(h2::Error::from(h2::Reason::CANCEL));
            return Poll::Ready(Some(Err(BodyError::Cancelled(Cancelled(reason)))));
        }
        if let Some(message) = self.messages.borrow_mut().pop_front() {
            self.bytes.set(self.bytes.get() - (message.len() - 5));
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        if self.ended.get() {
            return Poll::Ready(None);
        }
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    pub fn is_end_stream(&self) -> bool {
        self.ended.get() && !self.cancelled.get() && self.messages.borrow().is_empty()
    }
}
