//! iCalendar files: what their days are, and what is refused.

use super::*;

fn file(events: &str) -> String {
    format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{}END:VCALENDAR\r\n", events.replace('\n', "\r\n"))
}

fn event(lines: &str) -> String {
    format!("BEGIN:VEVENT\nUID:1\n{lines}\nEND:VEVENT\n")
}

fn days(events: &str) -> Vec<String> {
    let read = read(file(events).as_bytes()).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    assert_eq!(read.spans, [], "none with a zone");
    read.days.iter().map(ToString::to_string).collect()
}

#[test]
fn events_of_whole_days_are_their_days() {
    assert_eq!(days(&event("DTSTART;VALUE=DATE:20261224")), ["2026-12-24"]);
    let two = days(&event("DTSTART;VALUE=DATE:20261224\nDTEND;VALUE=DATE:20261226"));
    assert_eq!(two, ["2026-12-24", "2026-12-25"], "the end is not one of them");
    let three = days(&event("DTSTART;VALUE=DATE:20261230\nDURATION:P3D"));
    assert_eq!(three, ["2026-12-30", "2026-12-31", "2027-01-01"]);
    let over_midnight = days(&event("DTSTART:20261224T220000\nDTEND:20261225T020000"));
    assert_eq!(over_midnight, ["2026-12-24", "2026-12-25"], "a time without a zone is of the same days everywhere");
    let to_midnight = days(&event("DTSTART:20261224T220000\nDTEND:20261225T000000"));
    assert_eq!(to_midnight, ["2026-12-24"]);
}

#[test]
fn rules_are_unrolled_without_what_is_taken_out_and_with_what_was_moved() {
    let rule = "DTSTART;VALUE=DATE:20260105\nRRULE:FREQ=WEEKLY;COUNT=4\nEXDATE;VALUE=DATE:20260112";
    assert_eq!(days(&event(rule)), ["2026-01-05", "2026-01-19", "2026-01-26"]);
    let moved = event("RECURRENCE-ID;VALUE=DATE:20260119\nDTSTART;VALUE=DATE:20260121");
    assert_eq!(days(&(event(rule) + &moved)), ["2026-01-05", "2026-01-21", "2026-01-26"]);
    let cancelled = event("RECURRENCE-ID;VALUE=DATE:20260119\nDTSTART;VALUE=DATE:20260119\nSTATUS:CANCELLED");
    assert_eq!(days(&(event(rule) + &cancelled)), ["2026-01-05", "2026-01-26"]);
    let other = event("RECURRENCE-ID;VALUE=DATE:20260119\nDTSTART;VALUE=DATE:20260301").replace("UID:1", "UID:2");
    assert!(days(&(event(rule) + &other)).contains(&"2026-01-19".to_owned()), "of another event");
    let added = event("DTSTART;VALUE=DATE:20260105\nRDATE;VALUE=DATE:20260107,20260109");
    assert_eq!(days(&added)[1..], ["2026-01-07", "2026-01-09"]);
    assert_eq!(days(&event("DTSTART;VALUE=DATE:20260105\nSTATUS:CANCELLED")), [""; 0]);
}

#[test]
fn a_rule_without_an_end_goes_to_the_end_of_the_century() {
    let every = days(&event("DTSTART;VALUE=DATE:20201225\nRRULE:FREQ=YEARLY"));
    assert_eq!((every.len(), every.last().map(String::as_str)), (80, Some("2099-12-25")));
    // The fourth Thursday of November, as a public calendar has it.
    let fourth = days(&event("DTSTART;VALUE=DATE:20241128\nRRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH"));
    assert_eq!(fourth[..3], ["2024-11-28", "2025-11-27", "2026-11-26"]);
    let never = days(&event("DTSTART;VALUE=DATE:20240131\nRRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"));
    assert!(never.len() <= 1, "{never:?}");
}

#[test]
fn an_event_with_a_zone_is_a_span() {
    let text = file(&event("DTSTART;TZID=Europe/Berlin:20260701T180000\nDTEND;TZID=Europe/Berlin:20260701T200000"));
    let read = read(text.as_bytes()).unwrap();
    let span = ("2026-07-01T16:00:00Z".parse().unwrap(), "2026-07-01T18:00:00Z".parse().unwrap());
    assert_eq!((read.days.len(), read.spans), (0, vec![span]));
    let daily = "DTSTART;TZID=Europe/Berlin:20260328T180000\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=2";
    let starts: Vec<_> = super::read(file(&event(daily)).as_bytes()).unwrap().spans;
    assert_eq!(
        starts.iter().map(|(start, _)| start.to_string()).collect::<Vec<_>>(),
        ["2026-03-28T17:00:00Z", "2026-03-29T16:00:00Z"],
        "its local time, over a clock change"
    );
}

