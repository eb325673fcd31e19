//! What the aggregator counts. One test of the counts: the recorder is the process's.

#[path = "harness.rs"]
mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aggregator::history::store::{Batch, Store};
use config::region::{Actuator, History, Learn, Pool, Predictive, Scaling, Signal, SignalSource};
use forebay_aggregator as aggregator;
use harness::*;
use jiff::Timestamp;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use scaler::Event;
use scaler::capacity::Learned;
use wire::{PoolReport, Report, Stage};

/// Counters and gauges as numbers, by `name{label=value}`.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>);

/// The names that have a word of help.
#[derive(Default)]
struct Described(Mutex<BTreeSet<String>>);

impl Described {
    fn take(&self, name: KeyName, word: SharedString) {
        assert!(!word.starts_with("Of th"), "{}: shown by itself, it says nothing: {word}", name.as_str());
        assert!(self.0.lock().unwrap().insert(name.as_str().to_string()), "{} twice", name.as_str());
    }
}

impl Recorder for Described {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, word: SharedString) {
        self.take(name, word);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, word: SharedString) {
        self.take(name, word);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, word: SharedString) {
        self.take(name, word);
    }

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// What the sources name, whether or not a test comes by it.
fn named(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            named(&path, names);
        } else {
            let text = std::fs::read_to_string(&path).unwrap();
            let quoted = text.split('"').filter(|word| word.starts_with("forebay_aggregator_"));
            names.extend(quoted.map(str::to_string));
        }
    }
}

#[test]
fn each_metric_has_a_word_of_help_that_stands_by_itself() {
    let described = Described::default();
    metrics::with_local_recorder(&described, aggregator::describe);
    let mut names = BTreeSet::new();
    named(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut names);
    assert!(names.len() > 30, "{names:?}");
    assert_eq!(described.0.into_inner().unwrap(), names, "what is described, and what there is");
}

impl Seen {
    fn at(&self, key: &Key) -> Arc<AtomicU64> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        self.0.lock().unwrap().entry(name).or_default().clone()
    }

    fn count(&self, name: &str) -> u64 {
        self.0.lock().unwrap().get(name).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    fn has(&self, name: &str) -> bool {
        self.0.lock().unwrap().contains_key(name)
    }

    fn gauge(&self, name: &str) -> f64 {
        f64::from_bits(self.count(name))
    }
}

