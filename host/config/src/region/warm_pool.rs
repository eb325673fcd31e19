//! Origins that have booted and wait, beside those that serve.

/// A second tier of a pool: its origins join without a boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarmPool {
    pub size: WarmSize,
    /// Never more, whatever the forecast says. The ceiling of the pool is of its members alone.
    pub at_most: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarmSize {
    /// The uncertain top slice of the coming demand, as the predictive rule foresees it.
    Auto,
    Fixed(u32),
}

impl WarmPool {
    /// Of a size that follows the forecast.
    pub const AT_MOST: u32 = 5;
}
