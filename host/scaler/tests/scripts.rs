//! Policy plugins: what they are asked, what their answers count for, and what becomes of a pool whose script
//! says nothing any more.

mod script;

use std::sync::Arc;

use config::region::*;
use forebay_scaler as scaler;
use scaler::{Answer, Event, Limit};
use script::*;

const NOON: &str = "2026-03-02T12:00:00Z";

/// A use of the plugin of that name.
fn named(name: &str) -> RoutePlugin {
    let plugin = Plugin {
        name: name.into(),
        code: PluginCode::Lua("/p/main.lua".into()),
        trusted: false,
        lua_path: Vec::new(),
        vm_config: String::new(),
        config: String::new(),
        limits: PluginLimits::default(),
        capabilities: Vec::new(),
        on_fault: FaultPolicy::default(),
        isolation: Isolation::default(),
        crash_budget: CrashBudget::default(),
    };
    let (limits, crash_budget) = (plugin.limits.clone(), plugin.crash_budget.clone());
    let (on_fault, isolation) = (plugin.on_fault, plugin.isolation);
    RoutePlugin { plugin: Arc::new(plugin), config: String::new(), on_fault, isolation, limits, crash_budget }
}

fn scripted(names: &[&str]) -> Scaling {
    Scaling { scripts: names.iter().map(|name| named(name)).collect(), ..scaling() }
}

/// The script `cpu` answers, and the pool is decided on.
fn say(script: &mut Script, answer: Answer) {
    script.apply(Event::Scripted { pool: "shop".into(), script: "cpu".into(), answer });
    script.step();
}

fn propose(script: &mut Script, origins: u32, because: &str) {
    say(script, Answer::Proposed { origins, because: because.into() });
}

fn because(script: &Script) -> String {
    let proposals = &script.last().proposals;
    proposals.iter().find(|one| one.label() == "script cpu").expect("it is in the record").because.clone()
}

#[test]
fn a_script_proposes_and_the_largest_wins_within_the_bounds() {
    let mut script = Script::new(scripted(&["cpu"]), NOON);
    script.run(12, &[("e1", 10)]);
    assert_eq!((script.count(), because(&script).as_str()), (1, "no answer yet"));
    propose(&mut script, 5, "cpu 91 %");
    assert_eq!(script.last().line, "pool shop: 1 -> 5: script cpu (cpu 91 %) over reactive 1; ceiling 8");
    propose(&mut script, 50, "cpu 99 %");
    assert_eq!((script.count(), limits(script.last())), (8, vec![Limit::Ceiling]));
    propose(&mut script, 0, "nobody is there");
    assert_eq!((script.count(), script.last().winner.as_str()), (1, "reactive"), "it takes nothing from the others");
    script.run(1, &[("e1", 60)]);
    propose(&mut script, 2, "cpu 40 %");
    script.run(10, &[("e1", 60)]);
    assert_eq!((script.count(), script.last().winner.as_str()), (6, "reactive"));
}

#[test]
fn holds_and_steps_apply_to_what_a_script_proposes() {
    let setting = Scaling { step_up: 2.into(), stabilisation: secs(30), ..scripted(&["cpu"]) };
    let mut script = Script::new(setting, NOON);
    script.run(12, &[("e1", 10)]);
    propose(&mut script, 7, "cpu 91 %");
    assert_eq!((script.count(), limits(script.last())), (3, vec![Limit::StepUp]));
    script.run(1, &[("e1", 10)]);
    assert_eq!(script.count(), 5);
    propose(&mut script, 1, "cpu 10 %");
    script.run(1, &[("e1", 10)]);
    assert_eq!((script.count(), limits(script.last())), (5, vec![Limit::Stabilisation]), "7 were wanted just now");
}

#[test]
fn a_script_is_asked_once_a_tick_and_shown_what_the_decision_saw() {
    let mut script = Script::new(scripted(&["cpu"]), NOON);
    script.run(31, &[("e1", 10), ("e2", 20)]);
    assert_eq!(script.questions.len(), 31);
    // Decisions between ticks ask nothing.
    propose(&mut script, 4, "a");
    propose(&mut script, 5, "b");
    assert_eq!((script.questions.len(), script.count()), (31, 5));
    let question = script.questions.last().unwrap().clone();
    assert_eq!((question.pool.as_str(), question.script.as_str()), ("shop", "cpu"));
    let shown = serde_json::to_value(&question.metrics).unwrap();
    assert_eq!(shown["now"], script.now.as_second() as f64);
    assert_eq!(
        shown["origins"],
        serde_json::json!({
            "desired": 3, "floor": 1, "ceiling": 8, "booting": 0, "warming": 0, "serving": 0, "draining": 0, "warm": 0
        })
    );
    assert_eq!((&shown["requests_per_second"], &shown["window"]), (&30.0.into(), &10.0.into()));
    assert_eq!((&shown["lead"], &shown["in_flight"]), (&60.0.into(), &0.into()));
    assert_eq!(shown["edges"], serde_json::json!({ "fresh": 2, "missing": 0 }));
    let series = shown["series"].as_array().unwrap();
    let seconds: Vec<_> = series.iter().map(|step| step["at"].as_i64().unwrap() - at(NOON).as_second()).collect();
    assert_eq!(seconds, [0, 15, 30], "three steps, the present one included");
    assert!(series.iter().all(|step| step["requests_per_second"] == 30.0), "{series:?}");
    let proposed: Vec<_> = question.metrics.proposals.iter().map(|one| one.label()).collect();
    assert_eq!(proposed, ["reactive"], "its own are not shown to it");
    assert!(shown.get("forecast").is_none() && shown.get("schedule").is_none(), "what is not there is missing");
}

