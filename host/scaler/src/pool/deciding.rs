//! One decision of a pool: every policy is asked, and what limits them is gathered.

use jiff::Timestamp;

use super::{Pool, SHOWN_WINDOW};
use crate::decide::{Case, decide};
use crate::decision::{Decision, EdgeAge, Inputs};
use crate::edges::PoolEdges;
use crate::policy::{Policy, View};
use crate::stamp;
use crate::trial::Trial;
use config::region::ScalingMode;

impl Pool {
    pub(super) fn decide(&mut self, edges: &PoolEdges, now: Timestamp) -> Decision {
        if self.operator.as_ref().is_some_and(|hold| hold.until.is_some_and(|until| until <= now)) {
            self.operator = None;
        }
        self.hints.forget(now);
        let mode = self.scaling().mode;
        let from = self.desired.unwrap_or(self.listed());
        if mode.only_thinks() && self.trial.is_none() {
            self.trial = Some(Trial::new(self.scaling(), from));
        }
        let capacity = self.capacity();
        let asked = if mode == ScalingMode::Off { &mut [][..] } else { &mut self.policies[..] };
        let standing = asked.iter_mut().find_map(|policy| policy.standing(now)).unwrap_or_default();
        let view = View { now, series: &self.series, edges, hints: &self.hints, standing: &standing };
        if let Some(trial) = &mut self.trial {
            trial.settle(&view, capacity);
        }
        let mut proposals = Vec::new();
        let (mut hint, mut hinted) = (None, None);
        for policy in asked {
            if let Policy::Hinted(weighing) = policy {
                (hint, hinted) = (weighing.hold(&view), weighing.record(&view, &proposals));
            }
            let proposed = policy.propose(&view, &proposals);
            proposals.extend(proposed);
        }
        let inputs = self.inputs(edges, now);
        let blind = match (&edges.fresh[..], &edges.missing[..]) {
            ([], _) => Some("no fresh report".to_string()),
            (_, []) => None,
            (_, missing) => {
                let names: Vec<_> = missing.iter().map(|edge| edge.name.as_str()).collect();
                Some(format!("no fresh report from {}", names.join(", ")))
            }
        };
        let want = proposals.iter().filter_map(|proposal| proposal.origins).max();
        if let Some(want) = want {
            let stabilisation = self.scaling().stabilisation;
            self.wants.push(now, want, stabilisation);
        }
        let case = Case {
            pool: &self.config.name,
            now,
            from,
            thought: self.trial.as_ref().map_or(from, Trial::count),
            scaling: self.scaling(),
            wants: &self.wants,
            blind,
            take_over: self.take_over,
            operator: self.operator.as_ref(),
            hint,
            hinted,
            scheduled: standing.ceiling.as_ref(),
            capacity,
            inputs,
        };
        decide(case, proposals)
    }

    pub(super) fn inputs(&self, edges: &PoolEdges, now: Timestamp) -> Inputs {
        let window = self.policies.iter().find_map(Policy::window).unwrap_or(SHOWN_WINDOW);
        let level = self.series.level(window, now, |edge| edges.is_fresh(edge));
        let fresh = edges.fresh.iter().map(|(edge, _)| (*edge, true));
        let known = fresh.chain(edges.missing.iter().map(|edge| (*edge, false)));
        let in_flight = edges.fresh.iter().map(|(_, latest)| latest.in_flight).sum();
        Inputs {
            window_seconds: stamp::seconds(window),
            requests_per_second: level.map(|level| thousandths(level.requests)),
            rejects_per_second: level.map(|level| thousandths(level.rejects)),
            errors_per_second: level.map(|level| thousandths(level.errors)),
            in_flight: (!edges.fresh.is_empty()).then_some(in_flight),
            edges: known
                .map(|(edge, fresh)| EdgeAge {
                    edge: edge.name.clone(),
                    age_seconds: stamp::seconds(stamp::age(now, edge.at)),
                    fresh,
                })
                .collect(),
        }
    }
}

/// What a record says of a rate: the rest is the noise of adding fractions.
fn thousandths(rate: f64) -> f64 {
    (rate * 1000.0).round() / 1000.0
}
