//! What the demand is measured by: the largest of several signals decides, each is told with its numbers, and what
//! is not known takes nothing away. Over 400 lines: the signals of one pool are one subject.

mod script;

use std::collections::BTreeMap;

use config::region::*;
use forebay_scaler as scaler;
use scaler::{Demand, Event, Reading, Scraped};
use script::*;
use wire::{Metric, PoolReport};

const NOON: &str = "2026-03-02T12:00:00Z";

fn signal(source: SignalSource) -> Signal {
    Signal { name: source.name().into(), source }
}

fn requests(per_origin: f64) -> Signal {
    signal(SignalSource::Requests { per_origin, learn: None })
}

fn in_flight(per_origin: f64) -> Signal {
    signal(SignalSource::InFlight { per_origin })
}

fn latency(quantile: f64, millis: u64) -> Signal {
    signal(SignalSource::Latency { quantile, target: std::time::Duration::from_millis(millis) })
}

fn tokens(per_origin: f64) -> Signal {
    let metric = PluginMetric { name: "tokens_total".into(), plugin: None, labels: Vec::new() };
    Signal { name: "tokens".into(), source: SignalSource::Metric { metric, per_origin } }
}

/// 1 to 20 origins by these signals over 10 s, headroom 1.
fn by(signals: &[Signal]) -> Scaling {
    let reactive = Some(Reactive { requests_per_origin: None, window: secs(10), headroom: 1.0 });
    Scaling { signals: signals.to_vec(), reactive, ceiling: 20, ..scaling() }
}

fn counted(tokens: f64) -> BTreeMap<String, Metric> {
    [("tokens".to_owned(), Metric { added: Some(tokens), now: None })].into()
}

/// So many seconds of the same report of each of these edges.
fn run(script: &mut Script, seconds: u64, edges: &[(&str, PoolReport)]) {
    for _ in 0..seconds {
        script.pass();
        for (edge, pool) in edges {
            let report = script.make_report(edge, pool.clone());
            script.apply(Event::Report(report));
        }
        script.step();
    }
}

fn demand(script: &Script) -> &Demand {
    script.last().inputs.demand.as_ref().expect("a pool with a rule has a demand")
}

fn reading<'a>(script: &'a Script, name: &str) -> &'a Reading {
    demand(script).signals.iter().find(|reading| reading.name == name).unwrap()
}

/// Origins of the actuator that serve.
fn serve(script: &mut Script, origins: usize) {
    for _ in 0..origins {
        let address = script.launch();
        script.ready(address);
    }
}

#[test]
fn a_figure_of_requests_in_the_rule_is_one_signal() {
    let mut script = Script::new(scaling(), NOON);
    script.run(12, &[("e1", 25), ("e2", 10)]);
    assert_eq!(script.count(), 4);
    let demand = demand(&script);
    assert_eq!((demand.origins, demand.winner.as_deref(), demand.signals.len()), (Some(3.5), Some("requests"), 1));
    let one = &demand.signals[0];
    assert_eq!((one.value, one.per_origin, one.age_seconds), (Some(35.0), 10.0, Some(0.0)));
    // By the same figure as a signal nothing is decided otherwise.
    let mut other = Script::new(by(&[requests(10.0)]), NOON);
    other.run(12, &[("e1", 25), ("e2", 10)]);
    assert_eq!(other.count(), 4);
}

#[test]
fn what_is_offered_counts_whether_it_was_served_or_refused() {
    let mut script = Script::new(by(&[requests(10.0)]), NOON);
    let shed = PoolReport { requests: 60, rejects: 40, errors: 40, ..PoolReport::default() };
    run(&mut script, 12, &[("e1", shed)]);
    assert_eq!(script.count(), 6, "what was served alone would be two origins' worth");
}

#[test]
fn the_signal_that_asks_for_the_most_wins_and_the_record_has_all() {
    let mut script = Script::new(by(&[requests(10.0), in_flight(4.0), tokens(100.0)]), NOON);
    let pool = PoolReport { requests: 20, in_flight: 6, metrics: counted(350.0), ..PoolReport::default() };
    run(&mut script, 40, &[("e1", pool.clone()), ("e2", pool)]);
    assert_eq!(script.count(), 7, "700 tokens a second at 100; 40 requests at 10; 12 in flight at 4");
    let all: Vec<_> = demand(&script).signals.iter().map(|one| (one.name.as_str(), one.value, one.origins)).collect();
    assert_eq!(
        all,
        [("requests", Some(40.0), Some(4.0)), ("in_flight", Some(12.0), Some(3.0)), ("tokens", Some(700.0), Some(7.0))]
    );
    assert_eq!(demand(&script).winner.as_deref(), Some("tokens"));
    let line = &script.last().line;
    assert!(
        line.contains("reactive (tokens 700.0 over 10s x 1 / 100 per origin (over requests 4.0, in_flight 3.0))"),
        "{line}"
    );
    let written = serde_json::to_value(script.last()).unwrap();
    assert_eq!(written["inputs"]["demand"]["signals"][2]["source"], "metric");
}

