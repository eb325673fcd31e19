//! What each callback of a plugin costs: CPU time, hostcalls, memory. The plugin's code is put into
//! something that looks at the clock before and after; the engine and the host are production's.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use abi::{Action, Callbacks, ContextId, Event, Fault, Host, Instance, Memory, Plugin};

thread_local! {
    static HOSTCALLS: Cell<u64> = const { Cell::new(0) };
}

/// One more call that was held against phase and capability, on this thread.
#[inline]
pub fn hostcall() {
    HOSTCALLS.with(|count| count.set(count.get() + 1));
}

/// One callback, many times.
#[derive(Clone, Debug, Default)]
pub struct Cost {
    /// CPU time of the worker's thread in each, in order of size once it was measured.
    pub cpu: Vec<Duration>,
    /// Calls that are checked against the table of hostcalls, in all.
    pub hostcalls: u64,
    /// Bytes and pieces of memory that were taken, in all.
    pub allocated: u64,
    pub allocations: u64,
    pub faults: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// By callback; `on_context_create` is the opening of an exchange's context.
    pub callbacks: BTreeMap<&'static str, Cost>,
    /// Of the instance that used most: when measuring began, and at most.
    pub memory: usize,
    pub peak: usize,
}

impl Cost {
    /// The time that this share of the callbacks stayed within.
    pub fn quantile(&self, share: f64) -> Duration {
        let last = self.cpu.len().saturating_sub(1);
        self.cpu.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
    }
}

/// Shared with the code that it stands around.
#[derive(Clone, Default)]
pub struct Probe(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    on: bool,
    /// What looking at the clock twice costs by itself.
    clock: Duration,
    measured: Measured,
}

impl Probe {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn around(&self, code: Arc<dyn Plugin>) -> Arc<dyn Plugin> {
        Arc::new(Around { code, probe: self.clone() })
    }

    /// From here on it counts.
    pub fn begin(&self) {
        let looks = (0..1000).map(|_| {
            let before = wasm::thread_cpu();
            wasm::thread_cpu() - before
        });
        let mut looks: Vec<_> = looks.collect();
        looks.sort();
        let mut state = self.state();
        state.clock = looks[looks.len() / 2];
        state.on = true;
    }

    /// What was measured, each callback's times in order.
    pub fn measured(&self) -> Measured {
        let mut measured = std::mem::take(&mut self.state().measured);
        measured.callbacks.values_mut().for_each(|cost| cost.cpu.sort());
        measured
    }

    fn watch<T>(
        &self,
        callback: &'static str,
        instance: &mut dyn Instance,
        call: impl FnOnce(&mut dyn Instance) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if !self.state().on {
            return call(instance);
        }
        let (calls, memory) = (HOSTCALLS.get(), instance.memory());
        let before = wasm::thread_cpu();
        let result = call(instance);
        let took = wasm::thread_cpu() - before;
        let (hostcalls, after) = (HOSTCALLS.get() - calls, instance.memory());
        let mut state = self.state();
        let took = took.saturating_sub(state.clock);
        let Measured { callbacks, memory: first, peak } = &mut state.measured;
        if *first == 0 {
            *first = memory.bytes;
        }
        *peak = (*peak).max(memory.bytes).max(after.bytes);
        let cost = callbacks.entry(callback).or_default();
        cost.cpu.push(took);
        cost.hostcalls += hostcalls;
        cost.allocated += after.allocated - memory.allocated;
        cost.allocations += after.allocations - memory.allocations;
        cost.faults += u64::from(result.is_err());
        result
    }
}

struct Around {
    code: Arc<dyn Plugin>,
    probe: Probe,
}

impl Plugin for Around {
    fn callbacks(&self) -> Callbacks {
        self.code.callbacks()
    }

    fn instantiate(&self, host: Rc<dyn Host>) -> Result<Box<dyn Instance>, Fault> {
        let instance = self.code.instantiate(host)?;
        Ok(Box::new(Watched { instance, probe: self.probe.clone() }))
    }

    fn shares(&self) -> bool {
        self.code.shares()
    }
}

struct Watched {
    instance: Box<dyn Instance>,
    probe: Probe,
}

impl Instance for Watched {
    fn open(&mut self, context: ContextId, host: Rc<dyn Host>) -> Result<(), Fault> {
        self.probe.watch("on_context_create", &mut *self.instance, |instance| instance.open(context, host))
    }

    fn call(&mut self, context: ContextId, event: Event<'_>) -> Result<Action, Fault> {
        self.probe.watch(event.callback(), &mut *self.instance, |instance| instance.call(context, event))
    }

    fn trace(&self, context: ContextId) -> Option<String> {
        self.instance.trace(context)
    }

    fn close(&mut self, context: ContextId) {
        self.instance.close(context);
    }

    fn ended(&self) -> bool {
        self.instance.ended()
    }

    fn healthy(&self) -> bool {
        self.instance.healthy()
    }

    fn memory(&self) -> Memory {
        self.instance.memory()
    }

    fn work(&self) -> abi::Work {
        self.instance.work()
    }
}
