//! How many origins a pool should have, and the calendars that its schedules name.

use config::calendar::Calendar;
use config::{Actuator, Aim, RoutePlugin, Scaling, ScalingBudget, Signal, SignalSource, Step, Steps, When};
use serde_json::{Value, json};

use super::{crash_budget, plugin_config, plugin_limits, span};

pub fn scaling(scaling: &Scaling) -> Value {
    let schedules = scaling.schedules.iter().map(|schedule| {
        json!({
            "name": schedule.name,
            "cron": matches!(schedule.when, When::Cron(_)).then(|| schedule.written()),
            "at": matches!(schedule.when, When::At(_)).then(|| schedule.written()),
            "zone": schedule.zone,
            "duration": span(schedule.duration),
            "floor": schedule.floor,
            "ceiling": schedule.ceiling,
            "target": schedule.target,
            "multiply": schedule.multiply,
            "lead": span(schedule.lead),
            "ramp_up": span(schedule.ramp_up),
            "ramp_down": span(schedule.ramp_down),
            "on": schedule.on.as_ref().map(|calendar| &calendar.name),
            "except": schedule.except.as_ref().map(|calendar| &calendar.name),
            "profiles": schedule.profiles.iter().map(|calendar| &calendar.name).collect::<Vec<_>>(),
        })
    });
    let actuator = match &scaling.actuator {
        Actuator::DryRun => json!("dry_run"),
        // The program alone: its arguments may hold what is not for everyone.
        Actuator::Process(process) => json!({ "process": {
            "command": process.command.first(),
            "arguments": process.command.len().saturating_sub(1),
            "host": process.host.to_string(),
            "ready_path": process.ready_path,
            "boot_timeout": span(process.boot_timeout),
            "stop_timeout": span(process.stop_timeout),
            "state_dir": process.state_dir,
        }}),
    };
    json!({
        "mode": scaling.mode.name(),
        "floor": scaling.floor,
        "ceiling": scaling.ceiling,
        "signals": scaling.signals.iter().map(signal).collect::<Vec<_>>(),
        "reactive": scaling.reactive.as_ref().map(|reactive| json!({
            "requests_per_origin": reactive.requests_per_origin,
            "window": span(reactive.window),
            "headroom": reactive.headroom,
        })),
        "budget": scaling.budget.as_ref().map(budget),
        "schedules": schedules.collect::<Vec<Value>>(),
        "scripts": scaling.scripts.iter().map(script).collect::<Vec<Value>>(),
        "lead": match scaling.lead_bounds {
            None => span(scaling.lead).into(),
            Some(bounds) => json!({
                "initial": span(scaling.lead),
                "at_least": span(bounds.at_least),
                "at_most": span(bounds.at_most),
            }),
        },
        "step_up": steps(&scaling.step_up),
        "step_down": steps(&scaling.step_down),
        "tolerance": format!("{}%", scaling.tolerance),
        "stabilisation": span(scaling.stabilisation),
        "actuator": actuator,
    })
}

fn steps(steps: &Steps) -> Vec<Value> {
    let step =
        |step: &Step| json!({ "origins": step.origins, "percent": step.percent, "within": step.within.map(span) });
    steps.0.iter().map(step).collect()
}

fn signal(signal: &Signal) -> Value {
    let mut shown = json!({ "name": signal.name, "source": signal.source.name() });
    let more = match &signal.source {
        SignalSource::Requests { per_origin, learn: Some(learn) } => json!({ "per_origin": {
            "initial": per_origin,
            "at_least": learn.at_least,
            "at_most": learn.at_most,
            "latency": span(learn.latency),
            "quantile": learn.quantile,
        }}),
        SignalSource::Requests { per_origin, learn: None } | SignalSource::InFlight { per_origin } => {
            json!({ "per_origin": per_origin })
        }
        SignalSource::Latency { quantile, target } => json!({ "quantile": quantile, "target": span(*target) }),
        SignalSource::Queue { queue, per_origin } => json!({ "queue": queue, "per_origin": per_origin }),
        SignalSource::Metric { metric, per_origin } => json!({
            "metric": metric.name,
            "plugin": metric.plugin,
            "labels": metric.labels.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "per_origin": per_origin,
        }),
        SignalSource::Origin { scrape, per_origin } => json!({
            "path": scrape.path,
            "port": scrape.port,
            "metric": scrape.metric,
            "labels": scrape.labels.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "per": scrape.per.name(),
            "over": scrape.over.name(),
            "interval": span(scrape.interval),
            "timeout": span(scrape.timeout),
            "per_origin": per_origin,
        }),
    };
    if let (Value::Object(shown), Value::Object(more)) = (&mut shown, more) {
        shown.extend(more);
    }
    shown
}

fn budget(budget: &ScalingBudget) -> Value {
    let (price, slo, price_at_most) = match budget.aim {
        Aim::Price(price) => (Some(price), None, None),
        Aim::Slo { kept, price_at_most } => (None, Some(format!("{kept}%")), Some(price_at_most)),
    };
    let monthly = budget.monthly.as_ref();
    let money = monthly.and_then(|monthly| monthly.money.as_ref());
    json!({
        "price": price,
        "slo": slo,
        "price_at_most": price_at_most,
        "origin_hours": monthly.map(|monthly| monthly.origin_hours),
        "money": money.map(|money| format!("{} {}", money.amount, money.currency)),
        "origin_hour": money.map(|money| money.origin_hour),
        "zone": monthly.map(|monthly| &monthly.zone),
        "hard": monthly.map(|monthly| monthly.hard),
    })
}

fn script(used: &RoutePlugin) -> Value {
    json!({
        "plugin": used.plugin.name,
        "config": plugin_config(&used.config),
        "crash_budget": crash_budget(&used.crash_budget),
        "limits": plugin_limits(&used.limits),
    })
}

/// How many days: which they are stands in the file, or in the one that it names.
pub fn calendar(calendar: &Calendar) -> Value {
    json!({
        "name": calendar.name,
        "days": calendar.days.len(),
        "yearly": calendar.yearly.len(),
        "spans": calendar.spans.len(),
        "use": calendar.like.map(|day| format!("{day:?}").to_lowercase()),
        "ical": calendar.file,
    })
}
