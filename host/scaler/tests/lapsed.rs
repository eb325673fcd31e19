//! A region whose lease has ended while nobody can say who has the next one: it raises to what the calendar asks
//! for, and does nothing else.

mod script;

use std::sync::Arc;

use config::region::{Scaling, ScalingMode, Schedule, WarmPool, WarmSize};
use forebay_scaler as scaler;
use scaler::{Event, Limit, Role};
use script::*;
use wire::Stage;

/// Five from a minute before 17:00 UTC, for ten minutes.
fn evening_floor() -> Scaling {
    Scaling { schedules: vec![Schedule { duration: secs(600), ..evening() }], ..scaling() }
}

/// It has led for half a minute with so much load.
fn leader(scaling: Scaling, load: u64) -> Script {
    let mut script = Script::new(scaling, "2026-03-02T16:55:00Z");
    script.live(30, load, 1, &[]);
    script
}

fn lapse(script: &mut Script) {
    script.apply(Event::Lead(Role::Lapsed));
    script.observe();
}

/// Until that instant, with so much load: who was started.
fn live_until(script: &mut Script, instant: &str, load: u64) -> usize {
    let seconds = at(instant).duration_since(script.now).as_secs();
    script.live(seconds as u64, load, 1, &[]).len()
}

fn serving(script: &mut Script) -> u32 {
    script.view().capacity.serving
}

#[test]
fn the_calendar_raises_it_and_the_load_does_not() {
    let mut script = leader(evening_floor(), 20);
    assert_eq!(serving(&mut script), 2);
    lapse(&mut script);
    assert_eq!(live_until(&mut script, "2026-03-02T16:58:50Z", 70), 0, "seven are wanted, and the calendar has one");
    let last = script.last().clone();
    assert_eq!((last.want, last.from, last.to), (7, 2, 2), "{}", last.line);
    let told = "without lease 7 -> 2 (at most the scheduled floor 1, and nothing is taken away)";
    assert!(last.line.contains(told), "{}", last.line);
    assert!(last.holds.iter().any(|hold| hold.starts_with("without lease: at most")), "{:?}", last.holds);
    assert_eq!(live_until(&mut script, "2026-03-02T16:59:30Z", 70), 3, "its lead begins at 16:59");
    assert_eq!(serving(&mut script), 5);
    let last = script.last();
    assert_eq!((last.want, last.to, limits(last)), (7, 5, vec![Limit::WithoutLease]), "no more than the floor");
}

#[test]
fn nothing_is_taken_away_whatever_the_rules_say() {
    let mut script = leader(evening_floor(), 60);
    lapse(&mut script);
    assert_eq!(live_until(&mut script, "2026-03-02T16:57:00Z", 5), 0);
    assert_eq!((script.last().want, script.count(), serving(&mut script)), (1, 6, 6));
    // A lowered ceiling is for whoever leads next.
    script.apply(Event::Configured(region(Scaling { ceiling: 3, ..scaling() }, &[])));
    script.live(20, 5, 1, &[]);
    let last = script.last().clone();
    assert_eq!((last.ceiling, last.to, serving(&mut script)), (3, 6, 6), "{}", last.line);
    assert_eq!(last.clamps.last().map(|clamp| (clamp.limit, clamp.after)), Some((Limit::WithoutLease, 6)));
    let actions = script.step();
    assert_eq!(actions.pools["shop"].stop, []);
    // It leads again: what is not needed goes, and not with the first word.
    script.apply(Event::Configured(region(scaling(), &[])));
    let before = script.decisions.len();
    script.apply(Event::Lead(Role::Leader));
    script.observe();
    script.pass();
    script.report("e1", 5);
    script.step();
    assert_eq!(script.decisions[before].to, 6, "{}", script.decisions[before].line);
    script.live(30, 5, 1, &[]);
    assert_eq!(serving(&mut script), 1);
}

