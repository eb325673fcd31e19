//! How long origins take from their launch to full capacity, learned from those that came.
//!
//! Three parts: the boot (launched to ready), the warm-up (ready to serving) and the slow start, which the file
//! says. Each origin that comes into service is one sample of the first two. The lead is a high quantile of their
//! sum, as the mean would be late every second time, and the slow start on top. It moves in steps of 15 s, which is
//! the engine's own, and falls only once a whole step and a half is spare: a lead that flickers would have schedules
//! begin twice.
//!
//! What never came is no sample: nobody knows how long it would have taken. It is counted as failed, and is late
//! long before that (`stage/launches.rs`).
//!
//! One that waits in the warm pool has all of that behind it but the slow start: [`joins`] has a lead of its own.

pub mod joins;
mod quantiles;

use core::net::SocketAddr;
use std::collections::VecDeque;
use std::time::Duration;

use config::region::{LeadBounds, Pool as PoolConfig};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::replay::Lives;
use crate::stamp;
use joins::{Joins, WarmLead};
pub use quantiles::Quantiles;
use quantiles::{HIGH, HIGHEST, quantile};

/// Samples kept: three days of a pool that launches two an hour.
const KEPT: usize = 128;
/// Fewer say too little of a high quantile.
const ENOUGH: usize = 5;
const STEP: Duration = Duration::from_secs(15);
/// What must be spare beside a whole step before the lead falls.
const SPARE: Duration = Duration::from_millis(7_500);
/// Launches on one address that are not so far apart are one.
const SAME: Duration = Duration::from_millis(500);
/// The 99th percentile of a few samples is the slowest of them, and the next may well be a little slower.
const LATE_FACTOR: f64 = 1.5;
const LATE_LEAST: Duration = Duration::from_secs(5);
/// The share that an edge's slow start begins with (`host/edge/src/membership/member.rs`).
pub const SLOW_START_FROM: f64 = 0.1;

/// One origin that came into service.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// With the instant of its launch, which origin it was: none counts twice, whoever tells of it.
    pub address: SocketAddr,
    #[serde(with = "crate::stamp")]
    pub launched_at: Timestamp,
    /// Seconds from launched to ready.
    pub boot: f64,
    /// Seconds from ready to serving.
    pub warm_up: f64,
}

/// What is known of a pool's origins. Small: it is written down whole, and taken back as it was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    /// The latest last.
    samples: VecDeque<Sample>,
    /// Seconds from draining to gone, the latest last.
    drains: VecDeque<f64>,
    /// Launches that ended before they were ready.
    failed: u64,
    /// Where the lead stands without the bounds of the file, which may change.
    stands: Option<Duration>,
    drain: Option<Duration>,
    /// Of those that joined from the warm pool.
    joins: Joins,
    /// Asked for with each report, and costly to know.
    #[serde(skip)]
    late_after: Option<Duration>,
}

/// What a pool goes by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// From the launch to full capacity.
    pub lead: Duration,
    /// Of that, without any capacity: boot and warm-up.
    pub boot: Duration,
    /// Of that, with a growing share of it.
    pub slow_start: Duration,
    /// From the decision that one leaves to its end.
    pub drain: Duration,
    /// Of one that waits in the warm pool, in place of `boot`.
    pub join: Duration,
}

/// The lead of one pool.
#[derive(Clone, Debug)]
pub struct Lead {
    learned: Learned,
    figures: Figures,
}

/// For the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeadView {
    /// What the pool goes by.
    pub seconds: f64,
    /// It follows from what was measured; otherwise it is the file's.
    pub learned: bool,
    /// Origins that came into service, of those that are remembered.
    pub samples: usize,
    /// Launches that ended before they were ready.
    pub failed: u64,
    /// `None` before the first sample.
    pub boot: Option<Quantiles>,
    pub warm_up: Option<Quantiles>,
    /// Of boot and warm-up of the same origin.
    pub both: Option<Quantiles>,
    pub slow_start_seconds: f64,
    /// Of those that wait, where the pool has a warm pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_pool: Option<WarmLead>,
    /// What a removal is taken to be billed for after the decision.
    pub drain_seconds: f64,
    /// An origin that boots for longer is late; `None`: not known yet.
    pub late_after_seconds: Option<f64>,
}

impl Learned {
    /// An origin came into service. False if it was counted before.
    pub fn came(&mut self, sample: Sample) -> bool {
        // Two runs may know an instant to some milliseconds only.
        let apart = |a: Timestamp, b: Timestamp| stamp::age(a, b).max(stamp::age(b, a));
        let same =
            |other: &Sample| other.address == sample.address && apart(other.launched_at, sample.launched_at) < SAME;
        if self.samples.iter().any(same) {
            return false;
        }
        push(&mut self.samples, sample);
        true
    }

