//! What is replayed, the same for every policy, and what a policy's pool was in each step of it.

use serde::{Deserialize, Serialize};

use super::Lives;
use super::stack::Moved;
use crate::decision::Capacity;

/// Demand, and the pool that it meets.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    pub lives: Lives,
    /// In origins, by the step; `None` where nobody knows it. Such a step is scored for nobody.
    pub demand: Vec<Option<f64>>,
    /// Steps before this one are for learning and are not scored.
    pub from: usize,
    /// Never more origins.
    pub ceiling: u32,
    /// The count before the first step.
    pub first: u32,
}

impl Course {
    /// Known in every step, without a ceiling, in a pool that nobody has sized yet.
    pub fn new(demand: &[f64], lives: Lives, from: usize) -> Course {
        let first = lives.first(demand);
        Course { lives, demand: demand.iter().copied().map(Some).collect(), from, ceiling: u32::MAX, first }
    }

    /// The demand as those see it who know of no gaps: there the last value stands.
    pub fn filled(&self) -> Vec<f64> {
        let mut last = self.demand.iter().copied().flatten().next().unwrap_or(0.0);
        let fill = |demand: &Option<f64>| {
            last = demand.unwrap_or(last);
            last
        };
        self.demand.iter().map(fill).collect()
    }

    /// What is scored, gaps left out.
    pub fn scored(&self) -> Vec<f64> {
        self.demand.get(self.from..).unwrap_or_default().iter().copied().flatten().collect()
    }
}

/// A pool during one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// What it could serve, in origins.
    pub capacity: f64,
    /// Origins paid, on the mean of the step.
    pub billed: f64,
    pub launched: u32,
    /// The count changed.
    pub changed: bool,
    /// Here `warming` are those past boot and below full capacity, also where an edge would call them serving.
    pub stages: Capacity,
    /// Lowest and highest bound of the demand in the coming lead, in origins, where a forecast was made.
    pub foreseen: Option<(f64, f64)>,
}

impl Moment {
    pub fn of(moved: &Moved) -> Moment {
        Moment {
            capacity: moved.capacity,
            billed: f64::from(moved.billed),
            launched: moved.launched,
            changed: moved.launched + moved.removed > 0,
            stages: Capacity {
                booting: moved.total - moved.ready,
                warming: moved.ready - moved.full,
                serving: moved.full,
                draining: moved.billed - moved.total,
                warm: 0,
            },
            foreseen: None,
        }
    }
}
