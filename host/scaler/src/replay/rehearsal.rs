//! A pool of a region file over a recorded demand: the live loop's own [`Region`], told by one thought edge
//! what came, and answered by thought origins that boot, warm up and drain as long as they are said to.
//!
//! Nothing is decided here. Every tick the edge reports what came since the last, decisions stand as soon as
//! they are made, and what the region asks for is done at once: an origin is ready when its boot is over, and the
//! edge has exchanges in flight with one that leaves until its drain is over. Warm-up requests are part of the
//! boot: who is ready is warmed. In a gap the edge is silent. A script is asked once a tick, and has answered before
//! that tick is over. Who joins from the warm pool has its slow start before it, and while it waited it cost a part of
//! what it costs otherwise; while it booted for that it cost all of it.

use core::net::{Ipv4Addr, SocketAddr};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use config::region::WarmPool;
use jiff::Timestamp;
use wire::{OriginReport, PoolReport, Report, Stage};

use super::course::{Course, Moment};
use super::score::{Score, Tally};
use crate::decision::{Capacity, Decision};
use crate::region::{Actions, Event, Region};
use crate::report::Refused;
use crate::script::{Answer, Question};
use crate::stage::Observed;

const EDGE: &str = "replay";
/// As in the live loop: what was started is to be seen at once. It settles in two.
const ROUNDS: usize = 4;
/// A first origin was launched so long before the course.
const LONG_AGO_MS: i64 = 86_400_000;

/// What is rehearsed.
#[derive(Clone, Debug)]
pub struct Setting {
    pub config: Arc<config::Region>,
    pub pool: String,
    /// When the course begins.
    pub start: Timestamp,
    /// Between two decisions; the region's own if `None`. A longer one is quicker and coarser, as steps are
    /// for each decision.
    pub tick: Option<Duration>,
    /// Requests a second that one origin carries: the unit of the course's demand.
    pub unit: f64,
}

/// Runs the course, where nobody runs the pool's scripts. `each` hears of every step what the pool was, `decided` of
/// every decision.
///
/// # Errors
/// A demand that no edge could have reported.
pub fn run(
    setting: &Setting,
    course: &Course,
    each: impl FnMut(usize, &Moment),
    decided: impl FnMut(&Decision),
) -> Result<Score, Refused> {
    let nobody = |_| Answer::Silent("nobody runs scripts in this replay".to_owned());
    run_asking(setting, course, nobody, each, decided)
}

/// The same, where `ask` is asked what a script says. It is the run's only outside: where it answers alike, the run
/// is the same.
///
/// # Errors
/// A demand that no edge could have reported.
pub fn run_asking(
    setting: &Setting,
    course: &Course,
    mut ask: impl FnMut(Question) -> Answer,
    mut each: impl FnMut(usize, &Moment),
    mut decided: impl FnMut(&Decision),
) -> Result<Score, Refused> {
    let mut rehearsal = Rehearsal::new(setting, course);
    let mut beside = Beside { ask: &mut ask, decided: &mut decided };
    let mut tally = Tally::new(course.lives, course.from);
    for (step, demand) in course.demand.iter().enumerate() {
        let moment = rehearsal.step(demand.map(|demand| demand * setting.unit), &mut beside)?;
        match demand {
            Some(demand) => {
                tally.add_step(*demand, moment.capacity, moment.billed, f64::from(moment.launched), moment.changed);
            }
            None => tally.skip(),
        }
        each(step, &moment);
    }
    Ok(tally.score())
}

/// Who is asked, and who is told.
struct Beside<'a> {
    ask: &'a mut dyn FnMut(Question) -> Answer,
    decided: &'a mut dyn FnMut(&Decision),
}

/// An origin that is only thought.
#[derive(Debug)]
struct Thought {
    address: SocketAddr,
    launched: i64,
    ready: i64,
    /// When its slow start began: as it was ready, or joined from the warm pool.
    ramps: i64,
    stage: Stage,
    parked: bool,
    /// When its last exchange ends.
    drained: i64,
}

/// All instants are milliseconds since the epoch.
struct Rehearsal {
    region: Region,
    pool: String,
    unit: f64,
    /// What one of the warm pool costs once it has booted, in what one that serves costs.
    waiting: f64,
    /// Origins that the file lists: they have always served.
    listed: u32,
    lives: super::Lives,
    tick: i64,
    now: i64,
    due: i64,
    reported: i64,
    /// Since then; a part of a request waits for the next report. `None`: a gap.
    requests: Option<f64>,
    seq: u64,
    origins: Vec<Thought>,
    launches: u32,
    /// The region has not been told of what runs since it changed.
    news: bool,
    moment: Moment,
}

