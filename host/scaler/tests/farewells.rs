//! Edges that end in order say so, and nothing stands in for them.

mod script;

use config::region::{Predictive, Scaling, Signal, SignalSource};
use forebay_scaler as scaler;
use scaler::region::Applied;
use scaler::{Event, Point};
use script::*;
use wire::{PoolReport, Report, Stage};

const NOON: &str = "2026-03-02T12:00:00Z";

fn wide() -> Scaling {
    Scaling { ceiling: 50, ..scaling() }
}

fn known(script: &Script) -> Vec<&str> {
    script.last().inputs.edges.iter().map(|edge| edge.edge.as_str()).collect()
}

/// A second in which one edge goes on, and another ends with it.
fn ends(script: &mut Script, on: (&str, u64), last: (&str, u64)) {
    script.pass();
    script.report(on.0, on.1);
    script.farewell(last.0, last.1);
    script.step();
}

#[test]
fn who_said_farewell_is_not_carried_and_weighs_nothing() {
    let mut script = Script::new(wide(), NOON);
    script.run(30, &[("e1", 60), ("e2", 40)]);
    assert_eq!(script.count(), 10);
    script.farewell("e2", 0);
    script.run(1, &[("e1", 60)]);
    let inputs = &script.last().inputs;
    assert_eq!((inputs.coverage, inputs.carried_requests_per_second), (Some(1.0), None), "{}", script.last().line);
    assert_eq!(inputs.left, ["e2"], "a record says where it went");
    assert_eq!(known(&script), ["e1"]);
    script.run(11, &[("e1", 60)]);
    let decision = script.last();
    assert_eq!(decision.to, 6, "a window later there is what is seen: {}", decision.line);
    assert!(decision.holds.is_empty(), "{:?}", decision.holds);
    script.run(60, &[("e1", 60)]);
    assert!(script.last().inputs.left.is_empty(), "that is long ago");
}

#[test]
fn who_is_killed_is_carried_as_ever() {
    let mut script = Script::new(wide(), NOON);
    script.run(30, &[("e1", 80), ("e2", 20)]);
    script.run(300, &[("e1", 60)]);
    assert_eq!(script.count(), 8, "{}", script.last().line);
    assert_eq!(script.last().inputs.carried_requests_per_second, Some(20.0));
    assert_eq!(known(&script), ["e1", "e2"]);
}

#[test]
fn what_it_saw_counts_until_the_window_has_passed_so_that_its_clients_are_not_missed() {
    let mut script = Script::new(wide(), NOON);
    script.run(30, &[("e1", 50), ("e2", 50)]);
    ends(&mut script, ("e1", 50), ("e2", 50));
    for second in 0..30 {
        script.run(1, &[("e1", 100)]);
        let seen = script.last().inputs.requests_per_second.unwrap();
        assert!((99.9..100.1).contains(&seen), "second {second}: {seen}");
        assert_eq!(script.count(), 10, "second {second}: {}", script.last().line);
    }
}

#[test]
fn a_late_report_of_the_same_run_does_not_bring_it_back_and_a_new_run_does() {
    let mut script = Script::new(wide(), NOON);
    script.run(30, &[("e1", 60)]);
    let early = script.make_report("e2", PoolReport { requests: 40, ..PoolReport::default() });
    script.report("e2", 40);
    let last = script.farewell("e2", 40);
    for _ in 0..5 {
        assert_eq!(script.apply(Event::Report(early.clone())), Applied::Repeat, "it was overtaken on its way");
        assert_eq!(script.apply(Event::Report(last.clone())), Applied::Repeat, "its answer was lost");
        script.run(6, &[("e1", 60)]);
        assert_eq!(known(&script), ["e1"]);
    }
    assert_eq!(script.count(), 6, "{}", script.last().line);
    for second in 0..12 {
        script.pass();
        script.report("e1", 60);
        let report = script.make_report("e2", PoolReport { requests: 40, ..PoolReport::default() });
        assert_eq!(script.apply(Event::Report(Report { boot: 2, ..report })), Applied::Taken, "second {second}");
        script.step();
    }
    assert_eq!((script.count(), known(&script)), (10, vec!["e1", "e2"]), "{}", script.last().line);
    assert!(script.last().inputs.left.is_empty());
    // And that run is carried, if it is killed.
    script.run(60, &[("e1", 60)]);
    assert_eq!((script.count(), script.last().inputs.carried_requests_per_second.is_some()), (10, true));
}

#[test]
fn edges_with_another_name_after_each_start_are_not_refused_for_their_number() {
    let mut script = Script::new(wide(), NOON);
    for start in 0..10_000 {
        let name = format!("edge-{start}");
        script.now += std::time::Duration::from_millis(50);
        assert_eq!(script.report(&name, 1), Applied::Taken);
        script.farewell(&name, 0);
    }
    script.run(1, &[("e1", 10)]);
    assert_eq!(known(&script), ["e1"]);
    assert_eq!(script.last().inputs.left.len(), 32, "a record names no more");
}

