//! A recorded demand, and what each policy makes of it.

use std::fmt::Write as _;

use jiff::Timestamp;
use scaler::engine::Settings;
use scaler::peers::contest;
use scaler::replay::clairvoyant;
use scaler::replay::course::{Course, Moment};
use scaler::replay::excess::excess;
use scaler::replay::rehearsal;
use scaler::replay::score::{Score, Tally};
use scaler::{Capacity, Decision};

use super::Options;
use super::asked::Asked;
use super::outcome::{Line, Outcome};
use super::progress::Progress;
use super::recorded::{Recorded, STEP};
use super::tried::Tried;

/// At this violation, in percent, costs are compared with the clairvoyant's.
const COMPARED_AT: f64 = 0.1;
/// The engine alone, without a region file.
pub const OURS: &str = "forebay";
/// What really ran.
pub const RAN: &str = "as it ran";
/// Steps of an hour.
pub const HOUR: usize = 240;
const STEPS_A_DAY: f64 = 5760.0;
/// From so many days on the usual first seven are for learning; of shorter recordings half is.
const LONG_DAYS: f64 = 8.0;
/// A recording without instants begins on this Monday, for rules that know no calendar.
const MONDAY: &str = "2024-01-01T00:00:00Z";
/// More origins than this at the peak, and the capacity of one is a mistake.
const MOST_ORIGINS: f64 = 100_000.0;

/// One recording, ready to be played.
pub struct Case {
    pub name: String,
    pub start: Timestamp,
    /// Whether it says itself when it began, or the command line does.
    pub dated: bool,
    pub course: Course,
    /// Requests a second of one origin, where a policy counts them.
    pub unit: Option<f64>,
    pub notes: Vec<String>,
    /// By the step; empty if nobody knows.
    ran: Vec<Option<Capacity>>,
}

impl Case {
    pub fn of(recorded: &Recorded, options: &Options, tried: &[Tried]) -> Result<Case, String> {
        let name = &recorded.name;
        let fail = |problem: String| format!("{name}: {problem}");
        let rates = recorded.steps();
        if rates.len() < HOUR {
            return Err(fail(format!("{:.1} days: an hour is the least", recorded.days())));
        }
        let mut notes = Vec::new();
        let (start, dated) = start(recorded, options, tried).map_err(fail)?;
        let first = tried.first();
        let unit = options.capacity.or(first.and_then(Tried::capacity));
        if first.is_some() && unit.is_none() {
            return Err(fail("no rule of the pool says what an origin carries: --capacity REQUESTS_A_SECOND".into()));
        }
        let known = rates.iter().flatten();
        let average = known.clone().sum::<f64>() / known.count().max(1) as f64;
        let scale = match (options.mean, unit.filter(|_| first.is_some())) {
            (None, Some(unit)) => 1.0 / unit,
            (mean, _) => mean.unwrap_or(12.0) / average.max(f64::MIN_POSITIVE),
        };
        let demand: Vec<Option<f64>> = rates.iter().map(|rate| rate.map(|rate| rate * scale)).collect();
        let peak = demand.iter().flatten().copied().fold(0.0, f64::max);
        if peak > MOST_ORIGINS {
            return Err(fail(format!("{peak:.0} origins at the peak: is --capacity what one of them carries?")));
        }
        let lives = options.lives(first.map(Tried::pool));
        let from = learning(rates.len(), options.learn, &mut notes).map_err(fail)?;
        let seen: Vec<f64> = demand.iter().flatten().take(40).copied().collect();
        let ran: Vec<_> = match recorded.ran.is_empty() {
            true => Vec::new(),
            false => (0..rates.len()).map(|step| recorded.ran(step)).collect(),
        };
        let (least, ceiling) = first.map_or((0, u32::MAX), |tried| (tried.scaling().floor, tried.scaling().ceiling));
        let stood = ran.iter().flatten().next().map(|ran| ran.booting + ran.warming + ran.serving);
        let course = Course {
            lives,
            from,
            ceiling,
            first: stood.unwrap_or_else(|| lives.first(&seen)).clamp(least.min(ceiling), ceiling),
            demand,
        };
        if course.scored().iter().sum::<f64>() <= 0.0 {
            return Err(fail(format!("no demand after the first {:.1} days", from as f64 / STEPS_A_DAY)));
        }
        if options.capacity.is_none() && first.is_some_and(|tried| tried.scaling().predictive.is_none()) {
            notes.push(
                "what an origin carries is taken from the reactive rule, whose number is what it should carry: if it \
                 carries more, say so by --capacity"
                    .to_string(),
            );
        }
        if options.boot.is_none() && first.is_some_and(|tried| tried.scaling().lead_bounds.is_some()) {
            let lead = lives.boot + lives.warm;
            notes.push(format!(
                "the pool learns its lead, which is not recorded: origins take {lead} s here, and --boot and --warm say \
                 it otherwise"
            ));
        }
        notes.extend(tried.iter().flat_map(Tried::notes));
        // One life for all, or the figures would compare origins and not policies; but a schedule goes by its file's.
        let others = tried.iter().skip(1).filter(|other| {
            options.boot.is_none() && first.is_some_and(|first| first.scaling().lead != other.scaling().lead)
        });
        notes.extend(others.map(|other| {
            let (lead, lives) = (other.scaling().lead.as_secs_f64(), lives.boot + lives.warm);
            format!("{}: its lead is {lead} s, and its origins take {lives} s here, as the first file's do", other.name)
        }));
        Ok(Case { name: name.clone(), start, dated, course, unit, notes, ran })
    }

