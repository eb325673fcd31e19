//! The loop around the scaler: observe, decide, write down, act. It never decides itself.
//! The order in [`Steer::step`] is the promise: a decision reaches an actuator only by way of the
//! journal. What could not be written is not given back to the scaler, so it does not stand, and
//! the next tick decides anew.
//!
//! Beside another aggregator that has the lease it decides in shadow: all the same, but for the acting. The last
//! holder of a lease whose store is silent raises pools to their scheduled floors ([`Right::Lapsed`]).
//! The right to act is looked at before each line of the journal and each word to an actuator ([`role`]).

mod ending;
mod role;
mod shown;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use scaler::region::Applied;
use scaler::{Actions, Decision, Event, Refused, Region, StageChange, stamp};
use tokio::sync::Notify;
use wire::{Membership, Report, Stage};

use crate::ReloadError;
use crate::actuator::Actuator;
use crate::clock::Clock;
use crate::history::History;
use crate::journal::Journal;
use crate::lease::{Lead, Right};
use crate::scrape::Scraper;
use crate::scripts::Asker;

/// A step may make the next one necessary at once: what was started is to be seen. It settles in
/// two or three; the bound is for what never should.
const ROUNDS: usize = 4;
/// Reports that come within so short a time are looked at together.
const LOOK: Duration = Duration::from_millis(20);
/// What NTP corrects in passing is no news.
const TOLD_STEP: Duration = Duration::from_secs(1);

pub struct Steer {
    config: Arc<config::Region>,
    region: Region,
    clock: Clock,
    journal: Journal,
    history: History,
    scraper: Scraper,
    /// Pools of which it was told that their origins carry something else than the file says.
    drifting: BTreeSet<String>,
    lead: Lead,
    /// As it was at the start of this step.
    right: Right,
    /// What the membership is published under.
    token: Option<u64>,
    actuators: BTreeMap<String, Actuator>,
    /// Of pools that left the file: watched until what they ran is gone.
    leaving: Vec<Actuator>,
    wake: Arc<Notify>,
    asker: Asker,
    /// When the gauges were set.
    measured_at: Option<Timestamp>,
    /// When all pools were looked at.
    looked_at: Option<Timestamp>,
    /// The membership as edges get it, until anything may have changed.
    published: Option<(Timestamp, Bytes)>,
}

impl Steer {
    /// Adopts what the journal says was decided and what the actuators say runs.
    pub fn new(config: Arc<config::Region>, wake: Arc<Notify>, asker: Asker, clock: Clock) -> Steer {
        let now = clock.now();
        let journal = open_journal(&config);
        let lease = config.aggregator.as_ref().and_then(|aggregator| aggregator.lease.as_ref());
        let lead = Lead::new(lease, journal.token());
        let (right, token) = (lead.right(), lease.map(|_| 0));
        let mut region = Region::new(&config, now);
        for (pool, at, month) in journal.spent() {
            let _ = region.apply(Event::Spent { pool, at, month }, now);
        }
        for (pool, origins) in journal.counts(now) {
            // A pool that left the file since is unknown, and needs nothing.
            let _ = region.apply(Event::Adopted { pool, origins }, now);
        }
        for (pool, hold) in journal.held(clock.wall().shows(now)) {
            let _ = region.apply(Event::Held { pool, hold: Some(hold) }, now);
        }
        let history = History::open(history_of(&config), &mut region, clock.clone());
        let (actuators, leaving) = (BTreeMap::new(), Vec::new());
        let mut steer = Steer {
            config,
            region,
            clock,
            journal,
            history,
            scraper: Scraper::new(wake.clone()),
            drifting: BTreeSet::new(),
            lead,
            right,
            token,
            actuators,
            leaving,
            wake,
            asker,
            measured_at: None,
            looked_at: None,
            published: None,
        };
        steer.make_actuators();
        steer.hear_tokens();
        if !right.acts() {
            steer.begin(right, now);
        }
        steer
    }

    fn make_actuators(&mut self) {
        for (name, pool) in &self.config.pools {
            if let Some(scaling) = &pool.scaling
                && !self.actuators.contains_key(name)
            {
                let actuator = Actuator::new(name, &scaling.actuator, self.clock.clone(), self.wake.clone());
                self.actuators.insert(name.clone(), actuator);
            }
        }
    }

    /// The instant that it is, once the scaler knows how the wall clock stands to it.
    pub fn now(&mut self) -> Timestamp {
        let stepped = self.clock.look();
        let now = self.clock.now();
        if let Some(by) = stepped {
            if by.unsigned_abs() >= TOLD_STEP {
                tracing::warn!(seconds = by.as_secs_f64(), "the wall clock was set: schedules follow it, ages do not");
                metrics::counter!("forebay_aggregator_clock_steps_total").increment(1);
            }
            // Infallible: only reports are refused.
            let _ = self.region.apply(Event::WallClock(self.clock.wall()), now);
        }
        now
    }

