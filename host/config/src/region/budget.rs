//! How many faults a plugin may have on a route.

use std::time::Duration;

/// `faults` within `within`, over all workers, disable the plugin on the route. After `back_off`
/// one exchange tries it; each try that fails doubles the time, up to `most`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrashBudget {
    /// Zero: it is never disabled.
    pub faults: u32,
    pub within: Duration,
    pub back_off: Duration,
    pub most: Duration,
}

impl Default for CrashBudget {
    /// Ten faults a second, for ten seconds: at the default CPU limit that is what loops may cost
    /// a tenth of a core for. What fails less often than that serves better than it would disabled.
    fn default() -> CrashBudget {
        CrashBudget {
            faults: 100,
            within: Duration::from_secs(10),
            back_off: Duration::from_secs(1),
            most: Duration::from_secs(60),
        }
    }
}
