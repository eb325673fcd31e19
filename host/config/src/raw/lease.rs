//! The section `aggregator.lease`.

use super::form::{Name, Period, Text};
use super::value::keys;
use crate::region;

keys! {
    /// Which of several aggregators acts, settled in a Redis server.
    pub struct Lease {
        /// The store of `kv` that holds it: one server, and not a cluster.
        required kv: Name,
        /// Its key there; the store's prefix stands before it. Default: `forebay/<region>/lease`.
        optional key: Text,
        /// Without a renewal it ends so soon, and another aggregator takes over.
        default ttl: Period = region::Lease::TTL,
    }
}
