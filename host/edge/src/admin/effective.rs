//! The region as it is meant, as JSON: every default filled in, no secret shown. What may hold
//! one (plugin configuration, header values of routes and direct responses) is shown only where
//! its name says that it is none.

mod scaling;

use std::time::Duration;

use config::{
    Balance, CrashBudget, HeaderMatch, KvPassword, KvServers, LimitMode, LogFormat, PathMatch, PluginCode,
    PluginLimits, Pool, Region, RemoteAt, Route, RouteTo, SecretSource, ValueMatch,
};
use serde_json::{Map, Value, json};

/// Shown in the place of what is not shown.
const HIDDEN: &str = "(hidden)";
/// A name with one of these in it names a secret.
const SECRET: [&str; 8] = ["secret", "token", "passw", "key", "credential", "auth", "cookie", "signature"];

pub fn region(region: &Region) -> Value {
    json!({
        "edge": region.edge.as_ref().map(edge),
        "aggregator": region.aggregator.as_ref().map(|aggregator| json!({
            "address": aggregator.address.to_string(),
            "region": aggregator.region,
            "journal": aggregator.journal.as_ref().map(|journal| json!({
                "path": journal.path,
                "file_bytes": journal.file_bytes,
                "files": journal.files,
            })),
            "history": aggregator.history.as_ref().map(|history| json!({
                "path": history.path,
                "keep": span(history.keep),
            })),
            "tick": span(aggregator.tick),
            "stale_after": span(aggregator.stale_after),
            "lease": aggregator.lease.as_ref().map(|lease| json!({
                "kv": lease.kv.name, "key": lease.key, "ttl": span(lease.ttl),
            })),
        })),
        "log": {
            "format": match region.log.format { LogFormat::Json => "json", LogFormat::Pretty => "pretty" },
            "filter": region.log.filter,
            "access": region.log.access,
        },
        "secrets": region.secrets.iter().map(|(name, secret)| (name.clone(), self::secret(secret)))
            .collect::<Map<String, Value>>(),
        "plugins": region.plugins.iter().map(|(name, plugin)| (name.clone(), self::plugin(plugin)))
            .collect::<Map<String, Value>>(),
        "calendars": region.calendars.iter().map(|calendar| scaling::calendar(calendar)).collect::<Vec<Value>>(),
        "routes": region.routes.iter().map(|route| self::route(route)).collect::<Vec<Value>>(),
        "pools": region.pools.iter().map(|(name, pool)| (name.clone(), self::pool(pool)))
            .collect::<Map<String, Value>>(),
        "buckets": region.buckets.iter().map(|(name, bucket)| (name.clone(), json!({
            "rate": bucket.rate, "per": span(bucket.per), "burst": bucket.burst, "keys": bucket.keys,
        }))).collect::<Map<String, Value>>(),
        "targets": region.targets.iter().map(|(name, target)| (name.clone(), self::target(target)))
            .collect::<Map<String, Value>>(),
        "queues": region.queues.iter().map(|(name, queue)| (name.clone(), json!({
            "items": queue.items, "bytes": queue.bytes,
        }))).collect::<Map<String, Value>>(),
        "dicts": region.dicts.iter().map(|(name, dict)| (name.clone(), json!({ "bytes": dict.bytes })))
            .collect::<Map<String, Value>>(),
        "kv": region.kv.iter().map(|(name, kv)| (name.clone(), self::kv(kv))).collect::<Map<String, Value>>(),
    })
}

fn kv(kv: &config::Kv) -> Value {
    let scheme = if kv.tls { "rediss" } else { "redis" };
    json!({
        "servers": match &kv.servers {
            KvServers::One { host, port, database } => vec![format!("{scheme}://{host}:{port}/{database}")],
            KvServers::Cluster(nodes) => {
                nodes.iter().map(|(host, port)| format!("{scheme}://{host}:{port}")).collect()
            }
        },
        "cluster": matches!(kv.servers, KvServers::Cluster(_)),
        "ca": kv.ca,
        "username": kv.username,
        // Where it stands, never what it is.
        "password": match &kv.password {
            Some(KvPassword::File(path)) => json!({ "file": path }),
            Some(KvPassword::Env(name)) => json!({ "env": name }),
            None => Value::Null,
        },
        "prefix": kv.prefix,
        "timeout": span(kv.timeout),
        "connections": kv.connections,
        "scripts": kv.scripts,
        "breaker": { "failures": kv.breaker.failures, "open": span(kv.breaker.open) },
    })
}

