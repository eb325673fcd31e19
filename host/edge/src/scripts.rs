//! Policy plugins of pools: what the aggregator of this process asks how many origins there should be. They are
//! plugins like any other (limits, grants, logs, metrics), with an instance each that serves no exchange, on a
//! thread of their own: what a script does with its time is waited for by other scripts alone.
//!
//! Questions wait in a mailbox, one of each script: a later one takes the place of one that nobody has looked
//! at, so a script that is slow is asked about what is, and not about what was. A script that fails has said
//! nothing. Faults are counted by its crash budget, and while that is spent it is not asked.
//!
//! After a reload that changed a script, the version before answers where the new one fails, until the new
//! one has answered once. A reload whose script does not load, does not start or has no `autoscale` is refused.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use abi::{Callbacks, Fault, Verdict};
use bytes::Bytes;
use config::Region;

use crate::StartError;
use crate::clock;
use crate::exchange::Surroundings;
use crate::exchange::scale::Proposed;
use crate::instances::Running;
use crate::life::budget::{Budget, Change, Entry};
use crate::plugins::{self, Bound, Plugins};
use crate::self_test;
use crate::state::State;

/// What a script has said: a count and why, nothing, or why it has said nothing that counts.
pub type Said = Result<Option<Proposed>, String>;

/// Told on the scripts' thread, or dropped: then a later question stood in for this one.
pub type Tell = Box<dyn FnOnce(Said) + Send>;

/// The scripts of one process. Its thread ends when this is dropped.
pub struct Scripts(Arc<Desk>);

/// What a reload will have; nothing is asked of it yet.
pub struct Prepared {
    region: Arc<Region>,
    table: Table,
}

struct Desk {
    state: Arc<State>,
    table: Mutex<Arc<Table>>,
    mailbox: Mutex<Mailbox>,
    bell: Condvar,
}

#[derive(Default)]
struct Mailbox {
    waiting: VecDeque<Question>,
    ended: bool,
}

struct Question {
    pool: String,
    script: String,
    view: Bytes,
    tell: Tell,
}

/// By pool and plugin.
type Bindings = BTreeMap<(String, String), Arc<Script>>;

#[derive(Default)]
struct Table {
    plugins: Plugins,
    scripts: Bindings,
}

/// One policy plugin of one pool.
struct Script {
    bound: Arc<Bound>,
    standing: Mutex<Standing>,
}

struct Standing {
    budget: Budget,
    /// It has answered without a fault.
    good: bool,
    /// The version before, until this one is good.
    before: Option<Arc<Bound>>,
}

impl Scripts {
    /// Loads what the region's pools name, and starts the thread.
    pub fn start(region: &Arc<Region>) -> Result<Scripts, StartError> {
        let desk = Desk {
            state: Arc::new(State::new(region)),
            table: Mutex::new(Arc::new(Table::load(region, None)?)),
            mailbox: Mutex::default(),
            bell: Condvar::new(),
        };
        let scripts = Scripts(Arc::new(desk));
        let desk = scripts.0.clone();
        let thread = std::thread::Builder::new().name("scripts".into()).stack_size(crate::worker::STACK);
        thread
            .spawn(move || Asking::new(&desk.state).work(&desk))
            .map_err(|error| StartError::one(&format!("the thread of scripts: {error}")))?;
        Ok(scripts)
    }

    /// Looks at a changed region, off to the side. With `self_test`, what is new is tested.
    pub fn prepare(&self, region: &Arc<Region>, self_test: bool) -> Result<Prepared, StartError> {
        let before = lock(&self.0.table).clone();
        let table = Table::load(region, Some(&before))?;
        if self_test {
            let errors = self_test::errors(&only_scripts(region), &table.plugins, Some(&before.plugins));
            if !errors.is_empty() {
                return Err(StartError { errors });
            }
        }
        Ok(Prepared { region: region.clone(), table })
    }

    /// Asks by that from now on.
    pub fn take(&self, prepared: Prepared) {
        self.0.state.configure(&prepared.region);
        *lock(&self.0.table) = Arc::new(prepared.table);
    }

    /// Asks; never waits.
    pub fn ask(&self, pool: &str, script: &str, view: Bytes, tell: Tell) {
        let question = Question { pool: pool.to_owned(), script: script.to_owned(), view, tell };
        let mut mailbox = lock(&self.0.mailbox);
        let same = |waiting: &&mut Question| waiting.pool == question.pool && waiting.script == question.script;
        match mailbox.waiting.iter_mut().find(same) {
            Some(waiting) => *waiting = question,
            None => mailbox.waiting.push_back(question),
        }
        drop(mailbox);
        self.0.bell.notify_one();
    }

