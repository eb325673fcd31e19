//! What the calendar asks for: in each window a floor, a ceiling, a target or a factor.
//!
//! For each of the four by itself one rule wins, of those whose window it is: the more specific (one-off,
//! then cron on a calendar, then cron), then the one whose window began later, then the later in the file.
//! Not the largest, so that an operator can also ask for less than the weekly rule. Before its window (lead
//! and ramp) and after it (ramp) a rule only adds: it counts where it asks for more than what holds without
//! it, unless a more specific rule holds. A ceiling is of the window alone.
//!
//! Clock changes: a local time that is skipped fires at the next instant that exists, one that is repeated
//! once, at the first; durations, leads and ramps are time that passes. `config::firing` does that.
//!
//! - [`rule`]: one rule and where it stands in time.

mod rule;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use config::region::Schedule;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::rule::{Part, Phase, Rule};
use super::{Proposal, Source};
use crate::stamp;

#[derive(Debug)]
pub struct Scheduled {
    rules: Vec<Rule>,
    /// Of the pool: ramps start there.
    floor: u32,
    /// Of the reactive rule: a lead counts only where it asks for more than this.
    target: Option<f64>,
}

/// What holds at one instant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    pub floor: Option<Holds<u32>>,
    pub ceiling: Option<Holds<u32>>,
    pub target: Option<Holds<f64>>,
    pub multiply: Option<Holds<f64>>,
    /// One for each rule, in the order of the file.
    pub proposals: Vec<Proposal>,
}

/// A number and the rule that it is from.
#[derive(Clone, Debug, PartialEq)]
pub struct Holds<T> {
    pub value: T,
    pub rule: String,
    pub because: String,
    index: usize,
}

impl Standing {
    /// The numbers that hold, by name, for scripts.
    pub fn shown(&self) -> BTreeMap<String, f64> {
        let count = |holds: &Option<Holds<u32>>| holds.as_ref().map(|holds| f64::from(holds.value));
        let number = |holds: &Option<Holds<f64>>| holds.as_ref().map(|holds| holds.value);
        let all = [
            ("floor", count(&self.floor)),
            ("ceiling", count(&self.ceiling)),
            ("target", number(&self.target)),
            ("multiply", number(&self.multiply)),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

/// A rule and its firings, for `explain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScheduleView {
    pub name: String,
    /// One of both is given.
    pub cron: Option<String>,
    pub at: Option<String>,
    pub zone: String,
    pub floor: Option<u32>,
    pub ceiling: Option<u32>,
    pub target: Option<f64>,
    pub multiply: Option<f64>,
    /// Names of calendars.
    pub on: Option<String>,
    pub except: Option<String>,
    pub lead_seconds: f64,
    pub duration_seconds: f64,
    pub ramp_up_seconds: f64,
    pub ramp_down_seconds: f64,
    /// The window or its lead is now.
    pub active: bool,
    /// `waiting`, `ramp_up`, `lead`, `window` or `ramp_down`.
    pub phase: String,
    /// Of `floor`, `ceiling`, `target` and `multiply`: what is this rule's now.
    pub holds: Vec<String>,
    /// Until when, if it is active.
    #[serde(with = "crate::stamp::option")]
    pub until: Option<Timestamp>,
    /// Start of the next window.
    #[serde(with = "crate::stamp::option")]
    pub next_start: Option<Timestamp>,
    /// When it begins to take effect: the lead and the ramp before.
    #[serde(with = "crate::stamp::option")]
    pub next_effect: Option<Timestamp>,
}

/// When a rule will next have something else to say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coming {
    pub rule: String,
    /// `begins` (its ramp or lead, before the window), `changes` (a step of a ramp) or `ends`.
    pub what: String,
    #[serde(with = "crate::stamp")]
    pub at: Timestamp,
}

/// Something that rules hold, and how two of them compare.
struct Field<T> {
    name: &'static str,
    of: fn(&Schedule) -> Option<T>,
    /// So far from what holds without the rule to what it asks for; `None`: nothing yet.
    part: fn(T, T, Part) -> Option<T>,
    more: fn(T, T) -> bool,
}

const FLOOR: Field<u32> = Field {
    name: "floor",
    of: |rule| rule.floor,
    part: |from, to, part| Some(from + part.steps(to.saturating_sub(from))).filter(|now| *now > from),
    more: |a, b| a > b,
};
const TARGET: Field<f64> = Field {
    name: "target",
    of: |rule| rule.target,
    // More is asked of each origin or less: there is no number between that anybody asked for.
    part: |_, to, part| part.is_whole().then_some(to),
    more: |a, b| a < b,
};
const MULTIPLY: Field<f64> = Field {
    name: "multiply",
    of: |rule| rule.multiply,
    part: |from, to, part| {
        let step = part.steps(rule::MULTIPLY_STEPS);
        // A factor that takes away has no ramp: half of the way would be more than none of it.
        (step > 0 && (to > from || part.is_whole()))
            .then(|| from + (to - from) * f64::from(step) / f64::from(rule::MULTIPLY_STEPS))
    },
    more: |a, b| a > b,
};

impl Scheduled {
    pub fn of(scaling: &config::region::Scaling) -> Scheduled {
        let floor = scaling.floor;
        let rules = scaling.schedules.iter().cloned().map(|schedule| Rule::new(schedule, floor)).collect();
        Scheduled { rules, floor, target: scaling.requests_per_origin() }
    }

