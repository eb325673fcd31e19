//! The section `pools`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::calendar::Calendars;
use super::files::Folder;
use super::names::Names;
use crate::error::{Errors, Problem};
use crate::raw::form::written_duration;
use crate::raw::lead::Lead;
use crate::raw::pool as raw;
use crate::raw::value::{At, List};
use crate::raw::warm_pool as raw_warm;
use crate::region::{
    Actuator, HealthCheck, HintKind, Hints, LeadBounds, Plugin, Pool, PoolTimeouts, Predictive, ProcessActuator,
    Reactive, RoutePlugin, Scaling, WarmPool, WarmSize, Warmup,
};

/// What the scaling of a pool can name.
pub struct Reach<'a> {
    pub calendars: &'a Calendars,
    pub plugins: &'a Names,
    /// Those that could be made.
    pub made: &'a BTreeMap<String, Arc<Plugin>>,
}

pub fn pool(raw: &At<raw::Pool>, reach: &Reach<'_>, folder: &Folder, errors: &mut Errors) -> Option<Pool> {
    if raw.origins.is_empty() && raw.scaling.is_none() && !errors.has_under(&raw.place) {
        let problem = Problem::found("neither \"origins\" nor \"scaling\" is given");
        errors.add(&raw.place, problem.allowed("needed: one of them or both"));
    }
    let mut seen = BTreeSet::new();
    for origin in raw.origins.iter() {
        if !seen.insert(origin.value.0) {
            errors.add(&origin.place, Problem::found(format!("{} is given twice", origin.value.0)));
        }
        if origin.value.0.port() == 0 {
            errors.add(&origin.place, Problem::found("found port 0").allowed("allowed: a port from 1 to 65535"));
        }
    }
    let name = raw.name.as_ref().map_or("", |name| &name.0);
    let scaling = raw.scaling.as_ref().map(|scaling| self::scaling(name, scaling, reach, folder, errors));
    Some(Pool {
        name: raw.name.as_ref()?.0.clone(),
        origins: raw.origins.iter().map(|origin| origin.value.0).collect(),
        balance: raw.balance.value,
        http2: raw.http2.value,
        timeouts: PoolTimeouts {
            connect: raw.timeouts.connect.0,
            response: raw.timeouts.response.0,
            body: raw.timeouts.body.0,
            idle: raw.timeouts.idle.0,
        },
        idle_connections: raw.idle_connections.0 as usize,
        health: raw.health.as_ref().map(|health| self::health(health, errors)),
        warmup: raw.warmup.as_ref().map(|warmup| Warmup {
            path: warmup.path.0.clone(),
            requests: warmup.requests.0,
            timeout: warmup.timeout.0,
        }),
        slow_start: raw.slow_start.0,
        scaling: super::transpose(scaling)?,
    })
}

fn health(raw: &At<raw::Health>, errors: &mut Errors) -> HealthCheck {
    if raw.statuses.is_empty() && raw.statuses.complete {
        let problem = Problem::found("found an empty list");
        errors.add(&raw.statuses.place, problem.allowed("needed: at least one status"));
    }
    HealthCheck {
        path: raw.path.0.clone(),
        interval: raw.interval.0,
        timeout: raw.timeout.0,
        healthy_after: raw.healthy_after.0,
        unhealthy_after: raw.unhealthy_after.0,
        statuses: raw.statuses.iter().map(|status| status.value.0).collect(),
    }
}

