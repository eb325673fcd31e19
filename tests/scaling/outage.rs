//! The edge outlives the aggregator, and the aggregator starts from what is there.

use std::time::{Duration, Instant};

use harness::{PATIENCE, wait_until};

use crate::region::Region;

const TWO: &str =
    "      floor: 2\n      ceiling: 4\n      stabilisation: 1s\n      reactive: {requests_per_origin: 10000}";

fn serving(region: &Region, n: usize) -> Vec<String> {
    wait_until(&format!("{n} origins that serve"), PATIENCE, || {
        let serving = region.origins("serving");
        (serving.len() == n).then_some(serving)
    })
}

#[test]
fn the_edge_serves_on_from_the_last_membership_while_the_aggregator_is_gone() {
    let mut region = Region::start(TWO);
    serving(&region, 2);
    region.kill_aggregator();
    assert!(region.ask("/v1/pools").is_none(), "it is gone");
    // Longer than any report or staleness, and each request is served.
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(4) {
        assert_eq!(region.status(), Some(200), "after {:?} without an aggregator", begin.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
    region.edge.expect_error("forebay::report");
}

#[test]
fn a_restarted_aggregator_adopts_what_runs() {
    let mut region = Region::start(TWO);
    let before = serving(&region, 2);
    region.kill_aggregator();
    region.restart_aggregator();
    let mut least = usize::MAX;
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(5) {
        assert_eq!(region.status(), Some(200), "not one request fails meanwhile");
        if let Some(pools) = region.ask("/v1/pools") {
            let running = pools["pools"]["shop"]["origins"].as_array().map_or(0, Vec::len);
            least = least.min(running);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(serving(&region, 2), before, "the same origins, not new ones");
    assert_eq!(least, 2, "it did not start from zero");
    region.edge.expect_error("forebay::report");
}

#[test]
fn each_decision_is_told_with_its_reason() {
    let region = Region::start(TWO);
    serving(&region, 2);
    let decisions = wait_until("a decision", PATIENCE, || {
        let decisions = region.decisions();
        (!decisions.is_empty()).then_some(decisions)
    });
    let line = decisions[0]["line"].as_str().unwrap_or_default().to_owned();
    assert!(line.contains("shop"), "{:?}", decisions[0]);
    let explained = region.ask("/v1/pools/shop/explain").expect("the aggregator answers");
    assert!(explained["line"].as_str().is_some_and(|line| !line.is_empty()), "{explained:#}");
    assert!(region.ask("/v1/pools/shap/explain").is_some_and(|refused| refused.to_string().contains("shop")));
}
