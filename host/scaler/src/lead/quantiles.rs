//! Quantiles of a few measured times, of which older ones count less.

use serde::{Deserialize, Serialize};

use crate::figure::thousandths;

/// A sample counts half of one that came so many launches later. By launches and not by time: a pool that has
/// launched nothing for a month knows nothing better than what it saw then.
const HALF_LIFE: f64 = 32.0;
pub(super) const HIGH: f64 = 0.95;
pub(super) const HIGHEST: f64 = 0.99;

/// Of one part, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

impl Quantiles {
    /// Of values with the latest last; `None`: there are none.
    pub(super) fn of(values: impl DoubleEndedIterator<Item = f64> + Clone) -> Option<Quantiles> {
        let at = |q| quantile(values.clone(), q).map(thousandths);
        Some(Quantiles { p50: at(0.5)?, p95: at(HIGH)?, p99: at(HIGHEST)? })
    }
}

/// Of values with the latest last, of which older ones count less. `None`: there are none.
pub(super) fn quantile(values: impl DoubleEndedIterator<Item = f64>, q: f64) -> Option<f64> {
    let fade = 0.5f64.powf(1.0 / HALF_LIFE);
    let mut weight = 1.0;
    let mut weighed: Vec<(f64, f64)> = Vec::new();
    for value in values.rev() {
        weighed.push((value, weight));
        weight *= fade;
    }
    weighed.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all: f64 = weighed.iter().map(|(_, weight)| weight).sum();
    let mut below = 0.0;
    for (value, weight) in &weighed {
        below += weight;
        // A sum of weights may miss the whole by a last bit.
        if below >= q * all - 1e-9 {
            return Some(*value);
        }
    }
    None
}
