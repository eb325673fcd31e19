//! Edges fall silent: what is decided on then, and that nothing is taken away for it.

mod script;

use config::region::{Predictive, Scaling};
use forebay_scaler as scaler;
use jiff::Timestamp;
use scaler::missing::{Basis, StandIn};
use scaler::{Capacity, Event, Point, Source};
use script::*;

const NOON: &str = "2026-03-02T12:00:00Z";

fn wide() -> Scaling {
    Scaling { ceiling: 50, ..scaling() }
}

/// Two days before noon of so many requests a second, by the minute.
fn taught(script: &mut Script, requests: f64) {
    let first = script.now.as_second() - 2 * 86_400;
    let point = |minute: i64| Point {
        at: Timestamp::from_second(first + minute * 60).unwrap(),
        requests,
        rejects: 0.0,
        errors: 0.0,
        cost: 0.0,
        covered: 1.0,
        origins: Capacity::default(),
    };
    script.apply(Event::Taught { pool: "shop".into(), minutes: (0..2 * 1440).map(point).collect() });
}

fn carried(script: &Script, edge: &str) -> Option<StandIn> {
    script.last().inputs.edges.iter().find(|found| found.edge == edge).expect("the edge is known").carried
}

#[test]
fn while_most_of_the_demand_is_reported_the_rest_is_carried_in_full_and_the_pool_may_shrink() {
    let mut script = Script::new(wide(), NOON);
    script.run(30, &[("e1", 80), ("e2", 20)]);
    assert_eq!((script.count(), script.last().inputs.coverage), (10, Some(1.0)));
    for second in 0..890 {
        script.run(1, &[("e1", 60)]);
        assert!(script.count() >= 8, "second {second}: {}", script.last().line);
    }
    let decision = script.last();
    assert_eq!(decision.to, 8, "60 that are seen and 20 that are carried: {}", decision.line);
    assert!(decision.line.contains("60.0 requests/s over 10s + 20.0 carried for e2 (last value)"), "{}", decision.line);
    assert_eq!(decision.inputs.carried_requests_per_second, Some(20.0));
    assert_eq!(decision.inputs.requests_per_second, Some(60.0), "what is seen, and nothing else");
    assert!(decision.holds.is_empty(), "{:?}", decision.holds);
    assert_eq!(carried(&script, "e2"), Some(StandIn { requests_per_second: 20.0, by: Basis::LastValue }));
    script.run(60, &[("e1", 60)]);
    assert_eq!((script.count(), script.last().inputs.coverage), (6, Some(1.0)), "it is gone for good");
    assert!(script.last().inputs.edges.iter().all(|edge| edge.edge == "e1"));
}

#[test]
fn a_window_shorter_than_a_report_counts_takes_nothing_away_while_no_report_comes() {
    let mut setting = wide();
    setting.reactive.as_mut().unwrap().window = secs(2);
    let mut script = Script::new(setting, NOON);
    script.run(30, &[("e1", 80), ("e2", 20)]);
    assert_eq!(script.count(), 10);
    // A report counts for 5 s; one edge, then both, are silent for longer than the window and shorter than that.
    let all = script.decisions.len();
    script.run(4, &[("e1", 80)]);
    assert_eq!(carried(&script, "e2"), Some(StandIn { requests_per_second: 20.0, by: Basis::LastValue }));
    assert_eq!(script.last().inputs.coverage, Some(1.0), "by the file's word it reports");
    script.run(1, &[("e1", 80), ("e2", 20)]);
    script.run(4, &[]);
    let line = &script.last().line;
    assert!(line.contains("0.0 requests/s over 2s + 80.0 carried for e1 (last value) + 20.0 carried for e2"), "{line}");
    script.run(600, &[]);
    let lowest = script.decisions[all..].iter().min_by_key(|decision| decision.to).unwrap();
    assert_eq!(lowest.to, 10, "{}", lowest.line);
    // Those that are heard of again may say that it is less.
    script.run(10, &[("e1", 30), ("e2", 20)]);
    assert_eq!((script.count(), carried(&script, "e2")), (5, None), "{}", script.last().line);
}

