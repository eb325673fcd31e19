//! Key-value stores of the region, as they are meant.

use std::path::PathBuf;
use std::time::Duration;

/// A store: one Redis server, or a cluster of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Kv {
    pub name: String,
    pub servers: KvServers,
    /// The servers speak TLS.
    pub tls: bool,
    /// PEM: whom to trust, in place of what the machine trusts.
    pub ca: Option<PathBuf>,
    /// The server's default user if `None`.
    pub username: Option<String>,
    /// Read again for each connection, so that it may change.
    pub password: Option<KvPassword>,
    /// Stands before every key.
    pub prefix: String,
    /// One call, connecting included.
    pub timeout: Duration,
    /// Of each worker. Each carries many calls at once.
    pub connections: u32,
    /// Whether `eval` is taken.
    pub scripts: bool,
    pub breaker: KvBreaker,
}

#[derive(Clone, Debug, PartialEq)]
pub enum KvServers {
    One {
        host: String,
        port: u16,
        database: u8,
    },
    /// Some nodes, by which the others are found.
    Cluster(Vec<(String, u16)>),
}

/// Where the password stands; never in the region file.
#[derive(Clone, Debug, PartialEq)]
pub enum KvPassword {
    File(PathBuf),
    /// The name of an environment variable.
    Env(String),
}

/// When a store is no longer asked, for a while.
#[derive(Clone, Debug, PartialEq)]
pub struct KvBreaker {
    /// In a row, of one worker.
    pub failures: u32,
    /// Then one call tries the store.
    pub open: Duration,
}

impl Kv {
    pub const TIMEOUT: Duration = Duration::from_millis(500);
    pub const CONNECTIONS: u32 = 2;
}

impl Default for KvBreaker {
    fn default() -> KvBreaker {
        KvBreaker { failures: 5, open: Duration::from_secs(1) }
    }
}
