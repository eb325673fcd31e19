//! What `check` tells of rules of time, as it is printed, at given instants.

use std::path::Path;

use forebay_config as config;

/// A pool of 1 to 20 with these rules, each a flow map without its braces.
fn outlook(calendars: &str, rules: &[&str], now: &str) -> String {
    let rules: String = rules.iter().map(|rule| format!("        - {{{rule}}}\n")).collect();
    let text = format!(
        "aggregator: {{address: '127.0.0.1:0'}}\n{calendars}pools:\n  - name: shop\n    scaling:\n      ceiling: 20\n      \
         reactive: {{requests_per_origin: 50}}\n      actuator: dry_run\n      schedules:\n{rules}"
    );
    let region = config::parse(&text, Path::new("region.yaml"), Path::new("/nowhere"));
    config::outlook::outlook(&region.unwrap_or_else(|errors| panic!("{errors}")), now.parse().unwrap())
}

#[track_caller]
fn tells(told: &str, lines: &[&str]) {
    assert_eq!(told.lines().collect::<Vec<_>>(), lines, "\n{told}");
}

/// What follows the firings.
#[track_caller]
fn tells_besides(told: &str, lines: &[&str]) {
    let kinds = ["  idle", "  overlap", "  gap", "  ramps", "  clock"];
    let besides = told.lines().skip_while(|line| !kinds.iter().any(|kind| line.starts_with(kind)));
    assert_eq!(besides.collect::<Vec<_>>(), lines, "\n{told}");
}

const MORNING: &str =
    "name: mornings, cron: '30 8 * * 1-5', zone: Europe/Berlin, duration: 2h, floor: 8, lead: 5m, ramp_up: 10m";

#[test]
fn each_rule_has_its_next_five_firings_and_when_origins_are_ordered() {
    tells(
        &outlook(
            "calendars: [{name: closing, dates: [2026-07-31, 2026-08-31]}]\n",
            &[
                MORNING,
                "name: quiet, cron: '0 22 * * *', on: closing, zone: Europe/Berlin, duration: 90m, ceiling: 3",
                "name: launch, at: 2026-07-08T00:01, zone: America/New_York, duration: 1h, multiply: 2.5",
                "name: gone, at: 2026-01-08T00:01, zone: UTC, duration: 1h, exact: 2",
            ],
            "2026-07-07T07:00:00Z",
        ),
        &[
            "pool shop:",
            "  mornings: floor 8 for 2h, cron 30 8 * * 1-5 in Europe/Berlin",
            "    now, until Tue 2026-07-07 10:30 +02:00",
            "    Wed 2026-07-08 08:30 +02:00, ordered from 08:15",
            "    Thu 2026-07-09 08:30 +02:00, ordered from 08:15",
            "    Fri 2026-07-10 08:30 +02:00, ordered from 08:15",
            "    Mon 2026-07-13 08:30 +02:00, ordered from 08:15",
            "    Tue 2026-07-14 08:30 +02:00, ordered from 08:15",
            "  quiet: ceiling 3 for 90m, cron 0 22 * * * in Europe/Berlin, on closing",
            "    Fri 2026-07-31 22:00 +02:00",
            "    Mon 2026-08-31 22:00 +02:00",
            "    never again",
            "  launch: multiply 2.5 for 1h, once 2026-07-08T00:01:00 in America/New_York",
            "    Wed 2026-07-08 00:01 -04:00, ordered from Tue 2026-07-07 23:59 -04:00",
            "    never again",
            "  gone: exact 2 for 1h, once 2026-01-08T00:01:00 in UTC",
            "    never again",
        ],
    );
    assert_eq!(config::outlook::outlook(&region_without_rules(), "2026-07-07T07:00:00Z".parse().unwrap()), "");
}

fn region_without_rules() -> config::Region {
    let text = "aggregator: {address: '127.0.0.1:0'}\npools: [{name: shop, origins: ['127.0.0.1:1']}]\n";
    config::parse(text, Path::new("region.yaml"), Path::new("/nowhere")).unwrap()
}

