//! Figures as records tell them: thousandths, as what is behind them is the noise of adding fractions.

/// A measure. One so large that its thousandths are none stays as it is.
pub(crate) fn thousandths(value: f64) -> f64 {
    if value < 1e12 { (value * 1000.0).round() / 1000.0 } else { value }
}

/// A figure that others are counted in, such as what one origin carries: under one it may be a part of a
/// thousandth, and stays as it is.
pub(crate) fn unit_thousandths(value: f64) -> f64 {
    if value >= 1.0 { thousandths(value) } else { value }
}
