//! The demand of a pool: what each of its signals says, in origins, and the largest of them.
//!
//! A signal's value is what all edges see together. What is offered does not saturate: requests, and what grows
//! with them. What origins show does: at its end a latency only says that it is too much, so it is
//! read as HPA reads a mean, value over target times the origins that serve, and at most doubles them.
//!
//! Where a signal is not known, the others may ask for more, and nothing is taken away.

pub mod latency;
pub mod moving;
pub mod scraped;
pub mod unit;

use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::time::Duration;

use config::region::{Scaling, Signal, SignalSource};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wire::PoolReport;

use crate::capacity::{Capacity, Carried, Kept, Learned};
use crate::edges::{EdgeId, PoolEdges};
use crate::figure::thousandths;
use crate::missing::Missing;
use crate::policy::predictive::{requests, span, step_of};
use crate::policy::{Standing, View};
use crate::series::Present;
use crate::stamp;
use latency::{Latencies, Quantile};
use moving::Moving;
use scraped::{OfOrigins, Scraped};
pub use unit::Unit;

/// The window of rules that have none.
pub const WINDOW: Duration = Duration::from_secs(30);
/// What an edge said is forgotten after so long: later than the edge itself.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(1200);
/// A latency this near to its target asks for as many origins as there are: HPA's tolerance.
const TOLERANCE: f64 = 0.1;
/// Near its end a latency grows without a measure: no more than so many times the origins at once.
const MOST_AT_ONCE: f64 = 2.0;

/// What a pool's demand is, and of what that follows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Demand {
    /// In origins, before any headroom; `null`: no signal says anything.
    pub origins: Option<f64>,
    /// The signal that asks for so many.
    pub winner: Option<String>,
    pub signals: Vec<Reading>,
}

/// What one signal says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    pub name: String,
    /// As the region file spells it.
    pub source: String,
    /// Over all edges, in the units of the source (a latency: seconds); `null`: nothing is known, which is not zero.
    pub value: Option<f64>,
    /// What one origin carries of it; of a latency, its target.
    pub per_origin: f64,
    /// What it asks for, before any headroom; `null`: nothing.
    pub origins: Option<f64>,
    /// Of the oldest sample that counts.
    pub age_seconds: Option<f64>,
    /// It may ask for more and not for fewer, and headroom is not for it.
    #[serde(default)]
    pub guard: bool,
    /// Nothing may be taken away on what is not known.
    #[serde(default)]
    pub gap: bool,
    /// Of requests, where what an origin carries is learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<Learned>,
    /// Why nothing is known, or what was made of the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

impl Demand {
    fn of(signals: Vec<Reading>) -> Demand {
        let mut winner: Option<&Reading> = None;
        for reading in signals.iter().filter(|reading| reading.origins.is_some()) {
            if winner.is_none_or(|best| reading.origins > best.origins) {
                winner = Some(reading);
            }
        }
        let (origins, name) = winner.map(|best| (best.origins, best.name.clone())).unzip();
        Demand { origins: origins.flatten(), winner: name, signals }
    }

    /// What an origin carries of requests, where that is learned.
    pub fn learned(&self) -> Option<&Learned> {
        self.signals.iter().find_map(|reading| reading.learned.as_ref())
    }

    /// The largest of those that headroom is for, or of those that it is not for.
    pub fn largest(&self, guards: bool) -> Option<&Reading> {
        let of_kind = self.signals.iter().filter(|one| one.guard == guards && one.origins.is_some());
        of_kind.reduce(|best, next| if next.origins > best.origins { next } else { best })
    }

    /// Why nothing may be taken away: signals that are not known.
    pub fn gap(&self) -> Option<String> {
        let gaps = self.signals.iter().filter(|reading| reading.gap);
        let told: Vec<_> =
            gaps.map(|gap| format!("signal {}: {}", gap.name, gap.because.as_deref().unwrap_or("not known"))).collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}

/// What readings are made of beside what [`Signals`] holds.
pub struct Look<'a> {
    pub now: Timestamp,
    pub present: &'a Present<'a>,
    pub edges: &'a PoolEdges<'a>,
    /// What stands in for edges that fell silent.
    pub missing: &'a Missing,
    pub standing: &'a Standing,
    /// Origins that serve, listed ones included.
    pub serving: &'a [SocketAddr],
}

/// What the signals of one pool have been told.
#[derive(Debug, Default)]
pub struct Signals {
    rules: Vec<Signal>,
    window: Duration,
    /// By signal, what each edge says of it.
    told: BTreeMap<String, BTreeMap<EdgeId, Moving>>,
    latencies: Latencies,
    /// By signal, what each origin shows of it.
    shown: BTreeMap<String, OfOrigins>,
    /// Where what an origin carries is learned.
    capacity: Option<Capacity>,
    /// The first step that it was not told of.
    next: Option<i64>,
}

impl Signals {
    pub fn of(scaling: &Scaling) -> Signals {
        let mut signals = Signals::default();
        signals.configure(scaling);
        signals
    }

