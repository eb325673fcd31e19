//! What a region file means. A value of these types has been checked: every name resolves,
//! every pattern compiles, every bound holds. Defaults stand here, and nowhere else: each with its
//! noun, in a file of this folder.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::calendar::Calendar;

mod actuator;
mod aggregator;
mod budget;
mod digest;
mod edge;
mod hints;
mod kv;
mod lead;
mod lease;
mod log;
mod mode;
mod plugin;
mod pool;
mod remote;
mod route;
mod scaling;
mod scaling_budget;
mod schedule;
mod secret;
mod signal;
mod state;
mod steps;
mod target;
mod tls;
mod warm_pool;

pub use actuator::{Actuator, ProcessActuator};
pub use aggregator::{Aggregator, History, Journal};
pub use budget::CrashBudget;
pub use edge::{Edge, EdgeLimits, Listener};
pub use hints::{HintKind, Hints};
pub use kv::{Kv, KvBreaker, KvPassword, KvServers};
pub use lead::LeadBounds;
pub use lease::Lease;
pub use log::{Log, LogFormat};
pub use mode::ScalingMode;
pub use plugin::{FaultPolicy, Isolation, LimitMode, Plugin, PluginCode, PluginLimits};
pub use pool::{Balance, HealthCheck, Pool, PoolTimeouts, Warmup};
pub use remote::{Login, PublicKey, Remote, RemoteAt};
pub use route::{DirectResponse, HeaderMatch, PathMatch, Route, RoutePlugin, RouteTo, ValueMatch};
pub use scaling::{Predictive, Reactive, Scaling};
pub use scaling_budget::{Aim, Money, Monthly, ScalingBudget};
pub use schedule::{DayName, Rank, Schedule, When};
pub use secret::{Secret, SecretSource, SecretValue};
pub use signal::{Learn, Over, Per, PluginMetric, Scrape, Signal, SignalSource};
pub use state::{Bucket, Dict, Queue};
pub use steps::{Step, Steps};
pub use target::{Target, TargetTls, TargetTo};
pub use tls::{ClientCertificate, Tls, TlsClients};
pub use warm_pool::{WarmPool, WarmSize};

/// A whole file.
#[derive(Clone, Debug)]
pub struct Region {
    /// Present if this process runs an edge.
    pub edge: Option<Edge>,
    /// Present if this process runs the aggregator.
    pub aggregator: Option<Aggregator>,
    pub log: Log,
    /// By name.
    pub secrets: BTreeMap<String, Arc<Secret>>,
    /// By name.
    pub plugins: BTreeMap<String, Arc<Plugin>>,
    /// In the order of the file: the first that matches, of the most specific path, wins.
    pub routes: Vec<Arc<Route>>,
    /// By name.
    pub pools: BTreeMap<String, Arc<Pool>>,
    /// By name; none has the name of a pool.
    pub targets: BTreeMap<String, Target>,
    /// By name; one that is not here has the default.
    pub dicts: BTreeMap<String, Dict>,
    /// By name.
    pub buckets: BTreeMap<String, Bucket>,
    /// By name.
    pub kv: BTreeMap<String, Arc<Kv>>,
    /// By name; one that is not here has the default.
    pub queues: BTreeMap<String, Queue>,
    /// In the order of the file.
    pub calendars: Vec<Arc<Calendar>>,
}

impl Region {
    /// The policy plugins of pools that the aggregator scales, by pool.
    pub fn scripts(&self) -> impl Iterator<Item = (&Pool, &RoutePlugin)> {
        let scripts = |pool| Pool::scripts(pool).iter().map(move |script| (pool, script));
        self.pools.values().map(|pool| &**pool).flat_map(scripts)
    }
}
