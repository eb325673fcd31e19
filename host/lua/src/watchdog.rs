//! Ends what runs too long: a timer for each worker, and a signal that it takes on its own thread.
//!
//! Time is CPU time of the worker's thread, so that a busy machine makes no false faults. The
//! worker only says "a run began" and "nothing runs" (reading its CPU clock would cost a system
//! call each way). The signal's handler reads that clock when it first sees a run, and arms the
//! VM's hook once the limit has passed since. A run may so last up to one [`TICK`] longer than its
//! limit, never less.
//!
//! **Why a signal, and no thread that watches.** `lua_sethook` writes `hookmask` back as it read
//! it: from another thread it can undo what the interpreter wrote there in between (a hook that is
//! being left stays "active", and that VM is never stopped again), from a handler it cannot. A
//! handler needs no lock against the VM's end. And a watching thread is late when the machine is
//! busy: here a sleep of 1 ms ended up to 4 ms late on a quiet machine, the timer's signal within
//! 0.04 ms. A timer on the thread's CPU clock is looked at by the kernel's tick only, 4 ms apart.
//!
//! **Nothing ticks while nothing runs.** The timer strikes once. The handler starts it again while
//! a run goes on; else it says so, and the next run starts it. So a busy worker pays a start and a
//! signal (together 2 µs) for each [`TICK`], an idle one nothing.
//!
//! The hook is armed again at each strike until the run has ended: a recorded trace may swallow one.

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::mem::zeroed;
use std::ptr::{null, null_mut};
use std::rc::{Rc, Weak};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering::Relaxed, compiler_fence};
use std::time::Duration;

use abi::Spent;
use mlua_sys::lua_Hook;

use crate::state::{self, State};

/// Between two looks at a run.
const TICK: Duration = Duration::from_millis(1);
/// Ignored where nobody handles it, so a stray one does no harm.
const SIGNAL: c_int = libc::SIGURG;
/// The clock was not read for this run yet.
const UNSEEN: u64 = u64::MAX;

/// What the handler knows about one VM. It runs on the VM's own thread, in the middle of
/// anything: what both touch is atomic only so that the compiler leaves the order as written.
pub struct Watch {
    vm: State,
    hook: lua_Hook,
    beat: Rc<Beat>,
    limit: AtomicU64,
    /// CPU time of the thread when the run was first seen, in nanoseconds.
    since: AtomicU64,
    expired: AtomicBool,
    /// Whether the hook may be armed: told by whoever arms, before it does.
    armed: AtomicBool,
}

/// A run that is watched until this is dropped.
pub struct Running<'a> {
    watch: &'a Watch,
    outer: *mut Watch,
    exact: bool,
}

impl Running<'_> {
    /// What the run has used: nothing, if it was neither measured nor struck.
    #[inline]
    pub fn spent(&self) -> Spent {
        match self.watch.since.load(Relaxed) {
            UNSEEN => Spent::default(),
            since => {
                let known = Duration::from_nanos(cpu_time().saturating_sub(since));
                // What a strike found under way began somewhere in the beat before it.
                Spent { known, estimated: if self.exact { Duration::ZERO } else { TICK } }
            }
        }
    }
}

impl Watch {
    /// Watches the VM of `vm`, which the calling thread owns. The error is the system's.
    pub fn new(vm: State, hook: lua_Hook) -> Result<Watch, String> {
        Ok(Watch {
            vm,
            hook,
            beat: Beat::of_this_thread()?,
            limit: AtomicU64::new(u64::MAX),
            since: AtomicU64::new(UNSEEN),
            expired: AtomicBool::new(false),
            armed: AtomicBool::new(false),
        })
    }

