//! What the calendar asks for: a floor from `start - lead` to `start + duration` of each window.
//!
//! Starts are cron times in an IANA zone. Where clocks go forward over one it fires at the next
//! instant that exists; where they go back over one it fires once (the first). A rule of every
//! hour (`*` or `*/2` as the hour) goes by time passed instead, and neither skips nor waits.

use std::time::Duration;

use config::region::Schedule;
use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};

use super::{Proposal, Source};
use crate::stamp;

/// Times of a day that a rule may list and have each looked up by itself.
const MOST_TIMES: usize = 144;

#[derive(Debug)]
pub struct Scheduled {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    schedule: Schedule,
    /// The checker parsed both before; a zone can still go missing from the machine.
    parsed: Result<(Vec<Cron>, TimeZone), String>,
    /// Searching a calendar costs far more than a tick: the answer is kept while it holds.
    known: Option<Known>,
}

/// The firings around an instant. Holds for any instant from `asked` to before `next`.
#[derive(Clone, Copy, Debug)]
struct Known {
    asked: Timestamp,
    last: Option<Timestamp>,
    next: Option<Timestamp>,
}

/// A rule and its firings, for `explain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScheduleView {
    pub name: String,
    pub cron: String,
    pub zone: String,
    pub floor: u32,
    pub lead_seconds: f64,
    pub duration_seconds: f64,
    /// The floor is in effect now.
    pub active: bool,
    /// Until when, if it is.
    #[serde(with = "crate::stamp::option")]
    pub until: Option<Timestamp>,
    /// Start of the next window.
    #[serde(with = "crate::stamp::option")]
    pub next_start: Option<Timestamp>,
    /// When its floor takes effect: the lead before.
    #[serde(with = "crate::stamp::option")]
    pub next_effect: Option<Timestamp>,
}

impl Scheduled {
    pub fn new(schedules: &[Schedule]) -> Scheduled {
        Scheduled { rules: schedules.iter().cloned().map(Rule::new).collect() }
    }

    pub fn propose(&mut self, now: Timestamp) -> Vec<Proposal> {
        self.rules.iter_mut().map(|rule| rule.propose(now)).collect()
    }

    pub fn next_change(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.rules.iter_mut().filter_map(|rule| rule.next_change(now)).min()
    }

    pub fn views(&mut self, now: Timestamp) -> Vec<ScheduleView> {
        self.rules.iter_mut().map(|rule| rule.view(now)).collect()
    }
}

impl Rule {
    fn new(schedule: Schedule) -> Rule {
        let cron = times_of_day(&schedule.cron);
        let zone = TimeZone::get(&schedule.zone);
        let parsed = match (cron, zone) {
            (Ok(cron), Ok(zone)) => Ok((cron, zone)),
            (Err(error), _) => Err(format!("cron `{}`: {error}", schedule.cron)),
            (_, Err(error)) => Err(format!("zone `{}`: {error}", schedule.zone)),
        };
        Rule { schedule, parsed, known: None }
    }

    /// The last firing at or before `at`, and the next after it.
    fn around(&mut self, at: Timestamp) -> Known {
        if let Some(known) = self.known
            && known.asked <= at
            && known.next.is_none_or(|next| at < next)
        {
            return known;
        }
        let known = match &self.parsed {
            Ok((crons, zone)) => {
                let local = Zoned::new(at, zone.clone());
                let last = crons.iter().filter_map(|cron| cron.find_previous_occurrence(&local, true).ok());
                let last = last.map(|at| at.timestamp()).max();
                let next = crons.iter().filter_map(|cron| cron.find_next_occurrence(&local, false).ok());
                let next = next.map(|at| at.timestamp()).min();
                Known { asked: at, last, next }
            }
            Err(_) => Known { asked: at, last: None, next: None },
        };
        self.known = Some(known);
        known
    }

