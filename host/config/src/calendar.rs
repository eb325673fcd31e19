//! Days that are not like others: a pure answer to "is this day one of them", for rules of time, and to
//! "which weekday is it like", for them and for whoever forecasts.
//!
//! - [`ical`]: iCalendar files.

pub mod ical;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// A set of days. A day is one of the zone that is asked about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calendar {
    pub name: String,
    pub days: BTreeSet<Date>,
    /// Month and day of every year.
    pub yearly: BTreeSet<(i8, i8)>,
    /// From and to, sorted and disjoint: events with a time, whose days depend on the zone.
    pub spans: Vec<(Timestamp, Timestamp)>,
    /// The weekday that these days are like.
    pub like: Option<Weekday>,
    /// The iCalendar file that some of it came from.
    pub file: Option<PathBuf>,
}

impl Calendar {
    pub fn covers(&self, day: Date, zone: &TimeZone) -> bool {
        self.days.contains(&day) || self.yearly.contains(&(day.month(), day.day())) || self.touches(day, zone)
    }

    /// Whether an event with a time has part of the day.
    fn touches(&self, day: Date, zone: &TimeZone) -> bool {
        if self.spans.is_empty() {
            return false;
        }
        let begin = |day: Date| zone.to_zoned(day.at(0, 0, 0, 0)).ok().map(|begin| begin.timestamp());
        let tomorrow = day.checked_add(1.day()).ok();
        let (Some(from), Some(to)) = (begin(day), tomorrow.and_then(begin)) else { return false };
        let after = self.spans.partition_point(|(_, end)| *end <= from);
        self.spans.get(after).is_some_and(|(start, _)| *start < to)
    }

    /// Sorts the spans and makes one of those that meet.
    pub fn settle(&mut self) {
        self.spans.sort();
        let mut settled: Vec<(Timestamp, Timestamp)> = Vec::with_capacity(self.spans.len());
        for (start, end) in self.spans.drain(..) {
            match settled.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => settled.push((start, end)),
            }
        }
        self.spans = settled;
    }
}

/// The weekday that a day is like: that of the last calendar which has the day and names one, else its own.
pub fn weekday(day: Date, zone: &TimeZone, profiles: &[Arc<Calendar>]) -> Weekday {
    let like = profiles.iter().rev().filter(|calendar| calendar.like.is_some());
    like.filter(|calendar| calendar.covers(day, zone)).find_map(|calendar| calendar.like).unwrap_or(day.weekday())
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    #[test]
    fn a_day_is_one_of_the_zone_that_is_asked_about() {
        let span = |from: &str, to: &str| (from.parse().unwrap(), to.parse().unwrap());
        let mut calendar = Calendar {
            spans: vec![
                span("2026-11-28T02:00:00Z", "2026-11-28T03:00:00Z"),
                span("2026-11-27T23:30:00Z", "2026-11-28T02:30:00Z"),
            ],
            ..Calendar::default()
        };
        calendar.settle();
        assert_eq!(calendar.spans.len(), 1, "they meet");
        let covered = |name: &str| {
            let days = (26..=29).filter(|day| calendar.covers(date(2026, 11, *day), &zone(name)));
            days.collect::<Vec<_>>()
        };
        assert_eq!(covered("Europe/Berlin"), [28], "from 00:30 on");
        assert_eq!(covered("UTC"), [27, 28]);
        assert_eq!(covered("America/New_York"), [27], "the whole of it before midnight");
    }

    #[test]
    fn a_day_is_like_the_weekday_of_the_last_calendar_that_has_it() {
        let calendar = |days: &[i8], like| {
            let days = days.iter().map(|day| date(2026, 12, *day)).collect();
            Arc::new(Calendar { days, like, ..Calendar::default() })
        };
        let profiles = [
            calendar(&[24, 25], Some(Weekday::Sunday)),
            calendar(&[25, 26], None),
            calendar(&[25], Some(Weekday::Saturday)),
        ];
        let like = |day| weekday(date(2026, 12, day), &zone("UTC"), &profiles);
        assert_eq!(like(23), Weekday::Wednesday, "its own");
        assert_eq!(like(24), Weekday::Sunday);
        assert_eq!(like(25), Weekday::Saturday, "the later one");
        assert_eq!(like(26), Weekday::Saturday, "its own: that calendar names none");
    }
}
