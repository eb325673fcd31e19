//! Metrics that plugins define: one cell per plugin, name and set of labels for the whole
//! edge, so that every worker and both engines count into the same one. They are exported as
//! `forebay_plugin_<name>` with the label `plugin` before their own. Each set of labels is a series,
//! and the limit `metrics` counts series: a label that takes any value cannot fill the memory.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use abi::{Answer, MetricId, MetricKind, Refusal, Settings, Status};
use metrics::{Counter, Gauge, Histogram, Label, counter, gauge, histogram};

/// This worker's view of all metrics that plugins defined: ids are of this worker, so that
/// using one takes no lock.
#[derive(Default)]
pub struct PluginMetrics {
    known: RefCell<Vec<Rc<Defined>>>,
    ids: RefCell<HashMap<Key, MetricId>>,
}

struct Defined {
    plugin: Arc<str>,
    metric: Arc<Metric>,
}

struct Metric {
    kind: MetricKind,
    /// Counter: the count. Gauge: the value. Histogram: the number of samples.
    value: AtomicU64,
    exported: Exported,
}

enum Exported {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

/// One series: labels by name, in order.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    plugin: Arc<str>,
    name: String,
    labels: Labels,
}

type Labels = Vec<(String, String)>;

/// Every metric that plugins of one edge defined.
#[derive(Default)]
pub struct All(Mutex<HashMap<Key, Arc<Metric>>>);

const LONGEST_NAME: usize = 200;
/// Bounds of labels: how many, and bytes of name and value.
const MOST_LABELS: usize = 8;
const LONGEST_LABEL: usize = 64;
const LONGEST_VALUE: usize = 128;
/// Which plugin it was, and what the exported form adds.
const RESERVED: [&str; 3] = ["plugin", "le", "quantile"];

impl PluginMetrics {
    pub fn define(
        &self,
        all: &All,
        settings: &Settings,
        kind: MetricKind,
        name: &str,
        labels: &[(&str, &str)],
        may: &dyn Fn(u64) -> bool,
    ) -> Answer<MetricId> {
        let key = Key { plugin: settings.plugin.clone(), name: name.to_owned(), labels: sorted(labels) };
        if let Some(&id) = self.ids.borrow().get(&key)
            && self.known.borrow()[id.0 as usize].metric.kind == kind
        {
            return Ok(id);
        }
        check_name(name)?;
        check_labels(name, &key.labels)?;
        let metric = all.find_or_add(settings, kind, &key, may)?;
        let mut known = self.known.borrow_mut();
        let id = MetricId(known.len() as u32);
        known.push(Rc::new(Defined { plugin: settings.plugin.clone(), metric }));
        self.ids.borrow_mut().insert(key, id);
        Ok(id)
    }

    pub fn increment(&self, settings: &Settings, id: MetricId, by: i64) -> Answer<()> {
        let defined = self.find(settings, id)?;
        let metric = &defined.metric;
        match &metric.exported {
            Exported::Counter(counter) => {
                let by = u64::try_from(by).map_err(|_| bad(format!("a counter cannot go down (by {by})")))?;
                metric.value.fetch_add(by, Ordering::Relaxed);
                counter.increment(by);
            }
            Exported::Gauge(gauge) => {
                let moved = |value: u64| Some(value.saturating_add_signed(by));
                let old = metric.value.fetch_update(Ordering::Relaxed, Ordering::Relaxed, moved);
                gauge.set(old.unwrap_or_default().saturating_add_signed(by) as f64);
            }
            Exported::Histogram(_) => return Err(bad("a histogram is recorded, not incremented".into())),
        }
        Ok(())
    }

    pub fn record(&self, settings: &Settings, id: MetricId, value: u64) -> Answer<()> {
        let defined = self.find(settings, id)?;
        let metric = &defined.metric;
        match &metric.exported {
            Exported::Counter(_) => return Err(bad("a counter is incremented, not recorded".into())),
            Exported::Gauge(gauge) => {
                metric.value.store(value, Ordering::Relaxed);
                gauge.set(value as f64);
            }
            Exported::Histogram(histogram) => {
                metric.value.fetch_add(1, Ordering::Relaxed);
                histogram.record(value as f64);
            }
        }
        Ok(())
    }

    pub fn read(&self, settings: &Settings, id: MetricId) -> Answer<u64> {
        Ok(self.find(settings, id)?.metric.value.load(Ordering::Relaxed))
    }

    /// A plugin reaches its own metrics only.
    fn find(&self, settings: &Settings, id: MetricId) -> Answer<Rc<Defined>> {
        let known = self.known.borrow();
        let mine = known.get(id.0 as usize).filter(|defined| defined.plugin == settings.plugin);
        mine.cloned().ok_or_else(|| Refusal::new(Status::NotFound, format!("no metric with id {}", id.0)))
    }
}

