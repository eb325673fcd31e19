//! What was recorded, in rows of a minute or of another length, as demand a step.

/// Interpolates counts a minute to steps, each minute's total kept, and scales them so that the
/// mean demand is `mean` origins.
pub fn demand(counts: &[f64], step: f64, mean: f64) -> Vec<f64> {
    let average = counts.iter().sum::<f64>() / counts.len().max(1) as f64;
    let rows: Vec<Option<f64>> = counts.iter().copied().map(Some).collect();
    let levels = steps(&rows, 60.0, step);
    let scaled = |level: Option<f64>| if average > 0.0 { level.unwrap_or(0.0) / average * mean } else { 0.0 };
    levels.into_iter().map(scaled).collect()
}

/// Levels of rows (means over `row` seconds each) as levels of steps: rows that are longer are interpolated,
/// the mean of each kept; shorter ones are averaged. `None` is a gap and stays one: nothing is drawn across
/// it, and a step of which a part is unknown is one. Of `row` and `step` one divides the other.
pub fn steps(rows: &[Option<f64>], row: f64, step: f64) -> Vec<Option<f64>> {
    if row < step {
        let parts = ((step / row).round() as usize).max(1);
        let mean = |rows: &[Option<f64>]| Some(rows.iter().copied().sum::<Option<f64>>()? / parts as f64);
        return rows.chunks_exact(parts).map(mean).collect();
    }
    let parts = ((row / step) as usize).max(1);
    let mut levels = Vec::with_capacity(rows.len() * parts);
    for (at, level) in rows.iter().enumerate() {
        let Some(level) = level else {
            levels.extend(std::iter::repeat_n(None, parts));
            continue;
        };
        let shape = |part: usize| {
            let x = (at * parts + part) as f64 / parts as f64 + 0.5 / parts as f64;
            interpolate(rows, *level, x)
        };
        let shape: Vec<f64> = (0..parts).map(shape).collect();
        let sum: f64 = shape.iter().sum();
        let scale = if sum > 0.0 { level * parts as f64 / sum.max(1e-9) } else { 0.0 };
        levels.extend(shape.iter().map(|value| Some(value * scale)));
    }
    levels
}

/// The levels stand in the middle of their rows; `x` is in rows. `here` stands for rows that are not known.
fn interpolate(rows: &[Option<f64>], here: f64, x: f64) -> f64 {
    let last = rows.len() - 1;
    let x = (x - 0.5).clamp(0.0, last as f64);
    let low = (x as usize).min(last);
    let high = (low + 1).min(last);
    let level = |at: usize| rows[at].unwrap_or(here);
    level(low) + (level(high) - level(low)) * (x - low as f64)
}