    /// A run with `limit` of CPU time begins, `exact` if its time is read from the clock from here
    /// on (a system call). After the drop of what this gives nothing of the run is armed any more.
    #[inline]
    pub fn begin(&self, limit: Duration, exact: bool) -> Running<'_> {
        self.limit.store(limit.as_nanos() as u64, Relaxed);
        self.since.store(if exact { cpu_time() } else { UNSEEN }, Relaxed);
        self.expired.store(false, Relaxed);
        compiler_fence(std::sync::atomic::Ordering::SeqCst);
        let outer = self.beat.now.load(Relaxed);
        self.beat.now.store(std::ptr::from_ref(self).cast_mut(), Relaxed);
        compiler_fence(std::sync::atomic::Ordering::SeqCst);
        if self.beat.resting.load(Relaxed) {
            self.beat.start(TICK);
        }
        Running { watch: self, outer, exact }
    }

    /// CPU time of the current run, as far as it is known; from now on it is.
    pub fn used(&self) -> Duration {
        let now = cpu_time();
        match self.since.load(Relaxed) {
            UNSEEN => {
                self.since.store(now, Relaxed);
                Duration::ZERO
            }
            since => Duration::from_nanos(now.saturating_sub(since)),
        }
    }

    /// Whether the current run has passed its limit.
    #[inline]
    pub fn expired(&self) -> bool {
        self.expired.load(Relaxed)
    }

    /// Arms the hook now.
    #[cold]
    pub fn arm(&self) {
        self.armed.store(true, Relaxed);
        compiler_fence(std::sync::atomic::Ordering::SeqCst);
        // SAFETY: a watch is part of its VM, so the VM lives.
        unsafe { state::arm(self.vm.raw(), self.hook) };
    }

    #[cold]
    pub fn disarm(&self) {
        self.armed.store(false, Relaxed);
        compiler_fence(std::sync::atomic::Ordering::SeqCst);
        // SAFETY: as in `arm`.
        unsafe { state::disarm(self.vm.raw()) };
    }

    /// In the handler: the time until the next look.
    fn look(&self) -> Duration {
        let now = cpu_time();
        let limit = self.limit.load(Relaxed);
        let since = self.since.load(Relaxed);
        if since == UNSEEN {
            self.since.store(now, Relaxed);
            return TICK.min(Duration::from_nanos(limit));
        }
        let used = now.saturating_sub(since);
        if used < limit {
            // Time of the wall passes at least as fast: this is never late, and seldom early.
            return TICK.min(Duration::from_nanos(limit - used));
        }
        self.expired.store(true, Relaxed);
        // Off and on again: what is on already LuaJIT does not write a second time, and the
        // first may have met it while it wrote its dispatch table.
        self.disarm();
        self.arm();
        TICK
    }
}

impl Drop for Running<'_> {
    #[inline]
    fn drop(&mut self) {
        self.watch.beat.now.store(self.outer, Relaxed);
        compiler_fence(std::sync::atomic::Ordering::SeqCst);
        // From here on the handler does not arm this VM; before, it said so.
        self.watch.expired.store(false, Relaxed);
        if self.watch.armed.load(Relaxed) {
            self.watch.disarm();
        }
    }
}

/// A thread's timer, as long as it has a VM.
struct Beat {
    timer: Cell<libc::timer_t>,
    /// What runs now; null if nothing does.
    now: AtomicPtr<Watch>,
    /// The timer does not run.
    resting: AtomicBool,
    /// It belongs to its thread.
    here: PhantomData<*mut ()>,
}

thread_local! {
    static BEAT: RefCell<Weak<Beat>> = const { RefCell::new(Weak::new()) };
    /// For the handler: null once the beat has ended.
    static HERE: Cell<*const Beat> = const { Cell::new(null()) };
}

impl Beat {
    fn of_this_thread() -> Result<Rc<Beat>, String> {
        if let Some(beat) = BEAT.with_borrow(Weak::upgrade) {
            return Ok(beat);
        }
        listen()?;
        let beat = Rc::new(Beat {
            timer: Cell::new(null_mut()),
            now: AtomicPtr::new(null_mut()),
            resting: AtomicBool::new(true),
            here: PhantomData,
        });
        // SAFETY: a sigevent is plain data; the fields that count are written below.
        let mut event: libc::sigevent = unsafe { zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = SIGNAL;
        // SAFETY: asks for the calling thread's number.
        event.sigev_notify_thread_id = unsafe { libc::gettid() };
        // SAFETY: both are ours; the timer is written before it is read.
        if unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, beat.timer.as_ptr()) } != 0 {
            return Err(format!("no timer to end scripts by: {}", std::io::Error::last_os_error()));
        }
        HERE.set(Rc::as_ptr(&beat));
        BEAT.set(Rc::downgrade(&beat));
        Ok(beat)
    }

    /// The timer strikes after `time`, once.
    #[cold]
    fn start(&self, time: Duration) {
        self.resting.store(false, Relaxed);
        // Nothing at all would stop it.
        let nanos = time.as_nanos().max(1_000) as libc::c_long;
        // SAFETY: an itimerspec is plain data; zero means that it strikes once.
        let mut spec: libc::itimerspec = unsafe { zeroed() };
        spec.it_value.tv_nsec = nanos;
        // SAFETY: the timer lives as long as this; handlers may call this too.
        unsafe { libc::timer_settime(self.timer.get(), 0, &spec, null_mut()) };
    }

    /// In the handler.
    fn strike(&self) {
        let now = self.now.load(Relaxed);
        if now.is_null() {
            self.resting.store(true, Relaxed);
            return;
        }
        // SAFETY: whoever runs is named by `begin` and taken back before it can end; we are on
        // its thread.
        let next = unsafe { &*now }.look();
        self.start(next);
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        HERE.set(null());
        // SAFETY: the timer was made by `of_this_thread`; nobody uses it after this.
        unsafe { libc::timer_delete(self.timer.get()) };
    }
}

