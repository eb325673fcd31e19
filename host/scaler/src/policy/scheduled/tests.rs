//! What holds when: precedence, leads, ramps, clock changes; and that no change is missed.

use std::time::Duration;

use config::calendar::Calendar;
use config::region::{Reactive, Scaling, Schedule, When};
use jiff::Timestamp;

use super::{Scheduled, Standing};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

/// A window of an hour in UTC, without a lead, that asks for nothing.
fn rule(name: &str, cron: &str) -> Schedule {
    Schedule {
        name: name.into(),
        when: When::Cron(cron.into()),
        zone: "UTC".into(),
        duration: minutes(60),
        floor: None,
        ceiling: None,
        target: None,
        multiply: None,
        lead: Duration::ZERO,
        own_lead: false,
        ramp_up: Duration::ZERO,
        ramp_down: Duration::ZERO,
        on: None,
        except: None,
        profiles: Vec::new(),
    }
}

fn floor(name: &str, cron: &str, floor: u32) -> Schedule {
    Schedule { floor: Some(floor), ..rule(name, cron) }
}

fn once(name: &str, local: &str) -> Schedule {
    Schedule { when: When::At(local.parse().unwrap()), ..rule(name, "") }
}

/// A pool of 2 to 20 whose origins carry 50.
fn scaling(schedules: Vec<Schedule>) -> Scaling {
    Scaling {
        mode: config::region::ScalingMode::On,
        floor: 2,
        ceiling: 20,
        signals: Vec::new(),
        reactive: Some(Reactive { requests_per_origin: Some(50.0), window: minutes(1), headroom: 1.0 }),
        predictive: None,
        budget: None,
        schedules,
        scripts: Vec::new(),
        lead: Duration::ZERO,
        lead_bounds: None,
        step_up: 1.into(),
        step_down: 1.into(),
        tolerance: Scaling::TOLERANCE,
        stabilisation: Duration::ZERO,
        warm_pool: None,
        hints: None,
        actuator: config::region::Actuator::DryRun,
    }
}

fn scheduled(schedules: Vec<Schedule>) -> Scheduled {
    Scheduled::of(&scaling(schedules))
}

fn standing(schedules: &[Schedule], now: &str) -> Standing {
    scheduled(schedules.to_vec()).standing(at(now))
}

/// The floor and whose it is.
fn floor_at(schedules: &[Schedule], now: &str) -> Option<(u32, String)> {
    standing(schedules, now).floor.map(|holds| (holds.value, holds.rule))
}

fn of(value: u32, rule: &str) -> Option<(u32, String)> {
    Some((value, rule.to_owned()))
}

#[test]
fn the_more_specific_rule_wins_then_the_later_window_then_the_later_in_the_file() {
    let days = [jiff::civil::date(2026, 11, 27)].into();
    let friday = std::sync::Arc::new(Calendar { name: "friday".into(), days, ..Calendar::default() });
    let weekly = Schedule { duration: minutes(600), ..floor("weekly", "0 8 * * *", 9) };
    let calendar = Schedule { on: Some(friday), duration: minutes(120), ..floor("calendar", "0 7 * * *", 6) };
    let one_off = Schedule { floor: Some(3), duration: minutes(60), ..once("one-off", "2026-11-27T07:30") };
    let noon = floor("noon", "0 12 * * *", 4);
    let twin = floor("twin", "0 12 * * *", 5);
    let all = [one_off, calendar, weekly, noon, twin];
    assert_eq!(floor_at(&all, "2026-11-27T07:10:00Z"), of(6, "calendar"));
    assert_eq!(floor_at(&all, "2026-11-27T08:10:00Z"), of(3, "one-off"), "though it is the lowest, and began earlier");
    assert_eq!(floor_at(&all, "2026-11-27T08:40:00Z"), of(6, "calendar"));
    assert_eq!(floor_at(&all, "2026-11-27T09:10:00Z"), of(9, "weekly"));
    assert_eq!(floor_at(&all, "2026-11-27T12:10:00Z"), of(5, "twin"), "began later than weekly, stands after noon");
    assert_eq!(floor_at(&all, "2026-11-28T07:10:00Z"), None, "no day of the calendar");
    let told: Vec<_> =
        standing(&all, "2026-11-27T12:10:00Z").proposals.into_iter().map(|p| (p.origins, p.because)).collect();
    assert_eq!(told[0], (None, "never fires again".to_owned()));
    assert_eq!(told[2].1, "floor 9 from 08:00 UTC, lead 0s; floor gives way to twin (began later)");
    assert_eq!(told[3].1, "floor 4 from 12:00 UTC, lead 0s; floor gives way to twin (later in the file)");
    assert_eq!(told[4], (Some(5), "floor 5 from 12:00 UTC, lead 0s".to_owned()));
    let told = standing(&all, "2026-11-27T08:10:00Z").proposals.swap_remove(1);
    assert_eq!(told.because, "floor 6 from 07:00 UTC, lead 0s; floor gives way to one-off (one-off)");
}

