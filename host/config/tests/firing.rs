//! When rules of time fire: over clock changes of several zones, on the days that calendars leave them.

#[path = "support/folder.rs"]
mod folder;

use std::path::Path;

use config::firing::Firings;
use folder::Folder;
use forebay_config as config;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The rules of a pool with these calendars.
fn rules(calendars: &str, rules: &str, base: &Path) -> Vec<Firings> {
    let text = format!(
        "aggregator: {{address: '127.0.0.1:0'}}\n{calendars}\npools:\n  - name: shop\n    scaling:\n      ceiling: 9\n      \
         actuator: dry_run\n      schedules:\n{rules}"
    );
    let region = config::parse(&text, Path::new("region.yaml"), base).unwrap_or_else(|errors| panic!("{errors}"));
    let scaling = region.pools["shop"].scaling.as_ref().unwrap();
    scaling.schedules.iter().map(|rule| Firings::new(rule).unwrap()).collect()
}

fn rule(when: &str, zone: &str) -> Firings {
    let rule = format!("        - {{name: a, {when}, zone: {zone}, duration: 1h, floor: 1}}\n");
    rules("", &rule, Path::new("/nowhere")).remove(0)
}

fn cron(text: &str, zone: &str) -> Firings {
    rule(&format!("cron: '{text}'"), zone)
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The firings after `from`, with the offset that holds then.
fn after(firings: &Firings, from: &str, count: usize) -> Vec<String> {
    let next = |at: &Timestamp| firings.next(*at);
    let all = std::iter::successors(firings.next(at(from)), next).take(count);
    all.map(|at| at.to_zoned(firings.zone().clone()).strftime("%Y-%m-%d %H:%M%:z").to_string()).collect()
}

#[test]
fn a_skipped_local_time_fires_at_the_next_instant_that_exists() {
    for (text, zone, from, expected) in [
        // 02:00 to 03:00.
        ("30 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29 03:00+02:00"),
        ("30 2 * * *", "America/New_York", "2026-03-08T05:30:00Z", "2026-03-08 03:00-04:00"),
        // 02:00 to 02:30.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T14:30:00Z", "2026-10-04 02:30+11:00"),
        // Midnight to 01:00: the day begins with the gap.
        ("0 0 * * *", "America/Sao_Paulo", "2018-11-04T01:00:00Z", "2018-11-04 01:00-02:00"),
        ("30 0 * * *", "Africa/Cairo", "2026-04-23T21:00:00Z", "2026-04-24 01:00+03:00"),
        // The whole day is skipped.
        ("0 9 30 12 *", "Pacific/Apia", "2011-12-29T20:00:00Z", "2011-12-31 00:00+14:00"),
    ] {
        assert_eq!(after(&cron(text, zone), from, 1), [expected], "{text} {zone}");
    }
    let daily = after(&cron("0 9 * * *", "Pacific/Apia"), "2011-12-29T00:00:00Z", 3);
    assert_eq!(daily, ["2011-12-29 09:00-10:00", "2011-12-31 00:00+14:00", "2011-12-31 09:00+14:00"]);
    let once = after(&rule("at: 2026-03-29T02:30", "Europe/Berlin"), "2026-03-01T00:00:00Z", 2);
    assert_eq!(once, ["2026-03-29 03:00+02:00"], "a one-off too, and once");
}

#[test]
fn several_that_are_skipped_together_fire_together() {
    let both = after(&cron("15,45 2 * * *", "Europe/Berlin"), "2026-03-28T12:00:00Z", 3);
    assert_eq!(both, ["2026-03-29 03:00+02:00", "2026-03-30 02:15+02:00", "2026-03-30 02:45+02:00"]);
    let with_the_end = after(&cron("30 2,3 * * *", "Europe/Berlin"), "2026-03-28T12:00:00Z", 2);
    assert_eq!(with_the_end, ["2026-03-29 03:00+02:00", "2026-03-29 03:30+02:00"]);
}

#[test]
fn a_repeated_local_time_fires_once_at_the_first() {
    for (text, zone, from, expected) in [
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T22:00:00Z", ["2026-10-25 02:30+02:00", "2026-10-26 02:30+01:00"]),
        (
            "30 1 * * *",
            "America/New_York",
            "2026-11-01T04:30:00Z",
            ["2026-11-01 01:30-04:00", "2026-11-02 01:30-05:00"],
        ),
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            "2026-04-04T13:00:00Z",
            ["2026-04-05 01:45+11:00", "2026-04-06 01:45+10:30"],
        ),
        // Midnight back to 23:00 of the day before.
        (
            "30 23 * * *",
            "America/Sao_Paulo",
            "2018-02-17T12:00:00Z",
            ["2018-02-17 23:30-02:00", "2018-02-18 23:30-03:00"],
        ),
        (
            "0 0 * * *",
            "America/Sao_Paulo",
            "2018-02-17T12:00:00Z",
            ["2018-02-18 00:00-03:00", "2018-02-19 00:00-03:00"],
        ),
    ] {
        assert_eq!(after(&cron(text, zone), from, 2), expected, "{text} {zone}");
    }
}

