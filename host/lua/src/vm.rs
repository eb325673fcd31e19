//! One Lua state of one instance: who is asking now, why it stopped, and its coroutines.
//!
//! Lua code always runs in a coroutine, and the host ends or suspends it by a yield: `pcall`
//! cannot catch one. [`Stop`] says why a coroutine yielded; a yield without one is never the
//! host's. The prelude passes such yields up through the plugin's own coroutines.

pub mod ending;
pub mod heap;
pub mod sandbox;

use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::c_int;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use abi::{Host, Meter, Phase, Side, Spent, Token, Verdict};
use mlua_sys::lua_Debug;

use crate::source::Source;
use crate::state::{Raw, Ref, Resumed, State};
use crate::watchdog::Watch;
use heap::Heap;

/// Coroutines kept for reuse.
const POOL: usize = 64;
/// Coroutines of a plugin nested in each other: each is a frame on the C stack.
pub const NESTING: u32 = 100;

/// Which callback runs: it gives the phase, and what waiting for a body means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Start,
    RequestHeaders,
    RequestBody,
    RequestTrailers,
    ResponseHeaders,
    ResponseBody,
    ResponseTrailers,
    ResponseEvent,
    Done,
    Log,
    Tick,
    QueueReady,
    Origin,
    Drain,
    Scale,
}

impl Stage {
    pub fn phase(self) -> Phase {
        match self {
            Stage::Start => Phase::Start,
            Stage::RequestHeaders | Stage::RequestBody | Stage::RequestTrailers => Phase::Request,
            Stage::ResponseHeaders | Stage::ResponseBody | Stage::ResponseTrailers | Stage::ResponseEvent => {
                Phase::Response
            }
            Stage::Origin => Phase::Origin,
            Stage::Done | Stage::Log => Phase::Log,
            Stage::Tick | Stage::QueueReady | Stage::Drain => Phase::Background,
            Stage::Scale => Phase::Scale,
        }
    }

    /// The side whose body may be asked for.
    pub fn side(self) -> Option<Side> {
        match self {
            Stage::RequestHeaders | Stage::RequestBody => Some(Side::Request),
            Stage::ResponseHeaders | Stage::ResponseBody => Some(Side::Response),
            // With the trailers the body has passed: what is still held is all there is.
            _ => None,
        }
    }

    /// Where a callback stands that goes on with bytes of a body.
    pub fn body(side: Side) -> Stage {
        match side {
            Side::Request => Stage::RequestBody,
            Side::Response => Stage::ResponseBody,
        }
    }
}

/// What a coroutine waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    Body(Side),
    /// The next bytes of it.
    Chunk(Side),
    Token(Token),
}

/// Why the host took a coroutine from the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    Wait(Wait),
    /// The script answered or closed: it is not returned to.
    Answered,
    /// The script ended its callback: it is not returned to.
    Continued,
    Killed(Verdict),
}

/// Who is asking: named before each resume, valid while it runs.
pub struct Asking {
    pub host: Rc<dyn Host>,
    pub stage: Stage,
    /// Nothing more of the side's body comes.
    pub whole: bool,
    /// The bytes that are looked at now have been given to a loop over chunks.
    pub taken: Cell<bool>,
    /// The table behind `ctx`, made when first written.
    pub locals: Cell<Ref>,
    /// CPU time of the callback before this entry, and of all entries of the exchange.
    pub callback: Cell<Meter>,
    pub exchange: Cell<Meter>,
}

impl Asking {
    pub fn new(host: Rc<dyn Host>, stage: Stage, whole: bool) -> Asking {
        let (taken, callback, exchange) = Default::default();
        Asking { host, stage, whole, taken, locals: Cell::new(Ref::NONE), callback, exchange }
    }
}

/// A coroutine of the host, kept alive by the registry.
#[derive(Clone, Copy)]
pub struct Coroutine {
    pub state: State,
    kept: Ref,
}

