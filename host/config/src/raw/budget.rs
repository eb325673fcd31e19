//! The section `crash_budget` of a plugin, and what differs of it on a route.

use super::form::{Faults, Period};
use super::value::keys;
use crate::region::CrashBudget;

keys! {
    /// How many faults disable a plugin on a route, and when it is tried again.
    pub struct Budget {
        /// Faults on one route, over all workers, that disable the plugin there; 0 never does.
        default faults: Faults = CrashBudget::default().faults,
        /// The time that they have to come in.
        default within: Period = CrashBudget::default().within,
        /// How long it is first disabled, until one exchange tries it.
        default back_off: Period = CrashBudget::default().back_off,
        /// The longest that it is disabled: each probe that fails doubles the time, up to this.
        default most: Period = CrashBudget::default().most,
    }
}

keys! {
    /// The crash budget on this route; the plugin's own where not given.
    pub struct RouteBudget {
        /// Faults on this route, over all workers, that disable the plugin here; 0 never does.
        optional faults: Faults,
        /// The time that they have to come in.
        optional within: Period,
        /// How long it is first disabled, until one exchange tries it.
        optional back_off: Period,
        /// The longest that it is disabled: each probe that fails doubles the time, up to this.
        optional most: Period,
    }
}
