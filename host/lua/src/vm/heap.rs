//! The allocator of a VM, with two limits.
//!
//! Past the **soft** limit (the plugin's `memory`) it still allocates, and arms the hook: the
//! script ends before its next instruction. Past the **hard** limit (three times that) a single
//! instruction asked for too much, and gets nothing. LuaJIT survives that only where it expects
//! it: in script code. So outside of script code (while the host pushes values, in hostcalls)
//! the allocator does not fail, and neither does it when memory shrinks.
//!
//! One **piece** (a string, a table's array or hash) is bounded too: a call of the library on one is
//! done before anybody looks at the deadline, and 4 MiB take 2 ms.
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
/// Parts of the soft limit that one piece may have: while the plugin starts, and after.
const PIECE_AT_START: usize = 4;
const PIECE: usize = 8;
/// Heads beside a power of two of content.
const PIECE_HEAD: usize = 4 << 10;

pub struct Heap {
    used: Cell<usize>,
    /// In all: bytes, and pieces.
    allocated: Cell<u64>,
    allocations: Cell<u64>,
    /// What passes this is noted: the soft limit, or the plugin's own where that is only shadowed.
    note: Cell<usize>,
    noted: Cell<bool>,
    soft: Cell<usize>,
    hard: Cell<usize>,
    /// The most that script code gets in one piece.
    piece: Cell<usize>,
    /// What the plugin's limit says: the soft one, until somebody was out of memory.
    given: usize,
    /// The soft limit was passed, or more was asked for than there may be, in this run.
    over: Cell<bool>,
    /// Asked for past the hard limit, and not given.
    refused: Cell<bool>,
    /// No script code runs: allocate whatever is asked for.
    pub infallible: Cell<bool>,
    /// Allocations of script code, and the one that is to fail.
    #[cfg(test)]
    injected: Cell<(u64, u64)>,
}

impl Heap {
    pub fn new(soft: usize) -> Heap {
        Heap {
            used: Cell::new(0),
            allocated: Cell::new(0),
            allocations: Cell::new(0),
            note: Cell::new(soft),
            noted: Cell::new(false),
            soft: Cell::new(soft),
            hard: Cell::new(soft.saturating_mul(HARD_FACTOR)),
            piece: Cell::new(soft / PIECE_AT_START + PIECE_HEAD),
            given: soft,
            over: Cell::new(false),
            refused: Cell::new(false),
            infallible: Cell::new(true),
            #[cfg(test)]
            injected: Cell::new((0, u64::MAX)),
        }
    }

    pub fn used(&self) -> usize {
        self.used.get()
    }

    pub fn memory(&self) -> abi::Memory {
        let (allocated, allocations) = (self.allocated.get(), self.allocations.get());
        abi::Memory { bytes: self.used.get(), allocated, allocations }
    }

    /// From here on more than `bytes` in use are noted, and still given.
    pub fn note_past(&self, bytes: usize) {
        self.note.set(bytes);
    }

    /// Whether that was passed since this was last asked.
    pub fn was_noted(&self) -> bool {
        self.noted.replace(false)
    }

    /// Bytes past which a script ends.
    pub fn limit(&self) -> usize {
        self.soft.get()
    }

    /// The most that one string or table may be asked for.
    pub fn piece(&self) -> usize {
        self.piece.get()
    }

    /// The plugin has started: what comes now has a deadline of milliseconds.
    pub fn serve(&self) {
        self.piece.set(self.given / PIECE + PIECE_HEAD);
    }

