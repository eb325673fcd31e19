//! How fast a count may move, and which differences are none.

use std::time::Duration;

use crate::error::{Errors, Problem};
use crate::raw::form::written_duration;
use crate::raw::steps as raw;
use crate::raw::value::At;
use crate::region::{Step, Steps};

/// Moves are remembered for so long.
const LONGEST: Duration = Duration::from_secs(3600);
/// A hundred times as many at once is no limit, and a slip of the pen.
const MOST_PERCENT: u32 = 10_000;

/// What an absent key means, and how much `percent` may be: of the one direction or the other.
pub struct Way {
    pub default: Step,
    pub most_percent: u32,
}

pub const UP: Way = Way { default: Steps::UP, most_percent: MOST_PERCENT };
/// More than all there are cannot go.
pub const DOWN: Way = Way { default: Steps::DOWN, most_percent: 100 };

pub fn steps(raw: Option<&At<raw::Steps>>, way: &Way, errors: &mut Errors) -> Option<Steps> {
    let Some(raw) = raw else { return Some(way.default.into()) };
    let read: Vec<_> = raw.value.0.iter().map(|map| step(map, way, errors)).collect();
    read.into_iter().collect::<Option<_>>().map(Steps)
}

fn step(raw: &At<raw::StepMap>, way: &Way, errors: &mut Errors) -> Option<Step> {
    let number = |key: &Option<At<crate::raw::form::Count>>| key.as_ref().map_or(0, |count| count.value.0);
    let step = Step {
        origins: number(&raw.origins),
        percent: number(&raw.percent),
        within: raw.within.as_ref().map(|within| within.0),
    };
    let mut sound = true;
    if step.of(u32::MAX) == 0 {
        let problem = Problem::found("nothing could ever move");
        errors.add(&raw.place, problem.allowed("needed: origins or percent, from 1, or both (the larger counts)"));
        sound = false;
    }
    if let Some(percent) = raw.percent.as_ref().filter(|percent| percent.value.0 > way.most_percent) {
        let problem = Problem::found(format!("found {} percent", percent.value.0));
        errors.add(&percent.place, problem.allowed(format!("allowed: 0 to {}", way.most_percent)));
        sound = false;
    }
    if let Some(within) = raw.within.as_ref().filter(|within| within.0 > LONGEST) {
        let problem = Problem::found(format!("found {}", written_duration(within.0)));
        errors.add(&within.place, problem.allowed(format!("allowed: up to {}", written_duration(LONGEST))));
        sound = false;
    }
    sound.then_some(step)
}
