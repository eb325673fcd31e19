//! The configuration as the workers use it: built off to the side, swapped whole.

use std::collections::HashMap;
use std::sync::Arc;

use crate::callout::target::{self, Target};
use crate::listen;
use crate::membership::{Memberships, PoolMembers};
use crate::plugins::Plugins;
use crate::route::{Route, Router};

/// Everything that a request needs to know of the configuration.
pub struct Snapshot {
    pub region: Arc<config::Region>,
    pub routes: Vec<Arc<Route>>,
    /// By name.
    pub pools: HashMap<Arc<str>, Arc<config::Pool>>,
    /// The members of each pool, as they are at any time. Kept here so that a request whose pool
    /// a reload takes away still has its origins.
    pub members: HashMap<Arc<str>, Arc<PoolMembers>>,
    pub plugins: Plugins,
    pub router: Router,
    /// Copied out of `region.edge`.
    pub limits: config::EdgeLimits,
    /// By name.
    pub targets: HashMap<String, Arc<Target>>,
    /// One per listener of the file; `None` where it is cleartext.
    pub tls: Vec<Option<listen::TlsSide>>,
}

impl Snapshot {
    /// Reads the certificates; everything else has been checked.
    pub fn new(
        region: Arc<config::Region>,
        plugins: Plugins,
        membership: &Memberships,
    ) -> Result<Snapshot, Vec<String>> {
        let read = read(&region)?;
        Ok(Snapshot::with(region, plugins, read, membership))
    }

    /// `membership` has the pools of `region` already.
    pub fn with(region: Arc<config::Region>, plugins: Plugins, read: Read, membership: &Memberships) -> Snapshot {
        let Read { tls, targets } = read;
        let pools: HashMap<Arc<str>, _> =
            region.pools.iter().map(|(name, pool)| (Arc::from(name.as_str()), pool.clone())).collect();
        let members = pools.keys().filter_map(|name| Some((name.clone(), membership.pool(name)?))).collect();
        let route = |spec: &Arc<config::Route>| {
            let plugins = plugins.by_route.get(&spec.name).cloned().unwrap_or_default();
            Arc::new(Route::new(spec.clone(), plugins))
        };
        let routes: Vec<_> = region.routes.iter().map(route).collect();
        let router = Router::new(&routes);
        let limits = region.edge.as_ref().map(|edge| edge.limits.clone()).unwrap_or_default();
        Snapshot { region, routes, pools, members, plugins, router, limits, targets, tls }
    }
}

/// What a region names that is read from disk beside it.
pub struct Read {
    tls: Vec<Option<listen::TlsSide>>,
    targets: HashMap<String, Arc<Target>>,
}

/// The TLS side of each listener and target, with certificates as they are on disk now.
pub fn read(region: &config::Region) -> Result<Read, Vec<String>> {
    let mut errors = Vec::new();
    let mut sides = Vec::new();
    for listener in region.edge.iter().flat_map(|edge| &edge.listeners) {
        match listener.tls.as_ref().map(|tls| listen::tls_side(tls, listener)).transpose() {
            Ok(side) => sides.push(side),
            Err(error) => errors.push(error),
        }
    }
    match target::all(region) {
        Ok(targets) if errors.is_empty() => return Ok(Read { tls: sides, targets }),
        Ok(_) => {}
        Err(more) => errors.extend(more),
    }
    Err(errors)
}
