//! Actuators carry a decided count out and say what runs. They never decide: who stops and how
//! many run is told to them, absolutely, so that telling them twice changes nothing.
//!
//! A new one is a file here, a variant and its arms.

pub mod dry_run;
pub mod process;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use config::region::Actuator as Config;
use jiff::Timestamp;
use scaler::{Observed, Trouble};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::lease::Right;

pub enum Actuator {
    DryRun(dry_run::DryRun),
    Process(Box<process::Process>),
}

impl Actuator {
    /// `wake` is told when something becomes ready.
    pub fn new(pool: &str, config: &Config, clock: Clock, wake: Arc<Notify>) -> Actuator {
        match config {
            Config::DryRun => Actuator::DryRun(dry_run::DryRun::new(pool)),
            Config::Process(config) => {
                let process = process::Process::new(pool.to_string(), config.clone(), clock, wake);
                Actuator::Process(Box::new(process))
            }
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Actuator::DryRun(_) => "dry_run",
            Actuator::Process(_) => "process",
        }
    }

    /// Takes a changed file; `false` if it asks for another kind of actuator.
    pub fn configure(&mut self, config: &Config) -> bool {
        match (self, config) {
            (Actuator::DryRun(_), Config::DryRun) => true,
            (Actuator::Process(process), Config::Process(config)) => process.configure(config),
            _ => false,
        }
    }

    /// All that run, those that were told to stop included until they are gone, and those that an
    /// earlier run left. `None`: it cannot be known now.
    pub fn observe(&mut self, right: Right, now: Timestamp) -> Option<Vec<Observed>> {
        match self {
            Actuator::DryRun(dry) => Some(dry.observe()),
            Actuator::Process(process) => process.observe(right, now),
        }
    }

    /// `stop` shall stop, and `run` origins shall run beside them; nobody stops for who does not lead. Refused, and told, in the name of a token
    /// after which a higher one has acted.
    pub fn set(&mut self, right: Right, run: u32, stop: &[SocketAddr], now: Timestamp) {
        match self {
            Actuator::DryRun(dry) => {
                dry.set(right, run);
            }
            Actuator::Process(process) => process.set(right, run, stop, now),
        }
    }

    /// What could not be done last, until something that was started is ready.
    pub fn trouble(&self) -> Option<Trouble> {
        match self {
            Actuator::DryRun(_) => None,
            Actuator::Process(process) => process.trouble(),
        }
    }

    /// Who is in the warm pool: a later run shall know.
    pub fn note_parked(&mut self, parked: &[SocketAddr]) {
        if let Actuator::Process(process) = self {
            process.note_parked(parked);
        }
    }

    /// Who is going by somebody's word: a later run shall know.
    pub fn note_leaving(&mut self, leaving: &[(SocketAddr, String)]) {
        if let Actuator::Process(process) = self {
            process.note_leaving(leaving);
        }
    }

    /// An origin serves: a later run shall know.
    pub fn note_serving(&mut self, address: SocketAddr, at: Timestamp) {
        if let Actuator::Process(process) = self {
            process.note_serving(address, at);
        }
    }

    /// The highest token that has acted, as far as it is known here; 0 before the first.
    pub fn token(&self) -> u64 {
        match self {
            Actuator::DryRun(dry) => dry.token(),
            Actuator::Process(process) => process.token(),
        }
    }

    /// Tells all to stop, and how long that may take.
    pub fn release(&mut self, right: Right, now: Timestamp) -> Duration {
        match self {
            Actuator::DryRun(_) => Duration::ZERO,
            Actuator::Process(process) => process.release(right, now),
        }
    }
}
