//! Launches that are late, come to nothing, or are for origins that are known to be going.

mod script;

use std::net::SocketAddr;
use std::sync::Arc;

use config::region::{HealthCheck, LeadBounds, Scaling};
use forebay_scaler as scaler;
use scaler::region::Applied;
use scaler::{Event, Limit};
use script::*;
use wire::{OriginReport, PoolReport, Stage};

const NOON: &str = "2026-03-02T12:00:00Z";
/// After it an origin is late, where five took 20 s.
const LATE: u64 = 30;

fn learning() -> Scaling {
    Scaling { lead: secs(120), lead_bounds: Some(LeadBounds::default()), ceiling: 10, ..scaling() }
}

/// Five that serve, each of which took 20 s to boot.
fn five(setting: Scaling) -> Script {
    let mut script = Script::new(setting, NOON);
    script.live(60, 50, 20, &[]);
    let view = script.view();
    assert_eq!((view.capacity.serving, view.lead.late_after_seconds), (5, Some(LATE as f64)));
    script
}

/// One more that never comes, from the second that it was launched in.
fn dead(script: &mut Script) -> SocketAddr {
    let mut started = Vec::new();
    while started.is_empty() {
        started = script.live(1, 60, 1000, &[]);
    }
    assert_eq!(started.len(), 1);
    started[0]
}

#[test]
fn an_origin_that_is_late_gets_a_replacement_and_is_ended_once_that_serves() {
    let mut script = five(learning());
    let late = dead(&mut script);
    assert!(script.live(LATE - 1, 60, 20, &[late]).is_empty(), "it may still come");
    assert!(script.view().replaced.is_empty());
    let started = script.live(1, 60, 20, &[late]);
    assert_eq!(started.len(), 1);
    script.live(1, 60, 20, &[late]);
    let told = script.last().replaced.clone();
    assert_eq!((told.len(), told[0].address, told[0].replaced), (1, late, true));
    assert_eq!(told[0].because, "late: boots for over 30s");
    assert_eq!((script.count(), script.origins.len()), (6, 7), "the count is what it was");

    assert!(script.live(20, 60, 20, &[late]).is_empty(), "one replacement, and no more");
    assert_eq!(script.stage(started[0]), Some(Stage::Serving));
    script.live(2, 60, 20, &[late]);
    assert!(script.origins.iter().all(|origin| origin.address != late), "its boot is cancelled");
    assert_eq!((script.view().capacity.serving, script.view().replaced.len()), (6, 0));
    assert_eq!(script.view().lead.samples, 6, "and it taught nothing");
}

#[test]
fn the_late_one_is_kept_if_it_comes_first() {
    let mut script = five(learning());
    let late = dead(&mut script);
    let started = script.live(LATE, 60, 20, &[late]);
    assert_eq!(started.len(), 1);
    script.live(3, 60, 20, &[late]);
    script.ready(late);
    script.live(3, 60, 20, &started);
    assert_eq!(script.stage(late), Some(Stage::Serving));
    assert_eq!(script.stage(started[0]), None, "the other has been stopped");
    assert_eq!(script.origins.len(), 6);
}

#[test]
fn the_ceiling_holds_for_members_and_replacements_together() {
    let mut script = five(Scaling { ceiling: 6, ..learning() });
    let late = dead(&mut script);
    for _ in 0..200 {
        assert!(script.live(1, 60, 20, &[late]).is_empty());
        assert_eq!(script.origins.len(), 6);
    }
    let told = script.last().replaced.clone();
    assert_eq!((told.len(), told[0].replaced), (1, false), "it is told all the same");
}

#[test]
fn where_capacity_never_comes_replacements_rest_longer_each_time_and_nothing_that_serves_is_taken() {
    let mut script = five(learning());
    let mut dead = vec![dead(&mut script)];
    let mut starts = Vec::new();
    for second in 0..1200 {
        let started = script.live(1, 60, 20, &dead);
        starts.extend(started.iter().map(|_| second));
        dead.extend(started);
        assert!(script.origins.len() <= 8, "six, and a quarter of six: {}", script.origins.len());
    }
    assert_eq!(starts, [29, 89], "the first when it was late, the second after a rest, and then the quarter is full");
    let failing = |script: &Script| script.last().holds.iter().any(|hold| hold.starts_with("launches: launches fail"));
    let mut script = five(learning());
    let mut dead = vec![self::dead(&mut script)];
    for _ in 0..70 {
        dead.extend(script.live(1, 60, 20, &dead));
    }
    assert!(failing(&script), "{:?}", script.last().holds);
    for _ in 0..30 {
        dead.extend(script.live(1, 10, 20, &dead));
        assert!(script.count() >= 5, "{}", script.last().line);
    }
    assert!(limits(script.last()).contains(&Limit::Launches), "{}", script.last().line);
    assert_eq!(script.count(), 5, "what was only asked for is taken back");
    // Nothing was launched any more, and what failed so long ago says nothing.
    script.live(620, 10, 20, &dead);
    assert!(!failing(&script), "{:?}", script.last().holds);
    assert_eq!(script.count(), 1);
}

