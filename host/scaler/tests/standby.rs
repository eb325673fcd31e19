//! A region that decides beside the one that acts, and takes over from it.

mod script;

use scaler::{Event, Limit, Observed, Role};
use script::*;

use forebay_scaler as scaler;

/// Four origins that another aggregator runs.
fn runs(script: &mut Script, n: u16) {
    let since = script.now;
    let origin = |i| Observed {
        address: format!("127.0.0.1:{}", 9000 + i).parse().unwrap(),
        launched_at: since,
        ready_at: Some(since),
        serving_at: Some(since),
        stopping: false,
        parked: false,
        leaving: None,
    };
    script.origins = (0..n).map(origin).collect();
    script.observe();
}

fn standby() -> Script {
    let mut script = Script::new(scaling(), "2026-03-02T12:00:00Z");
    script.apply(Event::Lead(Role::Standby));
    runs(&mut script, 4);
    for _ in 0..15 {
        script.run(1, &[("e1", 10)]);
        script.observe();
    }
    script
}

#[test]
fn a_standby_decides_from_what_runs_and_chooses_nobody_to_leave() {
    let mut script = standby();
    assert_eq!((script.last().from, script.count()), (4, 1), "one would do, each time anew");
    let actions = script.step();
    assert_eq!(actions.pools["shop"].stop, [], "it is not for it to say who goes");
    let members = &script.region.membership(script.now).pools["shop"];
    assert!(members.iter().all(|member| member.stage == wire::Stage::Serving), "{members:?}");
    runs(&mut script, 6);
    script.run(1, &[("e1", 10)]);
    assert_eq!(script.last().from, 6, "what the other one did is taken for what stands");
}

#[test]
fn who_takes_over_begins_with_what_runs_and_takes_nothing_away_at_first() {
    let mut script = standby();
    assert_eq!(script.count(), 1);
    script.apply(Event::Lead(Role::Leader));
    let members = script.region.membership(script.now).pools["shop"].len();
    script.pass();
    script.report("e1", 10);
    assert!(
        script.step().pools["shop"].stop.is_empty() && script.decisions.len() == 15,
        "nothing before it has looked"
    );
    script.observe();
    script.step();
    let first = script.last().clone();
    assert_eq!((first.from, first.to), (4, 4), "{}", first.line);
    assert!(first.clamps.iter().any(|clamp| clamp.limit == Limit::TakeOver), "{}", first.line);
    assert_eq!(members, 4, "edges are told of them meanwhile");
    script.run(1, &[("e1", 10)]);
    assert_eq!((script.last().from, script.count()), (4, 1), "from then on as ever");
}

#[test]
fn who_takes_over_may_add_at_once() {
    let mut script = standby();
    script.apply(Event::Lead(Role::Leader));
    script.observe();
    for _ in 0..10 {
        script.report("e1", 600);
    }
    script.run(1, &[("e1", 600)]);
    assert!(script.decisions.iter().any(|decision| decision.from == 4 && decision.to > 4), "{}", script.last().line);
}
