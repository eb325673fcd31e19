//! One origin on its way from stage to stage, and what it takes for each.

use jiff::Timestamp;
use wire::Stage;

use super::{Origin, StageChange, StageRules};
use crate::edges::PoolEdges;
use crate::lead::Sample;
use crate::stamp;

impl Origin {
    /// Another aggregator has moved it into the warm pool, or out of it.
    pub(super) fn follow(&mut self, parked: bool, now: Timestamp) {
        self.parked = parked.then_some(now);
        match (parked, self.stage) {
            (true, Stage::Serving) => (self.stage, self.since, self.warm) = (Stage::Warming, now, true),
            (false, Stage::Warming) if std::mem::take(&mut self.warm) => {
                (self.stage, self.since) = (Stage::Serving, now);
                self.serving_at = self.serving_at.or(Some(now));
            }
            _ => {}
        }
    }

    /// It is about to serve: how long it took, if it never served before.
    pub(super) fn came(&self, now: Timestamp) -> Option<Sample> {
        let ready = self.ready_at.filter(|_| self.watched && self.serving_at.is_none())?;
        let boot = stamp::seconds(stamp::age(ready, self.launched_at));
        // One that is ready and serves at once was never in the stage between.
        let warm_up = if self.stage == Stage::Warming { stamp::seconds(stamp::age(now, self.since)) } else { 0.0 };
        Some(Sample { address: self.address, launched_at: self.launched_at, boot, warm_up })
    }

    /// How long it took since it joined until every edge was told, once they are. It is not looked for any more where an
    /// edge is silent: what is measured then is its silence.
    pub(super) fn known(&mut self, edges: &PoolEdges, now: Timestamp) -> Option<f64> {
        let joined = self.joined?;
        let measured = !edges.fresh.is_empty() && edges.missing.is_empty() && self.stage == Stage::Serving;
        if measured && !edges.fresh.iter().all(|(edge, _)| self.told.contains_key(&edge.id)) {
            return None;
        }
        self.joined = None;
        self.told.clear();
        measured.then(|| stamp::seconds(stamp::age(now, joined)))
    }

    pub(super) fn enter(&mut self, stage: Stage, now: Timestamp, because: &str, changes: &mut Vec<StageChange>) {
        changes.push(StageChange {
            address: self.address,
            from: self.stage,
            to: Some(stage),
            because: because.to_string(),
        });
        (self.stage, self.since) = (stage, now);
        if stage == Stage::Serving {
            self.serving_at = self.serving_at.or(Some(now));
        }
    }

    pub(super) fn stop(&mut self, because: &str, changes: &mut Vec<StageChange>) {
        changes.push(StageChange { address: self.address, from: self.stage, to: None, because: because.to_string() });
        self.stopping = true;
    }

    pub(super) fn warm(&self, rules: &StageRules, edges: &PoolEdges, now: Timestamp) -> Option<&'static str> {
        let warmed = |latest: &crate::edges::Latest| latest.origins.get(&self.address).is_some_and(|o| o.warmed);
        if !edges.fresh.is_empty() && edges.fresh.iter().all(|(_, latest)| warmed(latest)) {
            return Some("warmed by every edge");
        }
        let over = rules.warmup.is_none_or(|warmup| stamp::age(now, self.since) >= warmup);
        over.then_some("warm-up timed out")
    }

    pub(super) fn drained(&self, rules: &StageRules, edges: &PoolEdges, now: Timestamp) -> Option<&'static str> {
        // Silent edges may still be sending here: they were never told. No data, no stop.
        if edges.fresh.is_empty() && !edges.missing.is_empty() {
            return None;
        }
        let idle = |(edge, latest): &(&crate::edges::Edge, &crate::edges::Latest)| {
            self.told.get(&edge.id).is_some_and(|told| *told < edge.mark)
                && latest.origins.get(&self.address).is_none_or(|origin| origin.in_flight == 0)
        };
        if !edges.fresh.is_empty() && edges.missing.is_empty() && edges.fresh.iter().all(idle) {
            return Some("drained by every edge");
        }
        (stamp::age(now, self.since) >= rules.drain).then_some("drain timed out")
    }
}
