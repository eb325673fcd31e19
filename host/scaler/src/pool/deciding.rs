//! One decision of a pool: every policy is asked, and what limits them is gathered.

use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;

use super::{Pool, SHOWN_WINDOW};
use crate::carried::Running;
use crate::decide::{Case, Quiet, decide};
use crate::decision::{Capacity, Decision, EdgeAge, Inputs, Version};
use crate::edges::{Edge, PoolEdges};
use crate::engine;
use crate::figure::thousandths;
use crate::foresight::{Expected, Forecast};
use crate::hint::Hinted;
use crate::missing::{Missing, StandIn};
use crate::peers::beside::Beside;
use crate::policy::{Policy, Proposal, Standing, View};
use crate::region::Role;
use crate::series::Present;
use crate::signal::{self, Look};
use crate::stamp;
use crate::trial::Trial;
use crate::usual::Usual;
use config::region::{Actuator, Scaling, ScalingMode};

/// Program and model, as records tell them.
static ENGINE: LazyLock<String> = LazyLock::new(|| format!("{}/{}", env!("CARGO_PKG_VERSION"), engine::MODEL));

/// A series knows by edge what was reported so lately.
const JUST_NOW: Duration = Duration::from_secs(30);

/// So many fresh edges, and so many silent ones, a record names.
const TOLD_EDGES: usize = 32;

impl Pool {
    pub(super) fn decide(&mut self, edges: &PoolEdges, now: Timestamp) -> Decision {
        let from = self.begin(edges, now);
        let (capacity, serving, carries) = (self.capacity(), self.serving(), self.carries(now));
        let missing = self.missing(edges, now);
        let waits = self.may_wait();
        let asked = if self.scaling().mode == ScalingMode::Off { &mut [][..] } else { &mut self.policies[..] };
        let clock = self.wall.shows(now);
        let standing = asked.iter_mut().find_map(|policy| policy.standing(clock)).unwrap_or_default();
        let present = Present::of(&self.series, edges, now);
        let look = Look { now, present: &present, edges, missing: &missing, standing: &standing, serving: &serving };
        let demand = self.signals.demand(&look);
        let view = View {
            now,
            wall: self.wall,
            series: &self.series,
            present: &present,
            edges,
            hints: &self.hints,
            demand: &demand,
            answers_stand: self.answers_stand,
            standing: &standing,
            affordable: self.budget.as_ref().and_then(|budget| budget.affordable(clock)),
            missing: &missing,
            waits,
        };
        self.signals.learn(&view, carries);
        self.trial.iter_mut().for_each(|trial| trial.settle(&view, capacity, carries));
        self.beside.iter_mut().for_each(|beside| beside.settle(&view));
        let Said { proposals, hint, hinted, quiet } = ask(asked, &view);
        self.usual.iter_mut().for_each(|usual| usual.settle(&view));
        let blind = missing.blind(edges).or_else(|| demand.gap());
        let inputs = Inputs {
            demand: (!demand.signals.is_empty()).then_some(demand),
            ..self.inputs(&present, edges, &missing, now)
        };
        if let Some(want) = proposals.iter().filter_map(|proposal| proposal.origins).max() {
            self.wants.push(now, want, self.scaling().stabilisation);
        }
        self.scheduled_floor = self.scheduled(&standing);
        let case = Case {
            pool: &self.config.name,
            now,
            wall: self.wall,
            from,
            thought: self.trial.as_ref().map_or(from, Trial::count),
            scaling: self.scaling(),
            wants: &self.wants,
            moves: &self.moves,
            blind,
            take_over: self.take_over && self.role == Role::Leader,
            lapsed: (self.role == Role::Lapsed).then_some(self.scheduled_floor),
            kept: self.kept(now),
            failing: self.failing(now),
            operator: self.operator.as_ref(),
            hint,
            quiet,
            hinted,
            scheduled: standing.ceiling.as_ref(),
            budget: self.budget.as_ref().and_then(|budget| budget.clamp(self.scaling().floor, clock)),
            capacity,
            inputs,
        };
        let mut decision = decide(case, proposals);
        self.tell_beside(&mut decision, now);
        decision
    }

