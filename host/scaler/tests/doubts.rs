//! Reports that nobody would believe, and crowds that nobody foresaw.

mod script;

use forebay_scaler as scaler;
use scaler::region::Applied;
use scaler::{Event, Refused};
use script::*;
use wire::{PoolReport, Report};

const NOON: &str = "2026-03-02T12:00:00Z";

fn calm() -> Script {
    let mut script = Script::new(config::region::Scaling { ceiling: 5000, ..scaling() }, NOON);
    script.run(30, &[("e1", 60), ("e2", 40)]);
    assert_eq!(script.count(), 10);
    script
}

fn make(script: &mut Script, edge: &str, requests: u64) -> Report {
    script.make_report(edge, PoolReport { requests, ..PoolReport::default() })
}

fn tell(script: &mut Script, report: &Report) -> Result<Applied, Refused> {
    let told = script.region.apply(Event::Report(report.clone()), script.now);
    script.step();
    told
}

#[test]
fn one_report_of_over_twenty_times_the_most_is_refused_counted_and_changes_no_count() {
    let mut script = calm();
    script.pass();
    script.report("e2", 40);
    let absurd = make(&mut script, "e1", 100_000);
    let refused = tell(&mut script, &absurd).unwrap_err();
    assert_eq!(refused.reason, "absurd");
    for said in ["pools.shop.requests: 100000 a second", "at most 60", "20 times", "3 reports"] {
        assert!(refused.detail.contains(said), "{said}: {}", refused.detail);
    }
    // The same one again is no second witness.
    for _ in 0..5 {
        assert_eq!(tell(&mut script, &absurd).unwrap_err().reason, "absurd");
    }
    assert_eq!(script.count(), 10);
    let told = &script.last().inputs.refused;
    assert_eq!((told.len(), &told[0].edge[..], told[0].requests_per_second, told[0].reports), (1, "e1", 100_000.0, 1));
    script.run(10, &[("e1", 60), ("e2", 40)]);
    assert_eq!((script.count(), script.last().inputs.refused.len()), (10, 0), "it was a mistake, and is over");
    // Nineteen times is a lot, and no mistake yet.
    script.pass();
    let much = make(&mut script, "e1", 1150);
    assert_eq!(tell(&mut script, &much), Ok(Applied::Taken));
}

#[test]
fn mistakes_that_contradict_each_other_are_never_believed() {
    let mut script = calm();
    for i in 0..40 {
        script.pass();
        script.report("e2", 40);
        let absurd = make(&mut script, "e1", if i % 2 == 0 { 100_000 } else { 10_000 });
        assert!(tell(&mut script, &absurd).is_err(), "report {i}");
        assert_eq!(script.count(), 10, "{}", script.last().line);
    }
}

#[test]
fn a_crowd_at_one_edge_is_believed_with_the_third_report() {
    let mut script = calm();
    let mut taken = Vec::new();
    for _ in 0..5 {
        script.pass();
        script.report("e2", 40);
        let crowd = make(&mut script, "e1", 30_000);
        taken.push(tell(&mut script, &crowd).is_ok());
    }
    assert_eq!(taken, [false, false, true, true, true]);
    assert!(script.count() > 100, "{}", script.last().line);
    assert!(script.last().inputs.refused.is_empty());
}

#[test]
fn a_crowd_at_two_edges_is_believed_at_once() {
    let mut script = calm();
    script.pass();
    let first = make(&mut script, "e1", 30_000);
    assert!(tell(&mut script, &first).is_err());
    let second = make(&mut script, "e2", 20_000);
    assert_eq!(tell(&mut script, &second), Ok(Applied::Taken));
    script.pass();
    let first = make(&mut script, "e1", 30_000);
    assert_eq!(tell(&mut script, &first), Ok(Applied::Taken), "the other edge says so too");
}

#[test]
fn a_quiet_pool_may_become_busy_and_a_new_pool_begin_as_it_likes() {
    let mut script = Script::new(config::region::Scaling { ceiling: 5000, ..scaling() }, NOON);
    script.run(30, &[("e1", 0)]);
    script.pass();
    let busy = make(&mut script, "e1", 900);
    assert_eq!(tell(&mut script, &busy), Ok(Applied::Taken), "fifty a second is any edge's range");
    let mut script = Script::new(scaling(), NOON);
    script.pass();
    let first = make(&mut script, "e1", 500_000);
    assert_eq!(tell(&mut script, &first), Ok(Applied::Taken), "nobody knows better");
}

#[test]
fn a_new_edge_is_held_against_what_the_others_bring() {
    let mut script = calm();
    script.pass();
    let absurd = make(&mut script, "e3", 100_000);
    assert!(tell(&mut script, &absurd).is_err());
    assert!(script.last().inputs.edges.iter().all(|edge| edge.edge != "e3"), "nothing of it was taken");
    let plain = make(&mut script, "e3", 100);
    assert_eq!(tell(&mut script, &plain), Ok(Applied::Taken));
}

#[test]
fn reports_that_come_twice_or_late_change_no_decision() {
    let run = |noise: bool| {
        let mut script = Script::new(scaling(), NOON);
        let mut before: Vec<Report> = Vec::new();
        for second in 0..200u64 {
            script.pass();
            for (edge, load) in [("e1", second % 37), ("e2", 3 * second % 41)] {
                let report = make(&mut script, edge, load);
                assert_eq!(script.apply(Event::Report(report.clone())), Applied::Taken);
                if noise {
                    for old in before.iter().rev().step_by(1 + (second % 5) as usize).take(6).chain([&report]) {
                        assert_eq!(script.apply(Event::Report(old.clone())), Applied::Repeat);
                    }
                }
                before.push(report);
            }
            script.step();
        }
        serde_json::to_string(&script.decisions).unwrap()
    };
    assert_eq!(run(true), run(false));
}
