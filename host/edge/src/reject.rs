//! Why the edge refuses a request, and what client and operator are told. Every refusal becomes
//! a status and a body here and only here.

use abi::Verdict;
use std::sync::Arc;

/// A refusal. Its fault is the client's, a plugin's, an origin's or the edge's own.
#[derive(Clone, Debug, PartialEq)]
pub enum Reject {
    NoRoute,
    /// No origin of the pool can take a request.
    NoOrigin {
        pool: Arc<str>,
    },
    /// Connecting failed, or the connection broke before the first byte.
    OriginUnreachable {
        pool: Arc<str>,
        detail: String,
    },
    OriginTimeout {
        pool: Arc<str>,
    },
    /// What came back is not HTTP, or it broke off.
    OriginBroken {
        pool: Arc<str>,
        detail: String,
    },
    PluginFault {
        plugin: Arc<str>,
        verdict: Verdict,
    },
    /// A plugin ended the exchange with `close`.
    PluginAbort {
        plugin: Arc<str>,
    },
    RequestBodyTooLarge,
    /// A plugin buffered a response past its limit.
    ResponseBodyTooLarge {
        plugin: Arc<str>,
    },
    RequestBodyTimeout,
    /// The client's body broke off or was malformed.
    RequestBodyBroken,
    /// Conflicting framing, a bad host, a bad target.
    BadRequest {
        detail: &'static str,
    },
    HeadersTooLarge,
    Draining,
}

impl Reject {
    /// The operator's text.
    pub fn detail(&self) -> String {
        format!("{self:?}")
    }
}