    /// The metrics that scripts have defined, as Prometheus text.
    pub fn render(&self) -> String {
        let table = lock(&self.0.table).clone();
        self.0.state.metrics.render(|plugin| table.scripts.keys().any(|(_, script)| script == plugin))
    }
}

impl Drop for Scripts {
    fn drop(&mut self) {
        lock(&self.0.mailbox).ended = true;
        self.0.bell.notify_all();
    }
}

/// What is wrong with the policy plugins of a region whose code is loaded.
pub fn check(region: &Region, plugins: &Plugins) -> Vec<String> {
    bind_all(region, plugins, None).err().unwrap_or_default()
}

/// The region with no other plugins than scripts: nothing else is loaded here.
fn only_scripts(region: &Region) -> Region {
    let mut only = Region { routes: Vec::new(), ..region.clone() };
    only.plugins.retain(|name, _| region.scripts().any(|(_, used)| used.plugin.name == *name));
    only
}

fn bind_all(region: &Region, plugins: &Plugins, previous: Option<&Table>) -> Result<Bindings, Vec<String>> {
    let (mut scripts, mut errors) = (BTreeMap::new(), Vec::new());
    let surroundings = Surroundings::for_check();
    for (pool, used) in region.scripts() {
        let name = &used.plugin.name;
        // One that does not load has its own error.
        let Some(loaded) = plugins.loaded(name) else { continue };
        let place = format!("pool {:?}", pool.name);
        if !loaded.plugin.callbacks().contains(Callbacks::AUTOSCALE) {
            let allowed = "a Lua plugin has a function autoscale(metrics) among its callbacks, or as the one global of \
                           a file that returns nothing; a Wasm module exports forebay_on_autoscale or proxy_on_tick";
            errors.push(format!("{place}: plugin {name:?} has no autoscale, so it is no script of scaling; {allowed}"));
            continue;
        }
        let key = (pool.name.clone(), name.clone());
        let before = previous.and_then(|previous| previous.scripts.get(&key));
        let known = before.map(|before| &before.bound).into_iter();
        match plugins::bind(region, &place, used, loaded, known, &surroundings) {
            Ok(bound) => drop(scripts.insert(key, Script::begin(bound, &used.crash_budget, before))),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(scripts) } else { Err(errors) }
}

impl Table {
    fn load(region: &Region, previous: Option<&Table>) -> Result<Table, Vec<String>> {
        let plugins = plugins::load(&only_scripts(region), previous.map(|previous| &previous.plugins))?;
        let scripts = bind_all(region, &plugins, previous)?;
        Ok(Table { plugins, scripts })
    }
}

impl Script {
    /// The one before goes on if nothing about it has changed.
    fn begin(bound: Arc<Bound>, terms: &config::CrashBudget, before: Option<&Arc<Script>>) -> Arc<Script> {
        let stand_in = match before {
            Some(before) if Arc::ptr_eq(&before.bound, &bound) => {
                if let Some(change) = lock(&before.standing).budget.set_terms(terms) {
                    before.tell(change);
                }
                return before.clone();
            }
            Some(before) => {
                let standing = lock(&before.standing);
                if standing.good { Some(before.bound.clone()) } else { standing.before.clone() }
            }
            None => None,
        };
        let standing = Standing { budget: Budget::new(terms.clone()), good: false, before: stand_in };
        Arc::new(Script { bound, standing: Mutex::new(standing) })
    }

    fn tell(&self, change: Change) {
        let plugin = &*self.bound.settings.plugin;
        match change {
            Change::Disabled { back_off, .. } => {
                tracing::error!(plugin, "the script has faults without end: it is not asked for {back_off:?}");
            }
            Change::Probing => tracing::info!(plugin, "the script is tried again"),
            Change::Recovered | Change::Enabled => tracing::info!(plugin, "the script is asked again"),
        }
    }
}

/// The thread's own: instances belong to it.
pub(crate) struct Asking {
    surroundings: Rc<Surroundings>,
    /// By what they are instances of.
    running: HashMap<u64, Rc<Running>>,
}

impl Asking {
    pub(crate) fn new(state: &Arc<State>) -> Asking {
        Asking { surroundings: Surroundings::new(state.clone()), running: HashMap::new() }
    }

    /// The life of the thread.
    fn work(mut self, desk: &Desk) {
        let mut published = clock::now();
        while let Some(Question { pool, script, view, tell }) = desk.next() {
            // Histograms keep every sample until somebody folds them in.
            if clock::now().saturating_duration_since(published) > Duration::from_secs(5) {
                desk.state.metrics.publish();
                published = clock::now();
            }
            let table = lock(&desk.table).clone();
            self.forget(&table);
            let Some(known) = table.scripts.get(&(pool.clone(), script.clone())) else {
                // Between two parts of a reload: the next question finds it.
                tell(Err("it is not loaded yet".to_owned()));
                continue;
            };
            tell(self.answer(&pool, known, &view));
        }
    }

    /// Ends what no script is any more.
    fn forget(&mut self, table: &Table) {
        let kept = |id: &u64| {
            table.scripts.values().any(|script| {
                let before = lock(&script.standing).before.as_ref().map(|before| before.id);
                script.bound.id == *id || before == Some(*id)
            })
        };
        self.running.retain(|id, _| kept(id));
    }

    fn answer(&mut self, pool: &str, script: &Script, view: &Bytes) -> Said {
        let (entry, change) = lock(&script.standing).budget.enter(clock::now());
        change.into_iter().for_each(|change| script.tell(change));
        let turn = match entry {
            Entry::Serves => None,
            Entry::Probe(turn) => Some(turn),
            Entry::Disabled => {
                let why = "it is disabled for a while, after faults (crash_budget)".to_owned();
                return self.stand_in(script, view, why);
            }
        };
        match self.call(&script.bound, view) {
            Ok(said) => {
                let mut standing = lock(&script.standing);
                (standing.good, standing.before) = (true, None);
                let change = turn.and_then(|turn| standing.budget.served(turn));
                drop(standing);
                change.into_iter().for_each(|change| script.tell(change));
                Ok(said)
            }
            Err(fault) => {
                tell_fault(pool, &script.bound, &fault);
                let change = lock(&script.standing).budget.fault(clock::now(), fault.cpu, turn);
                change.into_iter().for_each(|change| script.tell(change));
                let first = fault.message.lines().next().unwrap_or_default();
                self.stand_in(script, view, format!("{}: {first}", fault.verdict))
            }
        }
    }

    /// Where there is a version before that was good, it answers.
    fn stand_in(&mut self, script: &Script, view: &Bytes, why: String) -> Said {
        let before = lock(&script.standing).before.clone();
        let Some(said) = before.and_then(|before| self.call(&before, view).ok()) else { return Err(why) };
        let noted = |proposed: Proposed| {
            let because = format!("{}; by the version before, as this one has failed ({why})", proposed.because);
            Proposed { because, ..proposed }
        };
        Ok(said.map(noted))
    }

    /// Asks this version, in the instance that it has or in a new one.
    pub(crate) fn call(&mut self, bound: &Arc<Bound>, view: &Bytes) -> Result<Option<Proposed>, Fault> {
        let fit = self.running.get(&bound.id).filter(|running| running.is_fit()).cloned();
        let running = match fit {
            Some(running) => running,
            None => {
                // The old one goes first: its memory is room for this one's.
                self.running.remove(&bound.id);
                let started = catch_unwind(AssertUnwindSafe(|| Running::start(bound, &self.surroundings)));
                let panicked = |_| Err(Fault::new(Verdict::Panic, "the engine panicked in a start"));
                let running = started.unwrap_or_else(panicked)?;
                self.running.insert(bound.id, running.clone());
                running
            }
        };
        running.autoscale(view.clone()).map_err(|fault| {
            let cpu = fault.cpu + running.lost();
            fault.with_cpu(cpu)
        })
    }
}

pub(crate) fn tell_fault(pool: &str, bound: &Bound, fault: &Fault) {
    let (plugin, version) = (&*bound.settings.plugin, &*bound.settings.version);
    let trace = fault.trace.as_deref().unwrap_or_default();
    tracing::warn!(
        target: "forebay::fault", plugin, version, pool, callback = "autoscale", verdict = fault.verdict.name(), trace,
        "{}", fault.message
    );
    metrics::counter!("forebay_aggregator_script_faults_total",
        "pool" => pool.to_owned(), "plugin" => plugin.to_owned(), "verdict" => fault.verdict.name())
    .increment(1);
}

impl Desk {
    /// `None` at the end.
    fn next(&self) -> Option<Question> {
        let mut mailbox = lock(&self.mailbox);
        loop {
            if mailbox.ended {
                return None;
            }
            if let Some(question) = mailbox.waiting.pop_front() {
                return Some(question);
            }
            mailbox = self.bell.wait(mailbox).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Nothing that holds one can panic half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
