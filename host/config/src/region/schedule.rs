//! Rules of time: what a pool shall have in a window that a calendar knows of.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{DateTime, Weekday};

use crate::calendar::Calendar;

/// A window, and what holds in it. At least one of `floor`, `ceiling`, `target` and `multiply` is given.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub name: String,
    pub when: When,
    /// IANA zone of all local times and days of the rule.
    pub zone: String,
    /// How long the window lasts, in time that passes: a clock change within it does not alter that.
    pub duration: Duration,
    /// At least this many origins serve in the window.
    pub floor: Option<u32>,
    /// At most this many.
    pub ceiling: Option<u32>,
    /// Requests a second of one origin, in place of those of the reactive rule.
    pub target: Option<f64>,
    /// Factor on what the reactive rule proposes.
    pub multiply: Option<f64>,
    /// How long before the window what asks for more takes effect; `Scaling::lead` if the file gives none.
    pub lead: Duration,
    /// It is the rule's own, and not that of `Scaling`, which may be learned.
    pub own_lead: bool,
    /// How long before that the floor rises to its number, from that of the pool.
    pub ramp_up: Duration,
    /// How long after the window it falls back.
    pub ramp_down: Duration,
    /// Fires on days of this calendar only.
    pub on: Option<Arc<Calendar>>,
    /// Fires on no day of this calendar.
    pub except: Option<Arc<Calendar>>,
    /// Calendars that give days another weekday, in the order of the file.
    pub profiles: Vec<Arc<Calendar>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum When {
    /// Seconds optional as a first field; the checker has parsed it with [`crate::cron::parse`].
    Cron(String),
    /// Once, at this local time.
    At(DateTime),
}

/// Which of two rules is meant for fewer days: that one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    Cron,
    /// Cron on the days of a calendar.
    Calendar,
    Once,
}

impl Schedule {
    pub const RAMP: Duration = Duration::ZERO;
    /// The largest `multiply`.
    pub const MOST: f64 = 100.0;

    pub fn rank(&self) -> Rank {
        match (&self.when, &self.on) {
            (When::At(_), _) => Rank::Once,
            (_, Some(_)) => Rank::Calendar,
            (_, None) => Rank::Cron,
        }
    }

    /// Of two windows at one instant the larger of these has the numbers that both set. `index`: the rule's
    /// place in the file.
    pub fn precedence(&self, start: Timestamp, index: usize) -> (Rank, Timestamp, usize) {
        (self.rank(), start, index)
    }

    /// What it asks for: `floor 5`, `exact 3, target 40`.
    pub fn asks(&self) -> String {
        let mut asks = Vec::new();
        match (self.floor, self.ceiling) {
            (Some(floor), Some(ceiling)) if floor == ceiling => asks.push(format!("exact {floor}")),
            (floor, ceiling) => {
                asks.extend(floor.map(|floor| format!("floor {floor}")));
                asks.extend(ceiling.map(|ceiling| format!("ceiling {ceiling}")));
            }
        }
        asks.extend(self.target.map(|target| format!("target {target}")));
        asks.extend(self.multiply.map(|multiply| format!("multiply {multiply}")));
        asks.join(", ")
    }

    /// When, as the file has it.
    pub fn written(&self) -> String {
        match &self.when {
            When::Cron(cron) => cron.clone(),
            When::At(at) => at.to_string(),
        }
    }
}

impl Rank {
    pub fn name(self) -> &'static str {
        match self {
            Rank::Cron => "cron",
            Rank::Calendar => "cron on a calendar",
            Rank::Once => "one-off",
        }
    }
}

/// A weekday as files write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DayName {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl From<DayName> for Weekday {
    fn from(name: DayName) -> Weekday {
        match name {
            DayName::Monday => Weekday::Monday,
            DayName::Tuesday => Weekday::Tuesday,
            DayName::Wednesday => Weekday::Wednesday,
            DayName::Thursday => Weekday::Thursday,
            DayName::Friday => Weekday::Friday,
            DayName::Saturday => Weekday::Saturday,
            DayName::Sunday => Weekday::Sunday,
        }
    }
}
