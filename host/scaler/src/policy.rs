//! Policies: each looks at the pool and `now`, and proposes. A new one is a file here, a
//! variant of [`Policy`] and of [`Source`], and an arm.

pub mod hinted;
pub mod predictive;
pub mod reactive;
pub mod scheduled;
pub mod scripted;

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::edges::PoolEdges;
use crate::hint::Hints;
use crate::lead::Figures;
use crate::missing::Missing;
use crate::series::{Present, Series};
use crate::signal::Demand;
use crate::stamp;
use crate::wall::Wall;
pub use scheduled::{Coming, Holds, ScheduleView, Standing};

/// Where a proposal comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    Reactive,
    Predictive,
    Schedule,
    Script,
    Hint,
    /// Nothing proposed: the floor of the pool stands.
    Floor,
    /// Nothing may be concluded: the count stands.
    Hold,
}

impl Source {
    pub fn name(self) -> &'static str {
        match self {
            Source::Reactive => "reactive",
            Source::Predictive => "predictive",
            Source::Schedule => "schedule",
            Source::Script => "script",
            Source::Hint => "hint",
            Source::Floor => "floor",
            Source::Hold => "hold",
        }
    }
}

/// What one policy (or one rule of it) wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    pub source: Source,
    /// The rule's name, where a policy has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Origins of the whole pool, listed ones included; `None`: it has nothing to say now.
    pub origins: Option<u32>,
    pub because: String,
}

impl Proposal {
    /// `reactive`, `schedule evening`.
    pub fn label(&self) -> String {
        match &self.rule {
            Some(rule) => format!("{} {rule}", self.source.name()),
            None => self.source.name().to_string(),
        }
    }
}

/// What a policy may look at.
pub struct View<'a> {
    pub now: Timestamp,
    /// For texts: what a person would read off a clock.
    pub wall: Wall,
    pub series: &'a Series,
    pub present: &'a Present<'a>,
    pub edges: &'a PoolEdges<'a>,
    /// What stands in for edges that fell silent.
    pub missing: &'a Missing,
    pub hints: &'a Hints,
    /// What the signals say.
    pub demand: &'a Demand,
    /// How long a script's answer does.
    pub answers_stand: Duration,
    /// What the calendar has to say now.
    pub standing: &'a Standing,
    /// Origins that the budget pays for until the end of the month, on average; `None`: as many as it takes.
    pub affordable: Option<f64>,
    /// Origins that may wait in the warm pool in place of serving; `None`: nobody waits, and all is planned with the
    /// lead of a boot.
    pub waits: Option<u32>,
}

impl View<'_> {
    /// Requests a second to decide on, and how they came about: what fresh edges see and what stands in for the
    /// others; or what the hour usually brings, where nobody has reported for long. Nothing is learned from it.
    pub fn requests(&self, window: Duration) -> Option<(f64, String)> {
        let level = self.present.level(window);
        // Nobody has said anything in the window, and somebody still counts as one that reports.
        let unheard = || self.missing.unheard().map(|_| 0.0);
        match (level.map(|level| level.requests).or_else(unheard), self.missing.usual) {
            (Some(seen), _) => {
                let told = format!("{seen:.1} requests/s over {}{}", stamp::text(window), self.missing.told());
                Some((seen + self.missing.requests(), told))
            }
            (None, Some(usual)) => {
                Some((usual, format!("{usual:.1} requests/s, as usual at this time: nobody reports")))
            }
            (None, None) => None,
        }
    }
}

#[derive(Debug)]
pub enum Policy {
    Reactive(config::region::Reactive),
    /// Boxed: it keeps two weeks.
    Predictive(Box<predictive::Predictive>),
    Scheduled(scheduled::Scheduled),
    Scripted(scripted::Scripted),
    Hinted(hinted::Weighing),
}

impl Policy {
    /// Those that a region file asks for.
    pub fn of(scaling: &config::region::Scaling) -> Vec<Policy> {
        let reactive = scaling.reactive.clone().map(Policy::Reactive);
        let predictive = predictive::Predictive::of(scaling).map(|policy| Policy::Predictive(Box::new(policy)));
        let scheduled = (!scaling.schedules.is_empty()).then(|| Policy::Scheduled(scheduled::Scheduled::of(scaling)));
        let scripted = scripted::Scripted::of(scaling).map(Policy::Scripted);
        // Last, as it adds to what the others propose.
        let hinted = hinted::Weighing::of(scaling).map(Policy::Hinted);
        reactive.into_iter().chain(predictive).chain(scheduled).chain(scripted).chain(hinted).collect()
    }

