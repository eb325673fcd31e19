//! What other autoscalers would have in a live pool now: each decides over the same demand, in a pool of its own
//! that is only thought, so that what it has is what it would have made of it and not of what we did.
//!
//! They are an HPA by requests and target tracking, at the settings of the reference simulator's table: half of
//! what an origin can carry, where the predictive rule says how much that is. Where only the reactive rule
//! says what an origin *should* carry, that is already such a target, and they take it whole.

use config::region::Scaling;
use serde::{Deserialize, Serialize};

use super::{Kind, Now, Passed, Past, Peer, Spec};
use crate::lead::Figures;
use crate::policy::View;
use crate::policy::predictive::{STEP_SECONDS, demand, step_of};
use crate::replay::Lives;
use crate::replay::stack::{Moved, Stack};
use crate::signal::Unit;
use crate::trial;

/// After a longer gap (or a clock set so far ahead) the steps between are nobody's: an hour.
const LONGEST_GAP: i64 = 3600 / STEP_SECONDS;
const KINDS: [Kind; 2] = [Kind::Hpa, Kind::Target];
/// Of what an origin can carry: the defaults of whoever does not tune.
const HALF: f64 = 0.5;

/// What one of them would have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerCount {
    /// Its kind and its target in percent of what an origin carries: `hpa:50`, `tt:50`.
    pub rule: String,
    pub origins: u32,
}

/// One at work.
#[derive(Debug)]
struct Other {
    spec: Spec,
    peer: Peer,
    past: Past,
    stack: Stack,
    /// The step that it has decided on, and what that made of its pool.
    step: usize,
    moved: Moved,
}

impl Other {
    /// Begins with so many that have served for long.
    fn new(spec: Spec, count: u32, lives: &Lives) -> Other {
        let mut stack = Stack::new(count);
        let moved = stack.step(lives, count);
        Other { spec, peer: Peer::new(spec, &[], 0, lives), past: Past::new(lives), stack, step: 0, moved }
    }

    /// The step that it has decided on is over, and brought so much; it decides on the next.
    fn pass(&mut self, demand: f64, lives: &Lives, ceiling: u32) {
        let used = demand.min(self.moved.capacity);
        self.past.push(Passed { demand, used, ready: f64::from(self.moved.ready) });
        self.step += 1;
        let now = Now { step: self.step, ready: self.stack.ready(lives), total: self.stack.total() };
        let wanted = self.peer.step(now, &self.past).min(ceiling);
        self.moved = self.stack.step(lives, wanted);
    }

    /// A step that nobody knows: none of them moves without a metric, and origins boot on.
    fn wait(&mut self, lives: &Lives) {
        self.moved = self.stack.step(lives, self.stack.total());
    }
}

/// Those beside one pool.
#[derive(Debug)]
pub struct Beside {
    others: Vec<Other>,
    lives: Lives,
    ceiling: u32,
    /// What one origin carries.
    unit: Unit,
    /// The first step that they were not told of; `None` before the first look.
    next: Option<i64>,
}

impl Beside {
    /// They begin with the count that stands. `None` if no rule says what an origin carries.
    pub fn of(scaling: &Scaling, count: u32) -> Option<Beside> {
        let (unit, lives) = (trial::unit(scaling)?, lives(scaling));
        let target = if scaling.predictive.is_some() { HALF } else { 1.0 };
        let other = |kind| Other::new(Spec { kind, target }, count, &lives);
        Some(Beside { others: KINDS.map(other).into(), lives, ceiling: scaling.ceiling, unit, next: None })
    }

    /// Whether they decided as they would under `scaling`.
    pub fn suits(&self, scaling: &Scaling) -> bool {
        let floor = lives(scaling).floor;
        (Some(&self.unit), self.lives.floor, self.ceiling) == (trial::unit(scaling).as_ref(), floor, scaling.ceiling)
    }

    /// How long origins take now.
    pub fn relive(&mut self, figures: &Figures) {
        self.lives = figures.lives(self.lives.floor);
    }

    /// Tells them of every step that is over, once.
    pub fn settle(&mut self, view: &View) {
        let current = step_of(view.now);
        let next = *self.next.get_or_insert(current);
        // A clock that was set back: the steps come again, and are not told twice.
        for step in next.max(current - LONGEST_GAP)..current {
            let demand = demand(step, view, &self.unit);
            self.pass(demand.map(|demand| demand * self.unit.scale(view.demand)));
        }
        self.next = Some(next.max(current));
    }

    /// A step of so much demand, in origins; `None`: nobody knows.
    pub fn pass(&mut self, demand: Option<f64>) {
        for other in &mut self.others {
            match demand {
                Some(demand) => other.pass(demand, &self.lives, self.ceiling),
                None => other.wait(&self.lives),
            }
        }
    }

    pub fn counts(&self) -> Vec<PeerCount> {
        let count = |other: &Other| PeerCount { rule: other.spec.to_string(), origins: other.moved.total };
        self.others.iter().map(count).collect()
    }
}

/// None of them goes to nothing: they would never see a reason to come back.
fn lives(scaling: &Scaling) -> Lives {
    let lives = trial::lives(scaling);
    Lives { floor: lives.floor.max(1), ..lives }
}
