//! The section `routes`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::budget::RouteBudget;
use super::form::{HeaderName, HeaderValue, Host, Method, Name, Pattern, Status, Text, UrlPath};
use super::plugin::{Freeform, RouteLimits};
use super::value::{At, Value, keys, refuse_repeated};
use crate::error::{Errors, Place, Problem};
use crate::node::{Kind, Node};
use crate::region;
use crate::region::{FaultPolicy, Isolation};

keys! {
    /// Where some requests go: one of `pool` and `respond` is given.
    pub struct Route {
        /// A name, unique in the file; logs and metrics use it.
        required name: Name,
        /// Which requests; all of the given must hold. Default: every request.
        section r#match: Match,
        /// Plugins that see the exchange, in this order; responses in the reverse.
        list plugins: RoutePlugin,
        /// The pool whose origins answer.
        optional pool: Text,
        /// Answer without an origin.
        optional respond: Respond,
    }
}

keys! {
    /// Which requests; all of the given must hold.
    pub struct Match {
        /// The request's host is one of these. Default: any.
        list hosts: Host,
        /// The request's path.
        section path: PathMatch,
        /// The method is one of these. Default: any.
        list methods: Method,
        /// All of these headers.
        list headers: HeaderMatch,
    }
}

keys! {
    /// A path: at most one of the keys; none is the prefix `/`.
    pub struct PathMatch {
        /// This path and no other.
        optional exact: UrlPath,
        /// This path and what is below it: `/api` matches `/api` and `/api/x`, not `/apix`.
        optional prefix: UrlPath,
        /// A regular expression for the whole path.
        optional pattern: Pattern,
    }
}

keys! {
    /// A header: one of `exact`, `pattern` and `present: true` is given.
    pub struct HeaderMatch {
        /// The header's name, in any case.
        required name: HeaderName,
        /// One of its values is this.
        optional exact: Text,
        /// A regular expression for the whole of one of its values.
        optional pattern: Pattern,
        /// It is there, whatever its value.
        optional present: bool,
    }
}

/// A plugin on a route: its name, or its name with what differs on this route.
#[derive(Clone, Debug)]
pub struct RoutePlugin(pub PluginUse);

keys! {
    /// A plugin on a route, with what differs there.
    pub struct PluginUse {
        /// The name of one of `plugins`.
        required name: Text,
        /// Told to `on_configure`. Default: the plugin's.
        optional config: Freeform,
        /// What happens to an exchange when it fails. Default: the plugin's.
        optional on_fault: FaultPolicy,
        /// Whether its exchanges share an instance here. Default: the plugin's.
        optional isolation: Isolation,
        /// What it may use here. Default: the plugin's.
        section limits: RouteLimits,
        /// How many faults disable it here. Default: the plugin's.
        section crash_budget: RouteBudget,
    }
}

impl Value for RoutePlugin {
    fn read(node: &Node, errors: &mut Errors) -> Option<RoutePlugin> {
        let Kind::Text(name) = &node.kind else { return PluginUse::read(node, errors).map(RoutePlugin) };
        let nothing = |key| Node { place: node.place.key(key), kind: Kind::Null };
        Some(RoutePlugin(PluginUse {
            place: node.place.clone(),
            name: Some(At { value: Text(name.clone()), place: node.place.clone() }),
            config: None,
            on_fault: None,
            isolation: None,
            limits: RouteLimits::read(&nothing("limits"), errors)?,
            crash_budget: RouteBudget::read(&nothing("crash_budget"), errors)?,
        }))
    }
}

impl JsonSchema for RoutePlugin {
    fn schema_name() -> Cow<'static, str> {
        "RoutePlugin".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "a plugin's name, or its name with what differs on this route",
            "anyOf": [{ "type": "string" }, generator.subschema_for::<PluginUse>()],
        })
    }
}

keys! {
    /// An answer without an origin.
    pub struct Respond {
        /// The status.
        default status: Status = region::DirectResponse::STATUS,
        /// Headers: a value each, or a list of values.
        optional headers: Headers,
        /// The body.
        default body: Text = "",
    }
}

/// Header values by name, in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct Headers(pub Vec<(String, String)>);

impl Value for Headers {
    fn read(node: &Node, errors: &mut Errors) -> Option<Headers> {
        let Kind::Map(entries) = &node.kind else {
            let problem = Problem::found(format!("found {}", node.describe()));
            errors.add(&node.place, problem.allowed("allowed: a map of header names and values"));
            return None;
        };
        refuse_repeated(entries, errors)?;
        let mut headers = Vec::new();
        for entry in entries {
            let name = Node { place: entry.place.clone(), kind: Kind::Text(entry.key.clone()) };
            let Some(HeaderName(name)) = HeaderName::read(&name, errors) else { continue };
            if let Some(whose) = FRAMING.iter().find(|framing| **framing == name) {
                refuse_framing(&entry.place, whose, errors);
            }
            let values = match &entry.value.kind {
                Kind::List(values) => values.as_slice(),
                _ => std::slice::from_ref(&entry.value),
            };
            for value in values {
                headers.extend(HeaderValue::read(value, errors).map(|value| (name.clone(), value.0)));
            }
        }
        Some(Headers(headers))
    }
}

/// The edge writes these itself, from the body that is sent.
const FRAMING: [&str; 4] = ["content-length", "transfer-encoding", "connection", "trailer"];

fn refuse_framing(place: &Place, name: &str, errors: &mut Errors) {
    let problem = Problem::found(format!("found \"{name}\""));
    errors.add(place, problem.allowed("allowed: headers that do not frame the body, which the edge does itself"));
}

impl JsonSchema for Headers {
    fn schema_name() -> Cow<'static, str> {
        "Headers".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "additionalProperties": {
                "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
            },
        })
    }
}
