//! Why the edge refuses a request, and what client and operator are told. Every refusal becomes
//! a status and a body here and only here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use abi::Verdict;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use crate::body::Body;

/// Names the refusal in every answer that the edge itself makes.
pub const REJECT_HEADER: HeaderName = HeaderName::from_static("x-forebay-reject");

/// A refusal. Its fault is the client's, a plugin's, an origin's or the edge's own.
#[derive(Clone, Debug, PartialEq)]
pub enum Reject {
    NoRoute,
    /// No origin of the pool can take a request.
    NoOrigin {
        pool: Arc<str>,
        /// What plugins have to do with it; empty if nothing.
        detail: String,
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
        /// What the origin has reset the stream with, if it was that and over HTTP/2.
        reset: Option<h2::Reason>,
    },
    PluginFault {
        plugin: Arc<str>,
        verdict: Verdict,
    },
    /// Its faults have disabled it, and its policy lets no exchange go by without it.
    PluginDisabled {
        plugin: Arc<str>,
    },
    /// A fault has ended its instance, and it is not to be started again yet.
    PluginRestarting {
        plugin: Arc<str>,
        cause: Verdict,
        wait: Duration,
    },
    /// There is no room for one more instance of it.
    PluginCrowded {
        plugin: Arc<str>,
        detail: String,
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
}

impl Reject {
    /// Of logs, metrics and the header `x-forebay-reject`.
    pub fn name(&self) -> &'static str {
        match self {
            Reject::NoRoute => "no_route",
            Reject::NoOrigin { .. } => "no_origin",
            Reject::OriginUnreachable { .. } => "origin_unreachable",
            Reject::OriginTimeout { .. } => "origin_timeout",
            Reject::OriginBroken { .. } => "origin_broken",
            Reject::PluginFault { .. } => "plugin_fault",
            Reject::PluginDisabled { .. } => "plugin_disabled",
            Reject::PluginRestarting { .. } => "plugin_restarting",
            Reject::PluginCrowded { .. } => "plugin_crowded",
            Reject::PluginAbort { .. } => "plugin_abort",
            Reject::RequestBodyTooLarge => "request_body_too_large",
            Reject::ResponseBodyTooLarge { .. } => "response_body_too_large",
            Reject::RequestBodyTimeout => "request_body_timeout",
            Reject::RequestBodyBroken => "request_body_broken",
            Reject::BadRequest { .. } => "bad_request",
            Reject::HeadersTooLarge => "headers_too_large",
        }
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Reject::NoRoute => StatusCode::NOT_FOUND,
            Reject::NoOrigin { .. }
            | Reject::PluginFault { .. }
            | Reject::PluginDisabled { .. }
            | Reject::PluginRestarting { .. }
            | Reject::PluginCrowded { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Reject::OriginUnreachable { .. }
            | Reject::OriginBroken { .. }
            | Reject::PluginAbort { .. }
            | Reject::ResponseBodyTooLarge { .. } => StatusCode::BAD_GATEWAY,
            Reject::OriginTimeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            Reject::RequestBodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Reject::RequestBodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Reject::RequestBodyBroken | Reject::BadRequest { .. } => StatusCode::BAD_REQUEST,
            Reject::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        }
    }

