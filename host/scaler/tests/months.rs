//! A month's account: which hours are its own, what was spent of them, and what a hard ceiling leaves.

mod script;
mod traces;

use config::region::{Aim, Monthly, Scaling, ScalingBudget};
use forebay_scaler as scaler;
use jiff::SignedDuration;
use scaler::Limit;
use scaler::budget::{Budget, Month};
use scaler::wall::Wall;
use script::*;
use traces::near;

fn monthly(origin_hours: f64, zone: &str, hard: bool) -> ScalingBudget {
    let monthly = Monthly { origin_hours, money: None, zone: zone.into(), hard };
    ScalingBudget { aim: Aim::Price(80.0), monthly: Some(monthly) }
}

/// Ten run, and are counted each quarter of an hour.
fn pass(budget: &mut Budget, from: &str, to: &str) -> u32 {
    let (mut now, to, mut months) = (at(from), at(to), 0);
    while now <= to {
        months += u32::from(budget.count(10, now, Wall::default()));
        now += secs(900);
    }
    months
}

fn month(budget: &Budget, now: &str) -> Month {
    budget.told(None, at(now)).month.expect("it has a ceiling")
}

#[test]
fn a_month_is_the_zones_and_has_the_hours_that_its_clocks_make_of_it() {
    // Midnight in Berlin is 23:00 in UTC, and from the 29th of March 22:00.
    for (zone, from, to, hours) in [
        ("Europe/Berlin", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z", 743.0),
        ("Europe/Berlin", "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z", 745.0),
        ("UTC", "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z", 744.0),
        ("America/New_York", "2026-11-01T04:00:00Z", "2026-12-01T05:00:00Z", 721.0),
    ] {
        let mut budget = Budget::new(&monthly(10_000.0, zone, false), at(from), Wall::default());
        near(budget.affordable(at(from)).unwrap(), 10_000.0 / hours, zone);
        let last = at(to) - secs(900);
        assert_eq!(pass(&mut budget, from, &last.to_string()), 0, "{zone}");
        let told = month(&budget, &last.to_string());
        assert_eq!((told.from, told.to), (at(from), at(to)), "{zone}");
        near(told.spent_hours, 10.0 * (hours - 0.25), zone);
        near(told.projected_hours, 10.0 * hours, zone);
        // The month ends, and what comes after it is another's.
        assert!(budget.count(10, at(to) + secs(900), Wall::default()), "{zone}");
        let told = month(&budget, &(at(to) + secs(900)).to_string());
        assert_eq!((told.from, told.counted_from, told.ceiling_hours), (at(to), at(to), 10_000.0), "{zone}");
        near(told.spent_hours, 2.5, zone);
    }
}

#[test]
fn what_is_left_is_for_the_rest_of_the_month() {
    let mut budget = Budget::new(&monthly(7440.0, "UTC", false), at("2026-03-01T00:00:00Z"), Wall::default());
    assert_eq!(budget.affordable(at("2026-03-01T00:00:00Z")), Some(10.0));
    budget.count(20, at("2026-03-01T00:00:00Z"), Wall::default());
    budget.count(20, at("2026-03-03T00:00:00Z"), Wall::default());
    near(budget.affordable(at("2026-03-03T00:00:00Z")).unwrap(), (7440.0 - 960.0) / 696.0, "two days of twenty");
    for day in 4..=31 {
        budget.count(20, at(&format!("2026-03-{day:02}T00:00:00Z")), Wall::default());
    }
    assert_eq!(budget.affordable(at("2026-03-31T00:00:00Z")), Some(0.0), "nothing is left, and less is not");
    assert!(budget.clamp(1, at("2026-03-31T00:00:00Z")).is_none(), "a soft ceiling takes nothing away");
}

#[test]
fn a_budget_that_begins_within_a_month_counts_its_part_and_one_that_is_recalled_goes_on() {
    let (start, half) = ("2026-03-01T00:00:00Z", "2026-03-16T12:00:00Z");
    let mut budget = Budget::new(&monthly(7440.0, "UTC", false), at(half), Wall::default());
    assert_eq!(budget.affordable(at(half)), Some(10.0), "half of it for half of the month");
    assert_eq!(month(&budget, half).ceiling_hours, 3720.0);

    let mut before = Budget::new(&monthly(7440.0, "UTC", false), at(start), Wall::default());
    pass(&mut before, start, "2026-03-16T11:00:00Z");
    let kept = month(&before, "2026-03-16T11:00:00Z");
    near(kept.spent_hours, 3710.0, "371 hours of ten");
    // An hour passed in which nobody counted and ten ran.
    budget.recall(&kept, at("2026-03-16T11:00:00Z"));
    budget.count(10, at(half), Wall::default());
    let told = month(&budget, half);
    near(told.spent_hours, 3720.0, "and the hour");
    assert_eq!((told.counted_from, told.ceiling_hours), (at(start), 7440.0));
    // Once it counts it is too late for an earlier run's word, and of two the later holds.
    budget.recall(&Month { spent_hours: 9.0, ..kept.clone() }, at("2026-03-16T11:30:00Z"));
    assert_eq!(month(&budget, half).spent_hours, 3720.0);
    let mut two = Budget::new(&monthly(7440.0, "UTC", false), at(half), Wall::default());
    assert!(two.counted(Wall::default()).is_none(), "nothing is known that is worth keeping");
    two.recall(&kept, at("2026-03-16T11:00:00Z"));
    two.recall(&Month { spent_hours: 9.0, ..kept.clone() }, at("2026-03-16T10:00:00Z"));
    two.count(10, at(half), Wall::default());
    let (until, counted) = two.counted(Wall::default()).expect("it counts");
    near(counted.spent_hours, 3720.0, "the later word");
    assert_eq!(until, at(half));
    // Another month's record says nothing of this one; a changed ceiling leaves what was spent.
    let mut next = Budget::new(&monthly(7440.0, "UTC", false), at("2026-04-02T00:00:00Z"), Wall::default());
    next.recall(&kept, at("2026-03-16T11:00:00Z"));
    next.count(10, at("2026-04-02T00:00:00Z"), Wall::default());
    assert_eq!(month(&next, "2026-04-02T00:00:00Z").spent_hours, 0.0);
    let changed = budget.anew(&monthly(9000.0, "UTC", false), at(half), Wall::default());
    let told = month(&changed, half);
    assert_eq!((told.spent_hours, told.ceiling_hours), (3720.0, 9000.0));
}

#[test]
fn a_wall_clock_that_is_set_pays_nothing_and_a_long_silence_neither() {
    let mut budget = Budget::new(&monthly(7440.0, "UTC", false), at("2026-03-05T00:00:00Z"), Wall::default());
    let mut counted = |now: &str, ahead: i64| {
        let wall = Wall::new(SignedDuration::from_hours(ahead));
        let another = budget.count(10, at(now), wall);
        let told = budget.told(None, wall.shows(at(now))).month.unwrap();
        (told.spent_hours, another)
    };
    assert_eq!(counted("2026-03-05T00:00:00Z", 0), (0.0, false));
    assert_eq!(counted("2026-03-05T02:00:00Z", 0), (20.0, false));
    assert_eq!(counted("2026-03-05T03:00:00Z", -5), (30.0, false), "set back: an hour has passed");
    assert_eq!(counted("2026-03-05T04:00:00Z", 100), (40.0, false), "and far ahead");
    assert_eq!(counted("2026-03-25T04:00:00Z", 0), (40.0, false), "twenty days of which nobody knows");
    assert_eq!(counted("2026-03-25T05:00:00Z", 0), (50.0, false));
    // Set into another month, of which the beginning is not known.
    assert_eq!(counted("2026-03-25T06:00:00Z", 24 * 20), (0.0, true));
    assert_eq!(counted("2026-03-25T07:00:00Z", 24 * 20), (10.0, false));
}

#[test]
fn a_hard_ceiling_leaves_the_floor_and_a_soft_one_takes_nothing() {
    let listed: Vec<_> = (1..=8).map(|port| std::net::SocketAddr::from(([127, 0, 0, 1], port))).collect();
    let run = |hard: bool| {
        let setting = Scaling { budget: Some(monthly(800.0, "UTC", hard)), ..scaling() };
        let mut script = Script::with(region(setting, &listed), "2026-03-01T00:00:00Z");
        for _ in 0..10 {
            script.run(12, &[("e1", 50)]);
            script.now += secs(3588);
        }
        script.run(12, &[("e1", 50)]);
        script
    };
    let hard = run(true);
    let decision = hard.last();
    assert!(decision.clamps.iter().any(|clamp| clamp.limit == Limit::Budget && clamp.after == 1), "{}", decision.line);
    assert_eq!(decision.to, 1, "the floor, and not less: {}", decision.line);
    assert!(
        decision.line.contains("budget") && decision.line.contains("of 800 origin-hours are spent"),
        "{}",
        decision.line
    );
    assert!(hard.decisions[..60].iter().skip(11).all(|decision| decision.to == 5), "while there is money");
    let soft = run(false);
    assert_eq!((soft.count(), limits(soft.last())), (5, vec![]), "{}", soft.last().line);
    let spending = soft.last().budget.as_ref().expect("it is told");
    let told = spending.month.as_ref().expect("it has a ceiling");
    assert!((told.spent_hours - 80.0).abs() < 0.05, "eight listed ones for ten hours: {told:?}");
    assert!(told.projected_hours > told.ceiling_hours);
    assert!(spending.verdict.contains("80 origin-hours of 800 origin-hours are spent"), "{}", spending.verdict);
}
