//! What plugins ask for: weighed, clamped, told with who asked, and gone with its time.

mod script;

use std::time::Duration;

use config::region::{HintKind, Hints, Scaling};
use forebay_scaler as scaler;
use scaler::{Event, Limit};
use script::*;

const NOON: &str = "2026-03-02T12:00:00Z";

fn hinted(kinds: &[HintKind], add: u32) -> Scaling {
    let hints = Hints { kinds: kinds.to_vec(), add, longest: secs(120), per_second: 10 };
    Scaling { hints: Some(hints), ..scaling() }
}

#[test]
fn a_prewarm_adds_what_the_policy_allows_and_the_record_says_who_asked_and_what_was_clamped() {
    let mut script = Script::new(hinted(&HintKind::ALL, 2), NOON);
    script.run(12, &[("e1", 10)]);
    assert_eq!((script.count(), script.last().hinted.clone()), (1, None), "nobody asked yet");
    script.pass();
    script.hint("e1", 10, &[("warmer", "prewarm", 6.0, 30, 0)]);
    assert_eq!(
        script.last().line,
        "pool shop: 1 -> 3: hint (prewarm 6 by warmer at e1; 3 of 6 (at most 2 over the floor 1)) over reactive 1; \
         ceiling 8"
    );
    let told = script.last().hinted.clone().unwrap();
    assert_eq!(told.want, Some(6));
    let clamp = told.clamped.unwrap();
    assert_eq!((clamp.limit, clamp.before, clamp.after), (Limit::Hints, 6, 3));
    let asked = &told.asked[0];
    assert_eq!((asked.edge.as_str(), asked.plugin.as_str(), asked.kind.as_str()), ("e1", "warmer", "prewarm"));
    assert_eq!((asked.value, asked.ttl_seconds, asked.refused.clone()), (6.0, 30.0, None));
    let json = serde_json::to_value(script.last()).unwrap();
    assert_eq!(json["hinted"]["asked"][0]["plugin"], "warmer", "the journal has it too");
    // The edge says nothing of it any more: it was taken back.
    script.run(1, &[("e1", 10)]);
    assert_eq!((script.count(), script.last().hinted.clone()), (1, None));
}

#[test]
fn what_a_silent_edge_asked_for_ends_with_its_time_and_not_before() {
    let mut script = Script::new(hinted(&HintKind::ALL, 4), NOON);
    script.run(12, &[("e1", 10), ("e2", 10)]);
    script.hint("e2", 0, &[("warmer", "prewarm", 5.0, 20, 0)]);
    assert_eq!(script.count(), 5);
    // Its hint ends at 20 s; but an edge that is missing lets nothing shrink for a quarter of an hour.
    script.run(19, &[("e1", 10)]);
    assert!(script.last().hinted.is_some());
    script.run(1, &[("e1", 10)]);
    assert_eq!((script.last().hinted.clone(), script.count()), (None, 5));
    script.run(890, &[("e1", 10)]);
    assert_eq!(script.count(), 1);
}

#[test]
fn a_hint_stands_no_longer_than_the_longest() {
    let mut script = Script::new(hinted(&[HintKind::Prewarm], 4), NOON);
    script.hint("e1", 10, &[("warmer", "prewarm", 3.0, 1_000_000, 0)]);
    assert_eq!(script.last().hinted.as_ref().unwrap().asked[0].ttl_seconds, 120.0);
}

#[test]
fn a_prewarm_by_a_time_begins_its_lead_before_it() {
    let mut script = Script::new(hinted(&[HintKind::Prewarm], 4), NOON);
    script.run(12, &[("e1", 10)]);
    for second in 0..80 {
        script.pass();
        script.hint("e1", 10, &[("warmer", "prewarm", 4.0, 110 - second, 90 - second)]);
        // The lead is 60 s.
        let wanted = if second < 30 { 1 } else { 4 };
        assert_eq!(script.count(), wanted, "after {second} s: {}", script.last().line);
    }
}

#[test]
fn a_hint_is_decided_on_at_once_and_its_turns_are_woken_for() {
    let mut slow = (*region(hinted(&HintKind::ALL, 4), &[])).clone();
    slow.aggregator.as_mut().unwrap().tick = secs(40);
    slow.aggregator.as_mut().unwrap().stale_after = secs(100);
    let mut script = Script::with(slow.into(), NOON);
    script.run(2, &[("e1", 10)]);
    let decided = script.decisions.len();
    script.pass();
    script.hint("e1", 10, &[("warmer", "prewarm", 3.0, 25, 0)]);
    assert_eq!((script.decisions.len(), script.count()), (decided + 1, 3), "not at the next tick");
    let wake = script.step().wake_at;
    assert_eq!(wake, script.now + secs(25), "when it ends");
    script.hint("e1", 10, &[("warmer", "prewarm", 3.0, 25, 0)]);
    assert_eq!(script.decisions.len(), decided + 1, "the same again is no news");
}

#[test]
fn demand_of_edges_and_plugins_adds_up_to_what_is_seen() {
    let mut script = Script::new(hinted(&[HintKind::Demand], 5), NOON);
    script.run(12, &[("e1", 10), ("e2", 10)]);
    assert_eq!(script.count(), 2);
    script.pass();
    script.hint("e1", 10, &[("sale", "demand", 15.0, 30, 0), ("batch", "demand", 5.0, 30, 0)]);
    script.hint("e2", 10, &[("sale", "demand", 10.0, 30, 0)]);
    assert_eq!(script.count(), 5, "{}", script.last().line);
    assert!(
        script.last().line.contains("demand 15 by sale at e1, demand 5 by batch at e1, demand 10 by sale at e2"),
        "{}",
        script.last().line
    );
}

