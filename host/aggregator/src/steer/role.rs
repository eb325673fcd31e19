//! Whether this aggregator acts, as its lease says.

use jiff::Timestamp;
use scaler::{Event, Role};

use super::Steer;
use crate::actuator::Actuator;
use crate::lease::{Lead, Right};

impl Steer {
    /// What asks for the lease and keeps it.
    pub fn lead(&self) -> &Lead {
        &self.lead
    }

    /// `leader`, `lapsed`, `standby`.
    pub fn role(&self) -> &'static str {
        self.lead.right().role()
    }

    /// Of the lease that this aggregator has, or had last.
    pub fn token(&self) -> Option<u64> {
        self.token
    }

    /// What others have acted under.
    pub(super) fn hear_tokens(&self) {
        let highest = self.actuators.values().chain(&self.leaving).map(Actuator::token).max();
        self.lead.heard(highest.unwrap_or_default());
    }

    /// Acts from now on, or ceases to, as the lease says.
    pub(super) fn take_role(&mut self, now: Timestamp) {
        let mut right = self.lead.right();
        if matches!(right, Right::Lapsed(_)) && right != self.right {
            // Who has been granted the lease since has told the actuators.
            self.hear_tokens();
            right = self.lead.right();
        }
        if right != self.right {
            tracing::info!(role = right.role(), token = right.token(), before = self.right.role(), "the lease changes");
            metrics::counter!("forebay_aggregator_lease_transitions_total", "to" => right.role()).increment(1);
            self.begin(right, now);
            // What runs is known before anything is published in the new name.
            self.observe(now);
        }
    }

    pub(super) fn begin(&mut self, right: Right, now: Timestamp) {
        self.right = right;
        self.published = None;
        self.journal.sign(right);
        let role = match right {
            Right::Sole | Right::Token(_) => Role::Leader,
            Right::Lapsed(_) => Role::Lapsed,
            Right::Shadow => Role::Standby,
        };
        // Infallible: only reports are refused.
        let _ = self.region.apply(Event::Lead(role), now);
    }

    /// Nobody else has the lease: it may have ended since the step began.
    pub(super) fn may_act(&self) -> bool {
        self.right.acts() && self.lead.right() == self.right
    }
}
