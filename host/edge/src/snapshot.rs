//! The configuration as the workers use it: built off to the side, swapped whole.

use std::collections::HashMap;
use std::sync::Arc;

use crate::plugins::Plugins;
use crate::route::Route;

/// Everything that a request needs to know of the configuration.
pub struct Snapshot {
    pub region: Arc<config::Region>,
    pub routes: Vec<Arc<Route>>,
    pub plugins: Plugins,
    /// By name.
    pub pools: HashMap<Arc<str>, Arc<config::Pool>>,
}
