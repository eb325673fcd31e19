//! What the actuator says of a pool, and what of that somebody else brought about: a deploy that runs old and new
//! origins side by side, a person with a terminal.
//!
//! An actuator starts as many as it is told to and no more. Who appears beyond that was started by another hand:
//! such a change is not fought. The count that runs stands from then on, and nothing is taken away for it until the
//! stabilisation of the pool has passed since the last of them appeared; then they are given back as any surplus
//! is, in the usual steps, the youngest first. They are counted and not marked, as a deploy may leave the new ones
//! and end the old: whoever goes unasked meanwhile is not replaced, until the count is there again that was decided.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Pool;
use crate::decide::Kept;
use crate::decision::Decision;
use crate::policy::Source;
use crate::region::Role;
use crate::stage::Observed;
use crate::stamp;
use crate::wall::Wall;

/// Origins that run beside those that were decided, for the record. Counts are of the whole pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Foreign {
    /// The count that stands with them.
    pub seen: u32,
    /// The count that is there again once they are gone.
    pub decided: u32,
    /// When the first of them appeared.
    #[serde(with = "crate::stamp")]
    pub since: Timestamp,
}

/// What is known of other hands.
#[derive(Debug, Default)]
pub(super) struct Hands {
    /// So many may the actuator have started, as it was told to, that it has not shown yet.
    owed: u32,
    /// It has said what runs since it was told.
    heard: bool,
    surplus: Option<Surplus>,
}

#[derive(Clone, Copy, Debug)]
struct Surplus {
    /// What was decided before, and what rules have asked for since.
    decided: u32,
    since: Timestamp,
    /// When the last of them appeared.
    latest: Timestamp,
}

impl Hands {
    /// The actuator is told to have `run` origins, where so many are `present`. Telling it twice is telling it once.
    pub fn told(&mut self, run: u32, present: u32) {
        let owed = run.saturating_sub(present);
        let before = if std::mem::take(&mut self.heard) { 0 } else { self.owed };
        self.owed = before.max(owed);
    }

    /// How many of those that stand nobody here decided on.
    pub fn surplus(&self, desired: u32) -> u32 {
        self.surplus.map_or(0, |surplus| desired.saturating_sub(surplus.decided))
    }

    pub fn foreign(&self, seen: u32, wall: Wall) -> Option<Foreign> {
        let Surplus { decided, since, .. } = self.surplus?;
        Some(Foreign { seen, decided, since: wall.shows(since) })
    }

    /// A decision stands. What a rule asks for is wanted whoever else starts some; a hold that only keeps the
    /// count asks for nothing.
    pub fn accept(&mut self, decision: &Decision) {
        let Some(surplus) = &mut self.surplus else { return };
        let rules = decision.proposals.iter().filter(|proposal| proposal.source != Source::Hold);
        let asked = rules.filter_map(|proposal| proposal.origins).max().unwrap_or_default();
        if !decision.mode.only_thinks() {
            surplus.decided = surplus.decided.max(asked.min(decision.to).min(decision.ceiling));
        }
        if decision.to <= surplus.decided {
            self.surplus = None;
        }
    }

    /// Another aggregator acts, or this one begins: what runs is what stands.
    pub fn forget(&mut self) {
        *self = Hands::default();
    }

    fn came(&mut self, before: u32, now: Timestamp) {
        let surplus = self.surplus.get_or_insert(Surplus { decided: before, since: now, latest: now });
        surplus.latest = now;
    }
}

impl Pool {
    /// Takes what the actuator sees for true.
    pub fn observe(&mut self, seen: &[Observed], now: Timestamp) {
        let known = self.origins.present();
        let follows = self.role == Role::Standby;
        self.gone.extend(self.origins.observe(seen, follows, now));
        while self.gone.len() > super::GONE_KEPT {
            self.gone.pop_front();
        }
        let staying = seen.iter().filter(|origin| !origin.stopping && !origin.parked).count() as u32;
        let first = !std::mem::replace(&mut self.observed, true);
        self.seen = true;
        if follows || first {
            self.hands.forget();
        }
        if self.role == Role::Lapsed {
            self.stay();
        } else if staying > 0 && follows {
            self.desired = Some(self.listed() + staying);
        } else if staying > 0 && first {
            self.adopt(self.listed() + staying, now);
        } else if !first && !follows {
            self.notice(known, now);
        }
    }

    /// Without a lease that count stands which runs, and no more than the scheduled floor of what was asked for: who
    /// goes by itself is replaced up to there.
    fn stay(&mut self) {
        let asked = self.desired.unwrap_or_default().min(self.scheduled_floor);
        self.desired = Some(asked.max(self.listed() + self.origins.joined()));
    }

    /// Others came or went than were asked to, of `known` before.
    fn notice(&mut self, known: u32, now: Timestamp) {
        let present = self.origins.present();
        let expected = known.saturating_add(self.hands.owed);
        (self.hands.owed, self.hands.heard) = (expected.saturating_sub(present.max(known)), true);
        let Some(desired) = self.desired else { return };
        let more = present.saturating_sub(expected);
        if more > 0 {
            self.hands.came(desired, now);
            self.desired = Some(desired.saturating_add(more));
            self.due = now;
            return;
        }
        let Some(surplus) = self.hands.surplus else { return };
        // One that another runs in place of is not missed, nor is one that was never there.
        let missing = (desired + self.tier).saturating_sub(self.listed() + self.origins.at_hand());
        let went = known.saturating_sub(present).min(missing);
        if went > 0 {
            let left = desired.saturating_sub(went).max(surplus.decided);
            self.desired = Some(left);
            if left == surplus.decided {
                self.hands.surplus = None;
            }
            self.due = now;
        }
    }

    /// Where the next step down from so many would lead.
    fn a_step_down(&self, count: u32, now: Timestamp) -> u32 {
        self.scaling().step_down.0.iter().map(|step| self.moves.least(step, count, now).0).max().unwrap_or(count)
    }

    /// What keeps the count up for those that others started, and over the ceiling: they were not decided here.
    /// Until the stabilisation has passed nothing goes for it, then in steps.
    pub(super) fn kept(&self, now: Timestamp) -> Option<Kept> {
        let (surplus, desired) = (self.hands.surplus?, self.desired?);
        let stabilisation = self.scaling().stabilisation;
        let number = desired.saturating_sub(surplus.decided);
        if stamp::age(now, surplus.latest) >= stabilisation {
            return Some(Kept { most: self.a_step_down(desired, now), because: None });
        }
        let until = self.wall.shows(stamp::later(surplus.latest, stabilisation));
        let because = format!("{number} run that were not decided here, kept until {until:.0}");
        Some(Kept { most: desired, because: Some(because) })
    }
}