#[test]
fn a_cost_counts_a_request_for_more_than_one() {
    for (kinds, wanted) in [(&HintKind::ALL[..], 3), (&[HintKind::Demand][..], 1)] {
        let mut script = Script::new(hinted(kinds, 5), NOON);
        for _ in 0..12 {
            script.pass();
            let costs = [("weigher".to_owned(), 20.0)].into();
            let pool = wire::PoolReport { requests: 10, costs, ..wire::PoolReport::default() };
            let report = script.make_report("e1", pool);
            script.apply(Event::Report(report));
            script.step();
        }
        assert_eq!(script.count(), wanted, "{}", script.last().line);
        let asked = &script.last().hinted.as_ref().unwrap().asked[0];
        assert_eq!((asked.kind.as_str(), asked.plugin.as_str(), asked.value), ("cost", "weigher", 20.0));
        assert_eq!(asked.refused.is_some(), wanted == 1);
    }
}

#[test]
fn a_hold_keeps_the_pool_from_shrinking_while_it_stands_and_lets_it_grow() {
    let mut script = Script::new(hinted(&[HintKind::Hold], 0), NOON);
    script.run(12, &[("e1", 50)]);
    assert_eq!(script.count(), 5);
    for _ in 0..30 {
        script.pass();
        script.hint("e1", 5, &[("deploy", "hold", 1.0, 20, 0)]);
        assert_eq!(script.count(), 5);
    }
    assert_eq!(limits(script.last()), [Limit::Hint]);
    assert!(script.last().holds[0].starts_with("hint: deploy at e1 holds it until "), "{:?}", script.last().holds);
    for _ in 0..12 {
        script.pass();
        script.hint("e1", 70, &[("deploy", "hold", 1.0, 20, 0)]);
    }
    assert_eq!(script.count(), 7, "up it may go");
    script.run(12, &[("e1", 5)]);
    assert_eq!(script.count(), 1);
}

#[test]
fn a_pool_that_takes_no_hints_does_as_if_there_were_none() {
    let mut script = Script::new(scaling(), NOON);
    script.run(12, &[("e1", 10)]);
    let line = script.last().line.clone();
    script.pass();
    script.hint("e1", 10, &[("warmer", "prewarm", 6.0, 30, 0), ("warmer", "hold", 1.0, 30, 0)]);
    assert_eq!((script.last().line.clone(), script.last().hinted.clone()), (line, None));
}

#[test]
fn a_kind_that_does_not_count_is_told_as_refused_and_one_of_the_future_is_passed_over() {
    let mut script = Script::new(hinted(&[HintKind::Hold], 4), NOON);
    script.run(12, &[("e1", 10)]);
    script.pass();
    script.hint("e1", 10, &[("warmer", "prewarm", 6.0, 30, 0), ("warmer", "teleport", 6.0, 30, 0)]);
    assert_eq!(script.count(), 1);
    let asked = &script.last().hinted.as_ref().unwrap().asked;
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].refused.as_deref(), Some("the pool takes only hold"));
}

#[test]
fn the_bounds_of_the_pool_hold_over_any_hint() {
    let mut script = Script::new(hinted(&HintKind::ALL, 1_000), NOON);
    script.run(12, &[("e1", 10)]);
    script.pass();
    script.hint("e1", 10, &[("warmer", "prewarm", 500.0, 30, 0), ("warmer", "demand", 1e9, 30, 0)]);
    assert_eq!(script.count(), 8);
    assert!(limits(script.last()).contains(&Limit::Ceiling));
    let mut setting = hinted(&HintKind::ALL, 4);
    setting.step_up = 1.into();
    let mut script = Script::new(setting, NOON);
    script.run(12, &[("e1", 10)]);
    script.pass();
    script.hint("e1", 10, &[("warmer", "prewarm", 5.0, 30, 0)]);
    assert_eq!((script.count(), limits(script.last())), (2, vec![Limit::StepUp]));
}

#[test]
fn a_hint_that_no_edge_can_have_makes_the_report_impossible() {
    for (value, plugin) in [(-1.0, "p".to_owned()), (f64::INFINITY, "p".to_owned()), (1.0, "p".repeat(300))] {
        let mut script = Script::new(hinted(&HintKind::ALL, 4), NOON);
        let hint = wire::Hint { plugin, kind: "prewarm".into(), value, ttl_ms: 1_000, due_ms: 0 };
        let pool = wire::PoolReport { hints: vec![hint], ..wire::PoolReport::default() };
        let report = script.make_report("e1", pool);
        let refused = script.region.apply(Event::Report(report), script.now).unwrap_err();
        assert!(refused.detail.starts_with("pools.shop.hints: "), "{}", refused.detail);
    }
    let mut script = Script::new(hinted(&HintKind::ALL, 4), NOON);
    let pool = wire::PoolReport { costs: [("p".to_owned(), 1e18)].into(), ..wire::PoolReport::default() };
    let report = script.make_report("e1", pool);
    assert!(script.region.apply(Event::Report(report), script.now).is_err());
}

#[test]
fn a_rule_that_is_taken_away_takes_the_hints_with_it() {
    let mut script = Script::new(hinted(&HintKind::ALL, 4), NOON);
    script.run(12, &[("e1", 10)]);
    script.pass();
    script.hint("e1", 10, &[("warmer", "prewarm", 4.0, 60, 0)]);
    assert_eq!(script.count(), 4);
    script.apply(Event::Configured(region(scaling(), &[])));
    script.now += Duration::from_secs(1);
    script.report("e1", 10);
    script.step();
    assert_eq!((script.count(), script.last().hinted.clone()), (1, None));
}
