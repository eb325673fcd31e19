//! Metrics that plugins define: one cell per plugin, name and set of labels for the whole edge, so
//! that every worker and both engines count into the same one. They are exported as
//! `forebay_plugin_<name>` with the label `plugin` before their own. Each set of labels is a series,
//! and the limit `metrics` counts series: a label that takes any value cannot fill the memory.
//!
//! Each plugin has a recorder of its own, since the exporter lets no single series go: what a plugin
//! counted ends with it when a reload takes it out of the region.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use abi::{Answer, MetricId, MetricKind, Refusal, Settings, Status};
use metrics::{Counter, Gauge, Histogram, Label, counter, describe_counter, gauge, histogram, with_local_recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::telemetry;
use config::PluginMetric;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Those of all plugins of an edge, by plugin.
#[derive(Default)]
pub struct Metrics(Mutex<HashMap<Arc<str>, Arc<Own>>>);

/// Those of one plugin.
struct Own {
    recorder: PrometheusRecorder,
    /// Never locked while that of all plugins is: passing a limit here is counted there.
    series: Mutex<HashMap<Key, Arc<Metric>>>,
    ended: Arc<AtomicBool>,
}

pub struct Metric {
    /// Unique in the process: what defines a metric and what uses it may be of two threads.
    pub id: MetricId,
    pub kind: MetricKind,
    /// Counter: the count. Gauge: the value. Histogram: the number of samples.
    pub value: AtomicU64,
    pub exported: Exported,
    ended: Arc<AtomicBool>,
}

pub enum Exported {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

/// One series: labels by name, in order.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    pub plugin: Arc<str>,
    pub name: String,
    pub labels: Labels,
}

pub type Labels = Vec<(String, String)>;

impl Metric {
    /// Whether nobody reads it any more: the plugin has been gone, and may be there again.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

impl Default for Own {
    fn default() -> Own {
        let durations = Matcher::Suffix(telemetry::HISTOGRAM_SUFFIX.into());
        // It fails for no buckets only.
        let builder = PrometheusBuilder::new().set_buckets_for_metric(durations, telemetry::buckets());
        let recorder = builder.unwrap_or_default().build_recorder();
        with_local_recorder(&recorder, || {
            describe_counter!("forebay_plugin_log_dropped_total", "Lines of a plugin that its limit has cut off");
            describe_counter!("forebay_plugin_limit_passed_total", "Limits that were passed in shadow mode");
            describe_counter!("forebay_plugin_metric_overflow_total", "Series refused to a plugin that has its limit");
        });
        Own { recorder, series: Mutex::default(), ended: Arc::default() }
    }
}

impl Own {
    fn series(&self) -> MutexGuard<'_, HashMap<Key, Arc<Metric>>> {
        lock(&self.series)
    }
}

impl Metrics {
    fn own(&self, plugin: &Arc<str>) -> Arc<Own> {
        lock(&self.0).entry(plugin.clone()).or_default().clone()
    }

    /// How many series a plugin has.
    pub fn series(&self, plugin: &str) -> usize {
        let own = lock(&self.0).get(plugin).cloned();
        own.map_or(0, |own| own.series().len())
    }

    /// Counts something of the edge's own that is about this plugin, and ends with it.
    pub fn about(&self, plugin: &Arc<str>, count: impl FnOnce()) {
        with_local_recorder(&self.own(plugin).recorder, count);
    }

    /// One that this plugin has defined.
    pub fn find(&self, plugin: &str, id: MetricId) -> Option<Arc<Metric>> {
        let own = lock(&self.0).get(plugin).cloned()?;
        let series = own.series();
        series.values().find(|metric| metric.id == id).cloned()
    }

    /// The series that a pool's signal is made of: id, kind, and what each stands at.
    pub fn matching(&self, wanted: &PluginMetric) -> Vec<(MetricId, MetricKind, u64)> {
        let all = lock(&self.0);
        let of = |name: &str| wanted.plugin.as_ref().is_none_or(|plugin| plugin == name);
        let owns = all.iter().filter(|(plugin, _)| of(plugin)).map(|(_, own)| own);
        let mut found = Vec::new();
        for own in owns {
            let series = own.series();
            let fits =
                |key: &Key| key.name == wanted.name && wanted.labels.iter().all(|pair| key.labels.contains(pair));
            let matching = series.iter().filter(|(key, _)| fits(key)).map(|(_, metric)| metric);
            found.extend(matching.map(|metric| (metric.id, metric.kind, metric.value.load(Ordering::Relaxed))));
        }
        found
    }

    /// `may` says whether the plugin may have that many series.
    pub fn find_or_add(
        &self,
        settings: &Settings,
        kind: MetricKind,
        key: &Key,
        may: &dyn Fn(u64) -> bool,
    ) -> Answer<Arc<Metric>> {
        let own = self.own(&key.plugin);
        let mut series = own.series();
        let name = &key.name;
        let other_kind =
            |metric: &Metric| bad(format!("metric {name:?} is a {:?} already, not a {kind:?}", metric.kind));
        if let Some(metric) = series.get(key) {
            return if metric.kind == kind { Ok(metric.clone()) } else { Err(other_kind(metric)) };
        }
        if let Some((known, metric)) = series.iter().find(|(known, _)| known.name == *name) {
            // Series of one metric are compared and added up: they must be of one kind, and say the same.
            if metric.kind != kind {
                return Err(other_kind(metric));
            }
            if !label_names(&known.labels).eq(label_names(&key.labels)) {
                let list = |labels: &Labels| format!("({})", label_names(labels).collect::<Vec<_>>().join(", "));
                let (ours, theirs) = (list(&key.labels), list(&known.labels));
                return Err(bad(format!("metric {name:?}: labels {ours}; it has the labels {theirs} already")));
            }
        }
        if !may(series.len() as u64 + 1) {
            let overflow = || {
                counter!("forebay_plugin_metric_overflow_total", "plugin" => settings.plugin.to_string()).increment(1)
            };
            with_local_recorder(&own.recorder, overflow);
            let most = settings.limits.metrics;
            let text = format!("metric {name:?}: this plugin has its {most} series already (limit metrics)");
            return Err(Refusal::new(Status::LimitExceeded, text));
        }
        let exported = with_local_recorder(&own.recorder, || exported(kind, key));
        let id = MetricId(NEXT.fetch_add(1, Ordering::Relaxed));
        let metric = Arc::new(Metric { id, kind, value: AtomicU64::new(0), exported, ended: own.ended.clone() });
        series.insert(key.clone(), metric.clone());
        Ok(metric)
    }

    /// Ends those of all other plugins.
    pub fn keep(&self, plugin: impl Fn(&str) -> bool) {
        lock(&self.0).retain(|name, own| {
            let kept = plugin(name);
            own.ended.store(!kept, Ordering::Relaxed);
            kept
        });
    }

    /// In Prometheus' text form, those of the plugins that `plugin` takes: an exchange that outlives
    /// its plugin may still count. Series of one name stand together, as the form asks.
    pub fn render(&self, plugin: impl Fn(&str) -> bool) -> String {
        let mut families: BTreeMap<String, (String, String)> = BTreeMap::new();
        for handle in self.handles(plugin) {
            let (text, mut head, mut name) = (handle.render(), String::new(), String::new());
            for line in text.lines().filter(|line| !line.is_empty()) {
                if line.starts_with("# HELP ") {
                    head = format!("{line}\n");
                } else if line.starts_with("# TYPE ") {
                    // One name may be of two kinds in two plugins.
                    line.clone_into(&mut name);
                    let head = std::mem::take(&mut head) + line + "\n";
                    families.entry(name.clone()).or_insert((head, String::new()));
                } else if let Some((_, series)) = families.get_mut(&name) {
                    series.extend([line, "\n"]);
                }
            }
        }
        families.into_values().map(|(head, series)| head + &series).collect()
    }

    /// Folds in what histograms have collected: without it they keep every single value.
    pub fn publish(&self) {
        self.handles(|_| true).iter().for_each(PrometheusHandle::run_upkeep);
    }

    fn handles(&self, plugin: impl Fn(&str) -> bool) -> Vec<PrometheusHandle> {
        let all = lock(&self.0);
        let mut all: Vec<_> = all.iter().filter(|(name, _)| plugin(name)).collect();
        all.sort_by_key(|(name, _)| *name);
        all.into_iter().map(|(_, own)| own.recorder.handle()).collect()
    }
}

/// The form of a new series, in the recorder at hand.
fn exported(kind: MetricKind, key: &Key) -> Exported {
    let clean = key.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    let name: String = "forebay_plugin_".chars().chain(clean).collect();
    let mut labels = vec![Label::new("plugin", key.plugin.to_string())];
    labels.extend(key.labels.iter().map(|(name, value)| Label::new(name.clone(), value.clone())));
    match kind {
        MetricKind::Counter => Exported::Counter(counter!(name, labels)),
        MetricKind::Gauge => Exported::Gauge(gauge!(name, labels)),
        MetricKind::Histogram => Exported::Histogram(histogram!(name, labels)),
    }
}

fn label_names(labels: &Labels) -> impl Iterator<Item = &str> {
    labels.iter().map(|(name, _)| name.as_str())
}

fn bad(text: String) -> Refusal {
    Refusal::new(Status::BadArgument, text)
}

/// Nothing that holds these locks can panic half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