#[test]
fn a_gauge_is_a_mean_over_the_window_and_an_edge_that_falls_silent_holds() {
    let mut script = Script::new(by(&[in_flight(1.0)]), NOON);
    let pool = |in_flight| PoolReport { in_flight, ..PoolReport::default() };
    run(&mut script, 30, &[("e1", pool(4))]);
    assert_eq!(script.count(), 4);
    run(&mut script, 1, &[("e1", pool(14))]);
    assert_eq!(script.count(), 6, "one second of fourteen is no fourteen: 4 + 10 x (1 - e^(-1/5)), rounded up");
    run(&mut script, 30, &[("e1", pool(14))]);
    assert_eq!(script.count(), 14);
    run(&mut script, 20, &[("e2", pool(0))]);
    assert_eq!(script.count(), 14, "the share of e1 is not known, and not zero");
    assert!(script.last().holds[0].starts_with("no data: no fresh report from e1"), "{:?}", script.last().holds);
}

#[test]
fn a_metric_that_nobody_writes_takes_nothing_away_and_lets_others_ask_for_more() {
    let mut script = Script::new(by(&[requests(10.0), tokens(100.0)]), NOON);
    let pool = |requests| PoolReport { requests, ..PoolReport::default() };
    run(&mut script, 20, &[("e1", pool(50))]);
    assert_eq!(script.count(), 5, "up by what is known");
    run(&mut script, 20, &[("e1", pool(10))]);
    assert_eq!(script.count(), 5, "not down by it");
    let holds = &script.last().holds;
    assert_eq!(holds, &["no data: signal tokens: no edge has told of it"]);
    assert_eq!((reading(&script, "tokens").value, reading(&script, "tokens").gap), (None, true), "not zero");
    let told = PoolReport { metrics: counted(0.0), ..pool(10) };
    run(&mut script, 20, &[("e1", told), ("e2", pool(0))]);
    assert_eq!(script.count(), 1, "one edge tells of it: what another has not seen, it has not seen");
}

#[test]
fn a_latency_over_its_target_asks_for_more_in_ratio_and_doubles_at_most() {
    let setting = Scaling { lead: secs(0), ..by(&[requests(1000.0), latency(0.9, 100)]) };
    let mut script = Script::with(region_without_warmup(setting), NOON);
    let pool =
        |micros| PoolReport { requests: 100, latencies: vec![(5_000, 50), (micros, 50)], ..PoolReport::default() };
    run(&mut script, 15, &[("e1", pool(20_000))]);
    serve(&mut script, 1);
    assert_eq!((script.count(), reading(&script, "latency").origins), (1, None), "under its target it says nothing");
    run(&mut script, 12, &[("e1", pool(150_000))]);
    assert_eq!((script.count(), reading(&script, "latency").origins), (2, Some(1.5)));
    let mut steep = Script::with(region_without_warmup(by(&[latency(0.9, 100)])), NOON);
    serve(&mut steep, 3);
    run(&mut steep, 12, &[("e1", pool(9_000_000))]);
    assert_eq!((steep.count(), reading(&steep, "latency").origins), (6, Some(6.0)), "twice, and not ninety times");
    run(&mut steep, 60, &[("e1", pool(9_000_000))]);
    assert_eq!(steep.count(), 6, "those that are started do not serve yet: it is the same word again, not another");
}

