//! Origins as processes on this machine.
//!
//! They outlive the aggregator: each is in a process group of its own (a terminal's Ctrl-C does
//! not reach it) and has a small file in the state folder by which the next run finds it. Only
//! processes that were started here, and that are provably still the same, are ever signalled.

mod identity;
mod ready;
mod record;
mod signal;

use std::fs::{File, OpenOptions};
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

use identity::Identity;
use ready::Probe;
use record::{Record, Records};
use signal::Signal;

/// Waits between starts while they fail: doubled each time from the first to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// An origin that lived so long after it was ready did not fail to start.
const SETTLED: Duration = Duration::from_secs(10);

pub struct Process {
    pool: String,
    config: ProcessActuator,
    records: Records,
    /// Nothing is known or done without it.
    lock: Option<File>,
    /// That the lock is not to be had has been logged.
    told: bool,
    origins: Vec<Origin>,
    wake: Arc<Notify>,
    /// Starts in a row that came to nothing.
    failures: u32,
    /// No start before this.
    not_before: Option<Timestamp>,
}

struct Origin {
    record: Record,
    /// `None` if an earlier run started it: then it is watched, not waited for.
    child: Option<Child>,
    probe: Option<Probe>,
    /// We were told to stop it; otherwise a stop is our own doing, and it is to be replaced.
    ordered: bool,
    stopping: Option<Stopping>,
}

struct Stopping {
    since: Timestamp,
    killed: bool,
}

impl Process {
    pub fn new(pool: String, config: ProcessActuator, wake: Arc<Notify>) -> Process {
        let records = Records::new(&config.state_dir, &pool);
        let origins = Vec::new();
        Process { pool, config, records, lock: None, origins, wake, failures: 0, not_before: None, told: false }
    }

