//! The admin address: what an operator and an orchestrator may ask a running edge.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Whether this edge takes traffic.
#[derive(Debug, Default)]
pub struct Standing {
    /// Workers that accept connections.
    pub accepting: AtomicUsize,
    pub draining: AtomicBool,
}

impl Standing {
    /// `workers` is how many there should be.
    pub fn ready(&self, workers: usize) -> bool {
        self.accepting.load(Ordering::Relaxed) >= workers && !self.draining.load(Ordering::Relaxed)
    }
}
