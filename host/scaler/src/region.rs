//! A region: events in, actions out.
//!
//! A decision of [`Region::next`] stands only once it comes back as [`Event::Decided`]: whoever
//! drives the region writes it to the journal in between, and what could not be written is
//! never acted on. `next` may be called at any time and as often as one likes.

mod kept;

use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use config::region::ScalingMode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wire::{Membership, Report, Stage};

use crate::budget::{Month, Spending};
use crate::carried::Trouble;
use crate::decide::OperatorHold;
use crate::decision::{Capacity, Decision, Inputs};
use crate::edges::Edges;
use crate::history::Point;
use crate::lead::LeadView;
use crate::policy::ScheduleView;
use crate::pool::foreign::Foreign;
use crate::pool::{Pace, Pool};
use crate::report::{self, Refused};
use crate::script::{Answer, Question};
use crate::signal::Demand;
use crate::signal::scraped::Scraped;
use crate::stage::{Gone, Observed, OriginView, Replaced, StageChange};
use crate::stamp;
use crate::trial::Scored;
use crate::tune::told::Told;
use crate::wall::Wall;

#[derive(Clone, Debug)]
pub enum Event {
    /// An edge reported.
    Report(Report),
    /// All origins of a pool that an actuator runs, as it sees them.
    Observed { pool: String, origins: Vec<Observed> },
    /// What one origin of a pool shows of itself.
    Scraped { pool: String, scraped: Scraped },
    /// An earlier run of the aggregator had decided on so many.
    Adopted { pool: String, origins: u32 },
    /// What an earlier run had spent on a pool in a month, until `at`.
    Spent { pool: String, at: Timestamp, month: Month },
    /// Why a pool's actuator does not do as it is told, or (`None`) that it does.
    Troubled { pool: String, trouble: Option<Trouble> },
    /// What an earlier run saw of a pool in the last hour, in steps of 15 s.
    Recalled { pool: String, points: Vec<Point> },
    /// What was seen of a pool since [`Region::wants_minutes`], by the minute.
    Taught { pool: String, minutes: Vec<Point> },
    /// A decision is on record and stands.
    Decided(Box<Decision>),
    /// An operator holds a pool, or (`None`) lets go of it.
    Held { pool: String, hold: Option<OperatorHold> },
    /// Somebody knows that an origin is going: its machine is taken back, its disk fails.
    Leaving { pool: String, address: SocketAddr, because: String },
    /// What this aggregator may do from now on.
    Lead(Role),
    /// A script of a pool has answered.
    Scripted { pool: String, script: String, answer: Answer },
    /// The region file changed.
    Configured(Arc<config::Region>),
    /// From here on the wall clock is so far ahead of the instants that are told with events.
    WallClock(Wall),
}

/// What an aggregator may do, of those that share a region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// It acts.
    #[default]
    Leader,
    /// Its lease has ended and nobody can say who has the next one. It was the last to act: it may go on to raise
    /// pools as far as their scheduled floors, and does nothing else.
    Lapsed,
    /// Another acts, or may.
    Standby,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    Taken,
    /// A report that was here before.
    Repeat,
    /// It names a pool that is not scaled here.
    Unknown,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Actions {
    /// To be written down, then given back as [`Event::Decided`].
    pub decisions: Vec<Decision>,
    /// To be asked; each answer comes back as [`Event::Scripted`], or none does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<Question>,
    /// By pool name; a pool on which nothing was decided yet is missing.
    pub pools: BTreeMap<String, PoolActions>,
    /// When to ask again at the latest.
    #[serde(with = "crate::stamp")]
    pub wake_at: Timestamp,
}

/// Absolute, so that it can be repeated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolActions {
    /// This many shall run beside those in `stop`; `None`: nothing was decided yet.
    pub run: Option<u32>,
    /// These shall stop.
    pub stop: Vec<SocketAddr>,
    /// These are in the warm pool, or boot for it.
    pub parked: Vec<SocketAddr>,
    /// Of these somebody has said that they are going, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaving: Vec<(SocketAddr, String)>,
    /// What changed since the last time.
    pub changes: Vec<StageChange>,
}

