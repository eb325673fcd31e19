//! The engine in a live pool: reports in, its count as a proposal among others.

mod script;

use std::time::Duration;

use config::region::{Predictive, Reactive, Scaling};
use forebay_scaler as scaler;
use scaler::{Event, Proposal, Source};
use script::*;

fn predictive() -> Scaling {
    Scaling { ceiling: 100, ..script::predictive(80.0) }
}

const START: &str = "2026-03-02T00:00:00Z";

fn hours(script: &mut Script, hours: u64, edges: &[(&str, f64)]) {
    for _ in 0..hours * 240 {
        script.pass_step(edges);
    }
}

fn proposal(script: &Script) -> Proposal {
    script.proposal(Source::Predictive)
}

#[test]
fn the_first_whole_step_is_answered_with_headroom_and_the_edges_add_up() {
    let mut script = Script::with(slow(predictive()), START);
    script.pass_step(&[("e1", 60.0), ("e2", 40.0)]);
    script.pass_step(&[("e1", 60.0), ("e2", 40.0)]);
    let found = proposal(&script);
    assert_eq!(found.origins, Some(13), "1.3 of 100 requests/s, 10 each: {}", found.because);
    assert!(found.because.contains("level 100.0 requests/s") && found.because.contains("under 2 hours"), "{found:?}");
    assert_eq!((script.last().winner.as_str(), script.count()), ("predictive", 13));
}

#[test]
fn reports_of_a_second_make_steps_of_fifteen() {
    let mut script = Script::new(predictive(), START);
    script.run(14, &[("e1", 100)]);
    assert_eq!(proposal(&script).origins, None, "no whole step is over");
    script.run(17, &[("e1", 100)]);
    assert_eq!(proposal(&script).origins, Some(13));
}

/// Evenings: up from 50 to 550 requests a second from 16:00 to 18:00, and down again until 22:00.
fn evening(step: u64) -> f64 {
    let hour = step as f64 % 5760.0 / 240.0;
    let part = if hour < 20.0 { (hour - 16.0) / 2.0 } else { (22.0 - hour) / 2.0 };
    50.0 + 500.0 * part.clamp(0.0, 1.0)
}

/// The lowest bound of the coming demand that the proposal tells.
fn bound(script: &Script) -> f64 {
    let because = proposal(script).because;
    let (_, rest) = because.split_once("q0.7 ").expect("it tells its bounds");
    rest.split(',').next().and_then(|bound| bound.parse().ok()).expect("a number")
}

#[test]
fn demand_that_rises_every_day_is_met_before_it_is_there() {
    let lead = 600;
    let mut script = Script::with(slow(Scaling { lead: secs(lead), ..predictive() }), START);
    let (mut rising, mut foreseen, mut resting) = (0, 0.0, 0.0);
    for step in 0..5 * 5760 {
        script.pass_step(&[("e1", evening(step))]);
        let (day, time) = (step / 5760, step % 5760);
        if day == 4 && time == 17 * 240 {
            (rising, foreseen) = (script.count(), bound(&script));
        }
        if day == 4 && time == 12 * 240 {
            resting = bound(&script);
        }
    }
    let needed = (evening(17 * 240 + lead / 15) / 10.0).ceil() as u32;
    assert!(rising >= needed, "{rising} at 17:00, and {needed} are needed a lead later");
    // Without any headroom: the rise is in the forecast, and only where there is one.
    assert!(foreseen > 1.04 * evening(17 * 240), "{foreseen} while it rises from {}", evening(17 * 240));
    assert!((49.0..51.0).contains(&resting), "{resting} while it rests at 50");
    let found = proposal(&script);
    assert!(found.because.contains("tuned rules, first of them "), "{found:?}");
    let forecast = script.last().forecast.clone().unwrap();
    let rule = forecast.rule.expect("one of them has the largest part");
    assert!(found.because.contains(&format!("first of them {rule}; ")), "{} and {rule}", found.because);
    assert!(rule.part > 0.0 && rule.part <= 1.0 && forecast.present.is_some(), "{rule:?}");
}

#[test]
fn a_count_that_is_kept_from_before_is_told_with_what_the_load_of_now_asks_for() {
    let mut script = Script::with(slow(predictive()), START);
    for _ in 0..8 {
        script.pass_step(&[("e1", 100.0)]);
    }
    let told = |script: &Script| (proposal(script), script.last().forecast.clone().expect("there is an engine"));
    let (found, forecast) = told(&script);
    assert!(found.because.contains("under 2 hours known: level x 1.3, kept 180s;"), "{}", found.because);
    assert!(!found.because.contains("from before"), "nothing is kept: {}", found.because);
    assert_eq!((found.origins, forecast.present), (Some(13), Some(13)));
    // Nothing comes any more: what is proposed is of before, and the record says how much of it.
    for _ in 0..6 {
        script.pass_step(&[("e1", 0.0)]);
    }
    let (found, forecast) = told(&script);
    let (origins, present) = (found.origins.unwrap(), forecast.present.unwrap());
    assert!(origins == 13 && present < 2, "{origins} and {present}: {}", found.because);
    assert!(found.because.ends_with(&format!("; now {present}, the rest is kept from before")), "{}", found.because);
    let rule = forecast.rule.unwrap();
    assert_eq!((rule.quantile, rule.headroom, rule.hold_seconds, rule.part), (None, 1.3, 180.0, 1.0));
    // And it is over when the rule says so.
    for _ in 0..12 {
        script.pass_step(&[("e1", 0.0)]);
    }
    let (found, forecast) = told(&script);
    assert_eq!(found.origins, forecast.present, "{}", found.because);
}