fn scaling(
    pool: &str,
    raw: &At<raw::Scaling>,
    reach: &Reach<'_>,
    folder: &Folder,
    errors: &mut Errors,
) -> Option<Scaling> {
    Names::collect("schedule", &raw.schedules, |schedule| schedule.name.as_ref(), errors);
    let ceiling = raw.ceiling.as_ref().map(|ceiling| ceiling.0);
    if let Some(ceiling) = ceiling.filter(|ceiling| raw.floor.0 > *ceiling) {
        let problem = Problem::found(format!("the floor {} is over the ceiling {ceiling}", raw.floor.0));
        errors.add(&raw.floor.place, problem.allowed(format!("allowed: 0 to {ceiling}")));
    }
    let schedules = super::schedule::schedules(pool, raw, reach.calendars, errors);
    let scripts = scripts(&raw.scripts, reach, errors);
    let actuator = raw.actuator.as_ref().map(|actuator| self::actuator(&actuator.value, folder, errors));
    let signals = super::signal::signals(raw, reach.plugins, errors);
    let reactive = raw.reactive.as_ref().map(|reactive| Reactive {
        requests_per_origin: reactive.requests_per_origin.as_ref().map(|requests| requests.0),
        window: reactive.window.0,
        headroom: reactive.headroom.0,
    });
    let predictive = raw.predictive.as_ref().map(|predictive| Predictive {
        requests_per_origin: predictive.requests_per_origin.as_ref().map(|requests| requests.0),
        price: predictive.price.as_ref().map_or(Predictive::PRICE, |price| price.0),
        shadow: predictive.shadow.value,
    });
    let budget = raw.budget.as_ref().map(|budget| super::scaling_budget::budget(budget, raw, errors));
    let warm_pool = raw.warm_pool.as_ref().map(|warm| self::warm_pool(warm, predictive.is_some(), errors));
    let hints = raw.hints.as_ref().map(|hints| self::hints(hints, raw, errors));
    let step_up = super::steps::steps(raw.step_up.as_ref(), &super::steps::UP, errors);
    let step_down = super::steps::steps(raw.step_down.as_ref(), &super::steps::DOWN, errors);
    Some(Scaling {
        mode: raw.mode.value,
        floor: raw.floor.0,
        ceiling: ceiling?,
        signals: signals?,
        reactive,
        predictive,
        budget: super::transpose(budget)?,
        schedules: schedules?,
        scripts: scripts?,
        lead: Lead::initial(raw.lead.as_ref()),
        lead_bounds: lead_bounds(raw.lead.as_ref(), errors),
        step_up: step_up?,
        step_down: step_down?,
        tolerance: raw.tolerance.0,
        stabilisation: raw.stabilisation.0,
        warm_pool: super::transpose(warm_pool)?,
        hints: super::transpose(hints)?,
        actuator: actuator??,
    })
}

fn scripts(raw: &List<raw::Script>, reach: &Reach<'_>, errors: &mut Errors) -> Option<Vec<RoutePlugin>> {
    let mut seen = BTreeSet::new();
    for script in raw.iter() {
        let Some(name) = &script.value.0.name else { continue };
        if !seen.insert(&name.0) {
            errors.add(&name.place, Problem::found(format!("\"{}\" is given twice", name.0)));
        }
    }
    let made: Vec<_> =
        raw.iter().map(|script| super::route::script(script, reach.plugins, reach.made, errors)).collect();
    made.into_iter().collect()
}

/// `None` for a lead that is as it is written.
fn lead_bounds(raw: Option<&At<Lead>>, errors: &mut Errors) -> Option<LeadBounds> {
    let map = match raw.map(|lead| &lead.value) {
        None => return Some(LeadBounds::default()),
        Some(Lead::Fixed(_)) => return None,
        Some(Lead::Learned(map)) => map,
    };
    let bounds = LeadBounds { at_least: map.at_least.0, at_most: map.at_most.0 };
    let text = written_duration;
    if bounds.at_least > bounds.at_most {
        let problem = Problem::found(format!("{} is over at_most, {}", text(bounds.at_least), text(bounds.at_most)));
        errors.add(&map.at_least.place, problem.allowed(format!("allowed: 0s to {}", text(bounds.at_most))));
    } else if !(bounds.at_least..=bounds.at_most).contains(&map.initial.0) {
        let problem = Problem::found(format!("{} is not within the lead's own bounds", text(map.initial.0)));
        let allowed = format!("allowed: {} to {}", text(bounds.at_least), text(bounds.at_most));
        errors.add(&map.initial.place, problem.allowed(allowed));
    }
    Some(bounds)
}