#[test]
fn a_rule_of_every_hour_goes_by_what_the_clock_shows() {
    let spring = after(&cron("7 * * * *", "Europe/Berlin"), "2026-03-29T00:00:00Z", 3);
    assert_eq!(spring, ["2026-03-29 01:07+01:00", "2026-03-29 03:07+02:00", "2026-03-29 04:07+02:00"]);
    let autumn = after(&cron("7 * * * *", "Europe/Berlin"), "2026-10-24T23:30:00Z", 3);
    assert_eq!(autumn, ["2026-10-25 02:07+02:00", "2026-10-25 02:07+01:00", "2026-10-25 03:07+01:00"]);
    let half = after(&cron("45 * * * *", "Australia/Lord_Howe"), "2026-04-04T14:00:00Z", 3);
    assert_eq!(half, ["2026-04-05 01:45+11:00", "2026-04-05 01:45+10:30", "2026-04-05 02:45+10:30"]);
}

#[test]
fn what_comes_seldom_is_found_and_what_never_comes_again_is_not() {
    let leap = after(&cron("0 0 29 2 *", "UTC"), "2096-03-01T00:00:00Z", 1);
    assert_eq!(leap, ["2104-02-29 00:00+00:00"], "2100 has none");
    let friday = cron("0 12 13 * +5", "UTC");
    assert_eq!(after(&friday, "2026-04-01T00:00:00Z", 1), ["2026-11-13 12:00+00:00"]);
    assert_eq!(friday.last(at("2026-11-13T11:59:59Z")), Some(at("2026-03-13T12:00:00Z")));
    let once = rule("at: 2026-11-27T18:00:30", "America/New_York");
    assert_eq!(once.next(at("2026-11-27T23:00:30Z")), None);
    assert_eq!(once.last(at("2026-11-27T23:00:30Z")), Some(at("2026-11-27T23:00:30Z")), "its own instant is not past");
    assert_eq!(once.last(at("2026-11-27T23:00:29Z")), None);
}

/// What a clock on the wall would do, minute by minute: the rule of the head of `firing.rs`, word for word.
fn on_the_wall(text: &str, zone: &TimeZone, from: Timestamp, minutes: i64) -> Vec<Timestamp> {
    let parsed = config::cron::parse(text).unwrap();
    let pattern = &parsed.pattern;
    let mut shown = zone.to_datetime(from);
    let mut fired = Vec::new();
    for minute in 1..=minutes {
        let now = from + jiff::SignedDuration::from_mins(minute);
        let reading = zone.to_datetime(now);
        let due = |local: jiff::civil::DateTime| {
            let field = |field: &croner::CronComponent, number: i8| field.values().contains(&(number as u16));
            let utc = local.to_zoned(TimeZone::UTC).unwrap();
            field(&pattern.hours, local.hour())
                && field(&pattern.minutes, local.minute())
                && parsed.is_time_matching(&utc).unwrap()
        };
        let fires = if pattern.hours.from_wildcard {
            due(reading)
        } else {
            let passed = std::iter::successors(Some(shown), |local| Some(*local + jiff::Span::new().minutes(1)));
            passed.skip(1).take_while(|local| *local <= reading).any(due)
        };
        if fires {
            fired.push(now);
        }
        shown = shown.max(reading);
    }
    fired
}

#[test]
fn firings_are_those_of_a_clock_on_the_wall() {
    let crons = [
        "30 2 * * *",
        "0,15,45 0-3 * * *",
        "*/10 * * * *",
        "0 */2 * * *",
        "59 23 * * *",
        "0 0 * * *",
        "5 1-23/2 * * 0,3",
    ];
    for (zone, from) in [
        ("Europe/Berlin", "2026-03-27T12:00:00Z"),
        ("Europe/Berlin", "2026-10-23T12:00:00Z"),
        ("America/New_York", "2026-03-06T12:00:00Z"),
        ("America/New_York", "2026-10-30T12:00:00Z"),
        ("Australia/Lord_Howe", "2026-04-03T12:00:00Z"),
        ("Australia/Lord_Howe", "2026-10-02T12:00:00Z"),
        ("America/Sao_Paulo", "2018-02-16T12:00:00Z"),
        ("America/Sao_Paulo", "2018-11-02T12:00:00Z"),
        ("Africa/Cairo", "2026-04-22T12:00:00Z"),
        ("Africa/Cairo", "2026-10-28T12:00:00Z"),
        ("Pacific/Apia", "2011-12-28T12:00:00Z"),
        ("Asia/Kathmandu", "2026-01-01T00:00:00Z"),
    ] {
        let (from, minutes) = (at(from), 4 * 24 * 60);
        for text in crons {
            let firings = cron(text, zone);
            let wall = on_the_wall(text, firings.zone(), from, minutes);
            let end = from + jiff::SignedDuration::from_mins(minutes);
            let next = |at: &Timestamp| firings.next(*at);
            let found: Vec<_> = std::iter::successors(firings.next(from), next).take_while(|at| *at <= end).collect();
            assert_eq!(found, wall, "{text} {zone} from {from}");
            let mut wall = wall.into_iter().peekable();
            let mut last = None;
            for minute in 1..=minutes {
                let now = from + jiff::SignedDuration::from_mins(minute);
                last = wall.next_if_eq(&now).or(last);
                if last.is_some() && minute % 7 == 0 {
                    assert_eq!(firings.last(now), last, "{text} {zone} at {now}");
                }
            }
        }
    }
}

