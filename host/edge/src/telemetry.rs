//! What an exchange leaves behind: counters, latency, in-flight, the access line. Worker-local;
//! metric handles are registered once.
//!
//! - this file: [`Telemetry`], which one worker owns, and [`Outcome`]
//! - [`exchange`]: one request to a pool, counted whatever becomes of it
//! - [`ledger`]: what all workers counted, added up for readers
//! - [`load`]: the counts of a pool and of an origin, as reports need them
//! - [`describe`](describe()), [`buckets`]: for the binary, which installs the recorder

pub mod exchange;
pub mod ledger;
pub mod load;

use std::cell::RefCell;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use abi::Verdict;
use metrics::{Counter, Histogram, counter, histogram};
use rustc_hash::FxBuildHasher;

pub use exchange::PoolExchange;
pub use ledger::{Held, Ledger, PluginWork};

use crate::membership::PoolMembers;
use ledger::PluginTally;
use load::Tally;

/// One worker's telemetry. What it hands out stays on the worker's thread.
pub struct Telemetry {
    worker: usize,
    ledger: Arc<Ledger>,
    /// By route name; the empty name stands for requests that no route matched.
    routes: RefCell<HashMap<Arc<str>, RouteMetrics>>,
    /// Looked at for each callback; the names are the configuration's, no flood to guard against.
    plugins: RefCell<HashMap<Arc<str>, PluginLocal, FxBuildHasher>>,
    unrouted: Arc<str>,
    local: PhantomData<Rc<()>>,
}

/// How an exchange ended. One per exchange, given when the response body has ended or was
/// dropped.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub request_id: Arc<str>,
    /// `None` if no route matched.
    pub route: Option<Arc<str>>,
    pub pool: Option<Arc<str>>,
    pub origin: Option<SocketAddr>,
    pub remote: SocketAddr,
    pub method: http::Method,
    pub path: String,
    pub host: String,
    pub version: http::Version,
    pub status: u16,
    /// Name of the `Reject`, if it was one.
    pub reject: Option<&'static str>,
    /// The operator's text: plugin and verdict, what the origin did.
    pub detail: Option<String>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// From the request's headers to the end of the response body.
    pub duration: Duration,
    /// The client went away before the end.
    pub aborted: bool,
}

/// The metrics of one route, as this worker has met them. The lists are short: a handful of
/// pools and status codes.
struct RouteMetrics {
    requests: Vec<(Option<Arc<str>>, u16, Counter)>,
    rejects: Vec<(&'static str, Counter)>,
    duration: Histogram,
    received: Counter,
    sent: Counter,
}

struct PluginLocal {
    tally: Arc<PluginTally>,
    calls: Vec<(&'static str, Arc<Tally>)>,
}

impl Telemetry {
    /// `worker` is below the number of workers of the ledger and of the memberships.
    pub fn new(worker: usize, ledger: Arc<Ledger>) -> Telemetry {
        Telemetry {
            worker,
            ledger,
            routes: RefCell::default(),
            plugins: RefCell::default(),
            unrouted: "".into(),
            local: PhantomData,
        }
    }

    pub fn outcome(&self, outcome: &Outcome) {
        let name = outcome.route.as_ref().unwrap_or(&self.unrouted);
        let mut routes = self.routes.borrow_mut();
        if !routes.contains_key(name) {
            routes.insert(name.clone(), RouteMetrics::new(name));
        }
        routes.get_mut(name).expect("inserted above").count(name, outcome);
        drop(routes);
        if self.ledger.access() {
            outcome.write();
        }
    }

    /// A plugin was called; `took` is time on the worker's thread.
    pub fn plugin_call(&self, plugin: &Arc<str>, callback: &'static str) {
        self.plugin(plugin, |local| local.call(callback));
    }

    pub fn plugin_fault(&self, plugin: &Arc<str>, verdict: Verdict) {
        self.plugin(plugin, |local| local.tally.fault(verdict));
    }

    /// An exchange lost its instance to the fault of another.
    pub fn plugin_collateral(&self, plugin: &Arc<str>, cause: Verdict) {
        self.plugin(plugin, |local| local.tally.collateral(cause));
    }

    /// There was no room for one more instance.
    pub fn plugin_crowded(&self, plugin: &Arc<str>) {
        self.plugin(plugin, |local| local.tally.crowded());
    }

    /// A callback of the background waits for the plugin's share of the worker.
    pub fn plugin_delayed(&self, plugin: &Arc<str>) {
        self.plugin(plugin, |local| local.tally.delayed());
    }

