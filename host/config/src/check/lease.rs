//! The section `aggregator.lease`.

use std::sync::Arc;

use super::names::Names;
use crate::error::{Errors, Problem};
use crate::raw::lease as raw;
use crate::region::{Kv, KvServers, Lease};

/// `stores` are those of the section `kv` that could be made.
pub fn lease(
    raw: &raw::Lease,
    region: &str,
    names: &Names,
    stores: &[Option<Kv>],
    errors: &mut Errors,
) -> Option<Lease> {
    let (least, most) = (Lease::LEAST_TTL, Lease::MOST_TTL);
    let ttl = raw.ttl.0;
    if ttl < least || ttl > most {
        let problem = Problem::found(format!("found {}", super::text(&raw.ttl.value)));
        errors.add(&raw.ttl.place, problem.allowed(format!("allowed: {least:?} to {most:?}")));
    }
    if let Some(key) = raw.key.as_ref().filter(|key| key.0.is_empty()) {
        errors.add(
            &key.place,
            Problem::found("found an empty text").allowed("allowed: a key, the same for all aggregators of the region"),
        );
    }
    let written = raw.kv.as_ref()?;
    let name = names.resolve(&written.0, &written.place, errors)?;
    let kv = stores.iter().flatten().find(|kv| kv.name == name)?;
    if matches!(kv.servers, KvServers::Cluster(_)) {
        let problem = Problem::found(format!("the store \"{name}\" is a cluster"));
        errors.add(&written.place, problem.allowed("allowed: a store of one server"));
    }
    if kv.timeout > ttl / 3 {
        let problem = Problem::found(format!(
            "the store \"{name}\" has a timeout of {:?}, more than a third of the lease's ttl of {ttl:?}",
            kv.timeout
        ));
        errors.add(&written.place, problem.allowed("allowed: a store that answers or fails before the next renewal"));
    }
    let key = raw.key.as_ref().map_or_else(|| format!("forebay/{region}/lease"), |key| key.0.clone());
    Some(Lease { kv: Arc::new(kv.clone()), key: format!("{}{key}", kv.prefix), ttl })
}
