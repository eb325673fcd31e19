//! Origins as processes on this machine.
//!
//! They outlive the aggregator: each is in a process group of its own (a terminal's Ctrl-C does
//! not reach it) and has a small file in the state folder by which the next run finds it. Only
//! processes that were started here, and that are provably still the same, are ever signalled.
//!
//! Without a lease the pool's lock is held for good. With one it is held while something is changed, and
//! the token is compared under it: so a new leader waits for no old one that is paused, unless it was paused
//! in the middle of a change; that is a moment, and then the pool waits.

mod ending;
mod fence;
mod identity;
mod noted;
mod origin;
mod ready;
mod record;
mod signal;
mod told;

use std::fs::OpenOptions;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use config::region::ProcessActuator;
use jiff::Timestamp;
use scaler::{Observed, stamp};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::lease::Right;

use identity::Identity;
use origin::{Origin, Stopping};
use ready::Probe;
use record::{Lock, Record, Records};
use signal::Signal;

/// Waits between starts while they fail: doubled each time from the first to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// An origin that lived so long after it was ready did not fail to start.
const SETTLED: Duration = Duration::from_secs(10);

pub struct Process {
    pool: String,
    config: ProcessActuator,
    records: Records,
    /// In whose name `origins` are run.
    right: Right,
    /// They are ours: before that nothing is known or done.
    adopted: bool,
    /// Held for good where there is no lease.
    lock: Option<Lock>,
    /// A higher token has acted.
    fenced: Option<u64>,
    /// That the lock is not to be had has been logged.
    told: bool,
    /// Ends of origins that another aggregator runs now are ours to wait for.
    former: Vec<Child>,
    origins: Vec<Origin>,
    wake: Arc<Notify>,
    /// Starts in a row that came to nothing.
    failures: u32,
    /// No start before this.
    not_before: Option<Timestamp>,
    /// The last of the failures: when, and what of.
    failed: Option<(Timestamp, String)>,
    /// When it was, also once nobody is told of it any more.
    failed_at: Option<Timestamp>,
}

impl Process {
    pub fn new(pool: String, config: ProcessActuator, clock: Clock, wake: Arc<Notify>) -> Process {
        let records = Records::new(&config.state_dir, &pool, clock);
        Process {
            pool,
            config,
            records,
            right: Right::Shadow,
            adopted: false,
            lock: None,
            fenced: None,
            told: false,
            former: Vec::new(),
            origins: Vec::new(),
            wake,
            failures: 0,
            not_before: None,
            failed: None,
            failed_at: None,
        }
    }

    /// The highest token that is known here; 0 before the first.
    pub fn token(&self) -> u64 {
        // What cannot be read is told by who wants to act.
        self.fenced.unwrap_or_default().max(self.records.token().unwrap_or_default())
    }

    /// Takes over what an earlier run left running, once no other aggregator runs it: a restart
    /// may overlap, and two that each keep a pool at its count would fight.
    fn adopt(&mut self, now: Timestamp) -> bool {
        if self.fenced.is_some() {
            return false;
        }
        let Some(entry) = self.enter() else { return false };
        for record in self.records.read() {
            self.adopt_one(record, now);
        }
        if self.right == Right::Sole {
            self.lock = entry.0;
        }
        self.adopted = true;
        true
    }

    fn adopt_one(&mut self, record: Record, now: Timestamp) {
        if !record.identity.is_alive() {
            self.records.remove(&record);
            return;
        }
        let ran = stamp::age(now, record.launched_at);
        tracing::info!(pool = self.pool, address = %record.address, pid = record.identity.pid, ?ran, "adopted");
        let stopping = record.stopping_at.map(|since| Stopping { since, killed: false });
        let probe = (record.ready_at.is_none() && stopping.is_none()).then(|| self.probe(record.address));
        self.origins.push(Origin { record, child: None, probe, ordered: stopping.is_some(), stopping });
    }

