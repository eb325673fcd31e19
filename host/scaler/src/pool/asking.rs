//! What the pool's scripts are asked: once a tick, with what the decision has just seen.

use std::time::Duration;

use config::region::ScalingMode;
use jiff::Timestamp;

use super::Pool;
use crate::decision::Decision;
use crate::edges::PoolEdges;
use crate::history::Step;
use crate::policy::{Policy, Source};
use crate::script::{Counts, EdgeCounts, Metrics, Question, STEPS_SHOWN, Seen};

impl Pool {
    pub(super) fn questions(
        &mut self,
        decision: &Decision,
        edges: &PoolEdges,
        tick: Duration,
        now: Timestamp,
    ) -> Vec<Question> {
        if self.scaling().mode == ScalingMode::Off {
            return Vec::new();
        }
        let due = self.policies.iter_mut().find_map(Policy::scripted).map(|scripts| scripts.due(tick, now));
        let Some(due) = due.filter(|due| !due.is_empty()) else { return Vec::new() };
        self.look_back(edges, now);
        let metrics = self.metrics(decision, edges, now);
        let ask = |script| Question { pool: self.config.name.clone(), script, metrics: metrics.clone() };
        due.into_iter().map(ask).collect()
    }

    /// Brings the past that scripts see up to date. Of what is there the latest step is made again: the others
    /// are over, and what a late report would add to them is left out.
    fn look_back(&mut self, edges: &PoolEdges, now: Timestamp) {
        let (step, present) = (Step::Fine.seconds(), Step::Fine.start(now.as_second()));
        let oldest = present - (STEPS_SHOWN as i64 - 1) * step;
        self.recent.retain(|point| (oldest..=present).contains(&point.second()));
        let from = self.recent.pop_back().map_or(oldest, |latest| latest.second());
        let expected = edges.fresh.len() + edges.missing.len();
        let fresh: Vec<_> = (from..=present)
            .step_by(step as usize)
            .filter_map(|start| self.point(start, Step::Fine, expected))
            .collect();
        self.recent.extend(fresh);
    }

    fn metrics(&mut self, decision: &Decision, edges: &PoolEdges, now: Timestamp) -> Metrics {
        let rules = [Source::Reactive, Source::Predictive, Source::Schedule];
        let standing =
            self.policies.iter_mut().find_map(|policy| policy.standing(self.wall.shows(now))).unwrap_or_default();
        let inputs = &decision.inputs;
        let signals = inputs.demand.iter().flat_map(|demand| &demand.signals);
        Metrics {
            now: self.wall.shows(now).as_millisecond() as f64 / 1e3,
            pool: self.config.name.clone(),
            origins: Counts {
                desired: decision.would.unwrap_or(decision.to),
                floor: decision.floor,
                ceiling: decision.ceiling,
                stages: decision.capacity,
            },
            lead: self.lead.figures().lead.as_secs_f64(),
            window: inputs.window_seconds,
            requests_per_second: inputs.requests_per_second,
            rejects_per_second: inputs.rejects_per_second,
            errors_per_second: inputs.errors_per_second,
            in_flight: inputs.in_flight,
            edges: EdgeCounts { fresh: edges.fresh.len() as u32, missing: edges.missing.len() as u32 },
            schedule: standing.shown(),
            signals: signals.map(|reading| (reading.name.clone(), reading.clone())).collect(),
            series: self.recent.iter().map(|point| Seen::of(point, self.wall)).collect(),
            forecast: decision.forecast.clone(),
            proposals: decision.proposals.iter().filter(|one| rules.contains(&one.source)).cloned().collect(),
        }
    }
}
