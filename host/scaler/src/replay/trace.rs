//! Counts a minute as demand a step.

/// Interpolates counts a minute to steps, each minute's total kept, and scales them so that the
/// mean demand is `mean` origins.
pub fn demand(counts: &[f64], step: f64, mean: f64) -> Vec<f64> {
    let parts = ((60.0 / step) as usize).max(1);
    let minutes = counts.len();
    let average = counts.iter().sum::<f64>() / minutes.max(1) as f64;
    if average <= 0.0 {
        return vec![0.0; minutes * parts];
    }
    let mut demand = Vec::with_capacity(minutes * parts);
    for (minute, count) in counts.iter().enumerate() {
        let at = |part: usize| {
            let x = (minute * parts + part) as f64 / parts as f64 + 0.5 / parts as f64;
            interpolate(counts, x)
        };
        let shape: Vec<f64> = (0..parts).map(at).collect();
        let sum: f64 = shape.iter().sum();
        let scale = if sum > 0.0 { count * parts as f64 / sum.max(1e-9) } else { 0.0 };
        demand.extend(shape.iter().map(|value| value * scale / average * mean));
    }
    demand
}

/// The counts stand in the middle of their minutes; `x` is in minutes.
fn interpolate(counts: &[f64], x: f64) -> f64 {
    let last = counts.len() - 1;
    let x = (x - 0.5).clamp(0.0, last as f64);
    let low = (x as usize).min(last);
    let high = (low + 1).min(last);
    counts[low] + (counts[high] - counts[low]) * (x - low as f64)
}
