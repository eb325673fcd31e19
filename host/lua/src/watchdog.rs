//! Ends what runs too long: one thread for the process, a tick of a millisecond.
//!
//! Time is CPU time of the worker's thread, so that a busy machine makes no false faults. The
//! worker only says "run n began" and "nothing runs" (reading its own CPU clock would cost a
//! system call each way); the watchdog reads the worker's clock when it first sees a run, and
//! arms the hook of the VM once the limit has passed since. A run may so last up to two ticks
//! longer than its limit, never less.
//!
//! The hook is armed again each tick until the run has ended: a recorded trace may swallow one.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use mlua_sys::lua_Hook;

use crate::state::{self, Raw, State};

const TICK: Duration = Duration::from_millis(1);

/// What a worker and the watchdog share about one VM.
pub struct Watch {
    /// Number of the run that goes on; 0 if none does.
    run: AtomicU64,
    /// Number of the run that has passed its limit.
    expired: AtomicU64,
    /// Whether the hook may be armed: told by whoever arms, before it does.
    armed: AtomicBool,
    limit_nanos: AtomicU64,
    /// Held by whoever arms or disarms, so that both never happen at once and a VM is never
    /// armed after its end.
    vm: Mutex<Option<Armable>>,
    clock: libc::clockid_t,
}

#[derive(Clone, Copy)]
struct Armable {
    state: *mut Raw,
    hook: lua_Hook,
}

// SAFETY: the pointer is followed by other threads only in `state::arm`, which allows it.
unsafe impl Send for Armable {}

impl Watch {
    /// Watches the VM of `state`, which the calling thread owns.
    pub fn new(state: State, hook: lua_Hook) -> Arc<Watch> {
        let watch = Arc::new(Watch {
            run: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            armed: AtomicBool::new(false),
            limit_nanos: AtomicU64::new(u64::MAX),
            vm: Mutex::new(Some(Armable { state: state.raw(), hook })),
            clock: clock_of_this_thread(),
        });
        Watchdog::get().add(watch.clone());
        watch
    }

    /// Must come before the VM is closed.
    pub fn end(&self) {
        *locked(&self.vm) = None;
        Watchdog::get().remove(self);
    }

    #[inline]
    pub fn begin(&self, run: u64, limit: Duration) {
        self.limit_nanos.store(limit.as_nanos() as u64, Ordering::Relaxed);
        self.run.store(run, Ordering::Release);
    }

    /// After this nothing of that run is armed any more.
    #[inline]
    pub fn finish(&self) {
        // Together with the order in `arm`: either the arming is seen here, or the end there.
        self.run.swap(0, Ordering::SeqCst);
        if self.armed.load(Ordering::SeqCst) {
            self.disarm();
        }
    }

    /// Whether the current run has passed its limit. Asked by the worker.
    #[inline]
    pub fn expired(&self) -> bool {
        let run = self.run.load(Ordering::Relaxed);
        run != 0 && self.expired.load(Ordering::Relaxed) == run
    }

    #[cold]
    pub fn disarm(&self) {
        if let Some(vm) = *locked(&self.vm) {
            // SAFETY: the VM ends only after `end` has taken it out under this lock.
            unsafe { state::disarm(vm.state) };
        }
        self.armed.store(false, Ordering::SeqCst);
    }

    /// Arms the hook now, from the worker itself.
    #[cold]
    pub fn arm_now(&self) {
        let guard = locked(&self.vm);
        self.armed.store(true, Ordering::SeqCst);
        if let Some(vm) = *guard {
            // SAFETY: as in `disarm`.
            unsafe { state::arm(vm.state, vm.hook) };
        }
    }

    fn arm(&self, run: u64) {
        let guard = locked(&self.vm);
        self.armed.store(true, Ordering::SeqCst);
        if self.run.load(Ordering::SeqCst) != run {
            return;
        }
        self.expired.store(run, Ordering::SeqCst);
        if let Some(vm) = *guard {
            // SAFETY: as in `disarm`.
            unsafe { state::arm(vm.state, vm.hook) };
        }
    }
}

/// One row of the watchdog's own notes.
struct Watched {
    watch: Arc<Watch>,
    seen: u64,
    since: Duration,
}

struct Watchdog {
    watched: Mutex<Vec<Watched>>,
    some: Condvar,
}

impl Watchdog {
    fn get() -> &'static Watchdog {
        static WATCHDOG: OnceLock<Watchdog> = OnceLock::new();
        static THREAD: OnceLock<()> = OnceLock::new();
        let watchdog = WATCHDOG.get_or_init(|| Watchdog { watched: Mutex::default(), some: Condvar::new() });
        THREAD.get_or_init(|| {
            std::thread::Builder::new()
                .name("lua-watchdog".to_owned())
                .spawn(|| watchdog.patrol())
                .expect("a process that runs plugins can start one more thread");
        });
        watchdog
    }

    fn add(&self, watch: Arc<Watch>) {
        locked(&self.watched).push(Watched { watch, seen: 0, since: Duration::ZERO });
        self.some.notify_one();
    }

    fn remove(&self, watch: &Watch) {
        locked(&self.watched).retain(|w| !std::ptr::eq(&*w.watch, watch));
    }

    fn patrol(&self) -> ! {
        loop {
            let mut watched = locked(&self.watched);
            while watched.is_empty() {
                watched = self.some.wait(watched).unwrap_or_else(PoisonError::into_inner);
            }
            watched.iter_mut().for_each(Watched::look);
            drop(watched);
            std::thread::sleep(TICK);
        }
    }
}

impl Watched {
    fn look(&mut self) {
        let run = self.watch.run.load(Ordering::Acquire);
        if run == 0 {
            return;
        }
        let Some(now) = cpu_time(self.watch.clock) else { return };
        if run != self.seen {
            (self.seen, self.since) = (run, now);
        } else if now - self.since >= Duration::from_nanos(self.watch.limit_nanos.load(Ordering::Relaxed)) {
            self.watch.arm(run);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn clock_of_this_thread() -> libc::clockid_t {
    let mut clock = libc::CLOCK_THREAD_CPUTIME_ID;
    // SAFETY: this thread is alive; `clock` is ours to be written.
    let failed: c_int = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock) };
    assert_eq!(failed, 0, "a live thread has a CPU clock");
    clock
}

/// `None` once the thread is gone.
fn cpu_time(clock: libc::clockid_t) -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is ours to be written; a clock that is gone is an error code.
    let failed = unsafe { libc::clock_gettime(clock, &mut time) };
    (failed == 0).then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}
