//! What the configuration says about one plugin on one route.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::hostcall::Capabilities;

/// One plugin as one route uses it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The plugin's name in the configuration; also its vm id.
    pub plugin: Arc<str>,
    /// A short digest of the code, for logs and the admin view.
    pub version: Arc<str>,
    /// The text that `on_vm_start` gets.
    pub vm_config: Bytes,
    /// The text that `on_configure` gets: JSON, or the string that the configuration holds.
    pub config: Bytes,
    pub limits: Limits,
    pub capabilities: Capabilities,
}

/// What an instance may use. Passing one is a fault with a fixed verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// CPU time of the worker's thread in one callback.
    pub cpu: Duration,
    /// The same for `on_vm_start` and `on_configure` together.
    pub start_cpu: Duration,
    /// Wall time in one phase of an exchange, waits included.
    pub wall: Duration,
    /// Bytes of memory of one instance.
    pub memory: usize,
    /// Bytes of body that may be buffered for it, on each side.
    pub buffer: usize,
    /// Callouts in one exchange.
    pub callouts: u32,
    /// Lines a second, from one worker.
    pub log_lines: u32,
    /// Metrics that it may define.
    pub metrics: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            cpu: Duration::from_millis(10),
            start_cpu: Duration::from_millis(500),
            wall: Duration::from_secs(10),
            memory: 32 << 20,
            buffer: 1 << 20,
            callouts: 16,
            log_lines: 100,
            metrics: 100,
        }
    }
}
