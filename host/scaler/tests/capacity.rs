//! What one origin carries of requests is learned: only from times near saturation, slowly, within bounds, and
//! flagged where it is not what the file says. First the rules alone, then a pool that lives by what was learned.

mod script;

use std::ops::Range;
use std::time::Duration;

use config::region::*;
use forebay_scaler as scaler;
use scaler::capacity::{Capacity, Carried, Learned};
use scaler::{Checkpoint, Event, Proposal, Source};
use script::*;
use wire::PoolReport;

/// In steps of 15 s.
const HOUR: i64 = 240;

fn rule() -> Learn {
    Learn { at_least: 60.0, at_most: 140.0, latency: Duration::from_millis(200), quantile: 0.99 }
}

/// Four origins, each with so much.
fn carried(load: f64, latency: f64) -> Carried {
    Carried { offered: 4.0 * load, rejects: 0.0, errors: 0.0, latency: Some(latency), origins: 4.0 }
}

fn learn(steps: Range<i64>, capacity: &mut Capacity, carried: impl Fn(i64) -> Option<Carried>) {
    steps.for_each(|step| capacity.step(step, carried(step)));
}

fn fresh() -> Capacity {
    Capacity::new(100.0, &rule())
}

fn value(capacity: &Capacity) -> f64 {
    capacity.learned().per_origin
}

#[test]
fn more_that_was_carried_well_raises_it_slowly_and_not_over_the_bound() {
    let mut capacity = fresh();
    learn(0..HOUR, &mut capacity, |_| Some(carried(130.0, 0.05)));
    assert!((104.0..105.2).contains(&value(&capacity)), "5 % in the first hour: {}", value(&capacity));
    learn(HOUR..20 * HOUR, &mut capacity, |_| Some(carried(130.0, 0.05)));
    assert!((129.9..=130.0).contains(&value(&capacity)), "what was seen, and no more: {}", value(&capacity));
    learn(20 * HOUR..60 * HOUR, &mut capacity, |_| Some(carried(900.0, 0.05)));
    assert_eq!(value(&capacity), 140.0);
}

#[test]
fn one_lucky_step_is_chance_and_a_load_that_fails_more_often_than_not_is_not_carried() {
    let mut capacity = fresh();
    learn(0..10 * HOUR, &mut capacity, |step| Some(carried(if step % 100 == 50 { 300.0 } else { 75.0 }, 0.05)));
    assert_eq!((value(&capacity), capacity.learned().seen), (100.0, None), "three in an hour");
    // Over 110 it is slow, but for one time in ten.
    let mut lucky = fresh();
    let load = |step: i64| 101.0 + (step * 7 % 40) as f64;
    let latency = |step: i64| if load(step) <= 110.0 || step % 10 == 0 { 0.05 } else { 0.4 };
    learn(0..20 * HOUR, &mut lucky, |step| Some(carried(load(step), latency(step))));
    assert!((109.0..118.0).contains(&value(&lucky)), "140 were seen to go well, by luck: {:?}", lucky.learned());
}

#[test]
fn a_low_load_never_teaches_however_it_goes() {
    let mut capacity = fresh();
    learn(0..HOUR, &mut capacity, |_| Some(carried(3.0, 0.01)));
    learn(HOUR..9 * HOUR, &mut capacity, |_| Some(carried(69.0, 9.0)));
    assert_eq!((value(&capacity), capacity.learned().seen), (100.0, None), "a slow database is none");
    let shed = Carried { offered: 900.0, rejects: 640.0, errors: 640.0, latency: None, origins: 4.0 };
    learn(9 * HOUR..12 * HOUR, &mut capacity, |_| Some(shed));
    assert_eq!(value(&capacity), 100.0, "65 of each were carried, and 160 more were shed: it was not the origins");
    learn(12 * HOUR..18 * HOUR, &mut capacity, |_| Some(carried(95.0, 0.05)));
    assert_eq!(value(&capacity), 100.0, "less than the figure that goes well says nothing either");
}

#[test]
fn trouble_near_the_figure_lowers_it_slowly_and_not_under_the_bound() {
    let mut capacity = fresh();
    learn(0..HOUR, &mut capacity, |_| Some(carried(80.0, 0.4)));
    assert!((95.0..96.0).contains(&value(&capacity)), "{}", value(&capacity));
    learn(HOUR..20 * HOUR, &mut capacity, |_| Some(carried(80.0, 0.4)));
    assert!((79.9..80.1).contains(&value(&capacity)), "{}", value(&capacity));
    let mut shed = fresh();
    let shedding = Carried { offered: 600.0, rejects: 240.0, errors: 240.0, latency: None, origins: 4.0 };
    learn(0..HOUR, &mut shed, |_| Some(shedding));
    let learned = shed.learned();
    assert!(learned.per_origin < 96.0 && learned.seen == Some(90.0), "what is carried while it sheds: {learned:?}");
    let mut least = fresh();
    for hour in 0..30 {
        let load = 0.8 * value(&least);
        learn(hour * HOUR..(hour + 1) * HOUR, &mut least, |_| Some(carried(load, 0.4)));
    }
    assert_eq!(value(&least), 60.0, "however slow it is");
}

