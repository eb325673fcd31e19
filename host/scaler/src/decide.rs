//! The decision: the largest proposal, then what may keep it from moving, then the bounds.
//!
//! The order is the meaning. Holds come before the tolerance and the steps, so that a step never undoes a hold; the
//! ceilings of a schedule and of a hard budget are bounds too and come after them; then the mode says whether any of it
//! is done; floor and ceiling come last, so that they always hold. Only who has lost its lease goes through one more
//! after them: it ends nothing, not even what is over a ceiling. Nothing before the steps can raise a number above both the want and the
//! count that stands, which is why more demand never gives less. A mode that only thinks goes through all of it
//! from the count that would stand.

use std::collections::VecDeque;
use std::time::Duration;

use config::region::{Scaling, ScalingMode, Step};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::decision::{Capacity, Clamp, Decision, Inputs, Limit, Version};
use crate::hint::Hinted;
use crate::policy::{Holds, Proposal, Source};
use crate::stamp;
use crate::wall::Wall;

/// What was wanted lately, for the stabilisation of decreases.
#[derive(Clone, Debug, Default)]
pub struct Wants {
    recent: VecDeque<(Timestamp, u32)>,
}

impl Wants {
    /// Two at one instant are one: deciding twice changes nothing.
    pub fn push(&mut self, at: Timestamp, want: u32, window: Duration) {
        // Instants ahead of `at` would hold for ever.
        self.recent.retain(|(then, _)| *then < at && stamp::age(at, *then) <= window);
        self.recent.push_back((at, want));
    }

    /// The largest of the window before `now`, and when it was wanted last.
    pub fn largest(&self, now: Timestamp, window: Duration) -> Option<(u32, Timestamp)> {
        self.recent
            .iter()
            .filter(|(then, _)| *then <= now && stamp::age(now, *then) < window)
            .map(|(then, want)| (*want, *then))
            .max()
    }
}

/// How the count moved lately, for limits over a time.
#[derive(Clone, Debug, Default)]
pub struct Moves {
    recent: VecDeque<(Timestamp, i64)>,
}

impl Moves {
    /// It went by so many at `at`; what is older than `window` is forgotten.
    pub fn push(&mut self, at: Timestamp, by: i64, window: Duration) {
        self.recent.retain(|(then, _)| *then <= at && stamp::age(at, *then) <= window);
        if by != 0 && !window.is_zero() {
            self.recent.push_back((at, by));
        }
    }

    /// The count may go so high from `count`, and so many of what the step allows were added already. The step is of
    /// what stood when its window began, as HPA has it: what came since and went again does not count.
    pub fn most(&self, step: &Step, count: u32, now: Timestamp) -> (u32, u32) {
        let (start, moved) = self.since(step, count, now);
        (start.saturating_add(step.of(start)).max(count), u32::try_from(moved).unwrap_or(0))
    }

    /// The same downwards.
    pub fn least(&self, step: &Step, count: u32, now: Timestamp) -> (u32, u32) {
        let (start, moved) = self.since(step, count, now);
        (start.saturating_sub(step.of(start)).min(count), u32::try_from(-moved).unwrap_or(0))
    }

    /// What stood when the step's window began, and by how much it went since.
    fn since(&self, step: &Step, count: u32, now: Timestamp) -> (u32, i64) {
        let window = step.within.unwrap_or_default();
        let within = |then: Timestamp| then <= now && stamp::age(now, then) < window;
        let moved: i64 = self.recent.iter().filter(|(then, _)| within(*then)).map(|(_, by)| by).sum();
        (u32::try_from(i64::from(count) - moved).unwrap_or(0), moved)
    }
}

/// An operator's word that a pool shall not move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatorHold {
    /// Keeps it from growing too; floor and ceiling still hold.
    pub both_ways: bool,
    /// Until when, by the wall clock; `None`: until it is lifted.
    #[serde(with = "crate::stamp::option")]
    pub until: Option<Timestamp>,
    pub because: String,
}

impl OperatorHold {
    fn told(&self) -> String {
        let until = self.until.map_or("until it is lifted".to_string(), |until| format!("until {until:.0}"));
        let growth = if self.both_ways { ", growth too" } else { "" };
        format!("{until}{growth}: {}", self.because)
    }
}

/// What is kept while scripts are silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quiet {
    /// This many; `None`: they are no more waited for, or had nothing to say.
    pub keeps: Option<u32>,
    pub because: String,
}

/// Origins that others started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// A count that is over the ceiling by them may be so high.
    pub most: u32,
    /// Why all of them are kept; `None`: they may go.
    pub because: Option<String>,
}

