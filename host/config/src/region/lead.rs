//! How long it takes from the decision to capacity that serves.

use std::time::Duration;

/// Between these a pool learns its lead from the origins that it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeadBounds {
    pub at_least: Duration,
    /// What is measured may be wrong: no schedule begins earlier than this.
    pub at_most: Duration,
}

impl LeadBounds {
    pub const AT_LEAST: Duration = Duration::ZERO;
    pub const AT_MOST: Duration = Duration::from_secs(600);
}

impl Default for LeadBounds {
    fn default() -> LeadBounds {
        LeadBounds { at_least: LeadBounds::AT_LEAST, at_most: LeadBounds::AT_MOST }
    }
}