#[test]
fn a_latency_never_argues_for_fewer_and_near_its_target_keeps_what_serves() {
    let mut script = Script::with(region_without_warmup(by(&[requests(10.0), latency(0.5, 100)])), NOON);
    serve(&mut script, 6);
    let pool = |requests, micros| PoolReport { requests, latencies: vec![(micros, 100)], ..PoolReport::default() };
    run(&mut script, 15, &[("e1", pool(60, 10_000))]);
    assert_eq!(script.count(), 6, "a tenth of the target, and the load is that of six");
    run(&mut script, 15, &[("e1", pool(60, 95_000))]);
    run(&mut script, 15, &[("e1", pool(20, 95_000))]);
    assert_eq!(script.count(), 6, "near its target, as many as serve stay");
    assert_eq!(reading(&script, "latency").because.as_deref(), Some("near its target: as many as serve"));
    run(&mut script, 15, &[("e1", pool(20, 50_000))]);
    assert_eq!(script.count(), 2);
    run(&mut script, 120, &[("e1", PoolReport::default())]);
    assert_eq!(script.count(), 1, "where nobody asks, nobody waits: no answers are no gap");
    assert!(!reading(&script, "latency").gap);
}

#[test]
fn headroom_is_for_what_is_offered_and_not_for_a_latency() {
    let mut setting = by(&[in_flight(4.0), latency(0.5, 100)]);
    setting.reactive.as_mut().unwrap().headroom = 1.5;
    let mut script = Script::with(region_without_warmup(setting), NOON);
    serve(&mut script, 4);
    let pool = PoolReport { in_flight: 8, latencies: vec![(100_000, 100)], ..PoolReport::default() };
    run(&mut script, 30, &[("e1", pool)]);
    assert_eq!(script.count(), 4, "in flight asks for 2 x 1.5, the latency for the four that serve");
    let line = &script.last().line;
    assert!(line.contains("reactive (latency 0.100 s against 0.1 s: near its target"), "{line}");
}

#[test]
fn a_schedule_changes_what_an_origin_should_carry_of_requests_alone() {
    let evening = Schedule { floor: None, target: Some(5.0), lead: secs(0), zone: "UTC".into(), ..evening() };
    let setting = Scaling { schedules: vec![evening], ..by(&[requests(10.0), in_flight(4.0)]) };
    let mut script = Script::new(setting, "2026-03-02T18:30:00Z");
    let pool = PoolReport { requests: 30, in_flight: 4, ..PoolReport::default() };
    run(&mut script, 12, &[("e1", pool)]);
    assert_eq!(script.count(), 6);
    assert_eq!((reading(&script, "requests").per_origin, reading(&script, "in_flight").per_origin), (5.0, 4.0));
}

#[test]
fn the_predictive_rule_goes_by_the_signals_too() {
    let rule = Predictive { requests_per_origin: None, price: 80.0, shadow: false };
    let signals = vec![requests(10.0), tokens(100.0), latency(0.5, 100)];
    let setting = Scaling { reactive: None, predictive: Some(rule), signals, ..by(&[]) };
    let mut script = Script::new(setting.clone(), NOON);
    let pool = |tokens| PoolReport {
        requests: 20,
        metrics: counted(tokens),
        latencies: vec![(900_000, 100)],
        ..PoolReport::default()
    };
    run(&mut script, 200, &[("e1", pool(600.0))]);
    assert_eq!(script.count(), 8, "6 origins' worth of tokens x 1.3 while it is cold; the latency is no demand");
    let line = &script.last().line;
    assert!(line.contains("level 6.0 origins' load"), "{line}");
    // A step without the metric is a gap: what requests say alone is part of the demand.
    let without = PoolReport { requests: 20, ..PoolReport::default() };
    let mut gap = Script::new(setting, NOON);
    run(&mut gap, 60, &[("e1", without)]);
    assert_eq!(gap.last().proposals[0].because, "no whole step was reported yet");
    assert_eq!(gap.count(), 1);
}

#[test]
fn what_is_known_of_a_signal_survives_a_change_of_the_file_that_leaves_it_as_it_was() {
    let mut script = Script::new(by(&[in_flight(1.0), tokens(100.0)]), NOON);
    let pool = PoolReport { in_flight: 3, metrics: counted(900.0), ..PoolReport::default() };
    run(&mut script, 30, &[("e1", pool.clone())]);
    assert_eq!(script.count(), 9);
    let other = region(by(&[in_flight(1.0), tokens(300.0)]), &[]);
    script.apply(Event::Configured(other));
    script.step();
    let told = |script: &Script, name| reading(script, name).value;
    assert_eq!((told(&script, "in_flight"), told(&script, "tokens")), (Some(3.0), None), "the other is another signal");
    assert_eq!(script.count(), 9, "and holds until it is told of");
    run(&mut script, 15, &[("e1", pool)]);
    assert_eq!(script.count(), 3);
}

