//! The data plane: requests -> plugins -> origins. One worker per core: one thread, one
//! current-thread runtime, its own listener (`SO_REUSEPORT`), plugin instances and origin
//! connections. No lock is held across a plugin or an await.
//!
//! The path of a request, in order:
//!
//! - `listen`: accept, TLS, connection permit
//! - [`serve`]: HTTP in; takes the current [`snapshot`] once for each request
//! - [`route`]: finds the route; pure
//! - [`exchange`]: the state of one exchange; implements `abi::Host`
//! - [`instances`]: this worker's warm instances of each plugin
//! - [`chain`]: tells each plugin the events, in order
//! - [`origin`]: picks an origin, connects, sends, retries what may be; health; warm-up
//! - [`reject`]: the only place where a refusal becomes a status, a body and a detail
//! - [`telemetry`]: one outcome per exchange
//!
//! Beside it: [`worker`] (what a thread owns), [`plugins`] (loaded code), [`body`], [`callout`],
//! [`dict`], [`membership`] and `report` (the aggregator), `admin`.

use std::net::SocketAddr;
use std::sync::Arc;

pub mod admin;
pub mod body;
pub mod callout;
pub mod chain;
pub mod control;
pub mod dict;
pub mod exchange;
pub mod instances;
mod link;
pub mod membership;
pub mod origin;
pub mod plugins;
pub mod reject;
pub mod report;
pub mod route;
pub mod serve;
pub mod snapshot;
pub mod telemetry;
pub mod worker;

/// A running edge.
pub struct Edge {}

/// What the binary hands in.
pub struct Options {
    /// Renders `/metrics`; the binary has installed the recorder.
    pub metrics: metrics_exporter_prometheus::PrometheusHandle,
}

/// Everything that kept the edge from starting, or a reload from being taken; exit code 64.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", errors.join("\n"))]
pub struct StartError {
    pub errors: Vec<String>,
}

impl Edge {
    /// Loads all plugins, binds all ports, starts all workers, in that order: nothing is bound
    /// if anything is wrong. `region.edge` must be present.
    pub fn start(_region: Arc<config::Region>, _options: Options) -> Result<Edge, StartError> {
        Err(StartError { errors: vec!["the edge is not built yet".into()] })
    }

    /// Checks the plugins of a region without binding anything (for `forebay check`).
    pub fn check(region: &config::Region) -> Result<(), StartError> {
        plugins::load(region, None).map(|_| ()).map_err(|errors| StartError { errors })
    }

    /// Where it listens, in the order of the file, with the ports that the system gave.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        Vec::new()
    }

    pub fn admin_address(&self) -> Option<SocketAddr> {
        None
    }

    /// Checked off to the side (plugins loaded), then swapped whole, or refused while the old
    /// one serves on. Listener, admin and worker changes are refused with the reason.
    pub fn reload(&self, _region: Arc<config::Region>) -> Result<(), StartError> {
        Err(StartError { errors: Vec::new() })
    }

    /// Stops accepting, lets exchanges end for at most `region.edge.drain`, then returns. The
    /// number of exchanges that were cut off.
    pub fn drain(self) -> usize {
        0
    }
}
