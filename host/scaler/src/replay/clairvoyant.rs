//! The least that any policy could have paid for a demand that it knew beforehand.
//!
//! Each level of the stack is a problem of its own: on or off, at a cost for each start (boot)
//! and stop (drain), solved by a dynamic program of two states over the minutes. Warming is waived,
//! so this is a bound and not a policy.

use serde::{Deserialize, Serialize};

use super::Lives;
use super::excess::excess;

/// What the bound costs, at one price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    pub cost: f64,
    pub violation: f64,
    pub lost: f64,
}

/// Prices that show the frontier from cheap to safe.
pub const PRICES: [f64; 11] = [1.5, 3.0, 6.0, 10.0, 20.0, 40.0, 80.0, 150.0, 300.0, 700.0, 1500.0];

/// The optimum for each price, from step `from` on.
pub fn frontier(demand: &[f64], from: usize, lives: &Lives, prices: &[f64]) -> Vec<Bound> {
    let in_minute = ((60.0 / lives.step) as usize).max(1);
    let demand = demand.get(from..).unwrap_or_default();
    let minutes = demand.len() / in_minute;
    let demand = &demand[..minutes * in_minute];
    let peak = demand.iter().copied().fold(0.0, f64::max);
    let levels = (peak * (1.0 + 3.0 * lives.spread)).ceil() as u32 + 1;
    let total: f64 = demand.iter().map(|x| excess(*x, 0.0, lives.spread)).sum::<f64>() / in_minute as f64;
    let base = demand.iter().sum::<f64>() / in_minute as f64;

    let mut sums = vec![(0.0, 0.0); prices.len()];
    let mut upper: Vec<f64> = demand.iter().map(|x| excess(*x, 0.0, lives.spread)).collect();
    for level in 0..levels {
        let next: Vec<f64> = demand.iter().map(|x| excess(*x, f64::from(level + 1), lives.spread)).collect();
        let saved: Vec<f64> = upper
            .chunks_exact(in_minute)
            .zip(next.chunks_exact(in_minute))
            .map(|(upper, next)| upper.iter().zip(next).map(|(a, b)| a - b).sum::<f64>() / in_minute as f64)
            .collect();
        let mut used = false;
        for (sum, price) in sums.iter_mut().zip(prices) {
            let (cost, kept) = on_off(&saved, *price, level < lives.floor, lives);
            sum.0 += cost;
            sum.1 += kept;
            used |= cost > 0.0;
        }
        // A level above one that is worth nothing at any price is worth less.
        if !used {
            break;
        }
        upper = next;
    }
    sums.into_iter()
        .map(|(cost, saved)| Bound {
            cost: cost / 60.0,
            violation: 100.0 * (total - saved) / base.max(1e-9),
            lost: (total - saved) / 60.0,
        })
        .collect()
}

/// One level: its cost in minutes, and what it saved.
fn on_off(saved: &[f64], price: f64, forced: bool, lives: &Lives) -> (f64, f64) {
    let (start, stop) = (lives.boot / 60.0, lives.drain / 60.0);
    if forced {
        return (saved.len() as f64, saved.iter().sum());
    }
    let (mut on, mut off) = (1e18, 0.0);
    let mut came: Vec<(bool, bool)> = Vec::with_capacity(saved.len());
    for gain in saved {
        let (started, stopped) = (off + start, on + stop);
        let (starts, stops) = (started < on, stopped < off);
        came.push((starts, stops));
        let then = if starts { started } else { on } + (1.0 - price * gain);
        off = if stops { stopped } else { off };
        on = then;
    }
    let mut is_on = on <= off;
    let (mut cost, mut kept) = (0.0, 0.0);
    for (at, (starts, stops)) in came.iter().enumerate().rev() {
        let here = is_on;
        if here {
            cost += 1.0;
            kept += saved[at];
        }
        is_on = if here { !starts } else { *stops };
        if at > 0 && is_on != here {
            cost += if here { start } else { stop };
        }
    }
    (cost, kept)
}

/// The bound's cost at a violation in percent, between prices log-linearly.
pub fn cost_at(frontier: &[Bound], violation: f64) -> f64 {
    let mut points: Vec<(f64, f64)> =
        frontier.iter().map(|bound| (bound.violation.max(1e-6).ln(), bound.cost)).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let x = violation.max(1e-6).ln();
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return 0.0 };
    if x <= first.0 {
        return first.1;
    }
    let Some(high) = points.iter().position(|point| point.0 >= x) else { return last.1 };
    let ((x0, y0), (x1, y1)) = (points[high - 1], points[high]);
    y0 + (y1 - y0) * (x - x0) / (x1 - x0).max(1e-12)
}