#[test]
fn each_number_has_a_winner_of_its_own() {
    let day =
        Schedule { ceiling: Some(12), target: Some(40.0), duration: minutes(600), ..floor("day", "0 8 * * *", 6) };
    let sale = Schedule { multiply: Some(2.0), floor: Some(8), ..rule("sale", "0 12 * * *") };
    let now = standing(&[day, sale], "2026-11-27T12:10:00Z");
    assert_eq!(now.floor.map(|holds| (holds.value, holds.rule)), of(8, "sale"));
    assert_eq!(now.ceiling.map(|holds| (holds.value, holds.rule)), of(12, "day"));
    assert_eq!(now.target.map(|holds| holds.value), Some(40.0));
    assert_eq!(now.multiply.map(|holds| holds.value), Some(2.0));
}

#[test]
fn before_its_window_a_rule_only_adds() {
    let led = |schedule: Schedule| Schedule { lead: minutes(10), ..schedule };
    let day = Schedule { duration: minutes(600), ..floor("day", "0 8 * * *", 6) };
    let less = led(Schedule { floor: Some(3), ..once("less", "2026-11-27T12:00") });
    let more = led(floor("more", "0 14 * * *", 9));
    let night =
        led(Schedule { ceiling: Some(4), target: Some(90.0), multiply: Some(0.5), ..rule("night", "0 16 * * *") });
    let all = [day, less, more, night];
    assert_eq!(floor_at(&all, "2026-11-27T11:55:00Z"), of(6, "day"), "the lower one waits for its start");
    assert_eq!(floor_at(&all, "2026-11-27T12:00:00Z"), of(3, "less"));
    assert_eq!(floor_at(&all, "2026-11-27T13:49:59Z"), of(6, "day"));
    assert_eq!(floor_at(&all, "2026-11-27T13:50:00Z"), of(9, "more"), "capacity serves at the start");
    let early = standing(&all, "2026-11-27T15:55:00Z");
    assert_eq!((early.ceiling, early.target, early.multiply), (None, None, None), "all three would take away");
    let then = standing(&all, "2026-11-27T16:00:00Z");
    assert_eq!(then.ceiling.map(|holds| holds.value), Some(4));
    assert_eq!(then.target.map(|holds| holds.value), Some(90.0));
    assert_eq!(then.multiply.map(|holds| holds.value), Some(0.5));
    let busy = led(Schedule { target: Some(30.0), multiply: Some(3.0), ..rule("busy", "0 20 * * *") });
    let early = standing(&[busy], "2026-11-27T19:55:00Z");
    assert_eq!((early.target.unwrap().value, early.multiply.unwrap().value), (30.0, 3.0), "these add");
}

