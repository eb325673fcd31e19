//! What plugins of all workers share: the sections `dicts`, `queues` and `buckets`.

use super::form::{Name, Period, Positive, QueueName, Size};
use super::value::keys;
use crate::region;

keys! {
    /// A dictionary that plugins of all workers share.
    pub struct Dict {
        /// A name, unique in the section: that of `dict:<name>`, or of a plugin for its own.
        required name: Name,
        /// Bytes of keys and values, with 64 for each entry; past it what was used longest ago goes.
        default bytes: Size = region::Dict::BYTES,
    }
}

keys! {
    /// A token bucket: each key that plugins name has one of its own, the same for all workers.
    pub struct Bucket {
        /// A name, unique in the section: that of `limit:<name>`.
        required name: Name,
        /// Tokens that come in the time `per`.
        required rate: Positive,
        /// The time in which `rate` tokens come.
        default per: Period = region::Bucket::PER,
        /// Tokens that it holds at most, and at first. Default: the rate.
        optional burst: Positive,
        /// Keys that are remembered at most; the one used longest ago is forgotten, and full again.
        default keys: Positive = region::Bucket::KEYS,
    }
}

keys! {
    /// A queue of bytes that plugins of all workers push to and pop from.
    pub struct Queue {
        /// A name, unique in the section: that of `queue:<name>`, or `<plugin>/<name>` for a plugin's own.
        required name: QueueName,
        /// Items that it holds at most; past them pushes are refused.
        default items: Positive = region::Queue::ITEMS,
        /// Bytes that they have at most.
        default bytes: Size = region::Queue::BYTES,
    }
}
