//! Which calls each callback can come to, held against the table of hostcalls and against what
//! the manifest asks for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use abi::Capabilities;
use abi::hostcall::{Hostcall, Need, Phase, TABLE};
use config::manifest::{self, Manifest};

use super::Finding;
use super::scope::{At, FunctionId, HostCall, Value, World};

/// The callbacks, and the phase of each. Loading knows which of them the engine has.
const CALLBACKS: [(&str, Phase); 16] = [
    ("on_vm_start", Phase::Start),
    ("on_configure", Phase::Start),
    ("on_request_headers", Phase::Request),
    ("on_request_body", Phase::Request),
    ("on_request_trailers", Phase::Request),
    ("on_origin_select", Phase::Origin),
    ("on_response_headers", Phase::Response),
    ("on_response_body", Phase::Response),
    ("on_response_trailers", Phase::Response),
    ("on_response_event", Phase::Response),
    ("on_log", Phase::Log),
    ("on_done", Phase::Log),
    ("on_tick", Phase::Background),
    ("on_queue_ready", Phase::Background),
    ("on_drain", Phase::Background),
    ("autoscale", Phase::Scale),
];

/// The row of a path without `forebay.`; `log.info` is a form of `log`.
fn row(path: &str) -> Option<&'static Hostcall> {
    let exact = TABLE.iter().find(|row| row.lua == path);
    exact.or_else(|| path.rsplit_once('.').and_then(|(above, _)| TABLE.iter().find(|row| row.lua == above)))
}

/// Whether a call of it gives a handle whose methods are the hostcalls: `forebay.dict(name)`.
pub fn is_factory(path: &str) -> bool {
    let below = format!("{path}.");
    row(path).is_none() && TABLE.iter().any(|row| row.lua.starts_with(&below))
}

pub fn findings(world: &World, manifest: &Manifest) -> Vec<Finding> {
    let mut findings = Vec::new();
    let callbacks = exported(world);
    let reached = phases(world, &callbacks, &mut findings);
    empty(world, &callbacks, &mut findings);
    capabilities(world, manifest, &mut findings);
    globals(world, &reached, &mut findings);
    unused(world, &callbacks, &mut findings);
    declared(manifest, &callbacks, &mut findings);
    findings
}

fn finding(at: &At, message: String) -> Finding {
    Finding { file: at.file.to_string(), line: at.line, column: at.column, message }
}

/// The callbacks of the table that the main file returns; of one that returns nothing, the global that may
/// stand for it.
fn exported(world: &World) -> BTreeMap<&'static str, Vec<FunctionId>> {
    let Some((_, Value::Table(table))) = world.modules.get("main.lua") else {
        let values = world.globals.get("autoscale").into_iter().flatten();
        let functions: Vec<_> = values.flat_map(|value| world.resolve(value)).collect();
        let global = (!functions.is_empty()).then_some(("autoscale", functions));
        return global.into_iter().collect();
    };
    let fields = &world.tables[*table];
    let found = CALLBACKS.iter().filter_map(|(name, _)| Some((*name, world.resolve(fields.get(*name)?))));
    found.collect()
}

/// Who reaches each function after the start; says which calls stand in a phase that refuses them.
fn phases(
    world: &World,
    callbacks: &BTreeMap<&'static str, Vec<FunctionId>>,
    findings: &mut Vec<Finding>,
) -> BTreeMap<FunctionId, &'static str> {
    let mut reached = BTreeMap::new();
    let main = world.modules.get("main.lua").map(|(main, _)| *main);
    let starts = CALLBACKS.iter().filter_map(|(name, phase)| Some((*name, *phase, callbacks.get(name)?.clone())));
    let all = main.map(|main| ("the file's own code", Phase::Start, vec![main])).into_iter().chain(starts);
    for (callback, phase, from) in all {
        let mut seen: BTreeSet<FunctionId> = from.iter().copied().collect();
        let mut next: VecDeque<(FunctionId, String)> = from.iter().map(|id| (*id, String::new())).collect();
        while let Some((id, through)) = next.pop_front() {
            if phase != Phase::Start {
                reached.entry(id).or_insert(callback);
            }
            let function = &world.functions[id];
            for call in &function.calls {
                findings.extend(refused(call, phase, callback, &through));
            }
            for callee in function.edges.iter().flat_map(|edge| world.resolve(edge)) {
                if seen.insert(callee) {
                    let name = &world.functions[callee].name;
                    let name = if name.is_empty() { "a function" } else { name };
                    let through = if through.is_empty() { name.to_owned() } else { format!("{through}, {name}") };
                    next.push_back((callee, through));
                }
            }
        }
    }
    reached
}

