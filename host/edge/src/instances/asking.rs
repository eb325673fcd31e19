//! What is not there is asked of the starter, and adopted when it has started. Without a starter (on a
//! stage) it is started at once.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use abi::{Fault, Verdict};
use tokio::sync::Notify;

use super::{Instances, Lease, Running, Set};
use crate::clock;
use crate::plugins::Bound;
use crate::starter::{Ask, Outcome};
use crate::worker::Worker;

/// Why there is no instance now.
#[derive(Clone, Debug)]
pub enum Unready {
    /// One is being started.
    Coming,
    /// A fault has ended the last one, and restarts have used their share of the starter for now.
    Held {
        cause: Verdict,
        wait: Duration,
    },
    /// Nor room for one more.
    Crowded(String),
    Failed(Fault),
}

/// What this worker has asked for.
#[derive(Default)]
pub struct Asking {
    sets: RefCell<HashMap<u64, Weak<Set>>>,
    last: Cell<u64>,
    inbox: Arc<Inbox>,
}

/// What has started, by the number of the asking.
#[derive(Default)]
struct Inbox {
    outcomes: Mutex<Vec<(u64, Outcome)>>,
    notify: Notify,
}

/// Where a set stands with the starter.
#[derive(Default)]
pub struct Asked {
    /// It has asked, and nothing has come yet.
    open: Cell<bool>,
    /// The fault that has ended the last instance, until there is another.
    pub lost: Cell<Option<Verdict>>,
    /// Something has come.
    pub news: Notify,
    /// How many starts have failed, and the last of them.
    pub failures: Cell<u32>,
    failed: RefCell<Option<Fault>>,
}

impl From<Fault> for Unready {
    fn from(fault: Fault) -> Unready {
        if fault.crowded { Unready::Crowded(fault.message) } else { Unready::Failed(fault) }
    }
}

impl Instances {
    /// Takes what has started; runs as long as the worker.
    pub async fn receive(worker: Rc<Worker>) {
        let instances = &worker.instances;
        loop {
            for (number, outcome) in instances.asking.inbox.taken().await {
                let set = instances.asking.sets.borrow_mut().remove(&number).and_then(|set| set.upgrade());
                // One that nobody uses any more ends here.
                if let Some(set) = set {
                    instances.arrived(&set, outcome);
                }
            }
        }
    }

    fn arrived(&self, set: &Rc<Set>, outcome: Outcome) {
        set.asked.open.set(false);
        let arrived = match outcome {
            Outcome::Ready(prepared) => set.adopt(&self.surroundings, prepared),
            Outcome::Failed(fault) => Err(fault),
            Outcome::Stays => set.start(&self.surroundings),
        };
        set.back_off.note(arrived.is_ok());
        match arrived {
            Ok(running) => {
                set.asked.lost.take();
                set.spares.borrow_mut().push(running);
                // It acts at once, as a tick or a queue may wait for it.
                let _ = self.acting(set);
            }
            Err(fault) => {
                let acts = set.acting.borrow().as_ref().is_some_and(|running| running.is_fit());
                let what = if acts { "no spare instance starts" } else { "plugin does not start" };
                tracing::warn!(plugin = &*set.bound.settings.plugin, %fault, "{what}");
                if !fault.crowded {
                    set.asked.lost.set(set.asked.lost.get().or(Some(fault.verdict)));
                }
                set.asked.failures.set(set.asked.failures.get().wrapping_add(1));
                *set.asked.failed.borrow_mut() = Some(fault);
            }
        }
        set.asked.news.notify_waiters();
        set.want();
    }

    /// As [`Instances::lease`], and waits for one that is being started, for the plugin's wall time at most.
    pub async fn leased(&self, bound: &Arc<Bound>) -> Result<Lease, Unready> {
        let set = self.set(bound);
        let failures = set.asked.failures.get();
        let comes = async {
            loop {
                if set.asked.failures.get() != failures {
                    return Err(set.asked.failure());
                }
                let news = set.asked.news.notified();
                match self.lease_of(&set) {
                    Err(Unready::Coming) => news.await,
                    leased => return leased,
                }
            }
        };
        let most = bound.settings.limits.backstop().wall;
        clock::timeout(most, comes).await.unwrap_or_else(|_| {
            let text = format!("no instance has started for {most:?} (limit wall)");
            Err(Unready::Failed(Fault::new(Verdict::Wall, text)))
        })
    }

    /// Has the starter start one for `set`, unless one is on its way.
    pub(super) fn ask(&self, set: &Rc<Set>) -> Result<Rc<Running>, Unready> {
        let worker = self.surroundings.worker();
        let Some(starter) = worker.as_ref().and_then(|worker| worker.shared.starter.as_ref()) else {
            return Ok(set.start(&self.surroundings)?);
        };
        if set.asked.open.get() {
            return Err(Unready::Coming);
        }
        let lost = set.asked.lost.get();
        if let Some(cause) = lost
            && let Some(wait) = starter.held(&set.bound.settings.plugin, clock::now())
        {
            return Err(Unready::Held { cause, wait });
        }
        set.asked.open.set(true);
        let Asking { sets, last, inbox } = &self.asking;
        let number = last.get() + 1;
        last.set(number);
        sets.borrow_mut().insert(number, Rc::downgrade(set));
        let (bound, log, inbox) = (set.bound.clone(), set.log.clone(), inbox.clone());
        let tell = Box::new(move |outcome| inbox.put(number, outcome));
        starter.ask(Ask { bound, log, again: lost.is_some(), tell });
        Err(Unready::Coming)
    }

    /// What was held back is asked for when it may be.
    pub(super) fn ask_again(&self) {
        let held = |set: &&Rc<Set>| set.asked.lost.get().is_some() && set.lacks();
        self.sets.borrow().values().filter(held).for_each(Set::want);
    }
}

impl Asked {
    /// Nothing is on its way, and no fault holds the next back (see [`Instances::ask_again`]).
    pub fn is_free(&self) -> bool {
        !self.open.get() && self.lost.get().is_none()
    }

    /// The last start's; the CPU time of it is told once.
    fn failure(&self) -> Unready {
        let mut failed = self.failed.borrow_mut();
        let Some(fault) = failed.as_mut() else { return Unready::Coming };
        let told = fault.clone();
        fault.cpu = Duration::ZERO;
        told.into()
    }
}

impl Inbox {
    fn put(&self, number: u64, outcome: Outcome) {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).push((number, outcome));
        self.notify.notify_one();
    }

    async fn taken(&self) -> Vec<(u64, Outcome)> {
        loop {
            let taken = std::mem::take(&mut *self.outcomes.lock().unwrap_or_else(PoisonError::into_inner));
            if !taken.is_empty() {
                return taken;
            }
            self.notify.notified().await;
        }
    }
}
