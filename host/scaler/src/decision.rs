//! A decision and why: every candidate, every clamp in order, and what was seen. It is what the
//! journal keeps and `explain` answers, so its JSON is stable: fields are added, never renamed.

use std::fmt::Write as _;

use config::region::ScalingMode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wire::Stage;

use crate::budget::Spending;
use crate::carried::{Change, Late, Trouble};
use crate::decide::OperatorHold;
use crate::edges::doubt::Doubted;
use crate::foresight::{Expected, Forecast, Predicted};
use crate::hint::Hinted;
use crate::missing::StandIn;
use crate::peers::beside::PeerCount;
use crate::policy::predictive::warm::Planned;
use crate::policy::{Coming, Proposal, Source};
use crate::pool::foreign::Foreign;
use crate::signal::Demand;
use crate::stage::Replaced;

/// How many origins a pool shall have, decided at one instant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    #[serde(with = "crate::stamp")]
    pub at: Timestamp,
    pub pool: String,
    #[serde(default)]
    pub mode: ScalingMode,
    /// The count that stood before. Counts are of the whole pool, listed origins included.
    pub from: u32,
    pub to: u32,
    /// What there would be in the mode `on`, where the mode is another that asks the rules. In `shadow` and
    /// `advise` its holds and steps go by what there would have been before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would: Option<u32>,
    /// One line of text: what a person reads first.
    pub line: String,
    /// Every policy's word, those with nothing to say included.
    pub proposals: Vec<Proposal>,
    /// The label of the proposal that won.
    pub winner: String,
    /// What the winner wants, before any limit.
    pub want: u32,
    /// The limits that changed the number, in the order they were applied.
    pub clamps: Vec<Clamp>,
    /// Why the count may not move, whether or not it would have.
    pub holds: Vec<String>,
    pub floor: u32,
    pub ceiling: u32,
    pub capacity: Capacity,
    pub inputs: Inputs,
    /// What plugins asked for, if any did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hinted: Option<Hinted>,
    /// What the predictive rule foresees, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Forecast>,
    /// What of that would come over this count, and over one less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted: Option<Predicted>,
    /// What will run one lead from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Expected>,
    /// The next word of the schedule that won; of any, where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Coming>,
    /// What other autoscalers would have now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<PeerCount>,
    /// What became of the last count that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    /// Capacity that was asked for longer than a lead ago and does not serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<Late>,
    /// Origins that are late or going, in whose place others run or will.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<Replaced>,
    /// How many shall be in the warm pool, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_pool: Option<u32>,
    /// Which lead the predictive rule's count goes by, where some may wait in a warm pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned: Option<Planned>,
    /// Origins that run and were not decided here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign: Option<Foreign>,
    /// An operator's hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<OperatorHold>,
    /// Why the actuator does not do as it is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
    /// What is aimed at, what it costs, and what of the month is spent, where there is a budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Spending>,
    #[serde(default)]
    pub version: Version,
}

/// Under which rules it was decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// `config::Region::digest` of the region file.
    pub config: String,
    /// Of the program, and of the engine's model: the same number decides alike.
    pub engine: String,
}

/// One limit at work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clamp {
    pub limit: Limit,
    pub before: u32,
    pub after: u32,
    pub because: String,
}

/// In the order of application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Hints add so many to what other rules propose, and no more.
    Hints,
    /// A decrease waits until no decision of the window wanted more.
    Stabilisation,
    /// No decrease on reports that are missing.
    NoData,
    /// No decrease in the first decision after a start.
    TakeOver,
    /// Others have started origins: they are kept for a while.
    Foreign,
    /// Nothing that serves is taken away while launches fail.
    Launches,
    /// A plugin's hint that nothing shall be taken away.
    Hint,
    /// A script is silent, and its last count is kept for a while.
    Script,
    /// An operator's hold.
    Operator,
    /// A decrease by so little is none.
    Tolerance,
    StepUp,
    StepDown,
    /// The ceiling of a schedule.
    Schedule,
    /// A month's hard ceiling: what is left is the floor's.
    Budget,
    /// The mode of the pool lets it go no further.
    Mode,
    Floor,
    Ceiling,
    /// The lease has ended and its store is silent: no further up than the scheduled floor, and not down.
    WithoutLease,
}

impl Limit {
    pub fn name(self) -> &'static str {
        match self {
            Limit::Hints => "hints",
            Limit::Hint => "hint",
            Limit::Script => "script",
            Limit::Stabilisation => "stabilisation",
            Limit::NoData => "no data",
            Limit::TakeOver => "take-over",
            Limit::Foreign => "foreign",
            Limit::Launches => "launches",
            Limit::Operator => "operator",
            Limit::Tolerance => "tolerance",
            Limit::StepUp => "step up",
            Limit::StepDown => "step down",
            Limit::Schedule => "schedule",
            Limit::Budget => "budget",
            Limit::Mode => "mode",
            Limit::Floor => "floor",
            Limit::Ceiling => "ceiling",
            Limit::WithoutLease => "without lease",
        }
    }
}

/// Origins of a pool by stage. Listed origins count as serving.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    pub booting: u32,
    pub warming: u32,
    pub serving: u32,
    pub draining: u32,
    /// In the warm pool, and booted: no member of the pool.
    #[serde(default)]
    pub warm: u32,
}