/// Takes the signal, once in the process.
fn listen() -> Result<(), String> {
    static TAKEN: OnceLock<Result<(), String>> = OnceLock::new();
    TAKEN
        .get_or_init(|| {
            let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_signal;
            // SAFETY: a sigaction is plain data; no other signal is kept waiting meanwhile.
            let mut action: libc::sigaction = unsafe { zeroed() };
            action.sa_sigaction = handler as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
            // SAFETY: the handler does only what a handler may (see there).
            if unsafe { libc::sigaction(SIGNAL, &action, null_mut()) } == 0 {
                return Ok(());
            }
            Err(format!("the signal that ends scripts: {}", std::io::Error::last_os_error()))
        })
        .clone()
}

/// Runs in the middle of anything on the worker's thread: it reads a clock, starts a timer, stores
/// into atomics and calls `lua_sethook`, all of which handlers may do.
extern "C" fn on_signal(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the address of this thread's own error number.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    // Without a destructor: this can be read at any time of the thread's life.
    let beat = HERE.get();
    // SAFETY: not null, so the beat has not ended; it ends on this thread.
    if let Some(beat) = unsafe { beat.as_ref() } {
        beat.strike();
    }
    // SAFETY: as above.
    unsafe { *errno = before };
}

/// CPU time of the calling thread in nanoseconds.
fn cpu_time() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is ours to be written; every Linux has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::source::Source;
    use crate::vm::Vm;

    /// Whether the timer is on its way to strike.
    fn ticks(beat: &Beat) -> bool {
        // SAFETY: plain data, then written by the call; the timer lives.
        let mut spec: libc::itimerspec = unsafe { zeroed() };
        // SAFETY: as above.
        assert_eq!(unsafe { libc::timer_gettime(beat.timer.get(), &mut spec) }, 0);
        spec.it_value.tv_sec != 0 || spec.it_value.tv_nsec != 0
    }

    #[test]
    fn nothing_ticks_while_nothing_runs() {
        let vm = Vm::new(Arc::new(Source::of("")), 32 << 20).unwrap();
        let beat = BEAT.with_borrow(Weak::upgrade).unwrap();
        assert!(beat.resting.load(Relaxed) && !ticks(&beat), "a VM alone starts no timer");
        for _ in 0..3 {
            vm.watched(Duration::from_secs(1), || assert!(ticks(&beat) && !beat.resting.load(Relaxed)));
            let end = Instant::now() + Duration::from_secs(20);
            while !beat.resting.load(Relaxed) {
                assert!(Instant::now() < end, "the timer goes on after the run");
            }
            assert!(!ticks(&beat), "a worker that rests is woken again");
        }
        drop((vm, beat));
        assert!(HERE.get().is_null() && BEAT.with_borrow(Weak::upgrade).is_none());
    }

    #[test]
    fn a_run_is_told_to_end_after_its_limit_and_not_before() {
        let vm = Vm::new(Arc::new(Source::of("")), 32 << 20).unwrap();
        for limit in [Duration::from_micros(100), Duration::from_millis(5), Duration::from_millis(12)] {
            let used = vm.watched(limit, || {
                let start = cpu_time();
                while vm.kill().is_none() {}
                Duration::from_nanos(cpu_time() - start)
            });
            assert!(used >= limit, "{used:?} of {limit:?}");
            assert!(used < limit + 2 * TICK + Duration::from_millis(1), "{used:?} of {limit:?}");
            assert!(vm.kill().is_none(), "what is over has not expired");
        }
    }

    /// What the script's every entry pays. The bound is wide: debug builds, busy machines.
    #[test]
    fn a_run_that_is_short_makes_no_system_call() {
        let vm = Vm::new(Arc::new(Source::of("")), 32 << 20).unwrap();
        let best = (0..50)
            .map(|_| {
                let start = cpu_time();
                (0..1000).for_each(|_| vm.watched(Duration::from_secs(1), || ()));
                cpu_time() - start
            })
            .min();
        println!("{} ns to begin and end a run", best.unwrap() as f64 / 1000.0);
        assert!(best.unwrap() < 1000 * 200, "{} ns a thousand", best.unwrap());
    }
}