#[test]
fn the_same_where_signals_are_the_demand() {
    let mut setting = wide();
    let rule = setting.reactive.as_mut().unwrap();
    (rule.window, rule.requests_per_origin) = (secs(2), None);
    let source = config::region::SignalSource::Requests { per_origin: 10.0, learn: None };
    setting.signals = vec![config::region::Signal { name: "offered".into(), source }];
    let mut script = Script::new(setting, NOON);
    script.run(30, &[("e1", 80), ("e2", 20)]);
    let all = script.decisions.len();
    script.run(4, &[("e1", 80)]);
    script.run(600, &[]);
    let lowest = script.decisions[all..].iter().min_by_key(|decision| decision.to).unwrap();
    assert_eq!(lowest.to, 10, "{}", lowest.line);
}

#[test]
fn under_seventy_percent_nothing_shrinks_and_what_is_seen_with_what_is_carried_raises() {
    let mut script = Script::new(wide(), NOON);
    script.run(30, &[("e1", 60), ("e2", 40)]);
    script.run(10, &[("e1", 60)]);
    script.run(20, &[("e1", 10)]);
    assert_eq!(script.count(), 10, "{}", script.last().line);
    let coverage = script.last().inputs.coverage.unwrap();
    assert!((0.5..0.7).contains(&coverage), "{coverage}");
    assert!(script.last().holds[0].starts_with("no data: no fresh report from e2: "), "{:?}", script.last().holds);
    script.run(15, &[("e1", 90)]);
    assert_eq!(script.count(), 13, "90 and 40: {}", script.last().line);
    // It comes back with what it has, and that is all of it.
    script.run(15, &[("e1", 10), ("e2", 10)]);
    assert_eq!((script.count(), carried(&script, "e2")), (2, None));
}

#[test]
fn an_edge_whose_first_report_brought_nothing_weighs_by_all_that_is_known_of_it() {
    let mut script = Script::new(wide(), NOON);
    script.run(1, &[("e1", 40), ("e2", 0)]);
    script.run(3, &[("e1", 40), ("e2", 40)]);
    let stood = script.count();
    script.run(60, &[("e1", 40)]);
    assert_eq!(
        script.count(),
        stood.max(8),
        "a mean of 30 in 4 s and a little more, beside 40: {}",
        script.last().line
    );
    let coverage = script.last().inputs.coverage.unwrap();
    assert!((0.5..0.6).contains(&coverage), "{coverage}");
    assert!(script.last().holds[0].starts_with("no data: no fresh report from e2: "), "{:?}", script.last().holds);
}

#[test]
fn after_two_minutes_the_share_of_the_usual_counts_where_it_is_more() {
    for (usual, expected) in [(400.0, Basis::Usual), (60.0, Basis::LastValue)] {
        let mut script = Script::new(wide(), NOON);
        taught(&mut script, usual);
        script.run(30, &[("e1", 80), ("e2", 20)]);
        script.run(100, &[("e1", 80)]);
        let last = StandIn { requests_per_second: 20.0, by: Basis::LastValue };
        assert_eq!((carried(&script, "e2"), script.count()), (Some(last), 10));
        script.run(40, &[("e1", 80)]);
        let found = carried(&script, "e2").unwrap();
        assert_eq!(found.by, expected, "{found:?}");
        let requests = if expected == Basis::Usual { 80.0 } else { 20.0 };
        assert!((found.requests_per_second - requests).abs() < 0.5, "a fifth of {usual}, or the last: {found:?}");
        assert_eq!(script.count(), (8.0 + requests / 10.0) as u32, "{}", script.last().line);
    }
}