#[test]
fn what_was_lowered_goes_back_by_a_percent_an_hour_where_the_same_load_goes_well_again() {
    let mut capacity = fresh();
    learn(0..5 * HOUR, &mut capacity, |_| Some(carried(75.0, 0.4)));
    let low = value(&capacity);
    assert!((74.0..79.0).contains(&low) && capacity.learned().drift, "{low}");
    learn(5 * HOUR..10 * HOUR, &mut capacity, |_| Some(carried(20.0, 0.05)));
    let idle = value(&capacity);
    assert!(idle <= low, "a night says nothing: {idle}");
    learn(10 * HOUR..12 * HOUR, &mut capacity, |_| Some(carried(70.0, 0.05)));
    let back = value(&capacity);
    assert!((idle * 1.018..idle * 1.022).contains(&back), "{idle} to {back}");
    // As much again of the same trouble, and it falls again.
    learn(12 * HOUR..13 * HOUR, &mut capacity, |_| Some(carried(75.0, 0.4)));
    assert!(value(&capacity) < back);
    learn(14 * HOUR..80 * HOUR, &mut capacity, |_| Some(carried(90.0, 0.05)));
    assert_eq!(value(&capacity), 100.0, "and no further than the file's figure");
    assert_eq!((capacity.learned().seen, capacity.learned().drift), (None, false));
}

#[test]
fn an_outage_never_teaches() {
    let mut capacity = fresh();
    for failing in [Carried { errors: 300.0, ..carried(90.0, 5.0) }, Carried { errors: 40.0, ..carried(130.0, 0.01) }] {
        learn(0..10 * HOUR, &mut capacity, |_| Some(failing));
        assert_eq!((value(&capacity), capacity.learned().drift), (100.0, false));
    }
    let nobody_there = Carried { rejects: 400.0, errors: 400.0, latency: None, ..carried(100.0, 0.0) };
    learn(10 * HOUR..20 * HOUR, &mut capacity, |_| Some(nobody_there));
    assert_eq!((value(&capacity), capacity.learned().seen), (100.0, None));
}

#[test]
fn a_gap_and_origins_that_come_and_grow_and_go_teach_nothing() {
    let mut capacity = fresh();
    learn(0..HOUR, &mut capacity, |step| (step % 2 == 0).then_some(carried(130.0, 0.05)));
    let moving = |step: i64| Carried { origins: 3.0 + (step % 2) as f64, ..carried(130.0, 0.05) };
    learn(HOUR..2 * HOUR, &mut capacity, |step| Some(moving(step)));
    let growing = |step: i64| Carried { origins: 3.0 + (step % 60) as f64 / 60.0, ..carried(90.0, 0.4) };
    learn(2 * HOUR..3 * HOUR, &mut capacity, |step| Some(growing(step)));
    assert_eq!((value(&capacity), capacity.learned().seen), (100.0, None));
}

#[test]
fn too_few_answers_to_tell_how_it_went_teach_nothing() {
    let mut capacity = fresh();
    learn(0..9 * HOUR, &mut capacity, |_| Some(Carried { latency: None, ..carried(130.0, 0.0) }));
    assert_eq!((value(&capacity), capacity.learned().seen), (100.0, None));
}

#[test]
fn what_goes_well_as_often_as_badly_is_not_the_load() {
    let mut capacity = fresh();
    learn(0..HOUR, &mut capacity, |step| Some(carried(90.0, if step % 2 == 0 { 0.4 } else { 0.05 })));
    assert!(value(&capacity) > 99.9, "{}", value(&capacity));
}

#[test]
fn what_is_seen_far_from_what_is_written_is_flagged_before_the_figure_gets_there() {
    let mut capacity = fresh();
    learn(0..10, &mut capacity, |_| Some(carried(119.0, 0.05)));
    assert!(!capacity.learned().drift);
    learn(10..20, &mut capacity, |_| Some(carried(125.0, 0.05)));
    let learned = capacity.learned();
    assert!(learned.drift && learned.seen == Some(125.0) && learned.per_origin < 101.0, "{learned:?}");
}

#[test]
fn the_same_steps_teach_the_same() {
    let play = || {
        let mut capacity = fresh();
        let one = |step: i64| carried(60.0 + (step % 97) as f64, (step % 53) as f64 / 200.0);
        learn(0..5 * HOUR, &mut capacity, |step| Some(one(step)));
        capacity
    };
    assert_eq!(play(), play());
    assert_ne!(play(), fresh());
}

