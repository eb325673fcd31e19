//! How far a pool may go by itself: `scaling.mode`.

mod script;

use config::region::{Predictive, Scaling, ScalingMode};
use forebay_scaler as scaler;
use scaler::{Decision, Event, Limit};
use script::*;

const START: &str = "2026-03-02T12:00:00Z";

fn with(mode: ScalingMode) -> Scaling {
    Scaling { mode, ..scaling() }
}

/// Three origins by load, and then another mode.
fn three_then(setting: Scaling) -> Script {
    let mut script = Script::new(scaling(), START);
    script.run(20, &[("e1", 30)]);
    assert_eq!(script.count(), 3);
    script.apply(Event::Configured(region(setting, &[])));
    script
}

fn held(decision: &Decision) -> bool {
    decision.holds.contains(&format!("mode: {}", decision.mode.name()))
}

#[test]
fn a_shadow_decides_as_if_it_acted_and_the_count_stays() {
    let mut script = three_then(Scaling { step_up: 1.into(), ..with(ScalingMode::Shadow) });
    script.run(30, &[("e1", 70)]);
    let decision = script.last().clone();
    assert_eq!((decision.from, decision.to, decision.would), (3, 3, Some(7)), "{}", decision.line);
    assert_eq!(limits(&decision), [Limit::Mode]);
    assert!(held(&decision) && decision.line.contains("mode 7 -> 3 (shadow)"), "{}", decision.line);
    // One more at once than there would have been, not than there are.
    let would: Vec<_> = script.decisions.iter().filter_map(|decision| decision.would).collect();
    assert!(would.windows(2).all(|pair| pair[1] <= pair[0] + 1) && would.contains(&5), "{would:?}");
    let view = script.region.pool("shop", script.now).unwrap();
    assert_eq!((view.mode, view.desired, view.advised), (ScalingMode::Shadow, Some(3), None));
    let json = serde_json::to_value(&decision).unwrap();
    assert_eq!((json["mode"].as_str(), json["would"].as_u64()), (Some("shadow"), Some(7)));
}

#[test]
fn advice_is_shown_and_the_count_stays() {
    let mut script = three_then(with(ScalingMode::Advise));
    script.run(30, &[("e1", 70)]);
    let view = script.region.pool("shop", script.now).unwrap();
    assert_eq!((view.desired, view.advised), (Some(3), Some(7)));
    assert!(script.last().line.contains("mode 7 -> 3 (advise)"), "{}", script.last().line);
    let json = serde_json::to_value(&view).unwrap();
    assert_eq!((json["mode"].as_str(), json["advised"].as_u64()), (Some("advise"), Some(7)));
}

#[test]
fn off_asks_no_rule_and_floor_and_ceiling_hold() {
    let mut script = three_then(with(ScalingMode::Off));
    script.run(30, &[("e1", 70)]);
    let decision = script.last();
    assert_eq!((decision.to, decision.would, decision.winner.as_str()), (3, None, "hold"), "{}", decision.line);
    assert!(decision.proposals.len() == 1 && held(decision), "{decision:?}");
    script.apply(Event::Configured(region(Scaling { floor: 5, ..with(ScalingMode::Off) }, &[])));
    script.run(1, &[]);
    assert_eq!(script.count(), 5, "{}", script.last().line);
    script.apply(Event::Configured(region(Scaling { ceiling: 2, ..with(ScalingMode::Off) }, &[])));
    script.run(1, &[]);
    assert_eq!(script.count(), 2, "{}", script.last().line);
}

#[test]
fn up_only_grows_and_never_shrinks_and_says_what_it_would() {
    let mut script = three_then(with(ScalingMode::UpOnly));
    script.run(30, &[("e1", 70)]);
    assert_eq!((script.count(), script.last().would), (7, Some(7)));
    assert!(held(script.last()) && limits(script.last()).is_empty(), "{}", script.last().line);
    script.run(30, &[("e1", 10)]);
    assert_eq!((script.count(), script.last().would), (7, Some(1)));
    assert_eq!(limits(script.last()), [Limit::Mode], "{}", script.last().line);
}

