//! The warm pool: who waits there, who joins, who is returned.

mod script;

use config::region::{LeadBounds, Scaling, ScalingMode, WarmPool, WarmSize};
use forebay_scaler as scaler;
use scaler::{Capacity, Event, Role};
use script::*;
use wire::Stage;

const NOON: &str = "2026-03-02T12:00:00Z";

fn warm(size: u32) -> Scaling {
    Scaling { warm_pool: Some(WarmPool { size: WarmSize::Fixed(size), at_most: size, cost: 1.0 }), ..scaling() }
}

/// Two that serve and two that wait, of 20 s of boot.
fn two_and_two() -> Script {
    let mut script = Script::new(warm(2), NOON);
    assert_eq!(script.live(60, 20, 20, &[]).len(), 4, "members and the tier are started together");
    let view = script.view();
    assert_eq!(view.capacity, Capacity { serving: 2, warm: 2, ..Capacity::default() });
    assert_eq!((view.desired, view.warm_pool), (Some(2), Some(2)));
    script
}

fn waiting(script: &mut Script) -> Vec<std::net::SocketAddr> {
    script.view().origins.iter().filter(|origin| origin.parked).map(|origin| origin.address).collect()
}

#[test]
fn who_waits_is_warmed_by_the_edges_and_takes_no_traffic() {
    let mut script = two_and_two();
    for address in waiting(&mut script) {
        assert_eq!(script.stage(address), Some(Stage::Warming), "which edges of every version keep away from");
    }
    assert_eq!(script.last().capacity.warm, 2);
    let (all, of_them) = (script.view().origin_seconds, script.view().warm_seconds);
    script.live(10, 20, 20, &[]);
    assert!((script.view().origin_seconds - all - 40.0).abs() < 1e-6);
    assert!((script.view().warm_seconds - of_them - 20.0).abs() < 1e-6, "billed, and told apart");
}

#[test]
fn going_up_takes_those_that_wait_first_and_the_pool_refills_behind() {
    let mut script = two_and_two();
    let warm = waiting(&mut script);
    let mut seconds = 0;
    while script.view().capacity.serving < 4 {
        let started = script.live(1, 40, 20, &[]);
        seconds += 1;
        assert!(seconds < 12, "no boot is waited for: {:?}", script.view().capacity);
        if script.view().capacity.serving < 4 {
            assert!(started.is_empty() || script.view().capacity.serving > 2, "joined first");
        }
    }
    assert!(warm.iter().all(|address| script.stage(*address) == Some(Stage::Serving)));
    script.live(40, 40, 20, &[]);
    assert_eq!(script.view().capacity, Capacity { serving: 4, warm: 2, ..Capacity::default() });
    assert_eq!(script.origins.len(), 6);
}

#[test]
fn an_up_of_more_than_wait_launches_the_rest() {
    let mut script = two_and_two();
    script.live(14, 50, 20, &[]);
    assert_eq!((script.count(), script.view().capacity.serving), (5, 4), "{:?}", script.view().capacity);
    script.live(40, 50, 20, &[]);
    assert_eq!(script.view().capacity, Capacity { serving: 5, warm: 2, ..Capacity::default() });
}

#[test]
fn going_down_returns_the_youngest_where_the_tier_wants_more_and_ends_the_rest() {
    let mut script = two_and_two();
    script.live(14, 40, 1000, &[]);
    assert_eq!((script.view().capacity.serving, script.view().capacity.warm), (4, 0), "what refills it boots yet");
    let busy: Vec<_> = script.origins.iter().map(|origin| origin.address).collect();
    // Two fewer are needed before any other has booted: the two go back, and what boots is cancelled.
    script.live(14, 20, 1000, &[]);
    let view = script.view();
    assert_eq!((view.capacity.serving, view.capacity.warm), (2, 2), "{:?}", view.origins);
    assert_eq!(script.origins.len(), 4);
    assert!(script.origins.iter().all(|origin| busy.contains(&origin.address)));
    // And they join again as they are.
    script.live(14, 40, 1000, &[]);
    assert_eq!(script.view().capacity.serving, 4);
}

#[test]
fn the_ceiling_is_of_members_and_a_smaller_tier_ends_who_waits() {
    let mut script = Script::new(Scaling { ceiling: 3, ..warm(2) }, NOON);
    script.live(60, 90, 20, &[]);
    assert_eq!(script.view().capacity, Capacity { serving: 3, warm: 2, ..Capacity::default() });
    script.apply(Event::Configured(region(Scaling { ceiling: 3, ..warm(1) }, &[])));
    script.live(3, 90, 20, &[]);
    assert_eq!(script.view().capacity, Capacity { serving: 3, warm: 1, ..Capacity::default() });
    assert_eq!(script.origins.len(), 4, "who never took traffic need not drain");
    script.apply(Event::Configured(region(Scaling { ceiling: 3, ..scaling() }, &[])));
    script.live(3, 90, 20, &[]);
    assert_eq!((script.view().capacity.warm, script.origins.len(), script.view().warm_pool), (0, 3, None));
}

#[test]
fn who_waits_and_dies_is_replaced() {
    let mut script = two_and_two();
    let dead = waiting(&mut script)[0];
    script.ends(dead);
    assert_eq!(script.live(1, 20, 20, &[]).len(), 1);
    script.live(30, 20, 20, &[]);
    assert_eq!(script.view().capacity, Capacity { serving: 2, warm: 2, ..Capacity::default() });
}

