//! How long does the scaler's engine take to decide, and to choose among its candidates?
//!
//! `cargo bench --workspace --bench scaler`. Four weeks with a daily season, noise and jumps, one step of 15 s
//! after the other, as the live loop takes them. The bars: a step in which every candidate decides
//! under 0.1 ms, a choice under 0.3 s. Beside them what the candidates' replay of 7 days comes to, which the
//! steps spread over those days.

use std::time::{Duration, Instant};

use scaler::engine::{Engine, Settings};

const DAY: usize = 5760;
const DAYS: usize = 28;
const STEP_BAR: Duration = Duration::from_micros(100);
const CHOICE_BAR: Duration = Duration::from_millis(300);

fn main() {
    let demand: Vec<f64> = (0..DAYS * DAY).map(demand).collect();
    let mut engine = Engine::new(Settings::default());
    println!("{} candidates, {DAYS} days", engine.tuner().candidates().len());
    let mut steps = Vec::with_capacity(demand.len());
    let mut choices = Vec::new();
    // Every 6 hours one step chooses too.
    for (at, demand) in demand.iter().enumerate() {
        let begin = Instant::now();
        engine.observe(Some(*demand));
        let took = begin.elapsed();
        if (at + 1).is_multiple_of(DAY / 4) { choices.push(took) } else { steps.push(took) }
    }
    assert!(engine.want().is_some_and(|want| want.origins > 0), "it decided");
    steps.sort();
    choices.sort();
    // Medians: the longest steps are those in which another process had the core.
    let (middle, most) = (steps[steps.len() / 2], steps[steps.len() * 99 / 100]);
    println!("a step: median {}, 99 % under {}{}", micros(middle), micros(most), verdict(middle, STEP_BAR));
    let choice = choices[choices.len() / 2];
    println!("a step that chooses: median {}{}", micros(choice), verdict(choice, CHOICE_BAR));
    let week = middle * 7 * DAY as u32;
    println!("7 days of all candidates, forecast included: {:.0} ms{}", millis(week), verdict(week, CHOICE_BAR));
    let text = serde_json::to_string(&engine).expect("an engine can be written down");
    println!("its state as JSON: {} KB", text.len() / 1000);
}

/// A day like the others, a jump now and then, noise of a tenth.
fn demand(step: usize) -> f64 {
    let day = (step as f64 / DAY as f64 * std::f64::consts::TAU).sin();
    let jump = if (step / 937).is_multiple_of(7) { 1.8 } else { 1.0 };
    let mut mixed = (step as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^= mixed >> 29;
    let noise = (mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f64 / (1u64 << 24) as f64;
    (12.0 + 6.0 * day) * jump * (0.9 + 0.2 * noise)
}

fn micros(time: Duration) -> String {
    format!("{:.1} µs", time.as_secs_f64() * 1e6)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn verdict(found: Duration, bar: Duration) -> &'static str {
    if found < bar { "" } else { ": missed" }
}
