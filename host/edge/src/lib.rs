//! The data plane: requests -> plugins -> origins. One worker per core: one thread, one
//! current-thread runtime, its own listener (`SO_REUSEPORT`), plugin instances and origin
//! connections. No lock is held across a plugin or an await.
//!
//! The path of a request, in order:
//!
//! - [`listen`]: accept, TLS, connection permit
//! - [`serve`]: HTTP in; takes the current [`snapshot`] once for each request
//! - [`route`]: finds the route; pure
//! - [`exchange`]: the state of one exchange; implements `abi::Host`
//! - [`instances`]: this worker's warm instances of each plugin; [`starter`]: where they are started
//! - [`chain`]: tells each plugin the events, in order; [`life`]: whether it serves or is disabled
//! - [`origin`]: picks an origin, connects, sends, retries what may be; health; warm-up
//! - [`reject`]: the only place where a refusal becomes a status, a body and a detail
//! - [`telemetry`]: one outcome per exchange
//!
//! Beside it: [`worker`] (what a thread owns), [`wheel`] (its timers), [`clock`], [`plugins`] (loaded code), [`source`]
//! (modules that are fetched), `reload`, [`body`],
//! [`callout`], [`event_stream`], [`state`] (what plugins of all workers share: [`dict`],
//! [`queue`], [`limit`]), [`share`], [`tokens`], [`secret`], [`kv`], [`membership`] and `report` (the
//! aggregator), [`scripts`] (policy plugins, for the aggregator of the process), `admin`, `certificate`, [`stage`] (plugins tried in memory), [`self_test`] (before a plugin serves).

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use tokio::sync::watch;

pub mod admin;
pub mod body;
pub mod callout;
mod certificate;
pub mod chain;
pub mod clock;
pub mod control;
pub mod dict;
pub mod event_stream;
pub mod exchange;
pub mod instances;
pub mod kv;
pub mod life;
pub mod limit;
mod link;
pub mod listen;
mod lru;
pub mod membership;
pub mod origin;
pub mod plugins;
pub mod queue;
pub mod reject;
mod reload;
pub mod report;
pub mod route;
pub mod scale;
pub mod scripts;
pub mod secret;
pub mod self_test;
pub mod serve;
pub mod share;
pub mod snapshot;
pub mod source;
pub mod stage;
pub mod starter;
pub mod state;
pub mod stream;
pub mod telemetry;
pub mod tokens;
pub mod wheel;
pub mod worker;

use control::Control;
use reload::Reloads;
use source::Sources;
use starter::Starter;
use worker::Shared;

/// A running edge.
pub struct Edge {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    workers: Vec<JoinHandle<usize>>,
    control: Control,
    reloads: Arc<Reloads>,
}

/// What the binary hands in.
pub struct Options {
    /// Renders `/metrics`; the binary has installed the recorder.
    pub metrics: metrics_exporter_prometheus::PrometheusHandle,
    /// Whether a reload plays the `spec.yaml` of plugins that are new or have changed.
    pub self_test: bool,
}

/// Everything that kept the edge from starting, or a reload from being taken; exit code 64.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", errors.join("\n"))]
pub struct StartError {
    pub errors: Vec<String>,
}

