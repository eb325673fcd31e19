//! What was recorded: levels in rows of one length, on a grid that begins with the first of them. A row that
//! nobody recorded is a gap.

use jiff::Timestamp;
use scaler::Capacity;
use scaler::replay::trace;

/// The step of a replay, in seconds.
pub const STEP: f64 = 15.0;
const LONGEST_ROW: f64 = 3600.0;
/// Of steps: ten years.
const MOST_STEPS: f64 = 10.0 * 365.25 * 5760.0;

/// What a value of a row counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Requests in the row.
    Count,
    /// Requests a second, on the mean of the row.
    Rate,
}

/// One row, as it was read.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Seconds, since the epoch or since the recording began.
    pub at: f64,
    pub value: f64,
    pub ran: Option<Capacity>,
}

#[derive(Clone, Debug)]
pub struct Recorded {
    pub name: String,
    /// When the first row began, if that is known.
    pub start: Option<Timestamp>,
    /// Seconds of a row.
    pub row: f64,
    /// Requests a second.
    pub rates: Vec<Option<f64>>,
    /// Which origins really ran; empty if that is not known.
    pub ran: Vec<Option<Capacity>>,
}

/// What is wrong, and with which of the rows.
pub type Misfit = (Option<usize>, String);

impl Recorded {
    /// `row`: its seconds, if they are known; otherwise it is the least distance of two rows.
    pub fn of(name: &str, rows: &[Row], unit: Unit, row: Option<f64>, dated: bool) -> Result<Recorded, Misfit> {
        let first = rows.first().ok_or_else(|| (None, "is empty: no row follows the header".to_string()))?.at;
        let length = match row {
            Some(row) => row,
            None => least_distance(rows)?,
        };
        if !fits(length) {
            let problem = format!(
                "a row each {length} s; allowed are 1, 3, 5 and 15 s, and multiples of 15 s up to {LONGEST_ROW} s"
            );
            return Err((rows.len().checked_sub(1).map(|_| 1), problem));
        }
        let last = rows.last().map_or(first, |row| row.at);
        let count = ((last - first) / length).round() + 1.0;
        if count * (length / STEP).max(1.0) > MOST_STEPS {
            return Err((None, "more than ten years".to_string()));
        }
        let mut rates = vec![None; count as usize];
        let mut ran = vec![None; count as usize];
        for (at, row) in rows.iter().enumerate() {
            let place = (row.at - first) / length;
            if (place - place.round()).abs() > 1e-6 {
                let problem = format!("a row each {length} s: {} is none of those that begin with {first}", row.at);
                return Err((Some(at), problem));
            }
            let rate = if unit == Unit::Count { row.value / length } else { row.value };
            rates[place.round() as usize] = Some(rate);
            ran[place.round() as usize] = row.ran;
        }
        if rates.iter().flatten().sum::<f64>() <= 0.0 {
            return Err((None, "no demand at all: every value is 0 or missing".to_string()));
        }
        if ran.iter().flatten().all(|ran| *ran == Capacity::default()) {
            ran.clear();
        }
        let start = dated.then(|| Timestamp::from_millisecond((first * 1000.0) as i64).ok()).flatten();
        Ok(Recorded { name: name.to_string(), start, row: length, rates, ran })
    }

    /// Requests a second, by the step.
    pub fn steps(&self) -> Vec<Option<f64>> {
        trace::steps(&self.rates, self.row, STEP)
    }

    /// What ran in a step.
    pub fn ran(&self, step: usize) -> Option<Capacity> {
        *self.ran.get((step as f64 * STEP / self.row) as usize)?
    }

    /// Days from the first row to the end of the last.
    pub fn days(&self) -> f64 {
        self.rates.len() as f64 * self.row / 86400.0
    }
}

fn fits(length: f64) -> bool {
    let whole = |parts: f64| (parts - parts.round()).abs() < 1e-9 && parts >= 0.5;
    (1.0..=LONGEST_ROW).contains(&length) && length.fract() == 0.0 && (whole(length / STEP) || whole(STEP / length))
}

fn least_distance(rows: &[Row]) -> Result<f64, Misfit> {
    let mut least = f64::INFINITY;
    for (at, pair) in rows.windows(2).enumerate() {
        let distance = pair[1].at - pair[0].at;
        if distance <= 0.0 {
            return Err((Some(at + 1), format!("times go up: {} does not follow {}", pair[1].at, pair[0].at)));
        }
        least = least.min(distance);
    }
    if least.is_finite() { Ok(least) } else { Err((None, "one row alone: two are the least".to_string())) }
}
