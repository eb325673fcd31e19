//! The list `schedules` of a pool's `scaling`.

use std::time::Duration;

use super::calendar::Calendars;
use crate::error::{Errors, Problem};
use crate::raw::lead::Lead;
use crate::raw::pool as pool_raw;
use crate::raw::schedule as raw;
use crate::raw::value::At;
use crate::region::{Schedule, When};

pub fn schedules(
    pool: &str,
    scaling: &pool_raw::Scaling,
    calendars: &Calendars,
    errors: &mut Errors,
) -> Option<Vec<Schedule>> {
    let all = scaling.schedules.iter().map(|raw| {
        refuse_contradictions(raw, errors);
        refuse_outside(raw, scaling, errors);
        schedule(pool, raw, Lead::initial(scaling.lead.as_ref()), calendars, errors)
    });
    // All of them first: each has its errors.
    all.collect::<Vec<_>>().into_iter().collect()
}

fn schedule(
    pool: &str,
    raw: &At<raw::Schedule>,
    lead: Duration,
    calendars: &Calendars,
    errors: &mut Errors,
) -> Option<Schedule> {
    let on = calendars.named(raw.on.as_ref(), errors);
    let except = calendars.named(raw.except.as_ref(), errors);
    let exact = raw.exact.as_ref().map(|exact| exact.0);
    Some(Schedule {
        name: raw.name.as_ref()?.0.clone(),
        when: match (&raw.cron, &raw.at) {
            (Some(cron), _) => When::Cron(cron.0.clone()),
            (None, at) => When::At(at.as_ref()?.0),
        },
        zone: raw.zone.as_ref()?.0.clone(),
        duration: raw.duration.as_ref()?.0,
        floor: exact.or(raw.floor.as_ref().map(|floor| floor.0)),
        ceiling: exact.or(raw.ceiling.as_ref().map(|ceiling| ceiling.0)),
        target: raw.target.as_ref().map(|target| target.0),
        multiply: raw.multiply.as_ref().map(|multiply| multiply.0),
        lead: raw.lead.as_ref().map_or(lead, |lead| lead.0),
        own_lead: raw.lead.is_some(),
        ramp_up: raw.ramp_up.0,
        ramp_down: raw.ramp_down.0,
        on: on?,
        except: except?,
        profiles: calendars.profiles(pool),
    })
}

/// What of one rule cannot stand together, or is missing.
fn refuse_contradictions(raw: &At<raw::Schedule>, errors: &mut Errors) {
    use super::place;

    let whole = !errors.has_under(&raw.place);
    super::one_of(&raw.place, &[("cron", place(&raw.cron)), ("at", place(&raw.at))], whole, errors);
    let asks = [place(&raw.floor), place(&raw.ceiling), place(&raw.exact), place(&raw.target), place(&raw.multiply)];
    if whole && asks.iter().all(Option::is_none) {
        let problem = Problem::found("nothing that shall hold in the window");
        errors.add(&raw.place, problem.allowed("needed: one of floor, ceiling, exact, target, multiply, or more"));
    }
    if let Some(exact) = &raw.exact {
        for (key, at) in [("floor", place(&raw.floor)), ("ceiling", place(&raw.ceiling))] {
            let Some(at) = at else { continue };
            let problem = Problem::found(format!("\"{key}\" stands beside \"exact\", which is floor and ceiling"));
            errors.add(at, problem.allowed(format!("allowed: exact: {}, or a floor and a ceiling", exact.0)));
        }
    }
    if let (Some(floor), Some(ceiling)) = (&raw.floor, &raw.ceiling)
        && floor.0 > ceiling.0
    {
        let problem = Problem::found(format!("the floor {} is over the rule's own ceiling {}", floor.0, ceiling.0));
        errors.add(&floor.place, problem.allowed(format!("allowed: 0 to {}", ceiling.0)));
    }
    if let Some(multiply) = raw.multiply.as_ref().filter(|multiply| multiply.0 > Schedule::MOST) {
        let problem = Problem::found(format!("found the number {}", multiply.0));
        errors.add(&multiply.place, problem.allowed(format!("allowed: a factor over 0, up to {}", Schedule::MOST)));
    }
    let rises = raw.floor.is_some() || raw.exact.is_some() || raw.multiply.as_ref().is_some_and(|m| m.0 > 1.0);
    for (key, ramp) in [("ramp_up", &raw.ramp_up), ("ramp_down", &raw.ramp_down)] {
        if whole && !rises && !ramp.0.is_zero() {
            let problem = Problem::found(format!("\"{key}\" where nothing rises"));
            errors.add(&ramp.place, problem.allowed("needed: a floor, an exact number, or a multiply over 1"));
        }
    }
    if raw.at.is_some() {
        for (key, at) in [("on", place(&raw.on)), ("except", place(&raw.except))] {
            let Some(at) = at else { continue };
            let problem = Problem::found(format!("\"{key}\" stands beside \"at\", which names its day"));
            errors.add(at, problem.allowed("allowed: with \"cron\""));
        }
    }
}

/// What the pool does not let it ask for.
fn refuse_outside(raw: &raw::Schedule, scaling: &pool_raw::Scaling, errors: &mut Errors) {
    let floor = scaling.floor.0;
    let ceiling = scaling.ceiling.as_ref().map_or(u32::MAX, |ceiling| ceiling.0);
    for (word, number) in [("floor", &raw.floor), ("exact number", &raw.exact)] {
        let Some(number) = number.as_ref().filter(|number| number.0 > ceiling) else { continue };
        let problem = Problem::found(format!("the {word} {} is over the ceiling {ceiling}", number.0));
        let least = if word == "floor" { 0 } else { floor };
        errors.add(&number.place, problem.allowed(format!("allowed: {least} to {ceiling}")));
    }
    for (word, number) in [("ceiling", &raw.ceiling), ("exact number", &raw.exact)] {
        let Some(number) = number.as_ref().filter(|number| number.0 < floor) else { continue };
        let problem = Problem::found(format!("the {word} {} is under the pool's floor {floor}", number.0));
        errors.add(&number.place, problem.allowed(format!("allowed: {floor} to {ceiling}")));
    }
    if let Some(target) = raw.target.as_ref().filter(|_| scaling.reactive.is_some() && !scaling.says_requests()) {
        let problem = Problem::found("\"target\" is in requests, and \"reactive\" goes by other signals");
        errors.add(&target.place, problem.allowed("needed: a signal with \"source: requests\""));
    }
    for (key, given) in [("target", &raw.target), ("multiply", &raw.multiply)] {
        let Some(given) = given.as_ref().filter(|_| scaling.reactive.is_none()) else { continue };
        let problem = Problem::found(format!("\"{key}\" alters what \"reactive\" proposes, and there is no such rule"));
        errors.add(&given.place, problem.allowed("needed: \"reactive\" in the same scaling"));
    }
}
