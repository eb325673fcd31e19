//! What one entry into a guest may use: CPU time, which is asked for at each epoch, and memory, which
//! is asked for as it grows.

use std::time::Duration;

use abi::{Limit, Limits, Spent};
use wasmtime::{ResourceLimiter, StoreContextMut, UpdateDeadline};

use crate::clock::thread_cpu;
use crate::engine::{TABLE_ELEMENTS, TABLES};
use crate::state::State;

/// CPU time of one callback.
pub struct Budget {
    /// CPU time of the thread when the callback began. Asking the clock costs a system call, so
    /// the first epoch that a callback meets does it (at most a millisecond late): one that
    /// meets none never pays.
    pub since: Option<Duration>,
    /// It was read as the callback began: what was spent is known from there.
    pub exact: bool,
    pub limit: Duration,
    /// Which limit it is that is nearest.
    pub of: Limit,
}

/// Between two epochs.
const EPOCH: Duration = Duration::from_millis(1);

impl Budget {
    /// What was used: nothing, if it was neither measured nor met by an epoch.
    #[inline]
    pub fn spent(&self) -> Spent {
        match self.since {
            None => Spent::default(),
            Some(since) => {
                let estimated = if self.exact { Duration::ZERO } else { EPOCH };
                Spent { known: thread_cpu().saturating_sub(since), estimated }
            }
        }
    }
}

/// What ends a guest whose CPU time is spent.
#[derive(Debug)]
pub struct CpuSpent(pub Limit, pub Duration);

impl std::fmt::Display for CpuSpent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Limit::ExchangeCpu => {
                write!(f, "used more than {:?} of CPU time in one exchange (limit exchange_cpu)", self.1)
            }
            _ => write!(f, "used more than {:?} of CPU time", self.1),
        }
    }
}

impl std::error::Error for CpuSpent {}

/// That a limit is spent, by its whole length.
pub fn spent(limit: Limit, limits: &Limits) -> CpuSpent {
    CpuSpent(
        limit,
        match limit {
            Limit::ExchangeCpu => limits.exchange_cpu,
            Limit::StartCpu => limits.start_cpu,
            _ => limits.cpu,
        },
    )
}

/// For work of the host that takes as long as its input is large: ends the guest as an epoch does.
pub fn afford(state: &mut State) -> wasmtime::Result<()> {
    let State { budget, backstop, .. } = state;
    let now = thread_cpu();
    match budget.since {
        None => budget.since = Some(now),
        Some(since) if now.saturating_sub(since) >= budget.limit => return Err(spent(budget.of, backstop).into()),
        Some(_) => {}
    }
    Ok(())
}

/// Called in the guest at the first loop or call after an epoch has ended.
pub fn on_epoch(mut store: StoreContextMut<'_, State>) -> wasmtime::Result<UpdateDeadline> {
    afford(store.data_mut())?;
    Ok(UpdateDeadline::Continue(1))
}

/// Memory and tables of one instance.
#[derive(Default)]
pub struct Bounds {
    pub in_use: usize,
    pub memory: usize,
    /// More than this is noted, and still given up to `memory`: the plugin's limit where it is only
    /// shadowed.
    pub note: usize,
    /// What was asked for past it.
    pub noted: Option<usize>,
    /// Bytes that were asked for and refused in this callback: what traps after that ran out
    /// of memory, whatever the trap is called.
    pub refused: Option<usize>,
}

impl ResourceLimiter for Bounds {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > self.note {
            self.noted = Some(desired);
        }
        let fits = desired <= self.memory;
        if fits {
            self.in_use = desired;
        } else {
            self.refused = Some(desired);
        }
        Ok(fits)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }

    fn instances(&self) -> usize {
        1
    }

    fn memories(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        TABLES as usize
    }
}
