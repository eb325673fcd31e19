//! Moves the engine's epoch each millisecond while a guest runs, and sleeps while none does.
//!
//! A worker says by a flag of its own that it is in a guest. Before the ticker rests it says so,
//! lets one more tick pass, and only then looks at the flags a last time: a worker that read "it
//! ticks" has long been seen as running then. So entering a guest costs a store and a load, no
//! fence and no write that workers share.

use std::cell::OnceCell;
use std::sync::atomic::{AtomicBool, Ordering, compiler_fence};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::Thread;
use std::time::Duration;

use wasmtime::Engine;

const TICK: Duration = Duration::from_millis(1);
/// Ticks without a guest, after which the ticker rests.
const IDLE: u32 = 20;

static RESTING: AtomicBool = AtomicBool::new(false);
static THREAD: OnceLock<Thread> = OnceLock::new();
static WORKERS: Mutex<Vec<Weak<AtomicBool>>> = Mutex::new(Vec::new());

/// A guest runs on this thread until this is dropped.
pub struct Inside(Arc<AtomicBool>);

pub fn enter() -> Inside {
    thread_local!(static HERE: OnceCell<Arc<AtomicBool>> = const { OnceCell::new() });
    let flag = HERE.with(|here| here.get_or_init(register).clone());
    flag.store(true, Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
    if RESTING.load(Ordering::Relaxed) {
        wake();
    }
    Inside(flag)
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

fn register() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let mut workers = WORKERS.lock().unwrap_or_else(PoisonError::into_inner);
    // Those of threads that have ended.
    workers.retain(|worker| worker.strong_count() > 0);
    workers.push(Arc::downgrade(&flag));
    flag
}

#[cold]
fn wake() {
    RESTING.store(false, Ordering::SeqCst);
    if let Some(thread) = THREAD.get() {
        thread.unpark();
    }
}

/// Starts the ticker of the process's one engine.
pub fn start(engine: Engine) {
    let ticker = std::thread::Builder::new().name("wasm-epoch".to_owned()).spawn(move || tick(&engine));
    let ticker = ticker.expect("a process that can start its workers can start one thread more");
    let _ = THREAD.set(ticker.thread().clone());
}

fn tick(engine: &Engine) {
    let mut idle = 0;
    loop {
        std::thread::sleep(TICK);
        engine.increment_epoch();
        idle = if somebody_is_inside() { 0 } else { idle + 1 };
        if idle < IDLE {
            continue;
        }
        RESTING.store(true, Ordering::SeqCst);
        std::thread::sleep(TICK);
        engine.increment_epoch();
        if somebody_is_inside() {
            RESTING.store(false, Ordering::SeqCst);
        }
        while RESTING.load(Ordering::SeqCst) {
            std::thread::park();
        }
        idle = 0;
    }
}

fn somebody_is_inside() -> bool {
    let workers = WORKERS.lock().unwrap_or_else(PoisonError::into_inner);
    workers.iter().filter_map(Weak::upgrade).any(|inside| inside.load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn until(what: &str, mut done: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !done() {
            assert!(Instant::now() < end, "{what}");
            std::thread::sleep(TICK);
        }
    }

    #[test]
    fn the_ticker_rests_while_no_guest_runs_and_ticks_while_one_does() {
        crate::engine::engine();
        for _ in 0..3 {
            until("it rests", || RESTING.load(Ordering::SeqCst));
            let inside = enter();
            assert!(!RESTING.load(Ordering::SeqCst));
            // A guest that runs for long: once the ticker has seen it, it does not rest.
            let mut rests = 0;
            for _ in 0..4 * IDLE {
                rests += u32::from(RESTING.load(Ordering::SeqCst));
                std::thread::sleep(TICK);
            }
            assert!(rests < IDLE / 2, "rested at {rests} of {} looks", 4 * IDLE);
            drop(inside);
        }
    }

    #[test]
    fn threads_that_have_ended_are_forgotten() {
        for _ in 0..8 {
            std::thread::spawn(|| drop(enter())).join().unwrap();
        }
        drop(enter());
        std::thread::spawn(|| drop(enter())).join().unwrap();
        let known = WORKERS.lock().unwrap().iter().filter(|worker| worker.strong_count() > 0).count();
        assert!(known <= 3, "{known} threads");
    }
}
