//! The state that one scaled pool keeps from tick to tick.

use core::net::SocketAddr;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use config::region::{Pool as PoolConfig, Scaling, ScalingMode};
use jiff::Timestamp;
use wire::{Member, PoolReport, Stage};

use crate::decide::{Case, OperatorHold, Wants, decide};
use crate::decision::{Capacity, Decision, EdgeAge, Inputs};
use crate::edges::{EdgeId, Edges, Mark, PoolEdges};
use crate::hint::Hints;
use crate::history::{Point, Points, Step};
use crate::policy::{Policy, ScheduleView, View};
use crate::series::{Level, Series};
use crate::stage::{Gone, Observed, OriginView, Origins, StageChange, StageRules};
use crate::stamp;
use crate::trial::Trial;

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
    hints: Hints,
    origins: Origins,
    gone: VecDeque<Gone>,
    /// The count that stands; `None` before the first decision of a pool that nobody ran before.
    desired: Option<u32>,
    wants: Wants,
    /// The actuator has said what runs. Before that nothing is decided.
    observed: bool,
    take_over: bool,
    /// Another aggregator acts: what it runs is the count that stands.
    standby: bool,
    /// The actuator has said what runs, now or before: edges can be told.
    seen: bool,
    operator: Option<OperatorHold>,
    /// When the next decision is due.
    due: Timestamp,
    last: Option<Decision>,
    /// Origins by stage, by the second that a step of 15 s began in.
    capacities: VecDeque<(i64, Capacity)>,
    /// In a mode that decides and does not act.
    trial: Option<Trial>,
}

impl Pool {
    /// `None` if the pool has no scaling: then its origins are the edge's own affair.
    pub fn new(config: &Arc<PoolConfig>, now: Timestamp) -> Option<Pool> {
        let scaling = config.scaling.as_ref()?;
        Some(Pool {
            config: config.clone(),
            policies: Policy::of(scaling),
            series: Series::default(),
            hints: Hints::default(),
            origins: Origins::default(),
            gone: VecDeque::new(),
            desired: None,
            wants: Wants::default(),
            observed: false,
            take_over: false,
            standby: false,
            seen: false,
            operator: None,
            due: now,
            last: None,
            capacities: VecDeque::new(),
            trial: None,
        })
    }

    /// The file changed: what was seen and decided stays.
    pub fn configure(&mut self, config: &Arc<PoolConfig>, now: Timestamp) {
        if let Some(scaling) = &config.scaling {
            self.policies = Policy::anew(scaling, std::mem::take(&mut self.policies));
            if scaling.hints.is_none() {
                self.hints.clear();
            }
            let keeps = |trial: &Trial| scaling.mode.only_thinks() && trial.suits(scaling);
            self.trial = self.trial.take().filter(keeps);
            self.config = config.clone();
            self.due = now;
        }
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
        StageRules { warmup: self.config.warmup.as_ref().map(|warmup| warmup.timeout), drain }
    }

    /// An edge reported what it saw in the `period` before `now`.
    pub fn report(&mut self, edge: &str, id: EdgeId, report: &PoolReport, period: Duration, now: Timestamp) {
        self.series.add(id, report, period, now);
        let rule = self.config.scaling.as_ref().and_then(|scaling| scaling.hints.as_ref());
        if rule.is_some_and(|rule| self.hints.take(edge, report, period, rule, now)) {
            // Waiting for the next tick would only lose the time that the hint is about.
            self.due = now;
        }
    }

    /// An earlier run had decided so much. It stands until reports say otherwise.
    pub fn adopt(&mut self, count: u32, now: Timestamp) {
        let count = self.desired.map_or(count, |desired| desired.max(count));
        self.desired = Some(count);
        self.take_over = true;
        self.wants.push(now, count, self.scaling().stabilisation);
    }

    /// What an earlier run saw, in steps of 15 s.
    pub fn recall(&mut self, points: &[Point]) {
        for point in points {
            let Point { requests, rejects, errors, cost, covered, .. } = *point;
            // Of a step that was cut off, its first seconds were seen.
            let seconds = ((covered * Step::Fine.seconds() as f64).ceil() as i64).clamp(1, Step::Fine.seconds());
            let part = (covered * Step::Fine.seconds() as f64 / seconds as f64).min(1.0);
            for second in point.second()..point.second() + seconds {
                self.series.seed(second, Level { requests, rejects, errors, cost }, part);
            }
        }
    }

    /// The points that reports changed since this was asked last, the present step's included.
    pub fn points(&mut self, edges: &PoolEdges, now: Timestamp) -> Points {
        let step = Step::Fine.start(now.as_second());
        // Steps ahead are of a clock that was set back.
        self.capacities.retain(|(then, _)| *then < step);
        self.capacities.push_back((step, self.capacity()));
        if self.capacities.len() > STEPS_KEPT {
            self.capacities.pop_front();
        }
        let (Some(touched), Some(last)) = (self.series.take_touched(), self.series.last()) else {
            return Points::default();
        };
        let expected = edges.fresh.len() + edges.missing.len();
        let of = |step: Step| {
            let starts = (step.start(touched)..=last).step_by(step.seconds() as usize);
            starts.filter_map(|start| self.point(start, step, expected)).collect()
        };
        Points { fine: of(Step::Fine), minutes: of(Step::Minute) }
    }

