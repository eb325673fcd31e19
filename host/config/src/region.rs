//! What a region file means. A value of these types has been checked: every name resolves,
//! every pattern compiles, every bound holds. Defaults stand here, and nowhere else.
//!
//! One file, past the usual length, as it is one vocabulary: whoever writes an edge, a scaler or a
//! test of them reads all of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::calendar::Calendar;

mod budget;
mod digest;
mod hints;
mod kv;
mod lead;
mod lease;
mod mode;
mod remote;
mod scaling_budget;
mod schedule;
mod secret;
mod signal;
mod state;
mod target;
mod warm_pool;

pub use budget::CrashBudget;
pub use hints::{HintKind, Hints};
pub use kv::{Kv, KvBreaker, KvPassword, KvServers};
pub use lead::LeadBounds;
pub use lease::Lease;
pub use mode::ScalingMode;
pub use remote::{Login, PublicKey, Remote, RemoteAt};
pub use scaling_budget::{Aim, Money, Monthly, ScalingBudget};
pub use schedule::{DayName, Rank, Schedule, When};
pub use secret::{Secret, SecretSource, SecretValue};
pub use signal::{Learn, Over, Per, PluginMetric, Scrape, Signal, SignalSource};
pub use state::{Bucket, Dict, Queue};
pub use target::{Target, TargetTls, TargetTo};
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

#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    pub format: LogFormat,
    /// A `tracing` filter such as `info` or `info,forebay_edge=debug`.
    pub filter: String,
    /// One line per request.
    pub access: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Pretty,
}

impl Default for Log {
    fn default() -> Log {
        Log { format: LogFormat::Json, filter: "info".to_owned(), access: true }
    }
}

#[derive(Clone, Debug)]
pub struct Edge {
    /// Unique in the region; the host's name if the file gives none.
    pub name: String,
    /// Threads, each with its own runtime; 0 in the file means one per core and is resolved.
    pub workers: usize,
    pub listeners: Vec<Listener>,
    pub admin: Option<SocketAddr>,
    /// Where reports go: `http://host:port`. Empty: the origins are those of the file.
    pub aggregators: Vec<String>,
    pub report_interval: Duration,
    pub limits: EdgeLimits,
    /// After SIGTERM: how long exchanges in flight may take to end.
    pub drain: Duration,
}

impl Edge {
    /// One per core.
    pub const WORKERS: u32 = 0;
    pub const REPORT_INTERVAL: Duration = Duration::from_secs(1);
    pub const DRAIN: Duration = Duration::from_secs(30);
}

#[derive(Clone, Debug)]
pub struct Listener {
    pub address: SocketAddr,
    pub http1: bool,
    pub http2: bool,
    pub tls: Option<Tls>,
}

/// The files were read and hold PEM; that they belong together is found by the edge before it
/// binds, and before a reload is taken.
#[derive(Clone, Debug)]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// In the order of preference: `h2`, `http/1.1`.
    pub alpn: Vec<String>,
    /// Without it no client is asked for a certificate.
    pub clients: Option<TlsClients>,
}

/// Whose certificates clients may show.
#[derive(Clone, Debug)]
pub struct TlsClients {
    pub roots: PathBuf,
    pub certificate: ClientCertificate,
}

/// Whether a client needs a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificate {
    #[default]
    Required,
    /// One that it shows is checked all the same.
    Optional,
}