fn target(target: &config::Target) -> Value {
    let (address, private) = match &target.to {
        config::TargetTo::Address(address) => (Some(address), false),
        config::TargetTo::Any { private } => (None, *private),
    };
    json!({
        "address": address,
        "any_address": address.is_none(),
        "private_addresses": private,
        "tls": target.tls.as_ref().map(|tls| json!({ "roots": tls.roots, "server_name": tls.server_name })),
        "http2": target.http2,
        "timeout": span(target.timeout),
        "hosts": target.hosts,
        "path_prefix": target.path_prefix,
    })
}

fn edge(edge: &config::Edge) -> Value {
    let listeners = edge.listeners.iter().map(|listener| {
        json!({
            "address": listener.address.to_string(),
            "http1": listener.http1,
            "http2": listener.http2,
            "tls": listener.tls.as_ref().map(|tls| json!({
                "certificate": tls.certificate,
                "key": tls.key,
                "alpn": tls.alpn,
                "clients": tls.clients.as_ref().map(|clients| json!({
                    "roots": clients.roots,
                    "certificate": clients.certificate.name(),
                })),
            })),
        })
    });
    let limits = &edge.limits;
    json!({
        "name": edge.name,
        "workers": edge.workers,
        "listeners": listeners.collect::<Vec<Value>>(),
        "admin": edge.admin.map(|address| address.to_string()),
        "aggregators": edge.aggregators,
        "report_interval": span(edge.report_interval),
        "drain": span(edge.drain),
        "limits": {
            "header_bytes": limits.header_bytes,
            "headers": limits.headers,
            "body_bytes": limits.body_bytes,
            "connections": limits.connections,
            "header_timeout": span(limits.header_timeout),
            "body_timeout": span(limits.body_timeout),
            "idle_timeout": span(limits.idle_timeout),
        },
    })
}

/// Where it comes from and may go, and nothing of what it is.
fn secret(secret: &config::Secret) -> Value {
    let (kind, from) = match &secret.source {
        SecretSource::File(path) => ("file", path.display().to_string()),
        SecretSource::Env(name) => ("env", name.clone()),
    };
    json!({ kind: from, "targets": secret.targets })
}

fn plugin(plugin: &config::Plugin) -> Value {
    let (kind, file) = code(&plugin.code);
    json!({
        kind: file,
        "fetch": fetch(&plugin.code),
        "vm_config": plugin_config(&plugin.vm_config),
        "config": plugin_config(&plugin.config),
        "limits": plugin_limits(&plugin.limits),
        "capabilities": plugin.capabilities,
        "on_fault": plugin.on_fault.name(),
        "isolation": plugin.isolation.name(),
        "crash_budget": crash_budget(&plugin.crash_budget),
    })
}

fn route(route: &Route) -> Value {
    let (kind, path) = match &route.path {
        PathMatch::Exact(path) => ("exact", path.as_str()),
        PathMatch::Prefix(path) => ("prefix", path.as_str()),
        PathMatch::Pattern(pattern) => ("pattern", pattern.as_str()),
    };
    let plugins = route.plugins.iter().map(|used| {
        json!({
            "plugin": used.plugin.name,
            "config": plugin_config(&used.config),
            "on_fault": used.on_fault.name(),
            "isolation": used.isolation.name(),
            "crash_budget": crash_budget(&used.crash_budget),
            "limits": plugin_limits(&used.limits),
        })
    });
    let to = match &route.to {
        RouteTo::Pool(pool) => json!({ "pool": pool }),
        RouteTo::Respond(response) => {
            let headers = response.headers.iter().map(|(name, value)| json!([name, unless_secret(name, value)]));
            json!({ "respond": {
                "status": response.status,
                "headers": headers.collect::<Vec<Value>>(),
                "body": response.body,
            }})
        }
    };
    json!({
        "name": route.name,
        "hosts": route.hosts,
        "path": { kind: path },
        "methods": route.methods,
        "headers": route.headers.iter().map(header_match).collect::<Vec<Value>>(),
        "plugins": plugins.collect::<Vec<Value>>(),
        "to": to,
    })
}

fn header_match(header: &HeaderMatch) -> Value {
    let name = &header.name;
    match &header.value {
        ValueMatch::Present => json!({ "name": name, "present": true }),
        ValueMatch::Exact(value) => json!({ "name": name, "exact": unless_secret(name, value) }),
        ValueMatch::Pattern(pattern) => json!({ "name": name, "pattern": unless_secret(name, pattern.as_str()) }),
    }
}

