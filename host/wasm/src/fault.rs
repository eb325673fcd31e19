//! What a failed call into the guest is called.

use abi::{Fault, Verdict};
use wasmtime::{Trap, WasmBacktrace};

use crate::budget::CpuSpent;
use crate::state::State;
use crate::wasi::Exit;

/// The fault for `error`, which ended a call into the guest of `state`.
pub fn of(error: &wasmtime::Error, state: &State) -> Fault {
    let fault = verdict(error, state);
    let said = state.printed.last_words.trim();
    let fault = if said.is_empty() {
        fault
    } else {
        Fault { message: format!("{}; the plugin said: {said}", fault.message), ..fault }
    };
    match error.downcast_ref::<WasmBacktrace>() {
        // Its first line only says that a backtrace follows.
        Some(trace) => fault.with_trace(trace.to_string().lines().skip(1).collect::<Vec<_>>().join("\n")),
        None => fault,
    }
}

fn verdict(error: &wasmtime::Error, state: &State) -> Fault {
    if let Some(spent) = error.downcast_ref::<CpuSpent>() {
        return Fault::new(Verdict::Cpu, spent.to_string());
    }
    if let Some(desired) = state.bounds.refused {
        let limit = state.bounds.memory;
        return Fault::new(Verdict::Memory, format!("asked for {desired} bytes of memory, its limit is {limit}"));
    }
    if let Some(exit) = error.downcast_ref::<Exit>() {
        return Fault::new(Verdict::Trap, exit.to_string());
    }
    match error.downcast_ref::<Trap>() {
        // Its last word before: what it did not have, it could not go on without.
        Some(trap) if state.denied.get() => Fault::new(
            Verdict::Capability,
            format!("{trap}, after a hostcall that was refused for want of a capability"),
        ),
        Some(trap) => Fault::new(Verdict::Trap, trap.to_string()),
        // Not the guest: there was no room for it, for one.
        None => Fault::new(Verdict::Config, error.root_cause().to_string()),
    }
}
