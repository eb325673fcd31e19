//! What the tuner tells whoever asks: the cheapest rules, how much each counts, and whether the forecast is believed.

use serde::{Deserialize, Serialize};

use super::Report;
use crate::engine::{Engine, Way};

/// The cheapest that are told; of 192, neighbours differ by little.
const TOLD: usize = 5;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// What decided last; `None` before the first step.
    pub way: Option<Way>,
    pub gate_open: bool,
    /// The forecast's pinball loss over a week, in that of one that knows the level alone: under 1 it is better.
    pub loss: f64,
    /// How many rules share the decision; 0 before the first choice.
    pub blend: usize,
    /// The cheapest rules lately, the cheapest first, whether or not they share.
    pub best: Vec<Priced>,
}

/// One rule, and what it would have cost and violated. Old days count less.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Priced {
    /// The bound that it takes; `None`: the present level.
    pub quantile: Option<f64>,
    pub headroom: f64,
    pub hold_seconds: f64,
    pub band: f64,
    /// How much it counts in the blend.
    pub part: f64,
    /// Origins billed, on average.
    pub billed: f64,
    /// Percent of the requests over capacity.
    pub violation: f64,
    /// Bill and violations at the price, on average, in origins.
    pub cost: f64,
}

impl Told {
    pub fn of(engine: &Engine) -> Told {
        let (tuner, gate) = (engine.tuner(), engine.forecaster().gate());
        let settings = engine.settings();
        let priced = |report: &Report| Priced {
            quantile: report.candidate.quantile.and_then(|at| settings.quantiles.get(at).copied()),
            headroom: report.candidate.headroom,
            hold_seconds: report.candidate.hold as f64 * settings.lives.step,
            band: report.candidate.band,
            part: report.part,
            billed: report.billed,
            violation: report.violation,
            cost: report.cost,
        };
        // Before anything was paid all cost nothing.
        let paid = tuner.reports().into_iter().filter(|report| report.billed > 0.0);
        Told {
            way: engine.want().map(|want| want.way),
            gate_open: gate.is_open(),
            loss: gate.loss(),
            blend: tuner.blend().len(),
            best: paid.take(TOLD).map(|report| priced(&report)).collect(),
        }
    }
}
