//! In which stage each origin is, and who leaves.

mod script;

use script::*;
use wire::Stage;

const NOON: &str = "2026-03-02T12:00:00Z";

#[test]
fn an_origin_serves_when_every_fresh_edge_has_warmed_it() {
    let mut setting = scaling();
    setting.floor = 2;
    let mut script = Script::new(setting, NOON);
    let origin = script.launch();
    assert_eq!(script.stage(origin), Some(Stage::Booting));
    script.pass();
    script.ready(origin);
    script.report_origins("e1", 5, &[(origin, true, 0)]);
    assert_eq!(script.stage(origin), Some(Stage::Serving), "the one edge there is has warmed it");

    let second = script.launch();
    script.ready(second);
    script.report_origins("e1", 15, &[(second, false, 0)]);
    script.report_origins("e2", 15, &[(second, true, 0)]);
    assert_eq!(script.stage(second), Some(Stage::Warming));
    script.report_origins("e1", 15, &[(second, true, 0)]);
    assert_eq!(script.stage(second), Some(Stage::Serving));
}

#[test]
fn an_origin_that_no_edge_warms_serves_after_the_time_out() {
    let mut script = Script::new(scaling(), NOON);
    let origin = script.launch();
    script.ready(origin);
    let actions = script.step();
    assert_eq!(script.stage(origin), Some(Stage::Warming));
    assert!(actions.wake_at <= at("2026-03-02T12:00:20Z"));
    script.now += secs(19);
    script.step();
    assert_eq!(script.stage(origin), Some(Stage::Warming));
    script.now += secs(1);
    script.step();
    assert_eq!(script.stage(origin), Some(Stage::Serving));
}

/// Four origins that serve 40 requests a second from one edge.
fn four() -> (Script, Vec<core::net::SocketAddr>) {
    let mut script = Script::new(scaling(), NOON);
    script.run(12, &[("e1", 40)]);
    let mut origins = Vec::new();
    for _ in 0..4 {
        script.pass();
        let origin = script.launch();
        script.ready(origin);
        origins.push(origin);
    }
    let warm: Vec<_> = origins.iter().map(|origin| (*origin, true, 1)).collect();
    script.report_origins("e1", 40, &warm);
    assert!(origins.iter().all(|origin| script.stage(*origin) == Some(Stage::Serving)));
    (script, origins)
}

/// Ten seconds of less load, so that the level falls to it.
fn quieten(script: &mut Script, load: u64, origins: &[(core::net::SocketAddr, bool, u64)]) {
    for _ in 0..12 {
        script.pass();
        script.report_origins("e1", load, origins);
    }
}

#[test]
fn the_youngest_leaves_first_and_stops_when_no_edge_has_anything_in_flight_there() {
    let (mut script, origins) = four();
    let busy: Vec<_> = origins.iter().map(|origin| (*origin, true, 1)).collect();
    quieten(&mut script, 30, &busy);
    assert_eq!(script.stage(origins[3]), Some(Stage::Draining));
    assert!(origins[..3].iter().all(|origin| script.stage(*origin) == Some(Stage::Serving)));
    let actions = script.step();
    assert_eq!((actions.pools["shop"].run, &actions.pools["shop"].stop[..]), (Some(4), &[][..]));

    let idle: Vec<_> = origins.iter().map(|origin| (*origin, true, u64::from(*origin != origins[3]))).collect();
    script.pass();
    script.report_origins("e1", 30, &idle);
    let actions = script.step();
    assert_eq!((actions.pools["shop"].run, &actions.pools["shop"].stop[..]), (Some(3), &origins[3..]));
    let seconds = script.region.pool("shop", script.now).unwrap().origin_seconds;
    script.ends(origins[3]);
    let view = script.region.pool("shop", script.now).unwrap();
    assert_eq!(view.origin_seconds, seconds, "what ran has been counted");
    assert_eq!((view.gone.len(), view.gone[0].asked, view.capacity.serving), (1, true, 3));
}

#[test]
fn an_idle_origin_does_not_stop_before_the_edge_knows_that_it_drains() {
    let (mut script, origins) = four();
    let idle: Vec<_> = origins.iter().map(|origin| (*origin, true, 0)).collect();
    for _ in 0..12 {
        script.pass();
        let pool = wire::PoolReport { requests: 10, ..Default::default() };
        let report = script.make_report("e1", pool);
        script.apply(forebay_scaler::Event::Report(report));
        // The edge is never answered: nobody told it.
        script.step();
    }
    assert_eq!(script.stage(origins[3]), Some(Stage::Draining));
    assert!(script.step().pools["shop"].stop.is_empty());
    script.report_origins("e1", 10, &idle);
    assert!(script.step().pools["shop"].stop.is_empty(), "told by this answer, not before it");
    script.pass();
    script.report_origins("e1", 10, &idle);
    assert_eq!(script.step().pools["shop"].stop.len(), 3);
}

