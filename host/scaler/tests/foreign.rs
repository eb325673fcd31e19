//! Origins that somebody else starts and ends: a person, a deploy.

mod script;

use std::net::SocketAddr;

use config::region::{Scaling, ScalingMode, Schedule, When};
use forebay_scaler as scaler;
use scaler::{Event, Limit, Observed, Role};
use script::*;
use wire::Stage;

const NOON: &str = "2026-03-02T12:00:00Z";
/// Long enough for the others to be seen, and shorter than any test here.
const STABILISATION: u64 = 300;

fn setting() -> Scaling {
    Scaling { stabilisation: secs(STABILISATION), ceiling: 20, ..scaling() }
}

/// Four that serve, as 40 requests a second want.
fn four(setting: Scaling) -> Script {
    let mut script = Script::new(setting, NOON);
    script.live(40, 40, 5, &[]);
    assert_eq!((script.count(), script.view().capacity.serving, script.origins.len()), (4, 4, 4));
    script
}

/// Another hand starts so many.
fn others(script: &mut Script, n: usize) -> Vec<SocketAddr> {
    (0..n).map(|_| script.launch()).collect()
}

fn addresses(script: &Script) -> Vec<SocketAddr> {
    script.origins.iter().map(|origin| origin.address).collect()
}

fn told(script: &Script) -> Option<(u32, u32)> {
    script.last().foreign.as_ref().map(|foreign| (foreign.seen, foreign.decided))
}

#[test]
fn three_that_somebody_starts_are_kept_through_the_stabilisation_and_then_given_back() {
    let mut script = four(setting());
    let ours = addresses(&script);
    others(&mut script, 3);
    for second in 0..STABILISATION - 1 {
        assert!(script.live(1, 40, 5, &[]).is_empty());
        assert_eq!((script.count(), script.origins.len()), (7, 7), "second {second}: {}", script.last().line);
    }
    let last = script.last().clone();
    assert_eq!((last.from, told(&script)), (7, Some((7, 4))), "{}", last.line);
    let foreign = last.foreign.unwrap();
    assert_eq!(foreign.since, last.at - secs(STABILISATION - 1), "when they were seen first");
    assert_eq!(limits(script.last()), [Limit::Foreign]);
    assert!(last.holds[0].starts_with("foreign: 3 run that were not decided here, kept until 2026-03-02T12:"));
    assert_eq!(script.view().capacity.serving, 7, "they serve meanwhile");
    assert!(script.view().foreign.is_some());

    assert!(script.live(10, 40, 5, &[]).is_empty());
    assert_eq!((script.count(), addresses(&script)), (4, ours), "the youngest went");
    assert_eq!((told(&script), script.view().foreign), (None, None));
}

#[test]
fn what_is_given_back_goes_in_the_usual_steps() {
    let mut script = four(Scaling { step_down: 1.into(), ..setting() });
    others(&mut script, 3);
    script.live(STABILISATION - 1, 40, 5, &[]);
    let counts: Vec<_> = (0..4)
        .map(|_| {
            script.live(1, 40, 5, &[]);
            (script.count(), told(&script))
        })
        .collect();
    assert_eq!(counts, [(6, Some((7, 4))), (5, Some((6, 4))), (4, Some((5, 4))), (4, None)]);
}

#[test]
fn a_deploy_that_doubles_the_count_for_ten_minutes_is_not_fought() {
    // The new ones go again, or the old ones do; the second deploy is over within the stabilisation.
    for (stabilisation, old_stay) in [(STABILISATION, true), (900, true), (900, false)] {
        let mut script = four(Scaling { stabilisation: secs(stabilisation), ..setting() });
        let (old, decided) = (addresses(&script), script.decisions.len());
        let new = others(&mut script, 4);
        for _ in 0..600 {
            assert!(script.live(1, 40, 5, &[]).is_empty(), "nothing is launched");
            assert!(old.iter().all(|old| script.stage(*old) == Some(Stage::Serving)), "nor is an old one stopped");
        }
        let expected = if stabilisation > 600 { 8 } else { 4 };
        assert_eq!(script.origins.len(), expected);
        let (gone, kept) = if old_stay { (&new, &old) } else { (&old, &new) };
        for gone in gone {
            script.ends(*gone);
            assert!(script.live(1, 40, 5, &[]).is_empty(), "nobody is replaced");
        }
        assert!(script.live(STABILISATION, 40, 5, &[]).is_empty());
        assert_eq!((script.count(), &addresses(&script)), (4, kept));
        assert_eq!(script.view().capacity.serving, 4);
        let since = &script.decisions[decided..];
        assert!(since.iter().all(|decision| decision.late.is_none()), "what nobody asked for is not late");
        assert!(since.iter().all(|decision| (4..=8).contains(&decision.to)));
        // From now on whoever ends has crashed.
        script.ends(kept[0]);
        assert_eq!(script.live(1, 40, 5, &[]).len(), 1);
    }
}