#[test]
fn when_all_have_left_the_count_stands() {
    let mut script = Script::new(wide(), NOON);
    script.run(30, &[("e1", 80)]);
    script.farewell("e1", 0);
    script.run(600, &[]);
    assert_eq!(script.count(), 8, "{}", script.last().line);
    assert_eq!(script.last().inputs.coverage, None);
}

#[test]
fn an_origin_is_drained_without_who_left_and_not_without_who_is_silent() {
    for farewell in [true, false] {
        let mut script = Script::new(scaling(), NOON);
        script.run(12, &[("e1", 20), ("e2", 20)]);
        let origins: Vec<_> = (0..4).map(|_| script.launch()).collect();
        for origin in &origins {
            script.ready(*origin);
        }
        let all = |in_flight: u64| origins.iter().map(|origin| (*origin, true, in_flight)).collect::<Vec<_>>();
        script.report_origins("e1", 20, &all(0));
        script.report_origins("e2", 20, &all(1));
        if farewell {
            script.farewell("e2", 0);
        }
        for _ in 0..12 {
            script.pass();
            script.report_origins("e1", 30, &all(0));
        }
        // Silent, and 40 % of the demand: carried, so that nothing even begins to drain.
        let drains = origins.iter().filter(|origin| script.stage(**origin) == Some(Stage::Draining)).count();
        let stops = script.step().pools["shop"].stop.len();
        assert_eq!((drains, stops), if farewell { (1, 1) } else { (0, 0) }, "farewell: {farewell}");
    }
}

#[test]
fn a_drain_that_has_begun_waits_for_who_is_silent_and_not_for_who_left() {
    for farewell in [true, false] {
        let mut script = Script::new(scaling(), NOON);
        script.run(12, &[("e1", 35), ("e2", 5)]);
        let origins: Vec<_> = (0..4).map(|_| script.launch()).collect();
        for origin in &origins {
            script.ready(*origin);
        }
        let all = |in_flight: u64| origins.iter().map(|origin| (*origin, true, in_flight)).collect::<Vec<_>>();
        for _ in 0..12 {
            script.pass();
            script.report_origins("e1", 20, &all(0));
            script.report_origins("e2", 5, &all(1));
        }
        let leaving = origins.iter().filter(|origin| script.stage(**origin) == Some(Stage::Draining)).count();
        assert!(leaving > 0 && script.step().pools["shop"].stop.is_empty(), "{}", script.last().line);
        if farewell {
            script.farewell("e2", 0);
        }
        for _ in 0..8 {
            script.pass();
            script.report_origins("e1", 20, &all(0));
        }
        let stops = script.step().pools["shop"].stop.len();
        assert_eq!(stops, if farewell { leaving } else { 0 }, "farewell: {farewell}");
    }
}

#[test]
fn the_step_in_which_it_left_is_known_whole_and_the_engine_learns_of_it() {
    let rule = Predictive { requests_per_origin: Some(10.0), price: 80.0, shadow: false };
    let mut script = Script::new(Scaling { reactive: None, predictive: Some(rule), ..wide() }, NOON);
    script.run(300, &[("e1", 60), ("e2", 40)]);
    script.run(6, &[("e1", 60), ("e2", 40)]);
    ends(&mut script, ("e1", 60), ("e2", 40));
    script.run(53, &[("e1", 100)]);
    let points = script.region.points(script.now).remove("shop").unwrap();
    // The latest runs on.
    let whole: Vec<&Point> = points.fine.iter().rev().skip(1).take(20).collect();
    for point in &whole {
        assert!((99.0..101.0).contains(&point.requests) && point.covered > 0.999, "{point:?}");
    }
    assert_eq!(whole.len(), 20);
    script.run(30, &[("e1", 20)]);
    let proposal = script.last().proposals[0].because.clone();
    assert!(!proposal.contains("carried"), "{proposal}");
    assert!(!proposal.contains("level 100.0"), "it goes with the load, and so it was no gap: {proposal}");
}

#[test]
fn what_it_said_of_another_signal_fades_as_the_others_take_its_clients() {
    let mut setting = wide();
    setting.reactive.as_mut().unwrap().requests_per_origin = None;
    setting.signals = vec![Signal { name: "busy".into(), source: SignalSource::InFlight { per_origin: 10.0 } }];
    let mut script = Script::new(setting, NOON);
    let report = |script: &mut Script, edge: &str, in_flight: u64, farewell: bool| {
        let report = script.make_report(edge, PoolReport { requests: 1, in_flight, ..PoolReport::default() });
        script.apply(Event::Report(Report { farewell, ..report }));
    };
    for _ in 0..60 {
        script.pass();
        report(&mut script, "e1", 60, false);
        report(&mut script, "e2", 40, false);
        script.step();
    }
    let said = |script: &Script| script.last().inputs.demand.as_ref().unwrap().signals[0].value.unwrap();
    assert_eq!(said(&script), 100.0);
    for second in 0..60 {
        script.pass();
        report(&mut script, "e1", 100, false);
        if second == 0 {
            report(&mut script, "e2", 0, true);
        }
        script.step();
        assert!((97.0..103.0).contains(&said(&script)), "second {second}: {}", said(&script));
    }
}