    /// So many launches ended before they were ready.
    pub fn failed(&mut self, launches: u32) {
        self.failed = self.failed.saturating_add(u64::from(launches));
    }

    /// An origin that drained for so many seconds is gone.
    pub fn left(&mut self, drain: f64) {
        push(&mut self.drains, drain);
    }

    /// One joined from the warm pool, and took traffic after so many seconds.
    pub fn joined(&mut self, seconds: f64) {
        self.joins.came(seconds);
    }

    /// A boot that takes longer is late. `None`: too few are known.
    pub fn late_after(&self) -> Option<Duration> {
        self.late_after
    }

    /// The lead without a slow start follows what was measured.
    fn settle(&mut self) {
        let boots = self.samples.iter().map(|sample| sample.boot);
        let highest = (self.samples.len() >= ENOUGH).then(|| quantile(boots, HIGHEST)).flatten();
        self.late_after = highest.map(|highest| duration(highest * LATE_FACTOR).max(LATE_LEAST));
        let both = self.samples.iter().map(|sample| sample.boot + sample.warm_up);
        if let Some(high) = (self.samples.len() >= ENOUGH).then(|| quantile(both, HIGH)).flatten() {
            self.stands = Some(stepped(self.stands, duration(high)));
        }
        // What a removal costs is what it costs on average: the middle one.
        let drains = self.drains.iter().copied();
        if let Some(drain) = (self.drains.len() >= ENOUGH).then(|| quantile(drains, 0.5)).flatten() {
            self.drain = Some(stepped(self.drain, duration(drain)));
        }
        self.joins.settle();
    }
}

impl Figures {
    /// Before anything is learned.
    fn of(config: &PoolConfig) -> Figures {
        let lead = config.scaling.as_ref().map_or(Duration::ZERO, |scaling| scaling.lead);
        Figures::from(lead, config.slow_start, duration(Lives::default().drain))
    }

    /// A lead that a slow start does not fit into is all of it.
    fn from(lead: Duration, slow_start: Duration, drain: Duration) -> Figures {
        let slow_start = slow_start.min(lead);
        let boot = lead - slow_start;
        Figures { lead, boot, slow_start, drain, join: joins::FIRST.min(boot) }
    }

    /// The same for pools that are only thought.
    pub fn lives(&self, floor: u32) -> Lives {
        Lives {
            boot: self.boot.as_secs_f64(),
            warm: self.slow_start.as_secs_f64(),
            warm_start: SLOW_START_FROM,
            drain: self.drain.as_secs_f64(),
            floor,
            ..Lives::default()
        }
    }

    /// Of those that wait in the warm pool: no boot, but until edges know of them.
    pub fn warm_lives(&self, floor: u32) -> Lives {
        Lives { boot: self.join.as_secs_f64(), ..self.lives(floor) }
    }

    /// From the decision to full capacity, of one that waits.
    pub fn warm_lead(&self) -> Duration {
        self.join + self.slow_start
    }
}

impl Lead {
    pub fn new(config: &PoolConfig) -> Lead {
        Lead { learned: Learned::default(), figures: Figures::of(config) }
    }

    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    pub fn learned(&self) -> &Learned {
        &self.learned
    }

    pub fn learn(&mut self) -> &mut Learned {
        &mut self.learned
    }

    /// Takes what an earlier run had learned, if this one knows less.
    pub fn restore(&mut self, learned: Learned) {
        if learned.samples.len() >= self.learned.samples.len() {
            self.learned = learned;
        }
    }

    /// Follows what was learned, and the file. Whether the figures are others now.
    pub fn settle(&mut self, config: &PoolConfig) -> bool {
        self.learned.settle();
        let mut figures = Figures::of(config);
        if let Some(bounds) = bounds(config) {
            let drain = self.learned.drain.unwrap_or(figures.drain);
            let lead = self.learned.stands.map_or(figures.lead, |stands| stands + config.slow_start);
            figures = Figures::from(lead.clamp(bounds.at_least, bounds.at_most), config.slow_start, drain);
        }
        // Nobody who has booted takes longer than one that has not.
        figures.join = self.learned.joins.takes().min(figures.boot);
        std::mem::replace(&mut self.figures, figures) != figures
    }

    pub fn view(&self, config: &PoolConfig) -> LeadView {
        let samples = &self.learned.samples;
        let part = |of: fn(&Sample) -> f64| Quantiles::of(samples.iter().map(of));
        LeadView {
            seconds: stamp::seconds(self.figures.lead),
            learned: bounds(config).is_some() && self.learned.stands.is_some(),
            samples: samples.len(),
            failed: self.learned.failed,
            boot: part(|sample| sample.boot),
            warm_up: part(|sample| sample.warm_up),
            both: part(|sample| sample.boot + sample.warm_up),
            slow_start_seconds: stamp::seconds(self.figures.slow_start),
            warm_pool: config
                .scaling
                .as_ref()
                .and_then(|scaling| scaling.warm_pool.as_ref())
                .map(|_| self.learned.joins.view(self.figures.warm_lead())),
            drain_seconds: stamp::seconds(self.figures.drain),
            late_after_seconds: self.learned.late_after().map(stamp::seconds),
        }
    }
}

