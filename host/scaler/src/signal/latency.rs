//! How long answers took, over a window: what edges counted on their common scale, added up in slots of 5 s.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use crate::stamp;

const SLOT_SECONDS: i64 = 5;
/// Windows that are asked for are no longer.
const KEPT_SECONDS: i64 = 600;

#[derive(Debug, Default)]
pub struct Latencies {
    slots: VecDeque<(i64, BTreeMap<u64, u64>)>,
}

/// A quantile, or that too few answers came for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quantile {
    /// In seconds.
    Of(f64),
    /// So many came, and so many are needed: with fewer it is the time of the slowest, whoever that was.
    Few { answers: u64, needed: u64 },
}

impl Latencies {
    pub fn add(&mut self, counts: &[(u64, u64)], now: Timestamp) {
        let slot = now.as_second().div_euclid(SLOT_SECONDS);
        // Slots ahead are of a clock that was set back.
        self.slots.retain(|(then, _)| *then <= slot && slot - then <= KEPT_SECONDS / SLOT_SECONDS);
        if counts.is_empty() {
            return;
        }
        if self.slots.back().is_none_or(|(then, _)| *then != slot) {
            self.slots.push_back((slot, BTreeMap::new()));
        }
        if let Some((_, held)) = self.slots.back_mut() {
            for (micros, count) in counts {
                *held.entry(*micros).or_default() += count;
            }
        }
    }

    /// Of the answers in the slots that the `window` before `now` touches.
    pub fn quantile(&self, quantile: f64, window: Duration, now: Timestamp) -> Quantile {
        let first = stamp::earlier(now, window).as_second().div_euclid(SLOT_SECONDS);
        let last = now.as_second().div_euclid(SLOT_SECONDS);
        let mut all: BTreeMap<u64, u64> = BTreeMap::new();
        for (_, held) in self.slots.iter().filter(|(slot, _)| (first..=last).contains(slot)) {
            for (micros, count) in held {
                *all.entry(*micros).or_default() += count;
            }
        }
        let answers: u64 = all.values().sum();
        let needed = libm::ceil(1.0 / (1.0 - quantile).max(1e-3) * (1.0 - 1e-9)) as u64;
        if answers < needed {
            return Quantile::Few { answers, needed };
        }
        let rank = (libm::ceil(quantile * answers as f64) as u64).clamp(1, answers);
        let mut seen = 0;
        let found = all.iter().find(|(_, count)| {
            seen += **count;
            seen >= rank
        });
        Quantile::Of(found.map_or(0, |(micros, _)| *micros) as f64 / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_of_all_edges_and_of_the_window_alone() {
        let mut latencies = Latencies::default();
        let at = |second: i64| Timestamp::from_second(1_000_000 + second).unwrap();
        let window = Duration::from_secs(30);
        latencies.add(&[(5_000, 900)], at(0));
        latencies.add(&[(5_000, 90), (400_000, 10)], at(2));
        assert_eq!(latencies.quantile(0.99, window, at(3)), Quantile::Of(0.005));
        latencies.add(&[(400_000, 5)], at(4));
        assert_eq!(latencies.quantile(0.99, window, at(5)), Quantile::Of(0.4), "15 of 1005 are slow");
        assert_eq!(latencies.quantile(0.5, window, at(5)), Quantile::Of(0.005));
        latencies.add(&[(7_000, 100)], at(60));
        assert_eq!(latencies.quantile(0.99, window, at(60)), Quantile::Of(0.007));
        assert_eq!(latencies.quantile(0.99, window, at(100)), Quantile::Few { answers: 0, needed: 100 });
        latencies.add(&[(9_000, 99)], at(200));
        assert_eq!(latencies.quantile(0.99, window, at(200)), Quantile::Few { answers: 99, needed: 100 });
    }
}
