//! Where large VMs end: giving back half a million objects takes tens of milliseconds, and the
//! worker has others to serve. So a thread of its own does it, with a channel for a grave.

use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

use super::Vm;

/// Bytes up to which a worker closes a VM itself: about a millisecond.
const SMALL: usize = 1 << 20;

/// A VM that nobody will enter again.
struct Ended(Box<Vm>);

// SAFETY: nothing else refers to the VM, and what belongs to its thread (the watch) was taken out
// of it in `end`. LuaJIT has no state outside of its VM, and the allocator is the process's.
unsafe impl Send for Ended {}

/// Closes the VM, sooner or later.
pub fn end(mut vm: Box<Vm>) {
    vm.unwatch();
    // A trusted plugin's FFI may have finalizers, which belong to its worker.
    if vm.heap.used() <= SMALL || vm.source.is_trusted() {
        return;
    }
    static GRAVE: OnceLock<Option<Sender<Ended>>> = OnceLock::new();
    let grave = GRAVE.get_or_init(|| {
        let (sender, ended) = channel::<Ended>();
        let undertaker = std::thread::Builder::new().name("lua-ending".to_owned());
        // Without a thread the worker does it: late, but done.
        undertaker.spawn(move || ended.into_iter().for_each(|ended| drop(ended.0))).ok()?;
        Some(sender)
    });
    if let Some(grave) = grave {
        // A failed send drops it here.
        let _ = grave.send(Ended(vm));
    }
}
