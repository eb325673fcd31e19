//! One origin that is run here, and what is due for it.

use std::process::Child;

use config::region::ProcessActuator;
use jiff::Timestamp;
use scaler::stamp;

use super::ready::Probe;
use super::record::Record;

pub struct Origin {
    pub record: Record,
    /// `None` if an earlier run started it: then it is watched, not waited for.
    pub child: Option<Child>,
    pub probe: Option<Probe>,
    /// We were told to stop it; otherwise a stop is our own doing, and it is to be replaced.
    pub ordered: bool,
    pub stopping: Option<Stopping>,
}

pub struct Stopping {
    pub since: Timestamp,
    pub killed: bool,
}

impl Stopping {
    pub fn is_overdue(&self, config: &ProcessActuator, now: Timestamp) -> bool {
        !self.killed && stamp::age(now, self.since) >= config.stop_timeout
    }
}

impl Origin {
    /// There is something to write down or to do; `ends`: it may be ended.
    pub fn is_due(&mut self, config: &ProcessActuator, ends: bool, now: Timestamp) -> bool {
        let overdue = |stopping: &Stopping| stopping.is_overdue(config, now);
        !self.is_alive()
            || self.probe.as_ref().is_some_and(Probe::is_ready)
            || (ends && (self.is_late(config, now) || self.stopping.as_ref().is_some_and(overdue)))
    }

    pub fn is_late(&self, config: &ProcessActuator, now: Timestamp) -> bool {
        let waits = self.record.ready_at.is_none() && self.stopping.is_none();
        waits && stamp::age(now, self.record.launched_at) >= config.boot_timeout
    }

    pub fn is_alive(&mut self) -> bool {
        match &mut self.child {
            // An error here means that the child cannot be waited for; its file tells then.
            Some(child) => match child.try_wait() {
                Ok(ended) => ended.is_none(),
                Err(_) => self.record.identity.is_alive(),
            },
            None => self.record.identity.is_alive(),
        }
    }
}
