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
    Requests { per_origin: f64 },
    /// Exchanges with origins at one time, over all edges.
    InFlight { per_origin: f64 },
    /// Time to the first byte. It keeps origins or asks for more, and never argues for fewer.
    Latency { quantile: f64, target: Duration },
    /// Items in a queue of plugins, over all edges.
    Queue { queue: String, per_origin: f64 },
    /// What plugins count (a second) or set, over all edges.
    Metric { metric: PluginMetric, per_origin: f64 },
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

impl Signal {
    /// A pool may have so many.
    pub const MOST: usize = 16;

    /// What one origin carries, in the units of the source; of a latency its target, in seconds.
    pub fn per_origin(&self) -> f64 {
        match &self.source {
            SignalSource::Requests { per_origin }
            | SignalSource::InFlight { per_origin }
            | SignalSource::Queue { per_origin, .. }
            | SignalSource::Metric { per_origin, .. } => *per_origin,
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
        }
    }
}