    pub fn days(&self) -> f64 {
        self.course.demand.len() as f64 / STEPS_A_DAY
    }
}

fn start(recorded: &Recorded, options: &Options, tried: &[Tried]) -> Result<(Timestamp, bool), String> {
    let scheduled = tried.iter().find(|tried| !tried.scaling().schedules.is_empty());
    let (start, dated) = match (recorded.start, options.start, scheduled) {
        (Some(_), Some(_), _) => return Err("it says itself when it began: no --start".into()),
        (Some(start), None, _) | (None, Some(start), _) => (start, true),
        (None, None, Some(tried)) => {
            let pool = &tried.pool;
            return Err(format!("pool {pool} has schedules, and nothing says when this began: --start INSTANT"));
        }
        (None, None, None) => (MONDAY.parse().map_err(|error| format!("{error}"))?, false),
    };
    // Steps of the live loop begin on the quarter of a minute.
    let second = start.as_second() - start.as_second().rem_euclid(STEP as i64);
    Ok((Timestamp::from_second(second).map_err(|error| error.to_string())?, dated))
}

/// The first step that is scored.
fn learning(steps: usize, asked: Option<f64>, notes: &mut Vec<String>) -> Result<usize, String> {
    let days = steps as f64 / STEPS_A_DAY;
    let usual = contest::LEARNING_DAYS;
    let learned = match asked {
        Some(seconds) => seconds / 86400.0,
        None if days >= LONG_DAYS => usual,
        None => {
            let half = days / 2.0;
            notes.push(format!(
                "{days:.1} days recorded: the first {half:.1} are for learning and not scored, where {usual} are of \
                 {LONG_DAYS} days and more. Forecasts have seen less than they could"
            ));
            half
        }
    };
    // Minutes stay whole.
    let from = (learned * 1440.0) as usize * 4;
    if from + HOUR / 2 > steps {
        return Err(format!("{days:.1} days, of which {learned:.1} are for learning: half an hour more is the least"));
    }
    Ok(from)
}

/// One policy's run.
pub struct Played {
    pub policy: String,
    pub score: Score,
    /// Origin-hours in the warm pool.
    pub waited: f64,
    /// From the first step that is scored on.
    pub hours: Vec<Hour>,
}

/// In origin-hours, steps that nobody recorded left out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Hour {
    pub demand: f64,
    pub billed: f64,
    pub lost: f64,
}

/// All of a case's runs.
pub struct Runs {
    pub outcome: Outcome,
    pub played: Vec<Played>,
    /// The first policy's pool, step by step, if it is kept.
    pub moments: Vec<Moment>,
    /// The decisions of policies, as lines.
    pub explained: String,
}

/// Plays a case: policies of files or the engine, then peers, then what really ran.
pub fn play(case: &Case, options: &Options, tried: &[Tried], progress: &Progress) -> Result<Runs, String> {
    let course = &case.course;
    progress.begin(format!("{}: clairvoyant", case.name));
    let frontier = clairvoyant::frontier(&course.scored(), 0, &course.lives, &clairvoyant::PRICES);
    let mut kept = Vec::new();
    let mut explained = String::new();
    let mut played = Vec::new();
    let steps = course.demand.len() as f64;
    for tried in tried {
        let mut log = Log::new(course, (options.html.is_some() && played.is_empty()).then_some(&mut kept));
        progress.begin(format!("{}: {}", case.name, tried.name));
        let each = |step: usize, moment: &Moment| {
            log.note(step, moment);
            progress.tell(step as f64 / steps);
        };
        let setting = rehearsal::Setting {
            config: tried.config.clone(),
            pool: tried.pool.clone(),
            start: case.start,
            tick: options.tick,
            unit: case.unit.unwrap_or(1.0),
        };
        let mut explain = Explain::new(options.explains(), &mut explained);
        explain.head(&case.name, &tried.name);
        let asked = Asked::of(tried)?;
        let ask = |question| asked.answer(question);
        let score = rehearsal::run_asking(&setting, course, ask, each, |decision| explain.note(decision));
        let score = score.map_err(|refused| format!("{}: {}", case.name, refused.detail))?;
        played.push(Played { policy: tried.name.clone(), score, waited: log.waited, hours: log.hours });
    }
    if tried.is_empty() {
        let mut log = Log::new(course, options.html.is_some().then_some(&mut kept));
        progress.begin(format!("{}: {OURS}", case.name));
        let mut settings = Settings::of(course.lives);
        settings.tuning.price = options.price();
        let score = contest::engine_on(settings, course, |step, moment, _| {
            log.note(step, moment);
            progress.tell(step as f64 / steps);
        });
        played.push(Played { policy: OURS.to_string(), score, waited: log.waited, hours: log.hours });
    }
    for spec in &options.against {
        let mut log = Log::new(course, None);
        progress.begin(format!("{}: {spec}", case.name));
        let score = contest::peer_on(*spec, course, |step, moment| log.note(step, moment));
        played.push(Played { policy: spec.to_string(), score, waited: log.waited, hours: log.hours });
    }
    if !case.ran.is_empty() {
        played.push(as_it_ran(case));
    }
    progress.end();
    let outcome = outcome(case, options, frontier, &played);
    Ok(Runs { outcome, played, moments: kept, explained })
}