/// A pool for the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolView {
    pub mode: ScalingMode,
    pub desired: Option<u32>,
    /// In the mode `advise`: what there would be.
    pub advised: Option<u32>,
    /// In the modes `shadow` and `advise`: what that would have cost and violated, beside what ran.
    pub scored: Option<Scored>,
    pub floor: u32,
    pub ceiling: u32,
    pub capacity: Capacity,
    pub inputs: Inputs,
    /// What the signals say now.
    pub demand: Demand,
    /// What of the capacity takes traffic now, in origins: a slow start counts as far as it is.
    pub carries: f64,
    /// Origins that are late or going, in whose place others run or will.
    pub replaced: Vec<Replaced>,
    /// How many shall be in the warm pool, where there is one.
    pub warm_pool: Option<u32>,
    /// Origins that run and were not decided here.
    pub foreign: Option<Foreign>,
    /// An operator's hold.
    pub operator: Option<OperatorHold>,
    pub origin_seconds: f64,
    /// Of those, what origins spent in the warm pool or booted for it.
    pub warm_seconds: f64,
    pub origins: Vec<OriginView>,
    pub gone: Vec<Gone>,
    pub schedules: Vec<ScheduleView>,
    /// How long origins take, as it was learned.
    pub lead: LeadView,
    /// What the predictive rule has learned to pay for; `None` without one.
    pub tuner: Option<Told>,
    /// What is aimed at and what it costs; `None` without a budget.
    pub budget: Option<Spending>,
    /// The latest that stands.
    pub decision: Option<Decision>,
}

#[derive(Debug)]
pub struct Region {
    tick: Duration,
    stale: Duration,
    edges: Edges,
    pools: BTreeMap<String, Pool>,
    role: Role,
    wall: Wall,
    epoch: u64,
    /// What the epoch stands for.
    published: BTreeMap<String, Vec<(SocketAddr, Stage)>>,
}

impl Region {
    /// The epoch starts at `now` in milliseconds: past any of an earlier run.
    pub fn new(config: &Arc<config::Region>, now: Timestamp) -> Region {
        let mut region = Region {
            tick: Duration::from_secs(1),
            stale: Duration::from_secs(5),
            edges: Edges::default(),
            pools: BTreeMap::new(),
            role: Role::default(),
            wall: Wall::default(),
            epoch: now.as_millisecond().max(0) as u64,
            published: BTreeMap::new(),
        };
        region.configure(config, now);
        region
    }

    /// Takes an event in. A refused report changed nothing.
    pub fn apply(&mut self, event: Event, now: Timestamp) -> Result<Applied, Refused> {
        match event {
            Event::Report(report) => return self.report(report, now),
            Event::Configured(config) => self.configure(&config, now),
            Event::WallClock(wall) => {
                self.wall = wall;
                self.pools.values_mut().for_each(|pool| pool.set_wall(wall, now));
            }
            Event::Lead(role) => {
                self.role = role;
                self.pools.values_mut().for_each(|pool| pool.lead(role, now));
            }
            Event::Observed { pool, origins } => {
                return Ok(self.of(&pool, |pool| pool.observe(&origins, now)));
            }
            Event::Scraped { pool, scraped } => return Ok(self.of(&pool, |pool| pool.scraped(&scraped, now))),
            Event::Adopted { pool, origins } => return Ok(self.of(&pool, |pool| pool.adopt(origins, now))),
            Event::Recalled { pool, points } => return Ok(self.of(&pool, |pool| pool.recall(&points))),
            Event::Taught { pool, minutes } => return Ok(self.of(&pool, |pool| pool.teach(&minutes))),
            Event::Decided(decision) => return Ok(self.of(&decision.pool, |pool| pool.accept(&decision))),
            Event::Spent { pool, at, month } => return Ok(self.of(&pool, |pool| pool.recall_spent(&month, at))),
            Event::Troubled { pool, trouble } => return Ok(self.of(&pool, |pool| pool.fail(trouble))),
            Event::Scripted { pool, script, answer } => {
                return Ok(self.of(&pool, |pool| pool.answer(&script, answer, now)));
            }
            Event::Leaving { pool, address, because } => {
                let found = self.pools.get_mut(&pool).is_some_and(|pool| pool.leaving(address, &because, now));
                return Ok(if found { Applied::Taken } else { Applied::Unknown });
            }
            Event::Held { pool, hold } => return Ok(self.of(&pool, |pool| pool.hold(hold, now))),
        }
        Ok(Applied::Taken)
    }

    fn of(&mut self, pool: &str, act: impl FnOnce(&mut Pool)) -> Applied {
        match self.pools.get_mut(pool) {
            Some(pool) => {
                act(pool);
                Applied::Taken
            }
            None => Applied::Unknown,
        }
    }

    fn report(&mut self, report: Report, now: Timestamp) -> Result<Applied, Refused> {
        report::check(&report)?;
        let Some(edge) = self.edges.note(&report, now, self.stale)? else { return Ok(Applied::Repeat) };
        let period = Duration::from_millis(report.period_ms);
        for (name, seen) in &report.pools {
            if let Some(pool) = self.pools.get_mut(name) {
                pool.report(&report.edge, edge, seen, period, now);
            }
        }
        if report.farewell {
            self.pools.values_mut().for_each(|pool| pool.left(edge, now));
        }
        self.edges.keep(report, |pool| self.pools.contains_key(pool), now);
        Ok(Applied::Taken)
    }