impl Rehearsal {
    fn new(setting: &Setting, course: &Course) -> Rehearsal {
        let mut config = config::Region::clone(&setting.config);
        config.pools.retain(|name, _| *name == setting.pool);
        let mut tick = config::region::Aggregator::TICK;
        if let Some(aggregator) = &mut config.aggregator {
            tick = setting.tick.unwrap_or(aggregator.tick);
            aggregator.tick = tick;
        }
        let listed = config.pools.values().map(|pool| pool.origins.len() as u32).sum();
        let now = setting.start.as_millisecond();
        let scaling = setting.config.pools.get(&setting.pool).and_then(|pool| pool.scaling.as_ref());
        let warm_pool = scaling.and_then(|scaling| scaling.warm_pool.as_ref());
        let waiting = warm_pool.map_or(WarmPool::COST, |warm_pool| warm_pool.cost);
        let mut rehearsal = Rehearsal {
            region: Region::new(&Arc::new(config), setting.start),
            pool: setting.pool.clone(),
            unit: setting.unit,
            waiting,
            listed,
            lives: course.lives,
            tick: tick.as_millis().max(1) as i64,
            now,
            due: now,
            reported: now,
            requests: Some(0.0),
            seq: 0,
            origins: Vec::new(),
            launches: 0,
            news: true,
            moment: Moment::default(),
        };
        let most = scaling.map_or(listed, |scaling| scaling.ceiling).min(course.ceiling);
        for _ in listed..course.first.min(most) {
            rehearsal.launch(now - LONG_AGO_MS);
        }
        rehearsal.origins.iter_mut().for_each(|origin| origin.stage = Stage::Serving);
        rehearsal
    }

    /// One step in which so many requests a second came.
    fn step(&mut self, load: Option<f64>, beside: &mut Beside<'_>) -> Result<Moment, Refused> {
        self.moment = Moment::default();
        let length = (self.lives.step * 1000.0) as i64;
        let (begin, end) = (self.now, self.now + length);
        while self.now < end {
            if self.now >= self.due {
                self.tick(beside)?;
                self.due = self.now + self.tick;
            }
            let span = self.due.min(end) - self.now;
            self.account(span, span as f64 / (end - begin) as f64);
            let came = load.map(|load| load * span as f64 / 1000.0);
            self.requests = self.requests.zip(came).map(|(before, came)| before + came);
            self.now += span;
        }
        let foreseen = self.region.foreseen(&self.pool);
        self.moment.foreseen = foreseen.map(|(low, high)| (low / self.unit, high / self.unit));
        Ok(self.moment)
    }

    fn tick(&mut self, beside: &mut Beside<'_>) -> Result<(), Refused> {
        let now = instant(self.now);
        self.report(now)?;
        for _ in 0..ROUNDS {
            if std::mem::take(&mut self.news) {
                let origins = self.origins.iter().map(|origin| self.seen(origin)).collect();
                self.region.apply(Event::Observed { pool: self.pool.clone(), origins }, now)?;
            }
            let mut actions = self.region.next(now);
            self.note(&actions);
            let mut questions = std::mem::take(&mut actions.questions);
            for decision in std::mem::take(&mut actions.decisions) {
                (beside.decided)(&decision);
                let moves = decision.from != decision.to;
                self.moment.changed |= moves;
                self.region.apply(Event::Decided(Box::new(decision)), now)?;
                actions = self.region.next(now);
                self.note(&actions);
                questions.append(&mut actions.questions);
            }
            self.act(&actions);
            let asked = !questions.is_empty();
            for question in questions {
                let (pool, script) = (question.pool.clone(), question.script.clone());
                let answer = (beside.ask)(question);
                self.region.apply(Event::Scripted { pool, script, answer }, now)?;
            }
            // One whose boot is over is news to the region, and so is an answer.
            if !self.news && !asked {
                break;
            }
        }
        Ok(())
    }

