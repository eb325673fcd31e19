//! What plugins ask for: demand that is coming, requests that count for more than one, origins by
//! a time. A hint is weighed and never binds: it adds at most so many origins to what the other
//! rules propose, and the bounds of the pool hold all the same.
//!
//! Demand of several edges and plugins adds up, as each speaks of what will come through its edge; of
//! several prewarms the largest counts, as each speaks of the whole pool.

use std::time::Duration;

use config::region::{HintKind, Hints as Rule, Reactive, Scaling};

use super::{Proposal, Source, View};
use crate::decision::{Clamp, Limit};
use crate::hint::{Asked, Hint, Hinted};
use crate::stamp;

#[derive(Debug)]
pub struct Weighing {
    rule: Rule,
    /// With what an origin carries of requests.
    reactive: Option<(Reactive, f64)>,
    floor: u32,
    lead: Duration,
}

impl Weighing {
    pub fn of(scaling: &Scaling) -> Option<Weighing> {
        let rule = scaling.hints.clone()?;
        let reactive = scaling.reactive.clone().zip(scaling.requests_per_origin());
        Some(Weighing { rule, reactive, floor: scaling.floor, lead: scaling.lead })
    }

    /// How long origins take now.
    pub fn relive(&mut self, lead: Duration) {
        self.lead = lead;
    }

    /// Makes one proposal after those `before` it, whose largest is what hints add to.
    pub fn propose(&self, view: &View, before: &[Proposal]) -> Proposal {
        let (want, because) = self.want(view);
        let (granted, clamp) = self.grant(want, before);
        let because = match clamp {
            Some(clamp) => format!("{because}; {} of {} ({})", clamp.after, clamp.before, clamp.because),
            None => because,
        };
        Proposal { source: Source::Hint, rule: None, origins: granted, because }
    }

    /// For the decision's record; `None` if nobody asks.
    pub fn record(&self, view: &View, before: &[Proposal]) -> Option<Hinted> {
        let asked: Vec<Asked> =
            view.hints.standing(view.now).map(|(edge, hint)| Asked::new(edge, hint, &self.rule, view.now)).collect();
        if asked.is_empty() {
            return None;
        }
        let (want, _) = self.want(view);
        let (_, clamped) = self.grant(want, before);
        Some(Hinted { want, clamped, asked })
    }

    /// Who keeps the pool from shrinking.
    pub fn hold(&self, view: &View) -> Option<String> {
        let holds = self.standing(view).filter(|(_, hint)| hint.kind == HintKind::Hold);
        let (edge, hint) = holds.max_by_key(|(_, hint)| hint.until)?;
        Some(format!("{} at {edge} holds it until {:.0}", hint.plugin, view.wall.shows(hint.until)))
    }

    /// The hints that count.
    fn standing<'a>(&'a self, view: &'a View) -> impl Iterator<Item = (&'a str, &'a Hint)> {
        view.hints.standing(view.now).filter(|(_, hint)| self.rule.kinds.contains(&hint.kind))
    }

    fn want(&self, view: &View) -> (Option<u32>, String) {
        let (load, mut because) = self.demand(view);
        let begun = |hint: &Hint| hint.kind == HintKind::Prewarm && stamp::earlier(hint.due, self.lead) <= view.now;
        let prewarms = self.standing(view).filter(|(_, hint)| begun(hint));
        // The first of equals, by edge and plugin.
        let prewarm = prewarms.reduce(|best, next| if next.1.value > best.1.value { next } else { best });
        let wanted = prewarm.map(|(edge, hint)| {
            because.push(format!("prewarm {} by {} at {edge}", hint.value, hint.plugin));
            hint.value as u32
        });
        let want = load.max(wanted);
        let because = if because.is_empty() { "nobody asks for origins now".to_owned() } else { because.join(", ") };
        (want, because)
    }

    /// Origins for the load as hints say it is.
    fn demand(&self, view: &View) -> (Option<u32>, Vec<String>) {
        let Some((reactive, per_origin)) = &self.reactive else { return (None, Vec::new()) };
        let (mut coming, mut because) = (0.0, Vec::new());
        for (edge, hint) in self.standing(view).filter(|(_, hint)| hint.kind == HintKind::Demand) {
            coming += hint.value;
            because.push(format!("demand {} by {} at {edge}", hint.value, hint.plugin));
        }
        let level = view.present.level(reactive.window);
        let seen = view.requests(reactive.window).map_or(0.0, |(requests, _)| requests);
        let cost = level.filter(|_| self.rule.kinds.contains(&HintKind::Cost)).map_or(0.0, |level| level.cost);
        if cost.abs() > 1e-9 {
            because.push(format!("requests that count for {cost:+.1}/s"));
        }
        if because.is_empty() {
            return (None, because);
        }
        let per_origin = match (reactive.requests_per_origin, view.demand.learned()) {
            (None, Some(learned)) => learned.per_origin,
            _ => *per_origin,
        };
        let load = (seen + coming + cost).max(0.0) * reactive.headroom / view.standing.target(per_origin).0;
        // As in the reactive rule: a sum of fractions is no reason for one more, and a cast saturates.
        (Some((load * (1.0 - 1e-9)).ceil() as u32), because)
    }

    fn grant(&self, want: Option<u32>, before: &[Proposal]) -> (Option<u32>, Option<Clamp>) {
        let largest = before.iter().filter(|proposal| proposal.origins.is_some()).max_by_key(|one| one.origins);
        let (base, label) = match largest {
            Some(proposal) if proposal.origins > Some(self.floor) => {
                (proposal.origins.unwrap_or_default(), proposal.label())
            }
            _ => (self.floor, "the floor".to_owned()),
        };
        let most = base.saturating_add(self.rule.add);
        match want {
            Some(want) if want > most => {
                let because = format!("at most {} over {label} {base}", self.rule.add);
                (Some(most), Some(Clamp { limit: Limit::Hints, before: want, after: most, because }))
            }
            _ => (want, None),
        }
    }
}
