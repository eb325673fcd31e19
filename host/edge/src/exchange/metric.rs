//! Metrics that plugins define: one cell per plugin, kind and name for the whole process, so
//! that every worker and both engines count into the same one. They are exported as
//! `forebay_plugin_<name>` with the label `plugin`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use abi::{Answer, MetricId, MetricKind, Refusal, Settings, Status};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// This worker's view of all metrics that plugins defined: ids are of this worker, so that
/// using one takes no lock.
#[derive(Default)]
pub struct PluginMetrics {
    known: RefCell<Vec<Rc<Defined>>>,
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

type All = HashMap<(Arc<str>, String), Arc<Metric>>;

static ALL: LazyLock<Mutex<All>> = LazyLock::new(Mutex::default);

impl PluginMetrics {
    pub fn define(&self, settings: &Settings, kind: MetricKind, name: &str) -> Answer<MetricId> {
        if name.is_empty() || name.len() > 200 {
            let text = format!("metric name of {} bytes (allowed: 1 to 200)", name.len());
            return Err(Refusal::new(Status::BadArgument, text));
        }
        let metric = find_or_add(settings, kind, name)?;
        let mut known = self.known.borrow_mut();
        if let Some(at) = known.iter().position(|k| Arc::ptr_eq(&k.metric, &metric)) {
            return Ok(MetricId(at as u32));
        }
        known.push(Rc::new(Defined { plugin: settings.plugin.clone(), metric }));
        Ok(MetricId(known.len() as u32 - 1))
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

fn find_or_add(settings: &Settings, kind: MetricKind, name: &str) -> Answer<Arc<Metric>> {
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (settings.plugin.clone(), name.to_owned());
    if let Some(metric) = all.get(&key) {
        if metric.kind != kind {
            return Err(bad(format!("metric {name:?} is a {:?} already, not a {kind:?}", metric.kind)));
        }
        return Ok(metric.clone());
    }
    let most = settings.limits.metrics as usize;
    if all.keys().filter(|(plugin, _)| *plugin == settings.plugin).count() >= most {
        let text = format!("metric {name:?}: this plugin has its {most} metrics already (limit metrics)");
        return Err(Refusal::new(Status::LimitExceeded, text));
    }
    let exported_name = exported_name(name);
    let plugin = settings.plugin.to_string();
    let exported = match kind {
        MetricKind::Counter => Exported::Counter(counter!(exported_name, "plugin" => plugin)),
        MetricKind::Gauge => Exported::Gauge(gauge!(exported_name, "plugin" => plugin)),
        MetricKind::Histogram => Exported::Histogram(histogram!(exported_name, "plugin" => plugin)),
    };
    let metric = Arc::new(Metric { kind, value: AtomicU64::new(0), exported });
    all.insert(key, metric.clone());
    Ok(metric)
}

fn exported_name(name: &str) -> String {
    let clean = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    "forebay_plugin_".chars().chain(clean).collect()
}

fn bad(text: String) -> Refusal {
    Refusal::new(Status::BadArgument, text)
}
