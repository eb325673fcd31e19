//! The allocator of a VM, with two limits.
//!
//! Past the **soft** limit (the plugin's `memory`) it still allocates, and arms the hook: the
//! script ends before its next instruction. Past the **hard** limit (three times that) a single
//! instruction asked for too much, and gets nothing. LuaJIT survives that only where it expects
//! it: in script code. So outside of script code (while the host pushes values, in hostcalls)
//! the allocator does not fail, and neither does it when memory shrinks.
//!
//! LuaJIT maps its machine code elsewhere: `maxmcode` bounds it (see `sandbox.rs`).

use std::alloc::{Layout, alloc, dealloc, realloc};
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::null_mut;

use super::Vm;

/// What LuaJIT expects of the system's allocator.
const ALIGNMENT: usize = 16;
const HARD_FACTOR: usize = 3;

pub struct Heap {
    used: Cell<usize>,
    soft: usize,
    hard: usize,
    /// The soft limit was passed, or more was asked for than there may be, in this run.
    over: Cell<bool>,
    /// Asked for past the hard limit, and not given.
    refused: Cell<bool>,
    /// No script code runs: allocate whatever is asked for.
    pub infallible: Cell<bool>,
}

impl Heap {
    pub fn new(soft: usize) -> Heap {
        Heap {
            used: Cell::new(0),
            soft,
            hard: soft.saturating_mul(HARD_FACTOR),
            over: Cell::new(false),
            refused: Cell::new(false),
            infallible: Cell::new(true),
        }
    }

    pub fn used(&self) -> usize {
        self.used.get()
    }

    /// The most that one string or table may be asked for.
    pub fn limit(&self) -> usize {
        self.soft
    }

    /// Script code runs from here on.
    #[inline]
    pub fn start(&self) {
        self.over.set(false);
        self.refused.set(false);
        self.infallible.set(false);
    }

    /// The script has asked for more than it may have.
    pub fn exhaust(&self) {
        self.refused.set(true);
        self.over.set(true);
    }

    #[inline]
    pub fn exhausted(&self) -> bool {
        self.over.get() && (self.refused.get() || self.used.get() > self.soft)
    }
}

/// The allocator that a state is opened with; `data` is its [`Vm`].
pub unsafe extern "C" fn allocate(data: *mut c_void, block: *mut c_void, old: usize, new: usize) -> *mut c_void {
    // SAFETY: `data` is the VM (see `Vm::new`), which is only ever shared.
    let vm = unsafe { &*data.cast::<Vm>() };
    let heap = &vm.heap;
    let old = if block.is_null() { 0 } else { old };
    if new == 0 {
        if old > 0 {
            // SAFETY: LuaJIT gives back a block with the size it has.
            unsafe { dealloc(block.cast(), layout(old)) };
            heap.used.set(heap.used.get() - old);
        }
        return null_mut();
    }
    let used = heap.used.get() - old + new;
    if used > heap.hard && new > old && !heap.infallible.get() {
        heap.exhaust();
        vm.arm();
        return null_mut();
    }
    let given = if old == 0 {
        // SAFETY: the size is not zero.
        unsafe { alloc(layout(new)) }
    } else {
        // SAFETY: LuaJIT gives the size that the block has; the new size is not zero.
        unsafe { realloc(block.cast(), layout(old), new) }
    };
    if given.is_null() {
        return if new <= old { block } else { null_mut() };
    }
    heap.used.set(used);
    if used > heap.soft && !heap.over.get() {
        heap.over.set(true);
        vm.arm();
    }
    given.cast()
}

fn layout(size: usize) -> Layout {
    // SAFETY: a power of two; LuaJIT asks for no size near the end of the address space.
    unsafe { Layout::from_size_align_unchecked(size, ALIGNMENT) }
}