#[test]
fn an_edge_cannot_say_what_no_plugin_can_have_counted() {
    let mut script = Script::new(by(&[tokens(100.0)]), NOON);
    for value in [-1.0, f64::NAN, f64::INFINITY, 1e308] {
        script.pass();
        let report = script.make_report("e1", PoolReport { metrics: counted(value), ..PoolReport::default() });
        let refused = script.region.apply(Event::Report(report), script.now).unwrap_err();
        assert!(refused.detail.contains("pools.shop.metrics.tokens"), "{refused:?}");
    }
    script.pass();
    let steps = (0..2000).map(|step| (step, 1)).collect();
    let report = script.make_report("e1", PoolReport { latencies: steps, ..PoolReport::default() });
    assert!(script.region.apply(Event::Report(report), script.now).is_err());
    script.step();
    assert_eq!(script.count(), 1);
}

#[test]
fn asking_twice_changes_nothing_and_the_same_reports_give_the_same_decisions() {
    let play = |asks: usize| {
        let mut script = Script::new(by(&[requests(10.0), in_flight(2.0), tokens(50.0), latency(0.9, 100)]), NOON);
        for second in 0..120_u64 {
            script.pass();
            let pool = PoolReport {
                requests: 10 + second % 37,
                in_flight: second % 11,
                metrics: counted((second % 23) as f64 * 20.0),
                latencies: vec![(1_000 * (second % 140), 50)],
                ..PoolReport::default()
            };
            let report = script.make_report("e1", pool);
            script.apply(Event::Report(report));
            script.step();
            for _ in 0..asks {
                script.region.next(script.now);
                script.region.pool("shop", script.now);
            }
        }
        script.decisions
    };
    let (once, often) = (play(0), play(3));
    assert_eq!(once.len(), 120);
    assert!(once == often);
}

fn region_without_warmup(scaling: Scaling) -> std::sync::Arc<Region> {
    let mut region = (*region(scaling, &[])).clone();
    let mut pool = (*region.pools["shop"]).clone();
    pool.warmup = None;
    region.pools.insert("shop".into(), pool.into());
    region.into()
}

fn cpu(per: Per, over: Over) -> Signal {
    let scrape = Scrape {
        path: "/metrics".into(),
        port: None,
        metric: "cpu".into(),
        labels: Vec::new(),
        per,
        over,
        interval: secs(15),
        timeout: secs(3),
    };
    Signal { name: "cpu".into(), source: SignalSource::Origin { scrape, per_origin: 0.5 } }
}

/// A pool of these listed origins, with an edge without any load.
fn showing(signal: Signal, origins: usize) -> (Script, Vec<std::net::SocketAddr>) {
    let listed: Vec<_> = (1..=origins).map(|port| ([127, 0, 0, 1], port as u16).into()).collect();
    let setting = Scaling { signals: vec![signal, requests(1000.0)], ..by(&[]) };
    (Script::with(region(setting, &listed), NOON), listed)
}

fn shows(script: &mut Script, address: std::net::SocketAddr, value: Result<f64, &str>) {
    let values = [("cpu".to_owned(), value.map_err(str::to_owned))].into();
    script.apply(Event::Scraped { pool: "shop".into(), scraped: Scraped { address, values } });
}

/// `looks` looks of 15 s, at each of which every origin shows what `value` says of it (its place, and the look).
fn look(
    script: &mut Script,
    listed: &[std::net::SocketAddr],
    looks: u32,
    value: impl Fn(usize, u32) -> Result<f64, &'static str>,
) {
    for look in 0..looks {
        run(script, 15, &[("e1", PoolReport { requests: 1, ..PoolReport::default() })]);
        for (place, address) in listed.iter().enumerate() {
            shows(script, *address, value(place, look));
        }
    }
    script.pass();
    script.report("e1", 1);
    script.step();
}

#[test]
fn cpu_that_origins_show_asks_for_origins_that_requests_do_not() {
    let (mut script, listed) = showing(cpu(Per::Rate, Over::Sum), 2);
    look(&mut script, &listed, 1, |_, _| Ok(1e6));
    assert_eq!((script.count(), reading(&script, "cpu").value), (2, None), "one look at a counter says nothing");
    assert!(
        script.last().holds[0].starts_with("no data: signal cpu: 0 of 2 origins tell"),
        "{:?}",
        script.last().holds
    );
    // Seconds of CPU: 0.75 a second of each.
    look(&mut script, &listed, 6, |_, look| Ok(1e6 + f64::from(look + 1) * 0.75 * 15.0));
    assert_eq!(script.count(), 3, "1.5 cores in all at 0.5");
    let cpu = reading(&script, "cpu");
    assert!((cpu.value.unwrap() - 1.5).abs() < 1e-6 && !cpu.gap && cpu.because.is_none(), "{cpu:?}");
    assert_eq!(demand(&script).winner.as_deref(), Some("cpu"));
}