/// Everything that a decision depends on beside the proposals.
pub struct Case<'a> {
    pub pool: &'a str,
    pub now: Timestamp,
    pub wall: Wall,
    /// The count that stands.
    pub from: u32,
    /// The count that would stand if decisions were carried out; `from` where they are.
    pub thought: u32,
    pub scaling: &'a Scaling,
    pub wants: &'a Wants,
    /// How it moved lately.
    pub moves: &'a Moves,
    /// No fresh report at all, or an edge fell silent: why nothing may shrink.
    pub blind: Option<String>,
    /// No decision was made yet on counts that an earlier run left behind.
    pub take_over: bool,
    /// The lease has ended and nobody knows who has the next one: this far the count may be raised.
    pub lapsed: Option<u32>,
    /// Origins run that others started.
    pub kept: Option<Kept>,
    pub operator: Option<&'a OperatorHold>,
    /// Launches fail: why nothing that serves is taken away.
    pub failing: Option<String>,
    /// A plugin's word that it may not shrink.
    pub hint: Option<String>,
    /// Scripts that are silent.
    pub quiet: Option<Quiet>,
    pub hinted: Option<Hinted>,
    /// The ceiling of a schedule whose window it is.
    pub scheduled: Option<&'a Holds<u32>>,
    /// What a month's hard ceiling leaves, and why.
    pub budget: Option<(u32, String)>,
    pub capacity: Capacity,
    pub inputs: Inputs,
}

pub fn decide(case: Case, mut proposals: Vec<Proposal>) -> Decision {
    let (want, label) = largest(&mut proposals, || nothing_proposed(&case));
    let mut ladder = Ladder { at: want, clamps: Vec::new(), holds: Vec::new() };
    hold(&mut ladder, &case);
    tolerate(&mut ladder, &case);
    step(&mut ladder, &case);
    let (floor, ceiling) = (case.scaling.floor, case.scaling.ceiling);
    // What others started and is over a ceiling was not decided: it goes in steps. Money holds at once.
    let kept = case.kept.as_ref().map_or(0, |kept| kept.most);
    if let Some(Holds { value, rule, because, .. }) = case.scheduled {
        let most = if case.scaling.mode.only_thinks() { *value } else { kept.max(*value) };
        ladder.clamp(Limit::Schedule, |at| at.min(most), || format!("ceiling {value} of {rule} {because}"));
    }
    if let Some((most, because)) = &case.budget {
        ladder.clamp(Limit::Budget, |at| at.min(*most), || because.clone());
    }
    let would = ladder.at.max(floor).min(ceiling);
    let would = mode(&mut ladder, &case).then_some(would);
    ladder.clamp(Limit::Floor, |at| at.max(floor), || format!("floor {floor}"));
    ladder.clamp(Limit::Ceiling, |at| at.min(kept.max(ceiling)), || format!("ceiling {ceiling}"));

    if let Some(most) = case.lapsed {
        lapsed(&mut ladder, case.from, most);
    }

    let mut decision = Decision {
        at: case.wall.shows(case.now),
        pool: case.pool.to_string(),
        mode: case.scaling.mode,
        from: case.from,
        to: ladder.at,
        would,
        line: String::new(),
        proposals,
        winner: label,
        want,
        clamps: ladder.clamps,
        holds: ladder.holds,
        floor,
        ceiling,
        capacity: case.capacity,
        inputs: case.inputs,
        hinted: case.hinted,
        // What is told beside the number is the pool's to know.
        forecast: None,
        predicted: None,
        expected: None,
        next: None,
        peers: Vec::new(),
        change: None,
        late: None,
        replaced: Vec::new(),
        warm_pool: None,
        planned: None,
        foreign: None,
        operator: case.operator.cloned(),
        trouble: None,
        budget: None,
        version: Version::default(),
    };
    decision.line = decision.describe();
    decision
}

/// The largest count and whose it is; of `spare`, where no proposal has one, which is one of them then.
fn largest(proposals: &mut Vec<Proposal>, spare: impl FnOnce() -> Proposal) -> (u32, String) {
    // The first of equals wins: policies stand in the order of preference.
    let mut winner: Option<(u32, &Proposal)> = None;
    for proposal in proposals.iter() {
        if let Some(origins) = proposal.origins
            && winner.is_none_or(|(best, _)| origins > best)
        {
            winner = Some((origins, proposal));
        }
    }
    if let Some((origins, proposal)) = winner {
        return (origins, proposal.label());
    }
    let spare = spare();
    let found = (spare.origins.unwrap_or_default(), spare.label());
    proposals.push(spare);
    found
}

/// No policy has a number: without reports, or where a script is silent, the count stands; else the floor does.
fn nothing_proposed(case: &Case) -> Proposal {
    if case.scaling.mode == ScalingMode::Off {
        let because = "no rule is asked in the mode off".to_string();
        return Proposal { source: Source::Hold, rule: None, origins: Some(case.from), because };
    }
    let quiet = case.quiet.as_ref().map(|quiet| &quiet.because);
    match case.blind.as_ref().or(quiet) {
        Some(why) => Proposal { source: Source::Hold, rule: None, origins: Some(case.thought), because: why.clone() },
        None => Proposal {
            source: Source::Floor,
            rule: None,
            origins: Some(case.scaling.floor),
            because: "no policy asks for more".to_string(),
        },
    }
}

