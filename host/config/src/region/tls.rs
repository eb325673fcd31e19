//! TLS of a listener.

use std::path::PathBuf;

/// The files were read and hold PEM; that they belong together is found by the edge before it
/// binds, and before a reload is taken.
#[derive(Clone, Debug)]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// In the order of preference: `h2`, `http/1.1`.
    pub alpn: Vec<String>,
    /// Without it no client is asked for a certificate.
    pub clients: Option<TlsClients>,
}

/// Whose certificates clients may show.
#[derive(Clone, Debug)]
pub struct TlsClients {
    pub roots: PathBuf,
    pub certificate: ClientCertificate,
}

/// Whether a client needs a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificate {
    #[default]
    Required,
    /// One that it shows is checked all the same.
    Optional,
}

impl ClientCertificate {
    /// As a file spells it.
    pub fn name(self) -> &'static str {
        match self {
            ClientCertificate::Required => "required",
            ClientCertificate::Optional => "optional",
        }
    }
}
