//! What is to come of a count, as far as the forecast says it: for the record, so that whoever reads it sees what
//! one origin less would have meant. Nothing here decides.

use serde::{Deserialize, Serialize};

use crate::decision::Capacity;
use crate::engine::{Engine, Rule, Want, Way};
use crate::figure::thousandths;
use crate::replay::excess::quick_excess;
use crate::tune::shadow::count;

/// Parts of the distribution of demand, each as likely as the others.
const PARTS: usize = 50;

/// Upper bounds of the largest demand in the coming window, in origins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// `cold` (under two hours are known), `untuned` or `tuned`.
    pub way: Way,
    /// Whether the forecast is believed.
    pub gate_open: bool,
    /// Of the last 30 s.
    pub level: f64,
    /// The lowest first.
    pub quantiles: Vec<Upper>,
    /// The lead and a minute.
    pub horizon_seconds: f64,
    /// How many rules share the decision; 0 before the first choice.
    pub rules: usize,
    /// The one with the largest part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Rule>,
    /// What the present step by itself asks for. What is proposed over it is kept from before (by the hold or the band of
    /// its rule), or a surprise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present: Option<u32>,
}

/// With this probability no more than so much comes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upper {
    pub quantile: f64,
    pub demand: f64,
}

/// What of the coming peak would be violated: percent of the requests of the busiest step of the window that come
/// over the capacity of so many origins that all serve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Predicted {
    /// The peak that is to be expected, in origins.
    pub peak: f64,
    /// At the count that was decided.
    pub violation: f64,
    pub one_less: f64,
    /// At what serves now: what is in the way of capacity that is not there yet.
    pub serving: f64,
}

/// What runs once what was decided is carried out in the lead that origins should take.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// The lead.
    pub seconds: f64,
    pub capacity: Capacity,
}

impl Forecast {
    /// `scale`: how many of the origins that there are carry what one of the engine's does.
    pub fn of(engine: &Engine, scale: f64) -> Option<Forecast> {
        let Want { way, gate_open, bounds, .. } = engine.want()?;
        let upper = engine.settings().quantiles.iter().zip(&bounds.upper);
        Some(Forecast {
            way: *way,
            gate_open: *gate_open,
            level: thousandths(bounds.level * scale),
            quantiles: upper
                .map(|(quantile, demand)| Upper { quantile: *quantile, demand: thousandths(*demand * scale) })
                .collect(),
            horizon_seconds: engine.forecaster().window() as f64 * engine.settings().lives.step,
            rules: engine.tuner().blend().len(),
            rule: engine.rule(),
            present: engine.present().map(|origins| count(f64::from(origins) * scale)),
        })
    }

    /// What of the coming peak comes over so many origins. The peak D is one of [`Forecast::peaks`]; inside of its step
    /// demand is X ~ Normal(D, (`spread` D)^2), as everywhere: 100 x E[(X - count)+] / E[X]. `None` while too
    /// little is known for a distribution.
    pub fn predict(&self, decided: u32, serving: u32, spread: f64) -> Option<Predicted> {
        let peaks = self.peaks()?;
        let all: f64 = peaks.iter().sum();
        if all <= 0.0 {
            return None;
        }
        let violation = |count: u32| {
            let over: f64 = peaks.iter().map(|peak| quick_excess(*peak, f64::from(count), spread)).sum();
            thousandths(100.0 * over / all)
        };
        Some(Predicted {
            peak: thousandths(all / peaks.len() as f64),
            violation: violation(decided),
            one_less: violation(decided.saturating_sub(1)),
            serving: violation(serving),
        })
    }

    /// The peak at the middle of each of so many equal parts of its distribution. Straight lines lead from the present
    /// level (or the lowest bound, if that is less) at the probability 0 through each bound at its quantile; the
    /// last line goes on to the probability 1, so the highest bound is not the end.
    fn peaks(&self) -> Option<Vec<f64>> {
        let first = self.quantiles.first().filter(|_| self.way != Way::Cold)?;
        let mut knots = vec![(0.0, self.level.min(first.demand))];
        for upper in &self.quantiles {
            // Bounds are learned one by one, and may cross.
            let least = knots.last().map_or(0.0, |(_, demand)| *demand);
            knots.push((upper.quantile, upper.demand.max(least)));
        }
        let (from, to) = (*knots.get(knots.len() - 2)?, *knots.last()?);
        knots.push((1.0, along(from, to, 1.0)));
        let at = |part: usize| {
            let probability = (part as f64 + 0.5) / PARTS as f64;
            let next = knots.iter().position(|knot| knot.0 >= probability).unwrap_or(knots.len() - 1).max(1);
            along(knots[next - 1], knots[next], probability)
        };
        Some((0..PARTS).map(at).collect())
    }
}

/// On the line through two points.
fn along(from: (f64, f64), to: (f64, f64), x: f64) -> f64 {
    from.1 + (to.1 - from.1) * (x - from.0) / (to.0 - from.0).max(1e-9)
}
