//! What the present load asks for: level over the window, with headroom, per origin; or what the signals say.

use config::region::Reactive;

use super::{Proposal, Source, View};
use crate::stamp;

pub fn propose(rule: &Reactive, view: &View) -> Proposal {
    let (origins, because) = match rule.requests_per_origin {
        Some(per_origin) => by_requests(rule, per_origin, view),
        None => by_signals(rule, view),
    };
    Proposal { source: Source::Reactive, rule: None, origins, because }
}

fn by_requests(rule: &Reactive, per_origin: f64, view: &View) -> (Option<u32>, String) {
    let Some((requests, told)) = view.requests(rule.window) else {
        return (None, format!("no fresh report in the last {}", stamp::text(rule.window)));
    };
    let (target, by) = view.standing.target(per_origin);
    let because = format!("{told} x {} / {target} per origin{by}", rule.headroom);
    (Some(count(requests * rule.headroom / target)), because)
}

/// The largest signal with headroom, or a guard that asks for more.
fn by_signals(rule: &Reactive, view: &View) -> (Option<u32>, String) {
    let (load, guard) = (view.demand.largest(false), view.demand.largest(true));
    let of = |reading: Option<&crate::Reading>| reading.and_then(|reading| reading.origins);
    let by_load = of(load).map(|origins| count(origins * rule.headroom));
    let by_guard = of(guard).map(count);
    let winner = if by_guard > by_load { guard } else { load };
    let Some(winner) = winner else {
        let gap = view.demand.gap().unwrap_or_else(|| "no signal says anything".to_owned());
        return (None, gap);
    };
    let value = winner.value.unwrap_or_default();
    let because = match winner.guard {
        true => {
            let why = winner.because.as_deref().unwrap_or_default();
            format!("{} {value:.3} s against {} s: {why}", winner.name, winner.per_origin)
        }
        false => {
            let by = winner.because.as_ref().map(|by| format!(" {by}")).unwrap_or_default();
            let window = stamp::text(rule.window);
            format!(
                "{} {value:.1} over {window} x {} / {} per origin{by}",
                winner.name, rule.headroom, winner.per_origin
            )
        }
    };
    let others = view.demand.signals.iter().filter(|one| one.name != winner.name);
    let others: Vec<_> =
        others.filter_map(|one| one.origins.map(|origins| format!("{} {origins:.1}", one.name))).collect();
    let over = if others.is_empty() { String::new() } else { format!(" (over {})", others.join(", ")) };
    (by_load.max(by_guard), because + &over)
}

/// A level is a sum of fractions: 40 may come as 40.00000000000001 and is no reason for one
/// more. A cast saturates: an absurd level asks for very many, which the ceiling then refuses.
fn count(origins: f64) -> u32 {
    (origins * (1.0 - 1e-9)).ceil() as u32
}