#[test]
fn a_ramp_goes_in_whole_origins_from_the_pools_floor_and_back() {
    let ramp =
        Schedule { lead: minutes(5), ramp_up: minutes(10), ramp_down: minutes(20), ..floor("sale", "0 12 * * *", 7) };
    let floors = |times: &[&str]| -> Vec<Option<u32>> {
        let at = |time: &&str| format!("2026-11-27T{time}Z");
        times.iter().map(|time| floor_at(std::slice::from_ref(&ramp), &at(time)).map(|(floor, _)| floor)).collect()
    };
    // From 2 to 7 between 11:45 and 11:55.
    assert_eq!(
        floors(&["11:44:59", "11:46:59", "11:47:00", "11:50:59", "11:51:00", "11:54:59", "11:55:00", "12:00:00"]),
        [None, None, Some(3), Some(4), Some(5), Some(6), Some(7), Some(7)]
    );
    // And down between 13:00 and 13:20.
    assert_eq!(
        floors(&["12:59:59", "13:00:00", "13:03:59", "13:04:00", "13:15:59", "13:16:00", "13:20:00"]),
        [Some(7), Some(7), Some(7), Some(6), Some(4), Some(3), None].map(|floor| floor)
    );
    let because = |time: &str| standing(std::slice::from_ref(&ramp), time).proposals.swap_remove(0).because;
    assert_eq!(because("2026-11-27T11:51:00Z"), "floor 7 from 12:00 UTC, lead 300s; rising, 5 now");
    assert_eq!(because("2026-11-27T13:04:00Z"), "floor 7; falling until 13:20 UTC, 6 now");
}

#[test]
fn a_ramp_gives_way_to_a_more_specific_rule_and_to_no_other() {
    let morning = Schedule { ramp_down: minutes(60), ..floor("morning", "0 8 * * *", 8) };
    let day = Schedule { duration: minutes(600), ..floor("day", "0 9 * * *", 4) };
    let one_off = Schedule { floor: Some(3), ..once("one-off", "2026-11-27T09:00") };
    assert_eq!(floor_at(&[morning.clone(), day.clone()], "2026-11-27T09:15:00Z"), of(7, "morning"), "no cliff");
    assert_eq!(floor_at(&[morning.clone(), day.clone()], "2026-11-27T09:45:00Z"), of(4, "day"));
    assert_eq!(floor_at(&[morning, day, one_off], "2026-11-27T09:15:00Z"), of(3, "one-off"));
}

#[test]
fn a_factor_rises_and_falls_with_its_ramps() {
    let event = Schedule {
        multiply: Some(3.0),
        ramp_up: minutes(20),
        ramp_down: minutes(20),
        ..once("event", "2026-11-27T12:00")
    };
    let factor = |time: &str| {
        let now = standing(std::slice::from_ref(&event), &format!("2026-11-27T{time}Z"));
        now.multiply.map_or(1.0, |holds| (holds.value * 1000.0).round() / 1000.0)
    };
    let factors = ["11:40:59", "11:41:00", "11:50:00", "12:00:00", "13:00:30", "13:10:00", "13:20:00"].map(factor);
    assert_eq!(factors, [1.0, 1.1, 2.0, 3.0, 3.0, 2.0, 1.0]);
}

#[test]
fn a_window_lasts_as_long_as_it_says_over_a_clock_change() {
    let night = |zone: &str| Schedule {
        zone: zone.into(),
        duration: minutes(4 * 60),
        ramp_up: minutes(60),
        ramp_down: minutes(60),
        ..floor("night", "0 1 * * *", 4)
    };
    for (zone, start) in [
        ("Europe/Berlin", "2026-03-29T00:00:00Z"),
        ("Europe/Berlin", "2026-10-24T23:00:00Z"),
        ("America/New_York", "2026-03-08T06:00:00Z"),
        ("America/New_York", "2026-11-01T05:00:00Z"),
        ("Australia/Lord_Howe", "2026-10-03T14:30:00Z"),
        // 01:00 is shown where the gap of midnight ends.
        ("Africa/Cairo", "2026-04-23T22:00:00Z"),
    ] {
        let start = at(start);
        let floor = |offset: i64| {
            let now = start + jiff::SignedDuration::from_secs(offset);
            scheduled(vec![night(zone)]).standing(now).floor.map(|holds| holds.value)
        };
        let hour = 3600;
        // From 2 to 4 in an hour, in two steps; and back.
        let around = [-hour / 2 - 1, -hour / 2, -1, 0, 4 * hour - 1, 4 * hour, 4 * hour + hour / 2, 5 * hour];
        let expected = [None, Some(3), Some(3), Some(4), Some(4), Some(4), Some(3), None];
        assert_eq!(around.map(floor), expected, "{zone} {start}");
    }
}

