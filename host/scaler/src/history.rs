//! What a pool saw, as points of 15 seconds and of a minute: what is kept on disk, what a restarted
//! region is told, and what a replay reads. A step that nobody reported has no point: a gap is a gap.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::decision::Capacity;

/// How long a point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    Fine,
    Minute,
}

impl Step {
    pub const ALL: [Step; 2] = [Step::Fine, Step::Minute];

    pub fn seconds(self) -> i64 {
        match self {
            Step::Fine => 15,
            Step::Minute => 60,
        }
    }

    pub fn duration(self) -> Duration {
        Duration::from_secs(self.seconds() as u64)
    }

    /// The first second of the step that `second` is in.
    pub fn start(self, second: i64) -> i64 {
        second.div_euclid(self.seconds()) * self.seconds()
    }

    pub fn name(self) -> &'static str {
        match self {
            Step::Fine => "15s",
            Step::Minute => "1m",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Step, String> {
        let found = Step::ALL.into_iter().find(|step| step.name() == text);
        found.ok_or_else(|| format!("step `{text}`; allowed are 15s and 1m"))
    }
}

/// Means per second over one step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// When the step began.
    #[serde(with = "crate::stamp")]
    pub at: Timestamp,
    pub requests: f64,
    pub rejects: f64,
    pub errors: f64,
    /// What `requests` count for beyond what they are, by plugins' hints.
    pub cost: f64,
    /// What part of the step was reported, of all edges that should have; 1 is all of it.
    pub covered: f64,
    /// Origins by stage when it was last reported on.
    pub origins: Capacity,
}

impl Point {
    pub fn second(&self) -> i64 {
        self.at.as_second()
    }
}

/// Points of one pool that are new, or other than they were.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Points {
    pub fine: Vec<Point>,
    pub minutes: Vec<Point>,
}

impl Points {
    pub fn is_empty(&self) -> bool {
        self.fine.is_empty() && self.minutes.is_empty()
    }
}