#[test]
fn launches_that_end_by_themselves_fail_and_one_that_comes_ends_the_alarm() {
    let mut script = five(learning());
    let failing = |script: &Script| script.last().holds.iter().any(|hold| hold.starts_with("launches"));
    for round in 0..3 {
        let crashed = dead(&mut script);
        script.live(2, 60, 1000, &[]);
        script.ends(crashed);
        assert_eq!(failing(&script), round >= 2, "{:?}", script.last().holds);
    }
    script.live(30, 60, 20, &[]);
    assert_eq!(script.view().capacity.serving, 6);
    assert!(!failing(&script), "{:?}", script.last().holds);
    assert_eq!(script.view().lead.failed, 3);
}

#[test]
fn an_origin_that_is_said_to_be_going_is_replaced_now_and_leaves_once_the_other_serves() {
    let mut script = five(learning());
    let going = script.origins[1].address;
    let leaving = |script: &mut Script, address| {
        let because = "spot notice".to_owned();
        script.apply(Event::Leaving { pool: "shop".into(), address, because })
    };
    assert_eq!(leaving(&mut script, "127.0.0.1:1".parse().unwrap()), Applied::Unknown);
    assert_eq!(leaving(&mut script, going), Applied::Taken);
    assert_eq!(leaving(&mut script, going), Applied::Taken, "twice is once");
    assert_eq!(script.view().carries, 4.0, "it is no capacity any more");
    let started = script.live(1, 50, 20, &[]);
    assert_eq!(started.len(), 1);
    script.live(19, 50, 20, &[]);
    assert_eq!(script.stage(going), Some(Stage::Serving), "it serves while it can");
    assert_eq!(script.last().replaced[0].because, "leaving: spot notice");
    script.live(4, 50, 20, &[]);
    assert_eq!((script.stage(going), script.stage(started[0])), (None, Some(Stage::Serving)));
    assert_eq!((script.view().capacity.serving, script.origins.len()), (5, 5));
}

#[test]
fn an_origin_that_is_unhealthy_at_every_edge_for_long_is_replaced_and_at_one_edge_it_is_not() {
    let mut health = config::Region::clone(&region(learning(), &[]));
    let check = HealthCheck { interval: secs(5), unhealthy_after: 2, ..HealthCheck::default() };
    Arc::make_mut(health.pools.get_mut("shop").unwrap()).health = Some(check);
    let mut script = Script::with(Arc::new(health), NOON);
    script.live(60, 50, 20, &[]);
    let ill = script.origins[0].address;
    let report = |script: &mut Script, edge: &str, healthy: bool| {
        let of = |origin: &scaler::Observed| {
            let healthy = healthy || origin.address != ill;
            (origin.address, OriginReport { requests: 0, in_flight: 0, healthy, warmed: true })
        };
        let origins = script.origins.iter().map(of).collect();
        let report = script.make_report(edge, PoolReport { requests: 25, origins, ..PoolReport::default() });
        script.apply(Event::Report(report));
    };
    for _ in 0..20 {
        script.pass();
        report(&mut script, "e1", true);
        report(&mut script, "e2", true);
        // A second edge looks like more load at first.
        script.carry_out();
    }
    assert_eq!(script.origins.len(), 5);
    for _ in 0..30 {
        script.pass();
        report(&mut script, "e1", false);
        report(&mut script, "e2", true);
        assert!(script.carry_out().is_empty(), "one edge reaches it");
    }
    let mut waited = 0;
    while script.carry_out().is_empty() {
        script.pass();
        report(&mut script, "e1", false);
        report(&mut script, "e2", false);
        waited += 1;
        assert!(waited <= 20);
    }
    assert_eq!((waited, &script.view().replaced[0].because[..]), (11, "unhealthy at every edge"), "ten seconds of it");
    // It is well again: the other was started for nothing, and goes.
    report(&mut script, "e1", true);
    report(&mut script, "e2", true);
    script.pass();
    script.carry_out();
    assert_eq!((script.origins.len(), script.view().replaced.len()), (5, 0));
}

#[test]
fn capacity_counts_by_stage_and_a_slow_start_by_its_curve() {
    let mut slow = config::Region::clone(&region(learning(), &["127.0.0.1:80".parse().unwrap()]));
    Arc::make_mut(slow.pools.get_mut("shop").unwrap()).slow_start = secs(100);
    let mut script = Script::with(Arc::new(slow), NOON);
    script.live(5, 50, 20, &[]);
    assert_eq!(script.view().carries, 1.0, "the listed one: others boot");
    script.live(20, 50, 20, &[]);
    assert_eq!(script.view().capacity.serving, 5);
    let first = script.view().carries;
    assert!((1.4..1.8).contains(&first), "a tenth of each at first: {first}");
    script.live(50, 50, 20, &[]);
    let half = script.view().carries;
    assert!((half - first - 4.0 * 0.45).abs() < 1e-6, "{half} after {first}");
    script.live(60, 50, 20, &[]);
    assert_eq!(script.view().carries, 5.0);
}
