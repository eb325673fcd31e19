//! What the engine foresees: its count as a proposal, one step of 15 s at a time.
//!
//! The engine is told the demand of each step once that step is over, whoever asks and how often. A
//! step in which an edge was silent is a gap: part of the demand is not the demand.
//!
//! Of what an earlier run learned it takes a [`Checkpoint`] back, and from the points of the past what came since;
//! an engine that has none learns from all of them ([`Recalled`]).
//!
//! Over 400 lines, as who turns steps into demand, and counts into origins, has to be read with both in sight.

mod recalled;
pub mod warm;

use std::time::Duration;

use config::region::{Predictive as Rule, Scaling, SignalSource};
use jiff::Timestamp;

use super::{Proposal, Source, View};
use crate::budget::Budget;
use crate::checkpoint::{Beside, Checkpoint, Learned};
use crate::engine::{Engine, Settings, Want, Way};
use crate::figure::unit_thousandths;
use crate::foresight::Forecast;
use crate::history::{Point, Step};
use crate::lead::Figures;
use crate::replay::Lives;
use crate::signal::Unit;
use crate::tune::price::{Aim, Picked, Pricing};
use crate::tune::shadow::{REACTIVE, count};
use crate::tune::told::Told;
use crate::usual::usual;
use crate::wall::Wall;
use recalled::Recalled;
use warm::{Planned, Warm};

pub(crate) const STEP_SECONDS: i64 = 15;
/// Longer gaps (or clocks set so far ahead) end what was learned: three days, which is a quarter of
/// a second of steps without demand.
const LONGEST_GAP: i64 = 3 * 86_400 / STEP_SECONDS;
/// Steps that are told at once at most: some milliseconds, while two weeks are half a second. The rest comes in the next ticks.
const TOLD_AT_ONCE: i64 = 500;
/// Between two checkpoints of a pool. What is lost with the time since is told again from the points.
const CHECKPOINT_STEPS: i64 = 600 / STEP_SECONDS;
/// What is told by the step in any case: there is an hour of those.
const SERIES_STEPS: i64 = 1800 / STEP_SECONDS;

/// Of the level that the engine takes.
const LEVEL_WINDOW: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Predictive {
    rule: Rule,
    unit: Unit,
    /// How many of the origins that there are carry what one of the unit does.
    scale: f64,
    /// Of the pool.
    floor: u32,
    /// In the unit, as all that the engine knows.
    lives: Lives,
    engine: Engine,
    /// Beside it, where the pool has a warm pool: what those that wait are planned with.
    warm: Option<Box<Warm>>,
    /// What became of both, last.
    planned: Option<Planned>,
    /// What a violating request costs.
    pricing: Pricing,
    /// The first step that the engine was not told of; `None` before the first look.
    next: Option<i64>,
    /// What was wanted last, by an engine that has been started over since: the count of one that knows
    /// nothing yet.
    stands: Option<u32>,
    /// What an earlier run saw, until the engine was told.
    recalled: Recalled,
    /// Steps that are over and recalled are still to be told.
    behind: bool,
    /// The step of the last checkpoint.
    written: Option<i64>,
}

impl Predictive {
    pub fn of(scaling: &Scaling) -> Option<Predictive> {
        let rule = scaling.predictive.clone()?;
        // Until the pool tells what its lead is made of, all of it counts as boot.
        let boot = scaling.lead.as_secs_f64();
        let lives = Lives { boot, warm: 0.0, floor: scaling.floor, ..Lives::default() };
        let unit = Unit::of(rule.requests_per_origin, scaling);
        let aim = aim(scaling, &rule);
        let engine = engine(lives, aim);
        Some(Predictive {
            warm: scaling.warm_pool.is_some().then(|| Box::new(Warm::beside(&engine, lives))),
            planned: None,
            engine,
            pricing: Pricing::new(aim),
            rule,
            unit,
            scale: 1.0,
            floor: scaling.floor,
            lives,
            next: None,
            stands: None,
            recalled: Recalled::default(),
            behind: false,
            written: None,
        })
    }

