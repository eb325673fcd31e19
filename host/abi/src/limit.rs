//! What a token bucket answers.

use std::time::Duration;

/// Of a take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub allowed: bool,
    /// Whole tokens that are there now.
    pub remaining: u32,
    /// When the same take would be allowed if nobody else took; zero if it is.
    pub retry_after: Duration,
}

/// Tokens that were reserved and not yet settled: of one context of a plugin, unique there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseId(pub u32);
