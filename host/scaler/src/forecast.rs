//! How much will be wanted at most in the coming lead: upper quantiles of demand's maximum,
//! learned online, one step at a time.
//!
//! - [`history`]: what is kept of the past: 14 days by the minute, the last hour by the step;
//! - [`features`]: the past as numbers that the coming maximum may follow from;
//! - [`quantile`]: linear quantile regression with a conformal offset;
//! - [`gate`]: whether the forecast may be believed.

pub mod features;
pub mod gate;
pub mod history;
pub mod quantile;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use features::{Features, Row};
use gate::Gate;
use history::History;
use quantile::Quantile;

/// Steps after the lead that the forecast covers too.
const MARGIN_SECONDS: f64 = 60.0;

/// A forecast that waits for its outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pending {
    /// The step that it was made in.
    step: u64,
    row: Row,
    level: f64,
    quantiles: Vec<f64>,
}

/// Upper bounds of the demand in the coming window, lowest quantile first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// Of the last 30 s.
    pub level: f64,
    pub upper: Vec<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forecaster {
    window: usize,
    history: History,
    features: Features,
    learners: Vec<Quantile>,
    pending: VecDeque<Pending>,
    /// Largest demand of the window that ends now: a falling queue of (step, demand).
    peaks: VecDeque<(u64, f64)>,
    /// The last step without a report.
    gap: Option<u64>,
    gate: Gate,
}

impl Forecaster {
    /// `lead`: from a launch to its full capacity.
    pub fn new(step_seconds: f64, lead_seconds: f64, quantiles: &[f64]) -> Forecaster {
        let window = window(step_seconds, lead_seconds);
        Forecaster {
            window,
            history: History::new(step_seconds),
            features: Features::new(step_seconds, window),
            learners: quantiles.iter().map(|quantile| Quantile::new(*quantile)).collect(),
            pending: VecDeque::new(),
            peaks: VecDeque::new(),
            gap: None,
            gate: Gate::new(step_seconds, quantiles),
        }
    }

    /// Another lead: forecasts that wait for the outcome of the old window have none any more.
    pub fn relive(&mut self, step_seconds: f64, lead_seconds: f64) {
        let window = window(step_seconds, lead_seconds);
        if window != self.window {
            self.window = window;
            self.features.relive(window);
            self.pending.clear();
        }
    }

    pub fn history(&self) -> &History {
        &self.history
    }

    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    pub fn window(&self) -> usize {
        self.window
    }

    /// Takes the demand of the step that ended, `None` if nobody reported it, and says what the
    /// coming window may bring. `None`: nothing was ever seen.
    pub fn step(&mut self, demand: Option<f64>) -> Option<Bounds> {
        let demand = demand.filter(|demand| demand.is_finite() && *demand >= 0.0);
        let now = self.history.steps();
        self.history.push(demand);
        self.learn(now, demand);
        let recent = self.history.recent()?;
        let small = self.history.small();
        let row = self.features.row(&self.history, &recent, small);
        let level = recent.level + small;
        let quantiles: Vec<f64> = self.learners.iter().map(|learner| learner.predict(&row)).collect();
        let upper = quantiles.iter().map(|quantile| (quantile.exp() * level - small).max(0.0)).collect();
        self.pending.push_back(Pending { step: now + 1, row, level, quantiles });
        Some(Bounds { level: recent.level, upper })
    }

    /// The window of the oldest pending forecast may be over.
    fn learn(&mut self, now: u64, demand: Option<f64>) {
        let Some(demand) = demand else {
            self.gap = Some(now);
            return;
        };
        while self.peaks.back().is_some_and(|(_, peak)| *peak <= demand) {
            self.peaks.pop_back();
        }
        self.peaks.push_back((now, demand));
        let window = self.window as u64;
        while self.peaks.front().is_some_and(|(step, _)| step + window < now) {
            self.peaks.pop_front();
        }
        let small = self.history.small();
        while let Some(first) = self.pending.front() {
            if first.step + window > now {
                break;
            }
            let Some(first) = self.pending.pop_front() else { break };
            // The outcome of a window with a gap in it is not known; nor is one of long ago.
            let known = first.step + window == now && self.gap.is_none_or(|gap| gap < first.step);
            if !known {
                continue;
            }
            let peak = self.peaks.front().map_or(demand, |(_, peak)| *peak);
            let outcome = ((peak + small) / first.level).ln();
            self.gate.note(outcome, &first.quantiles);
            if first.step.is_multiple_of(2) {
                for (learner, quantile) in self.learners.iter_mut().zip(&first.quantiles) {
                    learner.learn(&first.row, outcome - quantile);
                }
            }
        }
    }
}

fn window(step_seconds: f64, lead_seconds: f64) -> usize {
    ((lead_seconds + MARGIN_SECONDS) / step_seconds).ceil() as usize
}
