//! Rules of time, as decisions and views show them.

mod script;

use std::time::Duration;

use config::region::{Schedule, When};
use forebay_scaler as scaler;
use scaler::{Event, Limit, Source};
use script::*;

const NOON: &str = "2026-03-02T12:00:00Z";

#[test]
fn a_schedule_takes_effect_its_lead_before_the_start_and_ends_with_its_window() {
    let mut setting = scaling();
    setting.schedules = vec![evening()];
    let mut script = Script::new(setting, "2026-03-02T16:58:50Z");
    script.run(9, &[("e1", 15)]);
    assert_eq!(script.count(), 2);
    let waiting = script.last().proposals.iter().find(|p| p.source == Source::Schedule).unwrap();
    assert_eq!(waiting.origins, None);
    assert_eq!(waiting.because, "floor 5 next from 2026-03-02 18:00:00 Europe/Berlin, lead 60s");

    script.run(1, &[("e1", 15)]);
    assert_eq!(script.now, at("2026-03-02T16:59:00Z"));
    assert_eq!(
        script.last().line,
        "pool shop: 2 -> 5: schedule evening (floor 5 from 18:00 Europe/Berlin, lead 60s) over reactive 2; ceiling 8"
    );
    script.now = at("2026-03-02T18:59:50Z");
    script.run(9, &[("e1", 15)]);
    assert_eq!(script.count(), 5, "to the last second of the window");
    script.run(1, &[("e1", 15)]);
    assert_eq!(script.count(), 2, "and not after it");
}

#[test]
fn a_schedule_that_is_about_to_change_is_what_one_wakes_for() {
    let mut setting = scaling();
    setting.schedules = vec![evening()];
    let config = region(setting, &[]);
    let mut slow = (*config).clone();
    slow.aggregator.as_mut().unwrap().tick = secs(30);
    let mut script = Script::with(slow.into(), "2026-03-02T16:58:45Z");
    assert_eq!(script.step().wake_at, at("2026-03-02T16:59:00Z"), "before the next tick");
    script.now = at("2026-03-02T16:59:00Z");
    script.step();
    assert_eq!(script.count(), 5, "without any report: the calendar is known");
}

#[test]
fn of_several_windows_the_one_that_began_later_holds() {
    let mut setting = scaling();
    let sale = scaler_schedule("sale", "30 17 * * * *", "UTC", 3600, 7);
    setting.schedules = vec![evening(), sale];
    setting.reactive = None;
    let mut script = Script::new(setting, "2026-03-02T17:20:00Z");
    script.run(1, &[("e1", 0)]);
    assert_eq!((script.count(), script.last().winner.as_str()), (7, "schedule sale"));
    let lost = &script.last().proposals[0];
    assert_eq!(lost.origins, None);
    assert_eq!(
        lost.because, "floor 5 from 18:00 Europe/Berlin, lead 60s; floor gives way to sale (began later)",
        "the rule that lost stays in the record"
    );
}

#[test]
fn a_scheduled_ceiling_binds_in_its_window_and_says_so() {
    let mut setting = scaling();
    (setting.floor, setting.step_down) = (2, 1.into());
    setting.schedules = vec![Schedule { floor: None, ceiling: Some(3), ..evening() }];
    let mut script = Script::new(setting, "2026-03-02T16:59:40Z");
    script.run(19, &[("e1", 60)]);
    assert_eq!(script.count(), 6, "in its lead it takes nothing away");
    script.run(1, &[("e1", 60)]);
    assert_eq!(script.count(), 3, "a bound, whatever the steps and holds");
    assert_eq!(limits(script.last()), [Limit::Schedule]);
    assert_eq!(
        script.last().line,
        "pool shop: 6 -> 3: reactive (60.0 requests/s over 10s x 1 / 10 per origin); \
         schedule 6 -> 3 (ceiling 3 of evening until 20:00 Europe/Berlin); ceiling 8"
    );
    script.now = at("2026-03-02T18:59:45Z");
    script.run(14, &[("e1", 60)]);
    assert_eq!(script.count(), 3);
    script.run(1, &[("e1", 60)]);
    assert_eq!(script.count(), 6, "and not after it");
}

#[test]
fn a_schedule_alters_what_the_load_asks_for() {
    let mut setting = scaling();
    setting.ceiling = 20;
    let mut script = Script::new(setting.clone(), "2026-03-02T17:10:00Z");
    script.run(12, &[("e1", 40)]);
    assert_eq!(script.count(), 4);
    setting.schedules = vec![Schedule { floor: None, target: Some(5.0), multiply: Some(1.5), ..evening() }];
    script.apply(Event::Configured(region(setting, &[])));
    script.run(1, &[("e1", 40)]);
    assert_eq!(script.count(), 12, "40 a second at 5 each, and half as much again");
    assert_eq!(
        script.last().line,
        "pool shop: 4 -> 12: reactive (40.0 requests/s over 10s x 1 / 5 per origin by schedule evening; \
         8 x 1.5 = 12 by schedule evening); ceiling 20"
    );
}