#[test]
fn the_past_that_a_script_is_shown_is_ten_minutes_and_a_gap_is_a_gap() {
    let mut script = Script::new(scripted(&["cpu"]), NOON);
    script.run(300, &[("e1", 10)]);
    script.run(120, &[]);
    script.run(605, &[("e1", 20)]);
    let seen = &script.questions.last().unwrap().metrics.series;
    assert_eq!(seen.len(), 40);
    assert!(seen[1..].iter().all(|step| (step.requests_per_second - 20.0).abs() < 1e-9), "{seen:?}");
    script.run(200, &[]);
    let seen = &script.questions.last().unwrap().metrics.series;
    assert_eq!(seen.len(), 27, "the steps that nobody reported are missing");
}

#[test]
fn a_script_sees_what_schedules_hold_and_what_is_foreseen() {
    let predictive = Some(Predictive { requests_per_origin: Some(10.0), price: 80.0, shadow: false });
    let setting = Scaling { schedules: vec![evening()], predictive, ..scripted(&["cpu"]) };
    let mut script = Script::new(setting, "2026-03-02T17:00:00Z");
    script.run(40, &[("e1", 10)]);
    let seen = &script.questions.last().unwrap().metrics;
    assert_eq!(seen.schedule, [("floor".to_owned(), 5.0)].into());
    let forecast = seen.forecast.as_ref().expect("a step is over");
    assert!((forecast.level - 1.0).abs() < 0.1, "in origins: {forecast:?}");
    assert!(!forecast.quantiles.is_empty() && forecast.horizon_seconds >= 120.0, "{forecast:?}");
    let proposed: Vec<_> = seen.proposals.iter().map(|one| one.label()).collect();
    assert_eq!(proposed, ["reactive", "predictive", "schedule evening"]);
}

#[test]
fn the_same_answer_again_is_no_news() {
    let mut script = Script::new(scripted(&["cpu"]), NOON);
    script.run(12, &[("e1", 10)]);
    propose(&mut script, 4, "cpu 80 %");
    let decided = script.decisions.len();
    propose(&mut script, 4, "cpu 81 %");
    assert_eq!(script.decisions.len(), decided);
    script.run(1, &[("e1", 10)]);
    assert_eq!(because(&script), "cpu 81 %", "the next tick tells it");
    let unknown = Event::Scripted { pool: "shop".into(), script: "other".into(), answer: Answer::Nothing };
    script.apply(unknown);
    script.step();
    assert_eq!(script.decisions.len(), decided + 1, "of a script that is not the pool's");
}

#[test]
fn a_script_that_falls_silent_takes_nothing_away_until_it_is_no_more_waited_for() {
    let mut script = Script::new(scripted(&["cpu"]), NOON);
    script.run(12, &[("e1", 10)]);
    propose(&mut script, 5, "cpu 91 %");
    script.run(5, &[("e1", 10)]);
    assert_eq!((script.last().winner.as_str(), script.count()), ("script cpu", 5), "its answer stands for 5 s");
    script.run(1, &[("e1", 10)]);
    assert_eq!((script.last().winner.as_str(), script.count()), ("reactive", 5));
    assert_eq!(limits(script.last()), [Limit::Script]);
    assert_eq!(because(&script), "no answer for 6s");
    assert!(script.last().line.contains("script 1 -> 5 (script cpu is silent; 5 at 2026-03-02T12:00:12Z)"));
    // It is no ceiling: more load gets more.
    script.run(20, &[("e1", 70)]);
    assert_eq!(script.count(), 7);
    script.run(40, &[("e1", 10)]);
    assert_eq!(script.count(), 5, "and no more is kept than it wanted");
    script.run(58, &[("e1", 10)]);
    assert_eq!(script.count(), 5);
    script.run(2, &[("e1", 10)]);
    assert_eq!((script.count(), limits(script.last())), (1, vec![]), "two minutes are over");
}

