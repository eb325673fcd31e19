//! A policy against a demand: the pool lives, the policy decides, the tally adds up.

use super::{Now, Passed, Past, Peer, Spec};
use crate::engine::{Engine, Settings};
use crate::replay::Lives;
use crate::replay::course::{Course, Moment};
use crate::replay::score::{Score, Tally};
use crate::replay::stack::Stack;

/// Days that are for learning and are not scored.
pub const LEARNING_DAYS: f64 = 7.0;

/// The first step that is scored.
pub fn scored_from(lives: &Lives) -> usize {
    (LEARNING_DAYS * 86400.0 / lives.step) as usize
}

/// One peer's run.
pub fn peer(spec: Spec, demand: &[f64], lives: &Lives) -> Score {
    peer_on(spec, &Course::new(demand, *lives, scored_from(lives)), |_, _| {})
}

/// The same on any course; `each` hears of every step what the pool was.
pub fn peer_on(spec: Spec, course: &Course, mut each: impl FnMut(usize, &Moment)) -> Score {
    let (lives, demand) = (&course.lives, course.filled());
    let mut peer = Peer::new(spec, &demand, course.from, lives);
    let mut past = Past::new(lives);
    let (mut stack, mut tally) = (Stack::new(course.first), Tally::new(*lives, course.from));
    for (step, wanted_now) in demand.iter().enumerate() {
        let now = Now { step, ready: stack.ready(lives), total: stack.total() };
        let moved = stack.step(lives, peer.step(now, &past).min(course.ceiling));
        match course.demand[step] {
            Some(demand) => tally.add(demand, &moved),
            None => tally.skip(),
        }
        each(step, &Moment::of(&moved));
        past.push(Passed { demand: *wanted_now, used: wanted_now.min(moved.capacity), ready: f64::from(moved.ready) });
    }
    tally.score()
}

/// The engine's run; `each` hears of every step what was decided.
pub fn engine(settings: Settings, demand: &[f64], mut each: impl FnMut(usize, u32, &Engine)) -> Score {
    let lives = settings.lives;
    let course = Course::new(demand, lives, scored_from(&lives));
    engine_on(settings, &course, |step, moment, engine| {
        each(step, moment.stages.booting + moment.stages.warming + moment.stages.serving, engine);
    })
}

/// The same on any course, whose lives are those of the settings.
pub fn engine_on(settings: Settings, course: &Course, mut each: impl FnMut(usize, &Moment, &Engine)) -> Score {
    let lives = settings.lives;
    let mut engine = Engine::new(settings);
    let (mut stack, mut tally) = (Stack::new(course.first), Tally::new(lives, course.from));
    for (step, demand) in course.demand.iter().enumerate() {
        if step > 0 {
            engine.observe(course.demand[step - 1]);
        }
        let wanted = engine.want().map_or(stack.total(), |want| want.origins);
        let moved = stack.step(&lives, wanted.min(course.ceiling));
        match demand {
            Some(demand) => tally.add(*demand, &moved),
            None => tally.skip(),
        }
        let upper = engine.want().map(|want| &want.bounds.upper);
        let foreseen = upper.and_then(|upper| Some((*upper.first()?, *upper.last()?)));
        each(step, &Moment { foreseen, ..Moment::of(&moved) }, &engine);
    }
    tally.score()
}
