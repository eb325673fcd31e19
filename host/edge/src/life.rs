//! The life of one plugin on one route, over all workers: whether it serves, and what stands in
//! for it while its faults have disabled it.
//!
//! - this file: [`Life`], which a route has for each of its plugins, and [`Probe`]
//! - [`budget`]: when faults disable it and when it is tried again; pure
//! - [`record`]: its faults, for the admin address
//!
//! A life is of one version with one configuration. A reload that changes either begins a new one,
//! which remembers the version before it if that was **good**: it had passed its start, an
//! exchange has gone by without a fault, and its faults do not keep it disabled. Under `last_good`
//! that version stands in. A reload that changes neither keeps the life and what it has counted.

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use config::{CrashBudget, FaultPolicy};

pub mod budget;
pub mod record;

use budget::{Budget, Change, Entry, Standing};
use record::Record;

use crate::plugins::Bound;

/// Shared by all workers.
pub struct Life {
    pub bound: Arc<Bound>,
    pub route: Arc<str>,
    /// The version that stands in for it; only under `last_good`.
    pub good: Option<Arc<Bound>>,
    pub record: Record,
    /// Locked where an exchange has a fault or finds the plugin disabled, and by readers.
    budget: Mutex<Budget>,
    /// What `budget` says, for every exchange, without its lock.
    serving: AtomicBool,
    /// An exchange has gone by without a fault since it was last disabled.
    proven: AtomicBool,
}

/// What an exchange finds where the plugin stands.
#[derive(Clone)]
pub enum Admission {
    /// The plugin itself; in the one exchange that tries it, with the probe.
    Own(Option<Rc<Probe>>),
    /// The version before it.
    StandIn,
    /// It is disabled and passed by.
    PassedBy,
    /// It is disabled, and no exchange goes by without it.
    Refused,
}

/// Held by the exchange that tries a disabled plugin. Dropped without a word, it has said nothing.
pub struct Probe {
    life: Arc<Life>,
    turn: u64,
}

impl Life {
    /// `before` is what stood there in the configuration before, if anything did. One that has not
    /// changed goes on.
    pub fn begin(bound: Arc<Bound>, route: &str, terms: &CrashBudget, before: Option<&Arc<Life>>) -> Arc<Life> {
        if let Some(life) = before.filter(|life| Arc::ptr_eq(&life.bound, &bound)) {
            return life.clone();
        }
        let good = before.filter(|_| bound.on_fault == FaultPolicy::LastGood).and_then(|before| {
            let candidates = [before.is_good().then(|| before.bound.clone()), before.good.clone()];
            candidates.into_iter().flatten().find(|good| good.differs(&bound))
        });
        bound.acting.add();
        Arc::new(Life {
            bound,
            route: route.into(),
            good,
            record: Record::default(),
            budget: Mutex::new(Budget::new(terms.clone())),
            serving: AtomicBool::new(true),
            proven: AtomicBool::new(false),
        })
    }

    pub fn plugin(&self) -> &Arc<str> {
        &self.bound.settings.plugin
    }

    pub fn policy(&self) -> FaultPolicy {
        self.bound.on_fault
    }

    /// Whether a version after this one may fall back to it.
    fn is_good(&self) -> bool {
        self.serving.load(Ordering::Relaxed) && self.proven.load(Ordering::Relaxed)
    }

    /// An exchange has come to the plugin. A plugin that serves costs one load here.
    #[inline]
    pub fn admit(self: &Arc<Life>, now: impl FnOnce() -> Instant) -> Admission {
        if self.serving.load(Ordering::Relaxed) { Admission::Own(None) } else { self.admit_slowly(now()) }
    }

    #[cold]
    fn admit_slowly(self: &Arc<Life>, now: Instant) -> Admission {
        let entry = self.turn(|budget| budget.enter(now));
        match (entry, self.policy()) {
            (Entry::Serves, _) => Admission::Own(None),
            (Entry::Probe(turn), _) => Admission::Own(Some(Rc::new(Probe { life: self.clone(), turn }))),
            (Entry::Disabled, FaultPolicy::Open) => Admission::PassedBy,
            (Entry::Disabled, FaultPolicy::LastGood) if self.good.is_some() => Admission::StandIn,
            (Entry::Disabled, FaultPolicy::LastGood | FaultPolicy::Closed) => Admission::Refused,
        }
    }

