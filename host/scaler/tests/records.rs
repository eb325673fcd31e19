//! What a record tells beside the number: what is to come of it, what others would have, what became of the last.

mod script;
mod traces;

use std::sync::Arc;
use std::time::Duration;

use config::region::*;
use forebay_scaler as scaler;
use scaler::decision::Decision;
use scaler::engine::Way;
use scaler::foresight::{Forecast, Upper};
use scaler::peers::beside::Beside;
use scaler::peers::{Now, Passed, Past, Peer, Spec};
use scaler::replay::Lives;
use scaler::replay::excess::excess;
use scaler::replay::stack::Stack;
use scaler::{Event, Trouble};
use script::*;
use traces::demand;

const START: &str = "2026-03-02T12:00:00Z";

fn predictive() -> Scaling {
    let rule = Predictive { requests_per_origin: Some(10.0), price: 80.0, shadow: false };
    Scaling { ceiling: 1000, predictive: Some(rule), lead: secs(120), ..scaling() }
}

/// Origins of it are started and stopped as the script says.
fn carried_out() -> Scaling {
    let process = ProcessActuator {
        command: vec!["origin".into()],
        host: ProcessActuator::HOST,
        ready_path: "/".into(),
        boot_timeout: secs(120),
        stop_timeout: secs(30),
        state_dir: "state".into(),
    };
    Scaling { lead: secs(20), actuator: Actuator::Process(process), ..scaling() }
}

/// The counts that a rule of the simulator would have had, by its own loop.
fn simulated(spec: &str, first: u32, demand: &[f64], lives: &Lives) -> Vec<u32> {
    let spec: Spec = spec.parse().unwrap();
    let (mut peer, mut past, mut stack) = (Peer::new(spec, &[], 0, lives), Past::new(lives), Stack::new(first));
    let mut counts = Vec::new();
    for (step, brought) in demand.iter().enumerate() {
        let now = Now { step, ready: stack.ready(lives), total: stack.total() };
        let moved = stack.step(lives, peer.step(now, &past));
        counts.push(moved.total);
        past.push(Passed { demand: *brought, used: brought.min(moved.capacity), ready: f64::from(moved.ready) });
    }
    counts
}

#[test]
fn others_beside_a_live_pool_have_what_the_simulator_gives_them() {
    let demand = demand("elb-requests");
    let lives = Lives { boot: 120.0, warm: 0.0, ..Lives::default() };
    let mut beside = Beside::of(&predictive(), 24).unwrap();
    let (hpa, target) = (simulated("hpa:50", 24, &demand, &lives), simulated("tt:50", 24, &demand, &lives));
    assert!(hpa.iter().any(|count| *count != 24) && hpa != target, "the rules do something");
    for (step, brought) in demand.iter().enumerate() {
        let counts = beside.counts();
        let found: Vec<_> = counts.iter().map(|peer| (peer.rule.as_str(), peer.origins)).collect();
        assert_eq!(found, [("hpa:50", hpa[step]), ("tt:50", target[step])], "step {step}");
        beside.pass(Some(*brought));
    }
}

#[test]
fn what_others_would_have_stands_in_the_record_and_a_gap_moves_none_of_them() {
    let mut script = Script::new(predictive(), START);
    script.run(600, &[("e1", 100)]);
    let peers =
        |script: &Script| script.last().peers.iter().map(|peer| (peer.rule.clone(), peer.origins)).collect::<Vec<_>>();
    assert_eq!(peers(&script), [("hpa:50".into(), 20), ("tt:50".into(), 20)], "half of 10 each for 100");
    script.run(600, &[]);
    assert_eq!(peers(&script), [("hpa:50".into(), 20), ("tt:50".into(), 20)]);
    // Where only a target is known it is theirs too.
    let mut script = Script::new(Scaling { ceiling: 7, ..scaling() }, START);
    script.run(600, &[("e1", 60)]);
    assert_eq!(peers(&script), [("hpa:100".into(), 6), ("tt:100".into(), 6)]);
    script.run(600, &[("e1", 500)]);
    assert_eq!(peers(&script), [("hpa:100".into(), 7), ("tt:100".into(), 7)], "the ceiling is theirs too");
}

