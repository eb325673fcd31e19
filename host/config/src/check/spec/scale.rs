//! What a case says that a policy sees: from its keys to the JSON that the aggregator tells.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::raw::spec_scale::{
    Autoscale, Figure, Forecast, Origins, Proposal as RawProposal, ProposalWanted, Schedule, Seen, Signal,
};
use crate::raw::value::{At, Written};
use crate::spec::scale::{Proposal, View};

/// Those that have a value: what is unknown is missing.
fn known<const N: usize>(pairs: [(&str, Option<Value>); N]) -> Map<String, Value> {
    pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn figure(raw: &Option<At<Figure>>) -> Option<Value> {
    raw.as_ref().map(|figure| json!(figure.value.0))
}

pub fn view(raw: &Autoscale) -> View {
    let lead = raw.lead.0;
    let signals: Map<_, _> = raw.signals.iter().flat_map(|signals| &signals.value.0).map(signal).collect();
    let schedule = raw.schedule.as_ref().map(|schedule| self::schedule(schedule)).unwrap_or_default();
    let some = |map: Map<String, Value>| (!map.is_empty()).then_some(Value::Object(map));
    let facts = known([
        ("pool", Some(json!(raw.pool.0))),
        ("origins", Some(origins(&raw.origins))),
        ("lead", Some(json!(lead.as_secs_f64()))),
        ("window", Some(json!(raw.window.0.as_secs_f64()))),
        ("requests_per_second", figure(&raw.requests_per_second)),
        ("rejects_per_second", figure(&raw.rejects_per_second)),
        ("errors_per_second", figure(&raw.errors_per_second)),
        ("in_flight", raw.in_flight.as_ref().map(|count| json!(count.0))),
        ("edges", Some(json!({ "fresh": raw.edges.fresh.0, "missing": raw.edges.missing.0 }))),
        ("signals", some(signals)),
        ("schedule", some(schedule)),
        ("forecast", raw.forecast.as_ref().map(|forecast| self::forecast(forecast, lead))),
        ("proposals", Some(raw.proposals.iter().map(|proposal| self::proposal(proposal)).collect())),
    ]);
    View { facts, series: raw.series.iter().map(|step| seen(step, &raw.origins)).collect() }
}

fn stages(raw: &Origins, serving: u32) -> Map<String, Value> {
    let (booting, warming, draining, warm) = (raw.booting.0, raw.warming.0, raw.draining.0, raw.warm.0);
    let stages =
        [("booting", booting), ("warming", warming), ("serving", serving), ("draining", draining), ("warm", warm)];
    known(stages.map(|(name, count)| (name, Some(json!(count)))))
}

fn origins(raw: &Origins) -> Value {
    let present = raw.booting.0.saturating_add(raw.warming.0).saturating_add(raw.serving.0);
    let desired = raw.desired.as_ref().map_or(present, |desired| desired.0);
    let mut origins = stages(raw, raw.serving.0);
    let bounds = [("desired", desired), ("floor", raw.floor.0), ("ceiling", raw.ceiling.0)];
    origins.extend(known(bounds.map(|(name, count)| (name, Some(json!(count))))));
    Value::Object(origins)
}

fn signal((name, raw): &(String, At<Signal>)) -> (String, Value) {
    let (value, per_origin) = (raw.value.value.as_ref().map(|value| value.0), raw.per_origin.0);
    let share = value.filter(|_| per_origin > 0.0).map(|value| value / per_origin);
    let asks = raw.origins.as_ref().map(|origins| origins.0).or(share);
    let age = value.map(|_| raw.age.0.as_secs_f64());
    let signal = json!({
        "name": name, "source": raw.source.0, "value": value, "per_origin": per_origin, "origins": asks,
        "age_seconds": age, "guard": raw.guard.value, "gap": value.is_none(),
    });
    let mut signal = signal.as_object().cloned().unwrap_or_default();
    signal.extend(known([("because", raw.because.as_ref().map(|because| json!(because.0)))]));
    (name.clone(), Value::Object(signal))
}

fn schedule(raw: &Schedule) -> Map<String, Value> {
    known([
        ("floor", figure(&raw.floor)),
        ("ceiling", figure(&raw.ceiling)),
        ("target", figure(&raw.target)),
        ("multiply", figure(&raw.multiply)),
    ])
}

/// `None`: nobody reported it.
fn seen(raw: &Seen, now: &Origins) -> Option<Map<String, Value>> {
    let serving = raw.serving.as_ref().map_or(now.serving.0, |serving| serving.0);
    let step = known([
        ("requests_per_second", Some(json!(raw.requests_per_second.0))),
        ("rejects_per_second", Some(json!(raw.rejects_per_second.0))),
        ("errors_per_second", Some(json!(raw.errors_per_second.0))),
        ("covered", Some(json!(raw.covered.0))),
        ("origins", Some(Value::Object(stages(now, serving)))),
    ]);
    (raw.covered.0 > 0.0).then_some(step)
}

fn forecast(raw: &Forecast, lead: Duration) -> Value {
    let horizon = raw.horizon.as_ref().map_or(lead + Duration::from_secs(60), |horizon| horizon.0);
    let number = |figure: &Option<At<Figure>>| figure.as_ref().map(|figure| figure.value.0);
    let quantiles: Vec<_> = raw
        .quantiles
        .iter()
        .map(|upper| json!({ "quantile": number(&upper.quantile), "demand": number(&upper.demand) }))
        .collect();
    json!({
        "way": raw.way.value.written(), "gate_open": raw.gate_open.value, "level": number(&raw.level),
        "quantiles": quantiles, "horizon_seconds": horizon.as_secs_f64(), "rules": raw.rules.0,
    })
}

fn proposal(raw: &RawProposal) -> Value {
    let mut proposal = known([
        ("source", raw.source.as_ref().map(|source| source.value.written())),
        ("rule", raw.rule.as_ref().map(|rule| json!(rule.0))),
        ("because", Some(json!(raw.because.0))),
    ]);
    proposal.insert("origins".to_owned(), json!(raw.origins.as_ref().map(|origins| origins.0)));
    Value::Object(proposal)
}

pub fn wanted(raw: &ProposalWanted) -> Proposal {
    match raw {
        ProposalWanted::None => Proposal::None,
        ProposalWanted::Of(facts) => Proposal::Of {
            origins: facts.origins.as_ref().map(|origins| origins.0),
            because: facts.because.as_ref().map(|because| because.value.0.clone()),
        },
    }
}
