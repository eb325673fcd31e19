//! The lease's store falls silent: whoever led last raises pools to their scheduled floors, and does nothing else.

use std::time::{Duration, Instant};

use harness::{PATIENCE, wait_until};

use crate::pair::{Load, Pair};

/// Shorter than the default, so that its end comes soon.
const SHORT: &str = ", ttl: 3s";

/// Redis is gone, and the one that led has lapsed: who that is, and the other.
#[track_caller]
fn lapse(pair: &mut Pair) -> (usize, usize) {
    let (last, other) = (pair.leader(), 1 - pair.leader());
    pair.redis.stop();
    wait_until("the last to lead to lapse", PATIENCE, || (pair.role(last)? == "lapsed").then_some(()));
    assert_eq!(pair.role(other).as_deref(), Some("standby"));
    (last, other)
}

/// So many run, for so long.
#[track_caller]
fn assert_stays(pair: &Pair, origins: usize, long: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < long {
        assert_eq!(pair.origins().len(), origins, "after {:?}", begin.elapsed());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_last_to_lead_raises_to_the_scheduled_floor_and_no_further_and_takes_nothing_away() {
    let mut pair = Pair::start(SHORT, 1);
    pair.wait_for_origins(2);
    let token = pair.token();
    let (last, other) = lapse(&mut pair);
    let load = Load::on(pair.edges[0].1, 70);
    let refused = wait_until("more to be wanted than the calendar asks for", PATIENCE, || {
        let lines = pair.journal(last).into_iter();
        lines.filter(|(role, ..)| role == "lapsed").map(|(_, token, decision)| (token, decision)).find(
            |(_, decision)| {
                decision["clamps"].to_string().contains("without_lease") && decision["want"].as_u64() >= Some(3)
            },
        )
    });
    assert_eq!((refused.0, &refused.1["to"]), (Some(token), &2.into()), "{}", refused.1);
    assert_stays(&pair, 2, Duration::from_secs(2));
    let told = pair.explained(last);
    assert!(told.contains("LAPSED: the lease has ended and its store is silent"), "{told}");
    assert!(told.contains("by without lease (at most the scheduled floor 2, and nothing is taken away)"), "{told}");

    // The event begins.
    pair.set_event(true);
    let three = pair.wait_for_origins(3);
    wait_until("the third to serve", PATIENCE, || {
        (pair.ask(last, "/v1/pools")?["pools"]["shop"]["capacity"]["serving"] == 3).then_some(())
    });
    assert_stays(&pair, 3, Duration::from_secs(3));
    // It ends, and so does the load: two would do, and any leader would say so within a second.
    pair.set_event(false);
    assert_eq!(load.failed(), 0, "the edge serves on");
    drop(load);
    pair.assert_none_stops(&three, Duration::from_secs(5));
    assert_eq!(pair.token(), token, "all of it in the name of the last token");
    assert_eq!(pair.role(other).as_deref(), Some("standby"));
    assert!(pair.journal(other).iter().all(|(role, ..)| role == "standby"), "it never led");

    // It comes back with nothing in it, and one leads as ever.
    pair.redis.restart();
    pair.leader();
    wait_until("the origins in a new name", PATIENCE, || (pair.token() > token).then_some(()));
    pair.wait_for_origins(2);
    pair.assert_one_writer_for_each_token();
}

#[test]
fn once_the_other_one_has_the_lease_the_one_that_lapsed_changes_nothing_more() {
    let mut pair = Pair::start(SHORT, 1);
    pair.wait_for_origins(2);
    let token = pair.token();
    let (last, other) = lapse(&mut pair);
    // It sleeps through all that follows.
    pair.aggregators[last].process.signal("STOP");
    let written = pair.journal(last).len();
    pair.redis.restart();
    assert_eq!(pair.leader_of(&[other]), other);
    wait_until("the origins in the new name", PATIENCE, || (pair.token() > token).then_some(()));
    // The floor's: both would replace it.
    let (address, pid) = pair.origins().pop_first().expect("two run");
    let killed = std::process::Command::new("sh").args(["-c", &format!("kill -KILL {pid}")]).status();
    assert!(killed.is_ok_and(|status| status.success()));
    let replaced = || Some(pair.origins()).filter(|origins| origins.len() == 2 && !origins.contains_key(&address));
    let before = wait_until("another in its place", PATIENCE, replaced);
    // And its store is gone when it wakes: for all it knows it was the last to lead.
    pair.redis.stop();
    pair.aggregators[last].process.signal("CONT");
    wait_until("its decisions in shadow", PATIENCE, || {
        let lines = pair.journal(last);
        (pair.role(last)? == "standby" && lines.get(written..)?.iter().any(|(role, ..)| role == "standby"))
            .then_some(())
    });
    wait_until("the later one to lapse", PATIENCE, || (pair.role(other)? == "lapsed").then_some(()));
    pair.set_event(true);
    let three = pair.wait_for_origins(3);
    assert!(before.iter().all(|(address, pid)| three.get(address) == Some(pid)));
    assert_stays(&pair, 3, Duration::from_secs(3));
    assert_eq!(pair.role(last).as_deref(), Some("standby"));
    pair.assert_one_writer_for_each_token();
    for aggregator in &mut pair.aggregators {
        aggregator.process.expect_error("origin crashed");
    }
}