fn forecast(way: Way, level: f64, bounds: &[(f64, f64)]) -> Forecast {
    let quantiles = bounds.iter().map(|(quantile, demand)| Upper { quantile: *quantile, demand: *demand }).collect();
    Forecast { way, gate_open: true, level, quantiles, horizon_seconds: 180.0, rules: 1, rule: None, present: None }
}

#[test]
fn the_predicted_violation_is_that_of_a_peak_drawn_from_the_quantiles() {
    let bounds = [(0.7, 10.0), (0.9, 14.0), (0.97, 15.4)];
    let told = forecast(Way::Tuned, 8.0, &bounds);
    // The same, by the density of each piece: uniform between its ends. 2000 parts of each.
    let pieces = [(0.7, 8.0, 10.0), (0.2, 10.0, 14.0), (0.07, 14.0, 15.4), (0.03, 15.4, 16.0)];
    let mean = |of: &dyn Fn(f64) -> f64| -> f64 {
        let at = |from: f64, to: f64, i: usize| from + (to - from) * (i as f64 + 0.5) / 2000.0;
        pieces
            .iter()
            .map(|(part, from, to)| part / 2000.0 * (0..2000).map(|i| of(at(*from, *to, i))).sum::<f64>())
            .sum()
    };
    let peak = mean(&|peak| peak);
    for count in [5, 9, 12, 14, 17] {
        let found = told.predict(count, 9, 0.1).unwrap();
        let violation = |count: u32| 100.0 * mean(&|peak| excess(peak, f64::from(count), 0.1)) / peak;
        for (found, expected) in
            [(found.peak, peak), (found.violation, violation(count)), (found.one_less, violation(count - 1))]
        {
            assert!((found - expected).abs() < 0.02 + 0.005 * expected, "{count}: {found}, not {expected}");
        }
        assert!(found.one_less >= found.violation && found.serving == told.predict(9, 0, 0.1).unwrap().violation);
    }
    assert!(told.predict(5, 0, 0.1).unwrap().violation > 40.0 && told.predict(20, 0, 0.1).unwrap().violation < 0.1);
    assert_eq!(told.predict(0, 0, 0.1).unwrap().violation, 100.0, "nothing serves nobody");
    // Bounds that cross are as the lower of them says, one who knows nothing says nothing, and nothing is no share.
    let crossed = forecast(Way::Untuned, 8.0, &[(0.7, 12.0), (0.9, 10.0)]).predict(12, 0, 0.1).unwrap();
    let level = forecast(Way::Untuned, 8.0, &[(0.7, 12.0), (0.9, 12.0)]).predict(12, 0, 0.1).unwrap();
    assert_eq!(crossed, level);
    assert_eq!(forecast(Way::Cold, 8.0, &bounds).predict(12, 0, 0.1), None);
    assert_eq!(forecast(Way::Tuned, 0.0, &[(0.7, 0.0), (0.9, 0.0)]).predict(1, 0, 0.1), None);
}

#[test]
fn the_forecast_stands_in_the_record() {
    let mut script = Script::new(predictive(), START);
    assert!(script.region.pool("shop", script.now).unwrap().decision.is_none());
    script.run(8000, &[("e1", 100)]);
    let decision = script.last();
    let forecast = decision.forecast.as_ref().unwrap();
    assert_eq!((forecast.way, forecast.gate_open, forecast.rules), (Way::Untuned, false, 0));
    assert_eq!(forecast.quantiles.iter().map(|upper| upper.quantile).collect::<Vec<_>>(), [0.7, 0.9, 0.97]);
    assert!((forecast.level - 10.0).abs() < 1e-6 && forecast.horizon_seconds == 180.0, "{forecast:?}");
    let predicted = decision.predicted.unwrap();
    assert!(predicted.violation < predicted.one_less && predicted.one_less < 5.0, "{predicted:?}");
    assert_eq!(predicted.serving, 100.0, "a dry run serves nothing");
    let mut without = Script::new(scaling(), START);
    without.run(20, &[("e1", 100)]);
    assert!(without.last().forecast.is_none() && without.last().predicted.is_none());
}

