//! What a pool cost and what it could not serve, as one adds it up.

use serde::{Deserialize, Serialize};

use super::Lives;
use super::excess::excess;
use super::stack::Moved;

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Origin-hours billed.
    pub cost: f64,
    /// Percent of the requests that came over capacity.
    pub violation: f64,
    /// The same in origin-hours of demand.
    pub lost: f64,
    /// Percent of the minutes with more than 1 % over.
    pub bad_minutes: f64,
    /// How many minutes that were.
    pub violating_minutes: f64,
    pub launches_a_day: f64,
    pub actions_a_day: f64,
}

impl Score {
    /// Bill and violations as one: `price` is what a violating request costs, in what serving it costs.
    pub fn price(&self, price: f64) -> f64 {
        self.cost + price * self.lost
    }
}

/// Adds up a run, step by step.
#[derive(Clone, Debug)]
pub struct Tally {
    lives: Lives,
    /// Steps before which nothing counts.
    from: usize,
    steps: usize,
    /// Of those from `from` on, the ones whose demand is known.
    counted: usize,
    billed: f64,
    demand: f64,
    lost: f64,
    launched: f64,
    actions: f64,
    minute: (f64, f64),
    /// Something of the present minute is known.
    known: bool,
    minutes: usize,
    bad: usize,
}

impl Tally {
    pub fn new(lives: Lives, from: usize) -> Tally {
        Tally {
            lives,
            from,
            steps: 0,
            counted: 0,
            billed: 0.0,
            demand: 0.0,
            lost: 0.0,
            launched: 0.0,
            actions: 0.0,
            minute: (0.0, 0.0),
            known: false,
            minutes: 0,
            bad: 0,
        }
    }

    pub fn add(&mut self, demand: f64, moved: &Moved) {
        let changed = moved.launched + moved.removed > 0;
        self.add_step(demand, moved.capacity, f64::from(moved.billed), f64::from(moved.launched), changed);
    }

    pub fn add_step(&mut self, demand: f64, capacity: f64, billed: f64, launched: f64, changed: bool) {
        self.steps += 1;
        if self.steps <= self.from {
            return;
        }
        self.counted += 1;
        let over = excess(demand, capacity, self.lives.spread);
        self.billed += billed;
        self.demand += demand;
        self.lost += over;
        self.launched += launched;
        self.actions += f64::from(u8::from(changed));
        self.minute = (self.minute.0 + over, self.minute.1 + demand);
        self.known = true;
        self.end_minute();
    }

    /// A step whose demand nobody knows: neither bill nor violation counts.
    pub fn skip(&mut self) {
        self.steps += 1;
        if self.steps > self.from {
            self.end_minute();
        }
    }

    fn end_minute(&mut self) {
        let in_minute = ((60.0 / self.lives.step) as usize).max(1);
        if !(self.steps - self.from).is_multiple_of(in_minute) || !std::mem::take(&mut self.known) {
            return;
        }
        self.minutes += 1;
        self.bad += usize::from(self.minute.0 / self.minute.1.max(1e-9) > 0.01);
        self.minute = (0.0, 0.0);
    }

    pub fn score(&self) -> Score {
        let hours = self.lives.step / 3600.0;
        let days = self.counted as f64 * self.lives.step / 86400.0;
        Score {
            cost: self.billed * hours,
            violation: 100.0 * self.lost / self.demand.max(1e-9),
            lost: self.lost * hours,
            bad_minutes: 100.0 * self.bad as f64 / self.minutes.max(1) as f64,
            violating_minutes: self.bad as f64,
            launches_a_day: self.launched / days.max(1e-9),
            actions_a_day: self.actions / days.max(1e-9),
        }
    }
}