#[test]
fn a_shadow_says_what_it_would_do_and_leaves_the_count_to_the_others() {
    let mut setting = predictive();
    setting.predictive.as_mut().unwrap().shadow = true;
    setting.reactive = Some(Reactive { requests_per_origin: Some(10.0), window: secs(30), headroom: 1.0 });
    let mut script = Script::with(slow(setting), START);
    hours(&mut script, 1, &[("e1", 100.0)]);
    let found = proposal(&script);
    assert_eq!(found.origins, None);
    assert!(found.because.starts_with("shadow: would have 13: level 100.0"), "{found:?}");
    assert_eq!((script.last().winner.as_str(), script.count()), ("reactive", 10));
}

#[test]
fn an_edge_that_falls_silent_is_a_gap_and_not_less_demand() {
    let mut script = Script::with(slow(predictive()), START);
    hours(&mut script, 3, &[("e1", 60.0), ("e2", 40.0)]);
    let stood = script.count();
    // Two minutes: it is not taken for gone yet.
    for _ in 0..8 {
        script.pass_step(&[("e1", 60.0)]);
        assert!(script.count() >= stood, "{}", script.last().line);
    }
    assert!(proposal(&script).because.contains("a gap: not lowered"), "{}", proposal(&script).because);
    for _ in 0..4 {
        script.pass_step(&[("e1", 60.0), ("e2", 40.0)]);
    }
    let found = proposal(&script);
    assert!(found.because.contains("level 100.0") && !found.because.contains("gap"), "{}", found.because);
}

#[test]
fn asking_more_often_changes_nothing() {
    let run = |asks: usize| {
        let mut script = Script::with(slow(predictive()), START);
        for step in 0..400 {
            script.pass_step(&[("e1", 50.0 + f64::from(step % 60))]);
            for _ in 0..asks {
                script.step();
            }
        }
        (script.count(), proposal(&script))
    };
    assert_eq!(run(0), run(5));
}

#[test]
fn a_changed_file_keeps_what_was_learned_unless_origins_carry_another_load() {
    let mut script = Script::with(slow(predictive()), START);
    hours(&mut script, 3, &[("e1", 100.0)]);
    assert!(proposal(&script).because.contains("not tuned yet"), "{}", proposal(&script).because);
    script.apply(Event::Configured(slow(Scaling { ceiling: 50, ..predictive() })));
    script.pass_step(&[("e1", 100.0)]);
    assert!(proposal(&script).because.contains("not tuned yet"), "{}", proposal(&script).because);
    script.apply(Event::Configured(slow(Scaling { lead: secs(600), ..predictive() })));
    script.pass_step(&[("e1", 100.0)]);
    script.pass_step(&[("e1", 100.0)]);
    let because = proposal(&script).because;
    assert!(because.contains("not tuned yet") && because.contains("within 660s"), "another lead: {because}");
    let rule = Predictive { requests_per_origin: Some(20.0), price: 80.0, shadow: false };
    script.apply(Event::Configured(slow(Scaling { predictive: Some(rule), ..predictive() })));
    script.pass_step(&[("e1", 100.0)]);
    script.pass_step(&[("e1", 100.0)]);
    assert!(proposal(&script).because.contains("under 2 hours known"), "{}", proposal(&script).because);
}

#[test]
fn clocks_that_jump_neither_shrink_the_pool_nor_end_it() {
    for jump in [-7200i64, 7200, 86_400, 90 * 86_400] {
        let mut script = Script::with(slow(predictive()), START);
        hours(&mut script, 3, &[("e1", 100.0)]);
        let stood = script.count();
        let by = Duration::from_secs(jump.unsigned_abs());
        script.now = if jump < 0 { script.now - by } else { script.now + by };
        for _ in 0..8 {
            script.pass_step(&[("e1", 100.0)]);
            assert!(script.count() >= stood.min(10), "after {jump} s: {}", script.last().line);
        }
    }
}

#[test]
fn floor_and_ceiling_hold_for_what_is_foreseen() {
    let mut script = Script::with(slow(Scaling { floor: 4, ceiling: 9, ..predictive() }), START);
    hours(&mut script, 1, &[("e1", 1.0)]);
    assert_eq!(script.count(), 4);
    hours(&mut script, 1, &[("e1", 500.0)]);
    assert_eq!(script.count(), 9);
    assert!(script.last().line.contains("ceiling 9 binds"), "{}", script.last().line);
}

#[test]
fn a_surprise_is_told_as_the_reason() {
    let mut script = Script::with(slow(Scaling { ceiling: 1000, ..predictive() }), START);
    hours(&mut script, 3, &[("e1", 100.0)]);
    assert!(!proposal(&script).because.contains("surprise"), "{}", proposal(&script).because);
    script.pass_step(&[("e1", 400.0)]);
    script.pass_step(&[("e1", 400.0)]);
    let found = proposal(&script);
    assert!(found.because.contains("; surprise: ") && found.because.contains(" were foreseen"), "{}", found.because);
    assert_eq!(found.origins, Some(70), "40, and half of 30 in 30 s for the lead of 60 s: {found:?}");
    assert!(script.last().line.contains("surprise: "), "{}", script.last().line);
    for _ in 0..10 {
        script.pass_step(&[("e1", 400.0)]);
    }
    assert!(!proposal(&script).because.contains("surprise"), "it rises no more: {}", proposal(&script).because);
}
