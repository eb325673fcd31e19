//! How long origins take is learned from those that come, and what follows from it.

mod script;

use std::sync::Arc;

use config::region::{LeadBounds, Scaling, Schedule};
use forebay_scaler as scaler;
use scaler::{Event, LeadView};
use script::*;
use wire::Stage;

const NOON: &str = "2026-03-02T12:00:00Z";

/// Learned within 10 minutes, and 120 s until then; an evening rule without a lead of its own.
fn learning() -> Scaling {
    let evening = Schedule { lead: secs(120), own_lead: false, ..evening() };
    Scaling { lead: secs(120), lead_bounds: Some(LeadBounds::default()), schedules: vec![evening], ..scaling() }
}

fn view(script: &mut Script) -> LeadView {
    script.region.pool("shop", script.now).unwrap().lead
}

/// The lead of the evening rule, as explain tells it.
fn schedule_lead(script: &mut Script) -> f64 {
    script.region.pool("shop", script.now).unwrap().schedules[0].lead_seconds
}

/// So many origins, one after the other, that boot and are warmed for so many seconds under a load that wants
/// all eight.
fn boots(script: &mut Script, count: usize, boot: u64, warm_up: u64) {
    (0..count).for_each(|_| self::boot(script, 80, boot, warm_up));
}

fn boot(script: &mut Script, load: u64, boot: u64, warm_up: u64) {
    let origin = script.launch();
    let busy = |script: &Script, warmed| {
        let all: Vec<_> = script.origins.iter().map(|o| (o.address, o.address != origin || warmed, 1)).collect();
        all
    };
    for _ in 0..boot {
        script.pass();
        let all = busy(script, false);
        script.report_origins("e1", load, &all);
    }
    script.ready(origin);
    script.step();
    for _ in 0..warm_up {
        script.pass();
        let all = busy(script, false);
        script.report_origins("e1", load, &all);
    }
    let all = busy(script, true);
    script.report_origins("e1", load, &all);
    assert_eq!(script.stage(origin), Some(Stage::Serving));
}

#[test]
fn the_fifth_origin_that_comes_into_service_makes_the_lead_a_measured_one() {
    let mut script = Script::new(learning(), NOON);
    script.run(10, &[("e1", 80)]);
    for known in 0..4 {
        let told = view(&mut script);
        assert_eq!((told.seconds, told.learned, told.samples), (120.0, false, known));
        boots(&mut script, 1, 20 + known as u64, 3);
    }
    assert_eq!(schedule_lead(&mut script), 120.0);
    boots(&mut script, 1, 40, 3);
    let told = view(&mut script);
    assert_eq!((told.seconds, told.learned, told.samples, told.failed), (45.0, true, 5, 0), "43 s, in steps of 15");
    let (boot, warm_up) = (told.boot.unwrap(), told.warm_up.unwrap());
    assert_eq!((boot.p50, boot.p95, boot.p99, warm_up.p50, told.both.unwrap().p95), (22.0, 40.0, 40.0, 3.0, 43.0));
    assert_eq!(schedule_lead(&mut script), 45.0, "schedules without a lead of their own follow");
    let changed = script.region.pool("shop", script.now).unwrap().schedules[0].next_effect.unwrap();
    assert_eq!(changed, at("2026-03-02T16:59:15Z"), "18:00 in Berlin");
}

#[test]
fn a_lead_that_is_written_as_a_time_stays_and_so_does_a_rule_s_own() {
    let mut script = Script::new(Scaling { lead_bounds: None, ..learning() }, NOON);
    script.run(10, &[("e1", 80)]);
    boots(&mut script, 6, 20, 3);
    let told = view(&mut script);
    assert_eq!((told.seconds, told.learned, told.samples), (120.0, false, 6), "it is measured all the same");
    assert_eq!(schedule_lead(&mut script), 120.0);

    let own = Schedule { own_lead: true, lead: secs(300), ..evening() };
    let mut script = Script::new(Scaling { schedules: vec![own], ..learning() }, NOON);
    script.run(10, &[("e1", 80)]);
    boots(&mut script, 6, 20, 3);
    assert_eq!((view(&mut script).seconds, schedule_lead(&mut script)), (30.0, 300.0));
}

