//! What is made ready, and what is ended, beside the exchanges: a start takes microseconds for a small
//! module and milliseconds for a large one, and so does the end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use config::Isolation;
use tokio::sync::Notify;

use super::{Instances, Running, Set, Unready};
use crate::clock;
use crate::worker::Worker;

/// Ready for the next exchanges under `isolation: exchange`. They pay where exchanges come one by one;
/// in a burst those after them are started as they are needed.
const FOR_EXCHANGES: usize = 4;

/// That wait for their end; past that they are ended at once.
const MOST_RETIRED: usize = 64;

/// The wait after a first start that failed, and the longest.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);

/// The sets of a worker in which something is to be done.
#[derive(Default)]
pub struct Wanting {
    sets: RefCell<Vec<Rc<Set>>>,
    bell: Notify,
}

/// How long a plugin that does not start is left alone by what nobody waits for.
#[derive(Default)]
pub struct BackOff {
    last: Cell<Duration>,
    over: Cell<Option<Instant>>,
}

impl BackOff {
    pub fn note(&self, started: bool) {
        if started {
            self.last.take();
            self.over.take();
            return;
        }
        let wait = (self.last.get() * 2).clamp(FIRST, LONGEST);
        self.last.set(wait);
        self.over.set(Some(clock::now() + wait));
    }

    pub fn is_over(&self, now: Instant) -> bool {
        self.over.get().is_none_or(|over| over <= now)
    }
}

impl Instances {
    /// Does what the sets of this worker want, one thing a turn, so that exchanges come between; runs as
    /// long as the worker.
    pub async fn tend(worker: Rc<Worker>) {
        let instances = &worker.instances;
        loop {
            instances.wanted().await;
            let wanting = instances.wanting.sets.take();
            for set in &wanting {
                set.wants.set(false);
            }
            for set in wanting {
                while instances.tend_to(&set) {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Until a set wants something, or may be tried again.
    async fn wanted(&self) {
        // One that lacks nothing would be due for ever, as would one whose start is on its way or held back.
        let lacking = |set: &&Rc<Set>| set.lacks() && set.asked.is_free();
        let next = self.sets.borrow().values().filter(lacking).filter_map(|set| set.back_off.over.get()).min();
        let Some(next) = next else { return self.wanting.bell.notified().await };
        let left = next.saturating_duration_since(clock::now());
        if clock::timeout(left, self.wanting.bell.notified()).await.is_err() {
            let now = clock::now();
            let over = |set: &&Rc<Set>| set.back_off.over.get().is_some_and(|over| over <= now);
            self.sets.borrow().values().filter(lacking).filter(over).for_each(Set::want);
        }
    }

    /// Whether something was done.
    fn tend_to(&self, set: &Rc<Set>) -> bool {
        let retired = set.retired.borrow_mut().pop();
        if let Some(retired) = retired {
            drop(retired);
            return true;
        }
        // Of a configuration that has gone nobody asks for more.
        let kept = self.sets.borrow().get(&set.bound.id).is_some_and(|kept| Rc::ptr_eq(kept, set));
        if !kept || !set.lacks() || !set.back_off.is_over(clock::now()) {
            return false;
        }
        match self.ask(set) {
            Ok(spare) => {
                set.spares.borrow_mut().push(spare);
                true
            }
            Err(Unready::Crowded(_)) => false,
            Err(Unready::Failed(fault)) => {
                tracing::warn!(plugin = &*set.bound.settings.plugin, %fault, "no spare instance starts");
                false
            }
            // It comes later, or is asked for later.
            Err(Unready::Coming | Unready::Held { .. }) => false,
        }
    }
}

impl Set {
    /// Has this set looked after, beside the exchanges.
    pub(super) fn want(self: &Rc<Set>) {
        if !self.wants.replace(true) {
            self.wanting.sets.borrow_mut().push(self.clone());
            self.wanting.bell.notify_one();
        }
    }

    pub(super) fn retire(self: &Rc<Set>, running: Rc<Running>) {
        let mut retired = self.retired.borrow_mut();
        if retired.len() < MOST_RETIRED {
            retired.push(running);
            drop(retired);
            self.want();
        }
    }

    pub(super) fn lacks(&self) -> bool {
        self.spares.borrow().len() < self.most_spares()
    }

    /// Where one exchange's fault never ends the instance of the others, a spare would only take memory.
    fn most_spares(&self) -> usize {
        match self.bound.isolation {
            Isolation::Exchange => FOR_EXCHANGES,
            Isolation::Worker if self.bound.code.shares() => 0,
            Isolation::Worker => 1,
        }
    }
}
