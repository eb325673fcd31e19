//! A decision as text: its line, then what was seen, proposed and limited, in that order.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use scaler::{Clamp, Decision, EdgeAge, Inputs, OriginView, stamp};

/// A minute without news is written once; past it nothing may have been decided at all.
const LONG: Duration = Duration::from_secs(90);

pub fn of(decision: &Decision, origins: &[OriginView], at: Timestamp) -> String {
    let mut text = format!("{}\n", decision.line);
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<10} {value}");
    };
    let age = stamp::age(at, decision.at);
    let old = if age > LONG { ": nothing was recorded since" } else { "" };
    row("decided", &format!("{:.3}, {:.1} s before{old}", decision.at, age.as_secs_f64()));
    inputs(&decision.inputs, &mut row);
    for (i, proposal) in decision.proposals.iter().enumerate() {
        let origins = proposal.origins.map_or("-".to_string(), |origins| origins.to_string());
        let won = if proposal.label() == decision.winner { ", which wins" } else { "" };
        let name = if i == 0 { "proposed" } else { "" };
        row(name, &format!("{origins} by {}{won} ({})", proposal.label(), proposal.because));
    }
    row("wanted", &format!("{} by {}", decision.want, decision.winner));
    for (i, Clamp { limit, before, after, because }) in decision.clamps.iter().enumerate() {
        let name = if i == 0 { "limited" } else { "" };
        row(name, &format!("{before} -> {after} by {} ({because})", limit.name()));
    }
    for (i, hold) in decision.holds.iter().enumerate() {
        row(if i == 0 { "held" } else { "" }, hold);
    }
    row(
        "decision",
        &format!("{} -> {} (floor {}, ceiling {})", decision.from, decision.to, decision.floor, decision.ceiling),
    );
    if let Some(would) = decision.would {
        row("would", &format!("{would} in the mode `on`"));
    }
    let scaler::Capacity { booting, warming, serving, draining } = decision.capacity;
    row("capacity", &format!("{booting} booting, {warming} warming, {serving} serving, {draining} draining"));
    for origin in origins {
        let OriginView { address, stage, stage_age_seconds, .. } = origin;
        row("", &format!("{address} {} for {stage_age_seconds:.0} s", stage.name()));
    }
    text
}

fn inputs(inputs: &Inputs, row: &mut impl FnMut(&str, &str)) {
    let rate = |rate: Option<f64>| rate.map_or("unknown".to_string(), |rate| format!("{rate}/s"));
    let in_flight = inputs.in_flight.map_or("unknown".to_string(), |count| count.to_string());
    row(
        "seen",
        &format!(
            "requests {}, rejects {}, errors {} over {} s; in flight {in_flight}",
            rate(inputs.requests_per_second),
            rate(inputs.rejects_per_second),
            rate(inputs.errors_per_second),
            inputs.window_seconds
        ),
    );
    for EdgeAge { edge, age_seconds, fresh } in &inputs.edges {
        let silent = if *fresh { "" } else { ": silent" };
        row("", &format!("edge {edge}, {age_seconds:.1} s ago{silent}"));
    }
    if inputs.edges.is_empty() {
        row("", "no edge reports");
    }
}