#[test]
fn what_is_measured_stays_within_the_bounds_of_the_file() {
    let bounds = LeadBounds { at_least: secs(60), at_most: secs(90) };
    let within = Scaling { lead: secs(60), lead_bounds: Some(bounds), ..learning() };
    let mut script = Script::new(within.clone(), NOON);
    script.run(10, &[("e1", 80)]);
    boots(&mut script, 5, 5, 1);
    assert_eq!(view(&mut script).seconds, 60.0);
    boots(&mut script, 3, 200, 1);
    assert_eq!(view(&mut script).seconds, 90.0);
    let wider = LeadBounds { at_most: secs(600), ..bounds };
    script.apply(Event::Configured(region(Scaling { lead_bounds: Some(wider), ..within }, &[])));
    assert_eq!(view(&mut script).seconds, 210.0, "what was learned is not what was bounded");
}

#[test]
fn a_slow_start_is_the_end_of_the_lead() {
    let mut slow = config::Region::clone(&region(learning(), &[]));
    Arc::make_mut(slow.pools.get_mut("shop").unwrap()).slow_start = secs(40);
    let mut script = Script::with(Arc::new(slow), NOON);
    script.run(10, &[("e1", 80)]);
    assert_eq!(view(&mut script).seconds, 120.0, "what the file says has it in it");
    boots(&mut script, 5, 20, 3);
    let told = view(&mut script);
    assert_eq!((told.seconds, told.slow_start_seconds), (70.0, 40.0));
}

#[test]
fn what_never_comes_into_service_is_no_boot_time() {
    let mut script = Script::new(learning(), NOON);
    script.run(10, &[("e1", 80)]);
    boots(&mut script, 5, 20, 3);
    for _ in 0..20 {
        let dead = script.launch();
        script.run(3, &[("e1", 80)]);
        // It ends by itself after ten minutes, or its actuator ends it.
        script.now += secs(600);
        script.ends(dead);
        script.run(1, &[("e1", 80)]);
    }
    let told = view(&mut script);
    assert_eq!((told.seconds, told.samples, told.failed), (30.0, 5, 20));
    assert_eq!(told.boot.unwrap().p99, 20.0);
}

#[test]
fn an_origin_that_was_stopped_while_it_booted_has_neither_come_nor_failed() {
    let mut script = Script::new(learning(), NOON);
    script.run(10, &[("e1", 20)]);
    let needless: Vec<_> = (0..3).map(|_| script.launch()).collect();
    script.run(1, &[("e1", 20)]);
    let stop = script.step().pools["shop"].stop.clone();
    assert_eq!(stop.len(), 1, "two are wanted: {stop:?}");
    assert!(needless.contains(&stop[0]));
    script.ends(stop[0]);
    script.run(1, &[("e1", 20)]);
    let told = view(&mut script);
    assert_eq!((told.samples, told.failed), (0, 0));
}

