//! What the API tells beside a decision: the mode and its trial, the tuner, what became of a change, what is spent.

#[path = "harness.rs"]
mod harness;

use std::time::{Duration, Instant};

use config::region::{Actuator, Aim, Monthly, Predictive, ScalingBudget, ScalingMode};
use forebay_aggregator as aggregator;
use harness::*;
use jiff::Timestamp;
use serde_json::Value;

fn explained(running: &aggregator::Aggregator) -> Value {
    let (status, answer) = get(running.address(), "/v1/pools/shop/explain");
    assert_eq!(status, 200, "{answer}");
    answer
}

fn listed(running: &aggregator::Aggregator) -> Value {
    let (status, answer) = get(running.address(), "/v1/pools");
    assert_eq!(status, 200, "{answer}");
    answer["pools"]["shop"].clone()
}

fn instant(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn a_pool_that_only_thinks_tells_its_advice_its_trial_and_its_tuner() {
    let folder = Folder::new("advises");
    let mut setup = Setup::new(&folder.0);
    setup.scaling.mode = ScalingMode::Advise;
    setup.scaling.predictive = Some(Predictive { requests_per_origin: Some(20.0), price: 80.0, shadow: false });
    setup.scaling.actuator = Actuator::DryRun;
    setup.listed = vec!["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()];
    let running = aggregator::start(setup.region()).unwrap();
    let mut edge = Edge::new("e1", running.address());
    edge.load = 40;
    wait_for("advice", || {
        edge.report();
        listed(&running)["advised"] == 4
    });
    let pool = listed(&running);
    assert_eq!((pool["mode"].as_str(), pool["desired"].as_u64()), (Some("advise"), Some(2)), "{pool}");
    let answer = explained(&running);
    assert_eq!((answer["mode"].as_str(), answer["advised"].as_u64()), (Some("advise"), Some(4)), "{answer}");
    assert_eq!((answer["role"].as_str(), answer["token"].is_null()), (Some("leader"), true), "{answer}");
    assert_eq!((answer["decision"]["to"].as_u64(), answer["decision"]["would"].as_u64()), (Some(2), Some(4)));
    // A step of 15 s has to be over, twice where the first was cut.
    let begun = Instant::now();
    let scored = loop {
        edge.report();
        let answer = explained(&running);
        let scored = answer["scored"]["hours"].as_f64().unwrap_or(0.0) > 0.0;
        if scored && answer["decision"]["forecast"].is_object() {
            break answer;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{answer}");
        std::thread::sleep(Duration::from_millis(100));
    };
    for of in ["would", "ran"] {
        let sums = &scored["scored"][of];
        assert!(sums["origin_hours"].as_f64() > Some(0.0) && sums["violation"].is_number(), "{scored}");
    }
    let ran = scored["scored"]["ran"]["origin_hours"].as_f64().unwrap();
    let would = scored["scored"]["would"]["origin_hours"].as_f64().unwrap();
    assert!(would > ran, "four or more are advised, and two run: {scored}");
    assert!(listed(&running)["scored"]["ran"].is_object());
    let tuner = &scored["tuner"];
    assert_eq!((tuner["way"].as_str(), tuner["gate_open"].as_bool()), (Some("cold"), Some(false)), "{tuner}");
    assert_eq!(tuner["blend"], 0);
    let decision = &scored["decision"];
    assert_eq!(decision["forecast"]["quantiles"].as_array().map(Vec::len), Some(3), "{decision}");
    let peers: Vec<_> =
        decision["peers"].as_array().unwrap().iter().map(|peer| peer["rule"].as_str().unwrap()).collect();
    assert_eq!(peers, ["hpa:50", "tt:50"]);
    assert!(scored["budget"].is_null() && decision["late"].is_null(), "{scored}");
    running.stop();
}

#[test]
fn an_actuator_that_cannot_start_anything_says_why_until_it_can() {
    let folder = Folder::new("troubled");
    let mut setup = Setup::new(&folder.0);
    let right = std::mem::replace(&mut setup.process().command, vec!["/no/such/origin".into(), "{port}".into()]);
    setup.scaling.lead = Duration::from_secs(1);
    let running = aggregator::start(setup.region()).unwrap();
    wait_for("trouble that is late", || {
        let pool = listed(&running);
        pool["trouble"].is_object() && pool["late"].is_object()
    });
    let decision = explained(&running)["decision"].clone();
    let error = decision["trouble"]["error"].as_str().unwrap();
    assert!(error.contains("/no/such/origin"), "{decision}");
    assert_eq!((&decision["late"]["asked"], &decision["late"]["serving"]), (&2.into(), &0.into()));
    assert!(decision["change"]["first_seconds"].is_null() && decision["change"]["runs"] == 0, "{decision}");
    assert!(folder.journal().contains("/no/such/origin"), "it is in the journal");

    setup.process().command = right;
    running.reload(setup.region()).unwrap();
    let mut edge = Edge::new("e1", running.address());
    edge.report_until("two serving", |members| count(members, wire::Stage::Serving) == 2);
    wait_for("the end of it", || {
        let decision = explained(&running)["decision"].clone();
        decision["trouble"].is_null() && decision["late"].is_null() && decision["change"]["done_seconds"].is_number()
    });
    let change = explained(&running)["decision"]["change"].clone();
    assert_eq!((&change["to"], &change["runs"]), (&2.into(), &2.into()), "{change}");
    assert!(change["first_seconds"].as_f64() <= change["done_seconds"].as_f64(), "{change}");
    let settled = folder
        .journal()
        .lines()
        .any(|line| line.contains("\"done_seconds\":") && !line.contains("\"done_seconds\":null"));
    assert!(settled, "how long it took is in the journal");
    running.stop_and_release();
}

/// Of a month's account: seconds that were spent, and when counting began.
fn spent(running: &aggregator::Aggregator) -> (f64, jiff::Timestamp) {
    let month = explained(running)["budget"]["month"].clone();
    (month["spent_hours"].as_f64().unwrap_or(0.0) * 3600.0, instant(&month["counted_from"]))
}

#[test]
fn what_is_spent_is_kept_in_the_journal_and_in_the_history_and_either_will_do() {
    for lost in ["journal.jsonl", "history.redb"] {
        let folder = Folder::new("keeps");
        let mut setup = Setup::new(&folder.0);
        let monthly = Monthly { origin_hours: 5000.0, money: None, zone: "UTC".into(), hard: false };
        setup.scaling.budget = Some(ScalingBudget { aim: Aim::Price(80.0), monthly: Some(monthly) });
        let running = aggregator::start(setup.region()).unwrap();
        let mut edge = Edge::new("e1", running.address());
        edge.report_until("two serving", |members| count(members, wire::Stage::Serving) == 2);
        wait_for("a second of two", || spent(&running).0 > 2.0);
        let (asked, (before, began)) = (Instant::now(), spent(&running));
        // An end of all origins is no end of the month, and nobody is paid after it.
        running.stop_and_release();
        std::fs::remove_file(folder.0.join(lost)).unwrap();
        let running = aggregator::start(setup.region()).unwrap();
        wait_for("a decision", || explained(&running)["decision"].is_object());
        let (after, still) = spent(&running);
        assert_eq!(still, began, "without {lost} counting goes on from where it began");
        assert!(after >= before, "without {lost}: {after}, and {before} before");
        // Five are the ceiling, and drained ones run beside them.
        let most = before + 10.0 * asked.elapsed().as_secs_f64();
        assert!(after <= most, "without {lost}: {after} of at most {most}");
        running.stop_and_release();
    }
}

#[test]
fn what_is_spent_in_a_month_survives_a_restart() {
    let folder = Folder::new("spends");
    let mut setup = Setup::new(&folder.0);
    setup.scaling.actuator = Actuator::DryRun;
    setup.listed = vec!["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()];
    let monthly = Monthly { origin_hours: 5000.0, money: None, zone: "UTC".into(), hard: false };
    setup.scaling.budget = Some(ScalingBudget { aim: Aim::Price(80.0), monthly: Some(monthly) });
    // Of the record: what was spent, and two for all the time since counting began.
    let account = |running: &aggregator::Aggregator| {
        let decision = explained(running)["decision"].clone();
        let month = &decision["budget"]["month"];
        let since = instant(&decision["at"]).duration_since(instant(&month["counted_from"])).as_secs_f64();
        (month["spent_hours"].as_f64().unwrap() * 3600.0, 2.0 * since, instant(&month["counted_from"]))
    };
    let running = aggregator::start(setup.region()).unwrap();
    wait_for("a second of two", || account(&running).0 > 2.0);
    let (spent, due, began) = account(&running);
    assert!((spent - due).abs() < 1.0, "{spent} of {due}");
    running.stop();
    let running = aggregator::start(setup.region()).unwrap();
    wait_for("a decision", || explained(&running)["decision"].is_object());
    let (again, due, still) = account(&running);
    assert_eq!(still, began, "counting goes on from where it began");
    assert!(again >= spent && (again - due).abs() < 1.0, "{again} of {due}, and {spent} before");
    let verdict = explained(&running)["budget"]["verdict"].as_str().unwrap().to_string();
    assert!(verdict.contains("origin-hours are spent"), "{verdict}");
    running.stop();
}