    /// What the edge saw since its last report.
    fn report(&mut self, now: Timestamp) -> Result<(), Refused> {
        let period = self.now - std::mem::replace(&mut self.reported, self.now);
        // Whole requests are told; a gap tells nothing, and begins anew.
        let requests = self.requests.map_or(0.0, f64::floor);
        let known = self.requests.replace(self.requests.map_or(0.0, |came| came - requests)).is_some();
        self.news |= self.origins.iter().any(|origin| origin.stage == Stage::Booting && origin.ready <= self.now);
        if period <= 0 || !known {
            return Ok(());
        }
        let ready = |origin: &Thought| origin.ready <= self.now;
        let of = |origin: &Thought| match origin.stage {
            Stage::Booting | Stage::Warming if ready(origin) => {
                Some(OriginReport { warmed: true, healthy: true, ..OriginReport::default() })
            }
            Stage::Draining if origin.drained > self.now => {
                Some(OriginReport { in_flight: 1, healthy: true, ..OriginReport::default() })
            }
            _ => None,
        };
        let origins = self.origins.iter().filter_map(|origin| Some((origin.address, of(origin)?))).collect();
        let pool = PoolReport { requests: requests as u64, origins, ..PoolReport::default() };
        self.seq += 1;
        let report = Report {
            version: wire::VERSION,
            edge: EDGE.to_string(),
            boot: 1,
            seq: self.seq,
            period_ms: period.unsigned_abs(),
            pools: BTreeMap::from([(self.pool.clone(), pool)]),
            farewell: false,
        };
        self.region.apply(Event::Report(report), now)?;
        // The answer is what tells an edge who joins and who leaves.
        self.region.tell(EDGE);
        Ok(())
    }

    /// As an actuator sees it.
    fn seen(&self, origin: &Thought) -> Observed {
        let ready = (origin.ready <= self.now).then(|| instant(origin.ready));
        let first = origin.launched + LONG_AGO_MS <= self.reported && origin.stage == Stage::Serving;
        Observed {
            address: origin.address,
            launched_at: instant(origin.launched),
            ready_at: ready,
            serving_at: ready.filter(|_| first),
            stopping: false,
            parked: false,
            leaving: None,
        }
    }

    fn note(&mut self, actions: &Actions) {
        for change in actions.pools.values().flat_map(|pool| &pool.changes) {
            let found = self.origins.iter_mut().find(|origin| origin.address == change.address);
            let (Some(origin), Some(stage)) = (found, change.to) else { continue };
            if origin.parked && stage == Stage::Serving {
                origin.ramps = self.now;
            }
            origin.stage = stage;
            if stage == Stage::Draining {
                origin.drained = self.now + (self.lives.drain * 1000.0) as i64;
            }
        }
    }

    fn act(&mut self, actions: &Actions) {
        let Some(wanted) = actions.pools.get(&self.pool) else { return };
        self.origins.iter_mut().for_each(|origin| origin.parked = wanted.parked.contains(&origin.address));
        if !wanted.stop.is_empty() {
            self.origins.retain(|origin| !wanted.stop.contains(&origin.address));
            self.news = true;
        }
        let run = wanted.run.unwrap_or(self.origins.len() as u32);
        for _ in self.origins.len() as u32..run {
            self.launch(self.now);
            self.moment.launched += 1;
            self.moment.changed = true;
            self.news = true;
        }
    }

    fn launch(&mut self, at: i64) {
        // Sixteen million launches until an address comes again.
        let host = Ipv4Addr::from_bits(u32::from_be_bytes([10, 0, 0, 0]) | (self.launches & 0x00ff_ffff));
        self.launches += 1;
        self.origins.push(Thought {
            address: SocketAddr::from((host, 80)),
            launched: at,
            ready: at + (self.lives.boot * 1000.0) as i64,
            ramps: at + (self.lives.boot * 1000.0) as i64,
            stage: Stage::Booting,
            parked: false,
            drained: at,
        });
    }

    /// Adds up the `span` that begins now, which is such a part of the step.
    fn account(&mut self, span: i64, part: f64) {
        let mut stages = Capacity { serving: self.listed, ..Capacity::default() };
        let mut capacity = f64::from(self.listed);
        let mut billed = capacity;
        let middle = self.now as f64 + span as f64 / 2.0;
        for origin in &self.origins {
            let ramp = self.ramp((middle - origin.ramps as f64) / 1000.0);
            let waits = origin.parked && origin.stage == Stage::Warming;
            billed += if waits { self.waiting } else { 1.0 };
            match origin.stage {
                Stage::Booting => stages.booting += 1,
                Stage::Warming if waits => stages.warm += 1,
                Stage::Warming => stages.warming += 1,
                Stage::Draining => stages.draining += 1,
                Stage::Serving => {
                    capacity += ramp;
                    *if ramp < 1.0 { &mut stages.warming } else { &mut stages.serving } += 1;
                }
            }
        }
        self.moment.stages = stages;
        self.moment.capacity += capacity * part;
        self.moment.billed += billed * part;
    }

    /// Capacity of one that has been ready for so many seconds.
    fn ramp(&self, age: f64) -> f64 {
        let super::Lives { warm, warm_start, .. } = self.lives;
        if age >= warm { 1.0 } else { warm_start + (1.0 - warm_start) * (age / warm).max(0.0) }
    }
}

fn instant(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX)
}
