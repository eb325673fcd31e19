//! An origin in a stage: its health, its share of traffic, its counts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use wire::Stage;

use super::{Memberships, Told};
use crate::telemetry::load::{MovingMean, OriginLoad};

/// The share of traffic with which slow start begins.
const FIRST_SHARE: f64 = 0.1;
/// An origin that left is remembered this long, so that reports can still account for it.
const REMEMBERED: Duration = Duration::from_secs(120);

/// An origin in one stage.
pub struct Member {
    pub address: SocketAddr,
    pub stage: Stage,
    /// When it came into this stage.
    pub since: Instant,
    /// It stands in the file.
    pub listed: bool,
    /// Zero if its share does not grow.
    slow_start: Duration,
    origin: Arc<OriginState>,
}

/// What is known of an origin across its stages.
struct OriginState {
    life: u64,
    healthy: AtomicBool,
    warmed: AtomicBool,
    loads: Box<[OriginLoad]>,
}

/// An origin that is or lately was a member.
pub(super) struct Vital {
    origin: Arc<OriginState>,
    stage: Stage,
    since: Instant,
    /// When it stopped being a member.
    left: Option<Instant>,
}

/// What an edge knows of one origin, for reports and the admin view. Counts are cumulative over
/// one `life`.
#[derive(Clone, Debug, PartialEq)]
pub struct OriginCount {
    pub life: u64,
    pub requests: u64,
    pub in_flight: u64,
    pub healthy: bool,
    pub warmed: bool,
}

impl Member {
    /// Its part of what a full origin gets: from 0.1 to 1.0 over the pool's slow start, 1.0 for
    /// origins of the file, 0.0 in any stage but serving.
    pub fn share(&self, now: Instant) -> f64 {
        if self.stage != Stage::Serving {
            return 0.0;
        }
        if self.slow_start.is_zero() {
            return 1.0;
        }
        let part = now.saturating_duration_since(self.since).as_secs_f64() / self.slow_start.as_secs_f64();
        (FIRST_SHARE + (1.0 - FIRST_SHARE) * part).min(1.0)
    }

    /// When its share stops growing; `None` if it does not grow.
    pub fn ramping_until(&self) -> Option<Instant> {
        let ramps = self.stage == Stage::Serving && !self.slow_start.is_zero();
        ramps.then(|| self.since + self.slow_start)
    }

    /// As the active check found it; true where there is none, and until it has found otherwise.
    pub fn healthy(&self) -> bool {
        self.origin.healthy.load(Ordering::Relaxed)
    }

    /// Set by the control thread. True if this is a change.
    pub fn set_healthy(&self, healthy: bool) -> bool {
        self.origin.healthy.swap(healthy, Ordering::Relaxed) != healthy
    }

    /// This edge has sent it all of its warm-up requests.
    pub fn warmed(&self) -> bool {
        self.origin.warmed.load(Ordering::Relaxed)
    }

    pub fn set_warmed(&self) {
        self.origin.warmed.store(true, Ordering::Relaxed);
    }

    /// The same origin process as far as anyone said: a new one on the same address differs.
    pub fn life(&self) -> u64 {
        self.origin.life
    }

    /// What `worker` counts; only that worker writes it.
    pub fn load(&self, worker: usize) -> &OriginLoad {
        &self.origin.loads[worker]
    }

    /// Exchanges with it now, of all workers.
    pub fn in_flight(&self) -> u64 {
        self.origin.in_flight()
    }

    /// Attempts that it was given since it is known, of all workers.
    pub fn requests(&self) -> u64 {
        self.origin.loads.iter().map(|load| load.requests.get()).sum()
    }

    /// A moving mean of the time to the first byte.
    pub fn latency(&self) -> Option<Duration> {
        MovingMean::of(self.origin.loads.iter().map(|load| &load.latency))
    }
}

impl OriginState {
    fn in_flight(&self) -> u64 {
        self.loads.iter().fold(0, |all, load| all.wrapping_add(load.in_flight.get()))
    }
}

impl Vital {
    pub(super) fn new(told: Option<Told>, now: Instant, all: &Memberships) -> Vital {
        // Without an aggregator's word it stands in the file: it serves.
        let (stage, since) = told.unwrap_or((Stage::Serving, now));
        let origin = OriginState {
            life: all.next_life(),
            healthy: AtomicBool::new(true),
            warmed: AtomicBool::new(false),
            loads: (0..all.workers).map(|_| OriginLoad::default()).collect(),
        };
        Vital { origin: Arc::new(origin), stage, since, left: None }
    }

    /// It is a member after this. One that left, or went back to an earlier stage, is another
    /// process on the same address: nothing of the first one's health and warmth holds for it.
    pub(super) fn become_member(&mut self, told: Option<Told>, now: Instant, all: &Memberships) {
        let (stage, since) = told.unwrap_or((Stage::Serving, self.since));
        let anew = self.left.is_some() || (stage < self.stage && stage != Stage::Serving);
        if anew {
            *self = Vital::new(told, now, all);
        }
        self.stage = stage;
        self.since = since;
        self.left = None;
    }

    pub(super) fn member(&self, address: SocketAddr, listed: bool, slow_start: Duration) -> Member {
        let (stage, since, origin) = (self.stage, self.since, self.origin.clone());
        Member { address, stage, since, listed, slow_start, origin }
    }

    pub(super) fn set_healthy(&self) {
        self.origin.healthy.store(true, Ordering::Relaxed);
    }

    /// Whether it is still to be accounted for.
    pub(super) fn remembered(&mut self, member: bool, now: Instant) -> bool {
        if member {
            return true;
        }
        let left = *self.left.get_or_insert(now);
        now.saturating_duration_since(left) < REMEMBERED || self.origin.in_flight() > 0
    }

    pub(super) fn count(&self) -> OriginCount {
        OriginCount {
            life: self.origin.life,
            requests: self.origin.loads.iter().map(|load| load.requests.get()).sum(),
            in_flight: self.origin.in_flight(),
            healthy: self.origin.healthy.load(Ordering::Relaxed),
            warmed: self.origin.warmed.load(Ordering::Relaxed) || self.stage >= Stage::Serving,
        }
    }
}
