//! The wall clock, beside the clock that ages go by.
//!
//! `now` is of a clock that nobody sets, so a step of the wall clock makes nothing older or younger: no time-out
//! passes and no report goes stale by it. Only what people mean goes by the wall clock: schedules, holds until
//! an instant, and what records and views say.

use jiff::{SignedDuration, Timestamp};

/// How far the wall clock is ahead of `now`; behind it, if negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wall {
    ahead: SignedDuration,
}

impl Wall {
    pub fn new(ahead: SignedDuration) -> Wall {
        Wall { ahead }
    }

    /// What the wall clock shows at the instant `at`, or the nearest that there is.
    pub fn shows(self, at: Timestamp) -> Timestamp {
        let nearest = if self.ahead.is_negative() { Timestamp::MIN } else { Timestamp::MAX };
        at.checked_add(self.ahead).unwrap_or(nearest)
    }

    /// How far it is ahead, in the nearest whole steps of so many seconds.
    pub fn steps(self, seconds: i64) -> i64 {
        (self.ahead.as_secs() + seconds / 2).div_euclid(seconds)
    }

    /// The instant at which the wall clock shows `at`.
    pub fn instant(self, at: Timestamp) -> Timestamp {
        // Negating overflows for the least alone, which is no distance of two timestamps.
        Wall { ahead: self.ahead.checked_neg().unwrap_or(SignedDuration::MAX) }.shows(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_shows_what_it_was_set_to_and_never_overflows() {
        let noon: Timestamp = "2026-03-02T12:00:00Z".parse().unwrap();
        for hours in [0, 1, -1, 24 * 365, -24 * 365] {
            let wall = Wall::new(SignedDuration::from_hours(hours));
            assert_eq!(wall.shows(noon).duration_since(noon), SignedDuration::from_hours(hours));
            assert_eq!(wall.instant(wall.shows(noon)), noon);
            assert_eq!(wall.steps(15), hours * 240);
        }
        assert_eq!(Wall::new(SignedDuration::MAX).shows(noon), Timestamp::MAX);
        assert_eq!(Wall::new(SignedDuration::MIN).shows(noon), Timestamp::MIN);
        assert_eq!(Wall::new(SignedDuration::MIN).instant(noon), Timestamp::MAX);
    }
}