    fn configure(&mut self, config: &Arc<config::Region>, now: Timestamp) {
        if let Some(aggregator) = &config.aggregator {
            (self.tick, self.stale) = (aggregator.tick, aggregator.stale_after);
        }
        let digest: Arc<str> = config.digest().into();
        self.pools.retain(|name, _| config.pools.get(name).is_some_and(|pool| pool.scaling.is_some()));
        for (name, config) in &config.pools {
            match self.pools.get_mut(name) {
                Some(pool) => pool.configure(config, now),
                None => {
                    if let Some(mut pool) = Pool::new(config, now) {
                        pool.set_wall(self.wall, now);
                        if self.role != Role::Leader {
                            pool.lead(self.role, now);
                        }
                        self.pools.insert(name.clone(), pool);
                    }
                }
            }
        }
        self.pools.values_mut().for_each(|pool| pool.name_rules(&digest));
    }

    /// Moves stages, decides where a decision is due, and says what to do.
    pub fn next(&mut self, now: Timestamp) -> Actions {
        let mut actions =
            Actions { decisions: Vec::new(), questions: Vec::new(), pools: BTreeMap::new(), wake_at: Timestamp::MAX };
        let pace = Pace { tick: self.tick, stale: self.stale };
        for (name, pool) in &mut self.pools {
            let mut changes = Vec::new();
            if !pool.rests(self.tick, now) {
                let edges = self.edges.of_pool(name, now, self.stale);
                let next = pool.next(&edges, pace, now);
                actions.decisions.extend(next.decision);
                actions.questions.extend(next.questions);
                changes = next.changes;
            }
            let (run, stop) = pool.target().map_or((None, Vec::new()), |(run, stop)| (Some(run), stop));
            actions.pools.insert(
                name.clone(),
                PoolActions { run, stop, parked: pool.parked(), leaving: pool.told_leaving(), changes },
            );
            actions.wake_at = actions.wake_at.min(pool.next_change(now));
        }
        let stale = self.edges.next_stale(now, self.stale).map(|at| stamp::later(at, Duration::from_millis(1)));
        // A minute bounds what a mistake in all of these can cost.
        let minute = stamp::later(now, Duration::from_secs(60));
        actions.wake_at = stale.unwrap_or(minute).min(actions.wake_at).min(minute);
        actions
    }

    /// Who is in each pool, without anyone being told.
    pub fn membership(&mut self, now: Timestamp) -> Membership {
        let pools: BTreeMap<_, _> =
            self.pools.iter().filter_map(|(name, pool)| Some((name.clone(), pool.members(now)?))).collect();
        let stages = |members: &Vec<wire::Member>| members.iter().map(|m| (m.address, m.stage)).collect::<Vec<_>>();
        let present: BTreeMap<_, _> = pools.iter().map(|(name, members)| (name.clone(), stages(members))).collect();
        if present != self.published {
            self.epoch += 1;
            self.published = present;
        }
        Membership { version: wire::VERSION, epoch: self.epoch, token: None, pools }
    }

    /// The answer to the latest report of an edge, which thereby knows who drains.
    pub fn answer(&mut self, edge: &str, now: Timestamp) -> Membership {
        self.tell(edge);
        self.membership(now)
    }

    /// The present membership is the answer to the latest report of an edge.
    pub fn tell(&mut self, edge: &str) {
        if let Some(edge) = self.edges.get(edge) {
            for pool in self.pools.values_mut() {
                pool.tell(edge.id, edge.mark);
            }
        }
    }

    pub fn pool(&mut self, name: &str, now: Timestamp) -> Option<PoolView> {
        let pool = self.pools.get_mut(name)?;
        Some(pool.view(&self.edges, self.stale, now))
    }

    /// The lowest and the highest bound of the requests a second in the coming lead, as the predictive rule
    /// foresees them now.
    pub fn foreseen(&mut self, pool: &str) -> Option<(f64, f64)> {
        self.pools.get_mut(pool)?.foreseen()
    }

    /// The names of the pools that are scaled here.
    pub fn pools(&self) -> Vec<String> {
        self.pools.keys().cloned().collect()
    }

    /// The origins of a pool that take traffic, listed ones included.
    pub fn serving(&self, pool: &str) -> Vec<SocketAddr> {
        self.pools.get(pool).map(Pool::serving).unwrap_or_default()
    }

    pub fn origins(&self, pool: &str, now: Timestamp) -> Vec<OriginView> {
        self.pools.get(pool).map(|pool| pool.origins(now)).unwrap_or_default()
    }

    pub fn fresh_edges(&self, now: Timestamp) -> usize {
        self.edges.fresh(now, self.stale)
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }
}
