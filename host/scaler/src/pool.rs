//! The state that one scaled pool keeps from tick to tick. [`foreign`] takes in what runs and who started it,
//! [`learning`] how long origins take; [`deciding`] makes a decision of it, [`asking`] what scripts are asked,
//! [`points`] a history, [`shown`] what people and edges see, [`said`] what people tell it; [`tier`] sizes the warm pool.

mod asking;
mod deciding;
pub mod foreign;
mod learning;
mod points;
mod said;
mod shown;
mod spent;
mod tier;

use core::net::SocketAddr;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use config::region::{Pool as PoolConfig, Scaling};
use jiff::Timestamp;
use wire::PoolReport;

use crate::budget::Budget;
use crate::carried::{Carried, Trouble};
use crate::decide::{Moves, OperatorHold, Wants};
use crate::decision::{Capacity, Decision};
use crate::edges::{EdgeId, Mark, PoolEdges};
use crate::hint::Hints;
use crate::history::Point;
use crate::lead::Lead;
use crate::peers::beside::Beside;
use crate::policy::Policy;
use crate::region::Role;
use crate::script::{Answer, Question};
use crate::series::Series;
use crate::signal::Signals;
use crate::signal::scraped::Scraped;
use crate::stage::{Gone, Origins, Replaced, StageChange, StageRules};
use crate::stamp;
use crate::trial::Trial;
use crate::usual::Usual;
use crate::wall::Wall;
use foreign::Hands;

/// For the load that is shown of a pool whose policies look at no window.
const SHOWN_WINDOW: Duration = Duration::from_secs(10);
/// Steps of 15 s whose origins are known, for points that a late report changes.
const STEPS_KEPT: usize = 16;
/// Origins that are gone, kept for `explain` and summaries.
const GONE_KEPT: usize = 256;

#[derive(Debug)]
pub struct Pool {
    config: Arc<PoolConfig>,
    policies: Vec<Policy>,
    series: Series,
    signals: Signals,
    hints: Hints,
    origins: Origins,
    lead: Lead,
    gone: VecDeque<Gone>,
    /// The count that stands; `None` before the first decision of a pool that nobody ran before.
    desired: Option<u32>,
    wants: Wants,
    moves: Moves,
    /// The actuator has said what runs. Before that nothing is decided.
    observed: bool,
    take_over: bool,
    /// Where another aggregator acts, what it runs is the count that stands.
    role: Role,
    /// What the calendar, or else the floor, asked for last: as far as the count may be raised without a lease.
    scheduled_floor: u32,
    /// The actuator has said what runs, now or before: edges can be told.
    seen: bool,
    operator: Option<OperatorHold>,
    wall: Wall,
    /// When the next decision is due.
    due: Timestamp,
    last: Option<Decision>,
    /// Origins by stage, by the second that a step of 15 s began in.
    capacities: VecDeque<(i64, Capacity)>,
    /// How long a script's answer does.
    answers_stand: Duration,
    /// The past that scripts are shown, by steps of 15 s.
    recent: VecDeque<Point>,
    /// How many shall be in the warm pool, and what was wanted of it lately.
    tier: u32,
    tiers: Wants,
    /// What others started.
    hands: Hands,
    /// In a mode that decides and does not act.
    trial: Option<Trial>,
    /// What a time of day brings; `None` where an engine knows it.
    usual: Option<Usual>,
    /// Since when no edge reports.
    silent_since: Option<Timestamp>,
    /// Others, over the same demand.
    beside: Option<Beside>,
    carried: Carried,
    /// What it may cost.
    budget: Option<Budget>,
    /// Of the region file.
    digest: Arc<str>,
}

/// How often a pool is decided on, and how long a report counts.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub tick: Duration,
    pub stale: Duration,
}

/// What a look at a pool has led to.
#[derive(Debug, Default)]
pub struct Next {
    pub decision: Option<Decision>,
    pub changes: Vec<StageChange>,
    pub questions: Vec<Question>,
}

impl Pool {
    /// `None` if the pool has no scaling: then its origins are the edge's own affair.
    pub fn new(config: &Arc<PoolConfig>, now: Timestamp) -> Option<Pool> {
        let scaling = config.scaling.as_ref()?;
        let lead = Lead::new(config);
        let mut policies = Policy::of(scaling);
        policies.iter_mut().for_each(|policy| policy.relive(lead.figures()));
        Some(Pool {
            config: config.clone(),
            policies,
            series: Series::default(),
            signals: Signals::of(scaling),
            hints: Hints::default(),
            origins: Origins::default(),
            lead,
            gone: VecDeque::new(),
            desired: None,
            wants: Wants::default(),
            moves: Moves::default(),
            observed: false,
            take_over: false,
            role: Role::default(),
            scheduled_floor: 0,
            seen: false,
            operator: None,
            wall: Wall::default(),
            due: now,
            last: None,
            capacities: VecDeque::new(),
            answers_stand: Duration::ZERO,
            recent: VecDeque::new(),
            tier: 0,
            tiers: Wants::default(),
            hands: Hands::default(),
            trial: None,
            usual: Usual::of(scaling),
            silent_since: None,
            beside: None,
            carried: Carried::default(),
            budget: scaling.budget.as_ref().map(|setting| Budget::new(setting, now, Wall::default())),
            digest: "".into(),
        })
    }

