//! CPU time that several entries of a plugin use together: those of one callback that waits, and all
//! of one exchange.
//!
//! To read a thread's CPU clock costs a system call, and most entries take a few microseconds. So an
//! engine looks at the clock only where its watch struck in an entry; what is used before the strike
//! is not known, and the whole beat between two strikes stands for it (on average that is right).
//! Once what is known and what is estimated come near the limit, each entry is measured by the clock.
//! Only what is known counts against the limit: a plugin is never ended early, and late by about a
//! quarter of its limit and one beat.

use std::time::Duration;

/// What one entry has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Read from the clock.
    pub known: Duration,
    /// What a strike of the watch stands for beside it.
    pub estimated: Duration,
}

impl Spent {
    /// Both: the best that can be said of a sum over many entries.
    pub fn whole(self) -> Duration {
        self.known + self.estimated
    }
}

/// What entries have used together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meter {
    known: Duration,
    estimated: Duration,
}

impl Meter {
    #[inline]
    pub fn add(&mut self, spent: Spent) {
        self.known += spent.known;
        self.estimated += spent.estimated;
    }

    /// Whether the next entry is to be measured from its beginning.
    #[inline]
    pub fn is_near(&self, limit: Duration) -> bool {
        let used = self.known + self.estimated;
        // Nearly every entry: no division.
        !used.is_zero() && used >= limit / 4
    }

    pub fn known(&self) -> Duration {
        self.known
    }

    #[inline]
    pub fn left(&self, limit: Duration) -> Duration {
        limit.saturating_sub(self.known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_is_estimated_ends_nobody_and_brings_the_clock() {
        let mut meter = Meter::default();
        assert!(!meter.is_near(40 * MS));
        for _ in 0..5 {
            meter.add(Spent { known: Duration::ZERO, estimated: 2 * MS });
        }
        assert!(meter.is_near(40 * MS));
        assert_eq!(meter.left(40 * MS), 40 * MS);
        meter.add(Spent { known: 41 * MS, estimated: Duration::ZERO });
        assert_eq!((meter.left(40 * MS), meter.known()), (Duration::ZERO, 41 * MS));
    }
}
