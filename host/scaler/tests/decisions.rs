//! How many: proposals, holds, steps, bounds, over time.

mod script;

use config::region::{Scaling, Step, Steps};
use forebay_scaler as scaler;
use scaler::decide::OperatorHold;
use scaler::{Decision, Event, Limit};
use script::*;

const NOON: &str = "2026-03-02T12:00:00Z";

#[test]
fn load_over_the_window_decides_and_the_line_says_so() {
    let mut script = Script::new(scaling(), NOON);
    script.run(12, &[("e1", 20), ("e2", 15)]);
    assert_eq!(script.count(), 4, "35 requests a second at 10 each");
    assert_eq!(
        script.last().line,
        "pool shop: 4 -> 4: reactive (35.0 requests/s over 10s x 1 / 10 per origin); ceiling 8"
    );
    let inputs = &script.last().inputs;
    assert_eq!(inputs.edges.iter().map(|edge| edge.edge.as_str()).collect::<Vec<_>>(), ["e1", "e2"]);
    assert!((inputs.requests_per_second.unwrap() - 35.0).abs() < 1e-6);
}

#[test]
fn a_record_names_the_edges_that_are_silent_the_longest_and_counts_the_rest() {
    let mut script = Script::new(config::region::Scaling { ceiling: 1000, ..scaling() }, NOON);
    let names: Vec<String> = (0..200).map(|edge| format!("e{edge:03}")).collect();
    let loads: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 10)).collect();
    script.run(3, &loads);
    assert_eq!(script.count(), 200, "each of them counts");
    // The last 150 go on.
    script.run(8, &loads[50..]);
    let inputs = &script.last().inputs;
    let of = |fresh: bool| inputs.edges.iter().filter(|edge| edge.fresh == fresh).count();
    assert_eq!((of(true), of(false), inputs.edges_more), (32, 32, 136));
    assert!(inputs.edges.iter().all(|edge| edge.fresh == (edge.edge.as_str() >= "e050")), "{:?}", inputs.edges);
    assert_eq!(script.count(), 200, "nor is one that is not named taken for gone");
}

#[test]
fn a_decrease_waits_until_nothing_in_the_window_wanted_more() {
    let mut setting = scaling();
    setting.stabilisation = secs(30);
    setting.reactive.as_mut().unwrap().window = secs(1);
    let mut script = Script::new(setting, NOON);
    script.run(5, &[("e1", 60)]);
    assert_eq!(script.count(), 6);
    script.run(10, &[("e1", 30)]);
    assert_eq!(script.count(), 6);
    assert_eq!(limits(script.last()), [Limit::Stabilisation]);
    assert!(
        script.last().line.contains("stabilisation 3 -> 6 (6 wanted, until 2026-03-02T12:00:3"),
        "{}",
        script.last().line
    );
    script.run(25, &[("e1", 10)]);
    assert_eq!(script.count(), 3, "6 has left the window, 3 has not");
    script.run(1, &[("e1", 70)]);
    assert_eq!(script.count(), 7, "an increase is never delayed");
    script.run(60, &[("e1", 10)]);
    assert_eq!(script.count(), 1);
}

#[test]
fn a_gap_in_reports_holds_the_pool() {
    let mut script = Script::new(scaling(), NOON);
    script.run(12, &[("e1", 40)]);
    assert_eq!(script.count(), 4);
    script.run(300, &[]);
    assert_eq!(script.count(), 4, "no data is not low load");
    assert!(script.last().line.starts_with("pool shop: 4 -> 4: hold (no fresh report)"), "{}", script.last().line);
    assert_eq!(script.last().inputs.requests_per_second, None, "not zero: unknown");
    script.run(12, &[("e1", 20)]);
    assert_eq!(script.count(), 2, "data lets it move again");
}

#[test]
fn a_lost_report_is_not_a_second_without_requests() {
    let mut script = Script::new(scaling(), NOON);
    script.run(10, &[("e1", 40)]);
    for second in 0..20 {
        let edges: &[(&str, u64)] = if second % 2 == 0 { &[("e1", 40)] } else { &[] };
        script.run(1, edges);
        assert_eq!(script.count(), 4, "{}", script.last().line);
    }
}

