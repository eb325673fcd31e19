//! gRPC as plugins speak it: a call with one message each way, or a stream of them. Framing, status and
//! deadline are the host's; a message is bytes.

use std::time::Duration;

use bytes::Bytes;

/// What a call or a stream begins with.
#[derive(Clone, Debug, Default)]
pub struct GrpcRequest {
    /// With its package: `shop.v1.Stock`.
    pub service: String,
    pub method: String,
    /// Sent as headers; values of names that end in `-bin` are base64 already.
    pub metadata: Vec<(Vec<u8>, Vec<u8>)>,
    /// The one message of a call; a stream if `None`.
    pub message: Option<Bytes>,
    /// The target's own for a call, none for a stream, if `None`.
    pub timeout: Option<Duration>,
}

/// What comes of it. A call ends with its one event: the message, or else why there is none. A stream
/// has one of metadata, messages, one of trailers, and is then closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrpcEvent {
    Metadata(Vec<(Bytes, Bytes)>),
    Message(Bytes),
    Trailers(Vec<(Bytes, Bytes)>),
    Closed(GrpcStatus),
}

/// gRPC's own status, and what the other side says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcStatus {
    pub code: u32,
    pub message: String,
}

impl GrpcStatus {
    pub const OK: u32 = 0;
    pub const CANCELLED: u32 = 1;
    pub const UNKNOWN: u32 = 2;
    pub const DEADLINE_EXCEEDED: u32 = 4;
    pub const PERMISSION_DENIED: u32 = 7;
    pub const RESOURCE_EXHAUSTED: u32 = 8;
    pub const UNIMPLEMENTED: u32 = 12;
    pub const INTERNAL: u32 = 13;
    pub const UNAVAILABLE: u32 = 14;
    pub const UNAUTHENTICATED: u32 = 16;

    pub fn new(code: u32, message: impl Into<String>) -> GrpcStatus {
        GrpcStatus { code, message: message.into() }
    }

    /// What gRPC takes an HTTP status for that came without one of its own.
    pub fn of_http(status: u16) -> u32 {
        match status {
            400 => GrpcStatus::INTERNAL,
            401 => GrpcStatus::UNAUTHENTICATED,
            403 => GrpcStatus::PERMISSION_DENIED,
            404 => GrpcStatus::UNIMPLEMENTED,
            429 | 502..=504 => GrpcStatus::UNAVAILABLE,
            _ => GrpcStatus::UNKNOWN,
        }
    }
}
