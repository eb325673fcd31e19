//! What a failed call into the guest is called.

use abi::{Fault, Verdict};
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

use crate::budget::CpuSpent;
use crate::bulk::Rewritten;
use crate::engine::POOL;
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
        Some(trace) => fault.with_trace(as_written(trace, state.rewritten)),
        None => fault,
    }
}

/// A trace of the module as its author has it: without the functions that were added to it, and with the
/// offsets of its own file.
fn as_written(trace: &WasmBacktrace, rewritten: Rewritten) -> String {
    // Its first line only says that a backtrace follows.
    let text = trace.to_string();
    let mut lines = text.lines().skip(1).peekable();
    let mut kept: Vec<String> = Vec::new();
    let mut count = 0;
    for (index, frame) in trace.frames().iter().enumerate() {
        let offset = frame.module_offset();
        let begins = |index: usize| format!("  {index:>3}: ");
        let first = lines.next().unwrap_or_default().strip_prefix(&begins(index)).unwrap_or_default();
        let (ours, next) = (frame.func_index() >= rewritten.added, begins(index + 1));
        if !ours {
            let name = match offset {
                Some(offset) => first.strip_prefix(&format!("{offset:#8x} - ")).unwrap_or(first),
                None => first,
            };
            let offset = offset.zip(rewritten.shift).map(|(offset, shift)| offset.saturating_sub(shift as usize));
            let offset = offset.map(|offset| format!("{offset:#8x} - ")).unwrap_or_default();
            kept.push(format!("{}{offset}{name}", begins(count)));
            count += 1;
        }
        // What it was made of, where the module says so.
        while let Some(line) = lines.next_if(|line| !line.starts_with(&next)) {
            if !ours {
                kept.push(line.to_owned());
            }
        }
    }
    kept.join("\n")
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
        None if error.is::<PoolConcurrencyLimitError>() => {
            let text =
                format!("no room for one more: all {POOL} instances that the process may have at once are in use");
            Fault { crowded: true, ..Fault::new(Verdict::Config, text) }
        }
        // Not the guest.
        None => Fault::new(Verdict::Config, error.root_cause().to_string()),
    }
}
