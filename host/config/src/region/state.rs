//! What plugins of all workers share.

use std::time::Duration;

/// A dictionary that plugins are granted as `dict:<name>`, or that is a plugin's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dict {
    /// Of keys and values, with 64 for each entry; past it what was used longest ago goes.
    pub bytes: usize,
}

impl Dict {
    pub const BYTES: usize = 16 << 20;
}

/// A token bucket that plugins are granted as `limit:<name>`: each key has one of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Tokens that come in the time `per`.
    pub rate: u32,
    pub per: Duration,
    /// Tokens that it holds at most, and at first.
    pub burst: u32,
    /// Keys that are remembered at most; the one used longest ago is forgotten, and full again.
    pub keys: usize,
}

impl Bucket {
    pub const PER: Duration = Duration::from_secs(1);
    pub const KEYS: u32 = 10_000;
}

/// A queue that plugins are granted as `queue:<name>`, or that is a plugin's own, `<plugin>/<name>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Past either, pushes are refused.
    pub items: usize,
    pub bytes: usize,
}

impl Queue {
    pub const ITEMS: u32 = 1_000;
    pub const BYTES: usize = 1 << 20;
}

impl Default for Queue {
    fn default() -> Queue {
        Queue { items: Queue::ITEMS as usize, bytes: Queue::BYTES }
    }
}
