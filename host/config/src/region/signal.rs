//! What the demand of a pool is measured by.

use std::time::Duration;

/// One measure of the demand. Of several the one counts that asks for the most origins.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// Unique in the pool.
    pub name: String,
    pub source: SignalSource,
}

#[derive(Clone, Debug, PartialEq)]
pub enum SignalSource {
    /// Requests a second that were offered: those that were refused or shed too.
    /// With `learn`, the figure is where learning begins.
    Requests { per_origin: f64, learn: Option<Learn> },
    /// Exchanges with origins at one time, over all edges.
    InFlight { per_origin: f64 },
    /// Time to the first byte. It keeps origins or asks for more, and never argues for fewer.
    Latency { quantile: f64, target: Duration },
    /// Items in a queue of plugins, over all edges.
    Queue { queue: String, per_origin: f64 },
    /// What plugins count (a second) or set, over all edges.
    Metric { metric: PluginMetric, per_origin: f64 },
    /// A metric that each origin shows.
    Origin { scrape: Scrape, per_origin: f64 },
}

/// Series of plugins, added up.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginMetric {
    /// As the plugin named it.
    pub name: String,
    /// `None`: of any plugin.
    pub plugin: Option<String>,
    /// Those that a series must have; it may have more.
    pub labels: Vec<(String, String)>,
}

/// How what an origin carries is learned, from what origins were seen to carry.
#[derive(Clone, Debug, PartialEq)]
pub struct Learn {
    pub at_least: f64,
    pub at_most: f64,
    /// What is carried is within this.
    pub latency: Duration,
    /// Which part of the answers is.
    pub quantile: f64,
}

impl Learn {
    /// The bounds, in parts of the figure where learning begins.
    pub const AT_LEAST: f64 = 0.5;
    pub const AT_MOST: f64 = 2.0;
}

/// What of an origin's Prometheus text is read, how, and how often.
#[derive(Clone, Debug, PartialEq)]
pub struct Scrape {
    pub path: String,
    /// `None`: the origin's own.
    pub port: Option<u16>,
    pub metric: String,
    /// Those that a sample must have; samples that have them are added up.
    pub labels: Vec<(String, String)>,
    pub per: Per,
    pub over: Over,
    pub interval: Duration,
    pub timeout: Duration,
}

/// How a value is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// It counts up: what comes in a second.
    Rate,
    /// As it is.
    Gauge,
}

/// What those of several origins come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Over {
    /// Each tells of itself.
    #[default]
    Sum,
    /// Each tells of the same.
    Mean,
    /// Each tells of the same, and the one who tells of the most is believed.
    Max,
}

impl Scrape {
    pub const PATH: &str = "/metrics";
    pub const INTERVAL: Duration = Duration::from_secs(15);
    pub const TIMEOUT: Duration = Duration::from_secs(3);
}

impl Per {
    /// As a file spells it.
    pub fn name(self) -> &'static str {
        match self {
            Per::Rate => "rate",
            Per::Gauge => "gauge",
        }
    }
}

impl Over {
    /// As a file spells it.
    pub fn name(self) -> &'static str {
        match self {
            Over::Sum => "sum",
            Over::Mean => "mean",
            Over::Max => "max",
        }
    }
}

impl Signal {
    /// A pool may have so many.
    pub const MOST: usize = 16;

    /// What one origin carries, in the units of the source; of a latency its target, in seconds.
    pub fn per_origin(&self) -> f64 {
        match &self.source {
            SignalSource::Requests { per_origin, .. }
            | SignalSource::InFlight { per_origin }
            | SignalSource::Queue { per_origin, .. }
            | SignalSource::Metric { per_origin, .. }
            | SignalSource::Origin { per_origin, .. } => *per_origin,
            SignalSource::Latency { target, .. } => target.as_secs_f64(),
        }
    }
}

impl SignalSource {
    pub const QUANTILE: f64 = 0.99;

    /// As a file spells it.
    pub fn name(&self) -> &'static str {
        match self {
            SignalSource::Requests { .. } => "requests",
            SignalSource::InFlight { .. } => "in_flight",
            SignalSource::Latency { .. } => "latency",
            SignalSource::Queue { .. } => "queue",
            SignalSource::Metric { .. } => "metric",
            SignalSource::Origin { .. } => "origin",
        }
    }
}
