//! What an exchange leaves behind: counters, latency, in-flight, the access line. Worker-local;
//! metric handles are registered once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use abi::Verdict;

/// One worker's telemetry.
pub struct Telemetry {}

/// How an exchange ended. One per exchange, given when the response body has ended or was
/// dropped.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub request_id: Arc<str>,
    /// `None` if no route matched.
    pub route: Option<Arc<str>>,
    pub pool: Option<Arc<str>>,
    pub origin: Option<SocketAddr>,
    pub remote: SocketAddr,
    pub method: http::Method,
    pub path: String,
    pub host: String,
    pub version: http::Version,
    pub status: u16,
    /// Name of the `Reject`, if it was one.
    pub reject: Option<&'static str>,
    /// The operator's text: plugin and verdict, what the origin did.
    pub detail: Option<String>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// From the request's headers to the end of the response body.
    pub duration: Duration,
    /// The client went away before the end.
    pub aborted: bool,
}

impl Telemetry {
    pub fn outcome(&self, _outcome: &Outcome) {}

    /// A plugin was called; `took` is time on the worker's thread.
    pub fn plugin_call(&self, _plugin: &Arc<str>, _callback: &'static str) {}

    pub fn plugin_fault(&self, _plugin: &Arc<str>, _verdict: Verdict) {}
}
