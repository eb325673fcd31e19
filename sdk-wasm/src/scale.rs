//! What is coming to a pool, and policies: how many origins it should have.
//!
//! A policy stands in `scaling.scripts` of a pool, is asked once in each tick of the aggregator, and proposes a count
//! with a reason; the largest proposal of all rules wins, and bounds and holds still apply. With this crate
//! [`on_autoscale!`](crate::on_autoscale) names the function that is asked. A plugin that was built with another SDK is
//! asked by `on_tick`, and calls the foreign functions `forebay_scale_view` (no arguments; a status of 4 bytes, a
//! length of 4 bytes, JSON) and `forebay_scale_propose` (a double of 8 bytes, a length of 4 bytes, the reason; all
//! little-endian).

use std::collections::BTreeMap;
use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::types::LogLevel;
use serde::de::DeserializeOwned;
use serde::Deserialize;

use crate::packed::{call, Arguments, Refusal};

/// What a plugin may say. It is weighed by the pool's `scaling.hints`, and never obeyed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Hint {
    /// So many requests a second more will come through this edge, for so long; 0 takes it back.
    Demand(f64, Duration),
    /// This request counts for so many, up to 1000.
    Cost(f64),
    /// So many origins shall serve, until the first time is over; begun early enough for them to
    /// serve when the second is. 0 takes it back.
    Prewarm(u32, Duration, Duration),
    /// No origin shall be taken away for so long.
    Hold(Duration),
    /// The hold is over.
    Release,
}

/// Says what is coming, for the pool's scaling to weigh.
///
/// # Errors
/// No such pool or value (2); the pool takes no such hint, or no `scale.hint:<pool>` (100); too many in
/// a second (102); the edge reports to no aggregator (104).
pub fn hint(pool: &str, hint: Hint) -> Result<(), Refusal> {
    let now = Duration::ZERO;
    let (kind, value, ttl, due) = match hint {
        Hint::Demand(value, ttl) => ("demand", value, Some(ttl), now),
        Hint::Cost(value) => ("cost", value, None, now),
        Hint::Prewarm(origins, ttl, due) => ("prewarm", f64::from(origins), Some(ttl), due),
        Hint::Hold(ttl) => ("hold", 1.0, Some(ttl), now),
        Hint::Release => ("hold", 0.0, Some(Duration::from_secs(1)), now),
    };
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let arguments = Arguments::new()
        .bytes(pool.as_bytes())
        .bytes(kind.as_bytes())
        .f64(value)
        .maybe(ttl, |arguments, ttl| arguments.u64(nanos(ttl)))
        .u64(nanos(due));
    call("forebay_scale_hint", arguments).map(drop)
}

/// What a policy looks at. Times are seconds, instants seconds since 1970; what is unknown is `None`, which is
/// not zero.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Metrics {
    pub now: f64,
    pub pool: String,
    pub origins: Counts,
    /// From a decision to capacity that serves.
    pub lead: f64,
    /// Of the rates.
    pub window: f64,
    pub requests_per_second: Option<f64>,
    pub rejects_per_second: Option<f64>,
    pub errors_per_second: Option<f64>,
    pub in_flight: Option<u64>,
    /// The pool's signals, by name.
    #[serde(default)]
    pub signals: BTreeMap<String, Signal>,
    /// The latest ten minutes in steps of 15 s, oldest first; a step that nobody reported is missing.
    pub series: Vec<Step>,
    /// What the predictive rule foresees, where the pool has one.
    pub forecast: Option<Forecast>,
    /// What the pool's other rules propose.
    pub proposals: Vec<Proposed>,
}

/// Origins of the whole pool, listed ones included.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Counts {
    /// What was decided.
    pub desired: u32,
    pub floor: u32,
    pub ceiling: u32,
    pub booting: u32,
    pub warming: u32,
    pub serving: u32,
    pub draining: u32,
    /// In the warm pool: ready, and in no edge's rotation.
    pub warm: u32,
}

/// One of the pool's signals.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Signal {
    /// Over all edges, in the units of its source.
    pub value: Option<f64>,
    /// What one origin carries of it; of a latency, its target.
    pub per_origin: f64,
    /// What it asks for.
    pub origins: Option<f64>,
}

/// 15 seconds.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Step {
    /// When it began.
    pub at: i64,
    pub requests_per_second: f64,
    pub rejects_per_second: f64,
    pub errors_per_second: f64,
    /// What part of it was reported.
    pub covered: f64,
}

/// Of the demand that is coming, in origins.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Forecast {
    /// Of the last 30 s.
    pub level: f64,
    /// Of the largest demand in the horizon; the lowest first.
    pub quantiles: Vec<Quantile>,
    /// The lead and a minute.
    pub horizon_seconds: f64,
    /// Whether the forecast is believed.
    pub gate_open: bool,
}

/// With this probability no more than so much comes.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Quantile {
    pub quantile: f64,
    pub demand: f64,
}

/// By another rule of the pool.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Proposed {
    pub source: String,
    pub rule: Option<String>,
    pub origins: Option<u32>,
    pub because: String,
}

/// So many origins, and why. A fraction counts as one more.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    pub origins: f64,
    pub because: String,
}

/// What the pool's scaling sees, read as JSON: [`Metrics`], or a type of your own.
///
/// # Errors
/// Nobody is asking now (101), or it is not of that type (9).
pub fn view<T: DeserializeOwned>() -> Result<T, Refusal> {
    let json = call("forebay_scale_view", Arguments::new())?.bytes()?;
    serde_json::from_slice(&json).map_err(|error| Refusal { code: 9, message: format!("scale.view: {error}") })
}

/// Proposes; what is said again stands in place of what was said.
///
/// # Errors
/// Not a number from 0 to 10000 (2), nobody is asking now (101).
pub fn propose(proposal: &Proposal) -> Result<(), Refusal> {
    let arguments = Arguments::new().f64(proposal.origins).bytes(proposal.because.as_bytes());
    call("forebay_scale_propose", arguments).map(drop)
}

/// For [`on_autoscale!`](crate::on_autoscale).
#[doc(hidden)]
pub fn asked<T: DeserializeOwned>(policy: impl FnOnce(T) -> Option<Proposal>) {
    let told = view().and_then(|metrics| policy(metrics).map_or(Ok(()), |proposal| propose(&proposal)));
    if let Err(refusal) = told {
        let _ = hostcalls::log(LogLevel::Warn, &refusal.to_string());
    }
}

/// Has `function(metrics) -> Option<Proposal>` asked in each tick of a pool that names the plugin in
/// `scaling.scripts`. `metrics` is [`Metrics`](crate::scale::Metrics), or any type that its JSON can be read as. `None`: it
/// has nothing to say. Nothing can be waited for there.
#[macro_export]
macro_rules! on_autoscale {
    ($policy:expr) => {
        #[no_mangle]
        extern "C" fn forebay_on_autoscale(_context: u32, _size: usize) {
            $crate::scale::asked($policy);
        }
    };
}
