//! What is kept of the past: 14 days by the minute, the last hour by the step. A gap is a gap.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

pub const DAY: usize = 1440;
/// A lag of 14 days and a little, for means around it.
const KEPT: usize = 14 * DAY + 16;
/// The part of the mean demand that is as good as none.
const SMALL: f64 = 0.02;
/// Of one origin: under it a pool's demand is as good as none, however small its mean.
const SMALLEST: f64 = 0.02;

/// Minutes without a report.
const GAP: f32 = -1.0;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct History {
    in_minute: usize,
    /// The last hour by the step, the latest last; a gap carries the value before it.
    hour: VecDeque<f64>,
    /// Means of whole minutes, the latest last.
    minutes: VecDeque<f32>,
    /// Sum and count of the minute that runs.
    open: (f64, u32),
    steps: u64,
    /// Sum and count of the kept minutes that are no gap.
    kept: (f64, u64),
    six_hours: (f64, u32),
    day: (f64, u32),
    seen: bool,
}

/// Means of demand up to now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Recent {
    /// Of 30 s.
    pub level: f64,
    pub minute: f64,
    pub five: f64,
    pub fifteen: f64,
    pub sixty: f64,
    pub six_hours: f64,
    pub day: f64,
    pub last: f64,
}

impl History {
    pub fn new(step_seconds: f64) -> History {
        History {
            in_minute: ((60.0 / step_seconds).round() as usize).max(1),
            hour: VecDeque::new(),
            minutes: VecDeque::new(),
            open: (0.0, 0),
            steps: 0,
            kept: (0.0, 0),
            six_hours: (0.0, 0),
            day: (0.0, 0),
            seen: false,
        }
    }

    pub fn push(&mut self, demand: Option<f64>) {
        self.steps += 1;
        if let Some(demand) = demand {
            self.open = (self.open.0 + demand, self.open.1 + 1);
            self.seen = true;
        }
        if let Some(value) = demand.or(self.hour.back().copied()) {
            self.hour.push_back(value);
            if self.hour.len() > self.in_minute * 60 {
                self.hour.pop_front();
            }
        }
        if self.steps.is_multiple_of(self.in_minute as u64) {
            self.close();
        }
    }

    fn close(&mut self) {
        let (sum, count) = std::mem::take(&mut self.open);
        let mean = if count == 0 { GAP } else { (sum / f64::from(count)) as f32 };
        if count > 0 {
            self.kept = (self.kept.0 + f64::from(mean), self.kept.1 + 1);
        }
        self.minutes.push_back(mean);
        for (length, sums) in [(360, &mut self.six_hours), (DAY, &mut self.day)] {
            if mean != GAP {
                *sums = (sums.0 + f64::from(mean), sums.1 + 1);
            }
            if let Some(old) = self.minutes.len().checked_sub(length + 1).map(|at| self.minutes[at])
                && old != GAP
            {
                *sums = (sums.0 - f64::from(old), sums.1 - 1);
            }
        }
        if self.minutes.len() > KEPT
            && let Some(old) = self.minutes.pop_front()
            && old != GAP
        {
            self.kept = (self.kept.0 - f64::from(old), self.kept.1 - 1);
        }
    }

    /// Steps taken, gaps included.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Whole minutes kept.
    pub fn minutes(&self) -> usize {
        self.minutes.len()
    }

    pub fn starts_minute(&self) -> bool {
        self.steps.is_multiple_of(self.in_minute as u64)
    }

    pub fn in_minute(&self) -> usize {
        self.in_minute
    }

    /// The mean of the minute that began `ago` minutes before the one that runs now; `ago` from 1.
    pub fn minute(&self, ago: usize) -> Option<f64> {
        let at = self.minutes.len().checked_sub(ago)?;
        self.minutes.get(at).filter(|mean| **mean != GAP).map(|mean| f64::from(*mean))
    }

    /// The mean of the five minutes around.
    pub fn around(&self, ago: usize) -> Option<f64> {
        let (mut sum, mut count) = (0.0, 0.0);
        for ago in ago.saturating_sub(2).max(1)..=ago + 2 {
            if let Some(value) = self.minute(ago) {
                sum += value;
                count += 1.0;
            }
        }
        (count > 0.0).then(|| sum / count)
    }

    /// A demand that is as good as none: what is added before a logarithm is taken.
    pub fn small(&self) -> f64 {
        let mean = if self.kept.1 == 0 { 0.0 } else { self.kept.0 / self.kept.1 as f64 };
        (SMALL * mean).max(SMALLEST)
    }

    /// `None`: nothing was ever seen.
    pub fn recent(&self) -> Option<Recent> {
        let last = *self.hour.back()?;
        let mean = |steps: usize| {
            let steps = steps.clamp(1, self.hour.len());
            self.hour.range(self.hour.len() - steps..).sum::<f64>() / steps as f64
        };
        let minute = self.in_minute;
        Some(Recent {
            level: mean((minute / 2).max(1)),
            minute: mean(minute),
            five: mean(5 * minute),
            fifteen: mean(15 * minute),
            sixty: mean(60 * minute),
            six_hours: if self.six_hours.1 > 0 {
                (self.six_hours.0 / f64::from(self.six_hours.1)).max(0.0)
            } else {
                mean(60 * minute)
            },
            day: if self.day.1 > 0 { (self.day.0 / f64::from(self.day.1)).max(0.0) } else { mean(60 * minute) },
            last,
        })
    }

    /// The last hour by the step, the latest last.
    pub fn hour(&self) -> &VecDeque<f64> {
        &self.hour
    }
}
