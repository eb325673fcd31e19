//! How long one that waits in the warm pool takes until it has traffic, learned from those that joined.
//!
//! It has booted and was warmed, so all that is between the decision and its first request is that edges hear of it.
//! A sample is the time until every fresh edge has been told, in the answer to a report of its own; its slow start
//! comes on top. What edges that were silent meanwhile took is no sample: that is an outage's
//! length and not a lead. Quantile, half-life and steps are those of the cold lead, for the same reasons.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::quantiles::{HIGH, Quantiles, quantile};
use super::{ENOUGH, STEP, duration, push, stepped};
use crate::stamp;

/// Until five have joined: a step of the engine. Edges report each second and have the answer at once.
pub const FIRST: Duration = STEP;

/// What is known of those that joined.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Joins {
    /// The latest last.
    seconds: VecDeque<f64>,
    stands: Option<Duration>,
}

/// For the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WarmLead {
    /// What the pool goes by for those that wait: until edges know, and the slow start.
    pub seconds: f64,
    /// It follows from what was measured.
    pub learned: bool,
    pub samples: usize,
    /// From the decision until every edge knew; `None` before the first sample.
    pub join: Option<Quantiles>,
}

impl Joins {
    pub(super) fn came(&mut self, seconds: f64) {
        push(&mut self.seconds, seconds);
    }

    pub(super) fn settle(&mut self) {
        let known = self.seconds.len() >= ENOUGH;
        if let Some(high) = known.then(|| quantile(self.seconds.iter().copied(), HIGH)).flatten() {
            self.stands = Some(stepped(self.stands, duration(high)));
        }
    }

    /// Without the slow start.
    pub(super) fn takes(&self) -> Duration {
        self.stands.unwrap_or(FIRST)
    }

    pub(super) fn view(&self, lead: Duration) -> WarmLead {
        WarmLead {
            seconds: stamp::seconds(lead),
            learned: self.stands.is_some(),
            samples: self.seconds.len(),
            join: Quantiles::of(self.seconds.iter().copied()),
        }
    }
}