/// The number on its way down the limits.
struct Ladder {
    at: u32,
    clamps: Vec<Clamp>,
    holds: Vec<String>,
}

impl Ladder {
    fn clamp(&mut self, limit: Limit, to: impl Fn(u32) -> u32, because: impl Fn() -> String) {
        let (before, after) = (self.at, to(self.at));
        if before != after {
            self.clamps.push(Clamp { limit, before, after, because: because() });
            self.at = after;
        }
    }

    /// Keeps the number from falling under `least`. A hold is told even where it changes nothing.
    fn keep(&mut self, limit: Limit, least: u32, because: String) {
        self.clamp(limit, |at| at.max(least), || because.clone());
        self.holds.push(format!("{}: {because}", limit.name()));
    }
}

fn hold(ladder: &mut Ladder, case: &Case) {
    if ladder.at < case.thought
        && let Some((largest, at)) = case.wants.largest(case.now, case.scaling.stabilisation)
    {
        let least = largest.min(case.thought);
        let until = case.wall.shows(stamp::later(at, case.scaling.stabilisation));
        ladder.clamp(Limit::Stabilisation, |at| at.max(least), || format!("{largest} wanted, until {until:.0}"));
    }
    if let Some(why) = &case.blind {
        ladder.keep(Limit::NoData, case.thought, why.clone());
    }
    if case.take_over {
        ladder.keep(Limit::TakeOver, case.thought, "the first decision after a start may not shrink".to_string());
    }
    if let Some(because) = case.kept.as_ref().and_then(|kept| kept.because.clone())
        && !case.scaling.mode.only_thinks()
    {
        ladder.keep(Limit::Foreign, case.thought, because);
    }
    if let Some(failing) = &case.failing {
        // What is only asked for may be taken back: asking on for ever would be no better.
        ladder.keep(Limit::Launches, case.thought.min(case.capacity.serving), failing.clone());
    }
    if let Some(hint) = &case.hint {
        ladder.keep(Limit::Hint, case.thought, hint.clone());
    }
    if let Some(Quiet { keeps: Some(count), because }) = &case.quiet {
        ladder.keep(Limit::Script, (*count).min(case.thought), because.clone());
    }
    if let Some(operator) = case.operator {
        ladder.keep(Limit::Operator, case.thought, operator.told());
        if operator.both_ways {
            ladder.clamp(Limit::Operator, |at| at.min(case.thought), || operator.told());
        }
    }
}

/// Whether the count could be another in the mode `on`.
fn mode(ladder: &mut Ladder, case: &Case) -> bool {
    let mode = case.scaling.mode;
    let (from, name) = (case.from, mode.name());
    match mode {
        ScalingMode::On => return false,
        ScalingMode::Off => {}
        ScalingMode::Shadow | ScalingMode::Advise => ladder.clamp(Limit::Mode, |_| from, || name.to_string()),
        ScalingMode::UpOnly => ladder.clamp(Limit::Mode, |at| at.max(from), || name.to_string()),
    }
    ladder.holds.push(format!("{}: {name}", Limit::Mode.name()));
    mode != ScalingMode::Off
}

/// A difference that is not worth an action. Downwards only: too many cost little, too few are felt.
fn tolerate(ladder: &mut Ladder, case: &Case) {
    let percent = case.scaling.tolerance;
    // As far as `f64` tells: 3 % of 100 are three.
    let ignored = f64::from(case.thought) * percent / 100.0 - 1e-9;
    if ladder.at < case.thought && f64::from(case.thought - ladder.at) < ignored {
        let because = format!("{} fewer are under {percent} % of {}", case.thought - ladder.at, case.thought);
        ladder.clamp(Limit::Tolerance, |at| at.max(case.thought), || because.clone());
    }
}

/// The very last, after the ceiling too: who cannot know whether it is alone ends nothing.
fn lapsed(ladder: &mut Ladder, from: u32, most: u32) {
    let because = format!("at most the scheduled floor {most}, and nothing is taken away");
    ladder.clamp(Limit::WithoutLease, |at| at.min(most.max(from)).max(from), || because.clone());
    ladder.holds.push(format!("{}: {because}", Limit::WithoutLease.name()));
}

fn step(ladder: &mut Ladder, case: &Case) {
    let Scaling { step_up, step_down, .. } = case.scaling;
    for step in &step_up.0 {
        let (most, moved) = case.moves.most(step, case.thought, case.now);
        ladder.clamp(Limit::StepUp, |at| at.min(most), || format!("at most {step} more{}", at_once(step, moved)));
    }
    for step in &step_down.0 {
        let (least, moved) = case.moves.least(step, case.thought, case.now);
        ladder.clamp(Limit::StepDown, |at| at.max(least), || format!("at most {step} fewer{}", at_once(step, moved)));
    }
}

fn at_once(step: &Step, moved: u32) -> String {
    match (step.within, moved) {
        (None, _) => " at once".to_owned(),
        (Some(_), 0) => String::new(),
        (Some(_), moved) => format!(", {moved} of them done"),
    }
}