impl ClientCertificate {
    /// As a file spells it.
    pub fn name(self) -> &'static str {
        match self {
            ClientCertificate::Required => "required",
            ClientCertificate::Optional => "optional",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct EdgeLimits {
    /// Bytes of all request headers: 431 past it.
    pub header_bytes: usize,
    /// Number of request headers.
    pub headers: usize,
    /// Bytes of a request body: 413 past it.
    pub body_bytes: u64,
    /// Open client connections per worker; past it the kernel's queue holds them.
    pub connections: usize,
    /// From the first byte of a request to the end of its headers; also the TLS handshake.
    pub header_timeout: Duration,
    /// Between two reads of a request body, and between two writes of a response that the client
    /// does not take.
    pub body_timeout: Duration,
    /// A keep-alive connection without a request.
    pub idle_timeout: Duration,
}

impl Default for EdgeLimits {
    fn default() -> EdgeLimits {
        EdgeLimits {
            header_bytes: 64 << 10,
            headers: 100,
            body_bytes: 64 << 20,
            connections: 16_384,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Aggregator {
    pub address: SocketAddr,
    /// Region name, for journals and metrics.
    pub region: String,
    /// `None` keeps decisions in memory only.
    pub journal: Option<Journal>,
    /// `None` keeps what pools saw in memory only.
    pub history: Option<History>,
    /// How often pools are decided.
    pub tick: Duration,
    /// A report older than this counts for nothing; with none younger the pool holds.
    pub stale_after: Duration,
    /// `None`: there is no other aggregator, and this one acts.
    pub lease: Option<Lease>,
}

impl Aggregator {
    pub const REGION: &str = "local";
    pub const TICK: Duration = Duration::from_secs(1);
    pub const STALE_AFTER: Duration = Duration::from_secs(5);
}

/// Append-only files of decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// The one that is written; full ones stand beside it, with a number behind the name.
    pub path: PathBuf,
    pub file_bytes: u64,
    /// The one that is written included; at least 1.
    pub files: u32,
}

impl Journal {
    pub const FILE_BYTES: u64 = 64 << 20;
    pub const FILES: u32 = 8;

    /// With the defaults.
    pub fn at(path: PathBuf) -> Journal {
        Journal { path, file_bytes: Journal::FILE_BYTES, files: Journal::FILES }
    }
}

/// What pools saw, on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    pub path: PathBuf,
    /// How long points of a minute are kept.
    pub keep: Duration,
}

impl History {
    pub const FILE: &str = "history.redb";
    pub const KEEP: Duration = Duration::from_secs(14 * 86_400);

    /// In the folder of the journal, with the defaults.
    pub fn beside(journal: &Path) -> History {
        History { path: journal.with_file_name(History::FILE), keep: History::KEEP }
    }
}

#[derive(Clone, Debug)]
pub struct Plugin {
    pub name: String,
    pub code: PluginCode,
    /// Given FFI, and the modules of `lua_path`.
    pub trusted: bool,
    pub lua_path: Vec<PathBuf>,
    /// Text for `on_vm_start`.
    pub vm_config: String,
    /// Text for `on_configure` where the route gives none: JSON, or a plain string as written.
    pub config: String,
    pub limits: PluginLimits,
    /// As written, known to the ABI.
    pub capabilities: Vec<String>,
    pub on_fault: FaultPolicy,
    pub isolation: Isolation,
    pub crash_budget: CrashBudget,
}

/// The path is absolute: relative ones in the file are relative to the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginCode {
    Lua(PathBuf),
    Wasm(PathBuf),
    /// Wasm that is fetched.
    Remote(Arc<Remote>),
}

impl PluginCode {
    /// `None` for what is no file.
    pub fn path(&self) -> Option<&Path> {
        match self {
            PluginCode::Lua(path) | PluginCode::Wasm(path) => Some(path),
            PluginCode::Remote(_) => None,
        }
    }

    /// The plugin's own folder, where `plugin.yaml` and `spec.yaml` stand if it has them: that of
    /// the code, or DIR of `DIR/target/forebay/NAME.wasm`. Lua that is not a `main.lua` has none: a
    /// folder may hold many such files.
    pub fn folder(&self) -> Option<&Path> {
        let folder = self.path()?.parent()?;
        match self {
            PluginCode::Lua(path) => path.ends_with("main.lua").then_some(folder),
            PluginCode::Remote(_) => None,
            PluginCode::Wasm(_) if folder.ends_with("target/forebay") => folder.ancestors().nth(2),
            PluginCode::Wasm(_) => Some(folder),
        }
    }
}

/// The same fields and defaults as `abi::Limits` (but `instances`), which this crate may not import; the edge
/// converts, and a test of the edge holds the defaults against each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginLimits {
    pub mode: LimitMode,
    pub cpu: Duration,
    pub start_cpu: Duration,
    pub exchange_cpu: Duration,
    pub background_cpu: Duration,
    pub wall: Duration,
    pub memory: usize,
    /// Of exchanges that have one of their own; the edge's alone.
    pub instances: u32,
    pub buffer: usize,
    pub callouts: u32,
    pub kv_calls: u32,
    pub log_lines: u32,
    pub metrics: u32,
}

impl Default for PluginLimits {
    fn default() -> PluginLimits {
        PluginLimits {
            mode: LimitMode::Enforce,
            cpu: Duration::from_millis(10),
            start_cpu: Duration::from_millis(500),
            exchange_cpu: Duration::from_secs(1),
            background_cpu: Duration::from_millis(100),
            wall: Duration::from_secs(10),
            memory: 32 << 20,
            instances: 1000,
            buffer: 1 << 20,
            callouts: 16,
            kv_calls: 64,
            log_lines: 100,
            metrics: 100,
        }
    }
}

/// What passing a limit means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitMode {
    #[default]
    Enforce,
    /// It is told, and the exchange goes on, up to ten times the limit.
    Shadow,
}

