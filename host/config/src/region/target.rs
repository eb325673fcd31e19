//! Whom plugins may call besides the pools of the region.

use std::path::PathBuf;
use std::time::Duration;

/// A named target of callouts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub name: String,
    pub to: TargetTo,
    /// Cleartext if `None`.
    pub tls: Option<TargetTls>,
    /// Speak HTTP/2 with it, not HTTP/1.1.
    pub http2: bool,
    /// The whole callout, where the plugin gives no timeout of its own.
    pub timeout: Duration,
    /// Hosts that a callout may ask for, lower case, without port; `*.example.com` matches any depth of
    /// labels. Empty: any.
    pub hosts: Vec<String>,
    /// Paths that a callout may ask for: this one and what is below it. `None`: any.
    pub path_prefix: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetTo {
    /// `host:port`, looked up anew for each connection.
    Address(String),
    /// Wherever the callout's authority says. Without `private` only public addresses are reached,
    /// whatever a name resolves to.
    Any { private: bool },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetTls {
    /// A PEM file of the roots to trust; those of the system if `None`.
    pub roots: Option<PathBuf>,
    /// The name that the certificate must have; the host that is asked if `None`.
    pub server_name: Option<String>,
}

impl Target {
    pub const TIMEOUT: Duration = Duration::from_secs(5);
}
