//! Cumulative counts that one worker writes and the control thread reads: the raw material of
//! reports. Nothing is ever reset, so each reader subtracts what it saw before.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A count with one writer. Adding is a plain load and store: a read-modify-write would lock
/// the line for nothing, since no other thread writes it.
#[derive(Debug, Default)]
pub struct Tally(AtomicU64);

impl Tally {
    pub fn add(&self, by: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
    }

    pub fn sub(&self, by: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(by), Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one worker counts for one pool; on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct PoolLoad {
    /// Offered: refused ones included.
    pub requests: Tally,
    /// Refused by the edge, or shed by an origin with 503.
    pub rejects: Tally,
    /// Answered with 500 and up, or not answered by an origin that was asked.
    pub errors: Tally,
    /// Attempts that were given to an origin: retries included.
    pub attempts: Tally,
    /// Attempts without an answer.
    pub failures: Tally,
    pub retries: Tally,
    /// Exchanges with an origin now.
    pub in_flight: Tally,
    pub latency: Latency,
}

/// What one worker counts for one origin.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct OriginLoad {
    pub requests: Tally,
    pub in_flight: Tally,
    pub latency: MovingMean,
}

/// A mean in which the newest sample counts a sixteenth (the first ones more, so that it begins
/// where they are). Of one writer, as a [`Tally`].
#[derive(Debug, Default)]
pub struct MovingMean {
    samples: Tally,
    nanos: AtomicU64,
}

impl MovingMean {
    const SPAN: u64 = 16;

    pub fn record(&self, took: Duration) {
        self.samples.add(1);
        let took = i64::try_from(took.as_nanos()).unwrap_or(i64::MAX / 2);
        let before = self.nanos.load(Ordering::Relaxed) as i64;
        let mean = before + (took - before) / self.weight() as i64;
        self.nanos.store(mean as u64, Ordering::Relaxed);
    }

    /// How many samples it stands for.
    fn weight(&self) -> u64 {
        self.samples.get().min(MovingMean::SPAN)
    }

    /// The mean of several workers' means; `None` if none of them has a sample.
    pub fn of<'a>(means: impl Iterator<Item = &'a MovingMean>) -> Option<Duration> {
        let (mut weight, mut sum) = (0, 0u128);
        for mean in means {
            weight += u128::from(mean.weight());
            sum += u128::from(mean.nanos.load(Ordering::Relaxed)) * u128::from(mean.weight());
        }
        (weight > 0).then(|| Duration::from_nanos((sum / weight) as u64))
    }
}

/// Buckets per power of two: values within a bucket differ by at most 1/32.
const STEPS: u64 = 32;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Longer ones count as this long: 134 s.
const LONGEST_US: u64 = (1 << 27) - 1;
/// Buckets that are one step of a report: within an eighth.
const COARSER: usize = 4;
const BUCKETS: usize = ((27 - STEP_BITS + 1) as usize) << STEP_BITS;

/// A latency histogram on a logarithmic scale, in microseconds. Fixed buckets and not a sketch
/// that grows, because two states of it can be subtracted: each aggregator gets the quantile of
/// exactly the period that it has not seen, and recording takes no lock.
#[derive(Debug)]
pub struct Latency {
    sum_us: Tally,
    buckets: Box<[Tally]>,
}

impl Default for Latency {
    fn default() -> Latency {
        Latency { sum_us: Tally::default(), buckets: (0..BUCKETS).map(|_| Tally::default()).collect() }
    }
}

impl Latency {
    pub fn record(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(LONGEST_US).min(LONGEST_US);
        self.sum_us.add(us);
        self.buckets[bucket(us)].add(1);
    }
}

fn bucket(us: u64) -> usize {
    if us < STEPS {
        return us as usize;
    }
    let shift = us.ilog2() - STEP_BITS;
    ((shift as usize + 1) << STEP_BITS) + ((us >> shift) & (STEPS - 1)) as usize
}

/// The middle of a bucket, in microseconds.
fn middle(bucket: usize) -> f64 {
    if bucket < STEPS as usize {
        return bucket as f64;
    }
    let shift = (bucket >> STEP_BITS) as u32 - 1;
    let low = (STEPS + (bucket as u64 & (STEPS - 1))) << shift;
    low as f64 + ((1u64 << shift) - 1) as f64 / 2.0
}

/// A state of one or more [`Latency`]s, or the difference of two.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LatencyCount {
    sum_us: u64,
    buckets: Vec<u64>,
}

impl LatencyCount {
    pub fn add(&mut self, latency: &Latency) {
        self.buckets.resize(BUCKETS, 0);
        self.sum_us += latency.sum_us.get();
        for (mine, theirs) in self.buckets.iter_mut().zip(&latency.buckets) {
            *mine += theirs.get();
        }
    }

