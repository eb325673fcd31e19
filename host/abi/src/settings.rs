//! What the configuration says about one plugin on one route.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::capability::Capabilities;

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
    /// What passing one of these means.
    pub mode: Mode,
    /// CPU time of the worker's thread in one callback, over all its waits.
    pub cpu: Duration,
    /// The same for `on_vm_start` and `on_configure` together.
    pub start_cpu: Duration,
    /// The same for all callbacks of one exchange.
    pub exchange_cpu: Duration,
    /// The same for all it does outside of exchanges on one worker, in each second: past it that waits.
    pub background_cpu: Duration,
    /// Wall time in one phase of an exchange, waits included.
    pub wall: Duration,
    /// Bytes of memory of one instance.
    pub memory: usize,
    /// Bytes of body that may be buffered for it, on each side.
    pub buffer: usize,
    /// Callouts in one exchange.
    pub callouts: u32,
    /// Questions to key-value stores in one exchange.
    pub kv_calls: u32,
    /// Lines a second, from one worker.
    pub log_lines: u32,
    /// Series of metrics that it may define.
    pub metrics: u32,
}

/// What happens at a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// A fault, or a refusal.
    #[default]
    Enforce,
    /// It is told ([`crate::Host::passed`]) and the exchange goes on; at [`BACKSTOP`] times the limit
    /// it is what it is otherwise, so that nothing hangs a worker.
    Shadow,
}

/// How far past its limits a plugin in shadow mode may go.
pub const BACKSTOP: u32 = 10;

impl Limits {
    /// What really ends a plugin: the limits themselves, or in shadow mode far more.
    pub fn backstop(&self) -> Limits {
        let Limits {
            mode,
            cpu,
            start_cpu,
            exchange_cpu,
            background_cpu,
            wall,
            memory,
            buffer,
            callouts,
            kv_calls,
            log_lines,
            metrics,
        } = *self;
        // An exchange may always use what one callback may.
        let exchange_cpu = exchange_cpu.max(cpu);
        if mode == Mode::Enforce {
            return Limits { exchange_cpu, ..self.clone() };
        }
        Limits {
            mode,
            cpu: cpu * BACKSTOP,
            start_cpu: start_cpu * BACKSTOP,
            exchange_cpu: exchange_cpu * BACKSTOP,
            background_cpu: background_cpu * BACKSTOP,
            wall: wall * BACKSTOP,
            memory: memory.saturating_mul(BACKSTOP as usize),
            buffer: buffer.saturating_mul(BACKSTOP as usize),
            callouts: callouts.saturating_mul(BACKSTOP),
            kv_calls: kv_calls.saturating_mul(BACKSTOP),
            log_lines: log_lines.saturating_mul(BACKSTOP),
            metrics: metrics.saturating_mul(BACKSTOP),
        }
    }
}

/// A limit, by the key that sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    Cpu,
    StartCpu,
    ExchangeCpu,
    BackgroundCpu,
    Wall,
    Memory,
    Buffer,
    Callouts,
    KvCalls,
    LogLines,
    Metrics,
}

impl Limit {
    pub fn name(self) -> &'static str {
        match self {
            Limit::Cpu => "cpu",
            Limit::StartCpu => "start_cpu",
            Limit::ExchangeCpu => "exchange_cpu",
            Limit::BackgroundCpu => "background_cpu",
            Limit::Wall => "wall",
            Limit::Memory => "memory",
            Limit::Buffer => "buffer",
            Limit::Callouts => "callouts",
            Limit::KvCalls => "kv_calls",
            Limit::LogLines => "log_lines",
            Limit::Metrics => "metrics",
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            mode: Mode::Enforce,
            cpu: Duration::from_millis(10),
            start_cpu: Duration::from_millis(500),
            exchange_cpu: Duration::from_secs(1),
            background_cpu: Duration::from_millis(100),
            wall: Duration::from_secs(10),
            memory: 32 << 20,
            buffer: 1 << 20,
            callouts: 16,
            kv_calls: 64,
            log_lines: 100,
            metrics: 100,
        }
    }
}