    fn point(&self, start: i64, step: Step, expected: usize) -> Option<Point> {
        let end = start + step.seconds();
        let mean = self.series.mean(start, end, expected)?;
        let known = self.capacities.iter().rev().find(|(then, _)| (start..end).contains(then));
        let Level { requests, rejects, errors, cost } = mean.level;
        Some(Point {
            at: Timestamp::from_second(start).ok()?,
            requests,
            rejects,
            errors,
            cost,
            covered: mean.covered,
            origins: known.map_or_else(|| self.capacity(), |(_, capacity)| *capacity),
        })
    }

    /// All points shall be told again: those that were told are lost.
    pub fn tell_again(&mut self) {
        self.series.touch();
    }

    /// This aggregator acts from now on, or another does. Who takes over begins with what runs, whatever
    /// it decided meanwhile, and its first decision takes nothing away.
    pub fn lead(&mut self, leads: bool, now: Timestamp) {
        self.standby = !leads;
        if leads {
            if self.origins.staying() > 0 {
                self.desired = None;
            }
            self.take_over = true;
            self.observed = false;
            self.due = now;
        }
    }

    pub fn observe(&mut self, seen: &[Observed], now: Timestamp) {
        self.gone.extend(self.origins.observe(seen, now));
        while self.gone.len() > GONE_KEPT {
            self.gone.pop_front();
        }
        let staying = seen.iter().filter(|origin| !origin.stopping).count() as u32;
        let first = !std::mem::replace(&mut self.observed, true);
        self.seen = true;
        if staying > 0 && self.standby {
            self.desired = Some(self.listed() + staying);
        } else if staying > 0 && first {
            self.adopt(self.listed() + staying, now);
        }
    }

    pub fn hold(&mut self, hold: Option<OperatorHold>, now: Timestamp) {
        self.operator = hold;
        self.due = now;
    }

    /// A decision of this pool that is on record: from now on it stands.
    pub fn accept(&mut self, decision: &Decision) {
        self.desired = Some(decision.to);
        // Without a fresh report the first decision was none that could have shrunk the pool.
        if decision.inputs.edges.iter().any(|edge| edge.fresh) {
            self.take_over = false;
        }
        if let (Some(trial), Some(would)) = (&mut self.trial, decision.would) {
            trial.accept(would);
        }
        self.last = Some(decision.clone());
    }

    /// Moves stages; decides if a decision is due.
    pub fn next(&mut self, edges: &PoolEdges, tick: Duration, now: Timestamp) -> (Option<Decision>, Vec<StageChange>) {
        if !self.observed {
            return (None, Vec::new());
        }
        let mut changes = self.origins.advance(&self.rules(), edges, now);
        if let Some(desired) = self.desired.filter(|_| !self.standby) {
            changes.extend(self.origins.settle(desired.saturating_sub(self.listed()), now));
        }
        // A due time further off than a tick is of a clock that was set back.
        if now < self.due && stamp::age(self.due, now) <= tick {
            return (None, changes);
        }
        let decision = self.decide(edges, now);
        let change = self.policies.iter_mut().filter_map(|policy| policy.next_change(now)).min();
        let hint = self.hints.next_change(self.scaling().lead, now);
        self.due = change.into_iter().chain(hint).min().unwrap_or(Timestamp::MAX).min(stamp::later(now, tick));
        (Some(decision), changes)
    }

    fn decide(&mut self, edges: &PoolEdges, now: Timestamp) -> Decision {
        if self.operator.as_ref().is_some_and(|hold| hold.until.is_some_and(|until| until <= now)) {
            self.operator = None;
        }
        self.hints.forget(now);
        let mode = self.scaling().mode;
        let from = self.desired.unwrap_or(self.listed());
        if mode.only_thinks() && self.trial.is_none() {
            self.trial = Some(Trial::new(self.scaling(), from));
        }
        let capacity = self.capacity();
        let asked = if mode == ScalingMode::Off { &mut [][..] } else { &mut self.policies[..] };
        let standing = asked.iter_mut().find_map(|policy| policy.standing(now)).unwrap_or_default();
        let view = View { now, series: &self.series, edges, hints: &self.hints, standing: &standing };
        if let Some(trial) = &mut self.trial {
            trial.settle(&view, capacity);
        }
        let mut proposals = Vec::new();
        let (mut hint, mut hinted) = (None, None);
        for policy in asked {
            if let Policy::Hinted(weighing) = policy {
                (hint, hinted) = (weighing.hold(&view), weighing.record(&view, &proposals));
            }
            let proposed = policy.propose(&view, &proposals);
            proposals.extend(proposed);
        }
        let inputs = self.inputs(edges, now);
        let blind = match (&edges.fresh[..], &edges.missing[..]) {
            ([], _) => Some("no fresh report".to_string()),
            (_, []) => None,
            (_, missing) => {
                let names: Vec<_> = missing.iter().map(|edge| edge.name.as_str()).collect();
                Some(format!("no fresh report from {}", names.join(", ")))
            }
        };
        let want = proposals.iter().filter_map(|proposal| proposal.origins).max();
        if let Some(want) = want {
            let stabilisation = self.scaling().stabilisation;
            self.wants.push(now, want, stabilisation);
        }
        let case = Case {
            pool: &self.config.name,
            now,
            from,
            thought: self.trial.as_ref().map_or(from, Trial::count),
            scaling: self.scaling(),
            wants: &self.wants,
            blind,
            take_over: self.take_over,
            operator: self.operator.as_ref(),
            hint,
            hinted,
            scheduled: standing.ceiling.as_ref(),
            capacity,
            inputs,
        };
        decide(case, proposals)
    }