#[test]
fn a_counter_that_begins_anew_is_no_drop_and_no_leap() {
    let (mut script, listed) = showing(cpu(Per::Rate, Over::Sum), 1);
    let counted = [9000.0, 9015.0, 9030.0, 9045.0, 10.0, 25.0, 40.0];
    let mut least = f64::INFINITY;
    for (n, _) in counted.iter().enumerate() {
        look(&mut script, &listed, 1, |_, _| Ok(counted[n]));
        if n > 0 {
            let value = reading(&script, "cpu").value.unwrap();
            assert!(value < 1.01, "{value} after {n}");
            least = least.min(value);
        }
    }
    assert!(least > 0.6, "10 of its 15 seconds are known: {least}");
    assert_eq!(script.count(), 2);
}

#[test]
fn an_origin_that_does_not_answer_is_as_the_others_and_most_of_them_take_nothing_away() {
    let (mut script, listed) = showing(cpu(Per::Gauge, Over::Sum), 4);
    look(&mut script, &listed, 6, |_, _| Ok(1.0));
    assert_eq!(script.count(), 8);
    look(&mut script, &listed, 6, |place, _| if place == 0 { Err("refused") } else { Ok(1.0) });
    assert_eq!(script.count(), 8, "a gap is not zero");
    let because = reading(&script, "cpu").because.clone().unwrap();
    assert_eq!(because, "3 of 4 origins tell; 127.0.0.1:1: refused");
    look(&mut script, &listed, 6, |place, _| if place < 2 { Err("refused") } else { Ok(1.0) });
    look(&mut script, &listed, 6, |place, _| if place < 2 { Err("refused") } else { Ok(0.1) });
    assert_eq!(script.count(), 8, "two of four do not say that the others idle too");
    assert!(reading(&script, "cpu").gap);
    look(&mut script, &listed, 6, |place, _| if place < 2 { Err("refused") } else { Ok(2.0) });
    assert_eq!(script.count(), 16, "they may ask for more");
    look(&mut script, &listed, 8, |_, _| Err("refused"));
    assert_eq!((script.count(), reading(&script, "cpu").value), (16, None), "nobody answers: what stands stays");
    look(&mut script, &listed, 8, |_, _| Ok(0.2));
    assert_eq!(script.count(), 2);
}

#[test]
fn an_origin_that_lies_moves_nothing() {
    for lie in [f64::NAN, -1.0, f64::INFINITY, 1e308] {
        let (mut script, listed) = showing(cpu(Per::Gauge, Over::Sum), 4);
        look(&mut script, &listed, 4, |place, _| if place == 0 { Ok(lie) } else { Ok(0.5) });
        assert_eq!(script.count(), 4, "{lie}");
        let because = reading(&script, "cpu").because.clone().unwrap();
        assert!(because.contains("127.0.0.1:1: it shows") && because.contains("allowed are 0 to"), "{because}");
    }
    // What is possible, and yet no load that the others know of.
    let (mut script, listed) = showing(cpu(Per::Gauge, Over::Sum), 4);
    look(&mut script, &listed, 4, |place, _| if place == 0 { Ok(1e9) } else { Ok(0.5) });
    assert_eq!(script.count(), 4);
    assert!(reading(&script, "cpu").because.as_deref().unwrap().contains("1 left out: over 20 times the others"));
    // A hot one among idle ones is none.
    look(&mut script, &listed, 6, |place, _| if place == 0 { Ok(3.0) } else { Ok(0.0) });
    assert_eq!(script.count(), 6, "3 in all at 0.5");
}

#[test]
fn what_each_origin_tells_of_the_whole_is_not_added_up() {
    for (over, wanted) in [(Over::Sum, 12), (Over::Mean, 4), (Over::Max, 6)] {
        let (mut script, listed) = showing(cpu(Per::Gauge, over), 3);
        look(&mut script, &listed, 6, |place, _| Ok(1.0 + place as f64));
        assert_eq!(script.count(), wanted, "{over:?}");
    }
}
