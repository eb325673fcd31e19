//! How other autoscalers would have decided, for comparison: their published algorithms at their
//! defaults, as far as a pool that is only thought can tell them apart.
//!
//! - [`hpa`]: Kubernetes' HorizontalPodAutoscaler v2, by requests or by CPU;
//! - [`target`]: target tracking of a cloud's groups, alone, with a schedule, with its forecast;
//! - [`floor`]: that schedule and that forecast;
//! - [`knative`]: Knative's pod autoscaler;
//! - [`contest`]: one of them against a demand;
//! - [`beside`]: some of them beside a live pool.

pub mod beside;
pub mod contest;
pub mod floor;
pub mod hpa;
pub mod knative;
pub mod target;

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

use crate::replay::Lives;

/// What a peer may look at when it decides on a step: what was before it, as far back as any of them looks.
#[derive(Clone, Debug)]
pub struct Past {
    steps: VecDeque<Passed>,
    /// The step of the first that is kept.
    first: usize,
    most: usize,
}

/// One step that is over.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Passed {
    /// Demand, in origins.
    pub demand: f64,
    /// What of it was served.
    pub used: f64,
    /// Origins past boot.
    pub ready: f64,
}

impl Past {
    pub fn new(lives: &Lives) -> Past {
        // Target tracking looks at the minute before the last, which is as far as any; the HPA at 3 steps.
        let minute = (60.0 / lives.step) as usize;
        Past { steps: VecDeque::new(), first: 0, most: (2 * minute).max(hpa::SEEN) }
    }

    pub fn push(&mut self, passed: Passed) {
        self.steps.push_back(passed);
        if self.steps.len() > self.most {
            self.steps.pop_front();
            self.first += 1;
        }
    }

    /// Of the steps from `from` to before `to`.
    fn mean(&self, of: impl Fn(&Passed) -> f64, from: usize, to: usize) -> f64 {
        let seen = self.steps.iter().skip(from.saturating_sub(self.first)).take(to - from);
        seen.map(of).sum::<f64>() / (to - from) as f64
    }
}

/// What stands when a peer decides.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub step: usize,
    pub ready: u32,
    pub total: u32,
}

/// One peer, by its kind and target: `hpa:50`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    pub kind: Kind,
    /// Part of an origin's capacity that shall be used; of the peak, for [`Kind::Static`].
    pub target: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Static,
    Hpa,
    HpaCpu,
    Knative,
    Target,
    TargetSchedule,
    TargetPredictive,
}

const KINDS: [(&str, Kind); 7] = [
    ("static", Kind::Static),
    ("hpa", Kind::Hpa),
    ("hpa-cpu", Kind::HpaCpu),
    ("kpa", Kind::Knative),
    ("tt", Kind::Target),
    ("tt+schedule", Kind::TargetSchedule),
    ("tt+predictive", Kind::TargetPredictive),
];

impl FromStr for Spec {
    type Err = String;

    fn from_str(text: &str) -> Result<Spec, String> {
        let (name, target) = match text.split_once(':') {
            Some((name, target)) => (name, Some(target)),
            None => (text, None),
        };
        let known = || KINDS.map(|(name, _)| name).join(", ");
        let kind = KINDS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
        let kind = kind.ok_or_else(|| {
            let near = config::error::near_miss(name, KINDS.map(|(name, _)| name));
            let near = near.map_or(String::new(), |near| format!(", perhaps `{near}`"));
            format!("no autoscaler is called `{name}`{near}; there are {}", known())
        })?;
        let percent = match (target, kind) {
            (Some(target), _) => target.parse().ok().filter(|percent: &f64| (1.0..=100.0).contains(percent)),
            (None, Kind::Static) => Some(100.0),
            (None, _) => return Err(format!("`{name}` needs its target in percent: `{name}:50`")),
        };
        let percent = percent
            .ok_or_else(|| format!("a target is from 1 to 100 percent, not `{}`", target.unwrap_or_default()))?;
        Ok(Spec { kind, target: percent / 100.0 })
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = KINDS.iter().find(|(_, kind)| *kind == self.kind).map_or("", |(name, _)| name);
        write!(f, "{name}:{}", (self.target * 100.0).round())
    }
}

/// A peer at work.
#[derive(Debug)]
pub enum Peer {
    Static(u32),
    Hpa(hpa::Hpa),
    Knative(knative::Knative),
    Target(target::Target),
}

impl Peer {
    /// `demand`: all of it; what is made of it (a peak, a schedule, a forecast) is what the peer's
    /// operator would know. `from`: where scoring begins.
    pub fn new(spec: Spec, demand: &[f64], from: usize, lives: &Lives) -> Peer {
        match spec.kind {
            Kind::Static => {
                let peak = demand.get(from..).unwrap_or_default().iter().copied().fold(0.0, f64::max);
                Peer::Static((peak * spec.target).ceil() as u32)
            }
            Kind::Hpa => Peer::Hpa(hpa::Hpa::new(lives, spec.target, hpa::Metric::Requests)),
            Kind::HpaCpu => Peer::Hpa(hpa::Hpa::new(lives, spec.target, hpa::Metric::Cpu)),
            Kind::Knative => Peer::Knative(knative::Knative::new(lives, spec.target)),
            Kind::Target => Peer::Target(target::Target::new(lives, spec.target, None)),
            Kind::TargetSchedule => {
                Peer::Target(target::Target::new(lives, spec.target, Some(floor::weekly_schedule(demand, lives))))
            }
            Kind::TargetPredictive => {
                Peer::Target(target::Target::new(lives, spec.target, Some(floor::hourly_forecast(demand, lives))))
            }
        }
    }

    pub fn step(&mut self, now: Now, past: &Past) -> u32 {
        match self {
            Peer::Static(count) => *count,
            Peer::Hpa(hpa) => hpa.step(now, past),
            Peer::Knative(knative) => knative.step(now, past),
            Peer::Target(target) => target.step(now, past),
        }
    }
}
