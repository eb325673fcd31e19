//! The pool for a whole series of counts at once. As the youngest goes first, the origins that
//! are older than `a` steps are the minimum of the counts of the last `a` steps.

use std::collections::VecDeque;

use super::Lives;

/// Capacity and bill of each step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    pub capacity: Vec<f64>,
    pub billed: Vec<f64>,
}

/// `first`: the count before the series.
pub fn run(wanted: &[u32], first: u32, lives: &Lives) -> Run {
    let wanted: Vec<u32> = wanted.iter().map(|count| (*count).max(lives.floor)).collect();
    let (boot, warm) = (lives.boot_steps(), lives.warm_steps());
    let mut older = trailing_minimum(&wanted, boot + warm, first);
    let mut capacity: Vec<f64> = older.iter().map(|count| f64::from(*count)).collect();
    for age in (0..warm).rev() {
        let as_old = trailing_minimum(&wanted, boot + age, first);
        let ramp = lives.ramp(age);
        for ((capacity, here), old) in capacity.iter_mut().zip(&as_old).zip(&older) {
            *capacity += f64::from(here - old) * ramp;
        }
        older = as_old;
    }

    let before: Vec<u32> = std::iter::once(first).chain(wanted.iter().copied()).take(wanted.len()).collect();
    let booted = trailing_minimum(&before, boot.saturating_sub(1), first);
    let gone: Vec<u32> = booted.iter().zip(&wanted).map(|(booted, wanted)| booted.saturating_sub(*wanted)).collect();
    let drain = lives.drain_steps();
    let mut draining = 0;
    let mut billed = Vec::with_capacity(wanted.len());
    for (step, count) in wanted.iter().enumerate() {
        draining += gone[step];
        if step >= drain {
            draining -= gone[step - drain];
        }
        billed.push(f64::from(count + draining));
    }
    Run { capacity, billed }
}

/// The least of each value and the `width` before it; `first` stands before the series.
fn trailing_minimum(values: &[u32], width: usize, first: u32) -> Vec<u32> {
    let mut least: VecDeque<(usize, u32)> = VecDeque::new();
    let mut minima = Vec::with_capacity(values.len());
    for (at, value) in values.iter().enumerate() {
        while least.back().is_some_and(|(_, other)| other >= value) {
            least.pop_back();
        }
        least.push_back((at, *value));
        while least.front().is_some_and(|(then, _)| then + width < at) {
            least.pop_front();
        }
        let least = least.front().map_or(*value, |(_, least)| *least);
        minima.push(if at < width { least.min(first) } else { least });
    }
    minima
}
