//! What all workers counted, for `/metrics` and `/plugins`: workers write tallies of their own,
//! and whoever reads adds them up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use abi::Verdict;
use metrics::{counter, gauge};

use crate::membership::Memberships;
use crate::telemetry::load::Tally;

/// Shared by all threads of the edge.
pub struct Ledger {
    /// One access line per request; a reload may change it.
    access: AtomicBool,
    workers: Box<[WorkerLine]>,
    /// Locked when a worker meets a plugin or callback for the first time, and by readers.
    plugins: Mutex<BTreeMap<Arc<str>, Vec<Arc<PluginTally>>>>,
}

/// What one worker counts of connections and exchanges.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerLine {
    pub in_flight: Tally,
    pub connections_open: Tally,
    pub connections_accepted: Tally,
}

/// What one worker counts of one plugin.
#[derive(Default)]
pub struct PluginTally {
    /// Locked by its worker for a callback that it has not met before, and by readers.
    calls: Mutex<Vec<(&'static str, Arc<Tally>)>>,
    faults: [Tally; Verdict::ALL.len()],
    /// Exchanges that others' faults have ended, by their verdict.
    collateral: [Tally; Verdict::ALL.len()],
    /// Exchanges for which there was no room.
    crowded: Tally,
    /// Callbacks of the background that waited for their share of the worker.
    delayed: Tally,
    instances: Tally,
    memory: Tally,
    machine_code: Tally,
    cpu_nanos: Tally,
    collections: Tally,
    worker: usize,
}

/// What instances hold now, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held {
    pub memory: u64,
    pub machine_code: u64,
}

/// What one worker has counted of the instances of one plugin.
#[derive(Clone, Copy, Debug)]
pub struct PluginWork {
    pub worker: usize,
    pub held: Held,
    pub cpu: Duration,
    pub collections: u64,
}

impl PluginTally {
    pub fn holds(&self, held: Held) {
        for (tally, bytes) in [(&self.memory, held.memory), (&self.machine_code, held.machine_code)] {
            tally.sub(tally.get());
            tally.add(bytes);
        }
    }

    pub fn worked(&self, cpu: Duration, collections: u64) {
        self.cpu_nanos.add(u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX));
        self.collections.add(collections);
    }

    pub fn call(&self, callback: &'static str) -> Arc<Tally> {
        let mut calls = lock(&self.calls);
        if let Some((_, tally)) = calls.iter().find(|(name, _)| *name == callback) {
            return tally.clone();
        }
        let tally = Arc::new(Tally::default());
        calls.push((callback, tally.clone()));
        tally
    }

    pub fn fault(&self, verdict: Verdict) {
        self.faults[place(verdict)].add(1);
    }

    pub fn collateral(&self, cause: Verdict) {
        self.collateral[place(cause)].add(1);
    }

    pub fn crowded(&self) {
        self.crowded.add(1);
    }

    pub fn delayed(&self) {
        self.delayed.add(1);
    }

    pub fn instance_made(&self) {
        self.instances.add(1);
    }

    pub fn instance_dropped(&self) {
        self.instances.sub(1);
    }
}

/// A plugin's counts over all workers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PluginCount {
    pub calls: BTreeMap<&'static str, u64>,
    /// Only verdicts that occurred.
    pub faults: BTreeMap<&'static str, u64>,
    /// Exchanges that they ended besides their own.
    pub collateral: BTreeMap<&'static str, u64>,
    /// Exchanges for which there was no room for one more instance.
    pub crowded: u64,
    pub delayed: u64,
    /// Alive now.
    pub instances: u64,
}

impl PluginCount {
    pub fn total_calls(&self) -> u64 {
        self.calls.values().sum()
    }

    pub fn total_faults(&self) -> u64 {
        self.faults.values().sum()
    }
}

impl Ledger {
    pub fn new(workers: usize, access: bool) -> Ledger {
        Ledger {
            access: AtomicBool::new(access),
            workers: (0..workers.max(1)).map(|_| WorkerLine::default()).collect(),
            plugins: Mutex::default(),
        }
    }

    /// The line of one worker; only that worker writes it.
    pub fn worker(&self, id: usize) -> &WorkerLine {
        &self.workers[id]
    }

    /// Exchanges with clients now, over all workers.
    pub fn in_flight(&self) -> u64 {
        sum(self.workers.iter().map(|worker| worker.in_flight.get()))
    }

    pub fn connections_open(&self) -> u64 {
        sum(self.workers.iter().map(|worker| worker.connections_open.get()))
    }

    pub fn connections_accepted(&self) -> u64 {
        sum(self.workers.iter().map(|worker| worker.connections_accepted.get()))
    }

    pub(super) fn plugin(&self, plugin: &Arc<str>, worker: usize) -> Arc<PluginTally> {
        let tally = Arc::new(PluginTally { worker, ..PluginTally::default() });
        lock(&self.plugins).entry(plugin.clone()).or_default().push(tally.clone());
        tally
    }

    /// By plugin name; a plugin that was never called is missing.
    pub fn plugins(&self) -> BTreeMap<Arc<str>, PluginCount> {
        lock(&self.plugins).iter().map(|(name, tallies)| (name.clone(), count(tallies))).collect()
    }

    /// What the instances of a plugin hold and have done, by worker. Looked at four times a second.
    pub fn work(&self, plugin: &str) -> Vec<PluginWork> {
        let work = |tally: &Arc<PluginTally>| PluginWork {
            worker: tally.worker,
            held: Held { memory: tally.memory.get(), machine_code: tally.machine_code.get() },
            cpu: Duration::from_nanos(tally.cpu_nanos.get()),
            collections: tally.collections.get(),
        };
        lock(&self.plugins).get(plugin).into_iter().flatten().map(work).collect()
    }

    /// Brings what is only counted here into the metrics: call it before rendering them.
    pub fn publish(&self, membership: &Memberships) {
        gauge!("forebay_in_flight").set(self.in_flight() as f64);
        gauge!("forebay_connections_open").set(self.connections_open() as f64);
        counter!("forebay_connections_accepted_total").absolute(self.connections_accepted());
        membership.publish();
    }

    pub fn set_access(&self, access: bool) {
        self.access.store(access, Ordering::Relaxed);
    }

    /// Whether each request leaves a line.
    pub fn access(&self) -> bool {
        self.access.load(Ordering::Relaxed)
    }
}

fn count(tallies: &[Arc<PluginTally>]) -> PluginCount {
    let mut total = PluginCount::default();
    for tally in tallies {
        for (callback, calls) in lock(&tally.calls).iter() {
            *total.calls.entry(callback).or_default() += calls.get();
        }
        for verdict in Verdict::ALL {
            let (all, of) = ([&tally.faults, &tally.collateral], [&mut total.faults, &mut total.collateral]);
            for (tallies, total) in all.into_iter().zip(of) {
                let counted = tallies[place(verdict)].get();
                if counted > 0 {
                    *total.entry(verdict.name()).or_default() += counted;
                }
            }
        }
        total.crowded += tally.crowded.get();
        total.delayed += tally.delayed.get();
        total.instances = total.instances.wrapping_add(tally.instances.get());
    }
    total
}

fn place(verdict: Verdict) -> usize {
    Verdict::ALL.iter().position(|one| *one == verdict).expect("ALL has every verdict")
}

/// What goes up on one worker and down on another wraps; the sum does not.
fn sum(values: impl Iterator<Item = u64>) -> u64 {
    values.fold(0, u64::wrapping_add)
}

/// Nothing that holds these locks can panic half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
