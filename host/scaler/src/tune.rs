//! Which headroom a pool takes, chosen by what each would have cost it lately.
//!
//! Every candidate (a bound of the forecast or the present level, a headroom, a hold, a band) runs
//! along in a pool that is only thought, over the demand that really came. So the replay of the
//! past days is always up to date, and tuning is a look at sums. What it settles on is no single
//! candidate but a [`Blend`] of those that cost nearly the least: bill and loss are convex in the
//! count, so a mean of counts costs at most the mean of what they cost, and usually less.
//!
//! - [`candidate`]: what may be chosen;
//! - [`shadow`]: all candidates' pools;
//! - [`ledger`]: what each one cost and lost, old days counting less;
//! - [`price`]: what other prices would have bought, and which one holds;
//! - [`told`]: what of it is shown.

pub mod candidate;
pub mod ledger;
pub mod price;
pub mod shadow;
pub mod told;

use serde::{Deserialize, Serialize};

use crate::forecast::Bounds;
use crate::replay::Lives;
use candidate::{Candidate, Grid};
use ledger::Ledger;
use price::Bought;
use shadow::Shadows;

/// How the choice is made. The same for every pool.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    /// What a violating request costs, in what serving it costs.
    pub price: f64,
    /// Hours between choices.
    pub every_hours: f64,
    /// The first choice comes after so many days.
    pub first_days: f64,
    /// After so many days a day counts half.
    pub half_life_days: f64,
    /// A candidate that costs a part `r` more than the best counts e^(-sharpness r).
    pub sharpness: f64,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning { price: 80.0, every_hours: 6.0, first_days: 2.0, half_life_days: 4.0, sharpness: 150.0 }
    }
}

/// Candidates that count less than this beside the best are left out of a blend.
const LEAST_PART: f64 = 0.01;

/// Candidates and how much each counts; the parts sum to 1.
pub type Blend = Vec<(usize, f64)>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tuner {
    lives: Lives,
    tuning: Tuning,
    candidates: Vec<Candidate>,
    shadows: Shadows,
    ledger: Ledger,
    /// Empty before the first choice.
    blend: Blend,
    steps: u64,
}

/// What one candidate would have cost and violated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub candidate: Candidate,
    /// How much it counts in the blend.
    pub part: f64,
    /// Origins billed, on average.
    pub billed: f64,
    /// Percent of the requests over capacity.
    pub violation: f64,
    /// Bill and violations at the price, per step.
    pub cost: f64,
}

impl Tuner {
    pub fn new(lives: Lives, tuning: Tuning, grid: Grid) -> Tuner {
        let candidates = grid.candidates();
        let ledger = Ledger::new(candidates.len());
        Tuner { lives, tuning, candidates, shadows: Shadows::new(lives, grid), ledger, blend: Blend::new(), steps: 0 }
    }

    /// Other lives, and holds that follow from them; as many candidates as before.
    pub fn relive(&mut self, lives: Lives, grid: &Grid) {
        self.lives = lives;
        self.candidates = grid.candidates();
        self.shadows.relive(lives, grid);
    }

    /// One step: pays for the one that ended (`None`: nobody reported it), maybe chooses, then lets
    /// every candidate decide. `believed`: candidates that look at the forecast may be chosen.
    pub fn step(&mut self, demand: Option<f64>, bounds: &Bounds, believed: bool) {
        if let Some(demand) = demand {
            self.shadows.settle(demand, &mut self.ledger);
        }
        self.steps += 1;
        let hours = self.steps as f64 * self.lives.step / 3600.0;
        if self.steps.is_multiple_of(self.every()) {
            if hours >= self.tuning.first_days * 24.0 {
                self.choose(believed);
            }
            self.ledger.age(0.5f64.powf(self.tuning.every_hours / 24.0 / self.tuning.half_life_days));
        }
        self.shadows.step(bounds);
    }

    /// What the blend wants; `None` before the first choice.
    pub fn wanted(&self) -> Option<u32> {
        self.mean(&self.blend)
    }

    /// What it would want at another price, by the past until now; `None` before the first choice.
    pub fn wanted_at(&self, price: f64, believed: bool) -> Option<u32> {
        if self.blend.is_empty() {
            return None;
        }
        self.mean(&self.blend_at(price, believed)?)
    }