    /// Takes over what an earlier run left running, once no other aggregator runs it: a restart
    /// may overlap, and two that each keep a pool at its count would fight.
    fn adopt(&mut self, now: Timestamp) -> bool {
        let why = match self.records.lock() {
            Ok(Some(lock)) => {
                self.lock = Some(lock);
                self.told = false;
                for record in self.records.read() {
                    self.adopt_one(record, now);
                }
                return true;
            }
            Ok(None) => "another aggregator runs its origins".to_string(),
            Err(error) => error.to_string(),
        };
        if !std::mem::replace(&mut self.told, true) {
            tracing::error!(pool = self.pool, state_dir = %self.config.state_dir.display(), why, "the pool waits");
        }
        false
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

    /// `None` while another aggregator runs the pool's origins.
    pub fn observe(&mut self, now: Timestamp) -> Option<Vec<Observed>> {
        if self.lock.is_none() && !self.adopt(now) {
            return None;
        }
        for mut origin in std::mem::take(&mut self.origins) {
            if origin.is_alive() {
                self.watch(&mut origin, now);
                self.origins.push(origin);
            } else {
                self.bury(origin, now);
            }
        }
        let observed = |origin: &Origin| Observed {
            address: origin.record.address,
            launched_at: origin.record.launched_at,
            ready_at: origin.record.ready_at,
            serving_at: origin.record.serving_at,
            stopping: origin.ordered,
        };
        Some(self.origins.iter().map(observed).collect())
    }

    /// Readiness, the boot's time-out, and the step from SIGTERM to SIGKILL.
    fn watch(&mut self, origin: &mut Origin, now: Timestamp) {
        if origin.probe.as_ref().is_some_and(Probe::is_ready) {
            origin.probe = None;
            origin.record.ready_at = Some(now);
            self.failures = 0;
            self.save(&origin.record);
            let boot = stamp::age(now, origin.record.launched_at);
            tracing::info!(pool = self.pool, address = %origin.record.address, ?boot, "origin ready");
            self.took("start", boot);
        }
        let late = stamp::age(now, origin.record.launched_at) >= self.config.boot_timeout;
        if origin.record.ready_at.is_none() && late && origin.stopping.is_none() {
            let allowed = self.config.boot_timeout;
            tracing::error!(pool = self.pool, address = %origin.record.address, ?allowed, "origin did not become ready");
            self.failed("start", now);
            self.terminate(origin, now);
        }
        let overdue =
            |stopping: &&mut Stopping| !stopping.killed && stamp::age(now, stopping.since) >= self.config.stop_timeout;
        if let Some(stopping) = origin.stopping.as_mut().filter(overdue) {
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
            self.failed("start", now);
        }
    }

    pub fn set(&mut self, run: u32, stop: &[SocketAddr], now: Timestamp) {
        if self.lock.is_none() {
            return;
        }
        let mut origins = std::mem::take(&mut self.origins);
        for origin in origins.iter_mut().filter(|origin| stop.contains(&origin.record.address)) {
            origin.ordered = true;
            self.terminate(origin, now);
        }
        self.origins = origins;
        let running = self.origins.iter().filter(|origin| !origin.ordered).count() as u32;
        for _ in running..run {
            if self.not_before.is_some_and(|at| now < at && stamp::age(at, now) <= BACKOFF.1) {
                return;
            }
            if let Err(error) = self.launch(now) {
                let program = self.config.command.first().map_or("", String::as_str);
                tracing::error!(pool = self.pool, program, %error, "origin cannot be started");
                self.failed("start", now);
                return;
            }
        }
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

    pub fn note_serving(&mut self, address: SocketAddr, at: Timestamp) {
        let found = self.origins.iter_mut().find(|origin| origin.record.address == address);
        if let Some(origin) = found.filter(|origin| origin.record.serving_at.is_none()) {
            origin.record.serving_at = Some(at);
            let record = origin.record.clone();
            self.save(&record);
        }
    }

    pub fn release(&mut self, now: Timestamp) -> Duration {
        let mut origins = std::mem::take(&mut self.origins);
        for origin in &mut origins {
            origin.ordered = true;
            self.terminate(origin, now);
        }
        self.origins = origins;
        // The kernel needs a moment after SIGKILL.
        self.config.stop_timeout + Duration::from_secs(2)
    }

    fn terminate(&self, origin: &mut Origin, now: Timestamp) {
        if origin.stopping.is_none() {
            origin.stopping = Some(Stopping { since: now, killed: false });
            origin.probe = None;
            self.count("stop");
            // Before the signal: a later run must not take it for one that serves.
            origin.record.stopping_at = Some(now);
            self.save(&origin.record);
            self.send(&origin.record.identity, Signal::Terminate);
        }
    }

    fn send(&self, identity: &Identity, signal: Signal) {
        // Looked at just before: the number may belong to someone else by now.
        if identity.is_alive()
            && let Err(error) = signal::send(identity.pid, signal)
        {
            tracing::error!(pool = self.pool, pid = identity.pid, %error, "origin cannot be signalled");
        }
    }

    fn save(&self, record: &Record) {
        if let Err(error) = self.records.write(record) {
            tracing::error!(pool = self.pool, address = %record.address, %error, "state cannot be written");
        }
    }

    fn failed(&mut self, action: &'static str, now: Timestamp) {
        let wait = BACKOFF.0.saturating_mul(1 << self.failures.min(10)).min(BACKOFF.1);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(stamp::later(now, wait));
        metrics::counter!("forebay_aggregator_actuator_failures_total",
            "pool" => self.pool.clone(), "action" => action)
        .increment(1);
    }

    fn count(&self, action: &'static str) {
        metrics::counter!("forebay_aggregator_actuator_actions_total",
            "pool" => self.pool.clone(), "action" => action)
        .increment(1);
    }

    fn took(&self, action: &'static str, time: Duration) {
        metrics::histogram!("forebay_aggregator_actuator_seconds",
            "pool" => self.pool.clone(), "action" => action)
        .record(time.as_secs_f64());
    }
}

impl Origin {
    fn is_alive(&mut self) -> bool {
        match &mut self.child {
            // An error here means that the child cannot be waited for; its file tells then.
            Some(child) => match child.try_wait() {
                Ok(ended) => ended.is_none(),
                Err(_) => self.record.identity.is_alive(),
            },
            None => self.record.identity.is_alive(),
        }
    }
}