const HOLIDAYS: &str = "\
calendars:
  - {name: holidays, dates: [2026-12-24..2026-12-25, '*-01-01'], use: sunday}
  - {name: closing, dates: [2026-12-23, 2026-12-25, 2027-01-02]}
";

#[test]
fn a_holiday_is_like_the_day_that_its_calendar_says() {
    let all = rules(
        HOLIDAYS,
        "        - {name: week, cron: '0 9 * * 1-5', zone: UTC, duration: 1h, floor: 1}\n        - {name: sunday, cron: '0 9 * * 0', zone: UTC, duration: 1h, floor: 1}\n        - {name: day, cron: '0 9 24 * *', zone: UTC, duration: 1h, floor: 1}\n",
        Path::new("/nowhere"),
    );
    let days = |i: usize, count| {
        let all = after(&all[i], "2026-12-23T00:00:00Z", count);
        all.into_iter().map(|at| at[..10].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(days(0, 3), ["2026-12-23", "2026-12-28", "2026-12-29"], "Thursday and Friday are holidays");
    assert_eq!(days(1, 4), ["2026-12-24", "2026-12-25", "2026-12-27", "2027-01-01"]);
    assert_eq!(days(2, 2), ["2026-12-24", "2027-01-24"], "a date is a date");
    assert_eq!(all[0].last(at("2026-12-27T12:00:00Z")), Some(at("2026-12-23T09:00:00Z")));
}

#[test]
fn a_holiday_of_some_pools_is_none_of_the_others() {
    let calendars = HOLIDAYS.replace("use: sunday}", "use: sunday, pools: [other]}");
    let text = format!(
        "aggregator: {{address: '127.0.0.1:0'}}\n{calendars}pools:\n  - {{name: other, origins: ['127.0.0.1:1']}}\n  - name: shop\n    scaling:\n      ceiling: 9\n      actuator: dry_run\n      schedules: [{{name: a, cron: '0 9 * * 1-5', zone: UTC, duration: 1h, floor: 1}}]\n"
    );
    let region = config::parse(&text, Path::new("region.yaml"), Path::new("/nowhere")).unwrap();
    let firings = Firings::new(&region.pools["shop"].scaling.as_ref().unwrap().schedules[0]).unwrap();
    assert_eq!(after(&firings, "2026-12-23T12:00:00Z", 1), ["2026-12-24 09:00+00:00"]);
}

#[test]
fn a_rule_may_keep_to_a_calendar_or_keep_off_it() {
    let all = rules(
        HOLIDAYS,
        "        - {name: on, cron: '0 20 * * *', zone: UTC, duration: 1h, floor: 1, on: closing}\n        - {name: off, cron: '0 20 23-25 12 *', zone: UTC, duration: 1h, floor: 1, except: closing}\n        - {name: never, cron: '0 20 * * 1-5', zone: UTC, duration: 1h, floor: 1, on: holidays}\n",
        Path::new("/nowhere"),
    );
    let from = "2026-12-01T00:00:00Z";
    assert_eq!(
        after(&all[0], from, 9),
        ["2026-12-23 20:00+00:00", "2026-12-25 20:00+00:00", "2027-01-02 20:00+00:00"],
        "and never again"
    );
    assert_eq!(after(&all[1], from, 2), ["2026-12-24 20:00+00:00", "2027-12-23 20:00+00:00"]);
    assert_eq!(after(&all[2], from, 1), [""; 0], "holidays are Sundays");
}

#[test]
fn a_calendar_may_come_from_a_file_whose_days_are_those_of_the_rule() {
    let folder = Folder::new("firing-ical");
    folder.write(
        "days.ics",
        "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART;TZID=Asia/Tokyo:20260702T080000\nDURATION:PT1H\nEND:VEVENT\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:20260710\nEND:VEVENT\nEND:VCALENDAR\n",
    );
    let rule = |zone: &str| {
        let rule =
            format!("        - {{name: a, cron: '0 12 * * *', zone: {zone}, duration: 1h, floor: 1, on: days}}\n");
        let made = rules("calendars: [{name: days, ical: days.ics, dates: [2026-07-20]}]", &rule, folder.path());
        after(&made[0], "2026-06-01T00:00:00Z", 9)
    };
    assert_eq!(rule("Asia/Tokyo"), ["2026-07-02 12:00+09:00", "2026-07-10 12:00+09:00", "2026-07-20 12:00+09:00"]);
    assert_eq!(
        rule("America/New_York"),
        ["2026-07-01 12:00-04:00", "2026-07-10 12:00-04:00", "2026-07-20 12:00-04:00"],
        "the evening before, there"
    );
}
