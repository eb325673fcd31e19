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