    pub fn standing(&mut self, now: Timestamp) -> Standing {
        let phases: Vec<Phase> = self.rules.iter_mut().map(|rule| rule.phase(now)).collect();
        let mut standing = Standing {
            floor: self.holder(&phases, &FLOOR, Some(self.floor)),
            ceiling: self.in_window(&phases, |rule| rule.ceiling),
            target: self.holder(&phases, &TARGET, self.target),
            multiply: self.holder(&phases, &MULTIPLY, Some(1.0)),
            proposals: Vec::new(),
        };
        standing.proposals = self
            .rules
            .iter()
            .enumerate()
            .map(|(i, rule)| {
                let floor = standing.floor.as_ref().filter(|holds| holds.index == i);
                let lost = self.lost(i, &phases, &standing);
                Proposal {
                    source: Source::Schedule,
                    rule: Some(rule.schedule.name.clone()),
                    origins: floor.map(|holds| holds.value),
                    because: rule.because(&phases[i], floor.map(|holds| holds.value)) + &lost,
                }
            })
            .collect();
        standing
    }

    /// How long origins take now: for rules without a lead of their own.
    pub fn relive(&mut self, lead: Duration) {
        self.rules.iter_mut().for_each(|rule| rule.relive(lead));
    }

    pub fn next_change(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.rules.iter_mut().filter_map(|rule| rule.next_change(now)).min()
    }

    /// Of the rule with the proposal `winner`; if it is none of them, of whichever is first.
    pub fn coming(&mut self, now: Timestamp, winner: &str) -> Option<Coming> {
        let winner = winner.strip_prefix(Source::Schedule.name()).map(str::trim_start);
        let won = |rule: &Rule| winner == Some(&rule.schedule.name);
        if let Some(rule) = self.rules.iter_mut().find(|rule| won(rule)) {
            return rule.coming(now);
        }
        self.rules.iter_mut().filter_map(|rule| rule.coming(now)).min_by_key(|coming| coming.at)
    }

    pub fn views(&mut self, now: Timestamp) -> Vec<ScheduleView> {
        let standing = self.standing(now);
        self.rules.iter_mut().enumerate().map(|(i, rule)| rule.view(now, standing.held_by(i))).collect()
    }

    /// The winner among the rules whose window it is.
    fn in_window<T: Copy>(&self, phases: &[Phase], of: fn(&Schedule) -> Option<T>) -> Option<Holds<T>> {
        let given = self.rules.iter().zip(phases).enumerate().filter_map(|(i, (rule, phase))| {
            let (start, _) = phase.window?;
            Some((rule.schedule.precedence(start, i), of(&rule.schedule)?))
        });
        let ((_, _, i), value) = given.max_by_key(|(order, _)| *order)?;
        Some(self.holds(i, value, &phases[i]))
    }

