//! A route: which requests, through which plugins, to where.

use std::sync::Arc;

use super::{CrashBudget, FaultPolicy, Isolation, Plugin, PluginLimits};

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
