//! What was seen and the engine was not told, by the step of 15 s.

use std::collections::BTreeMap;

use super::STEP_SECONDS;
use crate::history::{Point, Step};

/// Less of a step than this was reported: part of the demand is not the demand.
const WHOLE: f64 = 0.99;

/// Requests a second in steps, by the first; no span is over another.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recalled(BTreeMap<i64, Span>);

#[derive(Clone, Copy, Debug, PartialEq)]
struct Span {
    steps: i64,
    requests: f64,
}

impl Recalled {
    /// Takes points of one length. A step of a minute that is known by itself stays as it is.
    pub fn take(&mut self, points: &[Point], step: Step) {
        for point in points {
            if point.covered < WHOLE || !point.requests.is_finite() {
                continue;
            }
            let first = point.second().div_euclid(STEP_SECONDS);
            let end = first + step.seconds() / STEP_SECONDS;
            let whole = self.0.range(first..end).next().is_none();
            if whole {
                self.0.insert(first, Span { steps: end - first, requests: point.requests });
                continue;
            }
            for step in first..end {
                self.0.entry(step).or_insert(Span { steps: 1, requests: point.requests });
            }
        }
    }

    pub fn first(&self) -> Option<i64> {
        self.0.first_key_value().map(|(first, _)| *first)
    }

    /// The first step after all of them.
    pub fn end(&self) -> Option<i64> {
        self.0.last_key_value().map(|(first, span)| first + span.steps)
    }

    /// What is over before `step` is of no use any more.
    pub fn forget(&mut self, step: i64) {
        while let Some(first) = self.0.first_entry() {
            if first.key() + first.get().steps > step {
                break;
            }
            first.remove();
        }
    }

    /// Requests a second in `step`. What is before it is forgotten, and what ends with it.
    pub fn of(&mut self, step: i64) -> Option<f64> {
        self.forget(step);
        let (first, span) = self.0.first_key_value().filter(|(first, _)| **first <= step)?;
        let (end, requests) = (first + span.steps, span.requests);
        if end == step + 1 {
            self.0.pop_first();
        }
        Some(requests)
    }
}
