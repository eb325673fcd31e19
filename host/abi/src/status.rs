//! How a hostcall is refused.

use std::borrow::Cow;

/// proxy-wasm's result codes, and ours past 99. A module that calls a `proxy_` import only ever
/// sees proxy-wasm's ([`Status::proxy_wasm`]): its SDK knows no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Status {
    Ok = 0,
    NotFound = 1,
    BadArgument = 2,
    SerializationFailure = 3,
    ParseFailure = 4,
    BadExpression = 5,
    InvalidMemoryAccess = 6,
    Empty = 7,
    CasMismatch = 8,
    ResultMismatch = 9,
    InternalFailure = 10,
    BrokenConnection = 11,
    Unimplemented = 12,
    CapabilityDenied = 100,
    PhaseDenied = 101,
    LimitExceeded = 102,
    Timeout = 103,
    Unavailable = 104,
}

impl Status {
    /// The `code` of an error in Lua.
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "OK",
            Status::NotFound => "NOT_FOUND",
            Status::BadArgument => "BAD_ARGUMENT",
            Status::SerializationFailure => "SERIALIZATION_FAILURE",
            Status::ParseFailure => "PARSE_FAILURE",
            Status::BadExpression => "BAD_EXPRESSION",
            Status::InvalidMemoryAccess => "INVALID_MEMORY_ACCESS",
            Status::Empty => "EMPTY",
            Status::CasMismatch => "CAS_MISMATCH",
            Status::ResultMismatch => "RESULT_MISMATCH",
            Status::InternalFailure => "INTERNAL_FAILURE",
            Status::BrokenConnection => "BROKEN_CONNECTION",
            Status::Unimplemented => "UNIMPLEMENTED",
            Status::CapabilityDenied => "CAPABILITY_DENIED",
            Status::PhaseDenied => "PHASE_DENIED",
            Status::LimitExceeded => "LIMIT_EXCEEDED",
            Status::Timeout => "TIMEOUT",
            Status::Unavailable => "UNAVAILABLE",
        }
    }

    /// The nearest of proxy-wasm's own codes: what a `proxy_` import returns. Envoy answers
    /// BadArgument to a call that is not possible in the current phase.
    pub fn proxy_wasm(self) -> i32 {
        match self {
            Status::PhaseDenied | Status::CapabilityDenied => Status::BadArgument as i32,
            Status::LimitExceeded | Status::Timeout | Status::Unavailable => Status::InternalFailure as i32,
            other => other as i32,
        }
    }
}

/// A refused hostcall: the code, and a text for the plugin's author that names both sides.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub status: Status,
    pub message: Cow<'static, str>,
}

impl Refusal {
    pub fn new(status: Status, message: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal { status, message: message.into() }
    }

    pub fn not_found() -> Refusal {
        Refusal::new(Status::NotFound, "not found")
    }
}

/// The answer to a hostcall.
pub type Answer<T> = Result<T, Refusal>;
