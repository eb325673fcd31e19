//! What a policy plugin is asked in a case, and what it must propose.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Answer;

/// Of a step of the past, as scripts are shown it.
pub const STEP: i64 = 15;

/// What a policy sees of its pool, as the aggregator would tell it, but for the time.
#[derive(Clone, Debug)]
pub struct View {
    pub facts: Map<String, Value>,
    /// The past by steps of [`STEP`] seconds, the present one last; `None`: nobody reported it.
    pub series: Vec<Option<Map<String, Value>>>,
}

/// A policy that proposes before the scripts are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Reactive,
    Predictive,
    Schedule,
}

/// How a forecast came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Cold,
    Untuned,
    Tuned,
}

/// What a policy must have proposed.
#[derive(Clone, Debug)]
pub enum Proposal {
    /// It has nothing to say.
    None,
    /// What is not given may be anything.
    Of { origins: Option<u32>, because: Option<Answer> },
}

impl View {
    /// The JSON of it at a time, which is since 1970.
    pub fn at(&self, now: Duration) -> Vec<u8> {
        let mut facts = self.facts.clone();
        facts.insert("now".to_owned(), json!((now.as_secs_f64() * 1e3).round() / 1e3));
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let present = seconds - seconds.rem_euclid(STEP);
        let steps = self.series.iter().rev().zip(0..).filter_map(|(step, ago)| {
            let mut step = step.clone()?;
            step.insert("at".to_owned(), json!(present - ago * STEP));
            Some(Value::Object(step))
        });
        let mut series: Vec<_> = steps.collect();
        series.reverse();
        facts.insert("series".to_owned(), series.into());
        Value::Object(facts).to_string().into_bytes()
    }
}
