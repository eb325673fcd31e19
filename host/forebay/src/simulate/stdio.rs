//! The engine as another program's policy, over stdin and stdout.
//!
//! First comes `hello STEP BOOT WARM DRAIN FLOOR` (seconds; not answered), then for each step
//! `STEP_NUMBER DEMAND READY TOTAL`, where the demand is that of the step before, in origins. Each
//! is answered with one number: how many origins there shall be. The same step asked twice is
//! answered twice the same; steps left out are gaps.

use std::io::{BufRead, Write};

use anyhow::Context;
use scaler::engine::{Engine, Settings};
use scaler::replay::Lives;

use crate::region::Unfit;

/// More steps than this left out at once and nothing of before is worth keeping.
const LONGEST_GAP: u64 = 100_000;
/// Seconds that are no mistake of units.
const MOST_SECONDS: f64 = 86_400.0;

pub fn serve(price: f64, input: impl BufRead, mut output: impl Write) -> anyhow::Result<()> {
    let mut policy: Option<Policy> = None;
    for (at, line) in input.lines().enumerate() {
        let line = line.context("stdin")?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let refuse = |problem: String| Unfit { errors: vec![format!("stdin:{}: {problem}", at + 1)] };
        match (&words[..], &mut policy) {
            ([], _) => {}
            (["hello", rest @ ..], _) => policy = Some(Policy::new(lives(rest).map_err(refuse)?, price)),
            (_, None) => {
                return Err(refuse(format!("`hello STEP BOOT WARM DRAIN FLOOR` comes first, not `{line}`")).into());
            }
            (words, Some(policy)) => {
                let origins = policy.answer(words).map_err(refuse)?;
                writeln!(output, "{origins}").and_then(|()| output.flush()).context("stdout")?;
            }
        }
    }
    Ok(())
}

struct Policy {
    engine: Engine,
    /// The last step that was asked for.
    step: Option<u64>,
}

impl Policy {
    fn new(lives: Lives, price: f64) -> Policy {
        let mut settings = Settings::of(lives);
        settings.tuning.price = price;
        Policy { engine: Engine::new(settings), step: None }
    }

    fn answer(&mut self, words: &[&str]) -> Result<u32, String> {
        let [step, demand, _ready, total] = words else {
            return Err(format!("`STEP_NUMBER DEMAND READY TOTAL` expected, not `{}`", words.join(" ")));
        };
        let step: u64 = step.parse().map_err(|_| format!("a step's number is whole and not under 0, not `{step}`"))?;
        let demand: f64 = demand
            .parse()
            .ok()
            .filter(|demand: &f64| demand.is_finite() && *demand >= 0.0)
            .ok_or_else(|| format!("demand is a number not under 0, not `{demand}`"))?;
        let total: u32 = total.parse().map_err(|_| format!("a total is whole and not under 0, not `{total}`"))?;
        let passed = match self.step {
            Some(before) if step < before => return Err(format!("step {step} after step {before}")),
            Some(before) => step - before,
            // Before the first step there was none whose demand this could be.
            None => u64::from(step > 0),
        };
        if passed > LONGEST_GAP {
            return Err(format!("step {step} leaves out {passed} steps, more than {LONGEST_GAP}"));
        }
        for _ in 1..passed {
            self.engine.observe(None);
        }
        if passed > 0 {
            self.engine.observe(Some(demand));
        }
        self.step = Some(step);
        Ok(self.engine.want().map_or(total, |want| want.origins))
    }
}

fn lives(words: &[&str]) -> Result<Lives, String> {
    let [step, boot, warm, drain, floor] = words else {
        return Err(format!("`hello STEP BOOT WARM DRAIN FLOOR` has 5 numbers, not {}", words.len()));
    };
    let seconds = |name: &str, text: &str, least: f64| {
        let found = text.parse().ok().filter(|seconds| (least..=MOST_SECONDS).contains(seconds));
        found.ok_or_else(|| format!("{name}: seconds from {least} to {MOST_SECONDS}, not `{text}`"))
    };
    let floor = floor.parse().map_err(|_| format!("floor: whole and not under 0, not `{floor}`"))?;
    Ok(Lives {
        step: seconds("step", step, 1.0)?,
        boot: seconds("boot", boot, 0.0)?,
        warm: seconds("warm", warm, 0.0)?,
        drain: seconds("drain", drain, 0.0)?,
        floor,
        ..Lives::default()
    })
}