#[test]
fn a_clock_change_that_touches_a_rule_is_told_with_old_and_new() {
    let night = "name: night, cron: '30 2 * * *', zone: Europe/Berlin, duration: 20m, floor: 3";
    let over = "name: over, cron: '0 22 * * 6', zone: Europe/Berlin, duration: 8h, ceiling: 9";
    let hourly = "name: hourly, cron: '7 * * * *', zone: Europe/Berlin, duration: 1m, multiply: 2";
    let all = [MORNING, night, over, hourly];
    tells_besides(
        &outlook("", &all, "2026-03-20T12:00:00Z"),
        &[
            "  clock change: Europe/Berlin from Sun 2026-03-29 02:00 +01:00 to 03:00 +02:00",
            "    night: 02:30 is skipped; it fires at Sun 2026-03-29 03:00 +02:00",
            "    over: the window of Sat 2026-03-28 22:00 +01:00 ends at Sun 2026-03-29 07:00 +02:00 and not at 06:00: 8h pass",
            "    mornings, night, over keep their local time: 1h earlier in UTC from then on",
        ],
    );
    tells_besides(
        &outlook("", &all, "2026-10-20T12:00:00Z"),
        &[
            "  clock change: Europe/Berlin from Sun 2026-10-25 03:00 +02:00 to 02:00 +01:00",
            "    night: 02:30 comes twice; it fires at the first, +02:00",
            "    over: the window of Sat 2026-10-24 22:00 +02:00 ends at Sun 2026-10-25 05:00 +01:00 and not at 06:00: 8h pass",
            "    mornings, night, over keep their local time: 1h later in UTC from then on",
        ],
    );
    tells_besides(&outlook("", &all, "2026-05-20T12:00:00Z"), &[]);
}

#[test]
fn a_change_of_half_an_hour_and_one_in_years_are_told_if_they_touch_a_firing() {
    let half = "name: half, cron: '10 2 * * *', zone: Australia/Lord_Howe, duration: 1h, floor: 3";
    let far = "name: far, cron: '30 2 25 3 *', zone: Europe/Berlin, duration: 10m, ceiling: 3";
    tells_besides(
        &outlook("", &[half, far], "2026-10-01T12:00:00Z"),
        &[
            "  clock change: Australia/Lord_Howe from Sun 2026-10-04 02:00 +10:30 to 02:30 +11:00",
            "    half: 02:10 is skipped; it fires at Sun 2026-10-04 02:30 +11:00",
            "    half keeps its local time: 30m earlier in UTC from then on",
            "  clock change: Europe/Berlin from Sun 2029-03-25 02:00 +01:00 to 03:00 +02:00",
            "    far: 02:30 is skipped; it fires at Sun 2029-03-25 03:00 +02:00",
        ],
    );
}

#[test]
fn a_rule_that_fires_once_a_year_has_no_change_of_those_years_told_for_one_of_each_night() {
    let night = "name: night, cron: '30 2 * * *', zone: Europe/Berlin, duration: 20m, floor: 3";
    let yearly = "name: yearly, cron: '0 6 1 1 *', zone: Europe/Berlin, duration: 1h, floor: 9";
    let sooner = "name: sooner, cron: '30 2 * * *', zone: America/New_York, duration: 20m, ceiling: 3";
    // By when they come, and not by the names of the zones.
    tells_besides(
        &outlook("", &[night, yearly, sooner], "2026-10-10T12:00:00Z"),
        &[
            "  clock change: Europe/Berlin from Sun 2026-10-25 03:00 +02:00 to 02:00 +01:00",
            "    night: 02:30 comes twice; it fires at the first, +02:00",
            "    night keeps its local time: 1h later in UTC from then on",
            "  clock change: America/New_York from Sun 2026-11-01 02:00 -04:00 to 01:00 -05:00",
            "    sooner keeps its local time: 1h later in UTC from then on",
        ],
    );
}

#[test]
fn where_rules_meet_or_nearly_meet_is_told() {
    tells_besides(
        &outlook(
            "",
            &[
                "name: day, cron: '0 8 * * *', zone: UTC, duration: 10h, floor: 6, ceiling: 12",
                "name: sale, at: 2026-07-08T12:00, zone: UTC, duration: 2h, floor: 4",
                "name: evening, cron: '20 18 * * *', zone: UTC, duration: 3h, floor: 9, lead: 5m",
                "name: cap, cron: '0 20 * * *', zone: UTC, duration: 1h, ceiling: 5",
                "name: target, cron: '0 20 * * *', zone: UTC, duration: 1h, target: 5",
                "name: twin, cron: '0 20 * * 3', zone: UTC, duration: 30m, target: 6",
                "name: night, cron: '21 21 * * *', zone: UTC, duration: 1h, floor: 4, lead: 1m",
                "name: later, cron: '0 23 * * *', zone: UTC, duration: 1h, floor: 4, lead: 40m",
            ],
            "2026-07-07T12:00:00Z",
        ),
        &[
            "  overlap: day and sale, Wed 2026-07-08 12:00 +00:00 to 14:00: sale has the floor (one-off)",
            "  overlap: evening and cap, Tue 2026-07-07 20:00 +00:00 to 21:00, and 55 more: the ceiling 5 of cap cuts the floor 9 of evening",
            "  overlap: target and twin, Wed 2026-07-08 20:00 +00:00 to 20:30, and 7 more: twin has the target (later in the file)",
            "  gap: 20m between day and evening, Tue 2026-07-07 18:00 +00:00 to 18:20, and 55 more",
        ],
    );
}

