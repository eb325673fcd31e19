//! HTTP in: from an accepted connection to an answered request.

use std::net::SocketAddr;
use std::sync::Arc;

/// Facts about a client connection, for forwarding headers and properties.
#[derive(Clone, Debug)]
pub struct Connection {
    pub remote: SocketAddr,
    pub local: SocketAddr,
    pub tls: Option<TlsFacts>,
}

#[derive(Clone, Debug)]
pub struct TlsFacts {
    /// `TLSv1.3`
    pub version: &'static str,
    pub sni: Option<Arc<str>>,
    pub alpn: Option<Arc<str>>,
}