    /// The wall clock was set: what goes by it is looked at anew, and nothing else.
    pub fn set_wall(&mut self, wall: Wall, now: Timestamp) {
        (self.wall, self.due) = (wall, now);
    }

    /// The file changed: what was seen and decided stays.
    pub fn configure(&mut self, config: &Arc<PoolConfig>, now: Timestamp) {
        if let Some(scaling) = &config.scaling {
            self.policies = Policy::anew(scaling, std::mem::take(&mut self.policies));
            self.signals.configure(scaling);
            if scaling.hints.is_none() {
                self.hints.clear();
            }
            if self.scaling().mode.only_thinks() && !scaling.mode.only_thinks() {
                // What would have stood moved otherwise than what did; where a trial begins, they are one.
                self.moves = Moves::default();
            }
            let keeps = |trial: &Trial| scaling.mode.only_thinks() && trial.suits(scaling);
            self.trial = self.trial.take().filter(keeps);
            let before = self.budget.take();
            self.budget = scaling.budget.as_ref().map(|setting| match before {
                Some(before) => before.anew(setting, now, self.wall),
                None => Budget::new(setting, now, self.wall),
            });
            self.beside = self.beside.take().filter(|beside| beside.suits(scaling));
            let usual = Usual::of(scaling);
            self.usual = usual.map(|anew| self.usual.take().unwrap_or(anew));
            self.config = config.clone();
            self.lead.settle(config);
            self.relive();
            self.due = now;
        }
    }

    /// What the region file is called in records.
    pub fn name_rules(&mut self, digest: &Arc<str>) {
        self.digest = digest.clone();
    }

    fn scaling(&self) -> &Scaling {
        self.config.scaling.as_ref().expect("a pool without scaling is not made")
    }

    fn listed(&self) -> u32 {
        self.config.origins.len() as u32
    }

    fn rules(&self) -> StageRules {
        // The longest that an exchange in flight may stay silent.
        let drain = self.config.timeouts.response + self.config.timeouts.body;
        StageRules {
            warmup: self.config.warmup.as_ref().map(|warmup| warmup.timeout),
            drain,
            late_after: self.lead.learned().late_after(),
            // What an edge calls unhealthy failed so often already: as often again, and at every edge.
            unwell_after: self.config.health.as_ref().map(|health| health.interval * health.unhealthy_after),
            ends: self.role == Role::Leader,
        }
    }

    /// An edge reported what it saw in the `period` before `now`.
    pub fn report(&mut self, edge: &str, id: EdgeId, report: &PoolReport, period: Duration, now: Timestamp) {
        self.series.add(id, report, period, now);
        self.signals.report(id, report, period, now);
        let rule = self.config.scaling.as_ref().and_then(|scaling| scaling.hints.as_ref());
        if rule.is_some_and(|rule| self.hints.take(edge, report, period, rule, now)) {
            // Waiting for the next tick would only lose the time that the hint is about.
            self.due = now;
        }
    }

    /// An edge has ended in order.
    pub fn left(&mut self, edge: EdgeId, now: Timestamp) {
        self.series.leave(edge, now);
    }

    /// An origin was looked at.
    pub fn scraped(&mut self, scraped: &Scraped, now: Timestamp) {
        self.signals.scraped(scraped, now);
    }

    /// An earlier run had decided so much. It stands until reports say otherwise.
    pub fn adopt(&mut self, count: u32, now: Timestamp) {
        let count = self.desired.map_or(count, |desired| desired.max(count));
        self.desired = Some(count);
        self.take_over = true;
        self.wants.push(now, count, self.scaling().stabilisation);
    }

    /// This aggregator acts from now on, or another does. Who takes over begins with what runs, whatever
    /// it decided meanwhile, and its first decision takes nothing away.
    pub fn lead(&mut self, role: Role, now: Timestamp) {
        self.role = role;
        self.scheduled_floor = 0;
        self.hands.forget();
        self.origins.recall();
        if role != Role::Standby {
            if self.origins.staying() > 0 {
                self.desired = None;
            }
            self.take_over = true;
            self.observed = false;
            self.due = now;
        }
    }

