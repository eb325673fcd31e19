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
//! - [`instances`]: this worker's warm instances of each plugin
//! - [`chain`]: tells each plugin the events, in order; [`life`]: whether it serves or is disabled
//! - [`origin`]: picks an origin, connects, sends, retries what may be; health; warm-up
//! - [`reject`]: the only place where a refusal becomes a status, a body and a detail
//! - [`telemetry`]: one outcome per exchange
//!
//! Beside it: [`worker`] (what a thread owns), [`wheel`] (its timers), [`clock`], [`plugins`] (loaded code), [`body`],
//! [`callout`], [`event_stream`], [`state`] (what plugins of all workers share: [`dict`],
//! [`queue`], [`limit`]), [`tokens`], [`secret`], [`kv`], [`membership`] and `report` (the
//! aggregator), `admin`, [`stage`] (plugins tried in memory), [`self_test`] (before a plugin serves).

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::watch;

pub mod admin;
pub mod body;
pub mod callout;
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
pub mod report;
pub mod route;
pub mod scale;
pub mod secret;
pub mod self_test;
pub mod serve;
pub mod snapshot;
pub mod stage;
pub mod state;
pub mod stream;
pub mod telemetry;
pub mod tokens;
pub mod wheel;
pub mod worker;

use control::Control;
use snapshot::Snapshot;
use worker::Shared;

/// A running edge.
pub struct Edge {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    workers: Vec<JoinHandle<usize>>,
    control: Control,
    self_test: bool,
    /// One reload at a time.
    reloading: Mutex<()>,
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
    /// Loads all plugins, binds all ports, starts all workers, in that order: nothing is bound
    /// if anything is wrong. `region.edge` must be present.
    pub fn start(region: Arc<config::Region>, options: Options) -> Result<Edge, StartError> {
        let edge = region.edge.clone().ok_or_else(|| StartError::one("the file has no section `edge`"))?;
        let count = edge.workers.max(1);
        let plugins = plugins::load(&region, None)?;
        let shared = Arc::new(Shared::new(&region, plugins, count)?);
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
        Ok(Edge { shared, addresses, stop, workers, control, self_test: options.self_test, reloading: Mutex::new(()) })
    }

    /// Checks the plugins of a region without binding anything, their self-tests included: for
    /// `forebay check`, and before `start`.
    pub fn check(region: &config::Region) -> Result<(), StartError> {
        let plugins = plugins::load(region, None)?;
        let errors = self_test::errors(region, &plugins, None);
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
        let _one = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.shared.snapshot.load_full();
        let errors = unchangeable(&before.region, &region);
        if !errors.is_empty() {
            return Err(StartError { errors });
        }
        let plugins = plugins::load(&region, Some(&before.plugins))?;
        if self.self_test {
            let errors = self_test::errors(&region, &plugins, Some(&before.plugins));
            if !errors.is_empty() {
                return Err(StartError { errors });
            }
        }
        let read = snapshot::read(&region)?;
        // Nothing can fail from here on.
        plugins.settle(&region);
        self.shared.ledger.set_access(region.log.access);
        self.shared.state.configure(&region);
        self.shared.membership.reload(&region, Instant::now());
        let snapshot = Snapshot::with(region, plugins, read, &self.shared.membership);
        self.shared.snapshot.store(Arc::new(snapshot));
        Ok(())
    }

    /// Stops accepting, lets exchanges end for at most `region.edge.drain`, then returns. The
    /// number of exchanges that were cut off.
    pub fn drain(self) -> usize {
        self.shared.standing.draining.store(true, Ordering::Relaxed);
        self.stop.send_replace(true);
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

/// What a running edge cannot take from a new file.
fn unchangeable(before: &config::Region, after: &config::Region) -> Vec<String> {
    let (Some(before), Some(after)) = (&before.edge, &after.edge) else {
        return vec!["the section `edge` cannot be taken out of a running edge".into()];
    };
    let mut errors = Vec::new();
    let mut refuse = |what: &str, was: String, is: String| {
        if was != is {
            errors.push(format!("{what} cannot change while the edge runs (was {was}, is {is}): restart it"));
        }
    };
    let listeners = |edge: &config::Edge| {
        let one =
            |l: &config::Listener| format!("{} http1={} http2={} tls={}", l.address, l.http1, l.http2, l.tls.is_some());
        edge.listeners.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    refuse("edge.listeners", listeners(before), listeners(after));
    refuse("edge.admin", format!("{:?}", before.admin), format!("{:?}", after.admin));
    refuse("edge.workers", before.workers.to_string(), after.workers.to_string());
    errors
}