fn warm_pool(raw: &At<raw_warm::WarmPool>, predictive: bool, errors: &mut Errors) -> Option<WarmPool> {
    let size = raw.size.as_ref()?;
    let at_most = raw.at_most.as_ref().map(|at_most| at_most.0);
    match size.0 {
        WarmSize::Auto if !predictive => {
            let problem = Problem::found("auto follows a forecast, and no rule makes one");
            errors.add(&size.place, problem.allowed("needed: \"predictive\" in the same scaling, or a number"));
        }
        WarmSize::Fixed(size_given) if at_most.is_some_and(|at_most| size_given > at_most) => {
            let most = at_most.unwrap_or_default();
            let problem = Problem::found(format!("the size {size_given} is over at_most, {most}"));
            errors.add(&size.place, problem.allowed(format!("allowed: 0 to {most}")));
        }
        WarmSize::Auto | WarmSize::Fixed(_) => {}
    }
    let default = match size.0 {
        WarmSize::Auto => WarmPool::AT_MOST,
        WarmSize::Fixed(size) => size,
    };
    let cost = raw.cost.0;
    if cost > 1.0 {
        let problem = Problem::found(format!("{cost} times what one costs that serves"));
        errors.add(&raw.cost.place, problem.allowed("allowed: over 0, such as 0.1 for one that is stopped, to 1"));
    }
    Some(WarmPool { size: size.0, at_most: at_most.unwrap_or(default), cost })
}

fn hints(raw: &At<raw::Hints>, scaling: &raw::Scaling, errors: &mut Errors) -> Option<Hints> {
    let kinds = raw.kinds.as_ref()?;
    if kinds.is_empty() && kinds.complete {
        let problem = Problem::found("found an empty list");
        errors.add(&kinds.place, problem.allowed("needed: at least one of demand, cost, prewarm, hold"));
    }
    let carried = scaling.says_requests();
    for kind in kinds.iter().filter(|kind| !carried && matches!(kind.value, HintKind::Demand | HintKind::Cost)) {
        let problem =
            Problem::found(format!("{} is in requests, and no rule says what an origin carries", kind.name()));
        errors.add(&kind.place, problem.allowed("needed: \"reactive\" in the same scaling, by requests"));
    }
    Some(Hints {
        kinds: kinds.iter().map(|kind| kind.value).collect(),
        add: raw.add.as_ref()?.0,
        longest: raw.longest.0,
        per_second: raw.per_second.0,
    })
}

fn actuator(raw: &raw::Actuator, folder: &Folder, errors: &mut Errors) -> Option<Actuator> {
    let raw = match raw {
        raw::Actuator::DryRun => return Some(Actuator::DryRun),
        raw::Actuator::Process(process) => process,
    };
    let command = raw.command.as_ref().map(|command| {
        if command.first().is_none_or(|program| program.value.0.is_empty()) && command.complete {
            let problem = Problem::found("found no program");
            errors.add(&command.place, problem.allowed("needed: a program and its arguments"));
        } else if command.complete && !command.iter().any(|word| word.value.0.contains("{port}")) {
            let problem = Problem::found("no \"{port}\" in the command");
            errors.add(&command.place, problem.allowed("needed: \"{port}\" where the origin's port goes"));
        }
        command.iter().map(|word| word.value.0.clone()).collect::<Vec<_>>()
    });
    Some(Actuator::Process(ProcessActuator {
        command: command?,
        host: raw.host.0,
        ready_path: raw.ready_path.0.clone(),
        boot_timeout: raw.boot_timeout.0,
        stop_timeout: raw.stop_timeout.0,
        state_dir: folder.path(raw.state_dir.as_ref()?),
    }))
}