#[test]
fn a_silent_edge_keeps_the_pool_from_shrinking_until_it_is_forgotten() {
    let mut script = Script::new(scaling(), NOON);
    script.run(12, &[("e1", 30), ("e2", 30)]);
    assert_eq!(script.count(), 6);
    script.run(60, &[("e1", 30)]);
    assert_eq!(script.count(), 6, "where the other half went is not known");
    assert_eq!(script.last().holds, ["no data: no fresh report from e2: 50 % of the demand, under 70 %"]);
    script.run(10, &[("e1", 40)]);
    assert_eq!(script.count(), 7, "what is seen may still raise it");
    script.run(820, &[("e1", 30)]);
    assert_eq!(script.count(), 7, "nor after minutes");
    script.run(20, &[("e1", 30)]);
    assert_eq!(script.count(), 3, "an edge that is silent for a quarter of an hour is gone");
}

#[test]
fn without_reports_schedules_and_the_floor_still_act_upward() {
    let mut setting = scaling();
    setting.schedules = vec![evening()];
    setting.floor = 2;
    let mut script = Script::new(setting, "2026-03-02T16:58:50Z");
    script.run(5, &[]);
    assert_eq!(script.count(), 2, "the floor");
    assert_eq!(limits(script.last()), []);
    assert_eq!(limits(&script.decisions[0]), [Limit::Floor]);
    script.run(10, &[]);
    assert_eq!(script.count(), 5, "the schedule");
    script.now = at("2026-03-02T19:30:00Z");
    script.run(5, &[]);
    assert_eq!(script.count(), 5, "and nothing shrinks blindly after it");
}

#[test]
fn steps_bound_one_decision_each_way() {
    let mut setting = scaling();
    (setting.step_up, setting.step_down) = (2.into(), 1.into());
    setting.reactive.as_mut().unwrap().window = secs(1);
    let mut script = Script::new(setting, NOON);
    let mut counts = Vec::new();
    for load in [70, 70, 70, 70, 70, 10, 10, 10] {
        script.run(1, &[("e1", load)]);
        counts.push(script.count());
    }
    assert_eq!(counts, [2, 4, 6, 7, 7, 6, 5, 4]);
    assert_eq!(limits(script.last()), [Limit::StepDown]);
    assert_eq!(limits(&script.decisions[0]), [Limit::StepUp]);
}

#[test]
fn a_step_over_a_time_counts_what_was_added_in_it_however_often_it_is_decided() {
    let mut setting = Scaling { ceiling: 40, ..scaling() };
    setting.step_up = Steps(vec![
        Step { origins: 4, percent: 0, within: None },
        Step { origins: 6, percent: 50, within: Some(secs(60)) },
    ]);
    setting.reactive.as_mut().unwrap().window = secs(1);
    let mut script = Script::new(setting, NOON);
    let mut counts = Vec::new();
    for _ in 0..4 {
        script.run(1, &[("e1", 400)]);
        counts.push(script.count());
    }
    assert_eq!(counts, [4, 6, 6, 6], "4 at once, 6 in the minute");
    let clamp = script.last().clamps.first().unwrap();
    assert_eq!((clamp.limit, &clamp.because[..]), (Limit::StepUp, "at most 4 more at once"));
    let clamp = &script.last().clamps[1];
    assert_eq!((clamp.limit, &clamp.because[..]), (Limit::StepUp, "at most 6 or 50 % in 60 s more, 6 of them done"));
    script.run(56, &[("e1", 400)]);
    assert_eq!(script.count(), 6, "the first four are a minute old in a second");
    script.run(60, &[("e1", 400)]);
    assert_eq!(script.count(), 12, "6, as half of 6 is less");
    script.run(60, &[("e1", 400)]);
    script.run(60, &[("e1", 400)]);
    assert_eq!(script.count(), 27, "half of 18 is more");
}

