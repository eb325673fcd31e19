//! iCalendar files (RFC 5545): the days that events touch, recurrence rules unrolled.
//!
//! An event of whole days, or with a time and no zone, is of the same days everywhere; one with a zone
//! is a span, whose days depend on who looks. Other components are passed over, and so are events that
//! are cancelled. What an event has and cannot be read is an error: a holiday that silently is none
//! would be found out on the day.

#[cfg(test)]
mod tests;

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
/// Occurrences of all events of a file, and the days that they touch.
const MOST: usize = 100_000;
/// Events of a file that recur. One that never comes is looked for all the same, which takes milliseconds.
const MOST_RULES: usize = 1000;
/// Rules without an end are unrolled up to here.
const LAST_YEAR: u16 = 2099;

#[derive(Debug, Default)]
pub struct Events {
    pub days: BTreeSet<Date>,
    pub spans: Vec<(Timestamp, Timestamp)>,
    occurrences: usize,
    rules: usize,
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
    events.rules += calendar.components.iter().filter(|c| c.property(&ICalendarProperty::Rrule).is_some()).count();
    if events.rules > MOST_RULES {
        let found = format!("more than {MOST_RULES} events that recur, up to here");
        return Err(wrong(begin, found, "allowed: fewer, or several files"));
    }
    let unrolled = calendar.expand_dates(Tz::Floating, (MOST + 1).saturating_sub(events.occurrences));
    events.occurrences += unrolled.events.len();
    let too_many = || wrong(begin, format!("more than {MOST} days up to here"), "allowed: fewer, or rules that end");
    if events.occurrences > MOST {
        return Err(too_many());
    }
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
        if events.days.len() > MOST {
            return Err(too_many());
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
