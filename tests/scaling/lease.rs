//! Two aggregators and one lease: one acts, the other takes over, and never do both.

use std::time::{Duration, Instant};

use harness::{PATIENCE, wait_until};

use crate::pair::{Load, Pair};

/// Shorter than the default, so that its end comes soon.
const SHORT: &str = ", ttl: 3s";

/// Sixty requests a second: four origins, and two more than the floor that a mistake could stop.
const RATE: u32 = 70;

#[test]
fn when_the_leader_is_killed_the_standby_leads_within_ten_seconds_and_adopts_every_origin() {
    let mut pair = Pair::start("", 1);
    let load = Load::on(pair.edges[0].1, RATE);
    let before = pair.wait_for_origins(4);
    let (leader, standby) = (pair.leader(), 1 - pair.leader());
    let token = pair.token();
    wait_until("decisions in shadow", PATIENCE, || {
        pair.journal(standby).iter().any(|(role, token, _)| role == "standby" && token.is_none()).then_some(())
    });
    assert!(pair.journal(standby).iter().all(|(role, ..)| role == "standby"), "it has not led yet");
    pair.aggregators[leader].process.kill();
    let killed = Instant::now();
    assert_eq!(pair.leader_of(&[standby]), standby);
    let took = killed.elapsed();
    wait_until("the origins in the new name", PATIENCE, || (pair.token() > token).then_some(()));
    println!("take-over after {took:?}, with its token at the origins after {:?}", killed.elapsed());
    assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
    pair.assert_none_stops(&before, Duration::from_secs(3));
    assert_eq!(load.failed(), 0, "the edge serves on");
    let lines = pair.journal(standby);
    let first = lines.iter().find(|(role, ..)| role == "leader").expect("it has decided since");
    let count = |key: &str| first.2[key].as_u64().expect("a count");
    assert_eq!((first.1, count("from")), (Some(pair.token()), 4), "it begins with what runs: {}", first.2);
    assert!(count("to") >= 4, "its first decision takes nothing away: {}", first.2);
    drop(load);
    // It acts: what is not needed goes.
    pair.wait_for_origins(2);
    pair.assert_one_writer_for_each_token();
    // Whoever comes back finds a leader and leaves it.
    pair.restart(leader);
    wait_until("the standby", PATIENCE, || (pair.role(leader)? == "standby").then_some(()));
    assert_eq!(pair.role(standby).as_deref(), Some("leader"));
    pair.edges[0].0.expect_error("forebay::report");
}

#[test]
fn a_leader_that_was_paused_past_its_lease_never_acts_again_in_its_old_name() {
    let mut pair = Pair::start(SHORT, 1);
    let load = Load::on(pair.edges[0].1, RATE);
    pair.wait_for_origins(4);
    let (old, new) = (pair.leader(), 1 - pair.leader());
    let token = pair.token();
    pair.aggregators[old].process.signal("STOP");
    let written = pair.journal(old).len();
    assert_eq!(pair.leader_of(&[new]), new);
    wait_until("the origins in the new name", PATIENCE, || (pair.token() > token).then_some(()));
    // It is for the new leader to replace this one. The old one started it and will see it gone when it wakes.
    let (address, pid) = pair.origins().pop_first().expect("four run");
    let killed = std::process::Command::new("sh").args(["-c", &format!("kill -KILL {pid}")]).status();
    assert!(killed.is_ok_and(|status| status.success()));
    wait_until("another in its place", PATIENCE, || {
        let origins = pair.origins();
        (origins.len() == 4 && !origins.contains_key(&address)).then_some(())
    });
    let before = pair.origins();
    pair.aggregators[old].process.signal("CONT");
    wait_until("its decisions in shadow", PATIENCE, || {
        (pair.role(old)? == "standby" && pair.journal(old).len() > written).then_some(())
    });
    pair.assert_none_stops(&before, Duration::from_secs(3));
    assert_eq!(pair.origins(), before, "nor was one started");
    let since = &pair.journal(old)[written..];
    assert!(since.iter().all(|(role, token, _)| role == "standby" && token.is_none()), "{since:?}");
    assert_eq!(pair.role(new).as_deref(), Some("leader"));
    pair.assert_one_writer_for_each_token();
    drop(load);
    for aggregator in &mut pair.aggregators {
        aggregator.process.expect_error("origin crashed");
    }
    pair.edges[0].0.expect_error("forebay::report");
}

#[test]
fn without_its_store_nobody_leads_and_nothing_is_stopped_and_with_it_one_leads_again() {
    let mut pair = Pair::start(SHORT, 1);
    let load = Load::on(pair.edges[0].1, RATE);
    let before = pair.wait_for_origins(4);
    let token = pair.token();
    pair.redis.stop();
    wait_until("the lease to end", PATIENCE, || (pair.role(0)? != "leader" && pair.role(1)? != "leader").then_some(()));
    assert_eq!(load.failed(), 0);
    // Two would do now, and any leader would say so within a second.
    drop(load);
    pair.assert_none_stops(&before, Duration::from_secs(6));
    assert_eq!(pair.token(), token, "nobody has acted in another name");
    let load = Load::on(pair.edges[0].1, 5);
    // It comes back with nothing in it: tokens are counted on from what the aggregators know.
    pair.redis.restart();
    let leader = pair.leader();
    wait_until("the origins in the new name", PATIENCE, || (pair.token() > token).then_some(()));
    pair.wait_for_origins(2);
    assert_eq!(pair.role(1 - leader).as_deref(), Some("standby"), "one, and not both");
    pair.assert_one_writer_for_each_token();
    assert_eq!(load.failed(), 0);
}

#[test]
fn a_leader_that_stops_hands_over_at_once() {
    let mut pair = Pair::start("", 1);
    let before = pair.wait_for_origins(2);
    let (old, new) = (pair.leader(), 1 - pair.leader());
    assert!(pair.aggregators[old].process.stop().success());
    let stopped = Instant::now();
    assert_eq!(pair.leader_of(&[new]), new);
    assert!(stopped.elapsed() < Duration::from_secs(3), "not when the lease ends, 6 s on: {:?}", stopped.elapsed());
    pair.assert_none_stops(&before, Duration::from_secs(2));
    pair.assert_one_writer_for_each_token();
    pair.edges[0].0.expect_error("forebay::report");
}

#[test]
fn with_half_of_the_edges_gone_nothing_is_stopped_by_the_leader_or_by_who_takes_over() {
    let mut pair = Pair::start(SHORT, 2);
    let loads = [0, 1].map(|i| Load::on(pair.edges[i].1, RATE / 2));
    let before = pair.wait_for_origins(4);
    let [load, lost] = loads;
    // Under load: one whose clients leave first may still say that they have.
    pair.edges[1].0.kill();
    drop(lost);
    // Half of the load is gone with its edge: two origins would carry what is seen.
    pair.assert_none_stops(&before, Duration::from_secs(4));
    let leader = pair.leader();
    pair.aggregators[leader].process.kill();
    assert_eq!(pair.leader_of(&[1 - leader]), 1 - leader);
    pair.assert_none_stops(&before, Duration::from_secs(4));
    let (_, _, last) = pair.journal(1 - leader).pop().expect("it has decided");
    let holds = last["holds"].to_string();
    assert!(holds.contains("no fresh report from e1"), "{last}");
    assert_eq!(load.failed(), 0);
    pair.assert_one_writer_for_each_token();
    pair.edges[0].0.expect_error("forebay::report");
}
