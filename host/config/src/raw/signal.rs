//! The list `signals` of a pool's `scaling`.

use super::form::{Name, Pairs, Period, PortNumber, QueueName, Ratio, Text, UrlPath};
use super::per_origin::PerOrigin;
use super::value::keys;
use crate::region::{Over, Per};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Requests,
    InFlight,
    Latency,
    Queue,
    Metric,
    Origin,
}

keys! {
    /// One measure of the demand; which other keys it has depends on its source.
    pub struct Signal {
        /// What is measured.
        required source: Source,
        /// A name, unique in the pool; decisions use it. Default: the source.
        optional name: Name,
        /// What one origin carries of it, in its own units; of requests it may be learned.
        optional per_origin: PerOrigin,
        /// Of a latency: the time that the quantile should stay under.
        optional target: Period,
        /// Of a latency: which part of the answers is within it. Default: 0.99.
        optional quantile: Ratio,
        /// Of a queue: its name.
        optional queue: QueueName,
        /// Of a metric: its name, as the plugin defines it or the origin shows it.
        optional metric: Text,
        /// Of a metric: the plugin that writes it. Default: any.
        optional plugin: Name,
        /// Of a metric: labels that a series must have. Default: none.
        optional labels: Pairs<Text>,
        /// Of an origin: how the value is read.
        optional per: Per,
        /// Of an origin: what the values of several come to. Default: sum.
        optional over: Over,
        /// Of an origin: where it shows its metrics. Default: /metrics.
        optional path: UrlPath,
        /// Of an origin: the port. Default: its own.
        optional port: PortNumber,
        /// Of an origin: how often it is asked. Default: 15s.
        optional interval: Period,
        /// Of an origin: how long an answer may take. Default: 3s.
        optional timeout: Period,
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
            ("per", self.per.as_ref().map(|at| &at.place)),
            ("over", self.over.as_ref().map(|at| &at.place)),
            ("path", self.path.as_ref().map(|at| &at.place)),
            ("port", self.port.as_ref().map(|at| &at.place)),
            ("interval", self.interval.as_ref().map(|at| &at.place)),
            ("timeout", self.timeout.as_ref().map(|at| &at.place)),
        ];
        all.into_iter().filter_map(|(key, place)| Some((key, place?))).collect()
    }
}
