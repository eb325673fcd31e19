//! The bodies that pass through the edge: one enum, so that the common ones are not boxed.

use bytes::Bytes;

use crate::reject::Reject;

/// A request or response body on its way through the edge. Implements `http_body::Body` with
/// `Data = Bytes`, `Error = BodyError`; trailers are its last frame.
pub enum Body {
    Empty,
    Full(Bytes),
    /// What plugins make of another body.
    Chain(std::pin::Pin<Box<crate::chain::ChainBody>>),
}

/// Why a body broke off.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BodyError {
    /// The edge refused (too large, too slow, a fault): if nothing was sent yet, this decides
    /// the answer.
    #[error("{0:?}")]
    Reject(Reject),
    /// The other side went away.
    #[error("connection closed before the end of the body: {0}")]
    Closed(String),
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match this {
            Body::Empty => std::task::Poll::Ready(None),
            Body::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *this = Body::Empty;
                std::task::Poll::Ready(Some(Ok(http_body::Frame::data(bytes))))
            }
            Body::Chain(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Full(bytes) => bytes.is_empty(),
            Body::Chain(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            Body::Empty => http_body::SizeHint::with_exact(0),
            Body::Full(bytes) => http_body::SizeHint::with_exact(bytes.len() as u64),
            Body::Chain(body) => body.size_hint(),
        }
    }
}
