//! A policy plugin on the stage: asked as the aggregator asks it, by an instance that serves no exchange and lives as
//! long as the case.

use std::rc::Rc;
use std::time::Duration;

use abi::{Callbacks, Fault};
use config::spec::scale::View;

use crate::exchange::scale::Proposed;
use crate::scripts::{Asking, tell_fault};
use crate::worker::Worker;

/// What it said; a fault is in the record.
pub type Said = Result<Option<Proposed>, Fault>;

pub struct Policy(Asking);

impl Policy {
    pub fn new(worker: &Rc<Worker>) -> Policy {
        Policy(Asking::new(&worker.shared.state))
    }

    /// Asks the plugin of `role` at this time, since 1970.
    ///
    /// # Errors
    /// It is no policy.
    pub fn ask(&mut self, worker: &Rc<Worker>, role: &str, view: &View, now: Duration) -> Result<Said, &'static str> {
        let snapshot = worker.snapshot();
        let bound = snapshot.plugins.lives().map(|life| &life.bound).find(|bound| *bound.settings.plugin == *role);
        let Some(bound) = bound.filter(|bound| bound.code.callbacks().contains(Callbacks::AUTOSCALE)) else {
            return Err("it has no autoscale");
        };
        let pool = view.facts.get("pool").and_then(|pool| pool.as_str()).unwrap_or_default();
        let said = self.0.call(bound, &view.at(now).into());
        Ok(said.inspect_err(|fault| tell_fault(pool, bound, fault)))
    }
}
