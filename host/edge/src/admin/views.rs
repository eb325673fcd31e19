//! What the edge is doing now, as JSON: `/plugins` and `/pools`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::effective::{code, fault_policy, plugin_limits};
use crate::membership::{Member, PoolMembers};
use crate::plugins::Bound;
use crate::snapshot::Snapshot;
use crate::telemetry::ledger::PluginCount;
use crate::worker::Shared;

/// Every plugin of the region, in the order of names, also those that no route uses.
pub fn plugins(shared: &Shared, snapshot: &Snapshot) -> Value {
    let counts = shared.ledger.plugins();
    let plugins = snapshot.region.plugins.values().map(|plugin| {
        let count = counts.get(&*plugin.name).cloned().unwrap_or_default();
        let uses = uses(snapshot, &plugin.name);
        let versions: BTreeSet<&str> = uses.iter().map(|(_, bound)| &*bound.settings.version).collect();
        let (kind, file) = code(&plugin.code);
        let routes: Vec<Value> = uses.iter().map(|(route, bound)| route_use(route, bound)).collect();
        json!({
            "name": plugin.name,
            "kind": kind,
            "file": file,
            "version": versions.first(),
            "routes": routes,
            "limits": plugin_limits(&plugin.limits),
            "capabilities": plugin.capabilities,
            "on_fault": fault_policy(plugin.on_fault),
            "calls": calls(&count),
            "faults": { "total": count.total_faults(), "by_verdict": count.faults },
            "instances": count.instances,
        })
    });
    json!({ "plugins": plugins.collect::<Vec<Value>>() })
}

fn calls(count: &PluginCount) -> Value {
    json!({ "total": count.total_calls(), "by_callback": count.calls })
}

fn uses<'a>(snapshot: &'a Snapshot, plugin: &str) -> Vec<(&'a str, &'a Arc<Bound>)> {
    let all = snapshot.routes.iter().flat_map(|route| route.plugins.iter().map(|bound| (&*route.name, bound)));
    all.filter(|(_, bound)| &*bound.settings.plugin == plugin).collect()
}

fn route_use(route: &str, bound: &Bound) -> Value {
    json!({ "route": route, "instance_set": bound.id, "on_fault": fault_policy(bound.on_fault) })
}

/// Every pool with its members as workers see them.
pub fn pools(shared: &Shared) -> Value {
    let now = Instant::now();
    let pools: BTreeMap<String, Value> =
        shared.membership.pools().iter().map(|(name, pool)| (name.to_string(), pool_view(pool, now))).collect();
    json!({ "epoch": shared.membership.epoch(), "pools": pools })
}

fn pool_view(pool: &PoolMembers, now: Instant) -> Value {
    let view = pool.view_full();
    let sum = |of: fn(&crate::telemetry::load::PoolLoad) -> u64| pool.loads().iter().map(of).fold(0, u64::wrapping_add);
    json!({
        "requests": sum(|load| load.requests.get()),
        "rejects": sum(|load| load.rejects.get()),
        "errors": sum(|load| load.errors.get()),
        "retries": sum(|load| load.retries.get()),
        "in_flight": sum(|load| load.in_flight.get()),
        "members": view.members.iter().map(|member| member_view(member, now)).collect::<Vec<Value>>(),
    })
}

fn member_view(member: &Member, now: Instant) -> Value {
    json!({
        "address": member.address.to_string(),
        "listed": member.listed,
        "stage": member.stage.name(),
        "stage_age_ms": now.saturating_duration_since(member.since).as_millis() as u64,
        "healthy": member.healthy(),
        "warmed": member.warmed(),
        "share": (member.share(now) * 1e3).round() / 1e3,
        "in_flight": member.in_flight(),
    })
}
