//! iCalendar files (RFC 5545): the days that events touch, recurrence rules unrolled.
//!
//! An event of whole days, or with a time and no zone, is of the same days everywhere; one with a zone
//! is a span, whose days depend on who looks. Other components are passed over, and so are events that
//! are cancelled. What an event has and cannot be read is an error: a holiday that silently is none
//! would be found out on the day.

use std::collections::{BTreeMap, BTreeSet};

use calcard::common::timezone::Tz;
use calcard::icalendar::timezone::TzResolver;
use calcard::icalendar::{
    ICalendar, ICalendarComponent, ICalendarComponentType, ICalendarEntry, ICalendarFrequency, ICalendarProperty,
    ICalendarStatus, ICalendarValue,
};
use calcard::{Entry, Parser};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Bytes of a file.
pub const LARGEST: u64 = 1 << 20;
/// Days and spans of a file.
const MOST: usize = 100_000;
/// Rules without an end are unrolled up to here.
const LAST_YEAR: u16 = 2099;

#[derive(Debug, Default)]
pub struct Events {
    pub days: BTreeSet<Date>,
    pub spans: Vec<(Timestamp, Timestamp)>,
}

#[derive(Debug, PartialEq)]
pub struct Wrong {
    /// 0: the file as a whole.
    pub line: usize,
    pub found: String,
    pub allowed: String,
}

/// The lines of one event.
struct Lines {
    begin: usize,
    /// By the name of the property, the first of each.
    of: BTreeMap<String, usize>,
}

pub fn read(bytes: &[u8]) -> Result<Events, Wrong> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = &bytes[..error.valid_up_to()];
        wrong(1 + good.iter().filter(|byte| **byte == b'\n').count(), "not UTF-8", "allowed: UTF-8")
    })?;
    let text = text.trim_start_matches('\u{feff}');
    let mut lines = outline(text)?.into_iter();
    let mut events = Events::default();
    let mut parser = Parser::new(text);
    loop {
        match parser.entry() {
            Entry::ICalendar(calendar) => unroll(calendar, &mut lines, &mut events)?,
            Entry::Eof => return Ok(events),
            _ => return Err(wrong(0, "no iCalendar file", "needed: BEGIN:VCALENDAR")),
        }
    }
}

fn wrong(line: usize, found: impl Into<String>, allowed: &str) -> Wrong {
    Wrong { line, found: found.into(), allowed: allowed.to_owned() }
}

/// Looks whether what begins ends, and notes where events stand: the reader forgives the one and does not
/// tell the other.
fn outline(text: &str) -> Result<Vec<Lines>, Wrong> {
    let (mut events, mut open): (Vec<Lines>, Vec<(String, usize)>) = Default::default();
    for (i, line) in text.lines().enumerate() {
        let number = i + 1;
        // Folded: it goes on with what stands before.
        if line.starts_with([' ', '\t']) || line.trim().is_empty() {
            continue;
        }
        let Some((head, value)) = line.split_once(':') else {
            return Err(wrong(number, format!("found {line:.60?}"), "needed: a property such as DTSTART:20261224"));
        };
        let name = head.split(';').next().unwrap_or_default().trim().to_ascii_uppercase();
        let value = value.trim().to_ascii_uppercase();
        match (name.as_str(), open.last()) {
            ("BEGIN", None) if value != "VCALENDAR" => {
                return Err(wrong(number, format!("found BEGIN:{value:.60}"), "needed: BEGIN:VCALENDAR"));
            }
            ("BEGIN", _) => {
                if value == "VEVENT" {
                    events.push(Lines { begin: number, of: BTreeMap::new() });
                }
                open.push((value, number));
            }
            ("END", Some((begun, at))) if *begun != value => {
                let found = format!("found END:{value:.60} in what {begun} begins on line {at}");
                return Err(wrong(number, found, &format!("needed: END:{begun}")));
            }
            ("END", Some(_)) => drop(open.pop()),
            (_, None) => {
                return Err(wrong(number, format!("found {line:.60?}"), "needed: BEGIN:VCALENDAR"));
            }
            (_, Some((within, _))) if within == "VEVENT" => {
                events.last_mut().map(|event| *event.of.entry(name).or_insert(number));
            }
            _ => {}
        }
    }
    match open.pop() {
        Some((begun, at)) => Err(wrong(at, format!("{begun} begins and never ends"), &format!("needed: END:{begun}"))),
        None => Ok(events),
    }
}