#[test]
fn who_ends_by_itself_is_replaced_as_far_as_the_calendar_goes() {
    let mut script = leader(evening_floor(), 60);
    lapse(&mut script);
    script.ends(script.origins[0].address);
    assert_eq!(live_until(&mut script, "2026-03-02T16:58:00Z", 60), 0, "six are wanted, and five are enough of it");
    assert_eq!((script.count(), serving(&mut script)), (5, 5));
    script.ends(script.origins[0].address);
    assert_eq!(live_until(&mut script, "2026-03-02T16:58:50Z", 60), 0);
    assert_eq!(serving(&mut script), 4);
    assert_eq!(live_until(&mut script, "2026-03-02T16:59:30Z", 60), 1);
    script.ends(script.origins[4].address);
    assert_eq!(script.live(10, 60, 1, &[]).len(), 1, "the calendar's is started again");
    assert_eq!((script.count(), serving(&mut script)), (5, 5));
}

#[test]
fn the_floor_of_the_pool_is_the_least_that_the_calendar_asks_for() {
    let mut script = leader(Scaling { floor: 3, ..scaling() }, 10);
    lapse(&mut script);
    script.ends(script.origins[0].address);
    assert_eq!(script.live(10, 10, 1, &[]).len(), 1);
    assert_eq!(serving(&mut script), 3);
}

#[test]
fn who_drains_is_not_ended_and_comes_back_before_another_boots() {
    let mut script = leader(evening_floor(), 40);
    let all: Vec<_> = script.origins.iter().map(|origin| origin.address).collect();
    assert_eq!(all.len(), 4);
    let report = |script: &mut Script, in_flight| {
        script.pass();
        script.report_origins("e1", 10, &all.iter().map(|address| (*address, true, in_flight)).collect::<Vec<_>>());
    };
    for _ in 0..12 {
        report(&mut script, 1);
    }
    let drains =
        |script: &mut Script| all.iter().filter(|address| script.stage(**address) == Some(Stage::Draining)).count();
    assert_eq!(drains(&mut script), 3);
    lapse(&mut script);
    // Past what any exchange may take.
    for _ in 0..120 {
        report(&mut script, 0);
        assert_eq!(script.step().pools["shop"].stop, [], "nobody is ended");
    }
    assert_eq!((drains(&mut script), script.count()), (3, 1), "nor brought back without a need");
    assert_eq!(live_until(&mut script, "2026-03-02T16:59:30Z", 10), 1, "three come back");
    assert_eq!((drains(&mut script), serving(&mut script)), (0, 5));
}

#[test]
fn who_is_going_is_not_replaced_and_the_warm_pool_is_used_and_not_filled() {
    let warm_pool = Some(WarmPool { size: WarmSize::Fixed(2), at_most: 4, cost: 1.0 });
    let mut script = leader(Scaling { warm_pool, ..evening_floor() }, 20);
    assert_eq!((serving(&mut script), script.view().capacity.warm), (2, 2));
    lapse(&mut script);
    let address = script.origins[0].address;
    script.apply(Event::Leaving { pool: "shop".into(), address, because: "spot notice".into() });
    assert_eq!(live_until(&mut script, "2026-03-02T16:58:50Z", 20), 0);
    assert_eq!((script.count(), script.last().replaced.len()), (2, 1), "it is told, and that is all");
    assert_eq!(live_until(&mut script, "2026-03-02T16:59:30Z", 20), 1, "two were warm");
    assert_eq!((serving(&mut script), script.view().capacity.warm), (5, 0));
}

#[test]
fn a_mode_that_does_not_act_does_not_act_now() {
    let mut script = leader(Scaling { mode: ScalingMode::Shadow, ..evening_floor() }, 10);
    lapse(&mut script);
    assert_eq!(live_until(&mut script, "2026-03-02T17:01:00Z", 10), 0);
    assert_eq!(script.count(), 1);
}

#[test]
fn a_standby_that_never_led_asks_for_nothing() {
    let mut script = Script::with(Arc::clone(&region(evening_floor(), &[])), "2026-03-02T16:55:00Z");
    script.apply(Event::Lead(Role::Standby));
    for _ in 0..2 {
        script.launch();
    }
    for _ in 0..360 {
        script.pass();
        script.report("e1", 70);
        script.observe();
        script.step();
    }
    assert_eq!((script.last().from, script.count()), (2, 7), "in shadow");
}