impl Edge {
    /// Loads all plugins (for modules that are fetched it waits as long as the region says), binds all
    /// ports, starts all workers, in that order: nothing is bound if anything is wrong. `region.edge` must be present.
    pub fn start(region: Arc<config::Region>, options: Options) -> Result<Edge, StartError> {
        let edge = region.edge.clone().ok_or_else(|| StartError::one("the file has no section `edge`"))?;
        let count = edge.workers.max(1);
        let sources = Sources::default();
        sources.gather(&region);
        let find = |remote: &Arc<config::Remote>| sources.find(remote);
        let plugins = plugins::load_found(&region, None, &plugins::code::load, &find)?;
        sources.loaded(plugins.fetched());
        let mut shared = Shared { sources, ..Shared::new(&region, plugins, count)? };
        let starter = Starter::new(shared.state.clone())
            .map_err(|error| StartError::one(&format!("the threads that start plugins: {error}")))?;
        starter.prepare(&shared.snapshot.load().plugins, None, count);
        shared.starter = Some(starter);
        let shared = Arc::new(shared);
        let (addresses, listeners) = bind_all(&edge, count)?;
        let admin = edge.admin.map(bind_admin).transpose()?;
        let control = control::start(shared.clone(), options.metrics, admin)
            .map_err(|error| StartError::one(&format!("the control thread did not start: {error}")))?;
        let (stop, _) = watch::channel(false);
        let mut workers = Vec::with_capacity(count);
        for (id, listeners) in listeners.into_iter().enumerate() {
            let (shared, stop) = (shared.clone(), stop.subscribe());
            let thread = std::thread::Builder::new().name(format!("worker-{id}")).stack_size(worker::STACK);
            let started = thread.spawn(move || worker::run(id, shared, listeners, stop));
            workers.push(started.map_err(|error| StartError::one(&format!("worker {id}: {error}")))?);
        }
        let reloads = Arc::new(Reloads::new(shared.clone(), options.self_test));
        let arrival = Arc::downgrade(&reloads);
        shared.sources.on_arrival(move || arrival.upgrade().iter().for_each(|reloads| reloads.take_arrived()));
        // What came since the plugins were loaded.
        reloads.take_arrived();
        Ok(Edge { shared, addresses, stop, workers, control, reloads })
    }

    /// Checks the plugins of a region without binding or fetching anything, their self-tests included, and the
    /// certificates that it names: for `forebay check`, and before `start`.
    pub fn check(region: &config::Region) -> Result<(), StartError> {
        let mut errors = match &region.edge {
            Some(_) => snapshot::read(region).err().unwrap_or_default(),
            None => Vec::new(),
        };
        match plugins::load(region, None) {
            Ok(plugins) => {
                errors.extend(scripts::check(region, &plugins));
                errors.extend(self_test::errors(region, &plugins, None));
            }
            Err(more) => errors.extend(StartError::from(more).errors),
        }
        if errors.is_empty() { Ok(()) } else { Err(StartError { errors }) }
    }

    /// Where it listens, in the order of the file, with the ports that the system gave.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.control.admin_address()
    }

    /// Checked off to the side (plugins loaded, and tested if they are new), then swapped whole, or
    /// refused while the old one serves on. Listener, admin and worker changes are refused with the reason.
    pub fn reload(&self, region: Arc<config::Region>) -> Result<(), StartError> {
        self.reloads.reload(region).map_err(StartError::from)
    }

    /// Stops accepting, lets exchanges end for at most `region.edge.drain`, then returns. The
    /// number of exchanges that were cut off.
    pub fn drain(self) -> usize {
        self.shared.standing.draining.store(true, Ordering::Relaxed);
        self.stop.send_replace(true);
        self.shared.sources.end();
        // A worker that panicked has cut off what it had, and has said so itself.
        let cut = self.workers.into_iter().map(|worker| worker.join().unwrap_or(0)).sum();
        // Last, so that `/readyz` and reports tell of the drain while it lasts.
        self.control.stop();
        cut
    }
}

impl StartError {
    fn one(error: &str) -> StartError {
        StartError { errors: vec![error.to_string()] }
    }
}

impl From<Vec<String>> for StartError {
    fn from(errors: Vec<String>) -> StartError {
        StartError { errors }
    }
}

/// The addresses, and for each worker its listeners in the order of the file.
fn bind_all(edge: &config::Edge, workers: usize) -> Result<(Vec<SocketAddr>, Vec<Vec<TcpListener>>), StartError> {
    let mut addresses = Vec::new();
    let mut listeners: Vec<Vec<TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
    let mut errors = Vec::new();
    for listener in &edge.listeners {
        match listen::bind(listener.address, workers) {
            Ok((address, sockets)) => {
                addresses.push(address);
                listeners.iter_mut().zip(sockets).for_each(|(of_worker, socket)| of_worker.push(socket));
            }
            Err(error) => errors.push(format!("cannot listen on {}: {error}", listener.address)),
        }
    }
    if errors.is_empty() { Ok((addresses, listeners)) } else { Err(StartError { errors }) }
}

fn bind_admin(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).map_err(|error| StartError::one(&format!("cannot listen on {address} (admin): {error}")))
}