fn unroll(calendar: ICalendar, lines: &mut impl Iterator<Item = Lines>, events: &mut Events) -> Result<(), Wrong> {
    let zones: Vec<ICalendarComponent> = calendar.timezones().cloned().collect();
    let resolver = calendar.build_owned_tz_resolver();
    // An occurrence that was moved is a component of its own with the same UID; the reader would take
    // one of another event too.
    let mut series: BTreeMap<String, Vec<(ICalendarComponent, Lines)>> = BTreeMap::new();
    for mut component in calendar.components {
        if component.component_type != ICalendarComponentType::VEvent {
            continue;
        }
        let Some(lines) = lines.next() else { break };
        check(&component, &resolver, &lines)?;
        bound(&mut component);
        let cancelled = ICalendarValue::Status(ICalendarStatus::Cancelled);
        let cancelled = component.property(&ICalendarProperty::Status).is_some_and(|s| s.values.contains(&cancelled));
        if cancelled && component.property(&ICalendarProperty::RecurrenceId).is_none() {
            continue;
        }
        let uid = component.uid().map_or_else(|| format!("\n{}", lines.begin), str::to_owned);
        series.entry(uid).or_default().push((component, lines));
    }
    for (_, series) in series {
        one(series, &zones, events)?;
    }
    Ok(())
}

/// One event with all its occurrences.
fn one(
    series: Vec<(ICalendarComponent, Lines)>,
    zones: &[ICalendarComponent],
    events: &mut Events,
) -> Result<(), Wrong> {
    let (components, lines): (Vec<_>, Vec<_>) = series.into_iter().unzip();
    let begin = lines[0].begin;
    let first = zones.len();
    let cancelled: BTreeSet<u32> = (first..)
        .zip(&components)
        .filter(|(_, one)| {
            let status = one.property(&ICalendarProperty::Status);
            status.is_some_and(|s| s.values.contains(&ICalendarValue::Status(ICalendarStatus::Cancelled)))
        })
        .map(|(i, _)| i as u32)
        .collect();
    let calendar = ICalendar { components: zones.iter().cloned().chain(components).collect() };
    let unrolled = calendar.expand_dates(Tz::Floating, MOST + 1);
    if let Some(error) = unrolled.errors.first() {
        return Err(wrong(begin, format!("an event that cannot be read: {}", error.error), "needed: dates and a rule"));
    }
    for event in unrolled.events.iter().filter(|event| !cancelled.contains(&event.comp_id)) {
        let (start, end) = event.timestamps();
        if end < start {
            return Err(wrong(begin, "an event that ends before it begins", "needed: DTEND after DTSTART"));
        }
        let (Ok(start), Ok(end)) = (Timestamp::from_second(start), Timestamp::from_second(end)) else {
            return Err(wrong(begin, "an event past the year 9999", "needed: a date of these centuries"));
        };
        if event.start.timezone().is_floating() {
            // No zone: the seconds are those of a clock that runs everywhere alike.
            let day = |at| TimeZone::UTC.to_datetime(at).date();
            let last = day(end.max(start + 1.second()) - 1.nanosecond());
            events.days.extend(day(start).series(1.day()).take_while(|day| *day <= last).take(MOST + 1));
        } else {
            events.spans.push((start, end.max(start + 1.second())));
        }
        if events.days.len() + events.spans.len() > MOST {
            return Err(wrong(begin, format!("more than {MOST} days up to here"), "allowed: fewer, or rules that end"));
        }
    }
    Ok(())
}

