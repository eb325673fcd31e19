//! How many origins wait in the warm pool, and who is a member.
//!
//! `auto`: as many as the lead of a boot asks for beyond those that serve, at the price of a violating request that
//! follows from what one that waits costs: the less that is, the more of what may come is worth waiting for.

use config::region::{ScalingMode, WarmPool, WarmSize};
use jiff::Timestamp;

use super::Pool;
use crate::engine::Way;
use crate::policy::Policy;
use crate::region::Role;
use crate::stage::StageChange;
use crate::tune::shadow::count;

/// Of the count that stands, while the forecast is not to be believed.
const UNKNOWN_PART: f64 = 0.1;

impl Pool {
    /// Who is a member, and who waits in the warm pool, as far as that is this aggregator's to say.
    pub(super) fn settle(&mut self, now: Timestamp) -> Vec<StageChange> {
        match self.role {
            Role::Standby => Vec::new(),
            Role::Leader => {
                self.size_tier(now);
                self.wanted().map_or(Vec::new(), |members| self.origins.settle(members, self.tier, now))
            }
            // Who drains or waits may come back. Nobody leaves, and the warm pool is not filled.
            Role::Lapsed => {
                let changes = self.wanted().map_or(Vec::new(), |members| self.origins.raise(members, now));
                self.tier = self.origins.parked().len() as u32;
                changes
            }
        }
    }

    /// So many may wait in place of serving. `None`: there is no warm pool, or, in a mode that only thinks, none that
    /// follows what is thought.
    pub(super) fn may_wait(&self) -> Option<u32> {
        let rule = self.scaling().warm_pool.as_ref().filter(|_| self.keeps_tier())?;
        let size = match rule.size {
            WarmSize::Fixed(size) => size.min(rule.at_most),
            WarmSize::Auto => rule.at_most,
        };
        // Whoever is late there is nobody to count on.
        Some(size.saturating_sub(self.origins.parked_in_vain()))
    }

    /// What those that wait cost, in origins that serve, rounded up.
    pub(super) fn waiting_costs(&self) -> u32 {
        let cost = self.scaling().warm_pool.as_ref().map_or(WarmPool::COST, |rule| rule.cost);
        count(f64::from(self.origins.capacity().warm) * cost)
    }

    fn keeps_tier(&self) -> bool {
        matches!(self.scaling().mode, ScalingMode::On | ScalingMode::UpOnly)
    }

    /// What is wanted rises at once and falls as slowly as the count does: booting for a forecast that flickers would
    /// cost more than waiting.
    pub(super) fn size_tier(&mut self, now: Timestamp) {
        let Some(rule) = self.scaling().warm_pool.clone() else {
            self.tier = 0;
            return;
        };
        // What is only thought starts nothing and ends nothing.
        if !self.keeps_tier() {
            self.tier = self.origins.parked().len() as u32;
            return;
        }
        let stands = self.desired.unwrap_or_default();
        // What is held is how many there are in all: one that joins is not waited for again.
        let all = match rule.size {
            WarmSize::Fixed(size) => {
                self.tier = size.min(rule.at_most);
                return;
            }
            WarmSize::Auto => self.in_all(stands, rule.cost),
        };
        let window = self.scaling().stabilisation;
        self.tiers.push(now, all, window);
        let largest = self.tiers.largest(now, window).map_or(all, |(largest, _)| largest.max(all));
        // Beyond the ceiling nobody could join.
        self.tier = largest.min(self.scaling().ceiling).saturating_sub(stands).min(rule.at_most);
    }

    /// Those that serve and those that wait.
    fn in_all(&mut self, stands: u32, cost: f64) -> u32 {
        let unknown = stands + count(UNKNOWN_PART * f64::from(stands)).max(1);
        let policy = self.policies.iter_mut().find_map(Policy::predictive);
        let Some((want, all)) = policy.and_then(|policy| Some((policy.engine().want()?, policy.in_all(cost)?))) else {
            return unknown;
        };
        if want.gate_open && want.way != Way::Cold { all } else { all.max(unknown) }
    }
}
