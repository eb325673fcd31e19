//! What plugins may ask of the scaling of a pool.

use std::time::Duration;

/// What a plugin may say of what is coming.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HintKind {
    /// Requests a second that will come through this edge beside those that it sees.
    Demand,
    /// How many requests this one counts for.
    Cost,
    /// Origins that shall serve by a time.
    Prewarm,
    /// No origin shall be taken away.
    Hold,
}

impl HintKind {
    pub const ALL: [HintKind; 4] = [HintKind::Demand, HintKind::Cost, HintKind::Prewarm, HintKind::Hold];

    pub fn name(self) -> &'static str {
        match self {
            HintKind::Demand => "demand",
            HintKind::Cost => "cost",
            HintKind::Prewarm => "prewarm",
            HintKind::Hold => "hold",
        }
    }

    pub fn parse(name: &str) -> Option<HintKind> {
        HintKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What is made of hints. Without it a pool takes none.
#[derive(Clone, Debug, PartialEq)]
pub struct Hints {
    /// The kinds that count; at least one.
    pub kinds: Vec<HintKind>,
    /// Most origins that hints add to what the other rules propose.
    pub add: u32,
    /// A hint stands no longer than this, unless it is given again.
    pub longest: Duration,
    /// Hints a second of one plugin through one edge; a cost is one of its request and free.
    pub per_second: u32,
}

impl Hints {
    pub const LONGEST: Duration = Duration::from_secs(600);
    pub const PER_SECOND: u32 = 10;
}
