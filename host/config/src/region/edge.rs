//! One edge: where it listens, whom it reports to, what it bears.

use std::net::SocketAddr;
use std::time::Duration;

use super::Tls;

#[derive(Clone, Debug)]
pub struct Edge {
    /// Unique in the region; the host's name if the file gives none.
    pub name: String,
    /// Threads, each with its own runtime; 0 in the file means one per core and is resolved.
    pub workers: usize,
    pub listeners: Vec<Listener>,
    pub admin: Option<SocketAddr>,
    /// Where reports go: `http://host:port`. Empty: the origins are those of the file.
    pub aggregators: Vec<String>,
    pub report_interval: Duration,
    pub limits: EdgeLimits,
    /// After SIGTERM: how long exchanges in flight may take to end.
    pub drain: Duration,
}

impl Edge {
    /// One per core.
    pub const WORKERS: u32 = 0;
    pub const REPORT_INTERVAL: Duration = Duration::from_secs(1);
    pub const DRAIN: Duration = Duration::from_secs(30);
}

#[derive(Clone, Debug)]
pub struct Listener {
    pub address: SocketAddr,
    pub http1: bool,
    pub http2: bool,
    pub tls: Option<Tls>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct EdgeLimits {
    /// Bytes of all request headers: 431 past it.
    pub header_bytes: usize,
    /// Number of request headers.
    pub headers: usize,
    /// Bytes of a request body: 413 past it.
    pub body_bytes: u64,
    /// Open client connections per worker; past it the kernel's queue holds them.
    pub connections: usize,
    /// From the first byte of a request to the end of its headers; also the TLS handshake.
    pub header_timeout: Duration,
    /// Between two reads of a request body, and between two writes of a response that the client
    /// does not take.
    pub body_timeout: Duration,
    /// A keep-alive connection without a request.
    pub idle_timeout: Duration,
}

impl Default for EdgeLimits {
    fn default() -> EdgeLimits {
        EdgeLimits {
            header_bytes: 64 << 10,
            headers: 100,
            body_bytes: 64 << 20,
            connections: 16_384,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
        }
    }
}
