//! What is shown of the loop: to the API, and as gauges.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use scaler::decide::OperatorHold;
use scaler::region::Applied;
use scaler::{Decision, Event, PoolView, stamp};

use super::Steer;
use crate::actuator::Actuator;
use crate::history::store::Reader;
use crate::lease::Right;
use crate::publish;

impl Steer {
    /// Once a second: nobody asks for metrics more often.
    pub(super) fn measure(&mut self, now: Timestamp) {
        if self.measured_at.is_some_and(|at| at <= now && stamp::age(now, at) < Duration::from_secs(1)) {
            return;
        }
        self.measured_at = Some(now);
        for pool in self.region.pools() {
            if let Some(view) = self.region.pool(&pool, now) {
                publish::measure(&pool, &view);
                self.tell_drift(&pool, &view);
            }
        }
        let right = self.lead.right();
        metrics::gauge!("forebay_aggregator_leader").set(f64::from(u8::from(right.leads())));
        let lapsed = matches!(right, Right::Lapsed(_));
        metrics::gauge!("forebay_aggregator_lapsed").set(f64::from(u8::from(lapsed)));
        metrics::gauge!("forebay_aggregator_edges_fresh").set(self.region.fresh_edges(now) as f64);
    }

    /// Says once that origins carry something else than the file says, and once that they do not any more.
    fn tell_drift(&mut self, pool: &str, view: &PoolView) {
        let learned = view.demand.learned();
        let drifted = learned.is_some_and(|learned| learned.drift);
        let before = if drifted { !self.drifting.insert(pool.to_owned()) } else { self.drifting.remove(pool) };
        match learned.filter(|_| drifted != before) {
            Some(learned) if drifted => {
                let scaler::capacity::Learned { per_origin, configured, seen, .. } = learned;
                tracing::warn!(
                    pool,
                    per_origin,
                    configured,
                    seen,
                    "origins carry over 20 % more or less than configured"
                );
            }
            Some(_) => tracing::info!(pool, "origins carry about what is configured again"),
            None => {}
        }
    }

    /// What pools saw, or why it cannot be told.
    pub fn history(&self) -> Result<Reader, &str> {
        self.history.reader()
    }

    /// The latest decisions that are in memory, oldest first.
    pub fn decisions(&self, pool: Option<&str>, limit: usize) -> Vec<&Decision> {
        self.journal.recent(pool, limit)
    }

    /// Where all of them are.
    pub fn journal(&self) -> Option<PathBuf> {
        self.journal.path().map(Path::to_path_buf)
    }

    /// The pools that are run here.
    pub fn pools(&self) -> Vec<String> {
        self.region.pools()
    }

    pub fn pool(&mut self, name: &str, now: Timestamp) -> Option<PoolView> {
        self.region.pool(name, now)
    }

    /// What somebody knows of an origin. `Unknown`: no such one runs here.
    pub fn tell(&mut self, event: Event, now: Timestamp) -> Applied {
        // Infallible: only reports are refused.
        self.region.apply(event, now).unwrap_or(Applied::Unknown)
    }

    /// An operator's hold on a pool, or its end. It is in the journal before this returns, if that can be written.
    pub fn hold(&mut self, pool: &str, hold: Option<OperatorHold>, now: Timestamp) {
        self.take_role(now);
        self.tell(Event::Held { pool: pool.to_owned(), hold }, now);
        self.decide(now);
        self.wake.notify_one();
    }

    /// `process`, `dry_run`.
    pub fn actuator(&self, pool: &str) -> &'static str {
        self.actuators.get(pool).map_or("", Actuator::name)
    }

    /// What the wall clock shows at an instant.
    pub fn shows(&self, at: Timestamp) -> Timestamp {
        self.clock.wall().shows(at)
    }

    pub fn region_name(&self) -> &str {
        self.config.aggregator.as_ref().map_or("", |aggregator| &aggregator.region)
    }

    pub fn epoch(&self) -> u64 {
        self.region.epoch()
    }
}