#[test]
fn one_that_appears_in_the_middle_of_a_scale_out_is_told_from_those_that_were_asked_for() {
    let mut script = four(setting());
    let mut started = Vec::new();
    while started.is_empty() {
        started = script.live(1, 80, 20, &[]);
        assert_eq!(told(&script), None, "ours");
    }
    let asked = script.count() as usize;
    assert!(asked > 4 && script.origins.len() == asked);
    others(&mut script, 1);
    started.extend(script.live(30, 80, 20, &[]));
    assert_eq!((script.count(), script.origins.len()), (8, 8), "the demand wants eight, and it is one of them");
    assert_eq!((started.len(), told(&script)), (3, None));

    // The actuator is asked for one more and another hand is quicker: it is taken for that one.
    let mut script = four(setting());
    while script.count() == 4 {
        script.pass();
        script.report("e1", 50);
        script.step();
    }
    assert_eq!((script.count(), script.origins.len()), (5, 4));
    others(&mut script, 1);
    assert!(script.carry_out().is_empty());
    assert_eq!((script.count(), script.origins.len(), told(&script)), (5, 5, None));
}

#[test]
fn what_the_demand_wants_meanwhile_is_there_when_they_are_gone() {
    let mut script = four(setting());
    let new = others(&mut script, 4);
    assert!(script.live(30, 60, 5, &[]).is_empty(), "eight are enough for six");
    assert_eq!(told(&script), Some((8, 6)));
    for gone in &new {
        script.ends(*gone);
    }
    assert_eq!(script.live(1, 60, 5, &[]).len(), 2);
    script.live(10, 60, 5, &[]);
    assert_eq!((script.count(), script.view().capacity.serving, told(&script)), (6, 6, None));
}

#[test]
fn a_crash_of_ours_is_replaced_beside_others_only_under_the_count_that_was_decided() {
    let mut script = four(setting());
    let ours = addresses(&script);
    others(&mut script, 2);
    script.live(10, 40, 5, &[]);
    for (ended, left) in [(0, 5), (1, 4)] {
        script.ends(ours[ended]);
        assert!(script.live(1, 40, 5, &[]).is_empty());
        assert_eq!((script.count(), script.origins.len()), (left, left as usize));
    }
    script.ends(ours[2]);
    assert_eq!(script.live(1, 40, 5, &[]).len(), 1, "that would be one too few");
    assert_eq!((script.count(), told(&script)), (4, None));
}

#[test]
fn the_ceiling_holds_for_what_is_decided_and_others_over_it_go_in_steps() {
    let mut script = four(Scaling { ceiling: 6, step_down: 1.into(), ..setting() });
    others(&mut script, 4);
    for _ in 0..STABILISATION - 1 {
        // The demand wants more than the ceiling: that is no reason to keep them for longer.
        assert!(script.live(1, 90, 5, &[]).is_empty());
        assert_eq!((script.count(), script.origins.len()), (8, 8), "{}", script.last().line);
    }
    assert_eq!(told(&script), Some((8, 6)), "six of them are wanted here");
    for left in [7, 6, 6] {
        script.live(1, 90, 5, &[]);
        assert_eq!(script.count(), left, "{}", script.last().line);
    }
    assert_eq!(told(&script), None);

    // As for the ceiling of a schedule.
    let four_at_noon = Schedule {
        when: When::Cron("0 12 * * *".into()),
        zone: "UTC".into(),
        floor: None,
        ceiling: Some(4),
        ..evening()
    };
    let mut script = four(Scaling { schedules: vec![four_at_noon], ..setting() });
    others(&mut script, 2);
    script.live(STABILISATION - 1, 40, 5, &[]);
    assert_eq!(script.count(), 6, "{}", script.last().line);
    script.live(1, 40, 5, &[]);
    assert_eq!(script.count(), 4, "{}", script.last().line);
}

#[test]
fn in_the_mode_off_others_stay_for_as_long_as_they_like() {
    let mut script = four(setting());
    let off = Scaling { mode: ScalingMode::Off, ..setting() };
    script.apply(Event::Configured(region(off, &[])));
    let new = others(&mut script, 3);
    assert!(script.live(STABILISATION * 3, 40, 5, &[]).is_empty());
    assert_eq!((script.count(), script.origins.len(), told(&script)), (7, 7, Some((7, 4))));
    new.iter().for_each(|gone| script.ends(*gone));
    assert!(script.live(5, 40, 5, &[]).is_empty());
    assert_eq!((script.count(), script.origins.len(), told(&script)), (4, 4, None));
}

