//! What a rule counts a pool's demand in.

use std::fmt;

use config::region::{Scaling, Signal, SignalSource};

use super::Demand;

/// What a rule counts a pool's demand in.
#[derive(Clone, Debug, PartialEq)]
pub enum Unit {
    /// Requests a second that one origin carries. Where that is learned (`learned`) it is what the file begins with:
    /// a history in units that change would have to be learned again with each of them.
    Requests { per_origin: f64, learned: bool },
    /// The signals, each by what one origin carries of it.
    Signals(Vec<Signal>),
}

impl Unit {
    /// Of a rule that may say what an origin carries.
    pub fn of(requests: Option<f64>, scaling: &Scaling) -> Unit {
        match (requests, &scaling.signals[..]) {
            (Some(per_origin), _) => Unit::Requests { per_origin, learned: false },
            (None, [Signal { source: SignalSource::Requests { per_origin, learn }, .. }]) => {
                Unit::Requests { per_origin: *per_origin, learned: learn.is_some() }
            }
            (None, signals) => Unit::Signals(signals.to_vec()),
        }
    }

    /// Whether requests alone are a pool's demand.
    pub fn is_requests(&self) -> bool {
        matches!(self, Unit::Requests { .. })
    }

    /// Origins for so many requests a second; `None` if they are not all of the demand.
    pub fn of_requests(&self, requests: f64) -> Option<f64> {
        match self {
            Unit::Requests { per_origin, .. } => Some(requests / per_origin),
            Unit::Signals(_) => None,
        }
    }

    /// How many of the origins that there are carry what one of the unit does: 1, unless that was learned.
    /// Where several signals are the demand each step is in the origins of its time, as the largest of several
    /// cannot be told in others later.
    pub fn scale(&self, demand: &Demand) -> f64 {
        match (self, demand.learned()) {
            (Unit::Requests { learned: true, .. }, Some(learned)) => learned.configured / learned.per_origin,
            _ => 1.0,
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unit::Requests { per_origin, .. } => write!(f, "{per_origin} requests a second"),
            Unit::Signals(signals) => {
                // A latency is no part of the demand that is foreseen.
                let counted = signals.iter().filter(|one| !matches!(one.source, SignalSource::Latency { .. }));
                let all: Vec<_> = counted.map(|one| format!("{:?}", one.source)).collect();
                write!(f, "the largest of {}", all.join(", "))
            }
        }
    }
}
