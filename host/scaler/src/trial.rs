//! What a pool that only thinks would have had, scored against what ran.
//!
//! In steps of 15 s, in the engine's units: demand is requests a second over `requests_per_origin`, or what the
//! signals say. The count that
//! would have stood lives in a thought [`Stack`], in which an origin boots as long as the pool's `lead`; of what
//! really ran those that serve are its capacity, one in its slow start as far as that is, and all are billed. A step that not every fresh edge reported is
//! a gap: it is counted, and scored for neither.

use config::region::Scaling;
use serde::{Deserialize, Serialize};

use crate::decision::Capacity;
use crate::lead::Figures;
use crate::policy::View;
use crate::policy::predictive::{STEP_SECONDS, demand, step_of};
use crate::replay::Lives;
use crate::replay::excess::quick_excess;
use crate::replay::stack::Stack;
use crate::signal::Unit;

/// After a longer gap (or a clock set so far ahead) the steps between are nobody's: an hour.
const LONGEST_GAP: i64 = 3600 / STEP_SECONDS;

/// What a pool cost and could not serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    pub origin_hours: f64,
    /// Demand over capacity, in hours of one origin's.
    pub lost_hours: f64,
    /// Percent of the demand that came over capacity.
    pub violation: f64,
}

/// The score, for whoever thinks of turning the pool on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    pub hours: f64,
    /// Hours that were not scored, as an edge was silent.
    pub gap_hours: f64,
    pub would: Sums,
    pub ran: Sums,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    billed: f64,
    lost: f64,
}

#[derive(Debug)]
pub struct Trial {
    /// The count that would stand.
    count: u32,
    /// What the file said when it began: sums under another file are of another pool.
    began: Lives,
    lives: Lives,
    /// `None`: no rule says what an origin carries, and nothing is scored.
    unit: Option<Unit>,
    stack: Stack,
    /// The first step that is not scored yet.
    next: Option<i64>,
    steps: u64,
    gaps: u64,
    demand: f64,
    would: Sum,
    ran: Sum,
}

impl Trial {
    /// Begins with the count that stands.
    pub fn new(scaling: &Scaling, count: u32) -> Trial {
        Trial {
            count,
            began: lives(scaling),
            lives: lives(scaling),
            unit: unit(scaling),
            stack: Stack::new(count),
            next: None,
            steps: 0,
            gaps: 0,
            demand: 0.0,
            would: Sum::default(),
            ran: Sum::default(),
        }
    }

    /// Whether sums of before are comparable with those under `scaling`.
    pub fn suits(&self, scaling: &Scaling) -> bool {
        self.began == lives(scaling) && self.unit == unit(scaling)
    }

    /// How long origins take now: a lead that was learned is not another file, and sums stand.
    pub fn relive(&mut self, figures: &Figures) {
        self.lives = figures.lives(self.lives.floor);
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    /// A decision is on record that would have made it so many.
    pub fn accept(&mut self, count: u32) {
        self.count = count;
    }

    /// Scores every step that is over, once.
    /// `carries`: what of those that ran took traffic, in origins.
    pub fn settle(&mut self, view: &View, ran: Capacity, carries: f64) {
        let current = step_of(view.now);
        let next = *self.next.get_or_insert(current);
        if current - next > LONGEST_GAP {
            self.gaps += current.abs_diff(next);
            self.next = Some(current);
            return;
        }
        // A clock that was set back: the steps come again, and are not scored twice.
        for step in next..current {
            let moved = self.stack.step(&self.lives, self.count);
            self.next = Some(step + 1);
            let of = |unit: &Unit| Some(demand(step, view, unit)? * unit.scale(view.demand));
            let Some(demand) = self.unit.as_ref().and_then(of) else {
                self.gaps += 1;
                continue;
            };
            self.steps += 1;
            self.demand += demand;
            let lost = |capacity| quick_excess(demand, capacity, self.lives.spread);
            self.would.billed += f64::from(moved.billed);
            self.would.lost += lost(moved.capacity);
            let billed = ran.booting + ran.warming + ran.serving + ran.draining + ran.warm;
            self.ran.billed += f64::from(billed);
            self.ran.lost += lost(carries);
        }
    }

    /// `None` if nothing says what an origin carries.
    pub fn scored(&self) -> Option<Scored> {
        self.unit.as_ref()?;
        let hours = |steps: f64| steps * self.lives.step / 3600.0;
        let sums = |sum: &Sum| Sums {
            origin_hours: hours(sum.billed),
            lost_hours: hours(sum.lost),
            violation: 100.0 * sum.lost / self.demand.max(1e-9),
        };
        Some(Scored {
            hours: hours(self.steps as f64),
            gap_hours: hours(self.gaps as f64),
            would: sums(&self.would),
            ran: sums(&self.ran),
        })
    }
}

pub(crate) fn lives(scaling: &Scaling) -> Lives {
    // Until the pool tells what its lead is made of, all of it counts as boot.
    Lives { boot: scaling.lead.as_secs_f64(), warm: 0.0, floor: scaling.floor, ..Lives::default() }
}

/// An origin's capacity is the predictive rule's; the reactive one's is what it should carry, which is less.
pub(crate) fn unit(scaling: &Scaling) -> Option<Unit> {
    let predictive = scaling.predictive.as_ref().map(|rule| rule.requests_per_origin);
    let requests = predictive.or(scaling.reactive.as_ref().map(|rule| rule.requests_per_origin))?;
    Some(Unit::of(requests, scaling))
}
