//! The warm pool over real processes: who waits joins without a boot, is adopted, replaced and returned.

#[path = "harness.rs"]
mod harness;

use std::net::SocketAddr;

use config::region::{WarmPool, WarmSize};
use forebay_aggregator as aggregator;
use harness::*;
use serde_json::Value;
use wire::{Member, Stage};

fn setup(folder: &Folder) -> Setup {
    let mut setup = Setup::new(&folder.0);
    setup.scaling.warm_pool = Some(WarmPool { size: WarmSize::Fixed(2), at_most: 2, cost: 1.0 });
    setup
}

fn shop(address: SocketAddr) -> Value {
    get(address, "/v1/pools").1["pools"]["shop"].clone()
}

fn is(shop: &Value, serving: u64, warm: u64) -> bool {
    shop["capacity"]["serving"] == serving && shop["capacity"]["warm"] == warm
}

/// Two that serve and two that wait, which the edge has warmed.
fn two_and_two(edge: &mut Edge) -> Vec<Member> {
    let address = edge.aggregator;
    wait_for("two serve and two wait", || {
        edge.report();
        let shop = shop(address);
        let warm = shop["origins"].as_array().unwrap().iter().filter(|origin| origin["warm"] == true).count();
        is(&shop, 2, 2) && warm == 2
    });
    let members = edge.report().pools.remove("shop").unwrap();
    assert_eq!((count(&members, Stage::Serving), count(&members, Stage::Warming)), (2, 2), "{members:?}");
    members
}

fn in_stage(members: &[Member], stage: Stage) -> Vec<SocketAddr> {
    let mut found: Vec<_> = members.iter().filter(|m| m.stage == stage).map(|member| member.address).collect();
    found.sort();
    found
}

#[test]
fn an_up_of_two_is_served_by_two_that_waited_where_nothing_boots_any_more() {
    let folder = Folder::new("joins");
    let mut setup = setup(&folder);
    let aggregator = aggregator::start(setup.region()).unwrap();
    let mut edge = Edge::new("e1", aggregator.address());
    let before = two_and_two(&mut edge);
    // From now on no origin that is started ever becomes ready: whoever serves more did not boot for it.
    setup.process().command[2] = "never".into();
    aggregator.reload(setup.region()).unwrap();
    edge.load = 40;
    let after = edge.report_until("four serve", |members| count(members, Stage::Serving) == 4);
    let mut waited = in_stage(&before, Stage::Serving);
    waited.extend(in_stage(&before, Stage::Warming));
    waited.sort();
    assert_eq!(in_stage(&after, Stage::Serving), waited);
    let boots = edge.report_until("two more boot behind them", |members| count(members, Stage::Booting) == 2);
    assert_eq!(boots.len(), 6, "{boots:?}");
    assert!(shop(edge.aggregator)["warm_seconds"].as_f64().unwrap() > 0.0);

    // Two fewer: they go back as they are, and what never came is ended.
    let pids_before = pids(&folder);
    edge.load = 20;
    let back = edge.report_until("two serve", |members| members.len() == 4 && count(members, Stage::Serving) == 2);
    assert_eq!(in_stage(&back, Stage::Warming).len(), 2);
    assert!(back.iter().all(|member| waited.contains(&member.address)), "{back:?}");
    wait_for("their processes are those of before", || {
        let now = pids(&folder);
        now.len() == 4 && now.iter().all(|(address, pid)| pids_before[address] == *pid)
    });
    aggregator.stop_and_release();
    assert_eq!(folder.state_files(), 0, "the warm pool is released too");
}

#[test]
fn a_restart_adopts_who_waits_and_sends_them_no_traffic() {
    let folder = Folder::new("adopts-warm");
    let setup = setup(&folder);
    let aggregator = aggregator::start(setup.region()).unwrap();
    let mut edge = Edge::new("e1", aggregator.address());
    edge.load = 20;
    let before = two_and_two(&mut edge);
    let running = pids(&folder);
    aggregator.stop();

    let aggregator = aggregator::start(setup.region()).unwrap();
    edge.aggregator = aggregator.address();
    for _ in 0..20 {
        let members = edge.report().pools.remove("shop").unwrap();
        assert_eq!(in_stage(&members, Stage::Serving), in_stage(&before, Stage::Serving));
        assert_eq!(members.len(), 4, "{members:?}");
    }
    two_and_two(&mut edge);
    assert_eq!((pids(&folder), &shop(edge.aggregator)["desired"]), (running, &Value::from(2)));
    aggregator.stop_and_release();
}

#[test]
fn who_waits_and_dies_is_replaced() {
    let folder = Folder::new("dies-warm");
    let setup = setup(&folder);
    let aggregator = aggregator::start(setup.region()).unwrap();
    let mut edge = Edge::new("e1", aggregator.address());
    let waits = in_stage(&two_and_two(&mut edge), Stage::Warming)[0];
    exchange(waits, "GET", "/crash", "");
    edge.report_until("it is gone", |members| members.iter().all(|member| member.address != waits));
    let members = two_and_two(&mut edge);
    assert!(members.iter().all(|member| member.address != waits));
    aggregator.stop_and_release();
}