    /// A script has answered.
    pub fn answer(&mut self, script: &str, answer: Answer, now: Timestamp) {
        let scripts = self.policies.iter_mut().find_map(Policy::scripted);
        if scripts.is_some_and(|scripts| scripts.answer(script, answer, now)) {
            self.due = now;
        }
    }

    /// What the actuator could not do, if it could not.
    pub fn fail(&mut self, trouble: Option<Trouble>) {
        self.carried.fail(trouble);
    }

    /// A decision of this pool that is on record: from now on it stands.
    pub fn accept(&mut self, decision: &Decision) {
        let running = self.running();
        self.hands.accept(decision);
        // Nobody here asked for those that others started.
        let asked = decision.to - self.hands.surplus(decision.to);
        self.carried.ask(self.wall.instant(decision.at), decision.from, decision.to, asked, running);
        self.desired = Some(decision.to);
        self.move_on(decision);
        // Without a fresh report the first decision was none that could have shrunk the pool.
        if decision.inputs.edges.iter().any(|edge| edge.fresh) {
            self.take_over = false;
        }
        if let (Some(trial), Some(would)) = (&mut self.trial, decision.would) {
            trial.accept(would);
        }
        self.last = Some(decision.clone());
    }

    /// What limits over a time look back on. In a mode that only thinks that is what would have stood.
    fn move_on(&mut self, decision: &Decision) {
        let (from, to) = match (&self.trial, decision.would) {
            (Some(trial), Some(would)) => (trial.count(), would),
            _ => (decision.from, decision.to),
        };
        let window = self.scaling().step_up.window().max(self.scaling().step_down.window());
        self.moves.push(self.wall.instant(decision.at), i64::from(to) - i64::from(from), window);
    }

    /// Whether [`Pool::next`] has nothing to do, whatever edges have reported: no decision is due, and no origin is on its way.
    /// Looking at what 2,000 edges say of each origin costs, and there is a report each half of a millisecond.
    pub fn rests(&self, tick: Duration, now: Timestamp) -> bool {
        let due = now >= self.due || stamp::age(self.due, now) > tick;
        let settled = match self.wanted() {
            Some(members) if self.role == Role::Leader => self.origins.rest(members, self.tier),
            _ => false,
        };
        self.observed && !due && settled
    }

    /// Moves stages; decides if a decision is due.
    pub fn next(&mut self, edges: &PoolEdges, pace: Pace, now: Timestamp) -> Next {
        let Pace { tick, stale } = pace;
        if !self.observed {
            return Next::default();
        }
        self.answers_stand = stale.max(tick * 2);
        let mut changes = self.origins.advance(&self.rules(), edges, now);
        self.learn();
        changes.extend(self.settle(now));
        // A due time further off than a tick would be of instants that went back.
        if now < self.due && stamp::age(self.due, now) <= tick {
            return Next { changes, ..Next::default() };
        }
        let decision = self.decide(edges, now);
        let wall = self.wall;
        let change = self.policies.iter_mut().filter_map(|policy| policy.next_change(wall, now)).min();
        let hint = self.hints.next_change(self.lead.figures().lead, now);
        self.due = change.into_iter().chain(hint).min().unwrap_or(Timestamp::MAX).min(stamp::later(now, tick));
        let questions = self.questions(&decision, edges, tick, now);
        Next { decision: Some(decision), changes, questions }
    }

    /// What the actuator shall bring about; `None` while nothing is decided.
    pub fn target(&mut self) -> Option<(u32, Vec<SocketAddr>)> {
        let count = self.wanted()? + self.tier + self.origins.draining();
        self.hands.told(count, self.origins.present());
        Some((count, self.origins.stop()))
    }

    /// Those in the warm pool, and those that boot for it.
    pub fn parked(&self) -> Vec<SocketAddr> {
        self.origins.parked()
    }

    /// How many members the actuator shall run: what was decided, and who replaces those that are late or going.
    /// The ceiling holds for both together. What others started is no reason to start more.
    fn wanted(&self) -> Option<u32> {
        let desired = self.desired?;
        let count = desired.saturating_sub(self.listed());
        if self.role == Role::Lapsed {
            return Some(count);
        }
        let room = self.scaling().ceiling.max(desired) - desired;
        Some(count + self.origins.surge(count.saturating_sub(self.hands.surplus(desired))).min(room))
    }

    /// Who is late or going.
    fn replaced(&self) -> Vec<Replaced> {
        let room = self.desired.is_none_or(|desired| desired < self.scaling().ceiling);
        self.origins.replaced(&self.rules(), room)
    }

    pub fn tell(&mut self, edge: EdgeId, mark: Mark) {
        self.origins.tell(edge, mark);
    }

    pub fn next_change(&self, now: Timestamp) -> Timestamp {
        let stage = self.origins.next_change(&self.rules(), now);
        stage.map_or(self.due, |stage| stage.min(self.due))
    }
}
