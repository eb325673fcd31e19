//! Which of several aggregators acts, as it is meant.

use std::sync::Arc;
use std::time::Duration;

use super::Kv;

#[derive(Clone, Debug, PartialEq)]
pub struct Lease {
    /// One server.
    pub kv: Arc<Kv>,
    /// Whole, with the store's prefix.
    pub key: String,
    /// Without a renewal it ends so soon.
    pub ttl: Duration,
}

impl Lease {
    pub const TTL: Duration = Duration::from_secs(6);
    /// Less is lost to a busy machine.
    pub const LEAST_TTL: Duration = Duration::from_secs(1);
    pub const MOST_TTL: Duration = Duration::from_secs(60);
}