/// Nothing in it may belong to its thread but the watch: see [`ending`].
pub struct Vm {
    pub heap: Heap,
    main: Cell<Option<State>>,
    watch: OnceCell<Watch>,
    asking: Cell<Option<NonNull<Asking>>>,
    pub stop: Cell<Option<Stop>>,
    /// Coroutines of the plugin in each other now.
    pub nested: Cell<u32>,
    /// Whether globals are read-only: from the end of the start on.
    pub frozen: Cell<bool>,
    /// A panic of ours in a hostcall.
    pub panicked: RefCell<Option<String>>,
    /// The place of the last hostcall that was refused for a limit, as a traceback.
    pub refused_at: RefCell<Option<String>>,
    pub source: Arc<Source>,
    /// The metatable of refusals.
    pub refusal: Cell<Ref>,
    /// The metatable of arrays that came from JSON.
    pub array: Cell<Ref>,
    /// The function of the prelude that makes the libraries read-only.
    pub seal: Cell<Ref>,
    /// What the script's globals are, until they are sealed.
    pub globals: Cell<Ref>,
    pool: RefCell<Vec<Coroutine>>,
}

impl Vm {
    /// A sandboxed state for the calling thread, with `memory` bytes as its soft limit.
    pub fn new(source: Arc<Source>, memory: usize) -> Result<Box<Vm>, String> {
        let vm = Box::new(Vm {
            heap: Heap::new(memory),
            main: Cell::new(None),
            watch: OnceCell::new(),
            asking: Cell::new(None),
            stop: Cell::new(None),
            nested: Cell::new(0),
            frozen: Cell::new(false),
            panicked: RefCell::new(None),
            refused_at: RefCell::new(None),
            source,
            refusal: Cell::new(Ref::NONE),
            array: Cell::new(Ref::NONE),
            seal: Cell::new(Ref::NONE),
            globals: Cell::new(Ref::NONE),
            pool: RefCell::default(),
        });
        let data: *const Vm = &*vm;
        // SAFETY: the box does not move its content, and drops only after closing the state.
        let main = unsafe { State::open(heap::allocate, data.cast_mut().cast()) };
        let main = main.ok_or("no memory for a Lua state")?;
        vm.main.set(Some(main));
        sandbox::furnish(&vm)?;
        vm.watch()?;
        Ok(vm)
    }

    /// Has this thread watch it, which owns it from here on.
    pub fn watch(&self) -> Result<(), String> {
        let _ = self.watch.set(Watch::new(self.main(), hook)?);
        Ok(())
    }

    /// No thread owns it until one watches it.
    pub fn unwatch(&mut self) {
        drop(self.watch.take());
    }

    /// The VM that a state belongs to.
    #[inline]
    pub fn of<'a>(state: State) -> &'a Vm {
        // SAFETY: the allocator's data is the VM (`Vm::new`), which outlives its state; it is
        // only ever shared, its fields are cells.
        unsafe { &*state.data().cast::<Vm>() }
    }

    pub fn main(&self) -> State {
        self.main.get().expect("set by Vm::new, taken by drop")
    }

    /// Who asks now; inside hostcalls.
    #[inline]
    pub fn asking<'a>(&self) -> &'a Asking {
        let asking = self.asking.get().expect("hostcalls run while somebody asks");
        // SAFETY: `resume` names it and clears it; hostcalls run only in between.
        unsafe { asking.as_ref() }
    }

    #[inline]
    pub fn host<'a>(&self) -> &'a dyn Host {
        &*self.asking().host
    }

    /// As [`Vm::metered`], for tests that ask for the limit alone.
    #[cfg(test)]
    pub fn watched<T>(&self, limit: Duration, body: impl FnOnce() -> T) -> T {
        self.make_room();
        // It is dropped even if the host panics; no Lua error passes here, since a resume ends all.
        let _running = self.watch.get().expect("set by Vm::new").begin(limit, false);
        body()
    }

    /// Runs `body`, in which coroutines may be resumed, under a limit of CPU time. Gives also what it
    /// used, from its beginning if `exact`.
    #[inline]
    pub fn metered<T>(&self, limit: Duration, exact: bool, body: impl FnOnce() -> T) -> (T, Spent) {
        self.make_room();
        let running = self.watch.get().expect("set by Vm::new").begin(limit, exact);
        let result = body();
        (result, running.spent())
    }