#[test]
fn a_rule_that_changes_nothing_and_one_that_runs_into_itself_are_told() {
    let rules = [
        "name: low, cron: '0 8 * * *', zone: UTC, duration: 1h, floor: 1",
        "name: high, cron: '0 10 * * *', zone: UTC, duration: 1h, ceiling: 20",
        // These do something: they hold less than there may be, or another number.
        "name: exact, cron: '0 12 * * *', zone: UTC, duration: 1h, exact: 1",
        "name: both, cron: '0 14 * * *', zone: UTC, duration: 1h, floor: 1, multiply: 2",
        "name: last, cron: '0 16 * * *', zone: UTC, duration: 24h, ceiling: 19",
        "name: often, cron: '*/30 * * * *', zone: UTC, duration: 1h, target: 9",
    ];
    let told = outlook("", &rules, "2026-07-07T12:00:00Z");
    let idle: Vec<_> = told.lines().filter(|line| line.contains("idle: ") || line.contains("itself")).collect();
    assert_eq!(
        idle,
        [
            "  idle: the floor 1 of low is not over the pool's own, 1",
            "  idle: the ceiling 20 of high is not under the pool's own, 20",
            "  overlap: often with itself: it fires 30m after it has fired, and lasts 1h",
        ],
        "{told}"
    );
}

#[test]
fn a_window_over_a_year_ends_by_the_clock_that_it_began_by() {
    let long = "name: long, at: 2026-01-10T08:00, zone: Europe/Berlin, duration: 365d, floor: 3";
    tells_besides(&outlook("", &[long], "2026-03-20T12:00:00Z"), &[]);
}

#[test]
fn ramps_that_run_into_each_other_are_told() {
    let often =
        "name: often, cron: '0 8,11 * * *', zone: UTC, duration: 1h, floor: 6, lead: 10m, ramp_up: 50m, ramp_down: 90m";
    let daily = "name: daily, cron: '0 8 * * *', zone: UTC, duration: 1h, ceiling: 9, multiply: 2, ramp_up: 50m, ramp_down: 90m";
    tells_besides(
        &outlook("", &[often, daily], "2026-07-07T12:00:00Z"),
        &["  ramps: often falls from Wed 2026-07-08 09:00 +00:00 until 10:30 and rises again from 10:00"],
    );
}

#[test]
fn a_long_list_is_cut() {
    let rules: Vec<_> =
        (0..8).map(|i| format!("name: r{i}, cron: '0 {i} * * *', zone: UTC, duration: 20h, floor: {i}")).collect();
    let rules: Vec<_> = rules.iter().map(String::as_str).collect();
    let told = outlook("", &rules, "2026-07-07T12:00:00Z");
    assert_eq!(told.lines().filter(|line| line.starts_with("  overlap")).count(), 12);
    assert!(told.lines().any(|line| line == "  and 16 more of these"), "{told}");
}

#[test]
fn a_list_of_clock_changes_that_is_cut_leaves_none_out_halfway() {
    let zones =
        ["Berlin", "Paris", "Madrid", "Rome", "Vienna", "Prague", "Warsaw", "Oslo", "Zurich", "Athens", "Sofia"];
    let more = ["Riga", "Vilnius", "Helsinki"];
    let rules = zones.iter().chain(&more).enumerate();
    let rules = rules.map(|(i, zone)| {
        format!("name: r{i}, cron: '0 8 * * *', zone: Europe/{zone}, duration: 1m, target: {}", i + 1)
    });
    let rules: Vec<_> = rules.collect();
    let told = outlook("", &rules.iter().map(String::as_str).collect::<Vec<_>>(), "2026-10-10T12:00:00Z");
    assert_eq!(told.lines().filter(|line| line.starts_with("  clock change")).count(), 12);
    assert_eq!(told.lines().filter(|line| line.contains("keeps its local time")).count(), 12, "{told}");
    assert!(told.lines().any(|line| line == "  and 2 more of these"), "{told}");
}

#[test]
fn hundreds_of_rules_are_told_and_not_held_against_each_other() {
    let rules: Vec<_> = (0..200)
        .map(|n| format!("name: r{n}, cron: '{} {} * * *', zone: UTC, duration: 1h, floor: 5", n % 60, n % 24))
        .collect();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let told = outlook("", &rules, "2026-07-07T07:00:00Z");
    assert!(told.contains("  200 rules: overlaps and gaps are told of up to 128\n"), "{told}");
    assert!(told.contains("  r199: floor 5 for 1h") && !told.contains("overlap:"), "{told}");
    let told = outlook("", &rules[..128], "2026-07-07T07:00:00Z");
    assert!(told.contains("  overlap: ") && !told.contains(" rules: "), "{told}");
}