fn seconds(decision: &Decision) -> (Option<f64>, Option<f64>) {
    let change = decision.change.as_ref().unwrap();
    (change.first_seconds, change.done_seconds)
}

#[test]
fn what_became_of_a_change_is_told_with_its_time() {
    let mut script = Script::new(carried_out(), START);
    script.run(5, &[("e1", 30)]);
    let asked = script.last().clone();
    let change = asked.change.as_ref().unwrap();
    assert_eq!((change.from, change.to, change.runs, seconds(&asked)), (0, 3, 0, (None, None)));
    let decided = change.at;
    let origins = [script.launch(), script.launch(), script.launch()];
    script.run(5, &[("e1", 30)]);
    assert_eq!((script.last().change.as_ref().unwrap().runs, seconds(script.last())), (3, (None, None)));
    assert_eq!(script.last().expected.unwrap().capacity.serving, 3);
    // Two are ready and warmed at the tenth second, the last at the fourteenth.
    let serve = |script: &mut Script, ready: usize, seconds: u64| {
        for _ in 0..seconds {
            script.pass();
            let warmed: Vec<_> = origins.iter().enumerate().map(|(i, origin)| (*origin, i < ready, 0)).collect();
            script.report_origins("e1", 30, &warmed);
        }
    };
    origins.iter().take(2).for_each(|origin| script.ready(*origin));
    serve(&mut script, 2, 4);
    let first = seconds(script.last()).0.expect("one serves");
    assert_eq!(seconds(script.last()).1, None, "and not all of them");
    script.ready(origins[2]);
    serve(&mut script, 3, 3);
    let (again, done) = seconds(script.last());
    assert_eq!(again, Some(first), "it is kept as it was");
    let done = done.expect("all of them serve");
    let passed = Duration::try_from(script.now.duration_since(decided)).unwrap().as_secs_f64();
    assert!(first < done && done <= passed, "{first} {done} {passed}");
    // A change of the load is another.
    script.run(15, &[("e1", 10)]);
    assert_eq!((script.last().change.as_ref().unwrap().to, seconds(script.last())), (1, (None, None)));
    script.ends(origins[2]);
    script.run(1, &[("e1", 10)]);
    assert!(seconds(script.last()).0.is_some() && seconds(script.last()).1.is_none(), "{:?}", script.last().change);
}

#[test]
fn capacity_that_never_comes_is_told_once_a_lead_is_over_and_is_news() {
    let mut script = Script::new(carried_out(), START);
    script.run(3, &[("e1", 50)]);
    let origins = [script.launch(), script.launch(), script.launch()];
    origins.iter().for_each(|origin| script.ready(*origin));
    let pass = |script: &mut Script, seconds: u64| {
        for _ in 0..seconds {
            script.pass();
            script.report_origins("e1", 50, &origins.map(|origin| (origin, true, 0)));
        }
    };
    pass(&mut script, 15);
    assert_eq!((script.count(), script.last().late.clone()), (5, None), "five may still come");
    let before = script.last().clone();
    pass(&mut script, 10);
    let late = script.last().late.clone().expect("they did not");
    assert_eq!((late.asked, late.serving), (5, 3));
    assert!(script.last().differs(&before), "which is news");
    pass(&mut script, 30);
    assert_eq!(script.last().late.as_ref().map(|kept| kept.since), Some(late.since));
    // What is not asked for any more is not missed.
    for _ in 0..40 {
        script.pass();
        script.report_origins("e1", 30, &origins.map(|origin| (origin, true, 0)));
    }
    assert_eq!((script.count(), script.last().late.clone()), (3, None));
    // One that crashes has a lead to be replaced in.
    script.ends(origins[0]);
    script.run(15, &[("e1", 30)]);
    assert_eq!((script.last().capacity.serving, script.last().late.clone()), (2, None));
    script.run(10, &[("e1", 30)]);
    let late = script.last().late.as_ref().map(|late| (late.asked, late.serving));
    assert_eq!(late, Some((3, 2)));
    let mut dry = Script::new(scaling(), START);
    dry.run(120, &[("e1", 50)]);
    assert!(dry.last().late.is_none() && dry.last().expected.is_none(), "nobody was asked");
}