/// A rule without an end would be followed for ever.
fn bound(component: &mut ICalendarComponent) {
    for value in component.entries.iter_mut().flat_map(|entry| &mut entry.values) {
        let ICalendarValue::RecurrenceRule(rule) = value else { continue };
        let endless = rule.count.is_none() && rule.until.is_none();
        if endless || rule.until.as_ref().and_then(|until| until.year).is_some_and(|year| year > LAST_YEAR) {
            let until = calcard::common::PartialDateTime {
                year: Some(LAST_YEAR),
                month: Some(12),
                day: Some(31),
                ..Default::default()
            };
            rule.until = Some(until);
        }
    }
}

/// Whether what counts for the days of an event was understood.
fn check(event: &ICalendarComponent, zones: &TzResolver<String>, lines: &Lines) -> Result<(), Wrong> {
    for entry in &event.entries {
        let name = entry.name.as_str();
        let at = lines.of.get(name).copied().unwrap_or(lines.begin);
        let allowed = match &entry.name {
            ICalendarProperty::Dtstart | ICalendarProperty::Dtend | ICalendarProperty::RecurrenceId => {
                "a date such as 20261224, or a time such as 20261224T180000"
            }
            ICalendarProperty::Exdate | ICalendarProperty::Rdate => "dates such as 20261224 or 20261224T180000",
            ICalendarProperty::Duration => "a duration such as P2D or PT3H",
            ICalendarProperty::Rrule => "a rule such as FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=24",
            _ => continue,
        };
        if entry.values.is_empty() || !entry.values.iter().all(|value| understood(entry, value)) {
            return Err(wrong(at, format!("a {name} that cannot be read"), &format!("needed: {allowed}")));
        }
        if let Some(zone) = entry.tz_id()
            && zones.resolve(zone).is_none()
        {
            return Err(wrong(at, format!("a {name} in the unknown zone {zone:.60?}"), "needed: an IANA time zone"));
        }
        for value in &entry.values {
            if let ICalendarValue::RecurrenceRule(rule) = value
                && matches!(
                    rule.freq,
                    ICalendarFrequency::Hourly | ICalendarFrequency::Minutely | ICalendarFrequency::Secondly
                )
            {
                return Err(wrong(at, "a rule of less than a day", "allowed: DAILY, WEEKLY, MONTHLY, YEARLY"));
            }
        }
    }
    if event.property(&ICalendarProperty::Dtstart).is_none() {
        return Err(wrong(lines.begin, "an event without DTSTART", "needed: DTSTART:20261224"));
    }
    Ok(())
}

fn understood(entry: &ICalendarEntry, value: &ICalendarValue) -> bool {
    match (&entry.name, value) {
        (ICalendarProperty::Rrule, ICalendarValue::RecurrenceRule(_)) => true,
        (ICalendarProperty::Rdate, ICalendarValue::Period(_)) => true,
        (ICalendarProperty::Duration, ICalendarValue::Duration(_)) => true,
        (ICalendarProperty::Rrule | ICalendarProperty::Duration, _) => false,
        (_, ICalendarValue::PartialDateTime(at)) => at.to_date_time().is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
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
            (
                file(&event("DTSTART;VALUE=DATE:00010101\nDTEND;VALUE=DATE:99981231")),
                3,
                "more than 100000 days up to here",
            ),
        ] {
            let wrong = read(text.as_bytes()).expect_err(&text);
            assert_eq!((wrong.line, wrong.found.as_str()), (line, found), "{text}");
            assert!(wrong.allowed.starts_with("needed") || wrong.allowed.starts_with("allowed"), "{wrong:?}");
        }
        assert_eq!(read(b"BEGIN:VCALENDAR\nX:\xff\nEND:VCALENDAR\n").unwrap_err().line, 2);
        assert_eq!(read(b"").map(|read| read.days.len()), Ok(0));
    }
}
