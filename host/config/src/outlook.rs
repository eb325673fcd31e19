//! What `check` tells of the rules of time: the next firings of each, where two of them meet and who wins,
//! where two nearly meet, rules that change nothing, and clock changes that touch one. Pure: the time is an argument.
//!
//! It looks eight weeks ahead, and as far as the fifth firing of each rule. A gap is told between two rules
//! with a floor where one window ends, the other takes effect less than an hour later, and no other floor
//! holds meanwhile: somebody meant them to meet. A rule with a ramp after its window, or one of every hour, meant
//! no such thing.

mod change;

use std::time::Duration;

use jiff::{Timestamp, ToSpan};

use crate::firing::Firings;
use crate::raw::form::written_duration;
use crate::region::{Pool, Region, Schedule, When};

/// Firings that are shown.
const SHOWN: usize = 5;
const WEEKS: i64 = 8;
/// Windows of one rule that are looked at.
const WINDOWS: usize = 500;
/// A gap is shorter than this.
const NEAR: Duration = Duration::from_secs(3600);
/// Lines of one kind for one pool.
const LISTED: usize = 12;
/// Rules of one pool that are held against each other: it takes the square of them.
const COMPARED: usize = 128;

/// One rule and its windows to come, from the one that is on.
struct Ahead<'a> {
    rule: &'a Schedule,
    index: usize,
    firings: Firings,
    windows: Vec<(Timestamp, Timestamp)>,
}

/// Lines of text; empty if the region has no rules of time.
pub fn outlook(region: &Region, now: Timestamp) -> String {
    let mut lines = Vec::new();
    for pool in region.pools.values() {
        tell(pool, now, &mut lines);
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

fn tell(pool: &Pool, now: Timestamp, lines: &mut Vec<String>) {
    let schedules = pool.scaling.as_ref().map_or(&[][..], |scaling| &scaling.schedules);
    if schedules.is_empty() {
        return;
    }
    lines.push(format!("pool {}:", pool.name));
    let mut all = Vec::new();
    for (index, rule) in schedules.iter().enumerate() {
        lines.push(format!("  {}", head(rule)));
        match Firings::new(rule) {
            Ok(firings) => {
                let ahead = Ahead::new(rule, index, firings, now);
                lines.extend(ahead.shown(now));
                all.push(ahead);
            }
            Err(why) => lines.push(format!("    never: {why}")),
        }
    }
    let mut told = vec![idle(&all, pool), ramps(&all), change::changes(&all, now)];
    match all.len() {
        ..=COMPARED => told.splice(1..1, [overlaps(&all), gaps(&all)]).for_each(drop),
        many => lines.push(format!("  {many} rules: overlaps and gaps are told of up to {COMPARED}")),
    }
    for told in told {
        let more = told.len().saturating_sub(LISTED);
        lines.extend(told.into_iter().take(LISTED).map(|line| format!("  {line}")));
        if more > 0 {
            lines.push(format!("  and {more} more of these"));
        }
    }
}

/// `mornings: floor 8 for 2h, cron 30 8 * * 1-5 in Europe/Berlin`.
fn head(rule: &Schedule) -> String {
    let how = match rule.when {
        When::Cron(_) => "cron",
        When::At(_) => "once",
    };
    let of = |word: &str, calendar: &Option<std::sync::Arc<crate::calendar::Calendar>>| {
        calendar.as_ref().map_or(String::new(), |calendar| format!(", {word} {}", calendar.name))
    };
    let calendars = of("on", &rule.on) + &of("except", &rule.except);
    let lasts = written_duration(rule.duration);
    format!("{}: {} for {lasts}, {how} {} in {}{calendars}", rule.name, rule.asks(), rule.written(), rule.zone)
}

impl Ahead<'_> {
    fn new(rule: &Schedule, index: usize, firings: Firings, now: Timestamp) -> Ahead<'_> {
        let end = |start: Timestamp| start.saturating_add(rule.duration).unwrap_or(Timestamp::MAX);
        let horizon = now.saturating_add((WEEKS * 7 * 24).hours()).unwrap_or(Timestamp::MAX);
        let on = firings.last(now).filter(|start| end(*start) > now);
        let coming = std::iter::successors(firings.next(now), |at| firings.next(*at)).enumerate();
        let coming = coming.take_while(|(i, at)| *i < SHOWN || *at <= horizon).map(|(_, at)| at).take(WINDOWS);
        let windows = on.into_iter().chain(coming).map(|start| (start, end(start))).collect();
        Ahead { rule, index, firings, windows }
    }

    /// The next firings, one a line.
    fn shown(&self, now: Timestamp) -> Vec<String> {
        let coming: Vec<_> = self.windows.iter().filter(|(start, _)| *start > now).take(SHOWN).collect();
        let mut lines: Vec<_> = coming
            .iter()
            .map(|(start, _)| {
                let ordered = self.effect(*start);
                let ordered = if ordered < *start {
                    format!(", ordered from {}", self.clock(ordered, *start))
                } else {
                    String::new()
                };
                format!("    {}{ordered}", self.local(*start))
            })
            .collect();
        if let Some((_, end)) = self.windows.first().filter(|(start, _)| *start <= now) {
            lines.insert(0, format!("    now, until {}", self.local(*end)));
        }
        if coming.len() < SHOWN {
            let again = if self.firings.last(now).is_none() && lines.is_empty() { "never" } else { "never again" };
            lines.push(format!("    {again}"));
        }
        lines
    }

    /// When something begins to be done for a window: what only takes away waits for the start.
    fn effect(&self, start: Timestamp) -> Timestamp {
        let rule = self.rule;
        let grows = rule.floor.is_some() || rule.multiply.is_some_and(|multiply| multiply > 1.0);
        let early = if grows {
            rule.lead + rule.ramp_up
        } else if rule.target.is_some() {
            rule.lead
        } else {
            Duration::ZERO
        };
        start.saturating_sub(early).unwrap_or(Timestamp::MIN)
    }

    /// `Mon 2026-11-23 08:30 +01:00`.
    fn local(&self, at: Timestamp) -> String {
        local(at, self.firings.zone())
    }

    /// As short as can be beside another instant.
    fn clock(&self, at: Timestamp, beside: Timestamp) -> String {
        let zone = self.firings.zone();
        let (short, other) = (at.to_zoned(zone.clone()), beside.to_zoned(zone.clone()));
        if short.date() == other.date() && short.offset() == other.offset() {
            let format = if short.second() == 0 { "%H:%M" } else { "%H:%M:%S" };
            short.strftime(format).to_string()
        } else {
            self.local(at)
        }
    }
}

