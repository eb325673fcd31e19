//! What one worker thread owns, and what all workers share.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::dict::Dicts;
use crate::instances::Instances;
use crate::origin::Origins;
use crate::snapshot::Snapshot;
use crate::telemetry::Telemetry;

/// Owned by one thread: handed around as `Rc<Worker>`.
pub struct Worker {
    pub id: usize,
    pub shared: Arc<Shared>,
    /// Connections to origins, idle and live counts, of this worker.
    pub origins: Origins,
    pub telemetry: Telemetry,
    /// This worker's running plugins.
    pub instances: Instances,
}

/// Shared by all threads of the edge.
pub struct Shared {
    /// Taken once per request; a reload swaps it whole.
    pub snapshot: ArcSwap<Snapshot>,
    /// The origins of each pool, with their health and stage.
    pub membership: crate::membership::Memberships,
    /// What all workers counted.
    pub ledger: Arc<crate::telemetry::Ledger>,
    /// For `/readyz`: each worker says when it accepts, and a drain says that it began.
    pub standing: crate::admin::Standing,
    /// Small values that plugins of all workers share.
    pub dicts: Arc<Dicts>,
}

impl Worker {
    /// The configuration as it is now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot.load_full()
    }
}
