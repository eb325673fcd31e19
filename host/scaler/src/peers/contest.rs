//! A policy against a demand: the pool lives, the policy decides, the tally adds up.

use super::{Now, Passed, Past, Peer, Spec};
use crate::engine::{Engine, Settings};
use crate::replay::Lives;
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
    let from = scored_from(lives);
    let mut peer = Peer::new(spec, demand, from, lives);
    let mut past = Past::new(lives);
    let (mut stack, mut tally) = (Stack::new(lives.first(demand)), Tally::new(*lives, from));
    for (step, wanted_now) in demand.iter().enumerate() {
        let now = Now { step, ready: stack.ready(lives), total: stack.total() };
        let moved = stack.step(lives, peer.step(now, &past));
        tally.add(*wanted_now, &moved);
        past.push(Passed { demand: *wanted_now, used: wanted_now.min(moved.capacity), ready: f64::from(moved.ready) });
    }
    tally.score()
}

/// The engine's run; `each` hears of every step what was decided.
pub fn engine(settings: Settings, demand: &[f64], mut each: impl FnMut(usize, u32, &Engine)) -> Score {
    let lives = settings.lives;
    let mut engine = Engine::new(settings);
    let (mut stack, mut tally) = (Stack::new(lives.first(demand)), Tally::new(lives, scored_from(&lives)));
    for (step, wanted_now) in demand.iter().enumerate() {
        if step > 0 {
            engine.observe(Some(demand[step - 1]));
        }
        let wanted = engine.want().map_or(stack.total(), |want| want.origins);
        let moved = stack.step(&lives, wanted);
        tally.add(*wanted_now, &moved);
        each(step, moved.total, &engine);
    }
    tally.score()
}