    /// What came after `earlier`, which must be an earlier state of the same.
    pub fn since(&self, earlier: &LatencyCount) -> LatencyCount {
        let before = |i: usize| earlier.buckets.get(i).copied().unwrap_or(0);
        LatencyCount {
            sum_us: self.sum_us.saturating_sub(earlier.sum_us),
            buckets: self.buckets.iter().enumerate().map(|(i, n)| n.saturating_sub(before(i))).collect(),
        }
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    pub fn sum_ms(&self) -> f64 {
        self.sum_us as f64 / 1e3
    }

    /// Answers by how long they took, in microseconds, on a scale that is four times as coarse: for aggregators,
    /// which add up those of all edges.
    pub fn steps(&self) -> Vec<(u64, u64)> {
        let step = |(at, counts): (usize, &[u64])| {
            let count: u64 = counts.iter().sum();
            let (first, last) = (middle(at * COARSER), middle((at + 1) * COARSER - 1));
            (count > 0).then_some((((first + last) / 2.0).round() as u64, count))
        };
        self.buckets.chunks(COARSER).enumerate().filter_map(step).collect()
    }

    /// Milliseconds that the fraction `q` does not exceed, within 1/64; 0 if nothing was
    /// measured.
    pub fn quantile_ms(&self, q: f64) -> f64 {
        let count = self.count();
        if count == 0 {
            return 0.0;
        }
        let rank = ((q * count as f64).ceil() as u64).clamp(1, count);
        let mut seen = 0;
        let at = self.buckets.iter().position(|n| {
            seen += n;
            seen >= rank
        });
        at.map_or(0.0, |at| middle(at) / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(latency: &Latency) -> LatencyCount {
        let mut count = LatencyCount::default();
        count.add(latency);
        count
    }

    #[test]
    fn a_quantile_is_within_a_thirty_second_of_the_truth() {
        for scale in [1u64, 7, 130, 4_000, 90_000] {
            let latency = Latency::default();
            (1..=1000).for_each(|i| latency.record(Duration::from_micros(i * scale)));
            let count = state(&latency);
            for q in [0.5, 0.9, 0.99, 1.0] {
                let truth = (q * 1000.0) * scale as f64 / 1e3;
                let found = count.quantile_ms(q);
                assert!((found - truth).abs() <= truth / 32.0, "q {q} scale {scale}: {found} for {truth}");
            }
            assert_eq!(count.count(), 1000);
            assert_eq!(count.sum_ms(), (500_500 * scale) as f64 / 1e3);
        }
    }

    #[test]
    fn a_moving_mean_begins_with_its_first_sample_and_follows_the_later_ones() {
        let (one, other) = (MovingMean::default(), MovingMean::default());
        assert_eq!(MovingMean::of([&one, &other].into_iter()), None);
        one.record(Duration::from_millis(8));
        one.record(Duration::from_millis(4));
        assert_eq!(MovingMean::of([&one, &other].into_iter()), Some(Duration::from_millis(6)));
        (0..200).for_each(|_| one.record(Duration::from_millis(100)));
        let mean = MovingMean::of([&one].into_iter()).unwrap();
        assert!(mean > Duration::from_millis(99) && mean <= Duration::from_millis(100), "{mean:?}");
        // The other's one sample counts as one of seventeen.
        other.record(Duration::from_millis(1_800));
        let both = MovingMean::of([&one, &other].into_iter()).unwrap();
        assert!(both > Duration::from_millis(198) && both <= Duration::from_millis(200), "{both:?}");
    }

    #[test]
    fn a_difference_holds_only_what_came_after() {
        let latency = Latency::default();
        (0..100).for_each(|_| latency.record(Duration::from_secs(2)));
        let before = state(&latency);
        (0..10).for_each(|_| latency.record(Duration::from_millis(3)));
        let after = state(&latency).since(&before);
        assert_eq!(after.count(), 10);
        assert!(after.quantile_ms(0.99) < 3.1, "the two seconds of before are not in it");
        assert_eq!(state(&latency).since(&state(&latency)).quantile_ms(0.99), 0.0);
    }

    #[test]
    fn the_steps_of_a_report_are_few_ascending_and_within_an_eighth() {
        let latency = Latency::default();
        (0..27).for_each(|power| latency.record(Duration::from_micros(3 << power)));
        (1..=10_000).for_each(|i| latency.record(Duration::from_micros(i * 17)));
        let steps = state(&latency).steps();
        assert!(steps.len() <= BUCKETS / COARSER && steps.windows(2).all(|two| two[0].0 < two[1].0), "{steps:?}");
        assert_eq!(steps.iter().map(|(_, count)| count).sum::<u64>(), 10_027);
        let mut seen = 0;
        let median = steps.iter().find(|(_, count)| {
            seen += count;
            seen >= 5_014
        });
        let median = median.unwrap().0 as f64;
        assert!((median - 85_000.0).abs() < 85_000.0 / 8.0, "{median}");
    }

    #[test]
    fn the_extremes_have_a_bucket() {
        for us in [0, 1, STEPS - 1, STEPS, LONGEST_US] {
            assert!(bucket(us) < BUCKETS);
        }
        assert_eq!(bucket(LONGEST_US), BUCKETS - 1);
        let latency = Latency::default();
        latency.record(Duration::MAX);
        assert!(state(&latency).quantile_ms(1.0) > 130_000.0);
    }
}
