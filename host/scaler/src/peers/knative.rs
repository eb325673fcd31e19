//! Knative's pod autoscaler: a stable window of 60 s, a panic window of one step, panic at twice
//! what is ready, down by at most half and not while it panics.

use super::{Now, Past};
use crate::replay::Lives;

const PANIC: f64 = 2.0;

#[derive(Debug)]
pub struct Knative {
    target: f64,
    window: usize,
    /// The last step of the panic, if there was one.
    until: Option<usize>,
    most: u32,
}

impl Knative {
    pub fn new(lives: &Lives, target: f64) -> Knative {
        Knative { target, window: (60.0 / lives.step) as usize, until: None, most: 0 }
    }

    pub fn step(&mut self, now: Now, past: &Past) -> u32 {
        let Now { step, ready, total } = now;
        if step < self.window {
            return total;
        }
        let stable = (past.mean(|step| step.demand, step - self.window, step) / self.target).ceil() as u32;
        let panic = (past.mean(|step| step.demand, step - 1, step) / self.target).ceil() as u32;
        let ready = ready.max(1);
        if f64::from(panic) / f64::from(ready) >= PANIC {
            if self.until.is_none_or(|until| until < step) {
                self.most = total;
            }
            self.until = Some(step + self.window);
        }
        if self.until.is_some_and(|until| step <= until) {
            self.most = self.most.max(stable).max(panic);
            return self.most;
        }
        stable.max(ready / 2)
    }
}
