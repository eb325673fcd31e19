//! The section `kv`.

use super::form::{EnvName, FilePath, Lanes, Name, Period, Positive, RedisUrl, Text};
use super::value::keys;
use crate::region::{self, KvBreaker};

keys! {
    /// A key-value store of the region, on Redis: one of `url` and `urls` is given.
    pub struct Kv {
        /// A name, unique in the file; plugins are granted `kv:<name>`.
        required name: Name,
        /// One server: `redis://host:port/database`, or `rediss://` for TLS.
        optional url: RedisUrl,
        /// Nodes of a Redis Cluster; from any of them the others are found.
        list urls: RedisUrl,
        /// PEM of whom to trust for `rediss://`. Default: whom the machine trusts.
        optional ca: FilePath,
        /// The user to log in as. Default: the server's default user.
        optional username: Text,
        /// A file with the password, read again for each connection. Default: no password.
        optional password_file: FilePath,
        /// An environment variable with the password. Default: no password.
        optional password_env: EnvName,
        /// Stands before every key, so that stores can share a server.
        default prefix: Text = "",
        /// One call, connecting included.
        default timeout: Period = region::Kv::TIMEOUT,
        /// Connections of each worker, to each node; many calls are in flight on each.
        default connections: Lanes = region::Kv::CONNECTIONS,
        /// Whether `kv.eval` is taken: a script is bound by no prefix, and while it runs nobody
        /// else is served. What else it may do is for the server's access control list.
        default scripts: bool = false,
        /// When the store is no longer asked, for a while.
        section breaker: Breaker,
    }
}

keys! {
    /// When a store is no longer asked, for a while.
    pub struct Breaker {
        /// Calls in a row, of one worker, that found no store or came to their timeout.
        default failures: Positive = KvBreaker::default().failures,
        /// For how long calls are refused at once; then one tries the store.
        default open: Period = KvBreaker::default().open,
    }
}
