//! The section `plugins`, and the configuration text that plugins are given.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::budget::Budget;
use super::form::{
    Authority, Capability, Count, FilePath, HttpsUrl, ModulePlace, Name, Period, Sha256, Size, Span, Text,
};
use super::value::{Value, keys};
use crate::error::Errors;
use crate::node::{Kind, Node};
use crate::region::{FaultPolicy, Isolation, LimitMode, PluginLimits, Remote};

keys! {
    /// Code that routes name, in Lua or Wasm: one of `lua` and `wasm` is given.
    pub struct Plugin {
        /// A name, unique in the file; routes use it.
        required name: Name,
        /// A Lua file, or a folder with a `main.lua`.
        optional lua: FilePath,
        /// Trusted with the whole process: a Lua plugin gets LuaJIT's FFI. Needs a build with the feature `ffi`.
        default trusted: bool = false,
        /// Folders in which a trusted Lua plugin finds modules, by `name.lua` and `name/init.lua`.
        list lua_path: FilePath,
        /// A Wasm module, or a folder with a `Cargo.toml`, built by `forebay plugin build`; or where it is
        /// fetched from: `https://host/path`, or `oci://registry/repository@sha256:digest`.
        optional wasm: ModulePlace,
        /// How a module at https:// or oci:// is fetched, and whom it must be signed by.
        optional fetch: Fetch,
        /// Told to `on_vm_start`: a text as it is, a map or list as JSON.
        optional vm_config: Freeform,
        /// Told to `on_configure` where the route gives none: a text as it is, a map or list as JSON.
        optional config: Freeform,
        /// What one instance may use; past it the plugin has failed.
        section limits: Limits,
        /// What the plugin may reach. A list that names any of http.read, http.write, http.respond,
        /// body.read, body.write, property.read, metric and timer grants only those of them that it
        /// names; otherwise all of them hold. Everything else is granted where it is named.
        list capabilities: Capability,
        /// What happens to an exchange whose plugin failed.
        default on_fault: FaultPolicy = FaultPolicy::default(),
        /// Whether the exchanges of a worker share one instance, or each has its own.
        default isolation: Isolation = Isolation::default(),
        /// How many faults disable it on a route, and when it is tried again.
        section crash_budget: Budget,
    }
}

keys! {
    /// How a module is fetched, and whom it must be signed by.
    pub struct Fetch {
        /// The SHA-256 of a module at https://, which it must have. Needed there.
        optional sha256: Sha256,
        /// PEM of a public key, ed25519 or ECDSA P-256, by which the module must be signed. Default: no
        /// signature is asked for.
        optional public_key: FilePath,
        /// Where the detached signature of a module at https:// is. Default: its URL with `.sig` behind it.
        optional signature: HttpsUrl,
        /// PEM of whom to trust. Default: whom the machine trusts.
        optional ca: FilePath,
        /// The user to ask as. Default: nobody.
        optional username: Text,
        /// The name of the secret that is the password.
        optional password: Name,
        /// Another host than the registry's that may be told user and password, for its tokens. Default:
        /// none.
        optional token_host: Authority,
        /// One attempt, from the first connection to the last byte.
        default timeout: Period = Remote::TIMEOUT,
        /// How long a start waits for the module where no earlier one is kept. Past it the plugin's
        /// `on_fault` holds until the module is there.
        default wait: Span = Remote::WAIT,
    }
}

keys! {
    /// What one instance may use; past it the plugin has failed.
    pub struct Limits {
        /// Whether passing one is a fault, or only told.
        default mode: LimitMode = LimitMode::default(),
        /// CPU time of one callback, over all its waits.
        default cpu: Period = PluginLimits::default().cpu,
        /// CPU time of start and configuration.
        default start_cpu: Period = PluginLimits::default().start_cpu,
        /// CPU time of all callbacks of one exchange. Default: 1 s, or `cpu` if that is more.
        optional exchange_cpu: Period,
        /// CPU time a second, on one worker, outside of exchanges (ticks, queues); past it that waits.
        default background_cpu: Period = PluginLimits::default().background_cpu,
        /// From the first callback of a phase to its end, with all waiting.
        default wall: Period = PluginLimits::default().wall,
        /// Memory of one instance.
        default memory: Size = PluginLimits::default().memory,
        /// Exchanges at once with an instance of their own (`isolation: exchange`), over all workers.
        default instances: Count = PluginLimits::default().instances,
        /// Body bytes buffered for the plugin in one direction.
        default buffer: Size = PluginLimits::default().buffer,
        /// Callouts of one exchange.
        default callouts: Count = PluginLimits::default().callouts,
        /// Calls to key-value stores of one exchange.
        default kv_calls: Count = PluginLimits::default().kv_calls,
        /// Log lines a second; past it they are dropped and counted.
        default log_lines: Count = PluginLimits::default().log_lines,
        /// Metric series.
        default metrics: Count = PluginLimits::default().metrics,
    }
}

keys! {
    /// What one instance may use on this route; the plugin's own where not given.
    pub struct RouteLimits {
        /// Whether passing one is a fault, or only told.
        optional mode: LimitMode,
        /// CPU time of one callback, over all its waits.
        optional cpu: Period,
        /// CPU time of start and configuration.
        optional start_cpu: Period,
        /// CPU time of all callbacks of one exchange.
        optional exchange_cpu: Period,
        /// CPU time a second, on one worker, outside of exchanges (ticks, queues); past it that waits.
        optional background_cpu: Period,
        /// From the first callback of a phase to its end, with all waiting.
        optional wall: Period,
        /// Memory of one instance.
        optional memory: Size,
        /// Exchanges at once with an instance of their own (`isolation: exchange`), over all workers and routes.
        optional instances: Count,
        /// Body bytes buffered for the plugin in one direction.
        optional buffer: Size,
        /// Callouts of one exchange.
        optional callouts: Count,
        /// Calls to key-value stores of one exchange.
        optional kv_calls: Count,
        /// Log lines a second; past it they are dropped and counted.
        optional log_lines: Count,
        /// Metric series.
        optional metrics: Count,
    }
}

/// Any YAML, as the text that a plugin gets: compact JSON, or the text itself.
#[derive(Clone, Debug)]
pub struct Freeform(pub String);

impl Value for Freeform {
    fn read(node: &Node, errors: &mut Errors) -> Option<Freeform> {
        refuse_duplicates(node, errors)?;
        Some(Freeform(match &node.kind {
            Kind::Text(text) => text.clone(),
            _ => serde_json::to_string(node).expect("a tree with text keys is JSON"),
        }))
    }
}

fn refuse_duplicates(node: &Node, errors: &mut Errors) -> Option<()> {
    match &node.kind {
        Kind::List(items) => items.iter().try_for_each(|item| refuse_duplicates(item, errors)),
        Kind::Map(entries) => {
            super::value::refuse_repeated(entries, errors)?;
            entries.iter().try_for_each(|entry| refuse_duplicates(&entry.value, errors))
        }
        _ => Some(()),
    }
}

impl JsonSchema for Freeform {
    fn schema_name() -> Cow<'static, str> {
        "Freeform".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "any value: a text as it is, a map or list as JSON" })
    }
}
