//! A pool of a region file over a recorded demand: the live loop's own code, in simulated time.

mod script;
mod traces;

use std::sync::Arc;
use std::time::Duration;

use config::region::{Predictive, Reactive, Scaling, ScalingMode, Schedule};
use forebay_scaler as scaler;
use scaler::Decision;
use scaler::engine::Settings;
use scaler::peers::contest;
use scaler::replay::course::{Course, Moment};
use scaler::replay::rehearsal::{Setting, run};
use scaler::replay::score::Score;
use scaler::replay::stack::Stack;
use scaler::replay::{Lives, trace};
use script::*;
use traces::demand;

const DAY: usize = 5760;
/// A Monday.
const START: &str = "2026-03-02T00:00:00Z";

struct Told {
    score: Score,
    moments: Vec<Moment>,
    decisions: Vec<Decision>,
}

fn setting(scaling: Scaling, tick: u64) -> Setting {
    Setting { config: region(scaling, &[]), pool: "shop".into(), start: at(START), tick: Some(secs(tick)), unit: 10.0 }
}

fn rehearse(setting: &Setting, course: &Course) -> Told {
    let (mut moments, mut decisions) = (Vec::new(), Vec::new());
    let score = run(setting, course, |_, moment| moments.push(*moment), |decision| decisions.push(decision.clone()));
    Told { score: score.expect("an edge could have seen it"), moments, decisions }
}

fn lives() -> Lives {
    Lives { boot: 60.0, warm: 60.0, drain: 60.0, ..Lives::default() }
}

/// 2 origins' worth, 6 in the hours of the day that are odd.
fn waves(hours: usize) -> Course {
    let demand: Vec<f64> = (0..hours * 240).map(|step| if step / 240 % 2 == 1 { 6.0 } else { 2.0 }).collect();
    Course { ceiling: 8, ..Course::new(&demand, lives(), 0) }
}

#[test]
fn origins_live_in_it_as_long_as_they_are_said_to() {
    let told = rehearse(&setting(scaling(), 1), &waves(3));
    let of = |second: usize| told.moments[second / 15].stages;
    // The rise at 3600 s is seen over 10 s, so the last launches come then.
    assert_eq!((of(3570).serving, of(3570).booting), (2, 0), "{:?}", of(3570));
    assert_eq!((of(3630).serving, of(3630).booting), (2, 4), "{:?}", of(3630));
    assert_eq!((of(3690).serving, of(3690).warming), (2, 4), "{:?}", of(3690));
    assert_eq!((of(3765).serving, of(3765).warming), (6, 0), "{:?}", of(3765));
    let warming = told.moments[3690 / 15].capacity;
    assert!((3.0..6.0).contains(&warming), "a ramp: {warming}");
    // And after the fall at 7200 s four drain for a minute.
    assert_eq!((of(7230).serving, of(7230).draining), (2, 4), "{:?}", of(7230));
    assert_eq!((of(7290).serving, of(7290).draining), (2, 0), "{:?}", of(7290));
    assert!(told.decisions.iter().all(|decision| decision.pool == "shop"));
    assert_eq!(told.decisions.len(), 3 * 3600, "one each second");
}

#[test]
fn its_pool_has_the_capacity_of_a_stack_of_the_same_counts() {
    // Peaks of a quarter of a minute to five, so that origins leave in every stage; never up again so soon that
    // one that drains is taken back, as a stack knows no such thing.
    let peak = |step: usize| step % 60 < step / 60 % 20;
    let demand: Vec<f64> = (0..DAY / 2).map(|step| if peak(step) { 9.0 } else { 2.5 }).collect();
    let course = Course { first: 12, ..Course::new(&demand, lives(), 0) };
    let told = rehearse(&setting(Scaling { ceiling: 12, ..scaling() }, 15), &course);
    let mut stack = Stack::new(12);
    for (moment, decision) in told.moments.iter().zip(&told.decisions) {
        let moved = stack.step(&course.lives, decision.to);
        let here = moment.stages;
        assert_eq!(here.booting + here.warming + here.serving, moved.total, "{}", decision.line);
        assert!((moment.capacity - moved.capacity).abs() < 1e-9, "{moment:?}, the stack {moved:?}: {}", decision.line);
    }
}

#[test]
fn a_predictive_pool_is_the_engine() {
    let lives = Lives { boot: 240.0, warm: 0.0, ..Lives::default() };
    let course = Course::new(&demand("llm-large-req")[..9 * DAY], lives, contest::scored_from(&lives));
    let rule = Predictive { requests_per_origin: Some(1000.0), price: 80.0, shadow: false };
    let scaling = Scaling { ceiling: 1000, reactive: None, predictive: Some(rule), lead: secs(240), ..scaling() };
    let told = rehearse(&Setting { unit: 1000.0, ..setting(scaling, 15) }, &course);
    let engine = contest::engine_on(Settings::of(lives), &course, |_, _, _| {});
    let near = |a: f64, b: f64, part: f64| (a / b - 1.0).abs() < part;
    assert!(near(told.score.cost, engine.cost, 0.005), "{:?} and {engine:?}", told.score);
    assert!(near(told.score.violation, engine.violation, 0.05), "{:?} and {engine:?}", told.score);
    let (low, high) = told.moments[8 * DAY].foreseen.expect("a forecast");
    assert!(0.0 < low && low <= high && high < 60.0, "{low} to {high}");
}

