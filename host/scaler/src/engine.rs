//! The decision for a pool whose demand is in units of one origin's capacity, one step at a time:
//! forecast, gate, candidates in shadow, blend, and [`panic`] where the level surprises. Replay, tests and the live loop run this code.
//!
//! [`Engine::observe`] takes what a step brought; [`Engine::want`] only looks, so asking twice
//! changes nothing. A step without a report is a gap: nothing is learned and nothing is lowered.

pub mod panic;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::forecast::{Bounds, Forecaster};
use crate::replay::Lives;
use crate::tune::candidate::{Candidate, Grid};
use crate::tune::shadow::{self, Held};
use crate::tune::{Tuner, Tuning};
use panic::{Panic, Surprise};

/// Raised with each change after which the same demand is answered otherwise: records tell it.
pub const MODEL: u32 = 1;

/// Under so much history there is no forecast to speak of.
const COLD_SECONDS: f64 = 2.0 * 3600.0;
/// Headroom on the level while it is cold, and until the first choice if the gate is shut.
const COLD_HEADROOM: f64 = 1.3;
/// Bound (the middle one) and headroom from then until the first choice, if the gate is open.
const FIRST_HEADROOM: f64 = 1.2;
/// Until then a forecast is believed up to so much more than the most that was ever seen: one that has seen a single
/// night takes the morning's growth for what it may be at any level.
const FIRST_MOST: f64 = 1.5;
/// What of these is kept.
const FIRST_HOLD_SECONDS: f64 = 180.0;

const QUANTILES: [f64; 3] = [0.7, 0.9, 0.97];
const HEADROOMS: [f64; 12] = [0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 1.8, 2.2, 2.8, 3.5, 4.5, 6.0];
const SHORT_HOLD_SECONDS: f64 = 60.0;
/// Of what it costs to start and stop an origin: keeping one for so long costs about as much.
const LONG_HOLD: f64 = 1.25;
const BANDS: [f64; 2] = [0.0, 0.25];

/// One setting serves all pools: only the lives of origins and the price are a pool's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub lives: Lives,
    pub tuning: Tuning,
    /// Whether the gate has a say; the tuner asks the past in any case.
    pub gated: bool,
    pub quantiles: Vec<f64>,
    pub headrooms: Vec<f64>,
    pub holds_seconds: Vec<f64>,
    pub bands: Vec<f64>,
}

impl Settings {
    pub fn of(lives: Lives) -> Settings {
        Settings {
            lives,
            tuning: Tuning::default(),
            gated: true,
            quantiles: QUANTILES.to_vec(),
            headrooms: HEADROOMS.to_vec(),
            holds_seconds: vec![SHORT_HOLD_SECONDS, LONG_HOLD * (lives.boot + lives.drain)],
            bands: BANDS.to_vec(),
        }
    }

    /// For other lives. Holds that were chosen by hand stay; those that follow from lives follow.
    pub(crate) fn relived(&self, lives: Lives) -> Settings {
        let followed = self.holds_seconds == Settings::of(self.lives).holds_seconds;
        let holds_seconds = if followed { Settings::of(lives).holds_seconds } else { self.holds_seconds.clone() };
        Settings { lives, holds_seconds, ..self.clone() }
    }

    fn grid(&self) -> Grid {
        Grid {
            quantiles: self.quantiles.len(),
            headrooms: self.headrooms.clone(),
            holds: self.holds_seconds.iter().map(|hold| (hold / self.lives.step) as usize).collect(),
            bands: self.bands.clone(),
        }
    }
}

impl Settings {
    /// Whether what was learned under `other` holds here: a price only weighs it.
    pub fn learn_alike(&self, other: &Settings) -> bool {
        let tuning = Tuning { price: other.tuning.price, ..self.tuning };
        Settings { tuning, ..self.clone() } == *other
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings::of(Lives::default())
    }
}

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Too little is known: the level with headroom.
    Cold,
    /// Nothing was chosen yet.
    Untuned,
    Tuned,
}

/// How many origins there shall be, and of what it follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Want {
    pub origins: u32,
    pub way: Way,
    /// For the present load alone.
    pub reactive: u32,
    pub bounds: Bounds,
    pub gate_open: bool,
    /// The last step was a gap: the count was not lowered.
    pub blind: bool,
    /// The surprise that the count is kept up for, even if others want as much.
    pub surprise: Option<Surprise>,
}

/// One way to make a count of the forecast, as records tell it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// The bound that it takes; `None`: the present level.
    pub quantile: Option<f64>,
    pub headroom: f64,
    /// How long a count is kept after it was wanted.
    pub hold_seconds: f64,
    /// A count stays while it is at most this part over what is wanted.
    pub band: f64,
    /// How much it counts among those that share the decision; 1 is all.
    pub part: f64,
}

impl fmt::Display for Rule {
    /// `q0.9 x 1.2, kept 180s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.quantile {
            Some(quantile) => write!(f, "q{quantile}")?,
            None => f.write_str("level")?,
        }
        write!(f, " x {}, kept {}s", self.headroom, self.hold_seconds)?;
        if self.band > 0.0 { write!(f, " and within {:.0} %", self.band * 100.0) } else { Ok(()) }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Engine {
    settings: Settings,
    forecaster: Forecaster,
    tuner: Tuner,
    /// Counts of the time before the first choice.
    held: Held,
    panic: Panic,
    steps: u64,
    /// The largest demand so far.
    peak: f64,
    want: Option<Want>,
}