    /// Takes over what `other` learned, if it learned it for the same origins. Another lead, floor or price is taken
    /// up without forgetting.
    pub fn learned(&mut self, other: Predictive) {
        self.stands = other.wants().or(other.stands);
        // Whether it is learned is no matter of the unit.
        let same = self.unit.to_string() == other.unit.to_string();
        if same {
            self.engine = other.engine;
            self.engine.relive(self.lives);
            // One that is new begins with what the other knows of the same demand.
            if let Some(warm) = &mut self.warm {
                let engine = other.warm.map_or_else(|| self.engine.clone(), |warm| warm.into_engine());
                warm.take(engine);
            }
            self.next = other.next;
            self.recalled = other.recalled;
            self.behind = other.behind;
            self.written = other.written;
        }
    }

    /// What was wanted last, in the origins that there are.
    fn wants(&self) -> Option<u32> {
        let planned = self.planned.as_ref().map(|planned| planned.origins);
        planned.or_else(|| self.cold())
    }

    /// What the engine wants that knows no warm pool.
    fn cold(&self) -> Option<u32> {
        self.engine.want().map(|want| self.real(want.origins))
    }

    fn real(&self, origins: u32) -> u32 {
        count(f64::from(origins) * self.scale)
    }

    /// An origin carries more than it did, or less: what was learned of the demand stays, and what follows of it
    /// is told in other origins.
    fn rescale(&mut self, view: &View) {
        self.scale = self.unit.scale(view.demand);
        let floor = (f64::from(self.floor) / self.scale) as u32;
        if floor != self.lives.floor {
            self.lives.floor = floor;
            self.engine.relive(self.lives);
            self.warm.iter_mut().for_each(|warm| warm.set_floor(floor));
        }
    }

    /// Takes what an earlier run learned, if it learned it for the same origins. Otherwise why not.
    /// What else it learned is the pool's.
    pub(crate) fn restore(&mut self, checkpoint: &Checkpoint, wall: Wall) -> Result<Beside, String> {
        let learned = Learned::read(checkpoint)?;
        if learned.unit != self.unit.to_string() {
            return Err(format!("it counts {} for an origin", learned.unit));
        }
        let settings = learned.engine.settings();
        let alike = settings.relived(self.lives).learn_alike(self.engine.settings());
        if settings.lives.step != self.lives.step || !alike {
            return Err("it is of another step or setting of the engine".to_string());
        }
        let next = learned.next - wall.steps(STEP_SECONDS);
        (self.engine, self.next, self.written) = (learned.engine, Some(next), Some(next));
        self.engine.relive(self.lives);
        if let Some(warm) = &mut self.warm {
            warm.take(learned.warm.unwrap_or_else(|| self.engine.clone()));
        }
        Ok(learned.beside)
    }

    /// Minutes from this instant on would be of use; `None`: steps of the last hour are enough.
    pub fn wants_minutes(&self, now: Timestamp) -> Option<Timestamp> {
        match self.next {
            _ if !self.unit.is_requests() => None,
            None => Some(Timestamp::UNIX_EPOCH),
            Some(next) if step_of(now) - next <= SERIES_STEPS => None,
            Some(next) => Timestamp::from_second(next * STEP_SECONDS).ok(),
        }
    }

    /// What an earlier run saw in the last hour, in steps.
    pub fn recall(&mut self, points: &[Point]) {
        if self.unit.is_requests() {
            self.recalled.take(points, Step::Fine);
        }
    }

    /// What was seen, by the minute. The steps of an hour that are known as such are told as such.
    pub fn teach(&mut self, minutes: &[Point]) {
        // What other signals were is not in the history.
        if self.unit.is_requests() {
            self.recalled.take(minutes, Step::Minute);
        }
        if self.next.is_none() {
            self.next = self.recalled.first();
        }
    }