fn outcome(case: &Case, options: &Options, frontier: Vec<clairvoyant::Bound>, played: &[Played]) -> Outcome {
    let course = &case.course;
    let compared = clairvoyant::cost_at(&frontier, COMPARED_AT).max(1e-9);
    let least = |bound: &clairvoyant::Bound| bound.cost + options.judge * bound.lost;
    let least = frontier.iter().map(least).fold(f64::INFINITY, f64::min).max(1e-9);
    let line = |played: &Played| Line {
        policy: played.policy.clone(),
        cost_ratio: played.score.cost / compared,
        price_ratio: played.score.price(options.judge) / least,
        waiting_hours: played.waited,
        score: played.score,
    };
    let gaps = course.demand[course.from..].iter().filter(|demand| demand.is_none()).count();
    Outcome {
        trace: case.name.clone(),
        start: case.dated.then_some(case.start),
        days: (course.demand.len() - course.from) as f64 / STEPS_A_DAY,
        learning_days: course.from as f64 / STEPS_A_DAY,
        gap_hours: gaps as f64 / HOUR as f64,
        notes: case.notes.clone(),
        clairvoyant_hours: compared,
        lines: played.iter().map(line).collect(),
        frontier,
    }
}

/// The origins that there really were, over the same demand: those that served are the capacity, all were paid.
fn as_it_ran(case: &Case) -> Played {
    let mut tally = Tally::new(case.course.lives, case.course.from);
    let mut log = Log::new(&case.course, None);
    let mut before = case.course.first;
    for (step, demand) in case.course.demand.iter().enumerate() {
        let (Some(ran), Some(demand)) = (case.ran.get(step).copied().flatten(), demand) else {
            tally.skip();
            continue;
        };
        let total = ran.booting + ran.warming + ran.serving;
        let moment = Moment {
            capacity: f64::from(ran.serving),
            billed: f64::from(total + ran.draining),
            launched: total.saturating_sub(before),
            changed: total != before,
            stages: ran,
            foreseen: None,
        };
        before = total;
        tally.add_step(*demand, moment.capacity, moment.billed, f64::from(moment.launched), moment.changed);
        log.note(step, &moment);
    }
    Played { policy: RAN.to_string(), score: tally.score(), waited: log.waited, hours: log.hours }
}

/// What is kept of a run.
struct Log<'a> {
    course: &'a Course,
    waited: f64,
    hours: Vec<Hour>,
    moments: Option<&'a mut Vec<Moment>>,
}

impl<'a> Log<'a> {
    fn new(course: &'a Course, moments: Option<&'a mut Vec<Moment>>) -> Log<'a> {
        let count = (course.demand.len() - course.from).div_ceil(HOUR);
        Log { course, waited: 0.0, hours: vec![Hour::default(); count], moments }
    }

    fn note(&mut self, step: usize, moment: &Moment) {
        if let Some(moments) = &mut self.moments {
            moments.push(*moment);
        }
        let Some(scored) = step.checked_sub(self.course.from) else { return };
        let Some(demand) = self.course.demand[step] else { return };
        let hours = STEP / 3600.0;
        let hour = &mut self.hours[scored / HOUR];
        hour.demand += demand * hours;
        hour.billed += moment.billed * hours;
        self.waited += f64::from(moment.stages.warm) * hours;
        hour.lost += excess(demand, moment.capacity, self.course.lives.spread) * hours;
    }
}

/// The decisions that a journal would have, a line each.
struct Explain<'a> {
    text: Option<&'a mut String>,
    last: Option<Decision>,
}

impl<'a> Explain<'a> {
    fn new(wanted: bool, text: &'a mut String) -> Explain<'a> {
        Explain { text: wanted.then_some(text), last: None }
    }

    fn head(&mut self, recording: &str, policy: &str) {
        if let Some(text) = &mut self.text {
            let _ = writeln!(text, "# {recording}, {policy}");
        }
    }

    fn note(&mut self, decision: &Decision) {
        let Some(text) = &mut self.text else { return };
        if self.last.as_ref().is_none_or(|last| decision.differs(last)) {
            let _ = writeln!(text, "{:.0} {}", decision.at, decision.line);
            self.last = Some(decision.clone());
        }
    }
}