    /// Whoever is in flight beside a script that ran out of memory gets room of its own: what that
    /// one left is garbage, but to collect all of it would hold the worker for long.
    pub fn forgive(&self) {
        self.soft.set(self.used.get().saturating_add(self.given).min(self.hard.get()));
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

    /// The script stays: what passed the limit has been freed. The limit holds again.
    pub fn settle(&self) {
        self.over.set(false);
    }

    /// Whether this allocation is the one that a test wants to fail.
    #[inline]
    fn injected(&self) -> bool {
        #[cfg(test)]
        {
            let (count, at) = self.injected.get();
            self.injected.set((count + 1, at));
            count == at
        }
        #[cfg(not(test))]
        false
    }

    #[inline]
    pub fn exhausted(&self) -> bool {
        self.over.get() && (self.refused.get() || self.used.get() > self.soft.get())
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
    if new > old && !heap.infallible.get() && (used > heap.hard.get() || new > heap.piece.get() || heap.injected()) {
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
    if new > old {
        heap.allocated.set(heap.allocated.get() + (new - old) as u64);
        heap.allocations.set(heap.allocations.get() + u64::from(old == 0));
    }
    if used > heap.note.get() {
        past_note(vm, used);
    }
    given.cast()
}

#[cold]
fn past_note(vm: &Vm, used: usize) {
    let heap = &vm.heap;
    heap.noted.set(true);
    if used > heap.soft.get() && !heap.over.get() {
        heap.over.set(true);
        vm.arm();
    }
}

fn layout(size: usize) -> Layout {
    // SAFETY: a power of two; LuaJIT asks for no size near the end of the address space.
    unsafe { Layout::from_size_align_unchecked(size, ALIGNMENT) }
}

#[cfg(test)]
mod injected;

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::scratch::Scratch;
    use crate::source::Source;
    use crate::state::Resumed;
    use crate::vm::{Asking, Stage};

    /// Every kind of allocation that script code makes, until there is no more.
    const SCRIPTS: [&str; 9] = [
        "local t = {} for i = 1, 1e9 do t[i] = tostring(i + 0.5) end",
        "local s = '' for i = 1, 1e9 do s = s .. i end",
        "local t = {} for i = 1, 1e9 do t[i] = { i } end",
        "local t = {} for i = 1, 1e9 do t['k' .. i] = i end",
        "local t = {} for i = 1, 1e9 do t[i] = string.format('%d %s', i, 'x') end",
        "local t = {} for i = 1, 1e9 do t[i] = coroutine.create(function() return i end) end",
        "local t = {} while true do pcall(function() for i = 1, 1e9 do t[#t + 1] = tostring(i / 3) end end) end",
        "local function f(...) return f(1, ...) end f()",
        "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(i % 50, tostring(i)):upper() end",
    ];

    fn exhaust(script: &str, spare: usize) -> (Resumed, bool) {
        let vm = Vm::new(Arc::new(Source::of("")), usize::MAX / 8).unwrap();
        let host = Rc::new(Scratch::new("test", abi::Limits::default()));
        let asking = Asking::new(host, Stage::Start, true);
        let coroutine = vm.take_coroutine();
        assert!(coroutine.state.compile(script.as_bytes(), c"=script"));
        vm.heap.hard.set(vm.heap.used() + spare);
        let resumed = vm.watched(Duration::from_secs(20), || vm.resume(&asking, coroutine, 0));
        let refused = vm.heap.refused.get();
        // The state is still whole: it collects, and runs code again.
        vm.heap.hard.set(usize::MAX);
        vm.drop_coroutine(coroutine);
        vm.main().collect();
        let next = vm.take_coroutine();
        assert!(next.state.compile(b"local t = {} for i = 1, 100 do t[i] = tostring(i) end", c"=next"));
        assert_eq!(vm.watched(Duration::from_secs(20), || vm.resume(&asking, next, 0)), Resumed::Done);
        (resumed, refused)
    }

    /// Without the patch of `luajit-sys` this ends the process.
    #[test]
    fn an_allocation_that_fails_anywhere_leaves_the_state_whole() {
        std::thread::Builder::new()
            .stack_size(8 << 20)
            .spawn(|| {
                for script in SCRIPTS {
                    for spare in (0..40_000).step_by(701) {
                        let (resumed, refused) = exhaust(script, spare);
                        assert_ne!(resumed, Resumed::Done, "{script} with {spare} bytes");
                        assert!(refused, "{script} with {spare} bytes: {resumed:?}");
                    }
                }
            })
            .unwrap()
            .join()
            .unwrap();
    }

    #[test]
    fn a_fresh_state_is_small() {
        let vm = Vm::new(Arc::new(Source::of("")), 32 << 20).unwrap();
        vm.main().collect();
        let used = vm.heap.used();
        assert!(used < 200 << 10, "a fresh VM takes {used} bytes");
        println!("a fresh VM takes {used} bytes");
    }

    #[test]
    fn what_is_closed_gives_everything_back() {
        let vm = Vm::new(Arc::new(Source::of("")), 32 << 20).unwrap();
        let main = vm.main.take().unwrap();
        main.close();
        assert_eq!(vm.heap.used(), 0);
    }
}
