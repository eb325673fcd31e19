//! autoscaling/v2 at its defaults: looks each 15 s, 10 % tolerance, up by at most the larger of
//! 100 % and 4 pods, down only after 300 s in which nothing more was wanted. Metrics are 30 to 45 s old.

use std::collections::VecDeque;

use super::{Now, Past};
use crate::replay::Lives;

/// Steps by which metrics are late.
const LAG: usize = 2;
/// As far back as it looks.
pub(super) const SEEN: usize = LAG + 1;
const TOLERANCE: f64 = 0.1;
const DOWN_SECONDS: f64 = 300.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Requests as the proxy offers them, per pod.
    Requests,
    /// CPU: no more than there is capacity, and pods that are not ready count as idle on the way up.
    Cpu,
}

#[derive(Debug)]
pub struct Hpa {
    target: f64,
    metric: Metric,
    window: usize,
    /// Falling queue of what was wanted.
    wants: VecDeque<(usize, u32)>,
}

impl Hpa {
    pub fn new(lives: &Lives, target: f64, metric: Metric) -> Hpa {
        Hpa { target, metric, window: (DOWN_SECONDS / lives.step) as usize, wants: VecDeque::new() }
    }

    pub fn step(&mut self, now: Now, past: &Past) -> u32 {
        let Now { step, ready, total } = now;
        if step < 4 || ready == 0 {
            return total;
        }
        let from = step.saturating_sub(SEEN);
        let to = (from + 1).max(step - LAG + 1);
        let want = match self.metric {
            Metric::Requests => {
                let load = past.mean(|step| step.demand, from, to);
                let ratio = load / (self.target * f64::from(total));
                if (ratio - 1.0).abs() > TOLERANCE { (load / self.target).ceil() as u32 } else { total }
            }
            Metric::Cpu => {
                let per_pod = past.mean(|step| step.used, from, to) / past.mean(|step| step.ready, from, to).max(1.0);
                self.by_cpu(per_pod / self.target, ready, total)
            }
        };
        let want = want.min((total * 2).max(total + 4));
        while self.wants.back().is_some_and(|(_, other)| *other <= want) {
            self.wants.pop_back();
        }
        self.wants.push_back((step, want));
        while self.wants.front().is_some_and(|(then, _)| then + self.window < step) {
            self.wants.pop_front();
        }
        if want < total { total.min(self.wants.front().map_or(want, |(_, largest)| *largest)) } else { want }
    }

    fn by_cpu(&self, ratio: f64, ready: u32, total: u32) -> u32 {
        if ratio > 1.0 && total > ready {
            let ratio = ratio * f64::from(ready) / f64::from(total);
            let stays = ratio < 1.0 || (ratio - 1.0).abs() <= TOLERANCE;
            return if stays { total } else { (ratio * f64::from(total)).ceil() as u32 };
        }
        if (ratio - 1.0).abs() > TOLERANCE { (ratio * f64::from(ready)).ceil() as u32 } else { total }
    }
}
