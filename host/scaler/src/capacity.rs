//! What one origin carries of requests, learned from what origins were seen to carry.
//!
//! Only times near saturation say something. More than was thought, carried within the bound of latency, raises the
//! figure; trouble near it lowers it. A load that is well under it says nothing, whatever becomes of it: a slow
//! database is no lesson on capacity. Neither is an outage, nor a time in which origins come, grow or go. It
//! takes a minute's worth of evidence in an hour, moves a few percent an hour, and stays within the operator's figures.

use std::collections::VecDeque;

use config::region::Learn;
use serde::{Deserialize, Serialize};

use crate::figure::unit_thousandths;

/// Steps of 15 s.
const STEPS_AN_HOUR: i64 = 240;
/// Part of the figure that it may move in an hour.
const AN_HOUR: f64 = 0.05;
/// Part of it that it goes back towards the operator's in an hour that was near saturation and brought no trouble.
const BACK_AN_HOUR: f64 = 0.01;
/// Evidence of fewer steps in an hour is chance.
const EVIDENCE: usize = 4;
/// Under this part of the figure a load says nothing of capacity.
const NEAR: f64 = 0.7;
/// More requests than this part that fail otherwise than by shedding are an outage; that are shed, trouble.
const FAILING: f64 = 0.01;
/// Steps for which the same capacity has served: before that, some have just come.
const STEADY: u32 = 2;
/// What is seen is so far from what the operator wrote.
const DRIFT: f64 = 0.2;

/// What a step brought, a second, over all edges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Carried {
    pub offered: f64,
    /// Refused or shed.
    pub rejects: f64,
    /// Answered with 500 and up, 503 included, or not at all.
    pub errors: f64,
    /// The quantile, in seconds; `None`: too few answers for one.
    pub latency: Option<f64>,
    /// Those that took traffic, in origins: one in its slow start as far as that is.
    pub origins: f64,
}

/// The figure, for the record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    /// Requests a second.
    pub per_origin: f64,
    /// What the region file begins with.
    pub configured: f64,
    pub at_least: f64,
    pub at_most: f64,
    /// What the evidence points to; `null`: there was none yet.
    pub seen: Option<f64>,
    /// That is over 20 % from what is configured.
    pub drift: bool,
}

/// What is kept over a restart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    configured: f64,
    value: f64,
    seen: Option<f64>,
}

/// A step that was near saturation.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Evidence {
    step: i64,
    /// Of one origin.
    load: f64,
    well: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Capacity {
    configured: f64,
    rule: Learn,
    value: f64,
    seen: Option<f64>,
    /// Of the last hour.
    evidence: VecDeque<Evidence>,
    origins: f64,
    steady: u32,
}

impl Capacity {
    pub fn new(configured: f64, rule: &Learn) -> Capacity {
        let value = configured.clamp(rule.at_least, rule.at_most);
        let (rule, evidence) = (rule.clone(), VecDeque::new());
        Capacity { configured, rule, value, seen: None, evidence, origins: 0.0, steady: 0 }
    }

    /// For a changed rule: what was learned from the same beginning stays, within the bounds of now.
    pub fn anew(self, configured: f64, rule: &Learn) -> Capacity {
        if self.configured == configured && self.rule == *rule {
            return self;
        }
        let mut anew = Capacity::new(configured, rule);
        anew.take_back(&self.kept());
        anew
    }

    /// What is worth writing down.
    pub fn kept(&self) -> Kept {
        Kept { configured: self.configured, value: self.value, seen: self.seen }
    }

    /// Takes what an earlier run learned, unless the file has begun with something else since.
    pub fn take_back(&mut self, kept: &Kept) {
        let sane = |value: f64| value.is_finite() && value > 0.0;
        if kept.configured == self.configured && sane(kept.value) && kept.seen.is_none_or(sane) {
            self.value = kept.value.clamp(self.rule.at_least, self.rule.at_most);
            self.seen = kept.seen;
        }
    }