impl All {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Metric>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many series a plugin has.
    pub fn series(&self, settings: &Settings) -> usize {
        self.lock().keys().filter(|key| key.plugin == settings.plugin).count()
    }

    /// `may` says whether the plugin may have that many series.
    fn find_or_add(
        &self,
        settings: &Settings,
        kind: MetricKind,
        key: &Key,
        may: &dyn Fn(u64) -> bool,
    ) -> Answer<Arc<Metric>> {
        let mut all = self.lock();
        let name = &key.name;
        if let Some(metric) = all.get(key) {
            if metric.kind != kind {
                return Err(bad(format!("metric {name:?} is a {:?} already, not a {kind:?}", metric.kind)));
            }
            return Ok(metric.clone());
        }
        let mine = all.iter().filter(|(known, _)| known.plugin == key.plugin);
        if let Some((known, metric)) = mine.clone().find(|(known, _)| known.name == *name) {
            // Series of one metric are compared and added up: they must be of one kind, and say the same.
            if metric.kind != kind {
                return Err(bad(format!("metric {name:?} is a {:?} already, not a {kind:?}", metric.kind)));
            }
            if !label_names(&known.labels).eq(label_names(&key.labels)) {
                let list = |labels: &Labels| format!("({})", label_names(labels).collect::<Vec<_>>().join(", "));
                let (ours, theirs) = (list(&key.labels), list(&known.labels));
                return Err(bad(format!("metric {name:?}: labels {ours}; it has the labels {theirs} already")));
            }
        }
        if !may(mine.count() as u64 + 1) {
            let most = settings.limits.metrics;
            counter!("forebay_plugin_metric_overflow_total", "plugin" => settings.plugin.to_string()).increment(1);
            let text = format!("metric {name:?}: this plugin has its {most} series already (limit metrics)");
            return Err(Refusal::new(Status::LimitExceeded, text));
        }
        let exported_name = exported_name(name);
        let mut labels = vec![Label::new("plugin", settings.plugin.to_string())];
        labels.extend(key.labels.iter().map(|(name, value)| Label::new(name.clone(), value.clone())));
        let exported = match kind {
            MetricKind::Counter => Exported::Counter(counter!(exported_name, labels)),
            MetricKind::Gauge => Exported::Gauge(gauge!(exported_name, labels)),
            MetricKind::Histogram => Exported::Histogram(histogram!(exported_name, labels)),
        };
        let metric = Arc::new(Metric { kind, value: AtomicU64::new(0), exported });
        all.insert(key.clone(), metric.clone());
        Ok(metric)
    }
}

fn sorted(labels: &[(&str, &str)]) -> Labels {
    let mut labels: Labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    labels.sort();
    labels
}

fn label_names(labels: &Labels) -> impl Iterator<Item = &str> {
    labels.iter().map(|(name, _)| name.as_str())
}

fn check_name(name: &str) -> Answer<()> {
    if (1..=LONGEST_NAME).contains(&name.len()) {
        return Ok(());
    }
    Err(bad(format!("metric name of {} bytes (allowed: 1 to {LONGEST_NAME})", name.len())))
}

fn check_labels(metric: &str, labels: &Labels) -> Answer<()> {
    if labels.len() > MOST_LABELS {
        let text = format!("metric {metric:?}: {} labels (allowed: up to {MOST_LABELS})", labels.len());
        return Err(bad(text));
    }
    for (name, value) in labels {
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let fits =
            plain && (1..=LONGEST_LABEL).contains(&name.len()) && !name.starts_with(|c: char| c.is_ascii_digit());
        if !fits || name.starts_with("__") {
            let allowed = format!("letters, digits and _, at most {LONGEST_LABEL}, no digit and no __ first");
            return Err(bad(format!("metric {metric:?}: label name {name:?} (allowed: {allowed})")));
        }
        if RESERVED.contains(&name.as_str()) {
            return Err(bad(format!("metric {metric:?}: label {name:?} is the edge's own ({})", RESERVED.join(", "))));
        }
        if value.len() > LONGEST_VALUE {
            let text =
                format!("metric {metric:?}: label {name:?} has {} bytes (allowed: up to {LONGEST_VALUE})", value.len());
            return Err(bad(text));
        }
    }
    match labels.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(bad(format!("metric {metric:?}: label {:?} is given twice", pair[0].0))),
        None => Ok(()),
    }
}

fn exported_name(name: &str) -> String {
    let clean = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    "forebay_plugin_".chars().chain(clean).collect()
}

fn bad(text: String) -> Refusal {
    Refusal::new(Status::BadArgument, text)
}
