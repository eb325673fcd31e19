//! What pools ask of this edge for their signals, beside what every report has: how long answers took, queues of
//! plugins, and what plugins count and set. Only what a pool's `signals` name is looked up and sent.

use std::collections::BTreeMap;

use abi::MetricKind;
use config::{PluginMetric, Scaling, SignalSource};

use crate::state::State;

/// Values past this are no plugin's honest count, and aggregators refuse the whole report for one.
const MOST: f64 = 1e15;

/// Cumulative where it counts up.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub latencies: bool,
    /// By the name of the signal; one that no plugin has told of is there, and empty.
    metrics: BTreeMap<String, Count>,
}

#[derive(Clone, Debug, Default)]
struct Count {
    /// By the id of the series: one that a reload brought back counts from zero.
    counted: BTreeMap<u32, u64>,
    now: Option<f64>,
}

impl Asked {
    pub fn of(scaling: &Scaling, state: &State) -> Asked {
        let mut asked = Asked::default();
        for signal in &scaling.signals {
            let count = match &signal.source {
                // How long answers took says what origins carry well.
                SignalSource::Requests { learn, .. } => {
                    asked.latencies |= learn.is_some();
                    continue;
                }
                // What every report has, and what the aggregator asks origins for.
                SignalSource::InFlight { .. } | SignalSource::Origin { .. } => continue,
                SignalSource::Latency { .. } => {
                    asked.latencies = true;
                    continue;
                }
                // One that no plugin has opened yet holds nothing.
                SignalSource::Queue { queue, .. } => {
                    let items = state.queues.get(queue).map_or(0, |queue| queue.items());
                    Count { now: Some(items as f64), ..Count::default() }
                }
                SignalSource::Metric { metric, .. } => Count::of(metric, state),
            };
            asked.metrics.insert(signal.name.clone(), count);
        }
        asked
    }

    /// What came after `earlier`.
    pub fn since(&self, earlier: &Asked) -> BTreeMap<String, wire::Metric> {
        let metric = |(name, now): (&String, &Count)| {
            let before = earlier.metrics.get(name);
            let added = now.counted.iter().map(|(id, count)| match before {
                Some(before) => count.saturating_sub(before.counted.get(id).copied().unwrap_or(0)),
                // Nobody asked for it before: what it has counted is old.
                None => 0,
            });
            let added = (!now.counted.is_empty()).then(|| added.fold(0, u64::saturating_add) as f64);
            let honest = |value: &f64| *value <= MOST;
            let metric = wire::Metric { added: added.filter(honest), now: now.now.filter(honest) };
            (metric != wire::Metric::default()).then(|| (name.clone(), metric))
        };
        self.metrics.iter().filter_map(metric).collect()
    }
}

impl Count {
    fn of(metric: &PluginMetric, state: &State) -> Count {
        let mut count = Count::default();
        for (id, kind, value) in state.metrics.matching(metric) {
            match kind {
                // Of a histogram, how many samples there were.
                MetricKind::Counter | MetricKind::Histogram => {
                    count.counted.insert(id.0, value);
                }
                MetricKind::Gauge => *count.now.get_or_insert(0.0) += value as f64,
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn asked(items: u64) -> Asked {
        let count = Count { counted: [(1, items), (2, 5)].into(), now: None };
        Asked { latencies: false, metrics: [("tokens".to_owned(), count)].into() }
    }

    fn added(now: &Asked, before: &Asked) -> Option<f64> {
        now.since(before).get("tokens").and_then(|metric| metric.added)
    }

    #[test]
    fn what_was_counted_before_anybody_asked_is_not_of_this_period() {
        assert_eq!(added(&asked(900), &Asked::default()), Some(0.0));
        assert_eq!(added(&asked(907), &asked(900)), Some(7.0));
        let empty = Asked { latencies: false, metrics: [("tokens".to_owned(), Count::default())].into() };
        assert_eq!(added(&asked(900), &empty), Some(905.0), "it was asked for, and nothing had been counted");
        assert_eq!(empty.since(&Asked::default()).len(), 0, "nobody has told of it: not zero, but nothing");
        assert_eq!(added(&asked(3), &asked(900)), Some(0.0), "a series never goes down");
    }

    #[test]
    fn only_what_a_pool_names_is_told_and_what_no_plugin_can_have_counted_is_not() {
        let text = "edge: { listeners: [{ address: 127.0.0.1:0 }], aggregators: ['http://a:1'] }\nroutes: []\npools: [{ name: shop, \
                    scaling: { ceiling: 3, actuator: dry_run, reactive: {}, signals: [{ source: queue, queue: jobs, \
                    per_origin: 5 }, { source: latency, target: 100ms }] } }]";
        let region = config::parse(text, Path::new("test.yaml"), Path::new("/")).map_err(|e| e.to_string()).unwrap();
        let state = State::new(&region);
        state.queues.open("jobs").push(b"one").unwrap();
        state.queues.open("other").push(b"one").unwrap();
        let asked = Asked::of(region.pools["shop"].scaling.as_ref().unwrap(), &state);
        assert!(asked.latencies);
        let learning =
            text.replace("source: latency, target: 100ms", "source: requests, per_origin: {initial: 5, latency: 1s}");
        let learning =
            config::parse(&learning, Path::new("test.yaml"), Path::new("/")).map_err(|e| e.to_string()).unwrap();
        let of = |region: &config::Region| Asked::of(region.pools["shop"].scaling.as_ref().unwrap(), &state).latencies;
        assert!(of(&learning), "what origins carry is learned by how long answers took");
        let mut fixed = learning.clone();
        let pool = std::sync::Arc::make_mut(fixed.pools.get_mut("shop").unwrap());
        pool.scaling.as_mut().unwrap().signals.truncate(1);
        assert!(!of(&fixed), "and nobody else needs them");
        let told = asked.since(&Asked::default());
        assert_eq!(told.keys().collect::<Vec<_>>(), ["queue"]);
        assert_eq!(told["queue"], wire::Metric { added: None, now: Some(1.0) });
        let mut absurd = asked.clone();
        absurd.metrics.get_mut("queue").unwrap().now = Some(u64::MAX as f64);
        assert_eq!(absurd.since(&asked).len(), 0);
    }
}
