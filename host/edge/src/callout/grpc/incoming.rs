//! Messages of a gRPC answer: each with a byte, which says whether it is compressed, and its length before
//! it. One is held at a time, and no more is read before it has been taken.

use abi::GrpcStatus;
use bytes::{Buf, Bytes, BytesMut};
use h2::Reason;
use http::HeaderMap;
use http_body_util::BodyExt;

use crate::body::BodyError;
use crate::origin::client;
use crate::reject::Reject;

/// The byte and the length.
const PREFIX: usize = 5;

/// Why an answer was broken off, in the words of HTTP/2 if it was reset; else its connection was lost.
pub trait Broken: std::fmt::Display {
    fn reset(&self) -> Option<Reason>;
}

impl Broken for hyper::Error {
    fn reset(&self) -> Option<Reason> {
        client::reset(self)
    }
}

impl Broken for BodyError {
    fn reset(&self) -> Option<Reason> {
        match self {
            BodyError::Reject(Reject::OriginBroken { reset, .. }) => *reset,
            _ => None,
        }
    }
}

/// gRPC's own table, of a reset; a connection that was lost is UNAVAILABLE everywhere.
fn code(reset: Option<Reason>) -> u32 {
    match reset {
        None | Some(Reason::REFUSED_STREAM) => GrpcStatus::UNAVAILABLE,
        Some(Reason::CANCEL) => GrpcStatus::CANCELLED,
        Some(Reason::ENHANCE_YOUR_CALM) => GrpcStatus::RESOURCE_EXHAUSTED,
        Some(Reason::INADEQUATE_SECURITY) => GrpcStatus::PERMISSION_DENIED,
        Some(_) => GrpcStatus::INTERNAL,
    }
}

pub struct Messages<B> {
    body: B,
    held: BytesMut,
    most: usize,
    trailers: Option<HeaderMap>,
    ended: bool,
}

impl<B> Messages<B>
where
    B: http_body::Body<Data = Bytes, Error: Broken> + Unpin,
{
    /// `most` bytes in one of them.
    pub fn new(body: B, most: usize) -> Messages<B> {
        Messages { body, held: BytesMut::new(), most, trailers: None, ended: false }
    }

    /// `None` at the end of them.
    pub async fn next(&mut self) -> Result<Option<Bytes>, GrpcStatus> {
        let internal = |text: String| GrpcStatus::new(GrpcStatus::INTERNAL, text);
        loop {
            if let Some(message) = take(&mut self.held, self.most)? {
                return Ok(Some(message));
            }
            if self.ended {
                return match self.held.is_empty() {
                    true => Ok(None),
                    false => Err(internal(format!("it ended within a message, {} bytes of it came", self.held.len()))),
                };
            }
            match self.body.frame().await {
                None => self.ended = true,
                Some(Err(error)) => {
                    return Err(GrpcStatus::new(code(error.reset()), format!("it was broken off: {error}")));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.held.extend_from_slice(&data),
                    Err(frame) => (self.trailers, self.ended) = (frame.into_trailers().ok(), true),
                },
            }
        }
    }

    pub fn into_trailers(self) -> Option<HeaderMap> {
        self.trailers
    }
}

/// The message that `held` begins with, if all of it is there.
fn take(held: &mut BytesMut, most: usize) -> Result<Option<Bytes>, GrpcStatus> {
    let Some(prefix) = held.first_chunk::<PREFIX>() else { return Ok(None) };
    let (flag, len) = (prefix[0], u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize);
    if flag != 0 {
        // None was agreed on.
        let what =
            if flag == 1 { "a compressed message".to_owned() } else { format!("a message with the flags {flag}") };
        return Err(GrpcStatus::new(GrpcStatus::INTERNAL, format!("{what}, which nobody asked for")));
    }
    if len > most {
        let text = format!("a message of {len} bytes (allowed: {most}, the plugin's limit buffer)");
        return Err(GrpcStatus::new(GrpcStatus::RESOURCE_EXHAUSTED, text));
    }
    if held.len() < PREFIX + len {
        return Ok(None);
    }
    held.advance(PREFIX);
    Ok(Some(held.split_to(len).freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bytes: &[u8]) -> Vec<Result<Bytes, u32>> {
        let mut held = BytesMut::from(bytes);
        let mut all = Vec::new();
        loop {
            match take(&mut held, 4) {
                Ok(Some(message)) => all.push(Ok(message)),
                Ok(None) => return all,
                Err(status) => {
                    all.push(Err(status.code));
                    return all;
                }
            }
        }
    }

    #[test]
    fn messages_are_taken_apart_and_none_before_it_is_whole() {
        let two = b"\0\0\0\0\x02hi\0\0\0\0\0";
        assert_eq!(told(two), [Ok("hi".into()), Ok("".into())]);
        for cut in 0..7 {
            assert_eq!(told(&two[..cut]), [], "{cut}");
        }
    }

    #[test]
    fn a_reset_is_what_grpc_takes_it_for_and_a_lost_connection_unavailable() {
        let of = [Reason::INTERNAL_ERROR, Reason::CANCEL, Reason::REFUSED_STREAM, Reason::ENHANCE_YOUR_CALM];
        assert_eq!(of.map(|reason| code(Some(reason))), [13, 1, 14, 8]);
        assert_eq!((code(Some(Reason::NO_ERROR)), code(Some(Reason::INADEQUATE_SECURITY)), code(None)), (13, 7, 14));
    }

    #[test]
    fn what_is_too_large_or_compressed_is_known_by_its_first_bytes() {
        assert_eq!(told(b"\0\0\0\0\x05"), [Err(GrpcStatus::RESOURCE_EXHAUSTED)]);
        assert_eq!(told(b"\0\xff\xff\xff\xff"), [Err(GrpcStatus::RESOURCE_EXHAUSTED)]);
        assert_eq!(told(b"\x01\0\0\0\x01"), [Err(GrpcStatus::INTERNAL)]);
    }
}
