//! What happens in a run, and when: the demand of a real trace, compressed into the run, and
//! the instants that follow from it. Pure: the seed and the length are passed in.

use std::ops::Range;
use std::time::Duration;

/// Requests a second of the trace's highest minute. Two cores carry it with room to spare, and
/// it takes six origins where the quiet part takes two.
pub const PEAK: f64 = 210.0;
/// Requests a second of one origin.
pub const CAPACITY: f64 = 40.0;
/// The run for which the times of `quickstart.yaml` (boot, slow start, windows) are written.
/// Others scale them, so that a short run shows the same story faster.
const WRITTEN_FOR: Duration = Duration::from_secs(60);
/// A request to the route of the direct response for so many to the shop.
const SHOP_PER_HELLO: f64 = 10.0;

pub struct Scenario {
    pub length: Duration,
    pub seed: u64,
    /// Requests a second to the shop, minute by minute of the trace.
    rates: Vec<f64>,
}

/// SplitMix64: what a seed gives must never change, so it is written here.
struct Random(u64);

/// One request of the plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrival {
    /// Since the beginning of the run.
    pub at: Duration,
    pub target: Target,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Shop,
    Hello,
}

impl Scenario {
    /// `trace` is CSV: a header, then `minute,requests`.
    pub fn new(trace: &str, length: Duration, seed: u64) -> anyhow::Result<Scenario> {
        let counts = trace.lines().skip(1).filter(|line| !line.is_empty()).map(|line| {
            let count = line.split(',').nth(1).and_then(|count| count.trim().parse::<f64>().ok());
            count.ok_or_else(|| anyhow::anyhow!("the trace has a line that is not `minute,requests`: `{line}`"))
        });
        let counts: Vec<f64> = counts.collect::<anyhow::Result<_>>()?;
        let highest = counts.iter().copied().fold(0.0, f64::max);
        anyhow::ensure!(highest > 0.0, "the trace has no demand");
        Ok(Scenario { length, seed, rates: counts.iter().map(|count| count / highest * PEAK).collect() })
    }

    /// Factor on the times that `quickstart.yaml` gives. The least is what processes, timers and
    /// ticks of a shared machine can still follow.
    pub fn pace(&self) -> f64 {
        (self.length.as_secs_f64() / WRITTEN_FOR.as_secs_f64()).clamp(0.2, 5.0)
    }

    /// When demand first comes within a tenth of its highest.
    pub fn peak_at(&self) -> Duration {
        self.length.mul_f64(self.busy().start as f64 / self.rates.len() as f64)
    }

    /// From there to the last time that it is.
    pub fn peak_lasts(&self) -> Duration {
        self.length.mul_f64(self.busy().len() as f64 / self.rates.len() as f64)
    }

    /// Fewest origins that carry the highest minute.
    pub fn origins_at_peak(&self) -> u32 {
        (PEAK / CAPACITY).ceil() as u32
    }

    fn busy(&self) -> Range<usize> {
        let high = |rate: &f64| *rate >= 0.9 * PEAK;
        let first = self.rates.iter().position(high).expect("the highest is one of them");
        let last = self.rates.iter().rposition(high).expect("the highest is one of them");
        first..last + 1
    }

    /// Every request of the run in order: arrivals are independent of each other (exponential
    /// gaps), at the rate of their minute. The same seed gives the same plan.
    pub fn arrivals(&self) -> Vec<Arrival> {
        let mut random = Random(self.seed);
        let minute = self.length.as_secs_f64() / self.rates.len() as f64;
        let mut arrivals = Vec::new();
        for (i, rate) in self.rates.iter().enumerate() {
            let (begin, end) = (i as f64 * minute, (i + 1) as f64 * minute);
            let mut at = begin;
            loop {
                // Exponential gaps have no memory, so each minute may begin anew.
                at += -(1.0 - random.unit()).ln() / rate.max(f64::MIN_POSITIVE);
                if at >= end {
                    break;
                }
                let at = Duration::from_secs_f64(at);
                arrivals.push(Arrival { at, target: Target::Shop });
                if random.unit() < 1.0 / SHOP_PER_HELLO {
                    arrivals.push(Arrival { at, target: Target::Hello });
                }
            }
        }
        arrivals
    }
}

impl Random {
    /// In [0, 1).
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "minute,requests\n0,50\n1,50\n2,200\n3,100\n4,190\n5,20\n";

    fn scenario(seconds: u64, seed: u64) -> Scenario {
        Scenario::new(TRACE, Duration::from_secs(seconds), seed).unwrap()
    }

    fn between(arrivals: &[Arrival], seconds: Range<u64>) -> usize {
        let within = |a: &&Arrival| a.target == Target::Shop && seconds.contains(&a.at.as_secs());
        arrivals.iter().filter(within).count()
    }

    #[test]
    fn demand_has_the_shape_of_the_trace_and_the_height_that_is_asked_for() {
        let arrivals = scenario(60, 1).arrivals();
        let quiet = between(&arrivals, 0..20) as f64 / 20.0;
        let peak = between(&arrivals, 20..30) as f64 / 10.0;
        assert!((quiet - PEAK / 4.0).abs() < 6.0, "quiet at {quiet}/s");
        assert!((peak - PEAK).abs() < 15.0, "peak at {peak}/s");
        assert!(arrivals.is_sorted_by_key(|a| a.at));
        let hello = arrivals.iter().filter(|a| a.target == Target::Hello).count();
        assert!((0.07..0.13).contains(&(hello as f64 / between(&arrivals, 0..60) as f64)));
    }

    #[test]
    fn the_same_seed_gives_the_same_requests_and_another_does_not() {
        assert_eq!(scenario(12, 7).arrivals(), scenario(12, 7).arrivals());
        assert_ne!(scenario(12, 7).arrivals(), scenario(12, 8).arrivals());
    }

    #[test]
    fn the_peak_spans_the_dip_between_its_two_halves() {
        let scenario = scenario(60, 1);
        assert_eq!(scenario.peak_at(), Duration::from_secs(20));
        assert_eq!(scenario.peak_lasts(), Duration::from_secs(30));
        assert_eq!(scenario.origins_at_peak(), 6);
    }

    #[test]
    fn a_trace_that_is_none_is_refused_with_its_line() {
        let refused = |text| Scenario::new(text, Duration::from_secs(1), 1).err().unwrap().to_string();
        assert!(refused("minute,requests\n0;1\n").contains("`0;1`"));
        assert!(refused("minute,requests\n").contains("no demand"));
    }
}
