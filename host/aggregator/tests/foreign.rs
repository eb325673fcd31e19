//! Origins that another hand starts and ends, over real processes.

#[path = "harness.rs"]
mod harness;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use forebay_aggregator as aggregator;
use harness::*;
use serde_json::{Value, json};
use wire::{Member, Stage};

/// A process that nobody here started.
struct Other {
    child: Child,
    address: String,
}

impl Other {
    /// Starts an origin as a deploy would, and says so in the state folder: whole, as it is moved there.
    fn start(folder: &Folder, setup: &mut Setup) -> Other {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let program = setup.process().command[0].clone();
        let child = Command::new(program)
            .args([&port.to_string(), "50"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let start: u64 = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap();
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let address = format!("127.0.0.1:{port}");
        let record = json!({
            "pool": "shop", "address": address, "launched_at": jiff::Timestamp::now().to_string(),
            "ready_at": null, "serving_at": null,
            "identity": { "pid": child.id(), "start_ticks": start, "boot": boot.trim() }
        });
        let beside = folder.0.join(format!("{port}.tmp"));
        std::fs::write(&beside, record.to_string()).unwrap();
        std::fs::rename(beside, folder.0.join(format!("state/shop-{port}.json"))).unwrap();
        Other { child, address }
    }

    fn end(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Origins that the actuator started: each has a log.
fn started(folder: &Folder) -> usize {
    let files = std::fs::read_dir(folder.0.join("state")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "log")).count()
}

fn four_serve(members: &[Member]) -> bool {
    count(members, Stage::Serving) == 4
}

fn setup(folder: &Folder, stabilisation: Duration) -> Setup {
    let mut setup = Setup::new(&folder.0);
    setup.scaling.stabilisation = stabilisation;
    setup
}

fn foreign(folder: &Folder) -> Vec<Value> {
    let text = folder.journal();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| line["decision"]["foreign"].clone()).filter(|foreign| !foreign.is_null()).collect()
}

#[test]
fn a_deploy_that_doubles_the_count_is_let_be_and_nothing_is_started_when_it_is_over() {
    let folder = Folder::new("deploy");
    let mut setup = setup(&folder, Duration::from_secs(600));
    let aggregator = aggregator::start(setup.region()).unwrap();
    let mut edge = Edge::new("e1", aggregator.address());
    edge.report_until("two serving", |members| count(members, Stage::Serving) == 2);
    let ours: BTreeMap<_, _> = pids(&folder);
    let others = [Other::start(&folder, &mut setup), Other::start(&folder, &mut setup)];
    edge.report_until("four serving", four_serve);
    for _ in until(Duration::from_secs(1)) {
        let members = edge.report().pools.remove("shop").unwrap();
        assert!(members.len() == 4 && four_serve(&members), "nobody is stopped: {members:?}");
    }
    let (_, pools) = get(edge.aggregator, "/v1/pools");
    let told = &pools["pools"]["shop"]["foreign"];
    assert_eq!((&told["seen"], &told["decided"]), (&json!(4), &json!(2)), "{told}");
    assert!(foreign(&folder).iter().any(|told| told["seen"] == 4 && told["decided"] == 2), "it is in the record");

    let gone: Vec<String> = others.iter().map(|other| other.address.clone()).collect();
    others.into_iter().for_each(Other::end);
    edge.report_until("the two of before", |members| members.len() == 2);
    for _ in until(Duration::from_secs(1)) {
        let members = edge.report().pools.remove("shop").unwrap();
        assert!(members.iter().all(|member| !gone.contains(&member.address.to_string())), "{members:?}");
        assert_eq!(count(&members, Stage::Serving), 2);
    }
    assert_eq!((pids(&folder), started(&folder)), (ours, 2), "nothing was started");
    let (_, pools) = get(edge.aggregator, "/v1/pools");
    assert_eq!((&pools["pools"]["shop"]["desired"], &pools["pools"]["shop"]["foreign"]), (&json!(2), &Value::Null));
    aggregator.stop_and_release();
}

#[test]
fn what_another_hand_starts_and_leaves_is_given_back_after_the_stabilisation() {
    let folder = Folder::new("given-back");
    let mut setup = setup(&folder, Duration::from_secs(2));
    let aggregator = aggregator::start(setup.region()).unwrap();
    let mut edge = Edge::new("e1", aggregator.address());
    edge.report_until("two serving", |members| count(members, Stage::Serving) == 2);
    let ours = pids(&folder);
    let mut other = Other::start(&folder, &mut setup);
    edge.report_until("three serving", |members| count(members, Stage::Serving) == 3);
    edge.report_until("the two of before", |members| members.len() == 2);
    assert!(!other.child.wait().unwrap().success(), "it was told to stop, and has");
    assert_eq!((pids(&folder), started(&folder)), (ours, 2));
    let text = folder.journal();
    assert!(text.contains("1 run that were not decided here, kept until"), "{text}");
    aggregator.stop_and_release();
}

#[test]
fn a_copy_of_a_state_file_is_no_other_origin() {
    let folder = Folder::new("copied");
    let setup = setup(&folder, Duration::from_secs(1));
    let aggregator = aggregator::start(setup.region()).unwrap();
    let mut edge = Edge::new("e1", aggregator.address());
    edge.report_until("two serving", |members| count(members, Stage::Serving) == 2);
    let two = pids(&folder);
    let port = two.keys().next().unwrap().rsplit(':').next().unwrap().to_owned();
    let state = |name: String| folder.0.join("state").join(name);
    std::fs::copy(state(format!("shop-{port}.json")), state(format!("shop-{port}.copy.json"))).unwrap();
    for _ in until(Duration::from_secs(1)) {
        assert_eq!(edge.report().pools["shop"].len(), 2);
    }
    let foreign = |edge: &Edge| get(edge.aggregator, "/v1/pools").1["pools"]["shop"]["foreign"].clone();
    assert_eq!((foreign(&edge), started(&folder)), (Value::Null, 2));
    // What is decided is what runs: the copy stands for nobody.
    edge.load = 40;
    edge.report_until("four serving", four_serve);
    aggregator.stop();
    let four = pids(&folder);
    assert_eq!((four.len(), two.iter().all(|(address, pid)| four.get(address) == Some(pid))), (4, true));
    // And the next run counts it once too.
    let aggregator = aggregator::start(setup.region()).unwrap();
    edge.aggregator = aggregator.address();
    edge.load = 50;
    edge.report_until("five serving", |members| count(members, Stage::Serving) == 5);
    assert_eq!(foreign(&edge), Value::Null);
    aggregator.stop_and_release();
}