/// SplitMix64: small, seeded, good enough to mix cases.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    fn span(&mut self, most: u64) -> Duration {
        if self.below(3) == 0 { Duration::ZERO } else { Duration::from_secs(self.below(most)) }
    }
}

const CRONS: [&str; 7] =
    ["0 2 * * *", "30 2 * * *", "15,45 1-3 * * *", "*/20 * * * *", "0 0 * * *", "50 23 * * *", "17 0 1 * * *"];

fn any_rule(dice: &mut Dice, i: usize, zone: &str, local: jiff::civil::DateTime) -> Schedule {
    let cron = dice.of(&CRONS);
    let when = match dice.below(4) {
        0 => When::At(local + jiff::Span::new().minutes(dice.below(300) as i64)),
        _ => When::Cron(cron.into()),
    };
    let floor = (dice.below(3) > 0).then(|| 1 + dice.below(9) as u32);
    Schedule {
        name: format!("r{i}"),
        when,
        zone: zone.into(),
        duration: Duration::from_secs(1 + dice.below(7200)),
        floor,
        ceiling: (dice.below(2) > 0).then(|| 2 + dice.below(9) as u32),
        target: (dice.below(3) == 0).then(|| 10.0 + dice.below(90) as f64),
        multiply: (floor.is_none() || dice.below(3) == 0).then(|| 0.5 + dice.below(5) as f64),
        lead: dice.span(3600),
        own_lead: true,
        ramp_up: dice.span(1800),
        ramp_down: dice.span(1800),
        on: None,
        except: None,
        profiles: Vec::new(),
    }
}

/// Zones some hours before their clocks change.
const CHANGES: [(&str, &str); 9] = [
    ("Europe/Berlin", "2026-03-28T22:30:00Z"),
    ("Europe/Berlin", "2026-10-24T22:30:00Z"),
    ("America/New_York", "2026-03-08T05:00:00Z"),
    ("America/New_York", "2026-11-01T04:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T13:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T13:30:00Z"),
    ("America/Sao_Paulo", "2018-11-04T01:00:00Z"),
    ("Africa/Cairo", "2026-04-23T20:00:00Z"),
    ("Pacific/Apia", "2011-12-30T08:00:00Z"),
];

#[test]
fn no_change_comes_unannounced_and_asking_twice_changes_nothing() {
    for seed in 0..50 {
        let mut dice = Dice(seed);
        let (zone, from) = dice.of(&CHANGES);
        let from = at(from);
        let local = jiff::tz::TimeZone::get(zone).unwrap().to_datetime(from);
        let rules: Vec<_> = (0..1 + dice.below(4) as usize).map(|i| any_rule(&mut dice, i, zone, local)).collect();
        // One is asked each second; the other only when it has announced a change.
        let (mut each, mut woken) = (scheduled(rules.clone()), scheduled(rules.clone()));
        let mut held = woken.standing(from);
        let mut due = woken.next_change(from);
        let mut changes = 0;
        for second in 0..4 * 3600 {
            let now = from + jiff::SignedDuration::from_secs(second);
            while let Some(at) = due.filter(|due| *due <= now) {
                held = woken.standing(at);
                assert_eq!(woken.standing(at), held, "seed {seed}: twice");
                due = woken.next_change(at);
                assert!(due.is_none_or(|due| due > at), "seed {seed}: it stands still at {at}");
                changes += 1;
            }
            assert_eq!(each.standing(now), held, "seed {seed} at {now}: {rules:#?}");
        }
        assert_eq!(scheduled(rules.clone()).standing(from), each.standing(from), "seed {seed}: back again");
        assert!(changes < 4 * 3600, "seed {seed}: {changes} changes");
    }
}
