//! What a policy plugin is asked, and what it may have answered. Scripts are run elsewhere: a question leaves
//! with the actions, and its answer comes back as an event, late or never.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::decision::Capacity;
use crate::foresight::Forecast;
use crate::history::Point;
use crate::policy::Proposal;
use crate::signal::Reading;
use crate::wall::Wall;

/// How many steps of 15 s of a pool's past a script is shown.
pub const STEPS_SHOWN: usize = 40;
/// The longest reason that is kept, in characters.
const LONGEST_REASON: usize = 200;

/// To be asked of one script of one pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    pub pool: String,
    /// The plugin's name.
    pub script: String,
    pub metrics: Metrics,
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// So many origins, of the whole pool.
    Proposed { origins: u32, because: String },
    /// It has nothing to say.
    Nothing,
    /// It failed, or was not asked: why, in one line.
    Silent(String),
}

/// What a script looks at: what the rules look at, as they left it. Times are seconds, instants seconds since
/// 1970; what is unknown is missing, which is not zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    pub now: f64,
    pub pool: String,
    pub origins: Counts,
    /// From a decision to capacity that serves.
    pub lead: f64,
    /// Of the rates.
    pub window: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejects_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors_per_second: Option<f64>,
    /// Of all fresh edges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u64>,
    pub edges: EdgeCounts,
    /// What the pool's signals say, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub signals: BTreeMap<String, Reading>,
    /// What the calendar says, where a schedule holds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub schedule: BTreeMap<String, f64>,
    /// The latest ten minutes in steps of 15 s, oldest first, the present one included; a step that nobody
    /// reported is missing.
    pub series: Vec<Seen>,
    /// What the predictive rule foresees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Forecast>,
    /// What the rules before the scripts propose, in their order.
    pub proposals: Vec<Proposal>,
}

/// Origins of the whole pool, listed ones included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// What was decided; in a mode that only thinks, what would have been.
    pub desired: u32,
    pub floor: u32,
    pub ceiling: u32,
    #[serde(flatten)]
    pub stages: Capacity,
}

/// Edges that report this pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EdgeCounts {
    pub fresh: u32,
    /// Silent, and not yet taken for gone.
    pub missing: u32,
}

/// One step of 15 s.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// When it began.
    pub at: i64,
    pub requests_per_second: f64,
    pub rejects_per_second: f64,
    pub errors_per_second: f64,
    /// What part of it was reported.
    pub covered: f64,
    pub origins: Capacity,
}

impl Seen {
    pub fn of(point: &Point, wall: Wall) -> Seen {
        Seen {
            at: wall.shows(point.at).as_second(),
            requests_per_second: point.requests,
            rejects_per_second: point.rejects,
            errors_per_second: point.errors,
            covered: point.covered,
            origins: point.origins,
        }
    }
}

/// A script's own words: its first line, without what would break a line of text, and no longer than a reason
/// need be.
pub fn tidy(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    let clean = line.chars().filter(|c| !c.is_control());
    let mut tidied: String = clean.clone().take(LONGEST_REASON).collect();
    if clean.count() > LONGEST_REASON {
        tidied.push('…');
    }
    tidied
}