    /// The window that is in effect, as its start and end; and the next start.
    fn window(&mut self, now: Timestamp) -> (Option<(Timestamp, Timestamp)>, Option<Timestamp>) {
        let known = self.around(stamp::later(now, self.schedule.lead));
        let window = known.last.map(|start| (start, stamp::later(start, self.schedule.duration)));
        (window.filter(|(_, end)| now < *end), known.next)
    }

    fn propose(&mut self, now: Timestamp) -> Proposal {
        let (window, next) = self.window(now);
        let Schedule { name, floor, lead, zone, .. } = &self.schedule;
        let lead = stamp::text(*lead);
        let (origins, because) = match (&self.parsed, window, next) {
            (Err(error), ..) => (None, format!("cannot be read: {error}")),
            (Ok((_, tz)), Some((start, _)), _) => {
                (Some(*floor), format!("floor {floor} from {} {zone}, lead {lead}", clock(start, tz)))
            }
            (Ok((_, tz)), None, Some(next)) => {
                let next = next.to_zoned(tz.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string();
                (None, format!("floor {floor} next from {next} {zone}, lead {lead}"))
            }
            (Ok(_), None, None) => (None, "never fires again".to_string()),
        };
        Proposal { source: Source::Schedule, rule: Some(name.clone()), origins, because }
    }

    fn next_change(&mut self, now: Timestamp) -> Option<Timestamp> {
        let (window, next) = self.window(now);
        let effect = next.map(|next| stamp::earlier(next, self.schedule.lead));
        window.map(|(_, end)| end).into_iter().chain(effect).filter(|at| *at > now).min()
    }

    fn view(&mut self, now: Timestamp) -> ScheduleView {
        let (window, next) = self.window(now);
        let Schedule { name, cron, zone, floor, lead, duration } = &self.schedule;
        let whole = |duration: &Duration| stamp::seconds(*duration);
        ScheduleView {
            name: name.clone(),
            cron: cron.clone(),
            zone: zone.clone(),
            floor: *floor,
            lead_seconds: whole(lead),
            duration_seconds: whole(duration),
            active: window.is_some(),
            until: window.map(|(_, end)| end),
            next_start: next,
            next_effect: next.map(|next| stamp::earlier(next, *lead)),
        }
    }
}

/// A rule as one cron per time of day. The library fires a single time once on the days that
/// clocks change, but a list of them (`30 2,14 * * *`) like a rule of every hour: not at all where
/// it is skipped and twice where it is repeated.
fn times_of_day(text: &str) -> Result<Vec<Cron>, CronError> {
    let parse = |text: &str| CronParser::builder().seconds(Seconds::Optional).build().parse(text);
    let cron = parse(text)?;
    let fields: Vec<&str> = text.split_whitespace().collect();
    let (seconds, rest) = match fields.len() {
        5 => (vec![0], &fields[2..]),
        6 | 7 => (cron.pattern.seconds.values(), &fields[3..]),
        // `@daily` and the like are of one time or of every hour.
        _ => return Ok(vec![cron]),
    };
    let (minutes, hours) = (cron.pattern.minutes.values(), cron.pattern.hours.values());
    let times = seconds.len() * minutes.len() * hours.len();
    if cron.pattern.hours.from_wildcard || times > MOST_TIMES {
        return Ok(vec![cron]);
    }
    let rest = rest.join(" ");
    let hours_minutes = hours.iter().flat_map(|hour| minutes.iter().map(move |minute| (hour, minute)));
    let all = hours_minutes.flat_map(|(hour, minute)| seconds.iter().map(move |second| (hour, minute, second)));
    all.map(|(hour, minute, second)| parse(&format!("{second} {minute} {hour} {rest}"))).collect()
}

/// `18:00`, or `18:00:30` where the seconds say something.
fn clock(at: Timestamp, zone: &TimeZone) -> String {
    let local = at.to_zoned(zone.clone());
    let format = if local.second() == 0 { "%H:%M" } else { "%H:%M:%S" };
    local.strftime(format).to_string()
}