#[test]
fn turned_on_a_pool_goes_on_from_the_count_that_stands() {
    let mut script = three_then(with(ScalingMode::Shadow));
    script.run(30, &[("e1", 70)]);
    script.apply(Event::Configured(region(Scaling { step_up: 1.into(), ..scaling() }, &[])));
    script.run(1, &[("e1", 70)]);
    let decision = script.last();
    assert_eq!((decision.from, decision.to, decision.would), (3, 4, None), "{}", decision.line);
    assert!(!held(decision) && script.region.pool("shop", script.now).unwrap().scored.is_none());
}

#[test]
fn a_shadow_is_scored_beside_what_ran() {
    let mut setting = Scaling { lead: secs(60), ..with(ScalingMode::Shadow) };
    setting.reactive.as_mut().unwrap().headroom = 1.5;
    let mut script = three_then(setting);
    let three = [script.launch(), script.launch(), script.launch()];
    for origin in three {
        script.ready(origin);
    }
    // What runs is right for 20 requests a second, and half of what 60 need.
    let serve = |script: &mut Script, requests: u64, seconds: u64| {
        for _ in 0..seconds {
            script.pass();
            script.report_origins("e1", requests, &three.map(|origin| (origin, true, 0)));
        }
        script.region.pool("shop", script.now).unwrap().scored.unwrap()
    };
    let quiet = serve(&mut script, 20, 600);
    assert!(quiet.hours > 0.15 && quiet.gap_hours < 0.01, "{quiet:?}");
    assert!(quiet.ran.violation < 1.0, "three carry 20: {quiet:?}");
    assert!((quiet.ran.origin_hours - 3.0 * quiet.hours).abs() < 0.1, "{quiet:?}");
    let busy = serve(&mut script, 60, 600);
    assert!(busy.ran.violation > 30.0, "three lose half of 60: {busy:?}");
    // Its origins would have booted for a minute of these ten.
    assert!((1.0..0.3 * busy.ran.violation).contains(&busy.would.violation), "{busy:?}");
    assert!(busy.would.origin_hours > busy.ran.origin_hours, "eight cost more than three: {busy:?}");
    // Asked again at once nothing is added, and a silent edge is a gap.
    assert_eq!(script.region.pool("shop", script.now).unwrap().scored, Some(busy));
    script.run(60, &[]);
    let silent = script.region.pool("shop", script.now).unwrap().scored.unwrap();
    assert!(silent.gap_hours > busy.gap_hours && silent.hours < busy.hours + 0.01, "{silent:?}");
}

#[test]
fn a_journal_of_before_there_were_modes_is_read() {
    let mut script = Script::new(scaling(), START);
    script.run(2, &[("e1", 30)]);
    let mut json = serde_json::to_value(script.last()).unwrap();
    assert!(json.as_object_mut().unwrap().remove("mode").is_some());
    assert_eq!(&serde_json::from_value::<Decision>(json).unwrap(), script.last());
}

#[test]
fn what_the_tuner_learned_is_shown() {
    let rule = Predictive { requests_per_origin: Some(10.0), price: 80.0, shadow: false };
    let mut script = Script::new(Scaling { predictive: Some(rule), ..scaling() }, START);
    let told = script.region.pool("shop", script.now).unwrap().tuner.unwrap();
    assert!(told.best.is_empty() && told.way.is_none() && told.blend == 0 && !told.gate_open, "{told:?}");
    script.run(300, &[("e1", 30)]);
    let told = script.region.pool("shop", script.now).unwrap().tuner.unwrap();
    assert_eq!(told.best.len(), 5);
    assert!(told.best.is_sorted_by(|a, b| a.cost <= b.cost), "{told:?}");
    for best in &told.best {
        assert!((best.billed + 80.0 * 3.0 * best.violation / 100.0 - best.cost).abs() < 1e-6, "{best:?}");
    }
    let mut none = Script::new(scaling(), START);
    assert!(none.region.pool("shop", none.now).unwrap().tuner.is_none());
}
