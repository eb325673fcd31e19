//! What the engine of a pool learned, over restarts of real processes.

#[path = "harness.rs"]
mod harness;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use aggregator::history::store::{Batch, Store};
use config::region::History;
use forebay_aggregator as aggregator;
use harness::*;
use jiff::Timestamp;
use scaler::{Capacity, Checkpoint, Point, Points};
use serde_json::Value;

const SCALING: &str = "predictive: {requests_per_origin: 10}";
const MINUTE: i64 = 60;

/// Five days of minutes that end `ago` seconds ago: evenings have five times the load of mornings.
fn remember(file: &Path, ago: i64) {
    let end = (Timestamp::now().as_second() - ago) / MINUTE * MINUTE;
    let point = |second: i64| Point {
        at: Timestamp::from_second(second).unwrap(),
        requests: 200.0 + 150.0 * (second as f64 / 86_400.0 * std::f64::consts::TAU).sin(),
        rejects: 0.0,
        errors: 0.0,
        cost: 0.0,
        covered: 1.0,
        origins: Capacity::default(),
    };
    let minutes = (end - 5 * 86_400..end).step_by(MINUTE as usize).map(point).collect();
    let store = Store::open(file, History::KEEP).unwrap();
    let points = Points { fine: Vec::new(), minutes };
    store.write(Batch::new(BTreeMap::from([("shop".to_string(), points)]), Timestamp::from_second(end).unwrap()));
}

fn checkpoint(file: &Path) -> Option<Checkpoint> {
    Store::open(file, History::KEEP).unwrap().reader().checkpoint("shop").unwrap()
}

/// What the predictive rule says, and what its tuner tells.
fn told(victim: &Victim) -> (String, Value) {
    let (status, answer) = get(victim.address, "/v1/pools/shop/explain");
    assert_eq!(status, 200, "{answer}");
    let proposals = answer["decision"]["proposals"].as_array().cloned().unwrap_or_default();
    let predictive = proposals.iter().find(|proposal| proposal["source"] == "predictive");
    let because = predictive.map_or("", |proposal| proposal["because"].as_str().unwrap());
    (because.to_string(), answer["tuner"].clone())
}

#[test]
fn what_was_seen_is_learned_at_the_first_start_and_a_killed_process_need_not_learn_it_again() {
    let folder = Folder::new("learned");
    let file = folder.0.join(History::FILE);
    remember(&file, 90);

    let first = Victim::start(&folder.0, SCALING);
    let mut edge = Edge::new("e1", first.address);
    edge.load = 200;
    let mut learning = false;
    for _ in until(Duration::from_secs(120)) {
        edge.report();
        let because = told(&first).0;
        learning |= because.contains("learning from the history");
        if because.contains("tuned rules") {
            break;
        }
    }
    let (because, tuner) = told(&first);
    assert!(learning && because.contains("tuned rules"), "{because}");
    assert!(tuner["blend"].as_u64().unwrap() > 0 && tuner["best"][0]["billed"].as_f64().unwrap() > 10.0, "{tuner}");
    // Written once it is known, before what is seen later: whoever is killed from here on need not learn it again.
    let before = remembered(first.address);
    edge.load = 400;
    wait_for("a later report on the disk", || {
        edge.report();
        remembered(first.address) > before + 1.0
    });
    first.kill();
    let written = checkpoint(&file).expect("it was written");
    println!("{} bytes", written.bytes.len());

    let second = Victim::start(&folder.0, SCALING);
    edge = Edge::new("e2", second.address);
    edge.load = 200;
    let mut relearned = false;
    wait_for("a decision", || {
        edge.report();
        let because = told(&second).0;
        relearned |= because.contains("learning from the history: 2");
        because.contains("tuned rules")
    });
    assert!(!relearned, "nothing of the five days is learned again");
    let again = told(&second).1;
    assert_eq!(again["blend"], tuner["blend"]);
    // Who is asked to stop writes down what he knows.
    let step = || Timestamp::now().as_second() / 15;
    let then = step();
    let decided = || {
        let at = &get(second.address, "/v1/pools/shop/explain").1["decision"]["at"];
        at.as_str().map_or(then, |at| at.parse::<Timestamp>().unwrap().as_second() / 15)
    };
    let over = until(Duration::from_secs(90)).find(|()| {
        edge.report();
        decided() > then
    });
    assert!(over.is_some(), "steps of 15 s end");
    second.stop();
    assert!(checkpoint(&file).expect("it was written") != written, "the last steps are in it");
}

#[test]
fn a_checkpoint_of_another_version_is_no_reason_to_fail() {
    let folder = Folder::new("version");
    let file = folder.0.join(History::FILE);
    let store = Store::open(&file, History::KEEP).unwrap();
    let mut batch = Batch::new(BTreeMap::new(), Timestamp::now());
    batch.checkpoint("shop", Checkpoint { version: 99, bytes: vec![7; 1000] });
    store.write(batch);
    drop(store);
    let victim = Victim::start(&folder.0, SCALING);
    let mut edge = Edge::new("e1", victim.address);
    edge.load = 200;
    wait_for("a decision", || {
        edge.report();
        !told(&victim).0.is_empty()
    });
    victim.stop();
    assert_eq!(checkpoint(&file).map(|checkpoint| checkpoint.version), Some(99), "there is nothing better yet");
}
