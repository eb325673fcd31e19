//! How the loop ends: what is known is written down, and origins stop if that is asked for.

use std::time::Duration;

use jiff::Timestamp;
use scaler::stamp;

use super::{Steer, runs};

impl Steer {
    /// Writes down what is known, before the end.
    pub fn close(&mut self) {
        self.history.close(&mut self.region);
    }

    /// Tells all origins to stop. Returns when the last is gone at the latest.
    pub fn release(&mut self, now: Timestamp) -> Timestamp {
        self.take_role(now);
        let mut longest = Duration::ZERO;
        if !self.right.leads() {
            return now;
        }
        for (pool, actuator) in &mut self.actuators {
            longest = longest.max(actuator.release(self.right, now));
            if let Err(error) = self.journal.released(pool, self.clock.wall().shows(now)) {
                tracing::error!(pool, %error, "the release is not in the journal");
            }
        }
        stamp::later(now, longest)
    }

    /// Whether all that were told to stop are gone.
    pub fn released(&mut self, now: Timestamp) -> bool {
        self.take_role(now);
        let right = self.right;
        let actuators = self.actuators.values_mut().chain(&mut self.leaving);
        actuators.map(|actuator| runs(actuator, right, now)).sum::<usize>() == 0
    }
}