#[test]
fn what_cannot_be_read_is_refused_with_its_line() {
    for (text, line, found) in [
        (file(&event("DTSTART;VALUE=DATE:20261324")), 5, "a DTSTART that cannot be read"),
        (file(&event("DTSTART;VALUE=DATE:soon")), 5, "a DTSTART that cannot be read"),
        (file(&event("SUMMARY:x")), 3, "an event without DTSTART"),
        (file(&event("DTSTART;VALUE=DATE:20261224\nRRULE:every year")), 6, "a RRULE that cannot be read"),
        (file(&event("DTSTART;VALUE=DATE:20261224\nRRULE:FREQ=HOURLY")), 6, "a rule of less than a day"),
        (
            file(&event("DTSTART;TZID=Mars/Olympus:20261224T180000")),
            5,
            "a DTSTART in the unknown zone \"Mars/Olympus\"",
        ),
        (
            file(&event("DTSTART;VALUE=DATE:20261224\nDTEND;VALUE=DATE:20261220")),
            3,
            "an event that ends before it begins",
        ),
        (file("BEGIN:VEVENT\nDTSTART:20261224\n"), 5, "found END:VCALENDAR in what VEVENT begins on line 3"),
        ("BEGIN:VCALENDAR\r\n".to_owned(), 1, "VCALENDAR begins and never ends"),
        ("hello".to_owned(), 1, "found \"hello\""),
        ("dates: [2026-12-24]".to_owned(), 1, "found \"dates: [2026-12-24]\""),
        (file("nonsense\n"), 3, "found \"nonsense\""),
        (file(&event("DTSTART;VALUE=DATE:00010101\nDTEND;VALUE=DATE:99981231")), 3, "more than 100000 days up to here"),
    ] {
        let wrong = read(text.as_bytes()).expect_err(&text);
        assert_eq!((wrong.line, wrong.found.as_str()), (line, found), "{text}");
        assert!(wrong.allowed.starts_with("needed") || wrong.allowed.starts_with("allowed"), "{wrong:?}");
    }
    assert_eq!(read(b"BEGIN:VCALENDAR\nX:\xff\nEND:VCALENDAR\n").unwrap_err().line, 2);
    assert_eq!(read(b"").map(|read| read.days.len()), Ok(0));
}

/// SplitMix64: small, seeded, good enough to mix cases.
fn below(seed: &mut u64, bound: usize) -> usize {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) as usize % bound
}

#[test]
fn no_mangled_file_makes_the_reader_panic() {
    let whole = file(
        &(event("DTSTART;TZID=Europe/Berlin:20260328T180000\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=20;INTERVAL=2")
            + &event("RECURRENCE-ID;RANGE=THISANDFUTURE;TZID=Europe/Berlin:20260401T180000\nDTSTART:20260402T190000Z")
            + &event(
                "DTSTART;VALUE=DATE:20260105\nDTEND;VALUE=DATE:20260107\nRRULE:FREQ=MONTHLY;BYDAY=-1FR;BYSETPOS=1",
            )
            + &event("DTSTART:20260105T120000\nRDATE;VALUE=PERIOD:20260107T120000Z/P1D\nEXDATE:20260105T120000")),
    );
    let odd = [
        "99991231",
        "00000000",
        "4294967295",
        "-1",
        "0",
        "20260230T256199",
        "P4294967295W",
        ";",
        ":",
        "\u{fffd}",
        "=",
        "YEARLY",
    ];
    let (mut read_ones, mut refused) = (0, 0);
    for seed in 0..4000 {
        let mut dice = seed;
        let mut lines: Vec<String> = whole.lines().map(str::to_owned).collect();
        for _ in 0..1 + below(&mut dice, 3) {
            let at = below(&mut dice, lines.len());
            let line = lines[at].clone();
            let cut = below(&mut dice, line.len() + 1);
            let odd = odd[below(&mut dice, odd.len())];
            match below(&mut dice, 5) {
                0 => drop(lines.remove(at)),
                1 => lines.insert(at, line),
                2 => lines[at] = format!("{}{odd}", &line[..line.floor_char_boundary(cut)]),
                3 => {
                    lines[at] = format!(
                        "{}{odd}{}",
                        &line[..line.floor_char_boundary(cut)],
                        &line[line.floor_char_boundary(cut)..]
                    )
                }
                _ => {
                    let digits = line.find(|c: char| c.is_ascii_digit()).unwrap_or(line.len());
                    lines[at] = format!("{}{odd}", &line[..digits]);
                }
            }
            if lines.is_empty() {
                break;
            }
        }
        match read((lines.join("\r\n") + "\r\n").as_bytes()) {
            Ok(_) => read_ones += 1,
            Err(wrong) => {
                assert!(!wrong.found.is_empty() && !wrong.allowed.is_empty(), "{wrong:?}");
                refused += 1;
            }
        }
    }
    assert!(read_ones > 500 && refused > 500, "{read_ones} read, {refused} refused: both are met");
}

#[test]
fn a_file_that_would_take_long_is_refused() {
    let found = |text: &str| read(file(text).as_bytes()).expect_err("it is refused").found;
    let often = "DTSTART:20260101T000000\nRRULE:FREQ=DAILY;BYHOUR=1,2,3,4,5,6,7,8,9;BYMINUTE=1,2,3,4,5,6,7";
    assert_eq!(found(&event(often)), "more than 100000 days up to here", "and not cut short");
    let daily =
        |uid: usize| event("DTSTART;VALUE=DATE:20260101\nRRULE:FREQ=DAILY").replace("UID:1", &format!("UID:{uid}"));
    let many: String = (0..9).map(daily).collect();
    assert_eq!(found(&many), "more than 100000 days up to here", "together");
    let never = |uid: usize| {
        event("DTSTART;VALUE=DATE:20260105\nRRULE:FREQ=YEARLY;COUNT=1").replace("UID:1", &format!("UID:{uid}"))
    };
    let many: String = (0..1001).map(never).collect();
    assert_eq!(found(&many), "more than 1000 events that recur, up to here");
    let few: String = (0..1000).map(never).collect();
    assert_eq!(days(&few), ["2026-01-05"]);
}
