//! The candidates' pools. In each step every one of them decides, and pays for what the step
//! before brought.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::candidate::Grid;
use super::ledger::{Ledger, Paid};
use crate::forecast::Bounds;
use crate::replay::Lives;
use crate::replay::excess::quick_excess;
use crate::replay::stack::Stack;

/// What the present load needs at least, whatever a forecast says.
pub const REACTIVE: f64 = 1.05;
/// A pool that nobody has sized is half used.
const FIRST_USE: f64 = 0.5;

/// The largest count of late, for windows of several lengths: a falling queue.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Held(VecDeque<(u64, u32)>);

impl Held {
    pub fn push(&mut self, step: u64, count: u32, longest: usize) {
        while self.0.back().is_some_and(|(_, other)| *other <= count) {
            self.0.pop_back();
        }
        self.0.push_back((step, count));
        while self.0.front().is_some_and(|(then, _)| then + (longest as u64) < step) {
            self.0.pop_front();
        }
    }

    /// The largest of this step and the `window` before it.
    pub fn most(&self, step: u64, window: usize) -> u32 {
        let within = self.0.iter().find(|(then, _)| then + window as u64 >= step);
        within.map_or(0, |(_, count)| *count)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Shadow {
    stack: Stack,
    wanted: u32,
    capacity: f64,
    billed: u32,
}

/// One row of the grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    quantile: Option<usize>,
    headroom: f64,
    held: Held,
    shadows: Vec<Shadow>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shadows {
    lives: Lives,
    columns: Vec<(usize, f64)>,
    longest: usize,
    rows: Vec<Row>,
    steps: u64,
}

impl Shadows {
    pub fn new(lives: Lives, grid: Grid) -> Shadows {
        let row = |(quantile, headroom)| Row { quantile, headroom, held: Held::default(), shadows: Vec::new() };
        Shadows {
            lives,
            columns: grid.columns(),
            longest: grid.holds.iter().copied().max().unwrap_or(0),
            rows: grid.rows().into_iter().map(row).collect(),
            steps: 0,
        }
    }

    /// Other lives, and holds that follow from them. The thought pools live on: who boots there is as old as it was.
    pub fn relive(&mut self, lives: Lives, grid: &Grid) {
        self.lives = lives;
        self.columns = grid.columns();
        self.longest = grid.holds.iter().copied().max().unwrap_or(0);
    }

    /// What the step that ended cost each candidate.
    pub fn settle(&self, demand: f64, ledger: &mut Ledger) {
        if self.steps == 0 {
            return;
        }
        ledger.step(demand);
        for (at, shadow) in self.rows.iter().flat_map(|row| &row.shadows).enumerate() {
            let lost = quick_excess(demand, shadow.capacity, self.lives.spread);
            ledger.add(at, Paid { billed: f64::from(shadow.billed), lost });
        }
    }

    /// Each candidate decides.
    pub fn step(&mut self, bounds: &Bounds) {
        if self.steps == 0 {
            let start = count(bounds.level / FIRST_USE).max(self.lives.floor);
            let fresh = Shadow { stack: Stack::new(start), wanted: start, capacity: f64::from(start), billed: start };
            for row in &mut self.rows {
                row.shadows = vec![fresh.clone(); self.columns.len()];
            }
        }
        for row in &mut self.rows {
            let wanted = wanted(bounds, row.quantile, row.headroom);
            row.held.push(self.steps, wanted, self.longest);
            for (shadow, (hold, band)) in row.shadows.iter_mut().zip(&self.columns) {
                shadow.wanted = settled(shadow.wanted, row.held.most(self.steps, *hold), *band);
                let moved = shadow.stack.step(&self.lives, shadow.wanted);
                (shadow.capacity, shadow.billed) = (moved.capacity, moved.billed);
            }
        }
        self.steps += 1;
    }

    pub fn wanted(&self, candidate: usize) -> u32 {
        let columns = self.columns.len().max(1);
        let row = self.rows.get(candidate / columns);
        row.and_then(|row| row.shadows.get(candidate % columns)).map_or(0, |shadow| shadow.wanted)
    }
}

/// What a bound (`None`: the level) and a headroom want, before any hold.
pub fn wanted(bounds: &Bounds, quantile: Option<usize>, headroom: f64) -> u32 {
    // Of a row that was read from a damaged disk there may be no such bound: it shall not end the process.
    let base = quantile.and_then(|quantile| bounds.upper.get(quantile)).copied().unwrap_or(bounds.level);
    count((base * headroom).max(bounds.level * REACTIVE))
}

/// Up at once; down only as far as the top of the band.
pub fn settled(stands: u32, wanted: u32, band: f64) -> u32 {
    let top = (f64::from(wanted) * (1.0 + band)).round() as u32;
    stands.min(top).max(wanted)
}

/// Origins for a demand: 40.00000000000001 is no reason for one more.
pub fn count(demand: f64) -> u32 {
    (demand - 1e-9).ceil().max(0.0) as u32
}
