//! What stands beside target tracking: a forecast by the hour, or a schedule from the first week.

use crate::replay::Lives;

/// Capacity for an hour is there so long before it.
const EARLY_SECONDS: f64 = 300.0;
/// Hours for which one forecast is made.
const EVERY: usize = 6;
const WEEK: usize = 7 * 24;

/// A cloud's predictive scaling: means by the hour, of the same hour of the last days and of
/// last week moved to the present level. Demand to be ready for in each step.
pub fn hourly_forecast(demand: &[f64], lives: &Lives) -> Vec<f64> {
    let hour = (3600.0 / lives.step) as usize;
    let means: Vec<f64> = demand.chunks_exact(hour).map(|hour| hour.iter().sum::<f64>() / hour.len() as f64).collect();
    let mean = |from: usize, to: usize| means[from..to].iter().sum::<f64>() / (to - from) as f64;
    let mut forecast = vec![0.0; means.len() + 1];
    for made in (24..means.len()).step_by(EVERY) {
        for at in made..(made + EVERY).min(means.len()) {
            let days: Vec<f64> = (1..=3)
                .filter_map(|day| at.checked_sub(24 * day))
                .filter(|at| *at < made)
                .map(|at| means[at])
                .collect();
            let mut guess = days.iter().sum::<f64>() / days.len().max(1) as f64;
            if at >= WEEK {
                let moved = if made >= WEEK + 24 {
                    mean(made.saturating_sub(24), made) / mean(made - WEEK - 24, made - WEEK).max(1e-9)
                } else {
                    1.0
                };
                guess = 0.5 * guess + 0.5 * means[at - WEEK] * moved.clamp(0.5, 2.0);
            }
            forecast[at] = guess;
        }
    }
    let early = (EARLY_SECONDS / lives.step) as usize;
    let last = means.len();
    (0..demand.len())
        .map(|step| forecast[((step + early) / hour).min(last)].max(forecast[(step / hour).min(last)]))
        .collect()
}

/// The cron rules that an operator would write from the first week: for each hour of the day the
/// 95th percentile of the worst day. Nothing in that week itself.
pub fn weekly_schedule(demand: &[f64], lives: &Lives) -> Vec<f64> {
    let hour = (3600.0 / lives.step) as usize;
    let mut peaks = [0.0f64; 24];
    for (at, hour) in demand.chunks_exact(hour).take(WEEK).enumerate() {
        peaks[at % 24] = peaks[at % 24].max(percentile(hour, 0.95));
    }
    let early = (EARLY_SECONDS / lives.step) as usize;
    (0..demand.len())
        .map(|step| {
            let of = |step: usize| peaks[step / hour % 24];
            if step < WEEK * hour { 0.0 } else { of(step + early).max(of(step)) }
        })
        .collect()
}

/// Between the values next to it, linearly.
fn percentile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = part * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[at as usize], sorted[(at as usize + 1).min(sorted.len() - 1)]);
    low + (high - low) * at.fract()
}