fn local(at: Timestamp, zone: &jiff::tz::TimeZone) -> String {
    let local = at.to_zoned(zone.clone());
    let format = if local.second() == 0 { "%a %Y-%m-%d %H:%M %:z" } else { "%a %Y-%m-%d %H:%M:%S %:z" };
    local.strftime(format).to_string()
}

/// Rules that change nothing, or of which one window runs into the next: the writer most likely meant something else.
fn idle(all: &[Ahead], pool: &Pool) -> Vec<String> {
    let Some(scaling) = &pool.scaling else { return Vec::new() };
    let mut told = Vec::new();
    for Ahead { rule, windows, .. } in all {
        let name = &rule.name;
        let floor = rule.floor.filter(|floor| *floor <= scaling.floor && rule.ceiling.is_none());
        let ceiling = rule.ceiling.filter(|ceiling| *ceiling >= scaling.ceiling && rule.floor.is_none());
        if rule.target.is_some() || rule.multiply.is_some() {
            // Those are not what the pool has anyway.
        } else if let Some(floor) = floor {
            told.push(format!("idle: the floor {floor} of {name} is not over the pool's own, {}", scaling.floor));
        } else if let Some(ceiling) = ceiling {
            told.push(format!(
                "idle: the ceiling {ceiling} of {name} is not under the pool's own, {}",
                scaling.ceiling
            ));
        }
        if let Some((a, b)) = windows.iter().zip(windows.iter().skip(1)).find(|(a, b)| b.0 < a.1) {
            let every = written_duration(Duration::try_from(b.0.duration_since(a.0)).unwrap_or_default());
            let lasts = written_duration(rule.duration);
            told.push(format!("overlap: {name} with itself: it fires {every} after it has fired, and lasts {lasts}"));
        }
    }
    told
}

/// Pairs of rules whose windows meet and that set the same number, or a floor over a ceiling.
fn overlaps(all: &[Ahead]) -> Vec<String> {
    let mut told = Vec::new();
    for (i, a) in all.iter().enumerate() {
        for b in &all[i + 1..] {
            let shared = meet(&a.windows, &b.windows);
            let Some((from, to, starts)) = shared.first().copied() else { continue };
            let Some(who) = who_wins(a, b, starts) else { continue };
            let more = match shared.len() - 1 {
                0 => String::new(),
                more => format!(", and {more} more"),
            };
            let (a_name, b_name) = (&a.rule.name, &b.rule.name);
            let (from_text, to_text) = (a.local(from), a.clock(to, from));
            told.push(format!("overlap: {a_name} and {b_name}, {from_text} to {to_text}{more}: {who}"));
        }
    }
    told
}

/// Where two lists of windows meet: from, to, and the starts of both.
fn meet(
    a: &[(Timestamp, Timestamp)],
    b: &[(Timestamp, Timestamp)],
) -> Vec<(Timestamp, Timestamp, (Timestamp, Timestamp))> {
    let (mut i, mut j, mut found) = (0, 0, Vec::new());
    while let (Some(one), Some(other)) = (a.get(i), b.get(j)) {
        let (from, to) = (one.0.max(other.0), one.1.min(other.1));
        if from < to {
            found.push((from, to, (one.0, other.0)));
        }
        if one.1 <= other.1 {
            i += 1;
        } else {
            j += 1;
        }
    }
    found
}

