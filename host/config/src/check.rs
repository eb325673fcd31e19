//! From what is written to what is meant: names resolve, files exist, bounds hold. Everything that
//! is wrong is added to the errors, and checking goes on; a part that cannot be made is `None`.
//!
//! - [`names`]: what is unique, and what resolves.
//! - [`files`]: paths, plugin folders, PEM.
//! - `edge`, `plugin`, `remote`, `budget`, `secret`, `route`, `pool`, `signal`, `scaling_budget`, `schedule`, `calendar`, `state`,
//!   `kv`, `lease`: the sections.
//! - `manifest`, `spec`: the files beside a plugin.

mod budget;
mod calendar;
mod edge;
mod files;
mod kv;
mod lease;
mod limits;
pub mod manifest;
mod names;
mod plugin;
mod pool;
mod remote;
mod route;
mod scaling_budget;
mod schedule;
mod secret;
mod signal;
pub mod spec;
mod state;
mod steps;
mod target;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use self::calendar::Calendars;
use self::files::Folder;
use self::names::Names;
use crate::error::{Errors, Place, Problem};
use crate::raw::File;
use crate::raw::value::{At, Written};
use crate::region::{Log, Region};

pub fn file(raw: &File, base_dir: &Path, errors: &mut Errors) -> Option<Region> {
    let folder = Folder::new(base_dir);
    if raw.edge.is_none() && raw.aggregator.is_none() {
        // A section that could not be read has its own error.
        if errors.is_empty() {
            let problem = Problem::found("neither \"edge\" nor \"aggregator\" is given");
            errors.add(&raw.place, problem.allowed("needed: one of them or both"));
        }
    }
    let pool_names = Names::collect("pool", &raw.pools, |pool| pool.name.as_ref(), errors);
    let plugin_names = Names::collect("plugin", &raw.plugins, |plugin| plugin.name.as_ref(), errors);
    let secret_names = Names::collect("secret", &raw.secrets, |secret| secret.name.as_ref(), errors);
    let kv_names = Names::collect("store", &raw.kv, |kv| kv.name.as_ref(), errors);
    let target_names = Names::collect("target", &raw.targets, |target| target.name.as_ref(), errors);
    Names::collect("route", &raw.routes, |route| route.name.as_ref(), errors);

    edge::refuse_unheard_pools(raw, errors);
    let edge = raw.edge.as_ref().map(|edge| edge::edge(edge, &folder, errors));
    let kv: Vec<_> = raw.kv.iter().map(|kv| kv::kv(kv, &folder, errors)).collect();
    let stores = (&kv_names, &kv[..]);
    let aggregator = raw.aggregator.as_ref().map(|aggregator| edge::aggregator(aggregator, stores, &folder, errors));
    edge::refuse_shared_addresses(raw, errors);
    let calendars = Calendars::read(&raw.calendars, &pool_names, &folder, errors);
    let bucket_names = Names::collect("bucket", &raw.buckets, |bucket| bucket.name.as_ref(), errors);
    let secrets: Vec<_> = raw
        .secrets
        .iter()
        .map(|secret| secret::secret(secret, (&pool_names, &target_names), &folder, errors))
        .collect();
    let targets: Vec<_> =
        raw.targets.iter().map(|target| target::target(target, &pool_names, &folder, errors)).collect();
    let reach = plugin::Reach {
        buckets: &bucket_names,
        pools: &pool_names,
        targets: &target_names,
        secrets: &secret_names,
        secret_values: &secrets,
        kv: &kv_names,
    };
    let plugins: Vec<_> = raw.plugins.iter().map(|plugin| plugin::plugin(plugin, &reach, &folder, errors)).collect();
    let plugins: BTreeMap<_, _> = plugins.into_iter().flatten().map(|p| (p.name.clone(), Arc::new(p))).collect();
    let reach = pool::Reach { calendars: &calendars, plugins: &plugin_names, made: &plugins };
    let pools: Vec<_> = raw.pools.iter().map(|pool| pool::pool(pool, &reach, &folder, errors)).collect();
    let routes: Vec<_> =
        raw.routes.iter().map(|route| route::route(route, &plugin_names, &plugins, &pool_names, errors)).collect();
    let dicts = state::dicts(&raw.dicts, errors);
    let queues = state::queues(&raw.queues, errors);
    if !errors.is_empty() {
        return None;
    }
    Some(Region {
        edge: transpose(edge)?,
        aggregator: transpose(aggregator)?,
        log: Log { format: raw.log.format.value, filter: raw.log.filter.0.clone(), access: raw.log.access.value },
        secrets: secrets
            .into_iter()
            .map(|secret| secret.map(|s| (s.name.clone(), Arc::new(s))))
            .collect::<Option<_>>()?,
        plugins,
        routes: routes.into_iter().map(|route| route.map(Arc::new)).collect::<Option<_>>()?,
        pools: pools.into_iter().map(|pool| pool.map(|p| (p.name.clone(), Arc::new(p)))).collect::<Option<_>>()?,
        targets: targets.into_iter().map(|target| target.map(|t| (t.name.clone(), t))).collect::<Option<_>>()?,
        dicts,
        buckets: state::buckets(&raw.buckets),
        kv: kv.into_iter().map(|kv| kv.map(|kv| (kv.name.clone(), Arc::new(kv)))).collect::<Option<_>>()?,
        queues,
        calendars: calendars.all(),
    })
}

/// Not written is fine; written and not made has its error.
fn transpose<T>(section: Option<Option<T>>) -> Option<Option<T>> {
    match section {
        Some(made) => made.map(Some),
        None => Some(None),
    }
}

/// Of keys that exclude each other: says so if more are given, or if none is and one is needed.
fn one_of(place: &Place, keys: &[(&str, Option<&Place>)], needed: bool, errors: &mut Errors) {
    let all = keys.iter().map(|(key, _)| format!("\"{key}\"")).collect::<Vec<_>>().join(", ");
    let given: Vec<_> = keys.iter().filter_map(|(key, place)| Some((key, (*place)?))).collect();
    match given.as_slice() {
        [] if needed => {
            errors.add(place, Problem::found(format!("none of {all} is given")).allowed("needed: one of them"))
        }
        [] | [_] => {}
        [(first, _), more @ ..] => {
            for (key, at) in more {
                let problem = Problem::found(format!("\"{key}\" stands beside \"{first}\""));
                errors.add(at, problem.allowed(format!("allowed: one of {all}")));
            }
        }
    }
}

/// As it would be written.
fn text(value: &impl Written) -> String {
    value.written().as_str().unwrap_or_default().to_owned()
}

fn place<T>(value: &Option<At<T>>) -> Option<&Place> {
    value.as_ref().map(|at| &at.place)
}