fn refused(call: &HostCall, phase: Phase, callback: &str, through: &str) -> Option<Finding> {
    let row = row(&call.path).filter(|row| !row.phases.contains(phase))?;
    let through = if through.is_empty() { String::new() } else { format!(" through {through}") };
    let (path, here, only) = (&call.path, phase.name(), row.phases.names());
    let message = format!("forebay.{path}: not in phase {here} (only in: {only}); reached from {callback}{through}");
    Some(finding(&call.at, message))
}

/// What each call needs, and the manifest does not ask for.
fn capabilities(world: &World, manifest: &Manifest, findings: &mut Vec<Finding>) {
    let words: Vec<&str> = manifest.capabilities.iter().map(|(word, _)| word.as_str()).collect();
    let granted = Capabilities::parse(words.iter().copied()).unwrap_or_default();
    for call in world.functions.iter().flat_map(|function| &function.calls) {
        let Some(row) = row(&call.path) else { continue };
        let missing = match (row.need, &call.name) {
            (Need::Nothing, _) => None,
            (Need::Plain(plain), _) => (!granted.has(plain)).then(|| plain.name().to_owned()),
            // A plugin's own dictionary needs no grant.
            (Need::Named(_), Some(name)) if *name == manifest.name && call.path.starts_with("dict") => None,
            (Need::Named(named), Some(name)) => {
                (!granted.names(named, name)).then(|| format!("{}:{name}", named.prefix()))
            }
            (Need::Named(named), None) => {
                let any = words.iter().any(|word| word.split(':').next() == Some(named.prefix()));
                (!any).then(|| row.need.spelling().to_owned())
            }
        };
        if let Some(missing) = missing {
            let message = format!("forebay.{}: capability {missing} is not in {}", call.path, manifest::FILE);
            findings.push(finding(&call.at, message));
        }
    }
}

/// Globals that nobody defines, and those that are written when they are read-only already.
fn globals(world: &World, reached: &BTreeMap<FunctionId, &'static str>, findings: &mut Vec<Finding>) {
    for used in &world.uses {
        if used.write {
            if let Some(callback) = reached.get(&used.function) {
                let name = &used.name;
                let text = format!(
                    "global {name} is written in {callback}: globals are read-only from the start on; write local {name}"
                );
                findings.push(finding(&used.at, text));
            }
        } else if !world.globals.contains_key(&used.name) {
            let known = world.globals.keys().map(String::as_str);
            let near = config::error::near_miss(&used.name, known).or_else(|| world.surface.near(&used.name));
            let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            findings.push(finding(&used.at, format!("undefined global {}{near}", used.name)));
        }
    }
}

/// A table without any callback loads, and nothing of it ever runs.
fn empty(world: &World, callbacks: &BTreeMap<&'static str, Vec<FunctionId>>, findings: &mut Vec<Finding>) {
    if callbacks.is_empty() && matches!(world.modules.get("main.lua"), Some((_, Value::Table(_)))) {
        let known: Vec<_> = CALLBACKS.iter().map(|(name, _)| *name).collect();
        let message = format!("the table that the file returns has no callback; there are: {}", known.join(", "));
        findings.push(Finding { file: "main.lua".to_owned(), line: 1, column: 1, message });
    }
}

/// Functions that are named as callbacks and never become one.
fn unused(world: &World, callbacks: &BTreeMap<&'static str, Vec<FunctionId>>, findings: &mut Vec<Finding>) {
    let taken: BTreeSet<FunctionId> = callbacks.values().flatten().copied().collect();
    let edges = world.functions.iter().flat_map(|function| &function.edges);
    let called: BTreeSet<FunctionId> = edges.flat_map(|edge| world.resolve(edge)).collect();
    for (id, function) in world.functions.iter().enumerate() {
        let known = CALLBACKS.iter().any(|(name, _)| *name == function.name);
        if known && &*function.at.file == "main.lua" && !taken.contains(&id) && !called.contains(&id) {
            let message = format!("{} is not in the table that the file returns: it is never called", function.name);
            findings.push(finding(&function.at, message));
        }
    }
}

/// What the manifest says of callbacks, if it says anything.
fn declared(manifest: &Manifest, callbacks: &BTreeMap<&'static str, Vec<FunctionId>>, findings: &mut Vec<Finding>) {
    if manifest.callbacks.is_empty() {
        return;
    }
    let file = || manifest::FILE.to_owned();
    for (name, line) in &manifest.callbacks {
        if !callbacks.contains_key(name.as_str()) {
            let near = config::error::near_miss(name, CALLBACKS.map(|(name, _)| name));
            let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            let message = format!("callback {name} is listed, and the plugin has none{near}");
            findings.push(Finding { file: file(), line: *line, column: 1, message });
        }
    }
    for name in callbacks.keys().filter(|name| manifest.callbacks.iter().all(|(listed, _)| listed != *name)) {
        let message = format!("the plugin has the callback {name}, which callbacks does not list");
        findings.push(Finding { file: file(), line: 0, column: 0, message });
    }
}
