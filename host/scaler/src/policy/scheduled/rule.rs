//! One rule of time and where it stands: waiting, on its ramps, in its lead or in its window.

use std::time::Duration;

use config::firing::Firings;
use config::region::{Schedule, When};
use jiff::Timestamp;

use super::{Coming, ScheduleView, clock, stamp};

/// Steps of a factor on its ramp; those of a floor are whole origins.
pub const MULTIPLY_STEPS: u32 = 20;

#[derive(Debug)]
pub struct Rule {
    pub schedule: Schedule,
    firings: Result<Firings, String>,
    /// A lead that was learned and is not taken up yet.
    learned: Option<Duration>,
    /// Steps of its ramps.
    steps: Vec<u32>,
    /// Searching a calendar costs far more than a tick: the answers are kept while they hold. Around now,
    /// and around the instant that the lead reaches to.
    here: Option<Known>,
    ahead: Option<Known>,
}

/// The firings around an instant. Holds for any instant from `asked` to before `next`.
#[derive(Clone, Copy, Debug)]
struct Known {
    asked: Timestamp,
    last: Option<Timestamp>,
    next: Option<Timestamp>,
}

/// Where a rule stands. Several may be at once: the end of one window and the ramp of the next.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Phase {
    /// Start and end of the window that it is.
    pub window: Option<(Timestamp, Timestamp)>,
    /// Start and end of the window that the lead has begun of.
    lead: Option<(Timestamp, Timestamp)>,
    /// The ramp to the next window.
    up: Option<Ramp>,
    /// The ramp after the last window.
    down: Option<Ramp>,
    /// Start of the next window.
    soon: Option<Timestamp>,
    /// Start of the next window whose lead has not begun.
    next: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Ramp {
    begun: Timestamp,
    /// Start of the window before it, end of what comes after it.
    window: Timestamp,
    part: Part,
}

/// How far a number is on its way, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    passed: u128,
    whole: u128,
    falling: bool,
}

impl Part {
    const WHOLE: Part = Part { passed: 1, whole: 1, falling: false };

    /// Of `all` steps, how many stand now.
    pub fn steps(self, all: u32) -> u32 {
        let passed = u32::try_from(self.step(all)).unwrap_or(all).min(all);
        if self.falling { all - passed } else { passed }
    }

    fn step(self, all: u32) -> u128 {
        u128::from(all) * self.passed / self.whole.max(1)
    }

    pub fn is_whole(self) -> bool {
        self == Part::WHOLE
    }
}

impl Ramp {
    fn new(begun: Timestamp, length: Duration, window: Timestamp, falling: bool, now: Timestamp) -> Option<Ramp> {
        let passed = stamp::age(now, begun).as_nanos();
        let part = Part { passed, whole: length.as_nanos(), falling };
        (begun <= now && passed < part.whole).then_some(Ramp { begun, window, part })
    }

    /// When the next of `all` steps is made.
    fn next(self, all: u32) -> Timestamp {
        let passed = ((self.part.step(all) + 1) * self.part.whole).div_ceil(u128::from(all.max(1)));
        stamp::later(self.begun, Duration::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX)))
    }
}

impl Phase {
    /// How far the number is on its way, outside of a window.
    pub fn parts(&self) -> impl Iterator<Item = Part> + use<> {
        let ramps = [self.up, self.down].map(|ramp| ramp.map(|ramp| ramp.part));
        self.lead.map(|_| Part::WHOLE).into_iter().chain(ramps.into_iter().flatten())
    }
}

impl Rule {
    /// `floor`: of the pool.
    pub fn new(schedule: Schedule, floor: u32) -> Rule {
        let firings = Firings::new(&schedule);
        let rise = schedule.floor.map(|to| to.saturating_sub(floor)).filter(|rise| *rise > 0);
        let grows = schedule.multiply.filter(|multiply| *multiply > 1.0).map(|_| MULTIPLY_STEPS);
        let steps = rise.into_iter().chain(grows).collect();
        Rule { schedule, firings, learned: None, steps, here: None, ahead: None }
    }

    pub fn relive(&mut self, lead: Duration) {
        self.learned = Some(lead).filter(|lead| !self.schedule.own_lead && *lead != self.schedule.lead);
    }

    pub fn phase(&mut self, now: Timestamp) -> Phase {
        let phase = self.as_it_is(now);
        let Some(learned) = self.learned else { return phase };
        // The origins that a lead has started may well have taught the shorter one: it is for the next window,
        // as this one would end here and begin again.
        if learned < self.schedule.lead && (phase.lead.is_some() || phase.up.is_some()) {
            return phase;
        }
        (self.schedule.lead, self.learned) = (learned, None);
        self.as_it_is(now)
    }

    fn as_it_is(&mut self, now: Timestamp) -> Phase {
        let Schedule { lead, duration, ramp_up, ramp_down, .. } = self.schedule;
        let here = around(&self.firings, &mut self.here, now);
        let ahead = around(&self.firings, &mut self.ahead, stamp::later(now, lead));
        let window = |start: Timestamp| (start, stamp::later(start, duration));
        let last = here.last.map(window);
        let up = ahead.next.and_then(|next| {
            let begun = stamp::earlier(stamp::earlier(next, lead), ramp_up);
            Ramp::new(begun, ramp_up, next, false, now)
        });
        let down = last.and_then(|(_, end)| Ramp::new(end, ramp_down, stamp::later(end, ramp_down), true, now));
        Phase {
            window: last.filter(|(_, end)| now < *end),
            lead: ahead.last.filter(|start| *start > now).map(window),
            up,
            down,
            soon: here.next,
            next: ahead.next,
        }
    }