#[test]
fn why_an_actuator_does_nothing_stands_in_the_record_and_is_news() {
    let mut script = Script::new(carried_out(), START);
    script.run(3, &[("e1", 50)]);
    let before = script.last().clone();
    let trouble = Trouble {
        at: script.now,
        action: "start".into(),
        error: "origin: no such file".into(),
        failures: 2,
        retry_at: Some(script.now + secs(4)),
    };
    script.apply(Event::Troubled { pool: "shop".into(), trouble: Some(trouble.clone()) });
    script.run(1, &[("e1", 50)]);
    assert_eq!(script.last().trouble, Some(trouble));
    assert!(script.last().differs(&before));
    script.apply(Event::Troubled { pool: "shop".into(), trouble: None });
    script.run(1, &[("e1", 50)]);
    assert_eq!(script.last().trouble, None);
}

#[test]
fn the_next_word_of_the_schedule_that_won_is_told_or_of_the_first_to_come() {
    let coming = |decision: &Decision| {
        let next = decision.next.clone().unwrap();
        (next.rule, next.what, next.at)
    };
    let later = Schedule { name: "later".into(), when: When::Cron("30 18 * * *".into()), floor: Some(2), ..evening() };
    let mut script = Script::new(Scaling { schedules: vec![evening(), later], ..scaling() }, "2026-03-02T16:00:00Z");
    script.run(1, &[("e1", 10)]);
    // 18:00 in Berlin, and a lead of a minute.
    assert_eq!(coming(script.last()), ("evening".into(), "begins".into(), at("2026-03-02T16:59:00Z")));
    script.now = at("2026-03-02T17:10:00Z");
    script.run(1, &[("e1", 10)]);
    assert_eq!(script.last().winner, "schedule evening");
    assert_eq!(coming(script.last()), ("evening".into(), "ends".into(), at("2026-03-02T19:00:00Z")));
    script.now = at("2026-03-02T17:40:00Z");
    script.run(1, &[("e1", 10)]);
    assert_eq!(coming(script.last()), ("later".into(), "ends".into(), at("2026-03-02T19:30:00Z")), "it began later");
    let mut none = Script::new(scaling(), START);
    none.run(1, &[("e1", 10)]);
    assert!(none.last().next.is_none());
}

#[test]
fn a_record_names_the_rules_that_it_was_made_under() {
    let version = |region: Arc<Region>| {
        let mut script = Script::with(region, START);
        script.run(1, &[("e1", 10)]);
        script.last().version.clone()
    };
    let first = version(region(scaling(), &[]));
    assert_eq!(first.config.len(), 16);
    assert!(first.engine.ends_with(&format!("/{}", scaler::engine::MODEL)), "{first:?}");
    assert_eq!(version(region(scaling(), &[])), first, "the same file in another run");
    assert_ne!(version(region(Scaling { ceiling: 9, ..scaling() }, &[])).config, first.config);
    let mut script = Script::new(scaling(), START);
    script.apply(Event::Configured(region(Scaling { ceiling: 9, ..scaling() }, &[])));
    script.run(1, &[("e1", 10)]);
    assert_ne!(script.last().version.config, first.config, "a reload");
}