    /// What changed holds for origins started from now on. Another state folder is another set
    /// of origins.
    pub fn configure(&mut self, config: &ProcessActuator) -> bool {
        if config.state_dir != self.config.state_dir {
            return false;
        }
        self.config = config.clone();
        true
    }

    /// `None` while another aggregator runs the pool's origins and this one should.
    pub fn observe(&mut self, right: Right, now: Timestamp) -> Option<Vec<Observed>> {
        self.take(right);
        self.former.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        if right == Right::Shadow {
            let alive = self.records.read().into_iter().filter(|record| record.identity.is_alive());
            return Some(alive.map(|record| record.observed(record.stopping_at.is_some())).collect());
        }
        if !self.adopted && !self.adopt(now) {
            return None;
        }
        let ends = right.leads();
        if self.origins.iter_mut().any(|origin| origin.is_due(&self.config, ends, now)) {
            match self.enter() {
                Some(_entry) => self.tend(now),
                None if self.fenced.is_some() => return None,
                // The next time is soon.
                None => {}
            }
        }
        self.look_around(now);
        Some(self.origins.iter().map(|origin| origin.record.observed(origin.ordered)).collect())
    }

    /// Somebody else may have started origins for this pool meanwhile: they say so by a record of theirs, and are
    /// run like those of an earlier run from then on.
    fn look_around(&mut self, now: Timestamp) {
        let known: Vec<_> = self.origins.iter().map(|origin| origin.record.address).collect();
        let mut others = self.records.others(&known);
        others.retain(|record| record.identity.is_alive());
        for record in others {
            tracing::warn!(pool = self.pool, address = %record.address, "another hand has started an origin");
            self.adopt_one(record, now);
        }
    }

    /// Writes down and does what is due.
    fn tend(&mut self, now: Timestamp) {
        for mut origin in std::mem::take(&mut self.origins) {
            if origin.is_alive() {
                self.watch(&mut origin, now);
                self.origins.push(origin);
            } else {
                self.bury(origin, now);
            }
        }
    }

    /// Readiness, the boot's time-out, and the step from SIGTERM to SIGKILL.
    fn watch(&mut self, origin: &mut Origin, now: Timestamp) {
        if origin.probe.as_ref().is_some_and(Probe::is_ready) {
            origin.probe = None;
            origin.record.ready_at = Some(now);
            self.failed = None;
            self.save(&origin.record);
            let boot = stamp::age(now, origin.record.launched_at);
            tracing::info!(pool = self.pool, address = %origin.record.address, ?boot, "origin ready");
            self.took("start", boot);
        }
        // Only who leads ends anything, however late it is.
        if !self.right.leads() {
            return;
        }
        if origin.is_late(&self.config, now) {
            let allowed = self.config.boot_timeout;
            tracing::error!(pool = self.pool, address = %origin.record.address, ?allowed, "origin did not become ready");
            self.failed("start", format!("{} was not ready in {}", origin.record.address, stamp::text(allowed)), now);
            self.terminate(origin, now);
        }
        if let Some(stopping) = origin.stopping.as_mut().filter(|stopping| stopping.is_overdue(&self.config, now)) {
            stopping.killed = true;
            tracing::warn!(pool = self.pool, address = %origin.record.address, "origin did not stop: killed");
            self.send(&origin.record.identity, Signal::Kill);
        }
    }

    /// An origin is gone: asked for, or a crash that the next `set` makes good.
    fn bury(&mut self, origin: Origin, now: Timestamp) {
        self.records.remove(&origin.record);
        let Record { address, launched_at, ready_at, .. } = origin.record;
        if let Some(stopping) = &origin.stopping {
            tracing::info!(pool = self.pool, %address, "origin stopped");
            self.took("stop", stamp::age(now, stopping.since));
            return;
        }
        let lived = stamp::age(now, launched_at);
        tracing::error!(pool = self.pool, %address, ?lived, ready = ready_at.is_some(), "origin crashed");
        metrics::counter!("forebay_aggregator_origins_crashed_total", "pool" => self.pool.clone()).increment(1);
        if ready_at.is_none_or(|ready| stamp::age(now, ready) < SETTLED) {
            let when = if ready_at.is_some() { "of its start" } else { "of its start, before it was ready" };
            self.failed("start", format!("{address} ended within {} {when}", stamp::text(lived)), now);
        }
    }

