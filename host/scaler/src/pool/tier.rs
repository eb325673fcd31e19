//! How many origins wait in the warm pool, and who is a member.

use config::region::{ScalingMode, WarmSize};
use jiff::Timestamp;

use super::Pool;
use crate::engine::{Want, Way};
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

    /// What is wanted rises at once and falls as slowly as the count does: booting for a forecast that flickers would
    /// cost more than waiting.
    pub(super) fn size_tier(&mut self, now: Timestamp) {
        let Some(rule) = self.scaling().warm_pool.clone() else {
            self.tier = 0;
            return;
        };
        // What is only thought starts nothing and ends nothing.
        if !matches!(self.scaling().mode, ScalingMode::On | ScalingMode::UpOnly) {
            self.tier = self.origins.parked().len() as u32;
            return;
        }
        let want = match rule.size {
            WarmSize::Fixed(size) => size,
            WarmSize::Auto => self.spread(),
        };
        let window = self.scaling().stabilisation;
        self.tiers.push(now, want, window);
        let largest = self.tiers.largest(now, window).map_or(want, |(largest, _)| largest.max(want));
        self.tier = largest.min(rule.at_most);
    }

    /// The uncertain top slice of the coming demand, in origins: from the lowest bound that the engine learns to the
    /// highest (0.7 and 0.97).
    fn spread(&mut self) -> u32 {
        let stands = f64::from(self.desired.unwrap_or_default());
        let engine = self.policies.iter_mut().find_map(Policy::predictive).map(|policy| policy.engine());
        match engine.and_then(|engine| engine.want()) {
            Some(Want { way, gate_open: true, bounds, .. }) if *way != Way::Cold => {
                let (low, high) = (bounds.upper.first(), bounds.upper.last());
                high.zip(low).map_or(0, |(high, low)| count(high - low))
            }
            _ => count(UNKNOWN_PART * stands).max(1),
        }
    }
}