#[test]
fn a_step_down_over_a_time_takes_no_more_than_its_part() {
    let mut setting = Scaling { ceiling: 40, ..scaling() };
    setting.step_down = Step { origins: 0, percent: 20, within: Some(secs(30)) }.into();
    setting.reactive.as_mut().unwrap().window = secs(1);
    let mut script = Script::new(setting, NOON);
    script.run(31, &[("e1", 200)]);
    assert_eq!(script.count(), 20);
    script.run(1, &[("e1", 100)]);
    assert_eq!(script.count(), 16, "a fifth of 20");
    script.run(29, &[("e1", 100)]);
    assert_eq!(script.count(), 16);
    script.run(1, &[("e1", 100)]);
    assert_eq!(script.count(), 12, "a fifth of 16 is 4, rounded up");
}

#[test]
fn a_decrease_by_less_than_the_tolerance_is_none_and_an_increase_by_one_is_one() {
    let mut setting = Scaling { ceiling: 200, ..scaling() };
    setting.reactive.as_mut().unwrap().window = secs(1);
    let mut script = Script::new(setting, NOON);
    script.run(1, &[("e1", 1000)]);
    assert_eq!(script.count(), 100);
    script.run(1, &[("e1", 980)]);
    assert_eq!(script.count(), 100, "2 are under 3 %");
    assert_eq!(limits(script.last()), [Limit::Tolerance]);
    assert_eq!(script.last().clamps[0].because, "2 fewer are under 3 % of 100");
    script.run(1, &[("e1", 1010)]);
    assert_eq!(script.count(), 101);
    script.run(1, &[("e1", 970)]);
    assert_eq!(script.count(), 97, "4 are over 3 % of 101");
    script.run(1, &[("e1", 300)]);
    script.run(1, &[("e1", 290)]);
    assert_eq!(script.count(), 29, "one origin is never too little");
}

#[test]
fn a_ceiling_that_binds_says_so() {
    let mut script = Script::new(scaling(), NOON);
    script.run(12, &[("e1", 120)]);
    assert_eq!(script.count(), 8);
    assert_eq!(script.last().want, 12);
    assert!(script.last().line.ends_with("; ceiling 8 binds (wanted 12)"), "{}", script.last().line);
    assert_eq!(script.last().clamps.last().unwrap().limit, Limit::Ceiling);
}

#[test]
fn after_a_restart_the_count_stands_and_may_go_up_at_once_but_not_down() {
    let mut setting = scaling();
    setting.stabilisation = secs(20);
    let mut script = Script::new(setting.clone(), NOON);
    script.apply(Event::Adopted { pool: "shop".into(), origins: 6 });
    script.run(1, &[("e1", 10)]);
    assert_eq!((script.last().from, script.count()), (6, 6));
    assert!(script.last().holds.iter().any(|hold| hold.starts_with("take-over")), "{:?}", script.last().holds);
    script.run(15, &[("e1", 10)]);
    assert_eq!(script.count(), 6, "what was wanted before the restart is not known: a whole window");
    script.run(10, &[("e1", 10)]);
    assert_eq!(script.count(), 1);

    let mut script = Script::new(setting, NOON);
    script.apply(Event::Adopted { pool: "shop".into(), origins: 3 });
    script.run(1, &[("e1", 80)]);
    assert_eq!((script.last().from, script.count()), (3, 8));
}

#[test]
fn what_runs_is_adopted_where_no_journal_says_more() {
    let mut script = Script::new(scaling(), NOON);
    let addresses: Vec<_> = (0..4).map(|_| script.launch()).collect();
    let origins = std::mem::take(&mut script.origins);
    let mut script = Script::new(scaling(), NOON);
    script.region = scaler::Region::new(&region(scaling(), &[]), script.now);
    script.origins = origins;
    script.observe();
    script.run(1, &[("e1", 10)]);
    assert_eq!((script.last().from, script.count()), (4, 4));
    assert!(script.step().pools["shop"].stop.is_empty(), "none of {addresses:?} is stopped");
}