    /// What it learned, and what the pool did `beside` it, if some time has passed since it was last asked or `anyway`.
    pub(crate) fn checkpoint(
        &mut self,
        beside: impl FnOnce() -> Beside,
        anyway: bool,
        wall: Wall,
    ) -> Option<Checkpoint> {
        let next = self.next.filter(|_| self.engine.want().is_some())?;
        let due = self.written.is_none_or(|then| next < then || next - then >= CHECKPOINT_STEPS);
        let relearning = self.behind;
        if (!due && !anyway) || self.written == Some(next) || relearning {
            return None;
        }
        self.written = Some(next);
        // The next run counts by the wall clock that it finds.
        let next = next + wall.steps(STEP_SECONDS);
        let warm = self.warm.as_ref().map(|warm| warm.engine().clone());
        Learned { unit: self.unit.to_string(), next, engine: self.engine.clone(), warm, beside: beside() }.written()
    }

    /// How long origins take now.
    pub fn relive(&mut self, figures: &Figures) {
        self.lives = figures.lives(self.lives.floor);
        self.engine.relive(self.lives);
        self.warm.iter_mut().for_each(|warm| warm.relive(figures.warm_lives(self.lives.floor)));
    }

    pub fn propose(&mut self, view: &View) -> Proposal {
        self.rescale(view);
        self.catch_up(view);
        let proposal = |origins, because| Proposal { source: Source::Predictive, rule: None, origins, because };
        if self.behind {
            let stands = self.stands.filter(|_| !self.rule.shadow);
            let left = step_of(view.now) - self.next.unwrap_or_default();
            return proposal(stands, format!("learning from the history: {left} steps of {STEP_SECONDS}s to go"));
        }
        let warm = self.warm.as_ref().zip(view.waits);
        self.planned = warm.and_then(|(warm, room)| warm.plan(&self.engine, self.scale, room));
        match self.engine.want() {
            None => {
                let stands = self.stands.filter(|_| !self.rule.shadow);
                proposal(stands, "no whole step was reported yet".to_string())
            }
            Some(want) => {
                let (origins, because) = self.carried(want, view);
                match self.rule.shadow {
                    true => proposal(None, format!("shadow: would have {origins}: {because}")),
                    false => proposal(Some(origins), because),
                }
            }
        }
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What the engine foresees, in the origins that there are.
    pub fn forecast(&self) -> Option<Forecast> {
        Forecast::of(&self.engine, self.scale)
    }

    /// Those that should run by now, where one that waits costs such a part of one that serves: what the tuner's past
    /// says at the price that a violating request has in terms of these. One that waits does not always wait, and it
    /// booted at the full price, so what it costs is taken as the geometric middle of both.
    pub fn in_all(&self, cost: f64) -> Option<u32> {
        let cold = self.cold()?;
        let dear = self.engine.settings().tuning.price / cost.sqrt();
        let tuned = (cost < 1.0).then(|| self.engine.tuner().wanted_at(dear, self.engine.believes())).flatten();
        Some(tuned.map_or(cold, |tuned| self.real(tuned).max(cold)))
    }

    /// Which lead the count goes by, where some wait in a warm pool.
    pub fn planned(&self) -> Option<&Planned> {
        self.planned.as_ref().filter(|_| !self.behind)
    }

    /// What comes within the lead that the count goes by.
    pub fn near_forecast(&self) -> Option<Forecast> {
        match (&self.warm, &self.planned) {
            (Some(warm), Some(planned)) if planned.lead == warm::Which::Warm => Forecast::of(warm.engine(), self.scale),
            _ => self.forecast(),
        }
    }

    /// Another month, or another budget: the price is picked at the next step.
    pub fn pick_again(&mut self) {
        self.pricing.again();
    }

    pub fn picked(&self) -> Option<Picked> {
        self.pricing.picked().map(|picked| picked.scaled(self.scale))
    }

    /// While an edge is silent the engine sees gaps: it holds its count, and learns nothing. What fresh edges see
    /// with what stands in for the others still raises it.
    fn carried(&self, want: &Want, view: &View) -> (u32, String) {
        let (origins, because) = match &self.planned {
            None => (self.real(want.origins), self.because(want)),
            Some(planned) => (planned.origins, format!("{}; {}", planned.because, self.because(want))),
        };
        if view.missing.carried.is_empty() && view.missing.usual.is_none() {
            return (origins, because);
        }
        match self.load(view) {
            Some((load, told)) if count(load * REACTIVE) > origins => {
                (count(load * REACTIVE), format!("{told} x {REACTIVE}; {because}"))
            }
            _ => (origins, because),
        }
    }

    /// In origins, with what stands in for silent edges.
    fn load(&self, view: &View) -> Option<(f64, String)> {
        match &self.unit {
            Unit::Requests { per_origin, .. } => {
                let (requests, told) = view.requests(LEVEL_WINDOW)?;
                Some((requests / per_origin * self.scale, told))
            }
            Unit::Signals(_) => {
                let largest = view.demand.largest(false)?;
                let value = largest.value.unwrap_or_default();
                Some((largest.origins?, format!("{} {value:.1} with what is carried", largest.name)))
            }
        }
    }

    /// Requests a second that this time of day usually brings; `None` where it counts in something else.
    pub fn usual(&self) -> Option<f64> {
        match self.unit {
            Unit::Requests { per_origin, .. } => Some(usual(self.engine.forecaster().history())? * per_origin),
            Unit::Signals(_) => None,
        }
    }

    pub fn told(&self) -> Told {
        Told::of(&self.engine)
    }

    /// The lowest and the highest bound of the requests a second in the coming lead.
    pub fn foreseen(&self) -> Option<(f64, f64)> {
        let upper = &self.engine.want()?.bounds.upper;
        let unit = match &self.unit {
            Unit::Requests { per_origin, .. } => *per_origin,
            Unit::Signals(signals) => {
                let requests = signals.iter().find(|signal| matches!(signal.source, SignalSource::Requests { .. }));
                requests?.per_origin()
            }
        };
        Some((upper.first()? * unit, upper.last()? * unit))
    }

    /// When the step ends that runs now.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        Timestamp::from_second((step_of(now) + 1) * STEP_SECONDS).ok()
    }

