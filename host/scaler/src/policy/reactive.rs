//! What the present load asks for: level over the window, with headroom, per origin.

use config::region::Reactive;

use super::{Proposal, Source, View};
use crate::stamp;

pub fn propose(rule: &Reactive, view: &View) -> Proposal {
    let window = stamp::text(rule.window);
    let level = view.series.level(rule.window, view.now, |edge| view.edges.is_fresh(edge));
    let Some(level) = level else {
        let because = format!("no fresh report in the last {window}");
        return Proposal { source: Source::Reactive, rule: None, origins: None, because };
    };
    let (target, by) = view.standing.target(rule);
    let load = level.requests * rule.headroom / target;
    // A level is a sum of fractions: 40 may come as 40.00000000000001 and is no reason for one
    // more. A cast saturates: an absurd level asks for very many, which the ceiling then refuses.
    let origins = (load * (1.0 - 1e-9)).ceil() as u32;
    let because =
        format!("{:.1} requests/s over {window} x {} / {target} per origin{by}", level.requests, rule.headroom);
    Proposal { source: Source::Reactive, rule: None, origins: Some(origins), because }
}