fn bounds(config: &PoolConfig) -> Option<LeadBounds> {
    config.scaling.as_ref().and_then(|scaling| scaling.lead_bounds)
}

fn push<T>(kept: &mut VecDeque<T>, new: T) {
    kept.push_back(new);
    while kept.len() > KEPT {
        kept.pop_front();
    }
}

/// Up as soon as it is needed, down once a step and half a step is spare.
fn stepped(stands: Option<Duration>, measured: Duration) -> Duration {
    let steps = measured.as_millis().div_ceil(STEP.as_millis()).max(1);
    let whole = STEP * u32::try_from(steps).unwrap_or(u32::MAX / STEP.as_secs() as u32);
    match stands {
        Some(stands) if measured <= stands && measured + STEP + SPARE > stands => stands,
        _ => whole,
    }
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(i: i64, boot: f64) -> Sample {
        let launched_at = Timestamp::from_second(1_700_000_000 + i).unwrap();
        Sample { address: "127.0.0.1:9000".parse().unwrap(), launched_at, boot, warm_up: 2.0 }
    }

    fn learned(boots: impl IntoIterator<Item = f64>) -> Learned {
        let mut learned = Learned::default();
        for (i, boot) in boots.into_iter().enumerate() {
            assert!(learned.came(sample(i as i64, boot)));
            learned.settle();
        }
        learned
    }

    #[test]
    fn four_say_too_little_and_five_are_enough() {
        assert_eq!(learned([30.0; 4]).stands, None);
        assert_eq!(learned([30.0; 4]).late_after(), None);
        let five = learned([30.0, 20.0, 25.0, 41.0, 22.0]);
        assert_eq!(five.stands, Some(Duration::from_secs(45)), "43 s, the slowest of five");
        assert_eq!(five.late_after(), Some(Duration::from_millis(61_500)));
    }

    #[test]
    fn an_origin_counts_once_whoever_tells_of_it() {
        let mut learned = learned([30.0; 5]);
        assert!(!learned.came(sample(3, 500.0)));
        assert_eq!(learned, self::learned([30.0; 5]));
    }

    #[test]
    fn a_rare_slow_one_is_beyond_the_95th_percentile_and_within_the_99th() {
        let boots = (0..100).map(|i| if i % 33 == 10 { 200.0 } else { 40.0 });
        let learned = learned(boots);
        assert_eq!(learned.stands, Some(Duration::from_secs(45)));
        assert_eq!(learned.late_after(), Some(Duration::from_secs(300)));
    }

    #[test]
    fn an_image_that_boots_slower_is_followed_soon_and_one_that_boots_faster_slowly() {
        let slower = learned([30.0; 60].into_iter().chain([90.0; 4]));
        assert_eq!(slower.stands, Some(Duration::from_secs(105)), "four of them");
        let boots = |fast: usize| [90.0; 60].into_iter().chain(std::iter::repeat_n(30.0, fast));
        assert_eq!(learned(boots(20)).stands, Some(Duration::from_secs(105)));
        assert_eq!(learned(boots(127)).stands, Some(Duration::from_secs(45)), "forgotten in the end");
    }

    #[test]
    fn what_flickers_around_a_step_moves_nothing() {
        // 44 to 46 s: over and under 45 s, with its warm-up of 2 s.
        let learned = learned((0..40).map(|i| if i % 2 == 0 { 42.0 } else { 44.0 }));
        assert_eq!(learned.stands, Some(Duration::from_secs(60)));
        assert_eq!(stepped(Some(Duration::from_secs(60)), Duration::from_secs(38)), Duration::from_secs(60));
        assert_eq!(stepped(Some(Duration::from_secs(60)), Duration::from_secs(37)), Duration::from_secs(45));
        assert_eq!(stepped(Some(Duration::from_secs(60)), Duration::from_secs(61)), Duration::from_secs(75));
        assert_eq!(stepped(None, Duration::ZERO), STEP, "a step of the engine at least");
    }

    #[test]
    fn memory_is_bounded_and_it_is_the_same_after_it_was_written_down() {
        let mut learned = learned((0..1000).map(|i| f64::from(i % 7)));
        for i in 0..1000 {
            learned.left(f64::from(i));
        }
        assert_eq!((learned.samples.len(), learned.drains.len()), (KEPT, KEPT));
        learned.settle();
        let written = serde_json::to_string(&learned).unwrap();
        let mut read = serde_json::from_str::<Learned>(&written).unwrap();
        read.settle();
        assert!(read == learned);
    }
}
