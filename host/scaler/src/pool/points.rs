//! What a pool saw, as points for the history, and what an earlier run saw, taken back in.

use jiff::Timestamp;

use super::{Pool, STEPS_KEPT};
use crate::edges::PoolEdges;
use crate::history::{Point, Points, Step};
use crate::series::Level;

impl Pool {
    /// What an earlier run saw, in steps of 15 s.
    pub fn recall(&mut self, points: &[Point]) {
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

    /// The points that reports changed since this was asked last, the present step's included.
    pub fn points(&mut self, edges: &PoolEdges, now: Timestamp) -> Points {
        let step = Step::Fine.start(now.as_second());
        // Steps ahead are of a clock that was set back.
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

    fn point(&self, start: i64, step: Step, expected: usize) -> Option<Point> {
        let end = start + step.seconds();
        let mean = self.series.mean(start, end, expected)?;
        let known = self.capacities.iter().rev().find(|(then, _)| (start..end).contains(then));
        let Level { requests, rejects, errors, cost } = mean.level;
        Some(Point {
            at: Timestamp::from_second(start).ok()?,
            requests,
            rejects,
            errors,
            cost,
            covered: mean.covered,
            origins: known.map_or_else(|| self.capacity(), |(_, capacity)| *capacity),
        })
    }

    /// All points shall be told again: those that were told are lost.
    pub fn tell_again(&mut self) {
        self.series.touch();
    }
}