    /// Takes a report in and answers with the membership, as JSON.
    pub fn report(&mut self, report: Report, now: Timestamp) -> Result<Bytes, Refused> {
        self.take_role(now);
        let edge = report.edge.clone();
        match self.region.apply(Event::Report(report), now)? {
            Applied::Repeat => metrics::counter!("forebay_aggregator_reports_repeated_total").increment(1),
            Applied::Taken | Applied::Unknown => {
                metrics::counter!("forebay_aggregator_reports_total").increment(1);
            }
        }
        // What the report brought about belongs into its answer, where there are few: of 2,000 edges a second each one
        // would have all pools looked at. Acting on it is the loop's, which is never further off than its poll.
        if self.looked_at.is_none_or(|at| at > now || stamp::age(now, at) >= LOOK) && self.decide(now).1 {
            self.wake.notify_one();
        }
        self.region.tell(&edge);
        Ok(self.membership(now))
    }

    /// Who is in each pool, for edges. Stages are never old news, their ages are by [`LOOK`] at most.
    fn membership(&mut self, now: Timestamp) -> Bytes {
        if let Some((at, bytes)) = &self.published
            && *at <= now
            && stamp::age(now, *at) < LOOK
        {
            return bytes.clone();
        }
        let membership = Membership { token: self.token, ..self.region.membership(now) };
        // Maps with string keys and whole numbers: nothing here that JSON cannot hold.
        let mut bytes = serde_json::to_vec(&membership).expect("a membership is JSON");
        bytes.push(b'\n');
        let bytes = Bytes::from(bytes);
        self.published = Some((now, bytes.clone()));
        bytes
    }

    /// What a script has answered; the step that follows decides on it.
    pub fn hear(&mut self, answer: Event) {
        let now = self.now();
        // Infallible: only reports are refused. A pool that left the file meanwhile needs no answer.
        let _ = self.region.apply(answer, now);
    }

    /// Observes, decides, writes down, acts. Returns when to step again at the latest.
    pub fn step(&mut self, now: Timestamp) -> Timestamp {
        if matches!(self.right, Right::Lapsed(_)) {
            self.hear_tokens();
        }
        self.take_role(now);
        let right = self.right;
        self.scraper.step(&self.config, &mut self.region, now);
        self.leaving.retain_mut(|actuator| right.leads() && runs(actuator, right, now) > 0);
        let mut wake_at = now;
        for _ in 0..ROUNDS {
            self.observe(now);
            let actions = self.decide(now).0;
            wake_at = actions.wake_at;
            if !self.act(&actions, now) {
                break;
            }
        }
        let tick = self.config.aggregator.as_ref().map_or(config::region::Aggregator::TICK, |a| a.tick);
        self.history.keep(&mut self.region, tick);
        self.measure(now);
        wake_at
    }

    /// Moves stages, and lets decisions stand that are written down. What follows from them, and
    /// whether anything changed.
    fn decide(&mut self, now: Timestamp) -> (Actions, bool) {
        self.looked_at = Some(now);
        let mut actions = self.region.next(now);
        actions.questions.drain(..).for_each(|question| self.asker.ask(question));
        let mut changed = self.note(&actions, now);
        if self.record(&actions.decisions, now) {
            changed |= actions.decisions.iter().any(|decision| decision.from != decision.to);
            actions = self.region.next(now);
            changed |= self.note(&actions, now);
        }
        if changed {
            self.published = None;
        }
        (actions, changed)
    }

    fn observe(&mut self, now: Timestamp) {
        // Origins come and go.
        self.published = None;
        let (right, mut all) = (self.right, true);
        for (pool, actuator) in &mut self.actuators {
            let Some(origins) = actuator.observe(right, now) else {
                all = false;
                continue;
            };
            // Infallible: only reports are refused.
            let _ = self.region.apply(Event::Observed { pool: pool.clone(), origins }, now);
            let trouble = actuator.trouble();
            let _ = self.region.apply(Event::Troubled { pool: pool.clone(), trouble }, now);
        }
        match right {
            // Who knows of no origins yet must not tell edges that there are none.
            Right::Token(token) | Right::Lapsed(token) if all => self.token = Some(token),
            Right::Token(_) | Right::Lapsed(_) => self.hear_tokens(),
            Right::Sole | Right::Shadow => {}
        }
    }