    /// `before`: what the policies before this one propose.
    pub fn propose(&mut self, view: &View, before: &[Proposal]) -> Vec<Proposal> {
        match self {
            Policy::Reactive(rule) => vec![view.standing.multiplied(reactive::propose(rule, view))],
            Policy::Predictive(policy) => vec![view.standing.multiplied(policy.propose(view))],
            Policy::Scheduled(_) => view.standing.proposals.clone(),
            // Neither a schedule's factor nor a limit: a script sees them, and says what it means.
            Policy::Scripted(scripts) => scripts.propose(view.answers_stand, view.now),
            Policy::Hinted(weighing) => vec![weighing.propose(view, before)],
        }
    }

    /// What the calendar says, if this is who reads it. Others go by it, so it is asked first. `clock`: what the
    /// wall clock shows.
    pub fn standing(&mut self, clock: Timestamp) -> Option<Standing> {
        match self {
            Policy::Scheduled(rules) => Some(rules.standing(clock)),
            Policy::Reactive(_) | Policy::Predictive(_) | Policy::Scripted(_) | Policy::Hinted(_) => None,
        }
    }

    /// When this policy will say something else though nothing is reported.
    pub fn next_change(&mut self, wall: Wall, now: Timestamp) -> Option<Timestamp> {
        match self {
            // What changes with hints is the pool's to know: it keeps them.
            Policy::Reactive(_) | Policy::Hinted(_) => None,
            Policy::Predictive(policy) => policy.next_change(now),
            Policy::Scheduled(rules) => rules.next_change(wall.shows(now)).map(|at| wall.instant(at)),
            Policy::Scripted(scripts) => scripts.next_change(now),
        }
    }

    /// How long origins take now.
    pub fn relive(&mut self, figures: &Figures) {
        match self {
            Policy::Reactive(_) | Policy::Scripted(_) => {}
            Policy::Predictive(policy) => policy.relive(figures),
            Policy::Scheduled(rules) => rules.relive(figures.lead),
            Policy::Hinted(weighing) => weighing.relive(figures.lead),
        }
    }

    /// The window that the pool's present load is shown over.
    pub fn window(&self) -> Option<Duration> {
        match self {
            Policy::Reactive(rule) => Some(rule.window),
            Policy::Predictive(_) | Policy::Scheduled(_) | Policy::Scripted(_) | Policy::Hinted(_) => None,
        }
    }

    /// Those that a changed file asks for, with what the `before` ones learned.
    pub fn anew(scaling: &config::region::Scaling, before: Vec<Policy>) -> Vec<Policy> {
        let mut policies = Policy::of(scaling);
        for known in before {
            match known {
                Policy::Predictive(learned) => {
                    if let Some(policy) = policies.iter_mut().find_map(Policy::predictive) {
                        policy.learned(*learned);
                    }
                }
                Policy::Scripted(said) => {
                    if let Some(scripts) = policies.iter_mut().find_map(Policy::scripted) {
                        scripts.heard(said);
                    }
                }
                Policy::Reactive(_) | Policy::Scheduled(_) | Policy::Hinted(_) => {}
            }
        }
        policies
    }

    /// The next word of the rule that won, or the first of any.
    pub(crate) fn coming(&mut self, clock: Timestamp, winner: &str) -> Option<Coming> {
        match self {
            Policy::Scheduled(rules) => rules.coming(clock, winner),
            Policy::Reactive(_) | Policy::Predictive(_) | Policy::Scripted(_) | Policy::Hinted(_) => None,
        }
    }

    pub(crate) fn predictive(&mut self) -> Option<&mut predictive::Predictive> {
        match self {
            Policy::Predictive(policy) => Some(policy),
            Policy::Reactive(_) | Policy::Scheduled(_) | Policy::Scripted(_) | Policy::Hinted(_) => None,
        }
    }

    pub(crate) fn scripted(&mut self) -> Option<&mut scripted::Scripted> {
        match self {
            Policy::Scripted(scripts) => Some(scripts),
            Policy::Reactive(_) | Policy::Predictive(_) | Policy::Scheduled(_) | Policy::Hinted(_) => None,
        }
    }
}