    /// What the client may read: no address of an origin, no text of a library.
    pub fn client_text(&self) -> String {
        match self {
            Reject::NoRoute => "no route matches this request".into(),
            Reject::NoOrigin { pool, .. } => format!("no origin of pool \"{pool}\" can take requests"),
            Reject::OriginUnreachable { pool, .. } => format!("an origin of pool \"{pool}\" could not be reached"),
            Reject::OriginTimeout { pool } => format!("an origin of pool \"{pool}\" did not answer in time"),
            Reject::OriginBroken { pool, .. } => format!("an origin of pool \"{pool}\" broke off its answer"),
            Reject::PluginFault { plugin, verdict } => format!("plugin \"{plugin}\" failed: {}", verdict.name()),
            Reject::PluginDisabled { plugin } => format!("plugin \"{plugin}\" is disabled after too many faults"),
            Reject::PluginRestarting { plugin, .. } => {
                format!("plugin \"{plugin}\" failed and is not started again yet")
            }
            Reject::PluginCrowded { plugin, .. } => {
                format!("plugin \"{plugin}\" serves as many exchanges as it can now")
            }
            Reject::PluginAbort { plugin } => format!("plugin \"{plugin}\" ended the exchange"),
            Reject::RequestBodyTooLarge => "the request body is too large".into(),
            Reject::ResponseBodyTooLarge { plugin } => {
                format!("the response is larger than plugin \"{plugin}\" may buffer")
            }
            Reject::RequestBodyTimeout => "the request body did not arrive in time".into(),
            Reject::RequestBodyBroken => "the request body broke off or is malformed".into(),
            Reject::BadRequest { detail } => format!("bad request: {detail}"),
            Reject::HeadersTooLarge => "the request headers are too large or too many".into(),
        }
    }

    /// The answer. A body that was not read to its end makes the connection useless, so refusals
    /// of the framing close it.
    pub fn response(&self) -> Response<Body> {
        let mut response = Response::new(Body::Full(Bytes::from(format!("{}\n", self.client_text()))));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(REJECT_HEADER, HeaderValue::from_static(self.name()));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if let Reject::NoOrigin { .. } | Reject::PluginCrowded { .. } = self {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.closes() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// The operator's text.
    pub fn detail(&self) -> String {
        self.to_string()
    }

    fn closes(&self) -> bool {
        matches!(
            self,
            Reject::BadRequest { .. }
                | Reject::HeadersTooLarge
                | Reject::RequestBodyTooLarge
                | Reject::RequestBodyTimeout
                | Reject::RequestBodyBroken
                | Reject::PluginAbort { .. }
        )
    }
}

/// The operator's text: the client's, and what only the operator may read.
impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.client_text())?;
        match self {
            Reject::PluginRestarting { cause, wait, .. } => {
                let seconds = wait.as_secs_f64();
                write!(
                    f,
                    ": its last instance ended with {cause}, and its restarts take too long; next in {seconds:.1} s"
                )
            }
            Reject::NoOrigin { detail, .. } if detail.is_empty() => Ok(()),
            Reject::OriginUnreachable { detail, .. }
            | Reject::OriginBroken { detail, .. }
            | Reject::PluginCrowded { detail, .. }
            | Reject::NoOrigin { detail, .. } => write!(f, ": {detail}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_the_plugin_and_the_verdict() {
        let reject = Reject::PluginFault { plugin: "x".into(), verdict: Verdict::Cpu };
        let response = reject.response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[REJECT_HEADER], "plugin_fault");
        assert!(
            matches!(response.body(), Body::Full(text) if text == &format!("plugin \"x\" failed: {}\n", Verdict::Cpu.name()))
        );
    }

    #[test]
    fn a_pool_without_origins_says_what_plugins_have_to_do_with_it() {
        let plain = Reject::NoOrigin { pool: "p".into(), detail: String::new() };
        assert_eq!(plain.to_string(), "no origin of pool \"p\" can take requests");
        let excluded = Reject::NoOrigin { pool: "p".into(), detail: "plugins excluded 2 of the 2 that could".into() };
        assert_eq!(excluded.client_text(), plain.client_text());
        assert!(excluded.detail().ends_with("requests: plugins excluded 2 of the 2 that could"));
    }

    #[test]
    fn the_client_does_not_read_what_is_for_the_operator() {
        let reject = Reject::OriginUnreachable { pool: "p".into(), detail: "10.0.0.1:80: connection refused".into() };
        assert!(!reject.client_text().contains("10.0.0.1"));
        assert!(reject.to_string().contains("10.0.0.1:80: connection refused"));
    }
}
