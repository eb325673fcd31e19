//! What the edge is doing now, as JSON: `/plugins` and `/pools`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::effective::{code, crash_budget, plugin_limits};
use crate::life::Life;
use crate::life::budget::Standing;
use crate::life::record::{Faults, Last};
use crate::membership::{Member, PoolMembers};
use crate::snapshot::Snapshot;
use crate::telemetry::ledger::PluginCount;
use crate::worker::Shared;

/// Every plugin of the region, in the order of names, also those that no route uses.
pub fn plugins(shared: &Shared, snapshot: &Snapshot) -> Value {
    let counts = shared.ledger.plugins();
    let plugins = snapshot.region.plugins.values().map(|plugin| {
        let count = counts.get(&*plugin.name).cloned().unwrap_or_default();
        let uses = uses(snapshot, &plugin.name);
        let versions: BTreeSet<&str> = uses.iter().map(|life| &*life.bound.settings.version).collect();
        let (kind, file) = code(&plugin.code);
        let routes: Vec<Value> = uses.iter().map(|life| route_use(life)).collect();
        json!({
            "name": plugin.name,
            "kind": kind,
            "file": file,
            "source": shared.sources.view(plugin),
            "version": versions.first(),
            "routes": routes,
            "limits": plugin_limits(&plugin.limits),
            "capabilities": plugin.capabilities,
            "on_fault": plugin.on_fault.name(),
            "isolation": plugin.isolation.name(),
            "calls": calls(&count),
            "faults": { "total": count.total_faults(), "by_verdict": count.faults },
            "collateral": count.collateral.values().sum::<u64>(),
            "crowded": count.crowded,
            "instances": count.instances,
            "memory_bytes": shared.ledger.work(&plugin.name).iter().map(|work| work.held.memory).sum::<u64>(),
        })
    });
    json!({ "plugins": plugins.collect::<Vec<Value>>() })
}

fn calls(count: &PluginCount) -> Value {
    json!({ "total": count.total_calls(), "by_callback": count.calls })
}

/// In the order of the file.
fn uses<'a>(snapshot: &'a Snapshot, plugin: &str) -> Vec<&'a Arc<Life>> {
    let all = snapshot.routes.iter().flat_map(|route| &route.plugins);
    all.filter(|life| **life.plugin() == *plugin).collect()
}

fn route_use(life: &Life) -> Value {
    let now = Instant::now();
    let standing = life.standing();
    let left = match standing {
        Standing::Disabled { until, .. } => Some(until.saturating_duration_since(now)),
        Standing::Serving | Standing::Probing { .. } => None,
    };
    let faults = life.record.read();
    json!({
        "route": &*life.route,
        "instance_set": life.bound.id,
        "version": &*life.bound.settings.version,
        "state": life.state(),
        // Until one exchange tries it; zero once the next one will.
        "disabled_for_ms": left.map(millis),
        "last_good": life.good.as_ref().map(|good| &*good.settings.version),
        "on_fault": life.policy().name(),
        "isolation": life.bound.isolation.name(),
        "crash_budget": crash_budget(&life.terms()),
        "budget_left": life.left(now),
        "faults": faults_view(&faults),
        "collateral": faults.collateral,
        "last_fault": faults.last.as_ref().map(last_fault),
        "background_faults": faults_view(&life.bound.background.read()),
    })
}

fn faults_view(faults: &Faults) -> Value {
    json!({ "total": faults.by_verdict.values().sum::<u64>(), "by_verdict": faults.by_verdict })
}

fn last_fault(last: &Last) -> Value {
    json!({
        "at_unix_ms": millis(last.at.duration_since(UNIX_EPOCH).unwrap_or_default()),
        "age_ms": millis(SystemTime::now().duration_since(last.at).unwrap_or_default()),
        "verdict": last.verdict.name(),
        "callback": last.callback,
        "version": last.version,
        "message": last.message,
        "request_id": last.request_id,
        "trace": last.trace,
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
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