#[test]
fn an_operator_holds_a_pool_until_the_hold_ends_and_never_out_of_its_bounds() {
    let mut script = Script::new(scaling(), NOON);
    script.run(12, &[("e1", 40)]);
    let hold =
        |both_ways| OperatorHold { both_ways, until: Some(at("2026-03-02T12:01:00Z")), because: "a sale is on".into() };
    script.apply(Event::Held { pool: "shop".into(), hold: Some(hold(false)) });
    script.run(12, &[("e1", 10)]);
    assert_eq!((script.count(), limits(script.last())), (4, vec![Limit::Operator]));
    let told = "operator: until 2026-03-02T12:01:00Z: a sale is on".to_string();
    assert_eq!((&script.last().holds, &script.last().operator), (&vec![told], &Some(hold(false))));
    script.run(12, &[("e1", 60)]);
    assert_eq!(script.count(), 6, "this hold is for decreases");
    script.apply(Event::Held { pool: "shop".into(), hold: Some(hold(true)) });
    script.run(12, &[("e1", 80)]);
    assert_eq!(script.count(), 6);
    let mut raised = scaling();
    raised.floor = 7;
    script.apply(Event::Configured(region(raised, &[])));
    script.run(1, &[("e1", 80)]);
    assert_eq!(script.count(), 7, "the floor comes last");
    script.run(20, &[("e1", 80)]);
    assert_eq!(script.count(), 8, "the hold has ended");
    assert_eq!((script.last().operator.clone(), script.view().operator), (None, None));
}

#[test]
fn listed_origins_count_for_the_pool_and_are_not_asked_of_the_actuator() {
    let listed = ["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()];
    let mut script = Script::with(region(scaling(), &listed), NOON);
    script.run(12, &[("e1", 50)]);
    assert_eq!(script.count(), 5);
    assert_eq!(script.step().pools["shop"].run, Some(3));
    assert_eq!(script.last().capacity.serving, 2);
}

#[test]
fn a_decision_that_was_not_recorded_does_not_stand() {
    let mut script = Script::new(scaling(), NOON);
    for _ in 0..3 {
        script.pass();
        script.report("e1", 60);
        let actions = script.region.next(script.now);
        assert_eq!((actions.decisions[0].from, actions.decisions[0].to), (0, 6), "decided anew each tick");
        assert_eq!(actions.pools["shop"].run, None, "and nothing follows from it");
    }
    script.pass();
    script.step();
    assert_eq!(script.step().pools["shop"].run, Some(6));
}

#[test]
fn deciding_twice_changes_nothing() {
    let mut setting = scaling();
    setting.step_up = 2.into();
    let mut script = Script::new(setting, NOON);
    script.run(1, &[("e1", 80)]);
    let (count, decisions) = (script.count(), script.decisions.len());
    let first = script.step();
    for _ in 0..10 {
        assert_eq!(script.step(), first);
    }
    assert_eq!((script.count(), script.decisions.len()), (count, decisions), "one decision a tick");
}

#[test]
fn a_clock_that_was_set_back_stops_nothing() {
    let mut script = Script::new(scaling(), NOON);
    script.run(12, &[("e1", 40)]);
    script.now = at("2026-03-02T09:00:00Z");
    let before = script.decisions.len();
    script.run(12, &[("e1", 60)]);
    assert!(script.decisions.len() >= before + 12, "it goes on deciding");
    assert_eq!(script.count(), 6);
}

#[test]
fn a_decision_survives_its_json() {
    let mut setting = scaling();
    setting.schedules = vec![evening()];
    let mut script = Script::new(setting, "2026-03-02T17:00:00Z");
    script.run(5, &[("e1", 120)]);
    let text = serde_json::to_string(script.last()).unwrap();
    let back: Decision = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&back).unwrap(), text);
    for field in [
        "\"at\":\"2026-03-02T17:00:05.000Z\"",
        "\"source\":\"schedule\"",
        "\"rule\":\"evening\"",
        "\"limit\":\"ceiling\"",
    ] {
        assert!(text.contains(field), "{field} in {text}");
    }
    let actions = script.step();
    assert_eq!(serde_json::from_str::<scaler::Actions>(&serde_json::to_string(&actions).unwrap()).unwrap(), actions);
}