impl Engine {
    pub fn new(settings: Settings) -> Engine {
        let lives = settings.lives;
        Engine {
            forecaster: Forecaster::new(lives.step, lives.lead_steps() as f64 * lives.step, &settings.quantiles),
            tuner: Tuner::new(lives, settings.tuning, settings.grid()),
            held: Held::default(),
            panic: Panic::default(),
            settings,
            steps: 0,
            peak: 0.0,
            want: None,
        }
    }

    /// Origins take another time from now on, steps stay as long: what was learned stays, and follows. Weights are
    /// of logarithms of ratios, which change little with the window; what candidates paid under the old lives fades
    /// as all that is old does.
    pub fn relive(&mut self, lives: Lives) {
        if lives == self.settings.lives || lives.step != self.settings.lives.step {
            return;
        }
        self.settings = self.settings.relived(lives);
        self.forecaster.relive(lives.step, lives.lead_steps() as f64 * lives.step);
        self.tuner.relive(lives, &self.settings.grid());
    }

    /// The demand of the step that ended, in origins; `None` if nobody reported it.
    pub fn observe(&mut self, demand: Option<f64>) {
        let demand = demand.filter(|demand| demand.is_finite() && *demand >= 0.0);
        self.steps += 1;
        self.peak = demand.map_or(self.peak, |demand| self.peak.max(demand));
        let Some(bounds) = self.forecaster.step(demand) else { return };
        let gate_open = self.forecaster.gate().is_open();
        self.tuner.step(demand, &bounds, gate_open || !self.settings.gated);
        let (way, origins) = self.decide(&bounds, gate_open);
        let stands = self.want.as_ref().map_or(0, |want| want.origins);
        let blind = demand.is_none();
        let origins = if blind { origins.max(stands) } else { origins };
        let reactive = shadow::count(bounds.level * shadow::REACTIVE);
        let origins = origins.max(reactive).max(self.settings.lives.floor);
        let surprised = self.panic.step(&bounds, !blind, stands, &self.settings.lives);
        let origins = surprised.map_or(origins, |(_, least)| origins.max(least));
        let surprise = surprised.map(|(surprise, _)| surprise);
        self.want = Some(Want { origins, way, reactive, bounds, gate_open, blind, surprise });
    }

    fn decide(&mut self, bounds: &Bounds, gate_open: bool) -> (Way, u32) {
        let hold = self.settings.lives.steps(FIRST_HOLD_SECONDS);
        self.held.push(self.steps, self.first(bounds, gate_open), hold);
        match self.tuner.wanted() {
            Some(origins) => (Way::Tuned, origins),
            None => (if self.cold() { Way::Cold } else { Way::Untuned }, self.held.most(self.steps, hold)),
        }
    }

    fn cold(&self) -> bool {
        self.steps as f64 * self.settings.lives.step < COLD_SECONDS
    }

    /// Which bound is taken before the first choice; `None`: the level.
    fn first_quantile(&self, gate_open: bool) -> Option<usize> {
        (gate_open && !self.cold()).then_some(self.settings.quantiles.len() / 2)
    }

    /// What there is before the first choice, without any hold.
    fn first(&self, bounds: &Bounds, gate_open: bool) -> u32 {
        let level = shadow::wanted(bounds, None, COLD_HEADROOM);
        match self.first_quantile(gate_open) {
            None => level,
            middle => {
                let most = level.max(shadow::count(FIRST_MOST * self.peak));
                shadow::wanted(bounds, middle, FIRST_HEADROOM).min(most)
            }
        }
    }

    /// What the last step by itself asks for: what the count is over it is kept (by a hold or a band) from what came
    /// before, or a surprise.
    pub fn present(&self) -> Option<u32> {
        let Want { bounds, gate_open, reactive, .. } = self.want.as_ref()?;
        let asked = self.tuner.present(bounds).unwrap_or_else(|| self.first(bounds, *gate_open));
        Some(asked.max(*reactive).max(self.settings.lives.floor))
    }

    /// The rule that it is by; of several that share the decision, the one with the largest part.
    pub fn rule(&self) -> Option<Rule> {
        let gate_open = self.want.as_ref()?.gate_open;
        let quantile = |at: Option<usize>| at.and_then(|at| self.settings.quantiles.get(at).copied());
        if let Some((leading, part)) = self.tuner.leading() {
            let Candidate { headroom, hold, band, .. } = *leading;
            let hold_seconds = hold as f64 * self.settings.lives.step;
            return Some(Rule { quantile: quantile(leading.quantile), headroom, hold_seconds, band, part });
        }
        let quantile = quantile(self.first_quantile(gate_open));
        let headroom = if quantile.is_some() { FIRST_HEADROOM } else { COLD_HEADROOM };
        Some(Rule { quantile, headroom, hold_seconds: FIRST_HOLD_SECONDS, band: 0.0, part: 1.0 })
    }

    /// `None` before anything was seen.
    pub fn want(&self) -> Option<&Want> {
        self.want.as_ref()
    }

    pub fn forecaster(&self) -> &Forecaster {
        &self.forecaster
    }

    pub fn tuner(&self) -> &Tuner {
        &self.tuner
    }

    /// Whether rules that look at the forecast may be chosen.
    pub fn believes(&self) -> bool {
        self.forecaster.gate().is_open() || !self.settings.gated
    }

    /// What a violating request costs from now on; what was learned stays.
    pub fn reprice(&mut self, price: f64) {
        self.settings.tuning.price = price;
        self.tuner.reprice(price, self.believes());
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}
