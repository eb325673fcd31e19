//! Where instances are started: on threads beside the workers, as a start may use half a second of CPU time,
//! and everything that a worker serves would wait for it.
//!
//! A worker asks, goes on with its other exchanges, and gets what has started ([`Prepared`]), which belongs
//! to no thread until it adopts it. Of one plugin one start runs at a time, and the plugin that has waited
//! longest for its turn comes next: a slow one delays itself. Starts that follow a fault are rationed: they
//! may use [`SHARE`] of one thread's time, over all workers.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use abi::{Fault, Started, Verdict};

use crate::clock;
use crate::exchange::Surroundings;
use crate::exchange::seat::Seat;
use crate::exchange::window::LogBudget;
use crate::plugins::{Bound, Plugins};
use crate::share::Share;
use crate::state::State;

const THREADS: usize = 2;
/// What restarts of one plugin may use of a thread's time.
const SHARE: f64 = 0.05;
/// Of that, what is free at once: 1 s of CPU time.
const BURST: Duration = Duration::from_secs(20);
/// Plugins that are remembered for nothing but their turn.
const CROWDED: usize = 256;

/// The threads of one edge. They end when this is dropped.
pub struct Starter(Arc<Queue>);

/// One start.
pub struct Ask {
    pub bound: Arc<Bound>,
    pub log: Arc<LogBudget>,
    /// It follows a fault: it counts against the share of such.
    pub again: bool,
    /// Told on the starter's thread.
    pub tell: Box<dyn FnOnce(Outcome) + Send>,
}

pub enum Outcome {
    Ready(Prepared),
    Failed(Fault),
    /// It must be started where it shall run.
    Stays,
}

/// An instance that no worker has yet.
pub struct Prepared {
    pub started: Box<dyn Started>,
    /// The period of ticks that it has asked for.
    pub tick: Duration,
    /// How often the plugin's secrets had changed when it began.
    pub changes: u32,
    /// CPU time of its start.
    pub cost: Duration,
}

struct Queue {
    state: Arc<State>,
    asked: Mutex<Asked>,
    bell: Condvar,
}

#[derive(Default)]
struct Asked {
    waiting: Vec<Ask>,
    plugins: HashMap<Arc<str>, Account>,
    turns: u64,
    ended: bool,
}

/// What is known of one plugin.
#[derive(Default)]
struct Account {
    /// When it had its last turn.
    turn: u64,
    running: bool,
    share: Share,
}

impl Starter {
    pub fn new(state: Arc<State>) -> std::io::Result<Starter> {
        let starter = Starter(Arc::new(Queue { state, asked: Mutex::default(), bell: Condvar::new() }));
        for id in 0..THREADS {
            let queue = starter.0.clone();
            let thread = std::thread::Builder::new().name(format!("starter-{id}")).stack_size(crate::worker::STACK);
            thread.spawn(move || queue.work())?;
        }
        Ok(starter)
    }

    pub fn ask(&self, ask: Ask) {
        self.0.lock().waiting.push(ask);
        self.0.bell.notify_one();
    }

    /// How long until a start of this plugin that follows a fault may be asked for.
    pub fn held(&self, plugin: &str, now: Instant) -> Option<Duration> {
        self.0.lock().plugins.get(plugin)?.share.wait(now, BURST)
    }

    /// Starts what is new since `previous`, once for each worker, before any of them serves it: what is there
    /// serves meanwhile. One that does not start is left to the worker, which says so.
    pub fn prepare(&self, plugins: &Plugins, previous: Option<&Plugins>, workers: usize) {
        let mut known: HashSet<u64> = previous.into_iter().flat_map(Plugins::kept).map(|bound| bound.id).collect();
        let (told, outcomes) = mpsc::channel();
        for bound in plugins.bound() {
            if !known.insert(bound.id) {
                continue;
            }
            let log = Arc::<LogBudget>::default();
            for _ in 0..workers {
                let (told, of) = (told.clone(), bound.clone());
                // Nobody listens any more if the reload was given up.
                let tell = move |outcome| drop(told.send((of, outcome)));
                self.ask(Ask { bound: bound.clone(), log: log.clone(), again: false, tell: Box::new(tell) });
            }
        }
        drop(told);
        for (bound, outcome) in outcomes {
            if let Outcome::Ready(prepared) = outcome {
                bound.prepared.add(prepared);
            }
        }
    }
}

impl Drop for Starter {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.bell.notify_all();
    }
}

impl Queue {
    /// The life of a thread.
    fn work(&self) {
        while let Some(Ask { bound, log, again, tell }) = self.next() {
            let before = wasm::thread_cpu();
            let outcome = catch_unwind(AssertUnwindSafe(|| start(&self.state, &bound, &log)));
            let cost = wasm::thread_cpu().saturating_sub(before);
            let outcome = match outcome {
                Ok(Outcome::Ready(prepared)) => Outcome::Ready(Prepared { cost, ..prepared }),
                Ok(Outcome::Failed(fault)) => Outcome::Failed(fault.with_cpu(cost)),
                Ok(Outcome::Stays) => Outcome::Stays,
                Err(_) => Outcome::Failed(Fault::new(Verdict::Panic, "the engine panicked in a start").with_cpu(cost)),
            };
            self.ended(&bound, again.then_some(cost));
            tell(outcome);
        }
    }

    /// What is to be started next; `None` at the end.
    fn next(&self) -> Option<Ask> {
        let mut asked = self.lock();
        loop {
            if asked.ended {
                return None;
            }
            if let Some(ask) = asked.next() {
                return Some(ask);
            }
            asked = self.bell.wait(asked).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn ended(&self, bound: &Bound, restart: Option<Duration>) {
        let now = clock::now();
        let mut asked = self.lock();
        let account = asked.plugins.entry(bound.settings.plugin.clone()).or_default();
        account.running = false;
        if let Some(cost) = restart {
            account.share.add(now, cost, SHARE);
        }
        if asked.plugins.len() > CROWDED {
            asked.plugins.retain(|_, account| account.running || !account.share.owed(now).is_zero());
        }
        drop(asked);
        // Its next one may have waited for this.
        self.bell.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Asked> {
        // Nothing that holds it can panic half-way.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    fn next(&mut self) -> Option<Ask> {
        let Asked { waiting, plugins, turns, .. } = self;
        let turn = |ask: &Ask| match plugins.get(&ask.bound.settings.plugin) {
            Some(account) if account.running => None,
            known => Some(known.map_or(0, |account| account.turn)),
        };
        let candidates = waiting.iter().enumerate().filter_map(|(place, ask)| Some((turn(ask)?, place)));
        let (_, place) = candidates.min()?;
        let ask = waiting.remove(place);
        *turns += 1;
        let account = plugins.entry(ask.bound.settings.plugin.clone()).or_default();
        (account.turn, account.running) = (*turns, true);
        Some(ask)
    }
}

fn start(state: &Arc<State>, bound: &Arc<Bound>, log: &Arc<LogBudget>) -> Outcome {
    let surroundings = Surroundings::new(state.clone());
    let seat = Seat::of_plugin(bound, &surroundings, log);
    let changes = bound.secrets.changes();
    let started = bound.code.start(seat.clone());
    // The seat ends with the start, and what it has begun.
    seat.end_spans();
    match started {
        None => Outcome::Stays,
        Some(Err(fault)) => Outcome::Failed(fault),
        Some(Ok(started)) => Outcome::Ready(Prepared { started, tick: seat.tick(), changes, cost: Duration::ZERO }),
    }
}