#[test]
fn other_bounds_keep_what_was_learned_and_another_beginning_does_not() {
    let mut capacity = fresh();
    learn(0..5 * HOUR, &mut capacity, |_| Some(carried(130.0, 0.05)));
    let known = value(&capacity);
    assert!(known > 120.0);
    let narrow = Learn { at_most: 110.0, ..rule() };
    assert_eq!(value(&capacity.clone().anew(100.0, &narrow)), 110.0);
    assert_eq!(capacity.clone().anew(100.0, &rule()), capacity);
    assert_eq!(value(&capacity.clone().anew(90.0, &rule())), 90.0, "who writes another figure has a reason");
    let mut other = Capacity::new(90.0, &rule());
    other.take_back(&capacity.kept());
    assert_eq!(value(&other), 90.0);
    let mut again = fresh();
    again.take_back(&capacity.kept());
    assert_eq!(value(&again), known);
}

// A pool that lives by it.

const START: &str = "2026-03-02T00:00:00Z";

/// 10 a second of each, 5 to 40 by what is seen within 100 ms.
fn learning() -> Signal {
    let learn = Learn { at_least: 5.0, at_most: 40.0, latency: Duration::from_millis(100), quantile: 0.9 };
    Signal { name: "requests".into(), source: SignalSource::Requests { per_origin: 10.0, learn: Some(learn) } }
}

fn reactive() -> Scaling {
    let reactive = Some(Reactive { requests_per_origin: None, window: secs(30), headroom: 1.0 });
    Scaling { signals: vec![learning()], reactive, ceiling: 1000, mode: ScalingMode::Shadow, ..scaling() }
}

fn predictive() -> Scaling {
    let rule = Predictive { requests_per_origin: None, price: 80.0, shadow: false };
    Scaling { reactive: None, predictive: Some(rule), ..reactive() }
}

/// Four listed origins; edges report every 15 s.
fn pool(scaling: Scaling) -> Script {
    let listed: Vec<_> = (1..=4_u16).map(|port| ([127, 0, 0, 1], port).into()).collect();
    let mut config = Region::clone(&region(scaling, &listed));
    let aggregator = config.aggregator.as_mut().unwrap();
    (aggregator.tick, aggregator.stale_after) = (secs(15), secs(40));
    Script::with(config.into(), START)
}

/// `hours` of so many requests a second that take so long.
fn run(script: &mut Script, hours: f64, rate: u64, micros: u64, errors: u64) {
    for _ in 0..(hours * HOUR as f64) as u64 {
        script.now += secs(15);
        let latencies = vec![(micros, rate * 15)];
        let seen = PoolReport { requests: rate * 15, errors: errors * 15, latencies, ..PoolReport::default() };
        let mut report = script.make_report("e1", seen);
        report.period_ms = 15_000;
        script.apply(Event::Report(report));
        script.step();
    }
}

fn reading(script: &Script) -> scaler::Reading {
    script.last().inputs.demand.as_ref().unwrap().signals[0].clone()
}

/// What the last decision went by.
fn learned(script: &Script) -> Learned {
    reading(script).learned.expect("it is learned")
}

/// What the next one will go by.
fn known(script: &mut Script) -> Learned {
    let view = script.region.pool("shop", script.now).unwrap();
    view.demand.signals[0].learned.clone().expect("it is learned")
}

#[test]
fn what_an_origin_carries_is_learned_from_live_reports_and_decides() {
    let mut script = pool(reactive());
    run(&mut script, 2.0, 20, 900_000, 0);
    let low = learned(&script);
    assert_eq!((low.per_origin, low.seen, low.drift), (10.0, None, false), "5 of each are no lesson");
    assert_eq!(script.last().would, Some(2));
    run(&mut script, 5.0, 60, 20_000, 0);
    let one = reading(&script);
    let high = learned(&script);
    assert!((12.4..12.9).contains(&high.per_origin) && high.drift, "{high:?}");
    assert_eq!((one.per_origin, high.configured, high.seen), (high.per_origin, 10.0, Some(15.0)));
    assert!((one.origins.unwrap() - 60.0 / one.per_origin).abs() < 1e-3, "{one:?}");
    assert_eq!(script.last().would, Some(5), "where 10 each would take 6: {}", script.last().line);
    run(&mut script, 3.0, 40, 900_000, 30);
    let after = learned(&script);
    assert!(after.per_origin >= high.per_origin, "an outage is no lesson: {after:?}");
    assert!(known(&mut script).drift, "and the view shows it");
}

#[test]
fn what_was_learned_stands_while_nobody_reports() {
    let mut script = pool(reactive());
    run(&mut script, 3.0, 60, 20_000, 0);
    let known = known(&mut script).per_origin;
    script.now += secs(600);
    script.step();
    assert_eq!(reading(&script).because.as_deref(), Some("no fresh report"));
    assert_eq!(learned(&script).per_origin, known);
}

