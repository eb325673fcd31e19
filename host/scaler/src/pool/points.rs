//! What a pool saw, as points for the history, and what an earlier run saw, taken back in.

use jiff::Timestamp;

use super::{Pool, STEPS_KEPT};
use crate::checkpoint::{Beside, Checkpoint};
use crate::edges::PoolEdges;
use crate::history::{Point, Points, Step};
use crate::policy::Policy;
use crate::series::Level;

impl Pool {
    /// What an earlier run saw, in steps of 15 s by the wall clock of now.
    pub fn recall(&mut self, points: &[Point]) {
        let points = &self.heard(points, Step::Fine)[..];
        if let Some(policy) = self.policies.iter_mut().find_map(Policy::predictive) {
            policy.recall(points);
        }
        for point in points {
            let Point { requests, rejects, errors, cost, covered, .. } = *point;
            // Of a step that was cut off, its first seconds were seen.
            let seconds = ((covered * Step::Fine.seconds() as f64).ceil() as i64).clamp(1, Step::Fine.seconds());
            let part = (covered * Step::Fine.seconds() as f64 / seconds as f64).min(1.0);
            for second in point.second()..point.second() + seconds {
                self.series.seed(second, Level { requests, rejects, errors, cost }, part);
            }
        }
    }

    /// What an earlier run learned, or why it is of no use here.
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        match self.policies.iter_mut().find_map(Policy::predictive) {
            Some(policy) => {
                let Beside { lead, capacity } = policy.restore(checkpoint, self.wall)?;
                self.lead.restore(lead);
                if let Some(kept) = capacity {
                    self.signals.take_back(&kept);
                }
            }
            None => return Err("the pool has no predictive scaling".to_string()),
        }
        if self.lead.settle(&self.config) {
            self.relive();
        }
        Ok(())
    }

    /// Since when minutes are of use; `None`: nothing here learns from them.
    pub fn wants_minutes(&mut self, now: Timestamp) -> Option<Timestamp> {
        let engine = self.policies.iter_mut().find_map(Policy::predictive).and_then(|policy| policy.wants_minutes(now));
        engine.or_else(|| self.usual.as_ref()?.wants_minutes())
    }

    /// What was seen, by the minute.
    pub fn teach(&mut self, minutes: &[Point]) {
        let minutes = &self.heard(minutes, Step::Minute)[..];
        if let Some(policy) = self.policies.iter_mut().find_map(Policy::predictive) {
            policy.teach(minutes);
        }
        if let Some(usual) = &mut self.usual {
            usual.teach(minutes);
        }
    }

    /// What was learned, if it is time to write it down or `anyway`.
    pub fn checkpoint(&mut self, anyway: bool) -> Option<Checkpoint> {
        let beside = || Beside { lead: self.lead.learned().clone(), capacity: self.signals.kept() };
        self.policies.iter_mut().find_map(Policy::predictive)?.checkpoint(beside, anyway, self.wall)
    }

    /// The points that reports changed since this was asked last, the present step's included.
    pub fn points(&mut self, edges: &PoolEdges, now: Timestamp) -> Points {
        let step = Step::Fine.start(now.as_second());
        self.capacities.retain(|(then, _)| *then < step);
        self.capacities.push_back((step, self.capacity()));
        if self.capacities.len() > STEPS_KEPT {
            self.capacities.pop_front();
        }
        let (Some(touched), Some(last)) = (self.series.take_touched(), self.series.last()) else {
            return Points::default();
        };
        let expected = edges.fresh.len() + edges.missing.len();
        let of = |step: Step| {
            let starts = (step.start(touched)..=last).step_by(step.seconds() as usize);
            starts.filter_map(|start| self.point(start, step, expected)).collect()
        };
        Points { fine: of(Step::Fine), minutes: of(Step::Minute) }
    }

    pub(super) fn point(&self, start: i64, step: Step, expected: usize) -> Option<Point> {
        let end = start + step.seconds();
        let mean = self.series.mean(start, end, expected)?;
        let known = self.capacities.iter().rev().find(|(then, _)| (start..end).contains(then));
        // Reports that overlap cover more than has passed, and nobody has seen what is to come.
        let seen = self.series.last().map_or(0, |last| last + 1 - start).clamp(0, step.seconds());
        let covered = mean.covered.min(seen as f64 / step.seconds() as f64);
        let Level { requests, rejects, errors, cost } = mean.level;
        Some(Point {
            at: self.shown(start, step)?,
            requests,
            rejects,
            errors,
            cost,
            covered,
            origins: known.map_or_else(|| self.capacity(), |(_, capacity)| *capacity),
        })
    }

    /// When a step began, by the wall clock. That one may have been set by part of a step; points keep to the
    /// grid of theirs, or two runs would have different ones: so each is up to half a step off.
    fn shown(&self, start: i64, step: Step) -> Option<Timestamp> {
        nearest(self.wall.shows(Timestamp::from_second(start).ok()?), step)
    }

    /// Points of the wall clock by ours.
    fn heard(&self, points: &[Point], step: Step) -> Vec<Point> {
        let heard = |point: &Point| Some(Point { at: nearest(self.wall.instant(point.at), step)?, ..*point });
        points.iter().filter_map(heard).collect()
    }

    /// All points shall be told again: those that were told are lost.
    pub fn tell_again(&mut self) {
        self.series.touch();
    }
}

/// The begin of a step that is nearest.
fn nearest(at: Timestamp, step: Step) -> Option<Timestamp> {
    Timestamp::from_second(step.start(at.as_second() + step.seconds() / 2)).ok()
}