#[test]
fn a_script_that_fails_is_told_in_the_record_and_changes_nothing_else() {
    let mut script = Script::new(scripted(&["cpu"]), NOON);
    script.run(12, &[("e1", 10)]);
    propose(&mut script, 5, "cpu 91 %");
    let before = script.last().clone();
    say(&mut script, Answer::Silent("TRAP: main.lua:3: attempt to index nil\nstack".into()));
    assert_eq!((script.count(), because(&script).as_str()), (5, "TRAP: main.lua:3: attempt to index nil"));
    assert!(script.last().differs(&before), "the journal has it");
    let before = script.last().clone();
    script.run(1, &[("e1", 10)]);
    say(&mut script, Answer::Silent("CPU: ran longer".into()));
    assert!(!script.last().differs(&before), "and has it once");
    script.run(9, &[("e1", 70)]);
    assert!(script.count() > 5, "the other rules go on: {}", script.last().line);
    propose(&mut script, 8, "cpu 97 %");
    assert_eq!((script.count(), script.last().winner.as_str()), (8, "script cpu"), "and it is heard again");
}

#[test]
fn where_only_a_silent_script_would_propose_the_count_stands() {
    let mut script = Script::new(Scaling { reactive: None, ..scripted(&["cpu"]) }, NOON);
    script.run(2, &[("e1", 10)]);
    propose(&mut script, 4, "cpu 80 %");
    script.run(600, &[("e1", 10)]);
    assert_eq!((script.count(), script.last().winner.as_str()), (4, "hold"), "{}", script.last().line);
    say(&mut script, Answer::Nothing);
    assert_eq!((script.count(), script.last().winner.as_str()), (1, "floor"), "who has nothing to say is heard");
    script.run(600, &[("e1", 10)]);
    assert_eq!(script.count(), 1);
}

#[test]
fn of_a_script_that_has_never_answered_nobody_knows_so_nothing_is_taken_away_at_once() {
    let mut script = Script::new(scripted(&["cpu"]), NOON);
    script.run(12, &[("e1", 60)]);
    assert_eq!(script.count(), 6);
    script.run(60, &[("e1", 10)]);
    assert_eq!((script.count(), limits(script.last())), (6, vec![Limit::Script]));
    script.run(60, &[("e1", 10)]);
    assert_eq!(script.count(), 1, "it is waited for no longer than a silent edge");
}

#[test]
fn of_several_scripts_each_proposes_and_one_that_is_silent_keeps_its_own() {
    let mut script = Script::new(scripted(&["cpu", "queue"]), NOON);
    script.run(12, &[("e1", 10)]);
    let two = Answer::Proposed { origins: 2, because: "queue of 3".into() };
    script.apply(Event::Scripted { pool: "shop".into(), script: "queue".into(), answer: two });
    propose(&mut script, 6, "cpu 91 %");
    assert_eq!((script.count(), script.last().winner.as_str()), (6, "script cpu"));
    let asked: Vec<_> = script.questions.iter().rev().take(2).map(|question| question.script.as_str()).collect();
    assert_eq!(asked, ["queue", "cpu"]);
    for _ in 0..10 {
        script.run(1, &[("e1", 10)]);
        propose(&mut script, 1, "cpu 10 %");
    }
    assert_eq!((script.count(), limits(script.last())), (2, vec![Limit::Script]), "{}", script.last().line);
}

#[test]
fn a_mode_that_asks_no_rules_asks_no_script_and_one_that_thinks_shows_what_there_would_be() {
    let mut script = Script::new(Scaling { mode: ScalingMode::Off, ..scripted(&["cpu"]) }, NOON);
    script.run(12, &[("e1", 60)]);
    assert_eq!((script.questions.len(), script.last().holds.len()), (0, 1), "{:?}", script.last().holds);
    let mut script = Script::new(Scaling { mode: ScalingMode::Shadow, ..scripted(&["cpu"]) }, NOON);
    script.run(12, &[("e1", 10)]);
    propose(&mut script, 5, "cpu 91 %");
    script.run(1, &[("e1", 10)]);
    let shown = &script.questions.last().unwrap().metrics.origins;
    assert_eq!((shown.desired, script.count()), (5, 1), "so a script that adds to it goes on from there");
}

#[test]
fn a_reload_keeps_what_a_script_has_said_and_forgets_a_script_that_is_gone() {
    let mut script = Script::new(scripted(&["cpu"]), NOON);
    script.run(12, &[("e1", 10)]);
    propose(&mut script, 5, "cpu 91 %");
    script.apply(Event::Configured(region(scripted(&["queue", "cpu"]), &[])));
    script.step();
    assert_eq!((script.count(), script.last().winner.as_str()), (5, "script cpu"));
    script.apply(Event::Configured(region(scaling(), &[])));
    script.step();
    assert_eq!((script.count(), script.last().proposals.len()), (1, 1));
}

#[test]
fn a_reason_is_one_line_of_a_length() {
    let mut script = Script::new(scripted(&["cpu"]), NOON);
    script.run(12, &[("e1", 10)]);
    propose(&mut script, 5, "\n  cpu\u{7} 91 %\u{1b}[31m\nand more");
    assert_eq!(because(&script), "cpu 91 %[31m");
    propose(&mut script, 6, &"ß".repeat(1000));
    assert_eq!(because(&script), "ß".repeat(200) + "…");
}