#[test]
fn a_restart_reads_it_again_from_what_the_actuator_wrote_down() {
    let mut script = Script::new(learning(), NOON);
    script.run(10, &[("e1", 80)]);
    boots(&mut script, 5, 20, 3);
    let before = view(&mut script);
    // As the state files of the process actuator have them.
    let served: Vec<_> = script.region.origins("shop", script.now);
    let mut again = Script::new(learning(), NOON);
    again.now = script.now;
    again.origins = script.origins.clone();
    for origin in &mut again.origins {
        let view = served.iter().find(|view| view.address == origin.address).unwrap();
        (origin.ready_at, origin.serving_at) = (view.ready_at, view.serving_at);
    }
    // One that the earlier run launched and that is ready only now: nobody saw when it was.
    let launched_at = again.now - secs(400);
    let half = scaler::Observed { launched_at, ready_at: None, serving_at: None, ..again.origins[0].clone() };
    let half = scaler::Observed { address: "127.0.0.1:9999".parse().unwrap(), ..half };
    again.origins.push(half.clone());
    again.observe();
    again.run(2, &[("e1", 80)]);
    again.ready(half.address);
    let warm: Vec<_> = again.origins.iter().map(|origin| (origin.address, true, 1)).collect();
    again.report_origins("e1", 80, &warm);
    assert_eq!(again.stage(half.address), Some(Stage::Serving));
    let told = view(&mut again);
    assert_eq!((told.seconds, told.samples, told.boot), (before.seconds, 5, before.boot));
    again.observe();
    again.run(2, &[("e1", 80)]);
    assert_eq!(view(&mut again).samples, 5, "none counts twice");
}

#[test]
fn a_shorter_lead_that_a_rule_s_own_launches_teach_does_not_end_its_lead() {
    let mut script = Script::new(learning(), "2026-03-02T16:58:30Z");
    script.run(1, &[("e1", 10)]);
    assert_eq!(script.count(), 5, "in its lead of 120 s: {}", script.last().line);
    (0..5).for_each(|_| boot(&mut script, 10, 4, 1));
    assert_eq!((view(&mut script).seconds, schedule_lead(&mut script)), (15.0, 120.0));
    let idle: Vec<_> = script.origins.iter().map(|origin| (origin.address, true, 0)).collect();
    while script.now < at("2026-03-02T17:05:00Z") {
        script.pass();
        script.report_origins("e1", 10, &idle);
        assert_eq!(script.count(), 5, "{}", script.last().line);
    }
    script.now = at("2026-03-02T19:00:01Z");
    script.run(2, &[("e1", 10)]);
    assert_eq!(schedule_lead(&mut script), 15.0, "from the next window on");
}

#[test]
fn hints_that_name_a_time_are_heard_so_long_before_it() {
    let hints = config::region::Hints {
        kinds: vec![config::region::HintKind::Prewarm],
        add: 4,
        longest: secs(600),
        per_second: 10,
    };
    let mut script = Script::new(Scaling { hints: Some(hints), schedules: Vec::new(), ..learning() }, NOON);
    script.run(10, &[("e1", 80)]);
    boots(&mut script, 5, 20, 3);
    assert_eq!(view(&mut script).seconds, 30.0);
    script.run(30, &[("e1", 10)]);
    let asks = |script: &mut Script, due| {
        script.pass();
        script.hint("e1", 10, &[("p", "prewarm", 4.0, 100, due)]);
        script.count()
    };
    assert_eq!(asks(&mut script, 40), 1, "{}", script.last().line);
    assert_eq!(asks(&mut script, 30), 4, "{}", script.last().line);
}

#[test]
fn what_was_learned_is_in_the_checkpoint_and_an_engine_of_another_lead_is_taken_up() {
    let rule = config::region::Predictive { requests_per_origin: Some(10.0), price: 80.0, shadow: false };
    let setting = Scaling { predictive: Some(rule), ..learning() };
    let mut script = Script::new(setting.clone(), NOON);
    script.run(40, &[("e1", 80)]);
    boots(&mut script, 5, 20, 3);
    let checkpoint = script.region.checkpoints(true).remove("shop").unwrap();
    let mut again = Script::new(setting, NOON);
    again.now = script.now;
    assert_eq!(view(&mut again).seconds, 120.0);
    again.region.restore("shop", &checkpoint).unwrap();
    let told = view(&mut again);
    assert_eq!((told.seconds, told.samples, told.learned), (30.0, 5, true));
    assert_eq!(schedule_lead(&mut again), 30.0);
    again.run(16, &[("e1", 80)]);
    let because = |script: &Script| script.last().proposals[1].because.clone();
    assert!(because(&again).contains("within 90s"), "30 s and the margin of a minute: {}", because(&again));
}
