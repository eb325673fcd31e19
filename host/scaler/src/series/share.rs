//! What one edge saw of a pool in late seconds.

use super::Level;

/// So many seconds back shares are kept by edge: two steps of 15 s, and what it takes to look at them.
pub(super) const KEPT_SECONDS: i64 = SLOTS as i64;
const SLOTS: usize = 32;

/// In a part of a second, or in several.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Share {
    /// Milliseconds that its reports cover; more than there are where they overlap.
    pub covered_ms: f64,
    pub requests: f64,
    pub rejects: f64,
    pub errors: f64,
    /// Requests that its requests count for beyond what they are.
    pub cost: f64,
}

impl Share {
    pub fn add(&mut self, other: &Share) {
        self.covered_ms += other.covered_ms;
        self.requests += other.requests;
        self.rejects += other.rejects;
        self.errors += other.errors;
        self.cost += other.cost;
    }

    /// Per second that was covered, of so many edges together.
    pub fn level(&self, edges: f64) -> Level {
        let scale = 1000.0 * edges / self.covered_ms;
        Level {
            requests: self.requests * scale,
            rejects: self.rejects * scale,
            errors: self.errors * scale,
            cost: self.cost * scale,
        }
    }
}

/// The last seconds of one edge: a ring by the second.
#[derive(Clone, Debug)]
pub(super) struct Recent {
    slots: [(i64, Share); SLOTS],
    last: i64,
    /// When it left, in milliseconds: it sees nothing from then on, and that is as good as reported.
    left: Option<i64>,
}

impl Default for Recent {
    fn default() -> Recent {
        Recent { slots: [(i64::MIN, Share::default()); SLOTS], last: i64::MIN, left: None }
    }
}

impl Recent {
    fn slot(second: i64) -> usize {
        second.rem_euclid(KEPT_SECONDS) as usize
    }

    pub fn add(&mut self, second: i64, share: &Share) {
        let slot = &mut self.slots[Recent::slot(second)];
        if slot.0 != second {
            *slot = (second, Share::default());
        }
        slot.1.add(share);
        self.last = self.last.max(second);
        self.left = None;
    }

    pub fn leave(&mut self, at: i64) {
        self.left = Some(at);
    }

    fn of(&self, second: i64) -> Option<&Share> {
        let (found, share) = &self.slots[Recent::slot(second)];
        (*found == second).then_some(share)
    }

    /// Milliseconds between these two in which it was known to see nothing.
    fn nothing_ms(&self, from: i64, to: i64) -> f64 {
        self.left.map_or(0, |left| (to - left.max(from)).max(0)) as f64
    }

    /// Of a second that is over.
    pub fn whole(&self, second: i64) -> Option<Share> {
        let mut share = *self.of(second)?;
        share.covered_ms += self.nothing_ms(second * 1000, (second + 1) * 1000);
        Some(share)
    }

    /// The last second that it reported.
    pub fn last(&self) -> i64 {
        self.last
    }

    /// Of the seconds from `from` up to `to`; `None` if it reported none of them. `until`: the millisecond that any
    /// report went up to.
    pub fn sum(&self, from: i64, to: i64, until: i64) -> Option<Share> {
        let mut sum = Share::default();
        if self.last < from {
            return None;
        }
        let first = from.max(self.last - KEPT_SECONDS + 1);
        for share in (first..to.min(self.last + 1)).filter_map(|second| self.of(second)) {
            sum.add(share);
        }
        sum.covered_ms += self.nothing_ms(from * 1000, until.min(to * 1000));
        (sum.covered_ms > 0.0).then_some(sum)
    }

    /// Takes out what was noted for these seconds.
    pub fn forget(&mut self, seconds: impl Fn(i64) -> bool) {
        for slot in self.slots.iter_mut().filter(|slot| slot.0 != i64::MIN && seconds(slot.0)) {
            *slot = (i64::MIN, Share::default());
        }
        self.last = self.slots.iter().map(|slot| slot.0).max().unwrap_or(i64::MIN);
    }
}