#[test]
fn a_restart_adopts_who_waits_as_such_and_counts_members_alone() {
    let mut script = two_and_two();
    let warm = waiting(&mut script);
    let served = script.view().origins;
    let mut again = Script::new(warm_after(), NOON);
    again.now = script.now;
    again.origins = script.origins.clone();
    for origin in &mut again.origins {
        origin.serving_at = served.iter().find(|view| view.address == origin.address).unwrap().serving_at;
        assert_eq!(origin.parked, warm.contains(&origin.address), "as the actuator wrote it down");
    }
    again.region = scaler::Region::new(&region(warm_after(), &[]), again.now);
    again.observe();
    assert!(again.live(14, 20, 20, &[]).is_empty(), "none is started");
    assert_eq!(again.view().capacity, Capacity { serving: 2, warm: 2, ..Capacity::default() });
    assert_eq!((again.count(), waiting(&mut again)), (2, warm));
}

fn warm_after() -> Scaling {
    warm(2)
}

#[test]
fn a_standby_follows_who_waits_as_the_leader_writes_it_down() {
    let script = two_and_two();
    let mut standby = Script::new(warm(2), NOON);
    standby.now = script.now;
    standby.apply(Event::Lead(Role::Standby));
    standby.origins = script.origins.clone();
    standby.observe();
    standby.run(2, &[("e1", 20)]);
    assert_eq!((standby.view().desired, standby.view().capacity.warm), (Some(2), 2));
    standby.origins.iter_mut().for_each(|origin| origin.parked = false);
    standby.observe();
    assert_eq!((standby.view().desired, standby.view().capacity.warm), (Some(4), 0), "the leader had them join");
}

#[test]
fn a_pool_that_only_thinks_starts_and_ends_nobody() {
    let mut script = Script::new(Scaling { mode: ScalingMode::Shadow, ..warm(2) }, NOON);
    assert_eq!(script.live(30, 20, 20, &[]).len(), 1, "the floor");
    let mut script = two_and_two();
    script.apply(Event::Configured(region(Scaling { mode: ScalingMode::Shadow, ..warm(0) }, &[])));
    assert!(script.live(30, 20, 20, &[]).is_empty());
    assert_eq!(script.view().capacity, Capacity { serving: 2, warm: 2, ..Capacity::default() });
}

#[test]
fn who_waits_joins_in_place_of_one_that_is_late_or_going() {
    let mut script = two_and_two();
    let going = script.origins.iter().find(|origin| !origin.parked).unwrap().address;
    script.apply(Event::Leaving { pool: "shop".into(), address: going, because: "notice".into() });
    script.live(4, 20, 20, &[]);
    assert_eq!((script.stage(going), script.view().capacity.serving), (None, 2), "no boot was waited for");
    script.live(30, 20, 20, &[]);
    assert_eq!(script.view().capacity, Capacity { serving: 2, warm: 2, ..Capacity::default() });
}

#[test]
fn who_never_comes_into_the_warm_pool_is_ended_and_another_boots_in_its_place() {
    let learning = Scaling { lead: secs(120), lead_bounds: Some(LeadBounds::default()), ..warm(2) };
    let mut script = Script::new(learning, NOON);
    script.live(60, 30, 20, &[]);
    assert_eq!((script.view().capacity.serving, script.view().capacity.warm), (3, 2));
    assert_eq!(script.view().lead.late_after_seconds, Some(30.0), "five have come");
    // One that waits dies, and what boots in its place never comes.
    let gone = waiting(&mut script)[0];
    script.ends(gone);
    let never = script.live(1, 30, 1000, &[]);
    assert_eq!(never.len(), 1);
    assert!(script.live(29, 30, 20, &never).is_empty(), "it may still come");
    assert!(waiting(&mut script).contains(&never[0]));
    let started = script.live(2, 30, 20, &never);
    assert_eq!(started.len(), 1, "and no more than one");
    script.live(30, 30, 20, &never);
    assert_eq!(script.view().capacity, Capacity { serving: 3, warm: 2, ..Capacity::default() });
    assert!(script.origins.iter().all(|origin| origin.address != never[0]), "its boot is cancelled");
    assert!(waiting(&mut script).contains(&started[0]));
    assert_eq!(script.origins.len(), 5);
}

#[test]
fn rounds_that_never_come_into_the_warm_pool_wait_longer_each_time() {
    let learning = Scaling { lead: secs(120), lead_bounds: Some(LeadBounds::default()), ..warm(2) };
    let mut script = Script::new(learning, NOON);
    script.live(60, 30, 20, &[]);
    let gone = waiting(&mut script)[0];
    script.ends(gone);
    let mut started = 0;
    for _ in 0..900 {
        // Whoever is started from here on never comes.
        started += script.live(1, 30, 10_000, &[]).len();
    }
    assert!((3..=9).contains(&started), "{started} in 15 minutes, where an origin is late after 30 s");
    assert_eq!((script.view().capacity.serving, script.view().capacity.warm), (3, 1), "who came stays");
    assert!(script.last().holds.iter().any(|hold| hold.contains("launches fail")), "{:?}", script.last().holds);
}