fn who_wins(a: &Ahead, b: &Ahead, starts: (Timestamp, Timestamp)) -> Option<String> {
    let both = |a: bool, b: bool| a && b;
    let fields = [
        ("floor", both(a.rule.floor.is_some(), b.rule.floor.is_some())),
        ("ceiling", both(a.rule.ceiling.is_some(), b.rule.ceiling.is_some())),
        ("target", both(a.rule.target.is_some(), b.rule.target.is_some())),
        ("multiply", both(a.rule.multiply.is_some(), b.rule.multiply.is_some())),
    ];
    let fields: Vec<_> = fields.into_iter().filter(|(_, both)| *both).map(|(name, _)| name).collect();
    let a_first = a.rule.precedence(starts.0, a.index) > b.rule.precedence(starts.1, b.index);
    let (winner, loser) = if a_first { (a, b) } else { (b, a) };
    let why = if winner.rule.rank() > loser.rule.rank() {
        winner.rule.rank().name()
    } else if starts.0 != starts.1 {
        "begins later"
    } else {
        "later in the file"
    };
    let mut who = Vec::new();
    if !fields.is_empty() {
        who.push(format!("{} has the {} ({why})", winner.rule.name, fields.join(" and the ")));
    }
    // Whichever wins its own number: a ceiling cuts the floor of another rule.
    for (one, other) in [(a, b), (b, a)] {
        let (floor, ceiling) = (one.rule.floor, other.rule.ceiling);
        let holds = |ahead: &Ahead, theirs: bool| !theirs || std::ptr::eq(ahead, winner);
        let stands = holds(one, other.rule.floor.is_some()) && holds(other, one.rule.ceiling.is_some());
        if let (Some(floor), Some(ceiling)) = (floor, ceiling)
            && floor > ceiling
            && stands
        {
            who.push(format!(
                "the ceiling {ceiling} of {} cuts the floor {floor} of {}",
                other.rule.name, one.rule.name
            ));
        }
    }
    (!who.is_empty()).then(|| who.join("; "))
}

fn gaps(all: &[Ahead]) -> Vec<String> {
    let mut told = Vec::new();
    // One of every hour is never meant to meet another.
    let meant = |ahead: &&Ahead| ahead.rule.floor.is_some() && !ahead.firings.by_clock();
    let floors: Vec<_> = all.iter().filter(meant).collect();
    let held = |at: Timestamp| {
        floors.iter().any(|ahead| ahead.windows.iter().any(|(start, end)| ahead.effect(*start) <= at && at < *end))
    };
    for a in floors.iter().filter(|ahead| ahead.rule.ramp_down.is_zero()) {
        for b in floors.iter().filter(|b| b.index != a.index) {
            let mut found = a.windows.iter().filter_map(|(_, end)| {
                let next = b.windows.partition_point(|(start, _)| start < end);
                let (start, _) = b.windows.get(next)?;
                let near = end.saturating_add(NEAR).is_ok_and(|limit| *start < limit);
                (near && *end < b.effect(*start) && !held(*end)).then_some((*end, *start))
            });
            let Some((end, start)) = found.next() else { continue };
            let more = match found.count() {
                0 => String::new(),
                more => format!(", and {more} more"),
            };
            let length = Duration::try_from(start.duration_since(end)).unwrap_or_default();
            let (from, to) = (a.local(end), a.clock(start, end));
            let (a, b, length) = (&a.rule.name, &b.rule.name, written_duration(length));
            told.push(format!("gap: {length} between {a} and {b}, {from} to {to}{more}"));
        }
    }
    told
}

/// Rules whose ramp after one window runs into what comes before the next. It is not refused: the higher of both
/// holds, but the pool never comes back to its floor, which the writer may not have meant.
fn ramps(all: &[Ahead]) -> Vec<String> {
    let mut told = Vec::new();
    for ahead in all.iter().filter(|ahead| !ahead.rule.ramp_down.is_zero()) {
        let over = |end: Timestamp| end.saturating_add(ahead.rule.ramp_down).unwrap_or(Timestamp::MAX);
        let pairs = ahead.windows.iter().zip(ahead.windows.iter().skip(1));
        let met = pairs.filter(|((_, end), (next, _))| end < next && ahead.effect(*next) < over(*end));
        let Some(((_, end), (next, _))) = met.into_iter().next() else { continue };
        let (name, from) = (&ahead.rule.name, ahead.local(*end));
        let (falling, begins) = (ahead.clock(over(*end), *end), ahead.clock(ahead.effect(*next), *end));
        told.push(format!("ramps: {name} falls from {from} until {falling} and rises again from {begins}"));
    }
    told
}
