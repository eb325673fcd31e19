//! Origins that have booted and wait, beside those that serve.

/// A second tier of a pool: its origins join without a boot.
#[derive(Clone, Debug, PartialEq)]
pub struct WarmPool {
    pub size: WarmSize,
    /// Never more, whatever the forecast says. The ceiling of the pool is of its members alone.
    pub at_most: u32,
    /// What one that waits costs, in what one that serves does: over 0, at most 1.
    pub cost: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarmSize {
    /// What may be needed before another has booted and need not serve yet, as the predictive rule foresees it.
    Auto,
    Fixed(u32),
}

impl WarmPool {
    /// Of a size that follows the forecast.
    pub const AT_MOST: u32 = 5;
    /// Whoever waits runs, and what runs is paid.
    pub const COST: f64 = 1.0;
}
