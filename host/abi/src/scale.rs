//! What a plugin says of what is coming.

use std::time::Duration;

/// A hint for the scaling of a pool. It is weighed, and never binds.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleHint<'a> {
    /// `demand`, `cost`, `prewarm`, `hold`.
    pub kind: &'a str,
    /// Requests a second, requests that this one counts for, origins, or 1 to hold; 0 takes back.
    pub value: f64,
    /// How long it stands; a cost needs none.
    pub ttl: Option<Duration>,
    /// From now until it is needed.
    pub due: Duration,
}