    pub fn set(&mut self, right: Right, run: u32, stop: &[SocketAddr], now: Timestamp) {
        self.take(right);
        let stop = if right.leads() { stop } else { &[] };
        let told = |origin: &Origin| origin.ordered || !stop.contains(&origin.record.address);
        let done = self.running() >= run && self.origins.iter().all(told);
        if done && self.origins.iter().all(|origin| origin.ordered || origin.record.ready_at.is_some()) {
            // What could not be started is not needed any more.
            self.failed = None;
        }
        if !self.adopted || done {
            return;
        }
        let Some(_entry) = self.enter() else { return };
        let mut origins = std::mem::take(&mut self.origins);
        for origin in origins.iter_mut().filter(|origin| stop.contains(&origin.record.address)) {
            origin.ordered = true;
            self.terminate(origin, now);
        }
        self.origins = origins;
        for _ in self.running()..run {
            if self.not_before.is_some_and(|at| now < at) {
                return;
            }
            if let Err(error) = self.launch(now) {
                let program = self.config.command.first().map_or("", String::as_str);
                tracing::error!(pool = self.pool, program, %error, "origin cannot be started");
                self.failed("start", format!("{program}: {error}"), now);
                return;
            }
        }
    }

    fn running(&self) -> u32 {
        self.origins.iter().filter(|origin| !origin.ordered).count() as u32
    }

    fn launch(&mut self, now: Timestamp) -> io::Result<()> {
        let address = self.free_address()?;
        let port = address.port().to_string();
        let mut words = self.config.command.iter().map(|word| word.replace("{port}", &port));
        let program = words.next().ok_or_else(|| io::Error::other("the command is empty"))?;
        let log_path = self.records.log_path(address.port())?;
        let log = OpenOptions::new().create(true).append(true).open(log_path)?;
        let mut child = Command::new(program)
            .args(words)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()?;
        self.count("start");
        let written = Identity::of(child.id()).and_then(|identity| {
            let pool = self.pool.clone();
            let record = Record {
                pool,
                address,
                identity,
                launched_at: now,
                ready_at: None,
                serving_at: None,
                stopping_at: None,
                parked: false,
                leaving: None,
            };
            self.records.write(&record).map(|()| record)
        });
        let record = match written {
            Ok(record) => record,
            Err(error) => {
                // No later run could find it: it must not stay.
                child.kill()?;
                child.wait()?;
                return Err(error);
            }
        };
        tracing::info!(pool = self.pool, %address, pid = record.identity.pid, "origin started");
        let probe = Some(self.probe(address));
        self.origins.push(Origin { record, child: Some(child), probe, ordered: false, stopping: None });
        Ok(())
    }

    /// A port that nobody has now. Someone may take it before the origin does: then the origin
    /// ends, and is replaced.
    fn free_address(&self) -> io::Result<SocketAddr> {
        for _ in 0..16 {
            let address = TcpListener::bind((self.config.host, 0))?.local_addr()?;
            if self.origins.iter().all(|origin| origin.record.address != address) {
                return Ok(address);
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "no free port"))
    }

    fn probe(&self, address: SocketAddr) -> Probe {
        Probe::start(address, self.config.ready_path.clone(), self.wake.clone())
    }

    fn save(&self, record: &Record) {
        if let Err(error) = self.records.write(record) {
            tracing::error!(pool = self.pool, address = %record.address, %error, "state cannot be written");
        }
    }
}
