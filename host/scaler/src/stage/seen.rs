//! What an actuator sees of an origin, and what people are told of it.

use core::net::SocketAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wire::Stage;

use crate::lead::Sample;
use crate::stamp;
use crate::wall::Wall;

/// What an actuator sees of one origin that runs. Its instants are of the clock that `now` is of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    pub address: SocketAddr,
    #[serde(with = "crate::stamp")]
    pub launched_at: Timestamp,
    /// When it first answered its ready path.
    #[serde(with = "crate::stamp::option")]
    pub ready_at: Option<Timestamp>,
    /// When it first served, as an earlier run of the aggregator noted.
    #[serde(with = "crate::stamp::option")]
    pub serving_at: Option<Timestamp>,
    /// It was told to stop, by this run of the aggregator or an earlier one.
    #[serde(default)]
    pub stopping: bool,
    /// It waits in the warm pool, as an earlier run noted.
    #[serde(default)]
    pub parked: bool,
    /// Somebody has told an earlier run that it is going, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving: Option<String>,
}

/// An origin with its stage. Its instants are the wall clock's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OriginView {
    pub address: SocketAddr,
    pub stage: Stage,
    pub stage_age_seconds: f64,
    #[serde(with = "crate::stamp")]
    pub launched_at: Timestamp,
    #[serde(with = "crate::stamp::option")]
    pub ready_at: Option<Timestamp>,
    #[serde(with = "crate::stamp::option")]
    pub serving_at: Option<Timestamp>,
    /// The actuator was told to stop it.
    pub stopping: bool,
    /// It is in the warm pool, or boots for it: warm once it is `warming` no more.
    #[serde(default, skip_serializing_if = "is_false")]
    pub parked: bool,
    /// It would serve at once.
    #[serde(default, skip_serializing_if = "is_false")]
    pub warm: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// An origin that ran and does not any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gone {
    pub address: SocketAddr,
    #[serde(with = "crate::stamp")]
    pub launched_at: Timestamp,
    #[serde(with = "crate::stamp::option")]
    pub ready_at: Option<Timestamp>,
    #[serde(with = "crate::stamp::option")]
    pub serving_at: Option<Timestamp>,
    #[serde(with = "crate::stamp")]
    pub gone_at: Timestamp,
    /// It was to stop; otherwise it crashed or never became ready.
    pub asked: bool,
}

impl Gone {
    /// With the instants that the wall clock shows.
    pub fn by(&self, wall: Wall) -> Gone {
        Gone {
            address: self.address,
            launched_at: wall.shows(self.launched_at),
            ready_at: self.ready_at.map(|at| wall.shows(at)),
            serving_at: self.serving_at.map(|at| wall.shows(at)),
            gone_at: wall.shows(self.gone_at),
            asked: self.asked,
        }
    }
}

impl Observed {
    /// How long it took, as an earlier run wrote down.
    pub(super) fn remembered(&self) -> Option<Sample> {
        let (ready, serving) = (self.ready_at?, self.serving_at?);
        let seconds = |to, from| stamp::seconds(stamp::age(to, from));
        let (boot, warm_up) = (seconds(ready, self.launched_at), seconds(serving, ready));
        Some(Sample { address: self.address, launched_at: self.launched_at, boot, warm_up })
    }
}
