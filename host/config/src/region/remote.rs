//! Modules that are fetched, as they are meant.

use std::path::PathBuf;
use std::time::Duration;

use super::SecretValue;

/// Where a module is fetched from, what it must be, and how it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    pub at: RemoteAt,
    /// It must be signed by this key.
    pub public_key: Option<PublicKey>,
    /// PEM: whom to trust, in place of whom the machine trusts.
    pub ca: Option<PathBuf>,
    pub login: Option<Login>,
    /// `host` or `host:port` that may be told the login, besides that of `at`.
    pub token_host: Option<String>,
    /// One attempt.
    pub timeout: Duration,
    /// Of a start, where nothing is kept of it.
    pub wait: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteAt {
    Https {
        url: String,
        /// Of the module: 64 digits in lower case.
        sha256: String,
        /// The URL of its detached signature.
        signature: String,
    },
    Oci {
        /// `host` or `host:port`.
        registry: String,
        repository: String,
        /// Of the manifest: 64 digits in lower case.
        sha256: String,
    },
}

/// A PEM file with a public key, read when the region file was. The edge takes it apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    pub path: PathBuf,
    pub pem: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub username: String,
    pub password: SecretValue,
}

impl Remote {
    pub const TIMEOUT: Duration = Duration::from_secs(60);
    pub const WAIT: Duration = Duration::from_secs(10);

    /// The digest by which it is known.
    pub fn sha256(&self) -> &str {
        match &self.at {
            RemoteAt::Https { sha256, .. } | RemoteAt::Oci { sha256, .. } => sha256,
        }
    }

    /// Whether both can only be the same bytes, held to the same key, wherever they come from.
    pub fn same_module(&self, other: &Remote) -> bool {
        let kind = |remote: &Remote| std::mem::discriminant(&remote.at);
        let pem = |remote: &Remote| remote.public_key.as_ref().map(|key| key.pem.clone());
        kind(self) == kind(other) && self.sha256() == other.sha256() && pem(self) == pem(other)
    }
}

/// As it would be written, without the query of a URL: it may be what lets somebody fetch by it.
impl std::fmt::Display for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.at {
            RemoteAt::Https { url, .. } => f.write_str(url.split('?').next().unwrap_or_default()),
            RemoteAt::Oci { registry, repository, sha256 } => {
                write!(f, "oci://{registry}/{repository}@sha256:{sha256}")
            }
        }
    }
}