#[test]
fn the_engine_goes_on_in_the_units_that_it_learned_in_and_its_count_follows_what_an_origin_carries() {
    let mut script = pool(predictive());
    run(&mut script, 3.0, 36, 900_000, 0);
    let wide = script.proposal(Source::Predictive);
    assert!(wide.because.contains("level 36.0 requests/s"), "{wide:?}");
    let capacity = learned(&script).per_origin;
    assert!((8.9..9.2).contains(&capacity), "slow at 9 of each: {capacity}");
    assert!(wide.because.contains(&format!("{capacity} per origin, as learned")), "{wide:?}");
    let mut fixed = predictive();
    fixed.signals[0].source = SignalSource::Requests { per_origin: 10.0, learn: None };
    let mut plain = pool(fixed);
    run(&mut plain, 3.0, 36, 900_000, 0);
    let nominal = plain.proposal(Source::Predictive);
    // What was forecast, by whom, how sure: all but what an origin carries is the same to the digit.
    let until_unit = |proposal: &Proposal| proposal.because.split("; 10 per").next().unwrap().to_owned();
    let learned_text = wide.because.replace(&format!("{capacity} per origin, as learned"), "10 per origin");
    assert_eq!(until_unit(&nominal), learned_text.split("; 10 per").next().unwrap(), "it relearned nothing");
    let (nominal, wide) = (f64::from(nominal.origins.unwrap()), f64::from(wide.origins.unwrap()));
    assert_eq!(wide, (nominal * 10.0 / capacity).ceil(), "{nominal} of ten each");
    // What is foreseen is told in the origins of now.
    let (mine, theirs) = (script.last().forecast.clone().unwrap(), plain.last().forecast.clone().unwrap());
    assert!((mine.level - theirs.level * 10.0 / capacity).abs() < 2e-3, "{mine:?} {theirs:?}");
    let scored = |script: &mut Script| script.region.pool("shop", script.now).unwrap().scored.unwrap();
    let (mine, theirs) = (scored(&mut script), scored(&mut plain));
    assert!(mine.ran.lost_hours > theirs.ran.lost_hours, "4 of 9 carry less of 36 than 4 of 10: {mine:?} {theirs:?}");
}

#[test]
fn a_floor_is_of_real_origins_whatever_they_carry() {
    let mut setting = predictive();
    setting.floor = 8;
    let mut script = pool(setting);
    run(&mut script, 3.0, 36, 900_000, 0);
    assert!(learned(&script).per_origin < 9.2);
    run(&mut script, 1.0, 4, 20_000, 0);
    assert_eq!(script.proposal(Source::Predictive).origins, Some(8), "and not 8 x 10 / 9");
}

#[test]
fn a_figure_of_the_rules_own_is_meant() {
    let mut setting = predictive();
    setting.predictive.as_mut().unwrap().requests_per_origin = Some(10.0);
    setting.reactive = reactive().reactive;
    let mut script = pool(setting);
    run(&mut script, 3.0, 36, 900_000, 0);
    let capacity = learned(&script).per_origin;
    assert!(capacity < 9.2);
    let found = script.proposal(Source::Predictive);
    assert!(found.because.contains("; 10 per origin") && !found.because.contains("learned"), "{found:?}");
    assert_eq!(script.proposal(Source::Reactive).origins, Some(4), "which goes by the signal: 36 / {capacity}");
}

fn checkpoint(script: &mut Script) -> Checkpoint {
    script.region.checkpoints(true).remove("shop").expect("there is something to write down")
}

#[test]
fn a_restart_goes_on_from_what_was_learned_and_a_changed_file_from_its_own_figure() {
    let mut first = pool(predictive());
    run(&mut first, 3.0, 60, 20_000, 0);
    let taught = known(&mut first);
    assert!(taught.per_origin > 11.0, "{taught:?}");
    let written = checkpoint(&mut first);
    let mut second = pool(predictive());
    second.now = first.now;
    assert_eq!(second.region.restore("shop", &written), Ok(()));
    assert_eq!(known(&mut second), taught);
    run(&mut second, 0.02, 60, 20_000, 0);
    assert_eq!(learned(&second).per_origin, taught.per_origin, "and decides by it");
    // The same engine counts the same, whether the figure is learned or not; the figure itself is the file's.
    let mut fixed = predictive();
    fixed.signals[0].source = SignalSource::Requests { per_origin: 10.0, learn: None };
    let mut third = pool(fixed);
    third.now = first.now;
    assert_eq!(third.region.restore("shop", &written), Ok(()));
    run(&mut third, 0.02, 60, 20_000, 0);
    assert_eq!((reading(&third).per_origin, reading(&third).learned), (10.0, None));
}