impl Recorder for Seen {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.at(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.at(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

const LEARNS: &str = "learns";

/// The region, and beside its pools one that learns what an origin carries: 10 requests a second, says the file.
fn with_learning(setup: &Setup) -> Arc<config::Region> {
    let mut region = config::Region::clone(&setup.region());
    let learn = Learn { at_least: 5.0, at_most: 40.0, latency: Duration::from_millis(100), quantile: 0.9 };
    let source = SignalSource::Requests { per_origin: 10.0, learn: Some(learn) };
    let scaling = Scaling {
        ceiling: 1000,
        signals: vec![Signal { name: "requests".into(), source }],
        reactive: None,
        predictive: Some(Predictive { requests_per_origin: None, price: 80.0, shadow: false }),
        budget: None,
        actuator: Actuator::DryRun,
        ..setup.scaling.clone()
    };
    let origins = (1..=4_u16).map(|port| ([127, 0, 0, 1], port).into()).collect();
    let pool = Pool { name: LEARNS.into(), origins, scaling: Some(scaling), ..Pool::clone(&region.pools["shop"]) };
    region.pools.insert(LEARNS.into(), Arc::new(pool));
    Arc::new(region)
}

/// Writes down what an earlier run would have that saw each of the four carry half more than the file says, for
/// an hour and a half until now. What it had learned by then.
fn learn(region: &Arc<config::Region>, file: &Path) -> Learned {
    let end = Timestamp::now();
    let mut now = end - Duration::from_secs(360 * 15);
    let mut earlier = scaler::Region::new(region, now);
    earlier.apply(Event::Observed { pool: LEARNS.into(), origins: Vec::new() }, now).unwrap();
    for seq in 1..=360 {
        now += Duration::from_secs(15);
        let seen = PoolReport { requests: 60 * 15, latencies: vec![(20_000, 60 * 15)], ..PoolReport::default() };
        let pools = [(LEARNS.to_string(), seen)].into();
        let report = Report { version: 1, edge: "e1".into(), boot: 1, seq, period_ms: 15_000, farewell: false, pools };
        earlier.apply(Event::Report(report), now).unwrap();
        for decision in earlier.next(now).decisions {
            earlier.apply(Event::Decided(Box::new(decision)), now).unwrap();
        }
    }
    let store = Store::open(file, History::KEEP).unwrap();
    let mut batch = Batch::new(BTreeMap::new(), end);
    batch.checkpoint(LEARNS, earlier.checkpoints(true).remove(LEARNS).unwrap());
    store.write(batch);
    earlier.pool(LEARNS, now).unwrap().demand.learned().unwrap().clone()
}

#[test]
fn reports_decisions_and_origins_are_counted() {
    let seen = Seen::default();
    metrics::set_global_recorder(seen.clone()).ok().unwrap();
    let folder = Folder::new("metrics");
    let mut setup = Setup::new(&folder.0);
    let monthly = config::region::Monthly { origin_hours: 9000.0, money: None, zone: "UTC".into(), hard: false };
    setup.scaling.budget =
        Some(config::region::ScalingBudget { aim: config::region::Aim::Price(80.0), monthly: Some(monthly) });
    let bounds = (f64::from(setup.scaling.floor), f64::from(setup.scaling.ceiling));
    let region = with_learning(&setup);
    let learned = learn(&region, &folder.0.join(History::FILE));
    assert!(learned.drift && learned.per_origin > 10.4, "{learned:?}");
    let aggregator = aggregator::start(region).unwrap();
    for body in ["{", "{\"version\":7}"] {
        assert_eq!(post(aggregator.address(), body).0, 400);
    }
    assert_eq!(seen.count("forebay_aggregator_reports_refused_total{reason=malformed}"), 1);
    assert_eq!(seen.count("forebay_aggregator_reports_refused_total{reason=version}"), 1);
    assert_eq!(seen.count("forebay_aggregator_reports_total{}"), 0, "refused ones are not taken");

    let mut edge = Edge::new("e1", aggregator.address());
    let members = edge.report_until("two serving", |members| count(members, Stage::Serving) == 2);
    assert_eq!(seen.count("forebay_aggregator_reports_total{}"), edge.report.seq);
    exchange(members[0].address, "GET", "/crash", "");
    edge.report_until("two again", |members| {
        count(members, Stage::Serving) == 2 && seen.count("forebay_aggregator_origins_crashed_total{pool=shop}") == 1
    });
    wait_for("the gauges", || {
        seen.gauge("forebay_aggregator_origins{pool=shop,stage=serving}") == 2.0
            && seen.gauge("forebay_aggregator_origins_desired{pool=shop}") == 2.0
            && seen.gauge("forebay_aggregator_origins_floor{pool=shop}") == bounds.0
            && seen.gauge("forebay_aggregator_origins_ceiling{pool=shop}") == bounds.1
            && seen.gauge("forebay_aggregator_demand_origins{pool=shop}") == 0.0
            && seen.gauge("forebay_aggregator_edges_fresh{}") == 1.0
            && seen.count("forebay_aggregator_origin_seconds_total{pool=shop}") > 0
            && seen.gauge("forebay_aggregator_lead_samples{pool=shop}") == 3.0
            && seen.gauge("forebay_aggregator_lead_learned_seconds{pool=shop,part=boot,percentile=95}") >= 0.05
            && seen.gauge("forebay_aggregator_budget_spent_origin_hours{pool=shop}") > 0.0
            && seen.gauge("forebay_aggregator_origins_late{pool=shop}") == 0.0
    });
    assert_eq!(seen.gauge("forebay_aggregator_capacity_per_origin{pool=learns}"), learned.per_origin);
    assert_eq!(seen.gauge("forebay_aggregator_capacity_drift{pool=learns}"), 1.0, "15 where the file says 10");
    assert!(!seen.has("forebay_aggregator_capacity_per_origin{pool=shop}"), "the file's figure is not learned");
    assert!(!seen.has("forebay_aggregator_capacity_drift{pool=shop}"));
    let ceiling = seen.gauge("forebay_aggregator_budget_ceiling_origin_hours{pool=shop}");
    assert!(ceiling > 0.0 && ceiling <= 9000.0, "the part of the month that is left: {ceiling}");
    assert!(seen.gauge("forebay_aggregator_budget_projected_origin_hours{pool=shop}") > 0.0);
    assert_eq!(seen.gauge("forebay_aggregator_budget_reached{pool=shop}"), 1.0);
    assert_eq!(seen.gauge("forebay_aggregator_actuator_troubled{pool=shop}"), 0.0);
    assert_eq!(seen.gauge("forebay_aggregator_peer_origins{pool=shop,rule=hpa:100}"), 2.0, "its load is none");
    assert_eq!(seen.gauge("forebay_aggregator_origins_advised{pool=shop}"), 2.0, "what is on is its own advice");
    assert_eq!(seen.count("forebay_aggregator_actuator_actions_total{pool=shop,action=start}"), 3);
    assert_eq!(seen.count("forebay_aggregator_actuator_actions_total{pool=shop,action=stop}"), 0);
    assert!(seen.count("forebay_aggregator_decisions_total{pool=shop,source=hold}") >= 1, "the floor, unseen");
    aggregator.stop_and_release();
    assert_eq!(seen.count("forebay_aggregator_actuator_actions_total{pool=shop,action=stop}"), 2);
}
