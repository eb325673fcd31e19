//! The region that a case makes: what a region file would say, checked as one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::spec::Case;
use config::{PluginCode, Region};
use serde_json::{Map, Value, json};

use super::Role;
use super::cast::ORIGIN;

/// Tokens a second of a bucket that a case does not describe.
const PLENTY: u32 = 1_000_000;

/// The region of a case: the plugin on a route to the pool `origin`, and a pool for each target
/// that it may call. The errors are those of a region file.
pub fn of(role: &Role, case: &Case) -> Result<Arc<Region>, Vec<String>> {
    let own = match &case.region {
        Some(text) => serde_json::from_str(text).map_err(|error| vec![format!("region: {error}")])?,
        None => Map::new(),
    };
    let capabilities = case.capabilities.as_ref().unwrap_or(&role.capabilities);
    let mut plugin = json!({ "name": role.name, "capabilities": capabilities });
    match &role.code {
        PluginCode::Lua(path) => plugin["lua"] = json!(path),
        PluginCode::Wasm(path) => plugin["wasm"] = json!(path),
        PluginCode::Remote(remote) => {
            return Err(vec![format!("{remote} is fetched: a stage plays code that is here")]);
        }
    }
    let mut limits = object(&role.limits)?;
    limits.extend(object(&case.limits)?);
    plugin["limits"] = Value::Object(limits);
    for (key, text) in [("config", &case.config), ("vm_config", &case.vm_config)] {
        if let Some(text) = text {
            plugin[key] = freeform(text);
        }
    }
    // A case stands for itself: none finds its plugin disabled by what went before.
    plugin["crash_budget"] = json!({ "faults": 0 });
    if let Some(policy) = case.on_fault {
        plugin["on_fault"] = json!(policy.name());
    }
    let mut file = json!({
        "edge": { "name": "stage", "workers": 1, "listeners": [{ "address": "127.0.0.1:0" }] },
        "plugins": [plugin],
        "routes": [{ "name": "stage", "plugins": [role.name], "pool": ORIGIN }],
        "pools": pools(case, capabilities, &own),
        "kv": undeclared("kv", "kv", case.kv.iter().map(|(name, _)| name.as_str()), capabilities, &own)
            .map(|name| json!({ "name": name, "url": "redis://127.0.0.1:1" })).collect::<Vec<_>>(),
        "buckets": undeclared("limit", "buckets", std::iter::empty(), capabilities, &own)
            .map(|name| json!({ "name": name, "rate": PLENTY })).collect::<Vec<_>>(),
    });
    for (section, value) in own {
        match (&mut file[&section], value) {
            (Value::Array(there), Value::Array(more)) => there.extend(more),
            (there, value) => *there = value,
        }
    }
    // JSON is YAML too.
    let region = config::parse(&file.to_string(), Path::new("the case's region"), &folder(role));
    region.map(Arc::new).map_err(|errors| errors.iter().map(|e| format!("{}: {}", e.place.path, e.problem)).collect())
}

fn object(text: &Option<String>) -> Result<Map<String, Value>, Vec<String>> {
    match text {
        Some(text) => serde_json::from_str(text).map_err(|error| vec![error.to_string()]),
        None => Ok(Map::new()),
    }
}

/// What was a map or a list is one again; a text stays a text.
fn freeform(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => value,
        _ => Value::String(text.to_owned()),
    }
}

/// A pool with an address of its own for the origin and for each target that nothing declares.
fn pools(case: &Case, capabilities: &[String], own: &Map<String, Value>) -> Vec<Value> {
    let sections = ["pools", "targets"].into_iter().filter_map(|section| own.get(section)?.as_array()).flatten();
    let declared: Vec<&str> = sections.filter_map(|item| item["name"].as_str()).collect();
    let named =
        |capability: &'_ String| capability.split_once(':').map(|(kind, name)| (kind.to_owned(), name.to_owned()));
    let granted: Vec<_> = capabilities.iter().filter_map(named).collect();
    let granted = granted.iter().filter(|(kind, _)| ["callout", "origin", "scale.hint"].contains(&&**kind));
    let granted = granted.map(|(_, name)| name.as_str());
    let asked = case.steps.iter().flat_map(|step| &step.callouts).map(|callout| callout.target.as_str());
    let mut names: Vec<&str> = vec![ORIGIN];
    for name in granted.chain(asked) {
        if !names.contains(&name) && name != "*" {
            names.push(name);
        }
    }
    let names = names.iter().filter(|name| !declared.contains(name));
    // Nobody connects to these: they tell who is played.
    let callouts = || case.steps.iter().flat_map(|step| &step.callouts);
    let grpc = |name: &str| callouts().any(|callout| callout.target == name && callout.grpc.is_some());
    let pool = |(port, name): (usize, &&str)| json!({ "name": name, "http2": grpc(name), "origins": [format!("127.0.0.1:{}", port + 1)] });
    names.enumerate().map(pool).collect()
}

/// What is granted by `prefix:<name>`, or named besides, and not declared in `section`. A store
/// that is made for it is one in memory, whatever its address; a bucket never runs dry.
fn undeclared<'a>(
    prefix: &'a str,
    section: &str,
    named: impl Iterator<Item = &'a str>,
    capabilities: &'a [String],
    own: &Map<String, Value>,
) -> impl Iterator<Item = &'a str> {
    let declared = own.get(section).and_then(Value::as_array).into_iter().flatten();
    let declared: Vec<&str> = declared.filter_map(|item| item["name"].as_str()).collect();
    let granted = capabilities.iter().filter_map(move |word| word.strip_prefix(prefix)?.strip_prefix(':'));
    let mut names: Vec<&str> = Vec::new();
    for name in granted.chain(named) {
        if !names.contains(&name) && !declared.contains(&name) {
            names.push(name);
        }
    }
    names.into_iter()
}

/// Of the plugin: what relative paths in a case's sections are relative to.
fn folder(role: &Role) -> PathBuf {
    let folder = role.code.folder().or(role.code.path().and_then(Path::parent));
    folder.unwrap_or(Path::new(".")).to_owned()
}