    /// Ends what is over and begins what runs beside the decisions. The count that stands.
    fn begin(&mut self, edges: &PoolEdges, now: Timestamp) -> u32 {
        let from = self.desired.unwrap_or(self.listed());
        self.operator = self.held(now).cloned();
        self.hints.forget(now);
        self.silent_since = edges.fresh.is_empty().then(|| self.silent_since.unwrap_or(now));
        if self.scaling().mode.only_thinks() && self.trial.is_none() {
            let mut trial = Trial::new(self.scaling(), from);
            trial.relive(self.lead.figures());
            self.trial = Some(trial);
        }
        self.pay(now);
        if self.beside.is_none() {
            self.beside = Beside::of(self.scaling(), from);
            self.beside.iter_mut().for_each(|beside| beside.relive(self.lead.figures()));
        }
        from
    }

    /// What the calendar asks for, leads and ramps included, or the floor of the pool.
    fn scheduled(&self, standing: &Standing) -> u32 {
        let Scaling { floor, ceiling, .. } = *self.scaling();
        standing.floor.as_ref().map_or(floor, |holds| holds.value.max(floor)).min(ceiling)
    }

    /// Why nothing that serves may be taken away: launches come to nothing, or the actuator says that it cannot.
    fn failing(&self, now: Timestamp) -> Option<String> {
        let trouble = self.carried.trouble().filter(|trouble| trouble.failures >= 2 && trouble.action == "start");
        let told = trouble.map(|trouble| format!("launches fail: {} in a row, {}", trouble.failures, trouble.error));
        self.origins.failing(self.wall, now).or(told)
    }

    /// What is told beside the number, once it is there.
    fn tell_beside(&mut self, decision: &mut Decision, now: Timestamp) {
        let (wall, lead) = (self.wall, self.lead.figures().lead);
        let clock = wall.shows(now);
        let running = self.running();
        if self.carries_out() {
            self.carried.look(running, lead, now);
        }
        let serving = decision.capacity.serving;
        if let Some(policy) = self.policies.iter_mut().find_map(Policy::predictive) {
            let spread = policy.engine().settings().lives.spread;
            decision.forecast = policy.forecast();
            let predict = |forecast: &Forecast| forecast.predict(decision.to, serving, spread);
            decision.predicted = policy.near_forecast().as_ref().and_then(predict);
            decision.planned = policy.planned().cloned();
        }
        decision.expected = self.carries_out().then(|| self.expected(decision.to, now));
        decision.next = self.policies.iter_mut().find_map(|policy| policy.coming(clock, &decision.winner));
        decision.peers = self.beside.as_ref().map(Beside::counts).unwrap_or_default();
        decision.change = self.carried.change().map(|change| change.by(wall));
        decision.late = self.carried.late().map(|late| late.by(wall));
        decision.replaced = self.replaced();
        decision.warm_pool = self.scaling().warm_pool.is_some().then_some(self.tier);
        decision.foreign = self.hands.foreign(decision.from, wall);
        decision.trouble = self.carried.trouble().map(|trouble| trouble.by(wall));
        decision.budget = self.spending(now);
        decision.version = Version { config: self.digest.to_string(), engine: ENGINE.to_string() };
    }

    /// What runs is paid; in another month there is other money.
    fn pay(&mut self, now: Timestamp) {
        let (running, wall) = (self.running().all.saturating_add(self.waiting_costs()), self.wall);
        if self.budget.as_mut().is_some_and(|budget| budget.count(running, now, wall))
            && let Some(policy) = self.policies.iter_mut().find_map(Policy::predictive)
        {
            policy.pick_again();
        }
    }

    /// Something is started and stopped as it was decided.
    fn carries_out(&self) -> bool {
        !matches!(self.scaling().actuator, Actuator::DryRun)
    }

    /// What runs now, listed origins included.
    pub(super) fn running(&self) -> Running {
        let Capacity { booting, warming, serving, draining, .. } = self.capacity();
        Running { staying: booting + warming + serving, serving, all: booting + warming + serving + draining }
    }

    /// Whoever is asked for or on the way will serve by then, but for those that are late already.
    fn expected(&self, to: u32, now: Timestamp) -> Expected {
        let lead = self.lead.figures().lead;
        let Capacity { booting, warming, draining, .. } = self.origins.left(&self.rules(), lead, now);
        let serving = to.saturating_sub(booting + warming);
        let capacity = Capacity { booting, warming, serving, draining, warm: self.tier };
        Expected { seconds: stamp::seconds(lead), capacity }
    }