    pub fn instance_made(&self, plugin: &Arc<str>) {
        self.plugin(plugin, |local| local.tally.instance_made());
    }

    pub fn instance_dropped(&self, plugin: &Arc<str>) {
        self.plugin(plugin, |local| local.tally.instance_dropped());
    }

    /// What instances of a plugin have done on this worker since it was last told.
    pub fn plugin_worked(&self, plugin: &Arc<str>, cpu: Duration, collections: u64) {
        self.plugin(plugin, |local| local.tally.worked(cpu, collections));
    }

    /// What the instances of each plugin hold on this worker now.
    pub fn plugins_hold(&self, held: &HashMap<Arc<str>, Held>) {
        for plugin in held.keys() {
            self.plugin(plugin, |_| ());
        }
        for (plugin, local) in &*self.plugins.borrow() {
            local.tally.holds(held.get(plugin).copied().unwrap_or_default());
        }
    }

    /// A request wants an origin of `pool`.
    pub fn pool_started(&self, pool: &Arc<PoolMembers>) -> PoolExchange {
        PoolExchange::new(pool.clone(), self.worker)
    }

    /// A client connection was accepted; it is open until the guard drops.
    pub fn connection_opened(&self) -> OpenConnection {
        let line = self.ledger.worker(self.worker);
        line.connections_accepted.add(1);
        line.connections_open.add(1);
        OpenConnection { ledger: self.ledger.clone(), worker: self.worker, local: PhantomData }
    }

    /// An exchange with a client began; it is in flight until the guard drops.
    pub fn exchange_started(&self) -> InFlight {
        self.ledger.worker(self.worker).in_flight.add(1);
        InFlight { ledger: self.ledger.clone(), worker: self.worker, local: PhantomData }
    }

    fn plugin(&self, plugin: &Arc<str>, with: impl FnOnce(&mut PluginLocal)) {
        let mut plugins = self.plugins.borrow_mut();
        if let Some(local) = plugins.get_mut(plugin) {
            return with(local);
        }
        let tally = self.ledger.plugin(plugin, self.worker);
        with(plugins.entry(plugin.clone()).or_insert(PluginLocal { tally, calls: Vec::new() }));
    }
}

/// A client connection, while it is open.
pub struct OpenConnection {
    ledger: Arc<Ledger>,
    worker: usize,
    local: PhantomData<Rc<()>>,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.ledger.worker(self.worker).connections_open.sub(1);
    }
}

/// An exchange with a client, until its response body has ended.
pub struct InFlight {
    ledger: Arc<Ledger>,
    worker: usize,
    local: PhantomData<Rc<()>>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.ledger.worker(self.worker).in_flight.sub(1);
    }
}

impl PluginLocal {
    fn call(&mut self, callback: &'static str) {
        if let Some((_, tally)) = self.calls.iter().find(|(name, _)| *name == callback) {
            return tally.add(1);
        }
        let tally = self.tally.call(callback);
        tally.add(1);
        self.calls.push((callback, tally));
    }
}

impl RouteMetrics {
    fn new(route: &Arc<str>) -> RouteMetrics {
        RouteMetrics {
            requests: Vec::new(),
            rejects: Vec::new(),
            duration: histogram!("forebay_request_duration_seconds", "route" => route.clone()),
            received: counter!("forebay_received_bytes_total", "route" => route.clone()),
            sent: counter!("forebay_sent_bytes_total", "route" => route.clone()),
        }
    }

    fn count(&mut self, route: &Arc<str>, outcome: &Outcome) {
        let known = self.requests.iter().find(|(pool, status, _)| *status == outcome.status && *pool == outcome.pool);
        match known {
            Some((_, _, counter)) => counter.increment(1),
            None => {
                let pool: Arc<str> = outcome.pool.clone().unwrap_or_default();
                let counter = counter!("forebay_requests_total", "route" => route.clone(), "pool" => pool,
                    "code" => outcome.status.to_string());
                counter.increment(1);
                self.requests.push((outcome.pool.clone(), outcome.status, counter));
            }
        }
        self.duration.record(outcome.duration.as_secs_f64());
        self.received.increment(outcome.bytes_in);
        self.sent.increment(outcome.bytes_out);
        let Some(reject) = outcome.reject else { return };
        match self.rejects.iter().find(|(name, _)| *name == reject) {
            Some((_, counter)) => counter.increment(1),
            None => {
                let counter = counter!("forebay_rejects_total", "reject" => reject, "route" => route.clone());
                counter.increment(1);
                self.rejects.push((reject, counter));
            }
        }
    }
}