    /// Tells the engine of every step that is over.
    fn catch_up(&mut self, view: &View) {
        let current = step_of(view.now);
        let next = *self.next.get_or_insert(current);
        self.recalled.forget(next);
        if current - self.recalled.end().map_or(next, |end| end.max(next)) > LONGEST_GAP {
            self.stands = self.wants().or(self.stands);
            self.engine = engine(self.lives, self.pricing.aim());
            self.warm.iter_mut().for_each(|warm| warm.take(self.engine.clone()));
            self.pricing.again();
            self.next = Some(current);
            self.recalled = Recalled::default();
            self.behind = false;
            return;
        }
        // A clock that was set back: the steps come again, and are not told twice.
        for step in next..current.min(next + TOLD_AT_ONCE) {
            let demand = match self.recalled.of(step) {
                Some(requests) => self.unit.of_requests(requests),
                None => demand(step, view, &self.unit),
            };
            self.pricing.settle(&mut self.engine, view.affordable.map(|origins| origins / self.scale));
            self.engine.observe(demand);
            let price = self.engine.settings().tuning.price;
            self.warm.iter_mut().for_each(|warm| warm.observe(demand, price));
            self.next = Some(step + 1);
        }
        // What is known already of the step that runs now is told when it is over.
        self.behind = self.recalled.first().is_some_and(|first| first < current);
    }

