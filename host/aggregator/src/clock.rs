//! Two clocks. Ages go by the one that nobody sets ([`Clock::now`]): time-outs, staleness, holds. Records and
//! schedules go by the wall clock, which may be set by a person, by NTP, or by a machine that was asleep.
//!
//! The first begins at what the wall clock showed when the aggregator started, and goes on with the machine's
//! monotonic clock. How far the wall clock is ahead of it is measured anew whenever somebody looks, so small
//! corrections cannot add up unseen.

mod monotonic;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use scaler::wall::Wall;

/// Less than this is the noise of reading two clocks one after the other, in milliseconds.
const LEAST_STEP: i64 = 100;
/// Whoever was kept waiting for so long between two readings has not read one moment, in milliseconds.
const LONGEST_READING: i64 = 10;

/// Cheap to clone: all clones are one clock. Its instants are whole milliseconds, as those in records are.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Our instants are so far ahead of the monotonic clock, in milliseconds.
    anchor: i64,
    /// How far the wall clock was ahead of us when it was looked at last, in milliseconds.
    ahead: AtomicI64,
}

impl Clock {
    pub fn start() -> Clock {
        Clock::of(monotonic::milliseconds(), Timestamp::now().as_millisecond())
    }

    /// Starts when the monotonic and the wall clock show these.
    pub(crate) fn of(monotonic: i64, wall: i64) -> Clock {
        Clock(Arc::new(Shared { anchor: wall - monotonic, ahead: AtomicI64::new(0) }))
    }

    /// Never set, and never goes back.
    pub fn now(&self) -> Timestamp {
        self.of_monotonic(monotonic::milliseconds())
    }

    /// Compares with the wall clock: by how much it was set since, if it was.
    pub fn look(&self) -> Option<SignedDuration> {
        let before = monotonic::milliseconds();
        let wall = Timestamp::now().as_millisecond();
        if monotonic::milliseconds() - before > LONGEST_READING {
            return None;
        }
        self.compare(before, wall)
    }

    fn compare(&self, monotonic: i64, wall: i64) -> Option<SignedDuration> {
        let ahead = wall.saturating_sub(self.0.anchor.saturating_add(monotonic));
        let by = ahead.saturating_sub(self.0.ahead.load(Ordering::Relaxed));
        if by.abs() < LEAST_STEP {
            return None;
        }
        self.0.ahead.store(ahead, Ordering::Relaxed);
        Some(SignedDuration::from_millis(by))
    }

    /// The wall clock as it was looked at last.
    pub fn wall(&self) -> Wall {
        Wall::new(SignedDuration::from_millis(self.0.ahead.load(Ordering::Relaxed)))
    }

    /// What the machine's monotonic clock shows at `at`, in milliseconds: the same for every process, until the
    /// machine starts anew.
    pub fn to_monotonic(&self, at: Timestamp) -> i64 {
        at.as_millisecond().saturating_sub(self.0.anchor)
    }

    pub fn of_monotonic(&self, milliseconds: i64) -> Timestamp {
        let at = self.0.anchor.saturating_add(milliseconds);
        Timestamp::from_millisecond(at).unwrap_or(if at < 0 { Timestamp::MIN } else { Timestamp::MAX })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_772_452_800_000;
    const HOUR: i64 = 3_600_000;

    #[test]
    fn a_step_is_told_once_and_what_passed_is_no_step() {
        let clock = Clock::of(5_000, NOON);
        assert_eq!(clock.compare(65_000, NOON + 60_000), None, "a minute has passed by both");
        for by in [HOUR, -HOUR, 365 * 24 * HOUR, -365 * 24 * HOUR] {
            let clock = Clock::of(5_000, NOON);
            assert_eq!(clock.compare(5_010, NOON + 10 + by), Some(SignedDuration::from_millis(by)));
            assert_eq!(clock.compare(6_000, NOON + 1_000 + by), None);
            assert_eq!(clock.of_monotonic(6_000).as_millisecond(), NOON + 1_000, "it goes on as before");
            assert_eq!(clock.wall().shows(clock.of_monotonic(6_000)).as_millisecond(), NOON + 1_000 + by);
        }
    }

    #[test]
    fn small_corrections_are_seen_once_they_add_up() {
        let clock = Clock::of(0, NOON);
        let mut told = SignedDuration::ZERO;
        // Ten minutes in which the wall clock gains a hundredth, a second at a time.
        for second in 1..=600 {
            let by = clock.compare(second * 1_000, NOON + second * 1_010);
            told += by.unwrap_or(SignedDuration::ZERO);
        }
        assert_eq!(told, SignedDuration::from_secs(6));
    }

    #[test]
    fn instants_are_the_same_by_way_of_the_monotonic_clock() {
        let clock = Clock::start();
        let now = clock.now();
        assert_eq!(clock.of_monotonic(clock.to_monotonic(now)), now);
        let text = format!("{now:.3}");
        assert_eq!(text.parse::<Timestamp>().unwrap(), now, "and by way of a record");
    }
}