impl Capacity {
    pub fn of(stages: impl IntoIterator<Item = Stage>) -> Capacity {
        let mut capacity = Capacity::default();
        for stage in stages {
            *match stage {
                Stage::Booting => &mut capacity.booting,
                Stage::Warming => &mut capacity.warming,
                Stage::Serving => &mut capacity.serving,
                Stage::Draining => &mut capacity.draining,
            } += 1;
        }
        capacity
    }

    pub fn get(&self, stage: Stage) -> u32 {
        match stage {
            Stage::Booting => self.booting,
            Stage::Warming => self.warming,
            Stage::Serving => self.serving,
            Stage::Draining => self.draining,
        }
    }
}

/// What the decision saw. Rates are per second over `window_seconds`; `null`: nothing is known,
/// which is not zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inputs {
    pub window_seconds: f64,
    pub requests_per_second: Option<f64>,
    pub rejects_per_second: Option<f64>,
    pub errors_per_second: Option<f64>,
    pub in_flight: Option<u64>,
    /// What part of the expected demand is reported: each edge weighs what it brought lately. `null`: no edge is known.
    #[serde(default)]
    pub coverage: Option<f64>,
    /// What stands in for silent edges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried_requests_per_second: Option<f64>,
    /// What this time of day usually brings, where it is decided on, as nobody has reported for long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usual_requests_per_second: Option<f64>,
    /// Reports of the last minute that were not believed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Doubted>,
    /// The edges that report this pool, silent ones included until they are forgotten.
    pub edges: Vec<EdgeAge>,
    /// As many further edges are not named, where there are over 32 that report or over 32 that are silent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub edges_more: u32,
    /// Edges that have ended in order in the last minute: nothing stands in for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
    /// What the signals say, and which of them asks for the most; missing where no rule follows the load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub demand: Option<Demand>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EdgeAge {
    pub edge: String,
    pub age_seconds: f64,
    pub fresh: bool,
    /// What stands in for it while it is silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried: Option<StandIn>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Decision {
    /// "pool shop: 2 -> 5: schedule evening (floor 5 from 18:00 Europe/Berlin, lead 60s) over
    /// reactive 2; ceiling 8".
    pub(crate) fn describe(&self) -> String {
        let mut line = format!("pool {}: {} -> {}: {}", self.pool, self.from, self.to, self.winner);
        if let Some(winner) = self.proposals.iter().find(|proposal| proposal.label() == self.winner) {
            let _ = write!(line, " ({})", winner.because);
        }
        let others = self
            .proposals
            .iter()
            .filter(|proposal| proposal.label() != self.winner)
            .filter_map(|proposal| proposal.origins.map(|origins| format!("{} {origins}", proposal.label())))
            .collect::<Vec<_>>();
        if !others.is_empty() {
            let _ = write!(line, " over {}", others.join(", "));
        }
        for Clamp { limit, before, after, because } in &self.clamps {
            let _ = match limit {
                Limit::Floor => write!(line, "; floor {} binds (wanted {before})", self.floor),
                Limit::Ceiling => Ok(()),
                _ => write!(line, "; {} {before} -> {after} ({because})", limit.name()),
            };
        }
        let _ = match self.clamps.iter().find(|clamp| clamp.limit == Limit::Ceiling) {
            Some(clamp) => write!(line, "; ceiling {} binds (wanted {})", self.ceiling, clamp.before),
            None => write!(line, "; ceiling {}", self.ceiling),
        };
        line
    }

    /// What is news of the last change: that it begins to serve, that it is done, that it fails.
    fn carried_out(&self) -> (Option<(bool, bool)>, bool, Option<&str>) {
        let change = self.change.as_ref();
        let steps = change.map(|change| (change.first_seconds.is_some(), change.done_seconds.is_some()));
        (steps, self.late.is_some(), self.trouble.as_ref().map(|trouble| trouble.error.as_str()))
    }

    /// Whether a journal that has `last` would learn something from this one: another number,
    /// winner or limit, another hint, or that the last change is carried out or fails. What is measured differs each time and is no news by itself.
    pub fn differs(&self, last: &Decision) -> bool {
        let limits = |decision: &Decision| decision.clamps.iter().map(|clamp| clamp.limit).collect::<Vec<_>>();
        let asked = |decision: &Decision| {
            let asked = decision.hinted.iter().flat_map(|hinted| &hinted.asked);
            asked.map(|asked| format!("{:?}", asked.key())).collect::<Vec<_>>()
        };
        // Scripts that say nothing, whose last count may be all that is seen of them.
        let unheard = |decision: &Decision| {
            let scripts = decision.proposals.iter().filter(|one| one.source == Source::Script && one.origins.is_none());
            scripts.map(Proposal::label).collect::<Vec<_>>()
        };
        self.from != self.to
            || self.to != last.to
            || (self.mode, self.would) != (last.mode, last.would)
            || self.winner != last.winner
            || (self.floor, self.ceiling) != (last.floor, last.ceiling)
            || limits(self) != limits(last)
            || asked(self) != asked(last)
            || self.carried_out() != last.carried_out()
            || unheard(self) != unheard(last)
            || self.operator != last.operator
            || (&self.replaced, self.warm_pool, &self.foreign) != (&last.replaced, last.warm_pool, &last.foreign)
    }
}
