//! The wall clock is set under an edge and an aggregator, and they are paused: time that has not passed has no
//! consequences.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use harness::{PATIENCE, WallClock, wait_until};
use jiff::Timestamp;

use crate::region::Region;

const HOUR: i64 = 3600;
const YEAR: i64 = 365 * 24 * HOUR;

/// Two do; more than that or less would be a mistake. A decrease waits for a second and no more.
const TWO: &str =
    "      floor: 2\n      ceiling: 4\n      stabilisation: 1s\n      reactive: {requests_per_origin: 10000}";

fn two(region: &Region) -> BTreeMap<String, u64> {
    wait_until("two that serve", PATIENCE, || (region.origins("serving").len() == 2).then_some(()));
    region.running()
}

/// For so long every origin of `before` runs, no other does, and every request is served.
#[track_caller]
fn assert_stands(region: &Region, before: &BTreeMap<String, u64>, long: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < long {
        assert_eq!(&region.running(), before, "after {:?}", begin.elapsed());
        assert_eq!(region.status(), Some(200), "after {:?}", begin.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until the aggregator's records are of a wall clock that is so far ahead of the machine's.
#[track_caller]
fn wait_for_records(region: &Region, ahead: i64) {
    wait_until("records by the clock that was set", PATIENCE, || {
        let last = region.journal().pop()?;
        let at: Timestamp = last["decision"]["at"].as_str()?.parse().ok()?;
        (at.duration_since(Timestamp::now()).as_secs().abs_diff(ahead) < 120).then_some(())
    });
}

#[test]
fn a_wall_clock_that_is_set_stops_no_origin_that_serves_and_starts_none() {
    let clock = WallClock::start();
    let region = Region::start_by(&clock, "100ms", TWO);
    let before = two(&region);
    for ahead in [HOUR, 0, -HOUR, YEAR, -YEAR, 0] {
        clock.set(ahead);
        wait_for_records(&region, ahead);
        assert_stands(&region, &before, Duration::from_secs(1));
    }
    let lines = region.journal();
    let stood: Vec<_> = lines.iter().map(|line| &line["decision"]).filter(|decision| decision["from"] != 0).collect();
    assert!(stood.len() >= 6, "each step led to a record");
    assert!(stood.iter().all(|decision| decision["to"] == 2), "{stood:#?}");
    assert!(region.aggregator.log_has("the wall clock was set"));
}

#[test]
fn an_origin_that_boots_is_waited_for_whatever_the_wall_clock_does() {
    let clock = WallClock::start();
    let mut region = Region::start_by(&clock, "2s", TWO);
    let before = two(&region);
    for ahead in [HOUR, -YEAR, YEAR] {
        let (_, pid) = region.running().pop_first().expect("two run");
        region.signal_origin(pid, "KILL");
        let booting = wait_until("another in its place", PATIENCE, || {
            let now = region.running();
            (now.len() == 2 && now.values().all(|other| *other != pid)).then_some(now)
        });
        // It has just been started, and has a minute.
        clock.set(ahead);
        assert_stands(&region, &booting, Duration::from_secs(1));
        assert_eq!(two(&region), booting, "it came to serve");
    }
    assert_ne!(region.running(), before);
    region.aggregator.expect_error("origin crashed");
}

#[test]
fn an_aggregator_that_starts_after_the_wall_clock_was_set_adopts_what_runs() {
    let clock = WallClock::start();
    let mut region = Region::start_by(&clock, "100ms", TWO);
    let before = two(&region);
    for ahead in [HOUR, -HOUR, YEAR, -YEAR] {
        region.kill_aggregator();
        clock.set(ahead);
        region.restart_aggregator();
        wait_for_records(&region, ahead);
        assert_stands(&region, &before, Duration::from_secs(1));
    }
    region.edge.expect_error("forebay::report");
}

#[test]
fn an_aggregator_that_is_paused_past_staleness_stops_nothing_when_it_wakes() {
    let mut region = Region::start(TWO);
    let before = two(&region);
    region.aggregator.signal("STOP");
    // Five seconds make an edge stale; by its own clock all of them passed at once.
    assert_stands(&region, &before, Duration::from_secs(7));
    region.aggregator.signal("CONT");
    assert_stands(&region, &before, Duration::from_secs(3));
    wait_until("fresh reports", PATIENCE, || {
        let explained = region.ask("/v1/pools/shop/explain")?;
        (explained["inputs"]["edges"][0]["fresh"] == true).then_some(())
    });
    let stood = region.journal();
    assert!(stood.iter().all(|line| line["decision"]["to"] == 2), "{stood:#?}");
    region.edge.expect_error("forebay::report");
}
