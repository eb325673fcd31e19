//! Who may change what runs: without a lease whoever has the pool's lock for good, with one the
//! highest token.

use super::Process;
use super::record::{Lock, Refusal};
use crate::lease::Right;

/// The right to change something, for as long as it lives.
pub struct Entry(pub Option<Lock>);

impl Process {
    /// What was run in the name of another right is not ours any more: it is looked at, or adopted anew.
    pub(super) fn take(&mut self, right: Right) {
        if right == self.right {
            return;
        }
        let children = self.origins.drain(..).filter_map(|origin| origin.child);
        self.former.extend(children);
        (self.right, self.adopted, self.lock, self.fenced, self.told) = (right, false, None, None, false);
    }

    /// `None`, and told: nothing may be changed now.
    pub(super) fn enter(&mut self) -> Option<Entry> {
        if self.lock.is_some() {
            return Some(Entry(None));
        }
        let entered = match self.right {
            Right::Sole => self.records.lock(),
            Right::Token(token) | Right::Lapsed(token) => self.records.enter(token),
            Right::Shadow => return None,
        };
        match entered {
            Ok(lock) => {
                self.told = false;
                Some(Entry(Some(lock)))
            }
            Err(why) => {
                self.refused(&why);
                None
            }
        }
    }

    fn refused(&mut self, why: &Refusal) {
        let state_dir = self.config.state_dir.display();
        if let Refusal::Fenced { highest, .. } = why {
            metrics::counter!("forebay_aggregator_fenced_total", "pool" => self.pool.clone()).increment(1);
            tracing::warn!(pool = self.pool, %state_dir, %why, "not done");
            // Whoever has acted since has changed what runs.
            let right = self.right;
            self.take(Right::Shadow);
            (self.right, self.fenced) = (right, Some(*highest));
        } else if !std::mem::replace(&mut self.told, true) {
            // Under a lease it is a matter of a moment.
            if matches!((why, self.right.token()), (Refusal::Busy, Some(_))) {
                tracing::warn!(pool = self.pool, %state_dir, %why, "the pool waits");
            } else {
                tracing::error!(pool = self.pool, %state_dir, %why, "the pool waits");
            }
        }
    }
}
