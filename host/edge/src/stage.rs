//! A plugin on a stage: the worker, chain, seats and instances of production, with everything
//! around them played in memory. No port is opened, no time passes but the stage's own
//! ([`crate::clock`]), and the same case gives the same result each time. Nothing of it reaches what
//! the process counts and logs: what plugins count is in the state of a case, and the thread has a
//! subscriber of its own.
//!
//! - this file: [`Stage`], which plays the cases of a `spec.yaml`
//! - [`region`]: what a region file would say; [`scene`]: one case: its thread, its client
//! - [`cast`]: who plays the origins and the targets of callouts
//! - [`policy`]: policies of a pool's scaling, which are asked
//! - [`pieces`]: bodies that arrive piece by piece
//! - [`record`]: what the plugin logged and how it failed; [`series`]: what it counted
//! - [`measure`]: what each callback costs
//! - [`verdict`]: what was expected, held against what happened

use std::sync::Arc;
use std::time::{Duration, Instant};

use abi::Plugin;
use config::spec::Case;
use config::{PluginCode, Region};

pub mod cast;
mod grpc;
pub mod measure;
pub mod pieces;
mod policy;
pub mod record;
pub mod region;
pub mod scene;
pub mod series;
pub mod verdict;

use crate::plugins::Plugins;
use measure::Measured;

/// The plugin that is played, as its manifest describes it.
#[derive(Clone, Debug)]
pub struct Role {
    pub name: String,
    pub code: PluginCode,
    pub capabilities: Vec<String>,
    /// Limits of a region file, as JSON.
    pub limits: Option<String>,
}

/// Plays cases, one after another. Loaded code is kept between them.
pub struct Stage {
    role: Role,
    /// In place of what the role's file holds.
    code: Option<Arc<dyn Plugin>>,
    /// When a case that still plays is given up.
    end: Option<End>,
    loaded: Option<Plugins>,
}

/// The end of a stage, in the system's time.
#[derive(Clone, Copy, Debug)]
pub struct End {
    pub limit: Duration,
    pub at: Instant,
}

/// What became of a case.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// What is not as expected; empty if the case passes.
    pub findings: Vec<Finding>,
    /// The same by step, and what the client got in it; none if the plugin did not start.
    pub steps: Vec<Acted>,
    /// Lines of the plugin's log, for whoever looks for the reason.
    pub logs: Vec<String>,
    /// How long it took in the stage's time.
    pub took: Duration,
}

/// What became of one step.
#[derive(Clone, Debug, Default)]
pub struct Acted {
    pub findings: Vec<Finding>,
    /// What came back, or why nothing did; `None` if there was no request.
    pub got: Option<Result<verdict::Got, String>>,
    /// In the stage's time.
    pub took: Duration,
}

/// Something that is not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at: `request header x-user`; with its step, if there are several.
    pub what: String,
    pub expected: String,
    pub found: String,
}

impl Finding {
    pub fn new(what: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> Finding {
        Finding { what: what.into(), expected: expected.into(), found: found.into() }
    }
}

impl Stage {
    pub fn new(role: Role) -> Stage {
        Stage { role, code: None, end: None, loaded: None }
    }

    /// Plays this code, whatever the role's file holds by now.
    pub fn with_code(self, code: Arc<dyn Plugin>) -> Stage {
        Stage { code: Some(code), ..self }
    }

    /// Gives all cases together this much of the system's time from now on: that of a stage is its
    /// own, so a case may never end.
    pub fn within(self, limit: Duration) -> Stage {
        Stage { end: Some(End { limit, at: Instant::now() + limit }), ..self }
    }

    /// Whether the time that it was given is over.
    pub fn is_over(&self) -> bool {
        self.end.is_some_and(|end| Instant::now() >= end.at)
    }

    /// Plays a case on a thread of its own.
    pub fn play(&mut self, case: &Case) -> Played {
        let region = match region::of(&self.role, case) {
            Ok(region) => region,
            Err(errors) => return unfit(&errors),
        };
        let previous = self.loaded.take();
        let terms = scene::Terms { role: &self.role, code: self.code.as_ref(), end: self.end };
        let scene = || scene::play(&terms, case, &region, previous);
        let played = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("stage".into()).stack_size(crate::worker::STACK);
            thread.spawn_scoped(scope, scene).map(|thread| thread.join())
        });
        match played {
            Ok(Ok((played, loaded))) => {
                self.loaded = loaded;
                played
            }
            Ok(Err(_)) => unfit(&["the stage itself panicked: this is our bug".to_owned()]),
            Err(error) => unfit(&[format!("no thread for the stage: {error}")]),
        }
    }

    /// Plays the steps of a case `warmup` times, and then `times` times with each callback measured.
    /// Nothing is held against what the case expects: play it first.
    pub fn bench(&mut self, case: &Case, warmup: u32, times: u32) -> Result<Measured, Vec<String>> {
        let region = region::of(&self.role, case)?;
        let scene = || scene::bench(&self.role, case, &region, warmup, times);
        let measured = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("stage".into()).stack_size(crate::worker::STACK);
            thread.spawn_scoped(scope, scene).map(|thread| thread.join())
        });
        match measured {
            Ok(Ok(measured)) => measured,
            Ok(Err(_)) => Err(vec!["the stage itself panicked: this is our bug".to_owned()]),
            Err(error) => Err(vec![format!("no thread for the stage: {error}")]),
        }
    }

    /// The region that a case makes, as `play` would use it.
    pub fn region(&self, case: &Case) -> Result<Region, Vec<String>> {
        region::of(&self.role, case).map(|region| Region::clone(&region))
    }
}

/// The time that the stage was given is over.
fn given_up(end: Option<End>, seen: &record::Seen) -> Played {
    let limit = end.map(|end| end.limit).unwrap_or_default();
    let finding = Finding::new("the case", format!("an end within {limit:?}, as of all cases"), "none");
    Played { findings: vec![finding], logs: seen.shown(), ..Played::default() }
}

fn unfit(errors: &[String]) -> Played {
    let finding = |error: &String| Finding::new("the case", "a plugin that can be played", error.clone());
    Played { findings: errors.iter().map(finding).collect(), ..Played::default() }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_case_knows_the_verdicts_of_the_abi() {
        assert_eq!(config::spec::VERDICTS, abi::Verdict::ALL.map(abi::Verdict::name));
    }
}
