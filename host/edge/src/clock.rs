//! Time as the code of a worker's thread asks for it. It is the system's, except on a stage
//! ([`crate::stage`]), where it stands still while anything can be done and jumps to the next
//! deadline when nothing can: a plugin that sleeps for a minute costs its test no time.
//!
//! The clock belongs to the thread, as the wheel does: every task of a worker is local.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

thread_local! {
    static SIMULATED: RefCell<Option<Rc<Simulated>>> = const { RefCell::new(None) };
}

/// A clock that a stage moves.
pub struct Simulated {
    start: Instant,
    start_wall: SystemTime,
    passed: Cell<Duration>,
    /// Who waits until when; the number keeps those of one moment in their order.
    timers: RefCell<BTreeMap<(Duration, u64), Waker>>,
    next: Cell<u64>,
    /// Who waits until nothing else can be done.
    idle: RefCell<Vec<Waker>>,
    turns: Cell<u64>,
}

/// The time of a [`timeout`] has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the time has passed")]
pub struct Passed;

/// Gives the thread its own time back when dropped.
pub struct Installed(());

fn simulated() -> Option<Rc<Simulated>> {
    SIMULATED.with_borrow(Clone::clone)
}

#[inline]
pub fn now() -> Instant {
    SIMULATED.with_borrow(|clock| clock.as_ref().map_or_else(Instant::now, |clock| clock.start + clock.passed.get()))
}

/// The time of day.
#[inline]
pub fn wall() -> SystemTime {
    SIMULATED
        .with_borrow(|clock| clock.as_ref().map_or_else(SystemTime::now, |clock| clock.start_wall + clock.passed.get()))
}

pub async fn sleep(duration: Duration) {
    match simulated() {
        Some(clock) => clock.sleep(duration).await,
        None => tokio::time::sleep(duration).await,
    }
}

/// What `future` gives within `limit`.
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, Passed> {
    let Some(clock) = simulated() else {
        return tokio::time::timeout(limit, future).await.map_err(|_| Passed);
    };
    let (mut future, mut late) = (pin!(future), pin!(clock.sleep(limit)));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Ok(value)),
        Poll::Pending => late.as_mut().poll(cx).map(|()| Err(Passed)),
    })
    .await
}

/// Ready when nothing else of this thread can be done before time moves; at once where time is
/// the system's.
pub async fn idle() {
    let Some(clock) = simulated() else { return };
    let asked = clock.turns.get();
    poll_fn(|cx| {
        if clock.turns.get() != asked {
            return Poll::Ready(());
        }
        clock.idle.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    })
    .await
}

impl Simulated {
    pub fn new(start_wall: SystemTime) -> Rc<Simulated> {
        Rc::new(Simulated {
            start: Instant::now(),
            start_wall,
            passed: Cell::default(),
            timers: RefCell::default(),
            next: Cell::default(),
            idle: RefCell::default(),
            turns: Cell::default(),
        })
    }

    /// From here on it is this thread's time.
    pub fn install(self: &Rc<Simulated>) -> Installed {
        SIMULATED.set(Some(self.clone()));
        Installed(())
    }

    /// When it began.
    pub fn start(&self) -> Instant {
        self.start
    }

    async fn sleep(self: Rc<Simulated>, duration: Duration) {
        let number = self.next.replace(self.next.get() + 1);
        let waiting = Waiting { key: (self.passed.get().saturating_add(duration), number), clock: self };
        poll_fn(|cx| waiting.poll(cx)).await;
    }
}

struct Waiting {
    clock: Rc<Simulated>,
    key: (Duration, u64),
}

impl Waiting {
    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.clock.passed.get() >= self.key.0 {
            return Poll::Ready(());
        }
        self.clock.timers.borrow_mut().insert(self.key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.clock.timers.borrow_mut().remove(&self.key);
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        SIMULATED.set(None);
    }
}

/// The thread has nothing to do: whoever waits for that goes on, or else time moves to the next
/// deadline.
pub fn rest() {
    let Some(clock) = simulated() else { return };
    let idle = std::mem::take(&mut *clock.idle.borrow_mut());
    if !idle.is_empty() {
        clock.turns.set(clock.turns.get() + 1);
        idle.into_iter().for_each(Waker::wake);
        return;
    }
    let Some(at) = clock.timers.borrow().keys().next().map(|(at, _)| *at) else { return };
    clock.passed.set(at);
    let later = clock.timers.borrow_mut().split_off(&(at, u64::MAX));
    let due = clock.timers.replace(later);
    due.into_values().for_each(Waker::wake);
}
