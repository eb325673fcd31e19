//! What a fault costs an exchange: its own, found by the engine or the edge, or another's that has ended the
//! instance which both were in.

use std::time::Duration;

use abi::{Fault, Phase, Verdict};
use config::FaultPolicy;

use super::{Role, Slot};
use crate::clock;
use crate::exchange::{Exchange, Stop};
use crate::reject::Reject;

impl Slot {
    /// The plugin failed: it is told nothing more. Its policy decides about the exchange.
    pub fn fail(&self, fault: &Fault, callback: &'static str) -> Result<(), Stop> {
        report(&self.role, &self.exchange, &self.placed(fault), callback);
        // What fails when the exchange is over has cost nobody anything.
        if self.seat.phase.get() != Phase::Log {
            self.role.fault(fault.cpu + self.lost());
        }
        let edited = self.seat.windows.iter().any(|window| window.changed.get());
        self.close();
        self.end(fault, edited)
    }

    /// CPU time of the start of its instance, if this fault has ended that.
    pub(super) fn lost(&self) -> Duration {
        self.lease.borrow().as_ref().map_or(Duration::ZERO, |lease| lease.running().lost())
    }

    /// The fault of another exchange that has ended the instance which this one is in too.
    pub(in crate::chain) fn orphaned(&self) -> Option<Verdict> {
        self.lease.borrow().as_ref()?.running().ended()
    }

    /// Its instance is gone, for what another exchange did: it ends by its policy, and counts apart from
    /// faults, and not against the crash budget, where the cause has been counted.
    #[cold]
    pub(super) fn lose(&self, cause: Verdict, callback: &'static str) -> Result<(), Stop> {
        let Slot { role, exchange, .. } = self;
        let settings = &role.bound().settings;
        exchange.worker.telemetry.plugin_collateral(&settings.plugin, cause);
        role.life.record.add_collateral();
        tracing::info!(
            target: "forebay::fault", plugin = &*settings.plugin, version = &*settings.version,
            route = &*exchange.route.name, request_id = &*exchange.id, callback, cause = cause.name(),
            "collateral: the fault of another exchange ended the instance"
        );
        let edited = self.seat.windows.iter().any(|window| window.changed.get());
        self.close();
        self.end(&Fault::new(cause, "the fault of another exchange"), edited)
    }

    /// Its policy decides about the exchange.
    fn end(&self, fault: &Fault, edited: bool) -> Result<(), Stop> {
        self.exchange.answer.borrow_mut().take();
        let refused = judge(&self.role, fault, edited);
        match (refused, &*self.undo.borrow()) {
            (Err(Stop::Reject(reject)), Some(_)) => Err(Stop::TakeOver { slot: self.index, reject }),
            (judged, _) => judged,
        }
    }

    /// A fault that the edge itself found has the place where the plugin waits.
    pub(super) fn placed(&self, fault: &Fault) -> Fault {
        let lease = self.lease.borrow();
        let trace = || lease.as_ref().and_then(|lease| lease.running().trace(self.context));
        Fault { trace: fault.trace.clone().or_else(trace), ..fault.clone() }
    }
}

/// Logs a fault, notes it and counts it, apart from the crash budget.
pub fn report(role: &Role, exchange: &Exchange, fault: &Fault, callback: &'static str) {
    let settings = &role.bound().settings;
    exchange.worker.telemetry.plugin_fault(&settings.plugin, fault.verdict);
    role.life.record.add(fault, callback, &settings.version, &exchange.id, clock::wall());
    tracing::warn!(
        target: "forebay::fault", plugin = &*settings.plugin, version = &*settings.version,
        route = &*exchange.route.name, request_id = &*exchange.id, callback, verdict = fault.verdict.name(),
        trace = fault.trace.as_deref().unwrap_or_default(), "{}", fault.message
    );
}

/// What a fault means for the exchange, where no other version takes it over.
pub fn judge(role: &Role, fault: &Fault, edited: bool) -> Result<(), Stop> {
    match role.life.policy() {
        FaultPolicy::Open if !edited => Ok(()),
        FaultPolicy::Open | FaultPolicy::Closed | FaultPolicy::LastGood => {
            Err(Stop::Reject(Reject::PluginFault { plugin: role.life.plugin().clone(), verdict: fault.verdict }))
        }
    }
}
