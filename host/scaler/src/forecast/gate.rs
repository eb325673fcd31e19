//! Whether the forecast may be believed: its coverage and its loss, over a day and a week, against
//! a forecast that knows nothing but the level.

use serde::{Deserialize, Serialize};

use super::features::Row;
use super::quantile::Quantile;

/// How far the coverage of any quantile may be off, over a week and over a day. Closing takes more
/// than staying shut: the gate must not flap.
const OFF_WEEK: f64 = 0.05;
const OFF_DAY: f64 = 0.10;
/// Of these, to open again.
const OPENS: f64 = 0.6;
/// The loss against the level-only forecast's, as a mean over the quantiles. Above 1, as a forecast
/// that loses by a little is still worth its reaction to a rise: which one pays the tuner
/// knows from the bill, where the level-only rules stand for choice too.
const LOSS_TO_CLOSE: f64 = 1.15;
const LOSS_TO_OPEN: f64 = 1.10;

/// Running means of about a day and a week.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Means {
    pub day: f64,
    pub week: f64,
}

impl Means {
    fn add(&mut self, value: f64, seen: u64, in_day: f64) {
        let first = 1.0 / (seen + 1) as f64;
        self.day += (value - self.day) * first.max(1.0 / in_day);
        self.week += (value - self.week) * first.max(1.0 / (7.0 * in_day));
    }
}

/// What is known of one quantile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub quantile: f64,
    /// Part of the outcomes that were not over it.
    pub covered: Means,
    pub loss: Means,
    pub level_loss: Means,
    /// The level-only forecast: one constant, learned as well as can be.
    level: Quantile,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    in_day: f64,
    seen: u64,
    open: bool,
    records: Vec<Record>,
}

impl Gate {
    pub fn new(step_seconds: f64, quantiles: &[f64]) -> Gate {
        let record = |quantile: &f64| Record {
            quantile: *quantile,
            covered: Means::default(),
            loss: Means::default(),
            level_loss: Means::default(),
            level: Quantile::new(*quantile),
        };
        Gate { in_day: 86400.0 / step_seconds, seen: 0, open: false, records: quantiles.iter().map(record).collect() }
    }

    pub fn is_open(&self) -> bool {
        self.open
    }

    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// An outcome, and what each quantile had said of it.
    pub fn note(&mut self, outcome: f64, quantiles: &[f64]) {
        let mut row: Row = Default::default();
        row[super::features::CONSTANT] = 1.0;
        for (record, said) in self.records.iter_mut().zip(quantiles) {
            let level = record.level.predict(&row);
            record.covered.add(f64::from(u8::from(outcome <= *said)), self.seen, self.in_day);
            record.loss.add(pinball(record.quantile, outcome - said), self.seen, self.in_day);
            record.level_loss.add(pinball(record.quantile, outcome - level), self.seen, self.in_day);
            record.level.learn(&row, outcome - level);
        }
        self.seen += 1;
        // A day must be over before there is anything to believe.
        self.open = self.seen as f64 >= self.in_day && self.holds();
    }

    fn holds(&self) -> bool {
        let (off, loss) = if self.open { (1.0, LOSS_TO_CLOSE) } else { (OPENS, LOSS_TO_OPEN) };
        let near = |record: &Record| {
            (record.covered.week - record.quantile).abs() <= off * OFF_WEEK
                && (record.covered.day - record.quantile).abs() <= off * OFF_DAY
        };
        self.records.iter().all(near) && self.loss() <= loss
    }

    /// The forecast's loss over a week, in that of one that knows the level alone.
    pub fn loss(&self) -> f64 {
        let ratio = |record: &Record| record.loss.week / record.level_loss.week.max(1e-12);
        self.records.iter().map(ratio).sum::<f64>() / self.records.len().max(1) as f64
    }
}

fn pinball(quantile: f64, error: f64) -> f64 {
    if error > 0.0 { quantile * error } else { (quantile - 1.0) * error }
}