    pub fn next_change(&mut self, now: Timestamp) -> Option<Timestamp> {
        let phase = self.phase(now);
        let Schedule { lead, ramp_up, .. } = self.schedule;
        let ends = phase.window.map(|(_, end)| end).into_iter().chain(phase.down.map(|ramp| ramp.window));
        let next = phase.next.into_iter().flat_map(|next| {
            let end = stamp::earlier(next, lead);
            [stamp::earlier(end, ramp_up), end]
        });
        let ramps = phase.up.into_iter().chain(phase.down);
        let steps = ramps.flat_map(|ramp| self.steps.iter().map(move |all| ramp.next(*all)));
        ends.chain(phase.soon).chain(next).chain(steps).filter(|at| *at > now).min()
    }

    /// In a window and its lead the end of the window is what is waited for, whatever comes of a ramp meanwhile.
    pub fn coming(&mut self, now: Timestamp) -> Option<Coming> {
        let phase = self.phase(now);
        let (what, at) = match (phase.window.or(phase.lead), phase.up.or(phase.down)) {
            (Some((_, end)), _) => ("ends", Some(end)),
            (None, Some(_)) => ("changes", self.next_change(now)),
            (None, None) => ("begins", self.next_change(now)),
        };
        Some(Coming { rule: self.schedule.name.clone(), what: what.to_owned(), at: at? })
    }

    /// `until 06:00 Europe/Berlin`, for a clamp.
    pub fn until(&self, phase: &Phase) -> String {
        let end = phase.window.or(phase.lead).map(|(_, end)| end);
        match (&self.firings, end) {
            (Ok(firings), Some(end)) => format!("until {} {}", clock(end, firings.zone()), self.schedule.zone),
            _ => format!("of {}", self.schedule.zone),
        }
    }

    /// `floor`: if the floor is this rule's now.
    pub fn because(&self, phase: &Phase, floor: Option<u32>) -> String {
        let Schedule { lead, zone, .. } = &self.schedule;
        let (asks, lead) = (self.schedule.asks(), stamp::text(*lead));
        let tz = match &self.firings {
            Ok(firings) => firings.zone(),
            Err(error) => return format!("cannot be read: {error}"),
        };
        let now = floor.map_or(String::new(), |floor| format!(", {floor} now"));
        if let Some((start, _)) = phase.window.or(phase.lead) {
            return format!("{asks} from {} {zone}, lead {lead}", clock(start, tz));
        }
        if let Some(ramp) = phase.up {
            return format!("{asks} from {} {zone}, lead {lead}; rising{now}", clock(ramp.window, tz));
        }
        if let Some(ramp) = phase.down {
            return format!("{asks}; falling until {} {zone}{now}", clock(ramp.window, tz));
        }
        match phase.next {
            Some(next) => {
                let next = next.to_zoned(tz.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string();
                format!("{asks} next from {next} {zone}, lead {lead}")
            }
            None => "never fires again".to_owned(),
        }
    }

    pub fn view(&mut self, now: Timestamp, holds: Vec<String>) -> ScheduleView {
        let phase = self.phase(now);
        let schedule = &self.schedule;
        let effect = |next| stamp::earlier(stamp::earlier(next, schedule.lead), schedule.ramp_up);
        let name = match &phase {
            Phase { window: Some(_), .. } => "window",
            Phase { lead: Some(_), .. } => "lead",
            Phase { up: Some(_), .. } => "ramp_up",
            Phase { down: Some(_), .. } => "ramp_down",
            _ => "waiting",
        };
        let calendar = |calendar: &Option<std::sync::Arc<config::calendar::Calendar>>| {
            calendar.as_ref().map(|calendar| calendar.name.clone())
        };
        let written = schedule.written();
        let (cron, at) = match schedule.when {
            When::Cron(_) => (Some(written), None),
            When::At(_) => (None, Some(written)),
        };
        let active = phase.window.into_iter().chain(phase.lead).map(|(_, end)| end).max();
        ScheduleView {
            name: schedule.name.clone(),
            cron,
            at,
            zone: schedule.zone.clone(),
            floor: schedule.floor,
            ceiling: schedule.ceiling,
            target: schedule.target,
            multiply: schedule.multiply,
            on: calendar(&schedule.on),
            except: calendar(&schedule.except),
            lead_seconds: stamp::seconds(schedule.lead),
            duration_seconds: stamp::seconds(schedule.duration),
            ramp_up_seconds: stamp::seconds(schedule.ramp_up),
            ramp_down_seconds: stamp::seconds(schedule.ramp_down),
            active: active.is_some(),
            phase: name.to_owned(),
            holds,
            until: active,
            next_start: phase.next,
            next_effect: phase.next.map(effect),
        }
    }
}

/// The last firing at or before `at`, and the next after it.
fn around(firings: &Result<Firings, String>, kept: &mut Option<Known>, at: Timestamp) -> Known {
    if let Some(known) = *kept
        && known.asked <= at
        && known.next.is_none_or(|next| at < next)
    {
        return known;
    }
    let known = match firings {
        Ok(firings) => Known { asked: at, last: firings.last(at), next: firings.next(at) },
        Err(_) => Known { asked: at, last: None, next: None },
    };
    *kept = Some(known);
    known
}