    /// The plugin itself has failed in an exchange, as the probe or not, at this cost of CPU time.
    pub fn fault(&self, now: Instant, cost: Duration, probe: Option<&Probe>) {
        self.turn(|budget| ((), budget.fault(now, cost, probe.map(|probe| probe.turn))));
    }

    /// An exchange has ended, in which the plugin itself was called and did not fail.
    #[inline]
    pub fn served(&self, probe: Option<&Probe>) {
        if let Some(probe) = probe {
            self.turn(|budget| ((), budget.served(probe.turn)));
        }
        if !self.proven.load(Ordering::Relaxed) && self.serving.load(Ordering::Relaxed) {
            self.proven.store(true, Ordering::Relaxed);
        }
    }

    /// Ends a disabled state; whether there was one.
    pub fn enable(&self) -> bool {
        self.turn(|budget| {
            let change = budget.enable();
            (change.is_some(), change)
        })
    }

    /// The budget as a new configuration has it.
    pub fn set_terms(&self, terms: &CrashBudget) {
        self.turn(|budget| ((), budget.set_terms(terms)));
    }

    pub fn terms(&self) -> CrashBudget {
        self.budget().terms().clone()
    }

    pub fn standing(&self) -> Standing {
        self.budget().standing()
    }

    /// Faults that it may still have now, if they are counted.
    pub fn left(&self, now: Instant) -> Option<u32> {
        self.budget().left(now)
    }

    /// Its state in one word, of [`STATES`].
    pub fn state(&self) -> &'static str {
        match self.standing() {
            Standing::Serving => "serving",
            Standing::Probing { .. } => "probing",
            Standing::Disabled { .. } if self.good.is_some() => "last_good",
            Standing::Disabled { .. } => "disabled",
        }
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        // Nothing that holds it can panic half-way.
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the budget, and carries out what that changes; told once, by the thread that did it.
    fn turn<T>(&self, ask: impl FnOnce(&mut Budget) -> (T, Option<Change>)) -> T {
        let mut budget = self.budget();
        let (answer, change) = ask(&mut budget);
        match change {
            Some(Change::Disabled { again, .. }) => {
                self.serving.store(false, Ordering::Relaxed);
                self.proven.store(false, Ordering::Relaxed);
                if !again {
                    self.bound.acting.sub();
                    self.good.iter().for_each(|good| good.acting.add());
                }
            }
            Some(Change::Recovered | Change::Enabled) => {
                self.serving.store(true, Ordering::Relaxed);
                self.bound.acting.add();
                self.good.iter().for_each(|good| good.acting.sub());
            }
            Some(Change::Probing) | None => {}
        }
        drop(budget);
        change.inspect(|change| self.tell(*change));
        answer
    }

    fn tell(&self, change: Change) {
        let (plugin, route, version) = (&**self.plugin(), &*self.route, &*self.bound.settings.version);
        match change {
            Change::Disabled { back_off, again } => {
                let why = if again { "its probe failed" } else { "its crash budget is spent" };
                let meanwhile = match (&self.good, self.policy()) {
                    (Some(good), _) => format!("version {} serves", good.settings.version),
                    (None, FaultPolicy::Open) => "exchanges go on without it".to_owned(),
                    (None, _) => "its exchanges are answered 503".to_owned(),
                };
                let seconds = back_off.as_secs_f64();
                tracing::warn!(
                    target: LOG_TARGET, plugin, route, version, seconds, "disabled: {why}; until then {meanwhile}"
                );
            }
            Change::Probing => tracing::info!(target: LOG_TARGET, plugin, route, version, "one exchange tries it"),
            Change::Recovered => {
                tracing::info!(target: LOG_TARGET, plugin, route, version, "serves again: its probe passed")
            }
            Change::Enabled => tracing::info!(target: LOG_TARGET, plugin, route, version, "serves again: enabled"),
        }
    }
}

/// Where the changes of a life are logged.
const LOG_TARGET: &str = "forebay::life";

/// The words of [`Life::state`].
pub const STATES: [&str; 4] = ["serving", "disabled", "probing", "last_good"];

impl Drop for Life {
    fn drop(&mut self) {
        if self.serving.load(Ordering::Relaxed) {
            self.bound.acting.sub();
        } else {
            self.good.iter().for_each(|good| good.acting.sub());
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.life.budget().withdrawn(self.turn);
    }
}