fn pool(pool: &Pool) -> Value {
    json!({
        "origins": pool.origins.iter().map(ToString::to_string).collect::<Vec<String>>(),
        "balance": match pool.balance {
            Balance::RoundRobin => "round_robin",
            Balance::LeastRequests => "least_requests",
        },
        "http2": pool.http2,
        "timeouts": {
            "connect": span(pool.timeouts.connect),
            "response": span(pool.timeouts.response),
            "body": span(pool.timeouts.body),
            "idle": span(pool.timeouts.idle),
        },
        "idle_connections": pool.idle_connections,
        "health": pool.health.as_ref().map(|health| json!({
            "path": health.path,
            "interval": span(health.interval),
            "timeout": span(health.timeout),
            "healthy_after": health.healthy_after,
            "unhealthy_after": health.unhealthy_after,
            "statuses": health.statuses,
        })),
        "warmup": pool.warmup.as_ref().map(|warmup| json!({
            "path": warmup.path,
            "requests": warmup.requests,
            "timeout": span(warmup.timeout),
        })),
        "slow_start": span(pool.slow_start),
        "scaling": pool.scaling.as_ref().map(scaling::scaling),
    })
}

/// The kind of code, and where it is.
pub fn code(code: &PluginCode) -> (&'static str, String) {
    match code {
        PluginCode::Lua(path) => ("lua", path.display().to_string()),
        PluginCode::Wasm(path) => ("wasm", path.display().to_string()),
        PluginCode::Remote(remote) => ("wasm", remote.to_string()),
    }
}

fn fetch(code: &PluginCode) -> Option<Value> {
    let PluginCode::Remote(remote) = code else { return None };
    let signature = match &remote.at {
        // Without a query, as the URL of the module is shown.
        RemoteAt::Https { signature, .. } => remote.public_key.as_ref().and_then(|_| signature.split('?').next()),
        RemoteAt::Oci { .. } => None,
    };
    Some(json!({
        "sha256": remote.sha256(),
        "public_key": remote.public_key.as_ref().map(|key| &key.path),
        "signature": signature,
        "ca": remote.ca,
        "username": remote.login.as_ref().map(|login| &login.username),
        "token_host": remote.token_host,
        "timeout": span(remote.timeout),
        "wait": span(remote.wait),
    }))
}

pub fn crash_budget(budget: &CrashBudget) -> Value {
    json!({
        "faults": budget.faults,
        "within": span(budget.within),
        "back_off": span(budget.back_off),
        "most": span(budget.most),
    })
}

pub fn plugin_limits(limits: &PluginLimits) -> Value {
    json!({
        "mode": match limits.mode { LimitMode::Enforce => "enforce", LimitMode::Shadow => "shadow" },
        "cpu": span(limits.cpu),
        "start_cpu": span(limits.start_cpu),
        "exchange_cpu": span(limits.exchange_cpu),
        "background_cpu": span(limits.background_cpu),
        "wall": span(limits.wall),
        "memory": limits.memory,
        "instances": limits.instances,
        "buffer": limits.buffer,
        "callouts": limits.callouts,
        "kv_calls": limits.kv_calls,
        "log_lines": limits.log_lines,
        "metrics": limits.metrics,
    })
}

/// As a region file would have it: `250ms`, `30s`.
fn span(duration: Duration) -> String {
    match (duration.subsec_nanos(), duration.subsec_micros() % 1000) {
        (0, _) => format!("{}s", duration.as_secs()),
        (_, 0) => format!("{}ms", duration.as_millis()),
        _ => format!("{}us", duration.as_micros()),
    }
}

fn unless_secret(name: &str, value: &str) -> String {
    if is_secret(name) { HIDDEN.to_owned() } else { value.to_owned() }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET.iter().any(|secret| name.contains(secret))
}

/// Text for a plugin: an object is shown by its names; other text could be anything.
fn plugin_config(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => hide(value),
        _ if text.is_empty() => json!(""),
        _ => json!(HIDDEN),
    }
}

fn hide(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .map(|(name, value)| {
                let value = if is_secret(&name) { json!(HIDDEN) } else { hide(value) };
                (name, value)
            })
            .collect(),
        Value::Array(values) => values.into_iter().map(hide).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown_wherever_it_stands() {
        let shown = plugin_config(r#"{"limit": 3, "deep": [{"api_key": "s3cr3t", "Password": ["s3cr3t"]}]}"#);
        assert_eq!(shown, json!({ "limit": 3, "deep": [{ "api_key": HIDDEN, "Password": HIDDEN }] }));
        assert_eq!(plugin_config("s3cr3t"), json!(HIDDEN));
        assert_eq!(unless_secret("Authorization", "s3cr3t"), HIDDEN);
        assert_eq!(unless_secret("x-colour", "red"), "red");
    }

    #[test]
    fn durations_read_as_in_a_file() {
        assert_eq!(span(Duration::from_secs(30)), "30s");
        assert_eq!(span(Duration::from_millis(250)), "250ms");
        assert_eq!(span(Duration::from_micros(1500)), "1500us");
        assert_eq!(span(Duration::ZERO), "0s");
    }
}