/// What the exchanges of a plugin share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// One instance on each worker: what it keeps in memory outlives an exchange, and a fault that ends
    /// it reaches all that are in flight there.
    #[default]
    Worker,
    /// An instance for each exchange, used once.
    Exchange,
}

impl Isolation {
    /// As a file spells it.
    pub fn name(self) -> &'static str {
        match self {
            Isolation::Worker => "worker",
            Isolation::Exchange => "exchange",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FaultPolicy {
    /// 503 with the plugin and the verdict in the detail.
    #[default]
    Closed,
    /// Go on without the plugin; closed once body bytes were changed.
    Open,
    /// The version before it serves in its place; closed where that cannot be.
    LastGood,
}

impl FaultPolicy {
    /// As a file spells it.
    pub fn name(self) -> &'static str {
        match self {
            FaultPolicy::Closed => "closed",
            FaultPolicy::Open => "open",
            FaultPolicy::LastGood => "last_good",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Route {
    pub name: String,
    /// Lower case, without port. Empty: any. `*.example.com` matches any depth of labels.
    pub hosts: Vec<String>,
    pub path: PathMatch,
    /// Empty: any.
    pub methods: Vec<String>,
    /// All must match.
    pub headers: Vec<HeaderMatch>,
    pub plugins: Vec<RoutePlugin>,
    pub to: RouteTo,
}

#[derive(Clone, Debug)]
pub enum PathMatch {
    Exact(String),
    /// Matches on segment boundaries: `/api` matches `/api` and `/api/x`, not `/apix`.
    Prefix(String),
    /// The whole path: compiled with both ends anchored.
    Pattern(regex::Regex),
}

#[derive(Clone, Debug)]
pub struct HeaderMatch {
    /// Lower case.
    pub name: String,
    pub value: ValueMatch,
}

#[derive(Clone, Debug)]
pub enum ValueMatch {
    Present,
    Exact(String),
    /// The whole value.
    Pattern(regex::Regex),
}

/// One plugin on this route.
#[derive(Clone, Debug)]
pub struct RoutePlugin {
    pub plugin: Arc<Plugin>,
    /// The route's own text for `on_configure`, else the plugin's.
    pub config: String,
    /// The route's, else the plugin's.
    pub on_fault: FaultPolicy,
    /// The route's, else the plugin's.
    pub isolation: Isolation,
    /// The route's, else the plugin's.
    pub limits: PluginLimits,
    /// The route's, else the plugin's.
    pub crash_budget: CrashBudget,
}

#[derive(Clone, Debug)]
pub enum RouteTo {
    /// A name in `Region::pools`.
    Pool(String),
    Respond(DirectResponse),
}

#[derive(Clone, Debug)]
pub struct DirectResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl DirectResponse {
    pub const STATUS: u16 = 200;
}

#[derive(Clone, Debug)]
pub struct Pool {
    pub name: String,
    /// Listed origins; a pool with `scaling` gets more from the aggregator.
    pub origins: Vec<SocketAddr>,
    pub balance: Balance,
    /// Speak HTTP/2 with prior knowledge to origins.
    pub http2: bool,
    pub timeouts: PoolTimeouts,
    /// Idle connections kept per worker and origin.
    pub idle_connections: usize,
    pub health: Option<HealthCheck>,
    pub warmup: Option<Warmup>,
    /// A new origin's share of traffic grows from a tenth to the whole over this time.
    pub slow_start: Duration,
    pub scaling: Option<Scaling>,
}

impl Pool {
    /// Its policy plugins.
    pub fn scripts(&self) -> &[RoutePlugin] {
        self.scaling.as_ref().map_or(&[], |scaling| &scaling.scripts)
    }

    pub const HTTP2: bool = false;
    pub const IDLE_CONNECTIONS: u32 = 64;
    pub const SLOW_START: Duration = Duration::ZERO;
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    #[default]
    RoundRobin,
    /// The fewest requests in flight from this worker, of two picked at random.
    LeastRequests,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PoolTimeouts {
    pub connect: Duration,
    /// From the request sent to the response headers.
    pub response: Duration,
    /// Between two chunks of a response body.
    pub body: Duration,
    /// How long an idle connection is kept.
    pub idle: Duration,
}

impl Default for PoolTimeouts {
    fn default() -> PoolTimeouts {
        PoolTimeouts {
            connect: Duration::from_secs(2),
            response: Duration::from_secs(30),
            body: Duration::from_secs(60),
            idle: Duration::from_secs(30),
        }
    }
}

/// Active: a GET from each edge (not from each worker).
#[derive(Clone, Debug, PartialEq)]
pub struct HealthCheck {
    pub path: String,
    pub interval: Duration,
    pub timeout: Duration,
    /// Successes in a row until healthy again.
    pub healthy_after: u32,
    /// Failures in a row until unhealthy.
    pub unhealthy_after: u32,
    /// The status codes that count as success.
    pub statuses: Vec<u16>,
}

impl Default for HealthCheck {
    fn default() -> HealthCheck {
        HealthCheck {
            path: "/".to_owned(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            healthy_after: 2,
            unhealthy_after: 3,
            statuses: vec![200],
        }
    }
}

/// Real requests that each edge sends to a new origin before it takes traffic.
#[derive(Clone, Debug, PartialEq)]
pub struct Warmup {
    pub path: String,
    pub requests: u32,
    /// An origin that is not warm by then takes traffic all the same.
    pub timeout: Duration,
}

impl Default for Warmup {
    fn default() -> Warmup {
        Warmup { path: "/".to_owned(), requests: 10, timeout: Duration::from_secs(10) }
    }
}

#[derive(Clone, Debug)]
pub struct Scaling {
    pub mode: ScalingMode,
    pub floor: u32,
    pub ceiling: u32,
    /// What rules without a `requests_per_origin` of their own go by.
    pub signals: Vec<Signal>,
    pub reactive: Option<Reactive>,
    pub predictive: Option<Predictive>,
    /// What it aims at, and what a month may cost; `None`: the price of `predictive`.
    pub budget: Option<ScalingBudget>,
    pub schedules: Vec<Schedule>,
    /// Policy plugins, each named once; of what a route may say of a plugin, configuration, limits and crash
    /// budget count here.
    pub scripts: Vec<RoutePlugin>,
    /// From the decision to capacity that serves: boot, warm-up and slow start. Schedules
    /// without a lead of their own start this much early. Where it is learned: until it is known.
    pub lead: Duration,
    /// `None`: the lead is as the file says, whatever is measured.
    pub lead_bounds: Option<LeadBounds>,
    /// Most origins added in one decision.
    pub step_up: u32,
    /// Most origins removed in one decision.
    pub step_down: u32,
    /// A decrease waits until no decision of this window wanted more.
    pub stabilisation: Duration,
    /// Origins that wait beside those that serve; `None`: none do.
    pub warm_pool: Option<WarmPool>,
    /// What plugins may ask for; `None`: nothing.
    pub hints: Option<Hints>,
    pub actuator: Actuator,
}

impl Scaling {
    pub const FLOOR: u32 = 1;
    pub const LEAD: Duration = Duration::from_secs(120);
    pub const STEP_UP: u32 = 10;
    pub const STEP_DOWN: u32 = 2;
    pub const STABILISATION: Duration = Duration::from_secs(300);

    /// Requests a second that one origin carries, by the reactive rule or else by the signals.
    pub fn requests_per_origin(&self) -> Option<f64> {
        let signal = self.signals.iter().find(|signal| matches!(signal.source, SignalSource::Requests { .. }));
        let own = self.reactive.as_ref().and_then(|rule| rule.requests_per_origin);
        own.or(signal.map(Signal::per_origin))
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Reactive {
    /// Requests a second that one origin should carry; `None`: it goes by the signals.
    pub requests_per_origin: Option<f64>,
    /// Window of the mean that is compared with it.
    pub window: Duration,
    /// Factor on demand: 1.2 keeps a fifth spare.
    pub headroom: f64,
}

/// What the scaler's engine foresees.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictive {
    /// Requests a second that one origin can carry: its capacity; `None`: it goes by the signals.
    pub requests_per_origin: Option<f64>,
    /// What a violating request costs, in what serving one costs.
    pub price: f64,
    /// It says what it would do, and does not.
    pub shadow: bool,
}

impl Predictive {
    pub const PRICE: f64 = 80.0;
    pub const SHADOW: bool = false;
}

impl Reactive {
    pub const WINDOW: Duration = Duration::from_secs(30);
    pub const HEADROOM: f64 = 1.2;
}

#[derive(Clone, Debug)]
pub enum Actuator {
    /// Decisions are journalled and not carried out.
    DryRun,
    /// Starts and stops origin processes on this machine.
    Process(ProcessActuator),
}

#[derive(Clone, Debug)]
pub struct ProcessActuator {
    /// Program and arguments; `{port}` in any of them becomes the origin's port.
    pub command: Vec<String>,
    /// Where origins listen: 127.0.0.1 and a free port from the system for each.
    pub host: IpAddr,
    /// GET here until 2xx ends the boot.
    pub ready_path: String,
    /// A process that is not ready by then is stopped and replaced.
    pub boot_timeout: Duration,
    /// From SIGTERM to SIGKILL, after the edges have drained it.
    pub stop_timeout: Duration,
    /// Small files that let a restarted aggregator find what runs.
    pub state_dir: PathBuf,
}

impl ProcessActuator {
    pub const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    pub const READY_PATH: &str = "/";
    pub const BOOT_TIMEOUT: Duration = Duration::from_secs(120);
    pub const STOP_TIMEOUT: Duration = Duration::from_secs(30);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_has_a_folder_where_its_code_tells_which_it_is() {
        let folder = |code: PluginCode| code.folder().map(|folder| folder.display().to_string());
        assert_eq!(folder(PluginCode::Lua("/p/stamp/main.lua".into())).as_deref(), Some("/p/stamp"));
        assert_eq!(folder(PluginCode::Lua("/p/stamp.lua".into())), None);
        assert_eq!(folder(PluginCode::Lua("/p/domain.lua".into())), None, "not a main.lua");
        assert_eq!(folder(PluginCode::Wasm("/p/stamp/target/forebay/stamp.wasm".into())).as_deref(), Some("/p/stamp"));
        assert_eq!(folder(PluginCode::Wasm("/p/stamp/stamp.wasm".into())).as_deref(), Some("/p/stamp"));
    }
}