    pub fn learned(&self) -> Learned {
        let drift = self.seen.is_some_and(|seen| (seen / self.configured - 1.0).abs() > DRIFT);
        Learned {
            per_origin: unit_thousandths(self.value),
            configured: self.configured,
            at_least: self.rule.at_least,
            at_most: self.rule.at_most,
            seen: self.seen.map(unit_thousandths),
            drift,
        }
    }

    /// Which part of the answers has to be within the bound.
    pub fn quantile(&self) -> f64 {
        self.rule.quantile
    }

    /// Takes what a step brought; `None`: part of it is not known.
    pub fn step(&mut self, step: i64, carried: Option<Carried>) {
        self.evidence.retain(|one| one.step < step && step - one.step <= STEPS_AN_HOUR);
        match carried {
            Some(carried) => self.weigh(step, carried),
            None => self.steady = 0,
        }
        if let Some(seen) = self.points_to() {
            self.seen = Some(seen);
            self.go(seen, AN_HOUR);
        } else if self.value < self.configured && self.nothing_but_well() {
            self.go(self.configured, BACK_AN_HOUR);
            // What it was lowered by is not seen any more.
            self.seen = self.seen.filter(|_| self.value < self.configured);
        }
    }

    fn go(&mut self, towards: f64, an_hour: f64) {
        let most = self.value * an_hour / STEPS_AN_HOUR as f64;
        let value = self.value + (towards - self.value).clamp(-most, most);
        self.value = value.clamp(self.rule.at_least, self.rule.at_most);
    }

    fn weigh(&mut self, step: i64, carried: Carried) {
        let same = (carried.origins - self.origins).abs() < 1e-6;
        self.steady = if same { self.steady.saturating_add(1) } else { 0 };
        self.origins = carried.origins;
        if self.steady < STEADY || carried.origins <= 0.0 || carried.offered <= 0.0 {
            return;
        }
        if carried.errors - carried.rejects > FAILING * carried.offered {
            return;
        }
        // What was shed nobody carried.
        let load = (carried.offered - carried.rejects) / carried.origins;
        let shed = carried.rejects > FAILING * carried.offered;
        let slow = carried.latency.map(|latency| latency > self.rule.latency.as_secs_f64());
        // Without enough answers nobody knows whether it went well, unless some were shed.
        let well = if shed { Some(false) } else { slow.map(|slow| !slow) };
        if let Some(well) = well.filter(|_| load >= NEAR * self.value) {
            self.evidence.push_back(Evidence { step, load, well });
        }
    }

    /// More than the figure that was carried for a minute in all, or less of which trouble came. Where
    /// steps contradict each other, twice as many have to be for it as against it.
    fn points_to(&self) -> Option<f64> {
        let (well, badly) = (self.loads(true), self.loads(false));
        let against = |load: f64| badly.iter().filter(|bad| **bad <= load).count();
        let more = well.iter().enumerate().take_while(|(_, load)| **load > self.value);
        // The first are the largest: so many and one were for each.
        let mut more = more.filter(|(before, load)| *before + 1 >= EVIDENCE && *before + 1 > 2 * against(**load));
        if let Some((_, load)) = more.next() {
            return Some(*load);
        }
        let less: Vec<f64> = badly.iter().copied().filter(|load| *load <= self.value).collect();
        let middle = *less.get(less.len() / 2).filter(|_| less.len() >= EVIDENCE)?;
        let against = well.iter().filter(|load| **load >= middle).count();
        (2 * against < less.len()).then_some(middle)
    }

    fn nothing_but_well(&self) -> bool {
        self.evidence.len() >= EVIDENCE && self.evidence.iter().all(|one| one.well)
    }

    /// The largest first.
    fn loads(&self, well: bool) -> Vec<f64> {
        let mut loads: Vec<f64> = self.evidence.iter().filter(|one| one.well == well).map(|one| one.load).collect();
        loads.sort_by(|a, b| b.total_cmp(a));
        loads
    }
}
