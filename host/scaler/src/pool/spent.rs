//! What a pool's month has cost, over runs of the aggregator.

use jiff::Timestamp;

use super::Pool;
use crate::budget::Month;

impl Pool {
    /// What an earlier run had spent in a month, until `at`.
    pub fn recall_spent(&mut self, month: &Month, at: Timestamp) {
        // Listed origins run whatever became of the others.
        let running = month.running.max(self.listed());
        if let Some(budget) = &mut self.budget {
            budget.recall(&Month { running, ..month.clone() }, self.wall.instant(at));
        }
    }

    /// What was spent in the month so far, and until when; `None` without a ceiling.
    pub fn spent(&self) -> Option<(Timestamp, Month)> {
        self.budget.as_ref()?.counted(self.wall)
    }
}