impl Outcome {
    /// The access line.
    fn write(&self) {
        tracing::info!(
            target: "forebay::access",
            request_id = &*self.request_id,
            route = self.route.as_deref(),
            pool = self.pool.as_deref(),
            origin = self.origin.map(tracing::field::display),
            remote = %self.remote,
            method = self.method.as_str(),
            path = self.path,
            host = self.host,
            version = ?self.version,
            status = self.status,
            reject = self.reject,
            detail = self.detail.as_deref(),
            bytes_in = self.bytes_in,
            bytes_out = self.bytes_out,
            duration_ms = (self.duration.as_secs_f64() * 1e6).round() / 1e3,
            aborted = self.aborted,
        );
    }
}

/// Bounds of the duration histograms, in seconds: from a cached answer to a slow export.
pub fn buckets() -> &'static [f64] {
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0]
}

/// The names of the histograms that [`buckets`] are for all end so.
pub const HISTOGRAM_SUFFIX: &str = "_seconds";

/// Gives the recorder the help text of each metric. Call it once, after installing it.
pub fn describe() {
    use metrics::{describe_counter as c, describe_gauge as g, describe_histogram as h};
    c!("forebay_requests_total", "Exchanges that ended, by route, pool and status code");
    h!("forebay_request_duration_seconds", "From request headers to the end of the response body");
    c!("forebay_rejects_total", "Requests that the edge refused, by reason");
    c!("forebay_received_bytes_total", "Request body bytes");
    c!("forebay_sent_bytes_total", "Response body bytes");
    g!("forebay_in_flight", "Exchanges with clients now");
    g!("forebay_connections_open", "Client connections now");
    c!("forebay_connections_accepted_total", "Client connections accepted");
    g!("forebay_dict_bytes", "Keys and values that a dictionary of plugins holds, with 64 bytes for each entry");
    g!("forebay_dict_entries", "Entries of a dictionary of plugins");
    c!("forebay_dict_evictions_total", "Entries that went to make room, used longest ago");
    g!("forebay_queue_items", "Items of a queue of plugins");
    g!("forebay_queue_bytes", "Bytes of the items of a queue of plugins");
    c!("forebay_queue_pushed_total", "Items that were pushed to a queue of plugins");
    c!("forebay_queue_refused_total", "Pushes to a queue of plugins that was full");
    g!("forebay_limit_keys", "Keys of a token bucket that are kept, those that are not full among them");
    c!("forebay_limit_tokens_total", "Tokens that were taken from a token bucket, or reserved");
    c!("forebay_limit_returned_tokens_total", "Tokens of a token bucket that leases gave back, as they used less");
    c!("forebay_limit_denied_total", "Takes and reservations that a token bucket did not allow");
    c!(
        "forebay_limit_evictions_total",
        "Keys of a token bucket that went to make room, used longest ago, and are full again"
    );
    c!(
        "forebay_limit_leases_total",
        "Reservations of a token bucket by how they ended: committed, released, left open"
    );
    c!("forebay_kv_calls_total", "Calls to key-value stores, by store, call and how they ended");
    h!("forebay_kv_duration_seconds", "Wait for a key-value store, connecting included");
    g!("forebay_kv_breaker_open", "Workers that have given a key-value store up for now");
    c!("forebay_pool_requests_total", "Requests offered to a pool, refused ones included");
    c!("forebay_pool_rejects_total", "Requests offered to a pool that the edge refused or an origin shed");
    c!("forebay_pool_errors_total", "Requests offered to a pool that were answered with 500 and up, or not at all");
    g!("forebay_pool_in_flight", "Exchanges with origins of a pool now");
    g!("forebay_pool_origins", "Origins of a pool, by stage and health");
    c!("forebay_origin_requests_total", "Attempts of requests that went to origins of a pool");
    c!("forebay_origin_failures_total", "Attempts at origins of a pool without an answer");
    c!("forebay_origin_retries_total", "Attempts at origins of a pool after a failed one");
    h!("forebay_origin_latency_seconds", "From an attempt at an origin to the first byte of its answer");
    c!("forebay_health_changes_total", "Origins that became healthy or unhealthy");
    c!("forebay_warmup_requests_total", "Warm-up requests sent to origins, by result");
    c!("forebay_reports_total", "Reports that an edge sent to aggregators, by result");
    c!("forebay_memberships_total", "Memberships of pools that an edge received from aggregators, by result");
}
