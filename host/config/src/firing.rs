//! When a rule fires: cron or one local time, in an IANA zone, on the days that calendars leave it.
//!
//! Where clocks change, a local time fires at the first instant at which the clock shows it or a later
//! one: one that is skipped at the next instant that exists, one that is repeated once, and several that
//! are skipped together fire together. A rule of every hour (`*` or `*/2` as the hour) fires whenever the
//! clock shows its minute instead: in a skipped hour never, in a repeated one twice, so that it goes by
//! time that passes.

use std::sync::Arc;

use croner::Cron;
use jiff::civil::{Date, DateTime, Weekday, time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};

use crate::calendar::{self, Calendar};
use crate::cron;
use crate::region::{Schedule, When};

/// How far a search goes. Whatever cron can say comes within 28 years (29 February on a given weekday),
/// but for the step over 2100.
const DAYS: i64 = 41 * 366;

/// A rule's firings.
#[derive(Clone, Debug)]
pub struct Firings {
    times: Times,
    zone: TimeZone,
    on: Option<Arc<Calendar>>,
    except: Option<Arc<Calendar>>,
    profiles: Vec<Arc<Calendar>>,
}

#[derive(Clone, Debug)]
enum Times {
    Once(DateTime),
    Cron(Box<Pattern>),
}

#[derive(Clone, Debug)]
struct Pattern {
    cron: Cron,
    hours: Vec<u16>,
    minutes: Vec<u16>,
    seconds: Vec<u16>,
    /// Of every hour.
    by_clock: bool,
}

impl Firings {
    /// The checker has parsed both before; a zone can still go missing from the machine.
    pub fn new(schedule: &Schedule) -> Result<Firings, String> {
        let times = match &schedule.when {
            When::At(at) => Times::Once(*at),
            When::Cron(text) => {
                let cron = cron::parse(text).map_err(|error| format!("cron `{text}`: {error}"))?;
                let pattern = &cron.pattern;
                Times::Cron(Box::new(Pattern {
                    hours: pattern.hours.values(),
                    minutes: pattern.minutes.values(),
                    seconds: pattern.seconds.values(),
                    by_clock: pattern.hours.from_wildcard,
                    cron,
                }))
            }
        };
        let zone = TimeZone::get(&schedule.zone).map_err(|error| format!("zone `{}`: {error}", schedule.zone))?;
        let Schedule { on, except, profiles, .. } = schedule.clone();
        Ok(Firings { times, zone, on, except, profiles })
    }

    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Of every hour: fires whenever the clock shows its minute.
    pub fn by_clock(&self) -> bool {
        matches!(&self.times, Times::Cron(pattern) if pattern.by_clock)
    }

    /// The first `most` local times from `from` to before `to`, whether or not the clock shows them.
    pub fn times(&self, from: DateTime, to: DateTime, most: usize) -> Vec<DateTime> {
        match &self.times {
            Times::Once(once) => [*once].into_iter().filter(|once| from <= *once && *once < to).collect(),
            Times::Cron(pattern) => {
                let days = self.days(pattern, from.date(), to.date());
                let all = days.flat_map(|day| {
                    let first = count(pattern.times(), |i| pattern.time(day, i) < from);
                    (first..pattern.times()).map(move |i| pattern.time(day, i))
                });
                all.take_while(|time| *time < to).take(most).collect()
            }
        }
    }

    /// The first after `at`.
    pub fn next(&self, at: Timestamp) -> Option<Timestamp> {
        match &self.times {
            Times::Once(once) => reached(&self.zone, *once).filter(|once| *once > at),
            Times::Cron(pattern) if pattern.by_clock => self.next_by_clock(pattern, at),
            Times::Cron(pattern) => {
                let first = self.zone.to_datetime(at).date();
                let last = first.saturating_add(DAYS.days());
                self.days(pattern, first, last).find_map(|day| {
                    let passed = count(pattern.times(), |i| self.reached(pattern, day, i).is_none_or(|t| t <= at));
                    (passed < pattern.times()).then(|| self.reached(pattern, day, passed)).flatten()
                })
            }
        }
    }

    /// The last at or before `at`.
    pub fn last(&self, at: Timestamp) -> Option<Timestamp> {
        match &self.times {
            Times::Once(once) => reached(&self.zone, *once).filter(|once| *once <= at),
            Times::Cron(pattern) if pattern.by_clock => self.last_by_clock(pattern, at),
            Times::Cron(pattern) => {
                // The clock may have shown the next day already, where it went back over midnight.
                let first = self.zone.to_datetime(at).date().saturating_add(1.day());
                let last = first.saturating_sub(DAYS.days());
                self.days(pattern, first, last).find_map(|day| {
                    let passed = count(pattern.times(), |i| self.reached(pattern, day, i).is_some_and(|t| t <= at));
                    self.reached(pattern, day, passed.checked_sub(1)?)
                })
            }
        }
    }