#[test]
fn when_nobody_reports_the_count_stands_and_after_a_quarter_of_an_hour_the_usual_may_raise_it() {
    let mut script = Script::new(wide(), NOON);
    taught(&mut script, 120.0);
    script.run(30, &[("e1", 60), ("e2", 20)]);
    assert_eq!(script.count(), 8);
    script.run(900, &[]);
    assert_eq!((script.count(), script.last().inputs.usual_requests_per_second), (8, None));
    script.run(30, &[]);
    assert_eq!(script.count(), 12, "{}", script.last().line);
    assert!(script.last().line.contains("120.0 requests/s, as usual at this time"), "{}", script.last().line);
    assert_eq!(script.last().inputs.usual_requests_per_second, Some(120.0));

    // Less than what is held is no reason to take anything away, and neither is knowing nothing.
    for usual in [Some(10.0), None] {
        let mut script = Script::new(wide(), NOON);
        if let Some(usual) = usual {
            taught(&mut script, usual);
        }
        script.run(30, &[("e1", 80)]);
        script.run(1800, &[]);
        assert_eq!(script.count(), 8, "{usual:?}: {}", script.last().line);
    }
}

#[test]
fn without_any_report_a_schedule_still_raises_and_its_end_takes_nothing_away() {
    let mut script = Script::new(Scaling { schedules: vec![evening()], ..wide() }, "2026-03-02T16:00:00Z");
    script.run(30, &[("e1", 20)]);
    assert_eq!(script.count(), 2);
    script.run(3600, &[]);
    assert_eq!(script.count(), 5, "{}", script.last().line);
    script.run(2 * 3600, &[]);
    assert_eq!(script.count(), 5, "{}", script.last().line);
}

#[test]
fn the_engine_holds_over_gaps_and_is_raised_by_what_is_seen_with_what_is_carried() {
    let rule = Predictive { requests_per_origin: Some(10.0), price: 80.0, shadow: false };
    let mut script = Script::new(Scaling { reactive: None, predictive: Some(rule), ..wide() }, NOON);
    script.run(900, &[("e1", 60), ("e2", 40)]);
    let stood = script.count();
    script.run(60, &[("e1", 20)]);
    assert!(script.count() >= stood, "{}", script.last().line);
    script.run(60, &[("e1", 200)]);
    assert_eq!(script.count(), 26, "1.05 of 240: {}", script.last().line);
    let proposal = script.last().proposals.iter().find(|found| found.source == Source::Predictive).unwrap();
    assert!(proposal.because.starts_with("200.0 requests/s over 30s + 40.0 carried for e2 (last value) x 1.05"));
    assert!(proposal.because.contains("level 100.0 requests/s"), "it has learned nothing of it: {}", proposal.because);
}

#[test]
fn an_edge_that_restarts_counts_from_nothing_and_that_is_no_drop() {
    let mut script = Script::new(wide(), NOON);
    script.run(30, &[("e1", 80)]);
    // Half a second of a new run: its counters say 40.
    script.now += jiff::SignedDuration::from_millis(500);
    let pool = wire::PoolReport { requests: 40, ..Default::default() };
    let mut report = script.make_report("e1", pool);
    (report.boot, report.seq, report.period_ms) = (2, 1, 500);
    script.apply(Event::Report(report));
    script.step();
    assert_eq!(script.count(), 8, "{}", script.last().line);
    assert_eq!(script.last().inputs.requests_per_second, Some(80.0));
}

#[test]
fn what_a_silent_edge_said_last_of_another_signal_goes_on_too() {
    let mut setting = wide();
    setting.reactive.as_mut().unwrap().requests_per_origin = None;
    let source = config::region::SignalSource::InFlight { per_origin: 10.0 };
    setting.signals = vec![config::region::Signal { name: "busy".into(), source }];
    let mut script = Script::new(setting, NOON);
    let mut run = |seconds: u64, edges: &[(&str, u64)]| {
        for _ in 0..seconds {
            script.pass();
            for (edge, in_flight) in edges {
                let pool = wire::PoolReport { requests: *in_flight, in_flight: *in_flight, ..Default::default() };
                let report = script.make_report(edge, pool);
                script.apply(Event::Report(report));
            }
            script.step();
        }
        (script.count(), script.last().line.clone())
    };
    assert_eq!(run(60, &[("e1", 80), ("e2", 20)]).0, 10);
    let (count, line) = run(300, &[("e1", 70)]);
    assert_eq!(count, 9, "70 and the 20 of the silent one: {line}");
    assert_eq!(run(700, &[("e1", 70)]).0, 7, "it is gone for good");
}
