//! Launches that are late and origins that are going, over real processes.

#[path = "harness.rs"]
mod harness;

use std::time::Duration;

use forebay_aggregator as aggregator;
use harness::*;
use serde_json::Value;
use wire::Stage;

/// Five that serve: how long an origin boots is known then.
fn five(folder: &Folder) -> Setup {
    let mut setup = Setup::new(&folder.0);
    (setup.scaling.floor, setup.scaling.ceiling) = (5, 8);
    setup.process().boot_timeout = Duration::from_secs(120);
    setup
}

#[test]
fn an_origin_that_hangs_is_replaced_and_ended_once_the_other_serves() {
    let folder = Folder::new("hangs");
    let mut setup = five(&folder);
    let aggregator = aggregator::start(setup.region()).unwrap();
    let mut edge = Edge::new("e1", aggregator.address());
    edge.report_until("five serving", |members| count(members, Stage::Serving) == 5);
    // The next one hangs, those after it do not.
    let (origin, once) = (setup.process().command[0].clone(), folder.0.join("once").display().to_string());
    let script = format!("if mkdir {once}; then exec {origin} $0 never; else exec {origin} $0 50; fi");
    setup.process().command = vec!["sh".into(), "-c".into(), script, "{port}".into()];
    aggregator.reload(setup.region()).unwrap();
    edge.load = 60;
    let members = edge.report_until("a sixth boots", |members| members.len() == 6);
    let hangs = members.iter().find(|member| member.stage == Stage::Booting).unwrap().address;
    let pid = pids(&folder)[&hangs.to_string()];
    let late =
        |told: &Value| told["replaced"][0]["address"] == hangs.to_string() && told["replaced"][0]["replaced"] == true;
    let mut told = Value::Null;
    for _ in until(Duration::from_secs(60)) {
        let members = edge.report().pools.remove("shop").unwrap();
        assert!(members.len() <= 7, "one replacement: {members:?}");
        let explained = get(edge.aggregator, "/v1/pools/shop/explain").1;
        if late(&explained) {
            told = explained;
        }
        if count(&members, Stage::Serving) == 6 && members.len() == 6 {
            break;
        }
    }
    assert!(told["replaced"][0]["because"].as_str().unwrap_or_default().starts_with("late: boots for over"), "{told}");
    wait_for("its boot is cancelled", || {
        edge.report();
        !is_alive(pid) && folder.state_files() == 6
    });
    let (_, pools) = get(edge.aggregator, "/v1/pools");
    assert_eq!(pools["pools"]["shop"]["capacity"]["serving"], 6);
    assert!(folder.journal().contains("late: boots for over"), "it is in the record");
    aggregator.stop_and_release();
}

#[test]
fn an_origin_that_is_said_to_be_going_is_replaced_before_it_leaves() {
    let folder = Folder::new("going");
    let aggregator = aggregator::start(Setup::new(&folder.0).region()).unwrap();
    let mut edge = Edge::new("e1", aggregator.address());
    edge.load = 20;
    let members = edge.report_until("two serving", |members| count(members, Stage::Serving) == 2);
    let going = members[0].address;
    let post = |path: &str| exchange(aggregator.address(), "POST", path, "");
    let path = format!("/v1/pools/shop/origins/{going}/leaving");
    assert_eq!(exchange(aggregator.address(), "GET", &path, "").0, 405);
    for (path, status, says) in [
        ("/v1/pools/shop/origins/127.0.0.1:1/leaving", 404, "run here are: 127.0.0.1:"),
        ("/v1/pools/shop/origins/here/leaving", 400, "an address such as"),
        ("/v1/pools/shup/origins/127.0.0.1:1/leaving", 404, "pool `shup`"),
        (&format!("{path}?why=x"), 400, "allowed is because"),
    ] {
        let (found, body) = post(path);
        assert!(found == status && body.contains(says), "{path}: {found} {body}");
    }
    assert_eq!(post(&format!("{path}?because=spot%20notice")).0, 200);
    let mut least = usize::MAX;
    for _ in until(Duration::from_secs(10)) {
        let members = edge.report().pools.remove("shop").unwrap();
        least = least.min(count(&members, Stage::Serving));
        if members.len() == 2 && members.iter().all(|member| member.address != going) {
            break;
        }
    }
    assert_eq!(least, 2, "never fewer than two serve");
    assert!(pids(&folder).keys().all(|address| *address != going.to_string()));
    assert!(folder.journal().contains("leaving: spot notice"));
    aggregator.stop_and_release();
}

#[test]
fn a_notice_that_an_origin_is_going_outlives_the_aggregator() {
    let folder = Folder::new("going-on");
    let mut setup = Setup::new(&folder.0);
    // No room for a replacement: it can only wait.
    setup.scaling.ceiling = 2;
    let aggregator = aggregator::start(setup.region()).unwrap();
    let mut edge = Edge::new("e1", aggregator.address());
    let members = edge.report_until("two serving", |members| count(members, Stage::Serving) == 2);
    let going = members[0].address;
    let path = format!("/v1/pools/shop/origins/{going}/leaving?because=spot%20notice");
    assert_eq!(exchange(aggregator.address(), "POST", &path, "").0, 200);
    let record = folder.0.join(format!("state/shop-{}.json", going.port()));
    wait_for("it is in its record", || std::fs::read_to_string(&record).is_ok_and(|text| text.contains("spot notice")));
    aggregator.stop();

    let aggregator = aggregator::start(setup.region()).unwrap();
    let mut edge = Edge::new("e1", aggregator.address());
    edge.report_until("two serving", |members| count(members, Stage::Serving) == 2);
    let mut told = Value::Null;
    wait_for("it is known", || {
        edge.report();
        told = get(edge.aggregator, "/v1/pools/shop/explain").1["replaced"][0].take();
        !told.is_null()
    });
    assert_eq!((&told["address"], &told["because"]), (&going.to_string().into(), &"leaving: spot notice".into()));
    assert_eq!(told["replaced"], false, "the ceiling is in the way");
    // With room for one more it is replaced, and it is the one that goes.
    setup.scaling.ceiling = 3;
    aggregator.reload(setup.region()).unwrap();
    edge.report_until("another in its place", |members| {
        members.len() == 2 && members.iter().all(|member| member.address != going && member.stage == Stage::Serving)
    });
    aggregator.stop_and_release();
}
