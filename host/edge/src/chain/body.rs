//! What the chain hands on as a body.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use abi::Side;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use super::lane::{self, Item, Pulling};
use super::{Chain, Finish};
use crate::body::{Body, BodyError};
use crate::exchange::Stop;
use crate::origin::client::Tunnel;
use crate::reject::Reject;

/// A body that is pulled through the plugins of one side.
pub struct ChainBody {
    chain: Rc<Chain>,
    side: Side,
    /// Nobody looks at this body: it goes by.
    bypass: Option<Body>,
    pulling: Option<Pulling>,
    /// Bytes in all, if that is known.
    length: Option<u64>,
    done: bool,
    /// On the response's body: the exchange ends with it.
    #[expect(dead_code, reason = "held for its drop")]
    finish: Option<Finish>,
}

impl ChainBody {
    /// What the plugins make of the body; `length` is its size in all, if that is known.
    pub fn pulled(chain: &Rc<Chain>, side: Side, length: Option<u64>) -> ChainBody {
        let chain = chain.clone();
        ChainBody { chain, side, bypass: None, pulling: None, length, done: false, finish: None }
    }

    /// A body that no plugin looks at.
    pub fn passing(chain: &Rc<Chain>, side: Side, body: Body) -> ChainBody {
        ChainBody { bypass: Some(body), ..ChainBody::pulled(chain, side, None) }
    }

    /// The exchange ends when this body does.
    pub fn ending(self, finish: Finish) -> ChainBody {
        ChainBody { finish: Some(finish), ..self }
    }

    /// The tunnel of a 101, which no plugin looks into. What is left ends the exchange when it
    /// drops.
    pub fn take_tunnel(&mut self) -> Option<Box<Tunnel>> {
        match self.bypass.take() {
            Some(Body::Tunnel(tunnel)) => Some(tunnel),
            other => {
                self.bypass = other;
                None
            }
        }
    }

    fn item(&mut self, item: Item) -> Option<Result<Frame<Bytes>, BodyError>> {
        match item {
            Item::Data { bytes, end } => {
                self.done = end;
                (!bytes.is_empty()).then(|| Ok(Frame::data(bytes)))
            }
            Item::Trailers => {
                self.done = true;
                let trailers = self.chain.exchange.trailers(self.side).borrow().clone();
                trailers.map(|trailers| Ok(Frame::trailers(trailers)))
            }
            Item::End => {
                self.done = true;
                None
            }
        }
    }

    fn stopped(&mut self, stop: Stop) -> BodyError {
        self.done = true;
        BodyError::Reject(match stop {
            Stop::Reject(reject) | Stop::TakeOver { reject, .. } => reject,
            Stop::Answer { .. } => Reject::RequestBodyBroken,
        })
    }

    fn poll_bypass(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let exchange = &self.chain.exchange;
        if let Some(stop) = exchange.stopped() {
            self.bypass = None;
            return Poll::Ready(Some(Err(self.stopped(stop))));
        }
        let Some(body) = &mut self.bypass else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let count = &exchange.bytes[self.side as usize];
                count.set(count.get() + frame.data_ref().map_or(0, |data| data.len() as u64));
                if let Some(trailers) = frame.trailers_ref() {
                    *exchange.trailers(self.side).borrow_mut() = Some(trailers.clone());
                }
            }
            Poll::Pending => exchange.watch(cx),
            Poll::Ready(_) => {}
        }
        polled
    }

    fn poll_pull(&mut self, cx: &mut Context<'_>) -> Poll<Result<Item, Stop>> {
        if let Some(item) = self.chain.lane(self.side).ready.borrow_mut().pop_front() {
            return Poll::Ready(Ok(item));
        }
        let pulling = self.pulling.get_or_insert_with(|| lane::pull(&self.chain, self.side));
        let polled = pulling.as_mut().poll(cx);
        if polled.is_ready() {
            self.pulling = None;
        }
        polled
    }
}

impl http_body::Body for ChainBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.bypass.is_some() {
            return this.poll_bypass(cx);
        }
        while !this.done {
            let item = match this.poll_pull(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(item)) => item,
                Poll::Ready(Err(stop)) => {
                    this.chain.exchange.stop(stop.clone());
                    return Poll::Ready(Some(Err(this.stopped(stop))));
                }
            };
            if let Some(frame) = this.item(item) {
                return Poll::Ready(Some(frame));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        match &self.bypass {
            Some(body) => body.is_end_stream(),
            None => self.done,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.bypass, self.length) {
            (Some(body), _) => body.size_hint(),
            (None, Some(length)) => SizeHint::with_exact(length),
            (None, None) => SizeHint::default(),
        }
    }
}