    fn mean(&self, blend: &Blend) -> Option<u32> {
        if blend.is_empty() {
            return None;
        }
        let mean: f64 = blend.iter().map(|(at, part)| part * f64::from(self.shadows.wanted(*at))).sum();
        Some(nearest(mean))
    }

    /// What the blend would want of these bounds by themselves, without holds and bands; `None` before the first choice.
    pub fn present(&self, bounds: &Bounds) -> Option<u32> {
        if self.blend.is_empty() {
            return None;
        }
        let wanted = |at: usize| {
            let candidate = self.candidates.get(at);
            candidate.map_or(0, |candidate| shadow::wanted(bounds, candidate.quantile, candidate.headroom))
        };
        Some(nearest(self.blend.iter().map(|(at, part)| part * f64::from(wanted(*at))).sum()))
    }

    /// Chooses anew by what the ledger says now.
    pub fn choose(&mut self, believed: bool) {
        if let Some(blend) = self.blend_at(self.tuning.price, believed) {
            self.blend = blend;
        }
    }

    /// What a violating request costs from now on. A choice that was made is made anew.
    pub fn reprice(&mut self, price: f64, believed: bool) {
        if self.tuning.price != price {
            self.tuning.price = price;
            if !self.blend.is_empty() {
                self.choose(believed);
            }
        }
    }

    /// Whether the next step chooses.
    pub fn chooses_next(&self) -> bool {
        (self.steps + 1).is_multiple_of(self.every())
    }

    fn every(&self) -> u64 {
        ((self.tuning.every_hours * 3600.0 / self.lives.step) as u64).max(1)
    }

    /// What the choice at a price would have had lately; `None` before anything was paid.
    pub fn bought(&self, price: f64, believed: bool) -> Option<Bought> {
        let blend = self.blend_at(price, believed)?;
        let mean = |of: fn(&ledger::Paid) -> f64| -> f64 {
            blend.iter().map(|(at, part)| part * of(&self.ledger.mean(*at))).sum()
        };
        let (origins, lost) = (mean(|paid| paid.billed), mean(|paid| paid.lost));
        Some(Bought { price, origins, violation: 100.0 * lost / self.ledger.demand().max(1e-9) })
    }

    /// `None` before anything was paid.
    fn blend_at(&self, price: f64, believed: bool) -> Option<Blend> {
        let costs = self.ledger.costs(price);
        let allowed = |at: &usize| believed || self.candidates[*at].quantile.is_none();
        let best = (0..costs.len()).filter(allowed).map(|at| costs[at]).fold(f64::INFINITY, f64::min);
        if !best.is_finite() || best <= 0.0 {
            return None;
        }
        let part = |at: usize| (-self.tuning.sharpness * (costs[at] / best - 1.0)).exp();
        let near: Blend =
            (0..costs.len()).filter(allowed).map(|at| (at, part(at))).filter(|(_, part)| *part > LEAST_PART).collect();
        let sum: f64 = near.iter().map(|(_, part)| part).sum();
        Some(near.into_iter().map(|(at, part)| (at, part / sum)).collect())
    }

    /// The candidate that counts most, and its part.
    pub fn leading(&self) -> Option<(&Candidate, f64)> {
        let best = self.blend.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
        Some((self.candidates.get(best.0)?, best.1))
    }

    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    pub fn blend(&self) -> &Blend {
        &self.blend
    }

    pub fn shadows(&self) -> &Shadows {
        &self.shadows
    }

    /// Every candidate's word, the cheapest first.
    pub fn reports(&self) -> Vec<Report> {
        let part = |at: usize| self.blend.iter().find(|(other, _)| *other == at).map_or(0.0, |(_, part)| *part);
        let report = |(at, candidate): (usize, &Candidate)| {
            let mean = self.ledger.mean(at);
            Report {
                candidate: *candidate,
                part: part(at),
                billed: mean.billed,
                violation: 100.0 * mean.lost / self.ledger.demand().max(1e-9),
                cost: mean.billed + self.tuning.price * mean.lost,
            }
        };
        let mut reports: Vec<Report> = self.candidates.iter().enumerate().map(report).collect();
        reports.sort_by(|a, b| a.cost.total_cmp(&b.cost));
        reports
    }
}

/// Of counts that have been rounded up before.
fn nearest(mean: f64) -> u32 {
    (mean + 0.5 - 1e-9).floor().max(0.0) as u32
}