    fn inputs(&self, edges: &PoolEdges, now: Timestamp) -> Inputs {
        let window = self.policies.iter().find_map(Policy::window).unwrap_or(SHOWN_WINDOW);
        let level = self.series.level(window, now, |edge| edges.is_fresh(edge));
        let fresh = edges.fresh.iter().map(|(edge, _)| (*edge, true));
        let known = fresh.chain(edges.missing.iter().map(|edge| (*edge, false)));
        let in_flight = edges.fresh.iter().map(|(_, latest)| latest.in_flight).sum();
        Inputs {
            window_seconds: stamp::seconds(window),
            requests_per_second: level.map(|level| thousandths(level.requests)),
            rejects_per_second: level.map(|level| thousandths(level.rejects)),
            errors_per_second: level.map(|level| thousandths(level.errors)),
            in_flight: (!edges.fresh.is_empty()).then_some(in_flight),
            edges: known
                .map(|(edge, fresh)| EdgeAge {
                    edge: edge.name.clone(),
                    age_seconds: stamp::seconds(stamp::age(now, edge.at)),
                    fresh,
                })
                .collect(),
        }
    }

    pub fn capacity(&self) -> Capacity {
        let listed = self.config.origins.iter().map(|_| Stage::Serving);
        Capacity::of(listed.chain(self.origins.stages().map(|(_, stage)| stage)))
    }

    /// What the actuator shall bring about; `None` while nothing is decided.
    pub fn target(&self) -> Option<(u32, Vec<SocketAddr>)> {
        let desired = self.desired?;
        let count = desired.saturating_sub(self.listed()) + self.origins.draining();
        Some((count, self.origins.stop()))
    }

    pub fn tell(&mut self, edge: EdgeId, mark: Mark) {
        self.origins.tell(edge, mark);
    }

    /// `None` before the actuator has said what runs: an empty list would empty the edges.
    pub fn members(&self, now: Timestamp) -> Option<Vec<Member>> {
        // Listed ones have served since before anyone counted.
        let listed = self.config.origins.iter().map(|address| Member {
            address: *address,
            stage: Stage::Serving,
            stage_age_ms: u64::from(u32::MAX),
        });
        self.seen.then(|| listed.chain(self.origins.members(now)).collect())
    }

    pub fn next_change(&self, now: Timestamp) -> Timestamp {
        let stage = self.origins.next_change(&self.rules(), now);
        stage.map_or(self.due, |stage| stage.min(self.due))
    }

    pub fn view(&mut self, edges: &Edges, stale: Duration, now: Timestamp) -> crate::region::PoolView {
        let pool_edges = edges.of_pool(&self.config.name, now, stale);
        let schedules: Vec<ScheduleView> = self
            .policies
            .iter_mut()
            .flat_map(|policy| match policy {
                Policy::Scheduled(rules) => rules.views(now),
                Policy::Reactive(_) | Policy::Predictive(_) | Policy::Hinted(_) => Vec::new(),
            })
            .collect();
        crate::region::PoolView {
            mode: self.scaling().mode,
            desired: self.desired,
            advised: self.trial.as_ref().filter(|_| self.scaling().mode == ScalingMode::Advise).map(Trial::count),
            scored: self.trial.as_ref().and_then(Trial::scored),
            floor: self.scaling().floor,
            ceiling: self.scaling().ceiling,
            capacity: self.capacity(),
            inputs: self.inputs(&pool_edges, now),
            origin_seconds: self.origins.origin_seconds(now),
            origins: self.origins.views(now),
            gone: self.gone.iter().cloned().collect(),
            schedules,
            tuner: self.policies.iter_mut().find_map(Policy::predictive).map(|policy| policy.told()),
            decision: self.last.clone(),
        }
    }

    pub fn origins(&self, now: Timestamp) -> Vec<OriginView> {
        self.origins.views(now)
    }
}

/// What a record says of a rate: the rest is the noise of adding fractions.
fn thousandths(rate: f64) -> f64 {
    (rate * 1000.0).round() / 1000.0
}
