//! What each candidate cost and lost. What is old counts less: at each choice all sums shrink.

use serde::{Deserialize, Serialize};

/// What a step (or a mean of steps) cost: origins billed, demand over capacity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Paid {
    pub billed: f64,
    pub lost: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// Per candidate.
    sums: Vec<Paid>,
    steps: f64,
    demand: f64,
}

impl Ledger {
    pub fn new(candidates: usize) -> Ledger {
        Ledger { sums: vec![Paid::default(); candidates], steps: 0.0, demand: 0.0 }
    }

    /// A step, before what each candidate paid for it.
    pub fn step(&mut self, demand: f64) {
        self.steps += 1.0;
        self.demand += demand;
    }

    pub fn add(&mut self, candidate: usize, paid: Paid) {
        let sum = &mut self.sums[candidate];
        sum.billed += paid.billed;
        sum.lost += paid.lost;
    }

    /// All that was noted counts so much from now on.
    pub fn age(&mut self, part: f64) {
        self.steps *= part;
        self.demand *= part;
        for sum in &mut self.sums {
            sum.billed *= part;
            sum.lost *= part;
        }
    }

    /// Bill and loss of each candidate at one price.
    pub fn costs(&self, price: f64) -> Vec<f64> {
        self.sums.iter().map(|sum| sum.billed + price * sum.lost).collect()
    }

    /// Of a step.
    pub fn mean(&self, candidate: usize) -> Paid {
        let steps = self.steps.max(1.0);
        let Paid { billed, lost } = self.sums[candidate];
        Paid { billed: billed / steps, lost: lost / steps }
    }

    /// Mean demand of a step.
    pub fn demand(&self) -> f64 {
        self.demand / self.steps.max(1.0)
    }
}
