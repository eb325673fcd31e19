//! What a pool's number of origins goes by.

use std::time::Duration;

use super::{
    Actuator, Hints, LeadBounds, RoutePlugin, ScalingBudget, ScalingMode, Schedule, Signal, SignalSource, Steps,
    WarmPool,
};

#[derive(Clone, Debug)]
pub struct Scaling {
    pub mode: ScalingMode,
    pub floor: u32,
    pub ceiling: u32,
    /// What rules without a `requests_per_origin` of their own go by.
    pub signals: Vec<Signal>,
    pub reactive: Option<Reactive>,
    pub predictive: Option<Predictive>,
    /// What it aims at, and what a month may cost; `None`: the price of `predictive`.
    pub budget: Option<ScalingBudget>,
    pub schedules: Vec<Schedule>,
    /// Policy plugins, each named once; of what a route may say of a plugin, configuration, limits and crash
    /// budget count here.
    pub scripts: Vec<RoutePlugin>,
    /// From the decision to capacity that serves: boot, warm-up and slow start. Schedules
    /// without a lead of their own start this much early. Where it is learned: until it is known.
    pub lead: Duration,
    /// `None`: the lead is as the file says, whatever is measured.
    pub lead_bounds: Option<LeadBounds>,
    /// Most origins added.
    pub step_up: Steps,
    /// Most origins removed.
    pub step_down: Steps,
    /// A decrease by less than so many percent of the count stays undone.
    pub tolerance: f64,
    /// A decrease waits until no decision of this window wanted more.
    pub stabilisation: Duration,
    /// Origins that wait beside those that serve; `None`: none do.
    pub warm_pool: Option<WarmPool>,
    /// What plugins may ask for; `None`: nothing.
    pub hints: Option<Hints>,
    pub actuator: Actuator,
}

impl Scaling {
    pub const FLOOR: u32 = 1;
    pub const LEAD: Duration = Duration::from_secs(120);
    /// From 34 origins on: fewer are never lowered by less than one.
    pub const TOLERANCE: f64 = 3.0;
    pub const STABILISATION: Duration = Duration::from_secs(300);

    /// Requests a second that one origin carries, by the reactive rule or else by the signals.
    pub fn requests_per_origin(&self) -> Option<f64> {
        let signal = self.signals.iter().find(|signal| matches!(signal.source, SignalSource::Requests { .. }));
        let own = self.reactive.as_ref().and_then(|rule| rule.requests_per_origin);
        own.or(signal.map(Signal::per_origin))
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Reactive {
    /// Requests a second that one origin should carry; `None`: it goes by the signals.
    pub requests_per_origin: Option<f64>,
    /// Window of the mean that is compared with it.
    pub window: Duration,
    /// Factor on demand: 1.2 keeps a fifth spare.
    pub headroom: f64,
}

impl Reactive {
    pub const WINDOW: Duration = Duration::from_secs(30);
    pub const HEADROOM: f64 = 1.2;
}

/// What the scaler's engine foresees.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictive {
    /// Requests a second that one origin can carry: its capacity; `None`: it goes by the signals.
    pub requests_per_origin: Option<f64>,
    /// What a violating request costs, in what serving one costs.
    pub price: f64,
    /// It says what it would do, and does not.
    pub shadow: bool,
}

impl Predictive {
    pub const PRICE: f64 = 80.0;
    pub const SHADOW: bool = false;
}
