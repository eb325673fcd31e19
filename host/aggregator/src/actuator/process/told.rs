//! What is told of starts and stops: what goes wrong, how many there were, and how long they took.

use std::time::Duration;

use jiff::Timestamp;
use scaler::{Trouble, stamp};

use super::origin::Origin;
use super::{BACKOFF, Process, SETTLED};

impl Process {
    pub fn trouble(&self) -> Option<Trouble> {
        let (at, error) = self.failed.clone()?;
        let retry_at = self.not_before.filter(|retry| *retry > at);
        Some(Trouble { at, action: "start".to_string(), error, failures: self.failures, retry_at })
    }

    pub(super) fn failed(&mut self, action: &'static str, error: String, now: Timestamp) {
        if self.settled_since(now) {
            self.failures = 0;
        }
        (self.failed, self.failed_at) = (Some((now, error)), Some(now));
        let wait = BACKOFF.0.saturating_mul(1 << self.failures.min(10)).min(BACKOFF.1);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(stamp::later(now, wait));
        metrics::counter!("forebay_aggregator_actuator_failures_total",
            "pool" => self.pool.clone(), "action" => action)
        .increment(1);
    }

    /// An origin that became ready after the last failure has lived for a while: starts succeed again. One that is
    /// ready and ends at once says nothing of the sort, however often it is started.
    fn settled_since(&self, now: Timestamp) -> bool {
        let came = |origin: &Origin| {
            let ready = origin.record.ready_at.filter(|ready| self.failed_at.is_none_or(|failed| failed < *ready));
            ready.is_some_and(|ready| stamp::age(now, ready) >= SETTLED)
        };
        self.origins.iter().any(came)
    }

    pub(super) fn count(&self, action: &'static str) {
        metrics::counter!("forebay_aggregator_actuator_actions_total",
            "pool" => self.pool.clone(), "action" => action)
        .increment(1);
    }

    pub(super) fn took(&self, action: &'static str, time: Duration) {
        metrics::histogram!("forebay_aggregator_actuator_seconds",
            "pool" => self.pool.clone(), "action" => action)
        .record(time.as_secs_f64());
    }
}