    /// The window that the present load is told over.
    fn window(&self) -> Duration {
        self.policies.iter().find_map(Policy::window).unwrap_or(SHOWN_WINDOW)
    }

    /// What is not reported, and what is taken for it.
    pub(super) fn missing(&self, edges: &PoolEdges, now: Timestamp) -> Missing {
        let learned = || {
            let found = self.policies.iter().find_map(|policy| match policy {
                Policy::Predictive(policy) => Some(policy.usual()),
                Policy::Reactive(_) | Policy::Scheduled(_) | Policy::Scripted(_) | Policy::Hinted(_) => None,
            });
            found.unwrap_or_else(|| self.usual.as_ref().and_then(Usual::now))
        };
        let silence = self.silent_since.map(|since| stamp::age(now, since));
        let window = self.policies.iter().find_map(Policy::window).unwrap_or(signal::WINDOW);
        // Most have just reported; only the others are looked up.
        let heard =
            |edge: &Edge| stamp::age(now, edge.at) < window.min(JUST_NOW) || self.series.heard(edge.id, window, now);
        Missing::of(edges, learned, silence, heard, now)
    }

    pub(super) fn inputs(&self, present: &Present, edges: &PoolEdges, missing: &Missing, now: Timestamp) -> Inputs {
        let window = self.window();
        let carried = |id| missing.carried.get(&id).map(|(_, stand_in)| *stand_in);
        let level = present.level(window);
        let fresh = oldest(edges.fresh.iter().map(|(edge, _)| *edge).collect());
        let silent = oldest(edges.missing.iter().map(|(edge, _)| *edge).collect());
        let more = edges.fresh.len() + edges.missing.len() - fresh.len() - silent.len();
        let known = fresh.into_iter().map(|edge| (edge, true)).chain(silent.into_iter().map(|edge| (edge, false)));
        let in_flight = edges.fresh.iter().map(|(_, latest)| latest.in_flight).sum();
        Inputs {
            window_seconds: stamp::seconds(window),
            requests_per_second: level.map(|level| thousandths(level.requests)),
            rejects_per_second: level.map(|level| thousandths(level.rejects)),
            errors_per_second: level.map(|level| thousandths(level.errors)),
            in_flight: (!edges.fresh.is_empty()).then_some(in_flight),
            coverage: missing.coverage.map(thousandths),
            carried_requests_per_second: (!missing.carried.is_empty()).then(|| thousandths(missing.requests())),
            usual_requests_per_second: missing.usual.map(thousandths),
            refused: edges.doubted.iter().map(|(edge, doubt)| doubt.told(edge)).collect(),
            edges: known
                .map(|(edge, fresh)| EdgeAge {
                    edge: edge.name.clone(),
                    age_seconds: stamp::seconds(stamp::age(now, edge.at)),
                    fresh,
                    carried: carried(edge.id).map(|stand_in| StandIn {
                        requests_per_second: thousandths(stand_in.requests_per_second),
                        ..stand_in
                    }),
                })
                .collect(),
            edges_more: more as u32,
            left: oldest(edges.left.clone()).into_iter().map(|edge| edge.name.clone()).collect(),
            demand: None,
        }
    }
}

/// What policies say, and what of it limits the number.
struct Said {
    proposals: Vec<Proposal>,
    hint: Option<String>,
    hinted: Option<Hinted>,
    quiet: Option<Quiet>,
}

/// Each policy in its turn hears what those before it propose.
fn ask(policies: &mut [Policy], view: &View) -> Said {
    let mut said = Said { proposals: Vec::new(), hint: None, hinted: None, quiet: None };
    for policy in policies {
        if let Policy::Hinted(weighing) = policy {
            (said.hint, said.hinted) = (weighing.hold(view), weighing.record(view, &said.proposals));
        }
        let proposed = policy.propose(view, &said.proposals);
        if let Policy::Scripted(scripts) = policy {
            said.quiet = scripts.quiet(view.wall, view.now);
        }
        said.proposals.extend(proposed);
    }
    said
}

/// Those that a record names, in their order: all, or those whose last reports are the oldest. A line of the
/// journal with 2,000 names tells nobody more.
fn oldest(mut edges: Vec<&Edge>) -> Vec<&Edge> {
    if edges.len() > TOLD_EDGES {
        edges.select_nth_unstable_by_key(TOLD_EDGES, |edge| edge.at);
        edges.truncate(TOLD_EDGES);
        edges.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    }
    edges
}
