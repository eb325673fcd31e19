//! Metrics that plugins define, as one worker sees them; [`Metrics`] has those of all.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::{Answer, MetricId, MetricKind, Refusal, Settings, Status};

use crate::state::metrics::{Exported, Key, Labels, Metric, Metrics};

/// This worker's view of all metrics that plugins defined, so that using one takes no lock. Ids are of the
/// edge: an instance may have been started on another thread than that of its worker.
#[derive(Default)]
pub struct PluginMetrics {
    /// By id, as far as they were met here.
    known: RefCell<Vec<Option<Rc<Defined>>>>,
    ids: RefCell<HashMap<Key, MetricId>>,
}

struct Defined {
    plugin: Arc<str>,
    metric: Arc<Metric>,
}

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
        all: &Metrics,
        settings: &Settings,
        kind: MetricKind,
        name: &str,
        labels: &[(&str, &str)],
        may: &dyn Fn(u64) -> bool,
    ) -> Answer<MetricId> {
        // Before they are copied: a plugin may give thousands.
        check_name(name)?;
        check_count(name, labels.len())?;
        let key = Key { plugin: settings.plugin.clone(), name: name.to_owned(), labels: sorted(labels) };
        let met = self.ids.borrow().get(&key).copied();
        if let Some(id) = met
            && let Some(Some(defined)) = self.known.borrow().get(id.0 as usize)
            && defined.metric.kind == kind
            && !defined.metric.has_ended()
        {
            return Ok(id);
        }
        check_labels(name, &key.labels)?;
        let id = self.meet(settings, all.find_or_add(settings, kind, &key, may)?).metric.id;
        // What has ended is not met again.
        let old = self.ids.borrow_mut().insert(key, id).filter(|old| *old != id);
        if let Some(old) = old {
            self.known.borrow_mut()[old.0 as usize] = None;
        }
        Ok(id)
    }

    fn meet(&self, settings: &Settings, metric: Arc<Metric>) -> Rc<Defined> {
        let (mut known, place) = (self.known.borrow_mut(), metric.id.0 as usize);
        if known.len() <= place {
            known.resize(place + 1, None);
        }
        known[place].insert(Rc::new(Defined { plugin: settings.plugin.clone(), metric })).clone()
    }

    pub fn increment(&self, all: &Metrics, settings: &Settings, id: MetricId, by: i64) -> Answer<()> {
        let defined = self.find(all, settings, id)?;
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

    pub fn record(&self, all: &Metrics, settings: &Settings, id: MetricId, value: u64) -> Answer<()> {
        let defined = self.find(all, settings, id)?;
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

    pub fn read(&self, all: &Metrics, settings: &Settings, id: MetricId) -> Answer<u64> {
        Ok(self.find(all, settings, id)?.metric.value.load(Ordering::Relaxed))
    }

    /// A plugin reaches its own metrics only.
    fn find(&self, all: &Metrics, settings: &Settings, id: MetricId) -> Answer<Rc<Defined>> {
        let known = self.known.borrow().get(id.0 as usize).cloned().flatten();
        // One that a start on another thread has defined is met here for the first time.
        let known = known.or_else(|| all.find(&settings.plugin, id).map(|metric| self.meet(settings, metric)));
        let mine = known.filter(|defined| defined.plugin == settings.plugin);
        mine.ok_or_else(|| Refusal::new(Status::NotFound, format!("no metric with id {}", id.0)))
    }
}

fn sorted(labels: &[(&str, &str)]) -> Labels {
    let mut labels: Labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    labels.sort();
    labels
}

fn check_name(name: &str) -> Answer<()> {
    if (1..=LONGEST_NAME).contains(&name.len()) {
        return Ok(());
    }
    Err(bad(format!("metric name of {} bytes (allowed: 1 to {LONGEST_NAME})", name.len())))
}

fn check_count(metric: &str, labels: usize) -> Answer<()> {
    if labels > MOST_LABELS {
        return Err(bad(format!("metric {metric:?}: {labels} labels (allowed: up to {MOST_LABELS})")));
    }
    Ok(())
}

fn check_labels(metric: &str, labels: &Labels) -> Answer<()> {
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

fn bad(text: String) -> Refusal {
    Refusal::new(Status::BadArgument, text)
}