    /// Writes decisions down and lets those that are written stand. Whether any does.
    fn record(&mut self, decisions: &[Decision], now: Timestamp) -> bool {
        let mut stands = false;
        for decision in decisions {
            if self.right.acts() && !self.may_act() {
                break;
            }
            let origins = self.region.origins(&decision.pool, now);
            match self.journal.write(decision, &origins) {
                Ok(news) => {
                    if news && !self.right.acts() {
                        tracing::debug!(pool = decision.pool, "in shadow: {}", decision.line);
                    } else if news {
                        tracing::info!(
                            pool = decision.pool,
                            from = decision.from,
                            to = decision.to,
                            "{}",
                            decision.line
                        );
                        let source = decision.winner.split(' ').next().unwrap_or_default().to_string();
                        metrics::counter!("forebay_aggregator_decisions_total",
                            "pool" => decision.pool.clone(), "source" => source)
                        .increment(1);
                    }
                    let _ = self.region.apply(Event::Decided(Box::new(decision.clone())), now);
                    stands = true;
                }
                Err(error) => {
                    let path = self.journal.path().map(|path| path.display().to_string()).unwrap_or_default();
                    tracing::error!(path, %error, decision = decision.line, "not written to the journal: not done");
                    metrics::counter!("forebay_aggregator_journal_failures_total").increment(1);
                }
            }
        }
        stands
    }

    /// Tells what moved, and lets a later run know who served. Whether anything did.
    fn note(&mut self, actions: &Actions, now: Timestamp) -> bool {
        for (pool, actions) in &actions.pools {
            // Before an edge is told: a run that ends here leaves none in the warm pool that takes traffic.
            if self.lead.right() == self.right
                && let Some(actuator) = self.actuators.get_mut(pool)
            {
                actuator.note_parked(&actions.parked);
                actuator.note_leaving(&actions.leaving);
            }
            for StageChange { address, from, to, because } in &actions.changes {
                let to_name = to.map_or("stopped", Stage::name);
                tracing::info!(pool, %address, from = from.name(), to = to_name, because, "origin changes stage");
                if *to == Some(Stage::Serving)
                    && self.lead.right() == self.right
                    && let Some(actuator) = self.actuators.get_mut(pool)
                {
                    actuator.note_serving(*address, now);
                }
            }
        }
        actions.pools.values().any(|actions| !actions.changes.is_empty())
    }

    /// Carries out what stands. Whether there is something new to see.
    fn act(&mut self, actions: &Actions, now: Timestamp) -> bool {
        let (right, mut news) = (self.right, false);
        for (pool, actions) in &actions.pools {
            if !self.may_act() {
                return false;
            }
            let Some(actuator) = self.actuators.get_mut(pool) else { continue };
            if let Some(run) = actions.run {
                let before = runs(actuator, right, now);
                actuator.set(right, run, &actions.stop, now);
                news |= runs(actuator, right, now) != before;
            }
        }
        news
    }

    /// Takes a changed file over, whole or not at all.
    pub fn reload(&mut self, config: Arc<config::Region>, now: Timestamp) -> Result<(), ReloadError> {
        let new = config.aggregator.as_ref().ok_or(ReloadError::NoAggregator)?;
        if let Some(old) = &self.config.aggregator
            && old.address != new.address
        {
            return Err(ReloadError::Address { from: old.address, to: new.address });
        }
        if self.config.aggregator.as_ref().is_some_and(|old| old.lease != new.lease) {
            return Err(ReloadError::Lease);
        }
        self.take_role(now);
        if self.journal.config() != new.journal.as_ref() || self.region_name() != new.region {
            self.journal = open_journal(&config);
            self.journal.sign(self.right);
        }
        let keep = |name: &String, actuator: &mut Actuator| {
            let scaling = config.pools.get(name).and_then(|pool| pool.scaling.as_ref());
            scaling.is_some_and(|scaling| actuator.configure(&scaling.actuator))
        };
        let gone: Vec<_> = self.actuators.extract_if(.., |name, actuator| !keep(name, actuator)).collect();
        for (pool, mut actuator) in gone {
            if self.right.leads() {
                tracing::info!(pool, "the pool is not run here any more: its origins stop");
            }
            actuator.release(self.right, now);
            self.leaving.push(actuator);
        }
        self.config = config.clone();
        self.published = None;
        // Infallible: only reports are refused.
        let _ = self.region.apply(Event::Configured(config), now);
        self.history.configure(history_of(&self.config), &mut self.region);
        self.history.teach(&mut self.region);
        self.make_actuators();
        Ok(())
    }
}

fn runs(actuator: &mut Actuator, right: Right, now: Timestamp) -> usize {
    actuator.observe(right, now).map_or(0, |origins| origins.len())
}

fn history_of(config: &config::Region) -> Option<&config::region::History> {
    config.aggregator.as_ref().and_then(|aggregator| aggregator.history.as_ref())
}

fn open_journal(config: &config::Region) -> Journal {
    let aggregator = config.aggregator.as_ref();
    let region = aggregator.map_or("", |aggregator| &aggregator.region);
    Journal::open(region, aggregator.and_then(|aggregator| aggregator.journal.as_ref()))
}