#[test]
fn the_view_says_where_each_rule_stands_and_what_it_holds() {
    let mut setting = scaling();
    let sale = Schedule {
        name: "sale".into(),
        when: When::At("2026-03-02T19:00".parse().unwrap()),
        floor: Some(2),
        ramp_up: secs(600),
        ..evening()
    };
    let night = Schedule { name: "night".into(), when: When::Cron("0 23 * * *".into()), ..evening() };
    setting.schedules = vec![evening(), sale, night];
    let mut script = Script::new(setting, NOON);
    let seen = |script: &mut Script, now: &str| {
        script.now = at(now);
        let views = script.region.pool("shop", script.now).unwrap().schedules;
        views.into_iter().map(|view| format!("{} {} {:?}", view.name, view.phase, view.holds)).collect::<Vec<_>>()
    };
    assert_eq!(
        seen(&mut script, "2026-03-02T17:52:00Z"),
        ["evening window [\"floor\"]", "sale ramp_up []", "night waiting []"]
    );
    assert_eq!(
        seen(&mut script, "2026-03-02T18:30:00Z"),
        ["evening window []", "sale window [\"floor\"]", "night waiting []"],
        "the one-off wins with the lower floor"
    );
    script.now = at("2026-03-02T18:30:00Z");
    script.run(1, &[("e1", 0)]);
    assert_eq!(script.count(), 2);
    let json = serde_json::to_value(script.region.pool("shop", script.now).unwrap().schedules).unwrap();
    assert_eq!(json[1]["at"], "2026-03-02T19:00:00");
    assert_eq!((&json[1]["cron"], &json[0]["cron"]), (&serde_json::Value::Null, &"0 18 * * *".into()));
    assert_eq!((&json[1]["ramp_up_seconds"], &json[1]["ceiling"]), (&600.0.into(), &serde_json::Value::Null));
}

fn scaler_schedule(name: &str, cron: &str, zone: &str, seconds: u64, floor: u32) -> Schedule {
    Schedule {
        name: name.into(),
        when: When::Cron(cron.into()),
        zone: zone.into(),
        duration: secs(seconds),
        floor: Some(floor),
        lead: Duration::ZERO,
        own_lead: true,
        ..evening()
    }
}

/// When the floor of a rule takes effect over some days, stepping by the minute.
fn starts(cron: &str, zone: &str, from: &str, days: u64) -> Vec<String> {
    let mut setting = scaling();
    setting.reactive = None;
    setting.schedules = vec![scaler_schedule("s", cron, zone, 60, 5)];
    let mut script = Script::new(setting, from);
    let (mut starts, mut active) = (Vec::new(), false);
    for _ in 0..days * 24 * 60 {
        let view = script.region.pool("shop", script.now).unwrap().schedules[0].clone();
        if view.active && !active {
            starts.push(script.now.to_string());
        }
        active = view.active;
        script.now += secs(60);
    }
    starts
}

#[test]
fn a_local_time_that_is_skipped_fires_at_the_next_instant_that_exists() {
    // Clocks go from 02:00 to 03:00 on 29 March: 02:30 does not exist that day.
    assert_eq!(
        starts("30 2 * * *", "Europe/Berlin", "2026-03-27T23:00:00Z", 3),
        ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
    );
}

#[test]
fn a_local_time_that_is_repeated_fires_once() {
    // Clocks go from 03:00 back to 02:00 on 25 October: 02:30 exists twice.
    assert_eq!(
        starts("30 2 * * *", "Europe/Berlin", "2026-10-23T22:00:00Z", 3),
        ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
    );
}

#[test]
fn a_list_of_times_keeps_to_that_as_well() {
    assert_eq!(
        starts("30 2,14 * * *", "Europe/Berlin", "2026-03-28T22:00:00Z", 1),
        ["2026-03-29T01:00:00Z", "2026-03-29T12:30:00Z"]
    );
    assert_eq!(
        starts("15,45 2 * * *", "Europe/Berlin", "2026-10-24T22:00:00Z", 1),
        ["2026-10-25T00:15:00Z", "2026-10-25T00:45:00Z"]
    );
    // Every hour is every hour, in the repeated one too.
    assert_eq!(starts("7 * * * *", "Europe/Berlin", "2026-10-24T22:00:00Z", 1).len(), 24);
}

#[test]
fn a_schedule_keeps_its_local_time_over_the_year() {
    let winter = starts("0 0 18 * * *", "America/New_York", "2026-01-05T12:00:00Z", 1);
    let summer = starts("0 0 18 * * *", "America/New_York", "2026-07-06T12:00:00Z", 1);
    assert_eq!((winter, summer), (vec!["2026-01-05T23:00:00Z".to_string()], vec!["2026-07-06T22:00:00Z".to_string()]));
}
