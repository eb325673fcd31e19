//! Target tracking of a cloud's groups: points of a minute, a minute late; out on 3 of 3 over
//! the target, in on 15 of 15 under 0.9 of it, in proportion both ways; instances that warm
//! up are counted, and nothing goes in while something comes out. A floor may stand beside it.

use super::{Now, Past};
use crate::replay::Lives;

#[derive(Debug)]
pub struct Target {
    target: f64,
    /// Steps of a minute.
    minute: usize,
    over: u32,
    under: u32,
    wanted: Option<u32>,
    /// In origins, for each step.
    floor: Option<Vec<u32>>,
}

impl Target {
    /// `floor`: demand to be ready for, in each step.
    pub fn new(lives: &Lives, target: f64, floor: Option<Vec<f64>>) -> Target {
        let origins = |demand: &f64| (demand / target - 1e-9).ceil().max(0.0) as u32;
        let floor = floor.map(|floor| floor.iter().map(origins).collect());
        Target { target, minute: (60.0 / lives.step) as usize, over: 0, under: 0, wanted: None, floor }
    }

    pub fn step(&mut self, now: Now, past: &Past) -> u32 {
        let Now { step, ready, total } = now;
        let mut wanted = self.wanted.unwrap_or(total);
        let minute = self.minute;
        if step.is_multiple_of(minute) && step >= 3 * minute {
            let (from, to) = (step - 2 * minute, step - minute);
            let load = past.mean(|step| step.demand, from, to);
            let use_of_one = load / past.mean(|step| step.ready, from, to).max(1.0);
            self.over = if use_of_one > self.target { self.over + 1 } else { 0 };
            self.under = if use_of_one < 0.9 * self.target { self.under + 1 } else { 0 };
            let proportion = (load / self.target).ceil() as u32;
            wanted = if self.over >= 3 {
                total.max(proportion)
            } else if self.under >= 15 && total == ready {
                total.min(proportion)
            } else {
                total
            };
        }
        self.wanted = Some(wanted);
        let floor = self.floor.as_ref().and_then(|floor| floor.get(step).copied());
        wanted.max(floor.unwrap_or(0))
    }
}