#[test]
fn an_exchange_that_never_ends_is_waited_for_until_the_time_out() {
    let (mut script, origins) = four();
    let busy: Vec<_> = origins.iter().map(|origin| (*origin, true, 1)).collect();
    quieten(&mut script, 30, &busy);
    for _ in 0..75 {
        script.pass();
        script.report_origins("e1", 30, &busy);
    }
    assert!(script.step().pools["shop"].stop.is_empty());
    for _ in 0..15 {
        script.pass();
        script.report_origins("e1", 30, &busy);
    }
    assert_eq!(script.step().pools["shop"].stop, &origins[3..]);
}

#[test]
fn while_every_edge_is_silent_nothing_that_drains_is_stopped() {
    let (mut script, origins) = four();
    let busy: Vec<_> = origins.iter().map(|origin| (*origin, true, 1)).collect();
    quieten(&mut script, 30, &busy);
    assert_eq!(script.stage(origins[3]), Some(Stage::Draining));
    script.run(110, &[]);
    assert!(script.step().pools["shop"].stop.is_empty(), "the edge may still be sending there");
}

#[test]
fn who_is_needed_again_comes_back_from_draining() {
    let (mut script, origins) = four();
    let busy: Vec<_> = origins.iter().map(|origin| (*origin, true, 1)).collect();
    quieten(&mut script, 30, &busy);
    assert_eq!(script.stage(origins[3]), Some(Stage::Draining));
    quieten(&mut script, 40, &busy);
    assert_eq!(script.stage(origins[3]), Some(Stage::Serving));
    let actions = script.step();
    assert_eq!((actions.pools["shop"].run, &actions.pools["shop"].stop[..]), (Some(4), &[][..]), "nothing is launched");
}

#[test]
fn who_still_boots_leaves_before_who_serves() {
    let (mut script, origins) = four();
    let idle: Vec<_> = origins.iter().map(|origin| (*origin, true, 0)).collect();
    quieten(&mut script, 50, &idle);
    let booting = script.launch();
    quieten(&mut script, 40, &idle);
    assert_eq!(script.step().pools["shop"].stop, [booting], "at once: no edge uses it");
    assert!(origins.iter().all(|origin| script.stage(*origin) == Some(Stage::Serving)));
}

#[test]
fn who_served_under_an_earlier_run_is_not_warmed_again() {
    let (script, origins) = four();
    let mut observed = script.origins.clone();
    for origin in &mut observed {
        origin.serving_at = Some(script.now);
    }
    observed[2].stopping = true;
    observed[3].serving_at = None;
    let mut next = Script::new(scaling(), NOON);
    next.region = forebay_scaler::Region::new(&region(scaling(), &[]), script.now);
    (next.now, next.origins) = (script.now + secs(1), observed);
    next.observe();
    next.step();
    assert!(origins[..2].iter().all(|origin| next.stage(*origin) == Some(Stage::Serving)));
    assert_eq!(next.stage(origins[2]), Some(Stage::Draining), "it was told to stop: it takes nothing more");
    assert_eq!(next.stage(origins[3]), Some(Stage::Warming));
    let actions = next.step();
    assert_eq!((actions.pools["shop"].run, &actions.pools["shop"].stop[..]), (Some(3), &origins[2..3]));
}

#[test]
fn the_epoch_goes_up_with_each_change_and_with_each_run() {
    let (mut script, origins) = four();
    let epoch = script.region.membership(script.now).epoch;
    script.pass();
    assert_eq!(script.region.membership(script.now).epoch, epoch, "ages are no change");
    script.ends(origins[0]);
    assert_eq!(script.region.membership(script.now).epoch, epoch + 1);
    script.pass();
    let next = forebay_scaler::Region::new(&region(scaling(), &[]), script.now);
    assert!(next.epoch() > epoch + 1);
}

#[test]
fn before_the_actuator_says_what_runs_the_pool_is_not_published() {
    let mut region = forebay_scaler::Region::new(&region(scaling(), &[]), at(NOON));
    assert!(region.membership(at(NOON)).pools.is_empty(), "an empty list would empty the edges");
    assert!(region.next(at(NOON)).decisions.is_empty());
}