#[test]
fn others_that_no_edge_is_there_to_judge_are_no_reason_to_launch_when_they_go() {
    let mut script = four(setting());
    let new = others(&mut script, 4);
    for _ in 0..STABILISATION * 2 {
        script.pass();
        script.observe();
        assert!(script.carry_out().is_empty());
    }
    assert_eq!((script.count(), told(&script)), (8, Some((8, 4))), "{}", script.last().line);
    assert!(limits(script.last()).is_empty() && script.last().winner == "hold", "{}", script.last().line);
    new.iter().for_each(|gone| script.ends(*gone));
    assert!(script.carry_out().is_empty());
    script.pass();
    assert!(script.carry_out().is_empty());
    assert_eq!((script.count(), script.origins.len()), (4, 4));
}

#[test]
fn asking_and_observing_twice_changes_nothing() {
    let (mut once, mut often) = (four(setting()), four(setting()));
    let mut new = [others(&mut once, 3), others(&mut often, 3)];
    assert_eq!(new[0], new[1]);
    for second in 0..STABILISATION + 20 {
        if second == 20 {
            for (script, new) in [&mut once, &mut often].into_iter().zip(&mut new) {
                script.ends(new.pop().unwrap());
            }
        }
        for _ in 0..3 {
            often.observe();
            let asked = often.step();
            assert_eq!((often.step().pools, often.step().decisions.len()), (asked.pools, 0), "second {second}");
        }
        once.live(1, 40, 5, &[]);
        often.live(1, 40, 5, &[]);
        assert_eq!(addresses(&once), addresses(&often), "second {second}");
        assert_eq!((once.count(), told(&once)), (often.count(), told(&often)), "second {second}");
    }
    assert_eq!((once.count(), once.origins.len()), (4, 4));
}

#[test]
fn launches_of_ours_are_not_foreign() {
    // The warm pool, a crash, one that is late, one that is going, a count that falls while one boots.
    let tier = config::region::WarmPool { size: config::region::WarmSize::Fixed(2), at_most: 2, cost: 1.0 };
    let lead_bounds = Some(config::region::LeadBounds::default());
    let mut script = Script::new(Scaling { warm_pool: Some(tier), lead_bounds, ..setting() }, NOON);
    script.live(60, 50, 20, &[]);
    script.ends(script.origins[0].address);
    script.live(30, 50, 20, &[]);
    let because = "spot notice".to_owned();
    let address = script.origins[1].address;
    script.apply(Event::Leaving { pool: "shop".into(), address, because });
    script.live(30, 50, 20, &[]);
    let late = script.live(10, 80, 1000, &[]);
    assert!(!late.is_empty());
    script.live(60, 80, 20, &late);
    script.live(STABILISATION + 120, 10, 20, &[]);
    assert_eq!((script.count(), script.origins.len()), (1, 3));
    let foreign: Vec<_> = script.decisions.iter().filter(|decision| decision.foreign.is_some()).collect();
    assert!(foreign.is_empty(), "{:?}", foreign.first().map(|decision| (&decision.line, &decision.foreign)));

    // One that another hand starts beside a warm pool is.
    others(&mut script, 1);
    assert!(script.live(30, 10, 5, &[]).is_empty());
    assert_eq!((script.count(), script.origins.len(), told(&script)), (2, 4, Some((2, 1))));
    script.live(STABILISATION, 10, 5, &[]);
    assert_eq!((script.count(), script.origins.len(), told(&script)), (1, 3, None));
}

#[test]
fn who_takes_over_has_what_runs_for_decided_and_a_standby_has_no_others() {
    let mut script = four(setting());
    others(&mut script, 2);
    script.live(5, 40, 5, &[]);
    assert_eq!(told(&script), Some((6, 4)));
    script.apply(Event::Lead(Role::Standby));
    script.observe();
    others(&mut script, 1);
    script.run(1, &[("e1", 40)]);
    assert_eq!((script.last().from, told(&script)), (7, None));
    script.apply(Event::Lead(Role::Leader));
    script.observe();
    script.step();
    assert_eq!((script.last().from, script.count(), told(&script)), (7, 7, None), "{}", script.last().line);
}

#[test]
fn one_that_never_becomes_ready_is_neither_late_nor_replaced() {
    let lead_bounds = Some(config::region::LeadBounds::default());
    let mut script = Script::new(Scaling { lead_bounds, lead: secs(120), ..setting() }, NOON);
    script.live(60, 50, 20, &[]);
    assert!(script.view().lead.late_after_seconds.is_some());
    let new = others(&mut script, 2);
    for _ in 0..STABILISATION - 1 {
        assert!(script.live(1, 50, 20, &new).is_empty());
        assert_eq!(script.last().late, None);
    }
    script.live(5, 50, 20, &new);
    assert_eq!((script.count(), script.origins.len()), (5, 5));
    assert!(script.origins.iter().all(|origin: &Observed| !new.contains(&origin.address)));
}
