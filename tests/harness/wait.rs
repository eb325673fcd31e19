//! Waiting for a condition, never for luck.

use std::time::{Duration, Instant};

/// How long a test waits for what must happen: far longer than it takes, because two cores may
/// be shared with a build. A test that passes never waits this long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again until `condition` gives a value; panics with `what` when `patience` has passed.
#[track_caller]
pub fn wait_until<T>(what: &str, patience: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(begin.elapsed() < patience, "waited {patience:?} for this, and it did not come: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
