//! Clock changes that touch a rule: its local time is skipped or repeated, its window contains the change,
//! or it keeps its local time, which is another instant from then on.

use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, ToSpan};

use super::{Ahead, SHOWN, WEEKS, local};

/// A change of one zone's clock.
struct Change {
    at: Timestamp,
    before: Offset,
    after: Offset,
}

/// The soonest first, each with what it touches in one text, so that a list that is cut short leaves none out halfway.
pub fn changes(all: &[Ahead], now: Timestamp) -> Vec<String> {
    let near = now.saturating_add((WEEKS * 7 * 24).hours()).unwrap_or(Timestamp::MAX);
    // A rule is followed as far as its own firings that are shown: one that fires once a year is no reason to tell of
    // every change of those years for one that fires each day.
    let reach = |ahead: &Ahead| {
        let shown = ahead.windows.iter().map(|(start, _)| *start).filter(|at| *at > now).take(SHOWN);
        shown.last().map_or(near, |fifth| fifth.max(near))
    };
    let mut zones: Vec<&str> = all.iter().map(|ahead| ahead.rule.zone.as_str()).collect();
    zones.sort_unstable();
    zones.dedup();
    let mut told = Vec::new();
    for name in zones {
        let of: Vec<_> = all.iter().filter(|ahead| ahead.rule.zone == name).collect();
        let Some(zone) = of.first().map(|ahead| ahead.firings.zone()) else { continue };
        let horizon = of.iter().map(|ahead| reach(ahead)).max().unwrap_or(near);
        for change in coming(zone, now, horizon) {
            let reached = of.iter().filter(|ahead| change.at <= reach(ahead));
            let mut touched: Vec<String> = reached.flat_map(|ahead| touches(ahead, &change)).collect();
            if change.at <= near {
                touched.extend(keep(&of, &change));
            }
            if !touched.is_empty() {
                let touched: String = touched.into_iter().map(|line| format!("\n    {line}")).collect();
                told.push((change.at, format!("clock change: {name} {}{touched}", change.text(zone))));
            }
        }
    }
    told.sort_by_key(|(at, _)| *at);
    told.into_iter().map(|(_, text)| text).collect()
}

fn coming(zone: &TimeZone, now: Timestamp, horizon: Timestamp) -> Vec<Change> {
    let ahead = zone.following(now).map(|change| change.timestamp()).take_while(|at| *at <= horizon).take(SHOWN * 4);
    let all = ahead.filter_map(|at| {
        let before = zone.to_offset(at.checked_sub(1.nanosecond()).ok()?);
        Some(Change { at, before, after: zone.to_offset(at) })
    });
    all.filter(|change| change.before != change.after).collect()
}

impl Change {
    /// `from Sun 2026-03-29 02:00 +01:00 to 03:00 +02:00`.
    fn text(&self, zone: &TimeZone) -> String {
        let from = self.before.to_datetime(self.at).strftime("%a %Y-%m-%d %H:%M").to_string();
        let (to, whole) = (self.after.to_datetime(self.at), local(self.at, zone));
        let same_day = self.before.to_datetime(self.at).date() == to.date();
        let to =
            if same_day { to.strftime("%H:%M").to_string() + &whole[whole.rfind(' ').unwrap_or(0)..] } else { whole };
        format!("from {from} {} to {to}", offset(self.before))
    }
}

fn offset(offset: Offset) -> String {
    Timestamp::UNIX_EPOCH.to_zoned(TimeZone::fixed(offset)).strftime("%:z").to_string()
}

/// What of this rule the change falls upon.
fn touches(ahead: &Ahead, change: &Change) -> Vec<String> {
    let (before, after) = (change.before.to_datetime(change.at), change.after.to_datetime(change.at));
    let name = &ahead.rule.name;
    let mut told = Vec::new();
    let times = ahead.firings.times(before.min(after), before.max(after), 3);
    if !ahead.firings.by_clock() && !times.is_empty() {
        let times: Vec<_> = times.iter().map(|time| time.strftime("%H:%M").to_string()).collect();
        let times = times.join(", ");
        told.push(if after > before {
            format!("{name}: {times} is skipped; it fires at {}", ahead.local(change.at))
        } else {
            format!("{name}: {times} comes twice; it fires at the first, {}", offset(change.before))
        });
    }
    // Of a window over a whole year the clock has come back when it ends, and that is no news.
    let zone = ahead.firings.zone();
    let moves = |start: Timestamp, end: Timestamp| zone.to_offset(start) != zone.to_offset(end);
    let within =
        ahead.windows.iter().find(|(start, end)| *start < change.at && change.at < *end && moves(*start, *end));
    if let Some((start, end)) = within {
        let moved = ahead.before(*end, change);
        let lasts = super::written_duration(ahead.rule.duration);
        told.push(format!(
            "{name}: the window of {} ends at {} and not at {moved}: {lasts} pass",
            ahead.local(*start),
            ahead.local(*end)
        ));
    }
    told
}

/// Rules that fire on both sides of it.
fn keep(of: &[&Ahead], change: &Change) -> Option<String> {
    let both = |ahead: &&&Ahead| {
        let starts = || ahead.windows.iter().map(|(start, _)| *start);
        !ahead.firings.by_clock() && starts().any(|at| at < change.at) && starts().any(|at| at > change.at)
    };
    let names: Vec<_> = of.iter().filter(both).map(|ahead| ahead.rule.name.as_str()).collect();
    let by = change.after.seconds() - change.before.seconds();
    let by = super::written_duration(std::time::Duration::from_secs(by.unsigned_abs().into()));
    let way = if change.after > change.before { "earlier" } else { "later" };
    let verb = if names.len() == 1 { "keeps its" } else { "keep their" };
    (!names.is_empty()).then(|| format!("{} {verb} local time: {by} {way} in UTC from then on", names.join(", ")))
}

impl Ahead<'_> {
    /// What the clock would show at `at` without the change.
    fn before(&self, at: Timestamp, change: &Change) -> String {
        change.before.to_datetime(at).strftime("%H:%M").to_string()
    }
}
