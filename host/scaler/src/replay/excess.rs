//! What of a step's demand comes over a capacity: E[(X - capacity)+] of X ~ Normal(demand,
//! (spread x demand)^2), a soft knee in place of a cliff.

use std::sync::LazyLock;

/// Beyond so many deviations all or nothing is over.
const EDGE: f64 = 6.0;
/// Parts of the table between the edges: linear between them is exact to 3e-7 of a deviation.
const PARTS: usize = 8192;

/// Exact to rounding: for scores.
pub fn excess(demand: f64, capacity: f64, spread: f64) -> f64 {
    let deviation = (spread * demand).max(1e-9);
    let z = (demand - capacity) / deviation;
    if z > EDGE {
        demand - capacity
    } else if z < -EDGE {
        0.0
    } else {
        deviation * knee(z)
    }
}

/// The same from a table: for shadow pools, of which there are hundreds in each step.
pub fn quick_excess(demand: f64, capacity: f64, spread: f64) -> f64 {
    let deviation = (spread * demand).max(1e-9);
    let z = (demand - capacity) / deviation;
    if z > EDGE {
        return demand - capacity;
    }
    if z < -EDGE {
        return 0.0;
    }
    let at = (z + EDGE) * (PARTS as f64 / (2.0 * EDGE));
    let part = (at as usize).min(PARTS - 1);
    let table = &*TABLE;
    let (low, high) = (table[part], table[part + 1]);
    deviation * (low + (high - low) * (at - part as f64))
}

static TABLE: LazyLock<Vec<f64>> =
    LazyLock::new(|| (0..=PARTS).map(|part| knee(part as f64 / PARTS as f64 * 2.0 * EDGE - EDGE)).collect());

/// E[(Z + z)+] of a standard normal Z.
fn knee(z: f64) -> f64 {
    let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    density + z * 0.5 * (1.0 + libm::erf(z / std::f64::consts::SQRT_2))
}