    /// The file changed: what is known of a signal that is as it was stays known.
    pub fn configure(&mut self, scaling: &Scaling) {
        let rules = match &scaling.signals[..] {
            [] => of_rule(scaling).into_iter().collect(),
            signals => signals.to_vec(),
        };
        let same = |name: &String| {
            let source =
                |rules: &[Signal]| rules.iter().find(|rule| rule.name == *name).map(|rule| rule.source.clone());
            source(&rules) == source(&self.rules)
        };
        self.told.retain(|name, _| same(name));
        self.shown.retain(|name, _| same(name));
        let learns = rules.iter().find_map(|rule| match &rule.source {
            SignalSource::Requests { per_origin, learn: Some(learn) } => Some((*per_origin, learn)),
            _ => None,
        });
        let known = self.capacity.take();
        self.capacity = learns.map(|(configured, learn)| match known {
            Some(known) => known.anew(configured, learn),
            None => Capacity::new(configured, learn),
        });
        self.rules = rules;
        self.window = scaling.reactive.as_ref().map_or(WINDOW, |rule| rule.window);
    }

    /// Takes what an edge saw in the `period` before `now`.
    pub fn report(&mut self, edge: EdgeId, report: &PoolReport, period: Duration, now: Timestamp) {
        self.latencies.add(&report.latencies, now);
        for rule in &self.rules {
            let metric = report.metrics.get(&rule.name);
            let value = match &rule.source {
                SignalSource::Requests { .. } | SignalSource::Latency { .. } | SignalSource::Origin { .. } => None,
                SignalSource::InFlight { .. } => Some(report.in_flight as f64),
                SignalSource::Queue { .. } => metric.and_then(|metric| metric.now),
                SignalSource::Metric { .. } => metric.and_then(|metric| {
                    let rate = metric.added.map(|added| added / period.as_secs_f64().max(1e-3));
                    // Both: two plugins use one name, one for a counter and one for a gauge.
                    rate.into_iter().chain(metric.now).reduce(|sum, more| sum + more)
                }),
            };
            let Some(value) = value else { continue };
            let told = self.told.entry(rule.name.clone()).or_default();
            told.retain(|_, moving| moving.age(now) <= FORGOTTEN_AFTER);
            let moving = told.entry(edge).or_insert(Moving::new(value, now));
            moving.take(value, period, self.window, now);
        }
    }

    /// Takes what one origin shows.
    pub fn scraped(&mut self, scraped: &Scraped, now: Timestamp) {
        for rule in &self.rules {
            if let SignalSource::Origin { scrape, per_origin } = &rule.source
                && let Some(value) = scraped.values.get(&rule.name)
            {
                let shown = self.shown.entry(rule.name.clone()).or_default();
                shown.take((scrape, *per_origin), self.window, scraped.address, value, now);
            }
        }
    }

    /// Learns what an origin carries of the step that is over, once. `carries`: what takes traffic, in origins.
    pub fn learn(&mut self, view: &View, carries: f64) {
        let Some(capacity) = &mut self.capacity else { return };
        let current = step_of(view.now);
        // Of steps that nobody looked at in time, nobody knows who served.
        let first = self.next.unwrap_or(current).max(current - 1);
        for step in first..current {
            let carried = carried(step, view, (&self.latencies, capacity.quantile()), carries);
            capacity.step(step, carried);
        }
        // A clock that was set back: the steps come again, and are not learned twice.
        self.next = Some(self.next.unwrap_or(current).max(current));
    }

    /// What was learned of an origin's capacity, for a disk.
    pub fn kept(&self) -> Option<Kept> {
        self.capacity.as_ref().map(Capacity::kept)
    }

    /// What an earlier run learned of it.
    pub fn take_back(&mut self, kept: &Kept) {
        if let Some(capacity) = &mut self.capacity {
            capacity.take_back(kept);
        }
    }

    /// What all of them say now. Asking twice changes nothing.
    pub fn demand(&self, look: &Look) -> Demand {
        Demand::of(self.rules.iter().map(|rule| self.reading(rule, look)).collect())
    }

    fn reading(&self, rule: &Signal, look: &Look) -> Reading {
        let reading = Reading {
            name: rule.name.clone(),
            source: rule.source.name().to_owned(),
            per_origin: rule.per_origin(),
            ..Reading::default()
        };
        let reading = match &rule.source {
            SignalSource::Requests { learn: Some(_), .. } => reading.learned(self.capacity.as_ref()),
            _ => reading,
        };
        if look.edges.fresh.is_empty() {
            // The pool as a whole is blind, and holds for that.
            return Reading { because: Some("no fresh report".to_owned()), ..reading };
        }
        match &rule.source {
            SignalSource::Origin { scrape, .. } => match self.shown.get(&rule.name) {
                Some(shown) => shown.read(scrape, look.serving, look.now, reading),
                None => OfOrigins::default().read(scrape, look.serving, look.now, reading),
            },
            SignalSource::Requests { .. } => self.requests(look, reading),
            SignalSource::Latency { quantile, target } => self.latency(*quantile, *target, look, reading),
            SignalSource::InFlight { .. } | SignalSource::Queue { .. } | SignalSource::Metric { .. } => {
                self.of_edges(look, reading)
            }
        }
    }

