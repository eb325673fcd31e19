//! The pool step by step. Launches are kept by age, the youngest last: removal pops.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::Lives;

/// Launched together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Batch {
    age: u32,
    count: u32,
}

/// Origins of one pool, by age.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stack {
    /// Past boot and warm-up.
    full: u32,
    /// Not yet: oldest first.
    young: VecDeque<Batch>,
    total: u32,
    /// Of each step of the drain, how many were removed in it, the latest last.
    drains: VecDeque<u32>,
    draining: u32,
}

/// What a step changed, and what the pool is during it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moved {
    pub launched: u32,
    pub removed: u32,
    /// In origins.
    pub capacity: f64,
    /// Origins that are paid, those that drain included.
    pub billed: u32,
    /// Past boot.
    pub ready: u32,
    /// Past boot and warm-up.
    pub full: u32,
    pub total: u32,
}

impl Stack {
    /// A pool of so many that have served for long.
    pub fn new(count: u32) -> Stack {
        Stack { full: count, young: VecDeque::new(), total: count, drains: VecDeque::new(), draining: 0 }
    }

    /// All that are not draining.
    pub fn total(&self) -> u32 {
        self.total
    }

    /// Those past boot at the start of the step that [`Stack::step`] will make.
    pub fn ready(&self, lives: &Lives) -> u32 {
        let boot = lives.boot_steps() as u32;
        self.full + self.young.iter().filter(|batch| batch.age >= boot).map(|batch| batch.count).sum::<u32>()
    }

    /// One step with so many wanted.
    pub fn step(&mut self, lives: &Lives, wanted: u32) -> Moved {
        let (boot, lead) = (lives.boot_steps() as u32, lives.lead_steps() as u32);
        while self.young.front().is_some_and(|batch| batch.age >= lead) {
            self.full = self.full.saturating_add(self.young.pop_front().map_or(0, |batch| batch.count));
        }
        let wanted = wanted.max(lives.floor);
        let mut moved = Moved::default();
        let mut gone = 0;
        if wanted > self.total {
            moved.launched = wanted - self.total;
            self.young.push_back(Batch { age: 0, count: moved.launched });
        } else if wanted < self.total {
            moved.removed = self.total - wanted;
            gone = self.remove(moved.removed, boot);
        }
        self.total = wanted;
        self.drain(gone, lives.drain_steps());

        let mut capacity = f64::from(self.full);
        let mut ready = self.full;
        for batch in &mut self.young {
            if batch.age >= boot {
                ready = ready.saturating_add(batch.count);
                capacity += f64::from(batch.count) * lives.ramp((batch.age - boot) as usize);
            }
            batch.age = batch.age.saturating_add(1);
        }
        moved.capacity = capacity;
        moved.ready = ready;
        moved.full = self.full;
        moved.total = self.total;
        moved.billed = self.total.saturating_add(self.draining);
        moved
    }

    /// Youngest first; answers how many of them had booted, which drain.
    fn remove(&mut self, mut count: u32, boot: u32) -> u32 {
        let mut gone = 0;
        while count > 0 {
            let Some(youngest) = self.young.back_mut() else { break };
            let taken = youngest.count.min(count);
            if youngest.age >= boot {
                gone += taken;
            }
            count -= taken;
            youngest.count -= taken;
            if youngest.count == 0 {
                self.young.pop_back();
            }
        }
        // A stack that was read from a damaged disk may not add up: it shall not end the process.
        self.full = self.full.saturating_sub(count);
        gone.saturating_add(count)
    }

    fn drain(&mut self, gone: u32, steps: usize) {
        if gone == 0 && self.draining == 0 {
            return;
        }
        self.drains.push_back(gone);
        self.draining = self.draining.saturating_add(gone);
        while self.drains.len() > steps {
            self.draining = self.draining.saturating_sub(self.drains.pop_front().unwrap_or(0));
        }
        if self.draining == 0 {
            self.drains.clear();
        }
    }
}