    /// Whether cron and the calendars have it fire on this day.
    fn fires_on(&self, pattern: &Pattern, day: Date) -> bool {
        let weekday = || calendar::weekday(day, &self.zone, &self.profiles);
        pattern.has(day, weekday)
            && self.on.as_ref().is_none_or(|on| on.covers(day, &self.zone))
            && self.except.as_ref().is_none_or(|except| !except.covers(day, &self.zone))
    }

    /// The days it fires on from `first` to `last`, which may lie before it.
    fn days<'a>(&'a self, pattern: &'a Pattern, first: Date, last: Date) -> impl Iterator<Item = Date> + 'a {
        let forth = first <= last;
        let step = move |day: Date| if forth { day.tomorrow() } else { day.yesterday() };
        let inside = move |day: &Date| if forth { *day <= last } else { *day >= last };
        let all = std::iter::successors(Some(first), move |day| step(*day).ok()).take_while(inside);
        all.filter(|day| self.fires_on(pattern, *day))
    }

    fn reached(&self, pattern: &Pattern, day: Date, i: usize) -> Option<Timestamp> {
        reached(&self.zone, pattern.time(day, i))
    }

    /// Between two clock changes a local time is an instant: looks through one such stretch after another.
    fn next_by_clock(&self, pattern: &Pattern, at: Timestamp) -> Option<Timestamp> {
        let horizon = at.saturating_add((DAYS * 24).hours()).ok()?;
        let (mut from, mut passed) = (at, true);
        while from < horizon {
            let end = self.zone.following(from).next().map_or(horizon, |change| change.timestamp()).min(horizon);
            let offset = self.zone.to_offset(from);
            let (begin, until) = (offset.to_datetime(from), offset.to_datetime(end));
            let found = self.days(pattern, begin.date(), until.date()).find_map(|day| {
                let i = count(pattern.times(), |i| {
                    let time = pattern.time(day, i);
                    time < begin || (passed && time == begin)
                });
                (i < pattern.times()).then(|| pattern.time(day, i))
            });
            if let Some(found) = found.filter(|found| *found < until) {
                return offset.to_timestamp(found).ok();
            }
            (from, passed) = (end, false);
        }
        None
    }

    fn last_by_clock(&self, pattern: &Pattern, at: Timestamp) -> Option<Timestamp> {
        let horizon = at.saturating_sub((DAYS * 24).hours()).ok()?;
        let mut to = at;
        while to > horizon {
            let after = to.saturating_add(1.nanosecond()).ok()?;
            let begin = self.zone.preceding(after).next().map_or(horizon, |change| change.timestamp()).max(horizon);
            let offset = self.zone.to_offset(to);
            let (from, until) = (offset.to_datetime(begin), offset.to_datetime(to));
            let found = self.days(pattern, until.date(), from.date()).find_map(|day| {
                let i = count(pattern.times(), |i| pattern.time(day, i) <= until);
                Some(pattern.time(day, i.checked_sub(1)?))
            });
            if let Some(found) = found.filter(|found| *found >= from) {
                return offset.to_timestamp(found).ok();
            }
            to = begin.saturating_sub(1.nanosecond()).ok()?;
        }
        None
    }
}

impl Pattern {
    /// Times of one day.
    fn times(&self) -> usize {
        self.hours.len() * self.minutes.len() * self.seconds.len()
    }

    /// The `i`th of them, in order.
    fn time(&self, day: Date, i: usize) -> DateTime {
        let (rest, second) = (i / self.seconds.len(), self.seconds[i % self.seconds.len()]);
        let (hour, minute) = (self.hours[rest / self.minutes.len()], self.minutes[rest % self.minutes.len()]);
        day.to_datetime(time(hour as i8, minute as i8, second as i8, 0))
    }

    fn has(&self, day: Date, weekday: impl Fn() -> Weekday) -> bool {
        let (month, date) = (day.month().unsigned_abs().into(), day.day().unsigned_abs().into());
        if !self.cron.pattern.month_match(month).unwrap_or(false) {
            return false;
        }
        let weekday = match weekday() {
            Weekday::Sunday => croner::time::Weekday::Sunday,
            Weekday::Monday => croner::time::Weekday::Monday,
            Weekday::Tuesday => croner::time::Weekday::Tuesday,
            Weekday::Wednesday => croner::time::Weekday::Wednesday,
            Weekday::Thursday => croner::time::Weekday::Thursday,
            Weekday::Friday => croner::time::Weekday::Friday,
            Weekday::Saturday => croner::time::Weekday::Saturday,
        };
        self.cron.pattern.day_match(day.year().into(), month, date, weekday).unwrap_or(false)
    }
}

/// How many of the first `0..len` meet `before`, which holds for a part at the beginning.
fn count(len: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// The first instant at which the clock shows `local` or a later time. `None` only past the end of time.
pub fn reached(zone: &TimeZone, local: DateTime) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok(),
        AmbiguousOffset::Gap { before, after } => {
            let (early, late) = (after.to_timestamp(local).ok()?, before.to_timestamp(local).ok()?);
            let mut changes = zone.following(early).map(|change| change.timestamp());
            // Some changes alter no offset.
            changes.find(|change| zone.to_offset(*change) == after || *change >= late).map(|change| change.min(late))
        }
    }
}
