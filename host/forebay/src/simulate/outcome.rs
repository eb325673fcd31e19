//! What the runs say, as data. It is what `--out json` prints: fields are added, never renamed. The table of
//! fields is in `host/scaler/README.md`.

use jiff::Timestamp;
use scaler::replay::clairvoyant::Bound;
use scaler::replay::score::Score;
use serde::Serialize;

#[derive(Debug, Serialize)]
pub struct Report {
    /// Of a violating request, for the tuner.
    pub price: f64,
    /// And for the figures `price_ratio`.
    pub judge: f64,
    pub lead_seconds: f64,
    pub boot_seconds: f64,
    pub warm_seconds: f64,
    pub drain_seconds: f64,
    /// Requests a second that one origin carries; without a policy the demand is scaled, and there is none.
    pub requests_per_origin: Option<f64>,
    pub pool: Option<String>,
    pub traces: Vec<Outcome>,
    /// Over all traces: geometric means of the ratios, means of the rest.
    pub all: Vec<Line>,
}

#[derive(Debug, Serialize)]
pub struct Outcome {
    pub trace: String,
    /// When the recording begins; `None` if it does not say.
    #[serde(with = "scaler::stamp::option")]
    pub start: Option<Timestamp>,
    /// Days that are scored.
    pub days: f64,
    /// Days before those, which are for learning.
    pub learning_days: f64,
    /// Hours that nobody recorded. They are scored for nobody.
    pub gap_hours: f64,
    /// What one should know before one believes the figures.
    pub notes: Vec<String>,
    /// What the clairvoyant pays at 0.1 % violation.
    pub clairvoyant_hours: f64,
    pub frontier: Vec<Bound>,
    pub lines: Vec<Line>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Line {
    pub policy: String,
    /// Cost over the clairvoyant's at 0.1 % violation.
    pub cost_ratio: f64,
    /// Bill and violations at the price `judge`, over the clairvoyant's.
    pub price_ratio: f64,
    /// Origin-hours spent waiting in the warm pool, booted; what they cost is in the bill.
    pub waiting_hours: f64,
    #[serde(flatten)]
    pub score: Score,
}

/// Over all traces; each of them has the same policies in the same order.
pub fn all(traces: &[Outcome]) -> Vec<Line> {
    let Some(first) = traces.first() else { return Vec::new() };
    let count = traces.len() as f64;
    let over =
        |at: usize, of: &dyn Fn(&Line) -> f64| traces.iter().map(|trace| of(&trace.lines[at])).sum::<f64>() / count;
    let line = |(at, line): (usize, &Line)| Line {
        policy: line.policy.clone(),
        cost_ratio: over(at, &|line| line.cost_ratio.ln()).exp(),
        price_ratio: over(at, &|line| line.price_ratio.ln()).exp(),
        waiting_hours: over(at, &|line| line.waiting_hours),
        score: Score {
            cost: over(at, &|line| line.score.cost),
            violation: over(at, &|line| line.score.violation),
            lost: over(at, &|line| line.score.lost),
            bad_minutes: over(at, &|line| line.score.bad_minutes),
            violating_minutes: over(at, &|line| line.score.violating_minutes),
            launches_a_day: over(at, &|line| line.score.launches_a_day),
            actions_a_day: over(at, &|line| line.score.actions_a_day),
        },
    };
    first.lines.iter().enumerate().map(line).collect()
}
