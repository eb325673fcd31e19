//! The section `routes`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::budget::budget_over;
use super::names::Names;
use super::{one_of, place};
use crate::error::{Errors, Problem};
use crate::raw::pool;
use crate::raw::route as raw;
use crate::raw::value::At;
use crate::region::{
    DirectResponse, HeaderMatch, PathMatch, Plugin, PluginCode, Route, RoutePlugin, RouteTo, ValueMatch,
};

pub fn route(
    raw: &At<raw::Route>,
    plugin_names: &Names,
    made: &BTreeMap<String, Arc<Plugin>>,
    pools: &Names,
    errors: &mut Errors,
) -> Option<Route> {
    let headers: Vec<_> = raw.r#match.headers.iter().map(|header| header_match(header, errors)).collect();
    let path = path_match(&raw.r#match.path, errors);
    let plugins: Vec<_> =
        raw.plugins.iter().map(|plugin| route_plugin(&plugin.value.0, plugin_names, made, errors)).collect();
    let needed = !errors.has_under(&raw.place);
    one_of(&raw.place, &[("pool", place(&raw.pool)), ("respond", place(&raw.respond))], needed, errors);
    let to = match (&raw.pool, &raw.respond) {
        (Some(pool), _) => pools.resolve(&pool.0, &pool.place, errors).map(RouteTo::Pool),
        (None, Some(respond)) => direct_response(respond, errors).map(RouteTo::Respond),
        (None, None) => None,
    };
    Some(Route {
        name: raw.name.as_ref()?.0.clone(),
        hosts: raw.r#match.hosts.iter().map(|host| host.value.0.clone()).collect(),
        path: path?,
        methods: raw.r#match.methods.iter().map(|method| method.value.0.clone()).collect(),
        headers: headers.into_iter().collect::<Option<_>>()?,
        plugins: plugins.into_iter().collect::<Option<_>>()?,
        to: to?,
    })
}

fn path_match(raw: &raw::PathMatch, errors: &mut Errors) -> Option<PathMatch> {
    let keys = [("exact", place(&raw.exact)), ("prefix", place(&raw.prefix)), ("pattern", place(&raw.pattern))];
    one_of(&raw.place, &keys, false, errors);
    for path in [&raw.exact, &raw.prefix].into_iter().flatten() {
        if path.0.contains('?') {
            let problem = Problem::found(format!("found \"{}\" with a query", path.0));
            errors.add(&path.place, problem.allowed("allowed: a path; queries are not matched"));
        }
    }
    if let Some(exact) = &raw.exact {
        return Some(PathMatch::Exact(exact.0.clone()));
    }
    if let Some(pattern) = &raw.pattern {
        return Some(PathMatch::Pattern(pattern.0.clone()));
    }
    Some(PathMatch::Prefix(raw.prefix.as_ref().map_or_else(|| "/".to_owned(), |prefix| prefix.0.clone())))
}

fn header_match(raw: &At<raw::HeaderMatch>, errors: &mut Errors) -> Option<HeaderMatch> {
    let keys = [("exact", place(&raw.exact)), ("pattern", place(&raw.pattern)), ("present", place(&raw.present))];
    let needed = !errors.has_under(&raw.place);
    one_of(&raw.place, &keys, needed, errors);
    if let Some(present) = raw.present.as_ref().filter(|present| !present.value) {
        let problem = Problem::found("found false").allowed("allowed: true; a header's absence is not matched");
        errors.add(&present.place, problem);
    }
    let value = match (&raw.exact, &raw.pattern, &raw.present) {
        (Some(exact), ..) => ValueMatch::Exact(exact.0.clone()),
        (_, Some(pattern), _) => ValueMatch::Pattern(pattern.0.clone()),
        (.., Some(_)) => ValueMatch::Present,
        _ => return None,
    };
    Some(HeaderMatch { name: raw.name.as_ref()?.0.clone(), value })
}

fn route_plugin(
    raw: &raw::PluginUse,
    names: &Names,
    made: &BTreeMap<String, Arc<Plugin>>,
    errors: &mut Errors,
) -> Option<RoutePlugin> {
    let name = raw.name.as_ref()?;
    let name = names.resolve(&name.0, &name.place, errors)?;
    // A plugin with errors of its own is known and not made.
    let plugin = made.get(&name)?;
    let limits = super::limits::of_route(&raw.limits, &plugin.limits, errors);
    if limits.wall < limits.cpu {
        let at = place(&raw.limits.wall).or(place(&raw.limits.cpu)).unwrap_or(&raw.place);
        errors.add(at, Problem::found("\"wall\" is less than \"cpu\" here").allowed("allowed: at least \"cpu\""));
    }
    Some(RoutePlugin {
        config: raw.config.as_ref().map_or_else(|| plugin.config.clone(), |config| config.0.clone()),
        on_fault: raw.on_fault.as_ref().map_or(plugin.on_fault, |on_fault| on_fault.value),
        isolation: raw.isolation.as_ref().map_or(plugin.isolation, |isolation| isolation.value),
        limits,
        crash_budget: budget_over(&raw.crash_budget, &plugin.crash_budget, errors),
        plugin: plugin.clone(),
    })
}

/// A policy plugin of a pool's scaling; what becomes of exchanges is not its affair.
pub fn script(
    raw: &At<pool::Script>,
    names: &Names,
    made: &BTreeMap<String, Arc<Plugin>>,
    errors: &mut Errors,
) -> Option<RoutePlugin> {
    let pool::ScriptUse { place, name, config, limits, crash_budget } = raw.value.0.clone();
    let used = raw::PluginUse { place, name, config, on_fault: None, isolation: None, limits, crash_budget };
    let used = route_plugin(&used, names, made, errors)?;
    if let PluginCode::Remote(remote) = &used.plugin.code {
        let problem = Problem::found(format!("{:?} is fetched from {remote}", used.plugin.name));
        errors.add(&raw.place, problem.allowed("allowed: a plugin whose code is a file"));
        return None;
    }
    Some(used)
}

fn direct_response(raw: &At<raw::Respond>, errors: &mut Errors) -> Option<DirectResponse> {
    let status = raw.status.0;
    if status < 200 {
        let problem = Problem::found(format!("found the number {status}, which is not the end of an answer"));
        errors.add(&raw.status.place, problem.allowed("allowed: a status from 200 to 599"));
    }
    if (status == 204 || status == 304) && !raw.body.0.is_empty() {
        let problem = Problem::found(format!("found a body under status {status}, which has none"));
        errors.add(&raw.body.place, problem);
    }
    let headers = raw.headers.as_ref().map(|headers| headers.value.0.clone()).unwrap_or_default();
    Some(DirectResponse { status, headers, body: raw.body.0.clone() })
}