    fn because(&self, want: &Want) -> String {
        let (unit, what) = match self.unit {
            Unit::Requests { per_origin, .. } => (per_origin, "requests/s"),
            Unit::Signals(_) => (1.0, "origins' load"),
        };
        let way = match want.way {
            Way::Cold => "under 2 hours known".to_string(),
            Way::Untuned => "not tuned yet".to_string(),
            Way::Tuned => format!("{} tuned rules", self.engine.tuner().blend().len()),
        };
        let rule = self.engine.rule().map_or(String::new(), |rule| match want.way {
            Way::Tuned => format!(", first of them {rule}"),
            Way::Cold | Way::Untuned => format!(": {rule}"),
        });
        // Over what the load of now asks for: nobody should have to look for the reason in vain.
        let kept = self.engine.present().map(|present| self.real(present)).filter(|now| *now < self.real(want.origins));
        let why = if want.surprise.is_some() { "for the surprise, or kept from before" } else { "kept from before" };
        let kept = kept.map_or(String::new(), |now| format!("; now {now}, the rest is {why}"));
        let bounds: Vec<String> = self
            .engine
            .settings()
            .quantiles
            .iter()
            .zip(&want.bounds.upper)
            .map(|(quantile, upper)| format!("q{quantile} {:.1}", upper * unit))
            .collect();
        let gate = if want.gate_open { "open" } else { "shut" };
        let carries = match self.unit {
            Unit::Requests { learned: true, .. } => {
                format!("{} per origin, as learned", unit_thousandths(unit / self.scale))
            }
            _ => format!("{unit} per origin"),
        };
        let blind = if want.blind { "; a gap: not lowered" } else { "" };
        let surprise = want.surprise.map_or(String::new(), |surprise| {
            let (level, foreseen) = (surprise.level * unit, surprise.foreseen * unit);
            format!("; surprise: {level:.1} {what} where at most {foreseen:.1} were foreseen")
        });
        format!(
            "level {:.1} {what}, at most {} within {}s; gate {gate}; {way}{rule}; {carries}{blind}{surprise}{kept}",
            want.bounds.level * unit,
            bounds.join(", "),
            self.engine.forecaster().window() as i64 * STEP_SECONDS,
        )
    }
}

fn engine(lives: Lives, aim: Aim) -> Engine {
    let mut settings = Settings::of(lives);
    settings.tuning.price = Pricing::first(aim);
    Engine::new(settings)
}

/// Of a step that is over, in origins of the unit; `None` if part of it is not known.
pub(crate) fn demand(step: i64, view: &View, unit: &Unit) -> Option<f64> {
    let signals = match unit {
        Unit::Requests { per_origin, .. } => return Some(requests(step, view)? / per_origin),
        Unit::Signals(signals) => signals,
    };
    let mut most = None;
    for signal in signals {
        let reading = view.demand.signals.iter().find(|reading| reading.name == signal.name)?;
        let origins = match &signal.source {
            // What serves decides a latency: it is no demand that could be foreseen.
            SignalSource::Latency { .. } => continue,
            SignalSource::Requests { .. } => requests(step, view)? / reading.per_origin,
            // Of these only the present is kept, which is the end of the step that was over last.
            _ if step + 1 < step_of(view.now) || reading.gap => return None,
            _ => reading.origins?,
        };
        most = Some(origins.max(most.unwrap_or(0.0)));
    }
    most
}

/// The budget's word, or the rule's own.
fn aim(scaling: &Scaling, rule: &Rule) -> Aim {
    scaling.budget.as_ref().map_or(Aim::Price(rule.price), Budget::aim)
}

/// Requests a second in a step that is over; `None` if not every edge that is known reported it.
pub(crate) fn requests(step: i64, view: &View) -> Option<f64> {
    if !view.edges.missing.is_empty() {
        return None;
    }
    let (end, window) = span(step)?;
    // One that has just fallen silent is not missing yet.
    if !view.series.all_reported(window, end, view.edges.fresh.iter().map(|(edge, _)| edge.id)) {
        return None;
    }
    Some(view.series.level(window, end, |edge| view.edges.counts(edge))?.requests)
}

/// The end of a step, and the window before it that is the step: up to a millisecond before the next one begins, which
/// is not asked for.
pub(crate) fn span(step: i64) -> Option<(Timestamp, Duration)> {
    let end = Timestamp::from_millisecond((step + 1) * STEP_SECONDS * 1000 - 1).ok()?;
    Some((end, Duration::from_millis(STEP_SECONDS.unsigned_abs() * 1000 - 1)))
}

pub(crate) fn step_of(at: Timestamp) -> i64 {
    at.as_second().div_euclid(STEP_SECONDS)
}
