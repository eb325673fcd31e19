//! What plugins of all workers share and an exchange does not end: dictionaries.

mod named;

use std::sync::Arc;
use std::time::{Duration, Instant};

use config::Region;

use crate::clock;
use crate::dict::Dict;
use named::Named;

/// Shared by all threads of the edge.
pub struct State {
    pub dicts: Named<Dict>,
    began: Instant,
}

impl Default for State {
    fn default() -> State {
        State { dicts: Named::default(), began: clock::now() }
    }
}

impl State {
    pub fn new(region: &Region) -> State {
        let state = State::default();
        state.configure(region);
        state
    }

    /// Takes the bounds of a region over; what is held stays.
    pub fn configure(&self, region: &Region) {
        // One that the file has named no longer has the default again.
        for (name, dict) in self.dicts.all().iter() {
            dict.set_most(region.dicts.get(&**name).map_or(config::Dict::BYTES, |spec| spec.bytes));
        }
        for (name, spec) in &region.dicts {
            self.dicts.get_or(name, || Dict::new(spec.bytes));
        }
    }

    /// Time that only goes forward, since this began: what is held here is told it with each call.
    pub fn now(&self) -> Duration {
        clock::now().saturating_duration_since(self.began)
    }

    pub fn dict(&self, name: &str) -> Arc<Dict> {
        self.dicts.get_or(name, || Dict::new(config::Dict::BYTES))
    }

    /// Lets go of what is over, and brings counts into the metrics.
    pub fn publish(&self) {
        let now = self.now();
        for (name, dict) in self.dicts.all().iter() {
            dict.sweep(now);
            dict.publish(name);
        }
    }
}
