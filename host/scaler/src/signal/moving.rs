//! A mean that forgets, of one edge or origin: of samples that come when they come, without keeping them.

use std::time::Duration;

use jiff::Timestamp;

use crate::stamp;

/// The mean age of what it holds is that of a window's mean: each sample fades with half a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moving {
    pub value: f64,
    pub at: Timestamp,
}

impl Moving {
    pub fn new(value: f64, now: Timestamp) -> Moving {
        Moving { value, at: now }
    }

    /// Takes what held for the `span` before `now`.
    pub fn take(&mut self, value: f64, span: Duration, window: Duration, now: Timestamp) {
        let fades = (window.as_secs_f64() / 2.0).max(1e-3);
        let weight = -libm::expm1(-span.as_secs_f64() / fades);
        self.value += weight * (value - self.value);
        self.at = now;
    }

    /// What is left of it in a window where nothing has come since.
    pub fn faded(&self, window: Duration, now: Timestamp) -> f64 {
        let fades = (window.as_secs_f64() / 2.0).max(1e-3);
        self.value * libm::exp(-self.age(now).as_secs_f64() / fades)
    }

    pub fn age(&self, now: Timestamp) -> Duration {
        stamp::age(now, self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_with_the_first_sample_and_comes_to_the_later_ones_within_two_windows() {
        let (window, second) = (Duration::from_secs(30), Duration::from_secs(1));
        let mut now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut moving = Moving::new(8.0, now);
        assert_eq!(moving.value, 8.0);
        for _ in 0..60 {
            now = stamp::later(now, second);
            moving.take(20.0, second, window, now);
        }
        assert!((19.7..20.0).contains(&moving.value), "{moving:?}");
        // One report for a minute says as much as sixty.
        let mut other = Moving::new(8.0, now);
        other.take(20.0, Duration::from_secs(60), window, now);
        assert!((other.value - moving.value).abs() < 1e-9);
    }
}
