//! A share of time: so much may be used in a while, and what comes past it waits.

use std::time::{Duration, Instant};

/// A bucket of time as one instant (GCRA): by when all that was used is made up for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Share(Option<Instant>);

impl Share {
    /// How long until more may be used, where what is made up for within `burst` is free at once.
    pub fn wait(&self, now: Instant, burst: Duration) -> Option<Duration> {
        let over = self.owed(now).checked_sub(burst)?;
        (!over.is_zero()).then_some(over)
    }

    /// `used` is made up for at `share` of the clock.
    pub fn add(&mut self, now: Instant, used: Duration, share: f64) {
        let from = self.0.map_or(now, |by| by.max(now));
        self.0 = Some(from + used.div_f64(share.max(1e-3)));
    }

    /// How long until everything is made up for.
    pub fn owed(&self, now: Instant) -> Duration {
        self.0.map_or(Duration::ZERO, |by| by.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const BURST: Duration = Duration::from_secs(1);

    #[test]
    fn a_share_is_free_at_once_and_then_comes_back_with_time() {
        let (mut share, now) = (Share::default(), Instant::now());
        for _ in 0..10 {
            assert_eq!(share.wait(now, BURST), None);
            share.add(now, 10 * MS, 0.1);
        }
        assert_eq!(share.wait(now, BURST), None, "just used up");
        share.add(now, 10 * MS, 0.1);
        let wait = share.wait(now, BURST).expect("10 ms too much");
        assert!(wait > 99 * MS && wait < 101 * MS, "{wait:?} at a tenth of the clock");
        assert_eq!(share.wait(now + 101 * MS, BURST), None);
        let later = now + 3600 * BURST;
        assert_eq!(share.wait(later, BURST), None);
        // A rest of any length gives no more than the burst.
        share.add(later, 150 * MS, 0.1);
        assert!(share.wait(later, BURST).is_some_and(|wait| wait > 499 * MS));
    }
}
