//! A body that arrives piece by piece: each when all that the one before set going is done.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Frame, SizeHint};

pub struct Pieces {
    left: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    /// Said in the headers if it is one piece.
    length: Option<u64>,
    waiting: Option<Pin<Box<dyn Future<Output = ()>>>>,
    first: bool,
}

/// A body that was read to its end.
#[derive(Clone, Debug, Default)]
pub struct Whole {
    pub bytes: Bytes,
    pub trailers: HeaderMap,
    /// Why its end did not come.
    pub cut: Option<String>,
}

impl Pieces {
    pub fn new(pieces: &[String], trailers: &[(String, String)]) -> Pieces {
        let left: VecDeque<Bytes> = pieces.iter().map(|piece| Bytes::from(piece.clone())).collect();
        let trailers = (!trailers.is_empty()).then(|| map(trailers));
        let length = match (left.len(), &trailers) {
            (0 | 1, None) => Some(left.iter().map(|piece| piece.len() as u64).sum()),
            _ => None,
        };
        Pieces { left, trailers, length, waiting: None, first: true }
    }

    /// Of bytes that are no text.
    pub fn of_bytes(pieces: impl Iterator<Item = Bytes>, trailers: HeaderMap) -> Pieces {
        Pieces { left: pieces.collect(), trailers: Some(trailers), length: None, waiting: None, first: true }
    }
}

/// Headers as written in a case: their names and values have been checked.
pub fn map(pairs: &[(String, String)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value.as_bytes())) {
            map.append(name, value);
        }
    }
    map
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if !std::mem::take(&mut this.first) || this.waiting.is_some() {
            let waiting = this.waiting.get_or_insert_with(|| Box::pin(crate::clock::idle()));
            std::task::ready!(waiting.as_mut().poll(cx));
            this.waiting = None;
        }
        let data = this.left.pop_front().map(Frame::data);
        let frame = data.or_else(|| this.trailers.take().map(Frame::trailers));
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Reads a body to its end, or to where it breaks off.
pub async fn read<B>(body: B) -> Whole
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    let mut body = std::pin::pin!(body);
    let (mut bytes, mut whole) = (BytesMut::new(), Whole::default());
    while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => bytes.extend_from_slice(&data),
            Ok(Err(frame)) => whole.trailers = frame.into_trailers().unwrap_or_default(),
            Err(error) => {
                whole.cut = Some(error.to_string());
                break;
            }
        }
    }
    whole.bytes = bytes.freeze();
    whole
}