    fn requests(&self, look: &Look, reading: Reading) -> Reading {
        let (per_origin, by) = look.standing.target(reading.per_origin);
        let seen = look.present.level(self.window);
        let level = seen.map(|level| level.requests + look.missing.requests()).or_else(|| look.missing.unheard());
        let age = look.edges.fresh.iter().map(|(edge, _)| stamp::age(look.now, edge.at)).max();
        let because = match level {
            None => Some(format!("no fresh report in the last {}", stamp::text(self.window))),
            Some(_) => {
                Some(format!("{}{by}", look.missing.told())).map(|by| by.trim().to_owned()).filter(|by| !by.is_empty())
            }
        };
        let age_seconds = age.map(stamp::seconds);
        Reading { per_origin, age_seconds, because, ..reading }.with(level)
    }

    /// The sum over edges: what those that fell silent said last goes on, and what those said that left fades as any
    /// edge's does that sees nothing more. One that says nothing has seen nothing of it, if others have.
    fn of_edges(&self, look: &Look, reading: Reading) -> Reading {
        let told = self.told.get(&reading.name);
        let edges = look.edges.fresh.iter().chain(&look.edges.missing);
        let known = edges.filter_map(|(edge, _)| told?.get(&edge.id));
        let (mut value, mut age) = (None, Duration::ZERO);
        for moving in known {
            value = Some(value.unwrap_or(0.0) + moving.value);
            age = age.max(moving.age(look.now));
        }
        let left = look.edges.left.iter().filter_map(|edge| told?.get(&edge.id));
        let fading: f64 = left.map(|moving| moving.faded(self.window, look.now)).sum();
        let value = value.map(|value| value + fading);
        if value.is_none() {
            return Reading { gap: true, because: Some("no edge has told of it".to_owned()), ..reading };
        }
        Reading { age_seconds: Some(stamp::seconds(age)), ..reading }.with(value)
    }

    fn latency(&self, quantile: f64, target: Duration, look: &Look, reading: Reading) -> Reading {
        let reading = Reading { guard: true, ..reading };
        let value = match self.latencies.quantile(quantile, self.window, look.now) {
            Quantile::Of(value) => value,
            Quantile::Few { answers, needed } => {
                let because = format!("{answers} answers, {needed} are needed: nobody to be slow for");
                return Reading { because: Some(because), ..reading };
            }
        };
        let ratio = value / target.as_secs_f64();
        let serving = look.serving.len().max(1) as f64;
        let (factor, because) = match ratio {
            // Arguing for fewer by a latency that more origins have brought about would swing for ever.
            _ if ratio < 1.0 - TOLERANCE => (None, "under its target"),
            _ if ratio <= 1.0 + TOLERANCE => (Some(1.0), "near its target: as many as serve"),
            _ if ratio < MOST_AT_ONCE => (Some(ratio), "value / target x those that serve"),
            _ => (Some(MOST_AT_ONCE), "at most twice those that serve"),
        };
        let origins = factor.map(|factor| thousandths(factor * serving));
        Reading { value: Some(thousandths(value)), origins, because: Some(because.to_owned()), ..reading }
    }
}

impl Reading {
    /// With what an origin was seen to carry.
    fn learned(self, capacity: Option<&Capacity>) -> Reading {
        let learned = capacity.map(Capacity::learned);
        let per_origin = learned.as_ref().map_or(self.per_origin, |learned| learned.per_origin);
        Reading { per_origin, learned, ..self }
    }

    fn with(self, value: Option<f64>) -> Reading {
        // A mean that fades never gets to where it goes: a thousandth of an origin is no reason for one more.
        let origins = value.map(|value| thousandths(value / self.per_origin));
        Reading { value: value.map(thousandths), origins, ..self }
    }
}

/// What a step that is over brought; `None`: part of it is not known.
fn carried(step: i64, view: &View, (latencies, quantile): (&Latencies, f64), origins: f64) -> Option<Carried> {
    let offered = requests(step, view)?;
    let (end, window) = span(step)?;
    let level = view.series.level(window, end, |edge| view.edges.counts(edge))?;
    let latency = match latencies.quantile(quantile, window, end) {
        Quantile::Of(latency) => Some(latency),
        Quantile::Few { .. } => None,
    };
    Some(Carried { offered, rejects: level.rejects, errors: level.errors, latency, origins })
}

/// A rule with `requests_per_origin` goes by one signal.
fn of_rule(scaling: &Scaling) -> Option<Signal> {
    let own = scaling.predictive.as_ref().and_then(|rule| rule.requests_per_origin);
    let per_origin = scaling.requests_per_origin().or(own)?;
    Some(Signal { name: "requests".to_owned(), source: SignalSource::Requests { per_origin, learn: None } })
}
