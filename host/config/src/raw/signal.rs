//! The list `signals` of a pool's `scaling`.

use super::form::{Name, Pairs, Period, QueueName, Ratio, Text};
use super::value::keys;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Requests,
    InFlight,
    Latency,
    Queue,
    Metric,
}

keys! {
    /// One measure of the demand; which other keys it has depends on its source.
    pub struct Signal {
        /// What is measured.
        required source: Source,
        /// A name, unique in the pool; decisions use it. Default: the source.
        optional name: Name,
        /// What one origin carries of it, in its own units.
        optional per_origin: Ratio,
        /// Of a latency: the time that the quantile should stay under.
        optional target: Period,
        /// Of a latency: which part of the answers is within it. Default: 0.99.
        optional quantile: Ratio,
        /// Of a queue: its name.
        optional queue: QueueName,
        /// Of a metric: its name, as the plugin defines it.
        optional metric: Text,
        /// Of a metric: the plugin that writes it. Default: any.
        optional plugin: Name,
        /// Of a metric: labels that a series must have. Default: none.
        optional labels: Pairs<Text>,
    }
}

impl Signal {
    /// The keys that depend on the source, as far as they are given.
    pub fn given(&self) -> Vec<(&'static str, &crate::error::Place)> {
        let all = [
            ("per_origin", self.per_origin.as_ref().map(|at| &at.place)),
            ("target", self.target.as_ref().map(|at| &at.place)),
            ("quantile", self.quantile.as_ref().map(|at| &at.place)),
            ("queue", self.queue.as_ref().map(|at| &at.place)),
            ("metric", self.metric.as_ref().map(|at| &at.place)),
            ("plugin", self.plugin.as_ref().map(|at| &at.place)),
            ("labels", self.labels.as_ref().map(|at| &at.place)),
        ];
        all.into_iter().filter_map(|(key, place)| Some((key, place?))).collect()
    }
}
