//! A pool that is only thought: what an origin does between its launch and its end, what that
//! is billed, and what of the demand it cannot serve.
//!
//! Demand is in units of one origin's capacity, time goes in steps. An origin is billed from its
//! launch: it boots (no capacity), warms (a ramp), serves, and drains when it is removed. The
//! youngest goes first, so a pool is a stack and each level of it an on/off problem of its own:
//!
//! - [`stack`]: the pool step by step, as a live loop meets it;
//! - [`series`]: the same pool for a whole series of counts at once;
//! - [`excess`]: what of a step's demand comes over a capacity;
//! - [`score`]: bill, violations, actions; [`score::price`]: both as one number;
//! - [`course`]: what is replayed, and what a policy's pool was in each step of it;
//! - [`rehearsal`]: a pool of a region file, all of its scaling, over such a course;
//! - [`clairvoyant`]: the least that any policy could have paid;
//! - [`trace`]: what was recorded, by the minute or otherwise, as demand a step.

pub mod clairvoyant;
pub mod course;
pub mod excess;
pub mod rehearsal;
pub mod score;
pub mod series;
pub mod stack;
pub mod trace;

use serde::{Deserialize, Serialize};

/// The life of an origin, and the noise of demand within a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lives {
    /// Seconds of a step.
    pub step: f64,
    /// Seconds without capacity after the launch.
    pub boot: f64,
    /// Seconds of the ramp from `warm_start` to full capacity.
    pub warm: f64,
    pub warm_start: f64,
    /// Seconds billed after the removal of one that had booted.
    pub drain: f64,
    /// Standard deviation of the demand inside a step, as a part of it.
    pub spread: f64,
    /// Never fewer origins.
    pub floor: u32,
}

impl Default for Lives {
    fn default() -> Lives {
        Lives { step: 15.0, boot: 180.0, warm: 60.0, warm_start: 0.25, drain: 60.0, spread: 0.10, floor: 1 }
    }
}

impl Lives {
    pub fn boot_steps(&self) -> usize {
        self.steps(self.boot)
    }

    pub fn warm_steps(&self) -> usize {
        self.steps(self.warm)
    }

    pub fn drain_steps(&self) -> usize {
        self.steps(self.drain)
    }

    /// From launch to full capacity.
    pub fn lead_steps(&self) -> usize {
        self.boot_steps() + self.warm_steps()
    }

    /// Steps that cover so many seconds.
    pub fn steps(&self, seconds: f64) -> usize {
        (seconds / self.step).ceil().max(0.0) as usize
    }

    /// Capacity of one that began to warm `age` steps ago.
    pub fn ramp(&self, age: usize) -> f64 {
        let warm = self.warm_steps();
        if age >= warm {
            return 1.0;
        }
        self.warm_start + (1.0 - self.warm_start) * (age as f64 + 0.5) / warm as f64
    }

    /// A pool that nobody has sized yet, for this demand: half used.
    pub fn first(&self, demand: &[f64]) -> u32 {
        let seen = &demand[..demand.len().min(40)];
        let mean = seen.iter().sum::<f64>() / seen.len().max(1) as f64;
        self.floor.max((mean / 0.5).ceil() as u32)
    }
}