    /// The winner, or a rule before or after its window that asks for more. `base`: what holds without any.
    fn holder<T: Copy>(&self, phases: &[Phase], field: &Field<T>, base: Option<T>) -> Option<Holds<T>> {
        let winner = self.in_window(phases, field.of);
        let rank = winner.as_ref().map(|winner| self.rules[winner.index].schedule.rank());
        let mut best = winner;
        for (i, (rule, phase)) in self.rules.iter().zip(phases).enumerate() {
            let Some(asked) = (field.of)(&rule.schedule) else { continue };
            if rank.is_some_and(|rank| rule.schedule.rank() < rank) {
                continue;
            }
            let parts = phase.parts();
            let now = parts.filter_map(|part| match base {
                Some(base) => (field.part)(base, asked, part),
                None => part.is_whole().then_some(asked),
            });
            for value in now {
                let than = best.as_ref().map(|best| best.value).or(base);
                if than.is_none_or(|than| (field.more)(value, than)) {
                    best = Some(self.holds(i, value, phase));
                }
            }
        }
        best
    }

    fn holds<T>(&self, index: usize, value: T, phase: &Phase) -> Holds<T> {
        let rule = &self.rules[index];
        Holds { value, rule: rule.schedule.name.clone(), because: rule.until(phase), index }
    }

    /// To whom a rule in its window gives way, and why.
    fn lost(&self, i: usize, phases: &[Phase], standing: &Standing) -> String {
        let Some((start, _)) = phases[i].window else { return String::new() };
        let rule = &self.rules[i].schedule;
        let mut lost = String::new();
        let mut tell = |asks: bool, field: &str, winner: Option<usize>| {
            let Some(winner) = winner.filter(|winner| asks && *winner != i) else { return };
            let other = &self.rules[winner].schedule;
            let why = match phases[winner].window {
                _ if other.rank() > rule.rank() => other.rank().name(),
                Some((began, _)) if began == start => "later in the file",
                Some(_) => "began later",
                None => "asks for more",
            };
            lost += &format!("; {field} gives way to {} ({why})", other.name);
        };
        tell(rule.floor.is_some(), FLOOR.name, standing.floor.as_ref().map(|holds| holds.index));
        tell(rule.ceiling.is_some(), "ceiling", standing.ceiling.as_ref().map(|holds| holds.index));
        tell(rule.target.is_some(), TARGET.name, standing.target.as_ref().map(|holds| holds.index));
        tell(rule.multiply.is_some(), MULTIPLY.name, standing.multiply.as_ref().map(|holds| holds.index));
        lost
    }
}

impl Standing {
    /// What a rule that follows the load proposes, with the factor that holds. Not for hints: they say
    /// what is coming themselves.
    pub fn multiplied(&self, mut proposal: Proposal) -> Proposal {
        if let (Some(origins), Some(holds)) = (proposal.origins, &self.multiply) {
            // As in the reactive rule: a product of fractions is no reason for one more; a cast saturates.
            let more = (f64::from(origins) * holds.value * (1.0 - 1e-9)).ceil() as u32;
            proposal.because += &format!("; {origins} x {} = {more} by schedule {}", holds.value, holds.rule);
            proposal.origins = Some(more);
        }
        proposal
    }

    /// What an origin should carry now of requests, and by whose word if it is not the `usual`.
    pub fn target(&self, usual: f64) -> (f64, String) {
        match &self.target {
            Some(holds) => (holds.value, format!(" by schedule {}", holds.rule)),
            None => (usual, String::new()),
        }
    }

    fn held_by(&self, index: usize) -> Vec<String> {
        let whole = |holds: &Option<Holds<u32>>| holds.as_ref().is_some_and(|holds| holds.index == index);
        let parts = |holds: &Option<Holds<f64>>| holds.as_ref().is_some_and(|holds| holds.index == index);
        let all = [
            ("floor", whole(&self.floor)),
            ("ceiling", whole(&self.ceiling)),
            ("target", parts(&self.target)),
            ("multiply", parts(&self.multiply)),
        ];
        all.into_iter().filter(|(_, held)| *held).map(|(name, _)| name.to_owned()).collect()
    }
}

/// `18:00`, or `18:00:30` where the seconds say something.
fn clock(at: Timestamp, zone: &jiff::tz::TimeZone) -> String {
    let local = at.to_zoned(zone.clone());
    let format = if local.second() == 0 { "%H:%M" } else { "%H:%M:%S" };
    local.strftime(format).to_string()
}