    /// What the last run left over the limit is collected before the next begins, and before its time does:
    /// who comes after a bomb would be ended for 32 MB that are not its own.
    fn make_room(&self) {
        if self.heap.used() > self.heap.limit() {
            self.main().collect();
        }
    }

    /// CPU time of the run that goes on, as far as it is known.
    pub fn used(&self) -> Duration {
        self.watch.get().map(Watch::used).unwrap_or_default()
    }

    /// Resumes a coroutine for `asking`; within [`Vm::watched`].
    pub fn resume(&self, asking: &Asking, coroutine: Coroutine, arguments: c_int) -> Resumed {
        self.asking.set(Some(NonNull::from(asking)));
        self.stop.set(None);
        self.nested.set(0);
        if self.refused_at.borrow().is_some() {
            self.refused_at.take();
        }
        self.heap.start();
        let resumed = coroutine.state.resume(arguments);
        self.heap.infallible.set(true);
        self.asking.set(None);
        resumed
    }

    /// Makes globals and libraries read-only: from here on exchanges come. The error is ours.
    pub fn freeze(&self) -> Result<(), String> {
        let main = self.main();
        main.push_kept(self.seal.get());
        if !main.call_protected(0, 0) {
            let why = String::from_utf8_lossy(main.bytes(-1).unwrap_or_default()).into_owned();
            main.pop(1);
            return Err(why);
        }
        self.frozen.set(true);
        self.heap.serve();
        Ok(())
    }

    /// Why the script must be taken from its coroutine now, if it must.
    pub fn kill(&self) -> Option<Verdict> {
        if self.panicked.borrow().is_some() {
            return Some(Verdict::Panic);
        }
        if self.heap.exhausted() {
            return Some(Verdict::Memory);
        }
        self.watch.get().is_some_and(|w| w.expired()).then_some(Verdict::Cpu)
    }

    /// The next instruction of the script will meet the hook.
    #[cold]
    pub fn arm(&self) {
        // While the VM is furnished there is no watch, and nothing to stop.
        if let Some(watch) = self.watch.get() {
            watch.arm();
        }
    }

    pub fn take_coroutine(&self) -> Coroutine {
        if let Some(coroutine) = self.pool.borrow_mut().pop() {
            return coroutine;
        }
        let main = self.main();
        let state = main.new_coroutine();
        Coroutine { state, kept: main.keep() }
    }

    /// Takes back a coroutine that has finished.
    pub fn give_coroutine(&self, coroutine: Coroutine) {
        coroutine.state.set_top(0);
        if self.pool.borrow().len() < POOL {
            self.pool.borrow_mut().push(coroutine);
        } else {
            self.drop_coroutine(coroutine);
        }
    }

    /// Forgets a coroutine that is suspended or has failed: the collector takes it.
    pub fn drop_coroutine(&self, coroutine: Coroutine) {
        self.main().release(coroutine.kept);
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        if let Some(main) = self.main.take() {
            main.close();
        }
    }
}

/// Called by LuaJIT before an instruction, once armed; and without a record by what takes long in its
/// compiler and library (see `luajit-sys`): those cannot be suspended.
unsafe extern "C-unwind" fn hook(raw: *mut Raw, record: *mut lua_Debug) {
    // SAFETY: LuaJIT gives the running state; this runs on the thread that owns it.
    let state = unsafe { State::new(raw) };
    let vm = Vm::of(state);
    let Some(verdict) = vm.kill() else {
        vm.heap.settle();
        // What ended a C function for memory that is free again.
        if matches!(vm.stop.get(), Some(Stop::Killed(_))) {
            vm.stop.set(None);
        }
        if let Some(watch) = vm.watch.get() {
            watch.disarm();
        }
        return;
    };
    vm.stop.set(Some(Stop::Killed(verdict)));
    if !record.is_null() && state.can_suspend() {
        // SAFETY: the outermost frame, nothing with a Drop is alive; it unwinds from here.
        unsafe { state.suspend() };
    } else {
        // The hook stays armed: whoever catches this meets it again.
        state.push_mark(std::ptr::from_ref(vm).cast_mut().cast());
        // SAFETY: as above.
        unsafe { state.raise() };
    }
}
