//! What plugins of all workers share.

/// A dictionary that plugins are granted as `dict:<name>`, or that is a plugin's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dict {
    /// Of keys and values, with 64 for each entry; past it what was used longest ago goes.
    pub bytes: usize,
}

impl Dict {
    pub const BYTES: usize = 16 << 20;
}