#[test]
fn schedules_go_by_when_it_begins() {
    // 18:00 in Berlin is 17:00 in UTC, in winter; its lead is a minute, and a launch takes two.
    let rule = Schedule { lead: secs(120), ..evening() };
    let scaling = Scaling { schedules: vec![rule], ..scaling() };
    let demand = vec![1.0; DAY];
    let told = rehearse(&setting(scaling.clone(), 15), &Course { ceiling: 8, ..Course::new(&demand, lives(), 0) });
    let serving = |hour: f64| told.moments[(hour * 240.0) as usize].stages.serving;
    assert_eq!((serving(16.9), serving(17.01), serving(18.9), serving(19.1)), (1, 5, 5, 1));
    let later = Setting { start: at("2026-03-02T12:00:00Z"), ..setting(scaling, 15) };
    let told = rehearse(&later, &Course { ceiling: 8, ..Course::new(&demand, lives(), 0) });
    assert_eq!(told.moments[5 * 240 + 2].stages.serving, 5, "noon and five hours");
}

#[test]
fn steps_bounds_and_stabilisation_hold_in_it() {
    let limited =
        Scaling { step_up: 1.into(), step_down: 1.into(), stabilisation: secs(600), floor: 3, ceiling: 5, ..scaling() };
    let course = Course { ceiling: 5, first: 3, ..waves(4) };
    let told = rehearse(&setting(limited, 15), &course);
    for decision in &told.decisions {
        assert!((3..=5).contains(&decision.to) && decision.to.abs_diff(decision.from) <= 1, "{}", decision.line);
    }
    let first_down = told.decisions.iter().find(|decision| decision.to < decision.from).expect("it falls");
    let waited = first_down.at.as_second() - at(START).as_second() - 7200;
    assert!((600..660).contains(&waited), "{waited} s after the fall");
}

#[test]
fn a_mode_that_only_thinks_moves_nothing_and_says_what_it_would() {
    for mode in [ScalingMode::Shadow, ScalingMode::Off] {
        let told = rehearse(&setting(Scaling { mode, ..scaling() }, 15), &Course { first: 4, ..waves(3) });
        assert!(told.decisions.iter().all(|decision| decision.to == 4), "{mode:?}");
        let thinks = told.decisions.iter().any(|decision| decision.would == Some(6));
        assert_eq!(thinks, mode == ScalingMode::Shadow, "{mode:?}");
    }
}

#[test]
fn in_a_gap_nothing_is_lowered_and_nobody_is_scored() {
    let mut course = waves(4);
    let whole = rehearse(&setting(scaling(), 15), &course);
    // From within the second peak on, through the fall, for half an hour.
    let gap = 7200 / 15 - 20..7200 / 15 + 100;
    course.demand[gap.clone()].fill(None);
    let told = rehearse(&setting(scaling(), 15), &course);
    for moment in &told.moments[gap] {
        assert_eq!(moment.stages.serving, 6);
    }
    assert_eq!(told.moments[7200 / 15 + 110].stages.serving, 2, "it is known again");
    let hours = 120.0 * 15.0 / 3600.0;
    assert!(told.score.cost < whole.score.cost, "{:?} and {:?}", told.score, whole.score);
    // Steps 20 before and 100 after the fall would have had 6 and then 2 origins.
    let left = (20.0 * 6.0 + 100.0 * 2.0) / 120.0 * hours;
    assert!((whole.score.cost - told.score.cost - left).abs() < 0.4, "{:?} and {:?}", told.score, whole.score);
}

#[test]
fn the_same_again_is_the_same() {
    let reactive = Some(Reactive { requests_per_origin: Some(9.0), window: secs(30), headroom: 1.1 });
    let setting = setting(Scaling { reactive, stabilisation: Duration::from_secs(60), ..scaling() }, 1);
    let (one, two) = (rehearse(&setting, &waves(3)), rehearse(&setting, &waves(3)));
    assert_eq!((one.score, one.moments), (two.score, two.moments));
    assert_eq!(one.decisions, two.decisions);
}

#[test]
fn rows_of_any_length_become_steps_and_gaps_stay_gaps() {
    let steps = trace::steps(&[Some(1.0), Some(3.0), None, Some(2.0)], 60.0, 15.0);
    assert_eq!(steps.len(), 16);
    let mean = |minute: usize| steps[minute * 4..][..4].iter().copied().sum::<Option<f64>>().map(|sum| sum / 4.0);
    let means = [0, 1, 2, 3].map(mean);
    for (found, expected) in means.iter().zip([Some(1.0), Some(3.0), None, Some(2.0)]) {
        assert_eq!(found.map(|mean| (mean * 1e9).round()), expected.map(|mean: f64| mean * 1e9));
    }
    assert!(steps[0] < steps[3] && steps[12] == Some(2.0), "it rises to the next, and not across a gap: {steps:?}");
    let fives = [Some(1.0), Some(2.0), Some(3.0), Some(1.0), None, Some(1.0), Some(9.0)];
    assert_eq!(trace::steps(&fives, 5.0, 15.0), [Some(2.0), None], "what is cut off at the end is left out");
    assert_eq!(trace::steps(&[Some(7.0)], 15.0, 15.0), [Some(7.0)]);
}

#[test]
fn more_than_an_edge_can_have_seen_is_refused() {
    let course = Course::new(&[1e12], lives(), 0);
    let setting = setting(scaling(), 1);
    let refused = run(&setting, &course, |_, _| {}, |_| {}).expect_err("a report is checked");
    assert!(refused.detail.contains("requests"), "{refused:?}");
}

#[test]
fn one_region_is_enough_for_many() {
    // Other pools of the file are left alone.
    let mut config = config::Region::clone(&region(scaling(), &[]));
    let other = config.pools["shop"].clone();
    config.pools.insert("other".into(), other);
    let setting = Setting { config: Arc::new(config), ..setting(scaling(), 15) };
    let told = rehearse(&setting, &waves(2));
    assert!(told.decisions.iter().all(|decision| decision.pool == "shop"));
}
