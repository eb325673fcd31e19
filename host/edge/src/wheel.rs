//! Coarse timers: one wheel per worker thread, ticks of ten milliseconds. A connection keeps one
//! [`Timer`] for its life; to arm it again writes one number, so a request pays no registration
//! and no allocation for its deadlines.
//!
//! A timer fires up to two ticks late and never early. The wheel belongs to the thread
//! (`thread_local`): a timer must be used on the thread that made it, which holds because every
//! task of a worker is local.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use slab::Slab;

/// Resolution of the wheel.
pub const TICK: Duration = Duration::from_millis(10);

const SLOTS: usize = 1024;
const IDLE: u64 = u64::MAX;

thread_local! {
    static WHEEL: RefCell<Wheel> = RefCell::new(Wheel::new(crate::clock::now()));
}

struct Wheel {
    start: Instant,
    /// Ticks before this one have been handled.
    next: u64,
    entries: Slab<Entry>,
    /// Keys of the entries to look at in each tick (modulo [`SLOTS`]); an entry is looked at
    /// early rather than moved when its deadline moves away.
    slots: Vec<Vec<usize>>,
    linked: usize,
    /// Of the driver, while nothing is linked.
    parked: Option<Waker>,
}

struct Entry {
    /// Tick at which it fires; [`IDLE`] if it is not armed.
    deadline: u64,
    /// The earliest tick at which it will be looked at; [`IDLE`] if that is not known.
    looked_at: u64,
    links: u32,
    fired: bool,
    dropped: bool,
    waker: Option<Waker>,
}

/// A deadline of the current worker. Not armed when made.
pub struct Timer {
    key: usize,
}

impl Timer {
    pub fn new() -> Timer {
        let key = WHEEL.with_borrow_mut(|wheel| {
            wheel.entries.insert(Entry {
                deadline: IDLE,
                looked_at: IDLE,
                links: 0,
                fired: false,
                dropped: false,
                waker: None,
            })
        });
        Timer { key }
    }

    /// Fires `after` from now; replaces what was armed.
    pub fn arm(&mut self, after: Duration) {
        let now = crate::clock::now();
        let driver = WHEEL.with_borrow_mut(|wheel| wheel.arm(self.key, now, after));
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    pub fn disarm(&mut self) {
        WHEEL.with_borrow_mut(|wheel| {
            let entry = &mut wheel.entries[self.key];
            entry.deadline = IDLE;
            entry.fired = false;
        });
    }

    /// Ready once it has fired, until it is armed or disarmed again.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        WHEEL.with_borrow_mut(|wheel| {
            let entry = &mut wheel.entries[self.key];
            if entry.fired {
                return Poll::Ready(());
            }
            match &mut entry.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            Poll::Pending
        })
    }

    pub async fn fired(&mut self) {
        poll_fn(|cx| self.poll(cx)).await
    }
}

impl Default for Timer {
    fn default() -> Timer {
        Timer::new()
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // The thread may be ending and its wheel gone: then there is nothing to take out.
        let _ = WHEEL.try_with(|wheel| {
            let mut wheel = wheel.borrow_mut();
            let entry = &mut wheel.entries[self.key];
            entry.waker = None;
            if entry.links == 0 {
                wheel.entries.remove(self.key);
            } else {
                entry.dropped = true;
            }
        });
    }
}

impl Wheel {
    fn new(start: Instant) -> Wheel {
        Wheel { start, next: 0, entries: Slab::new(), slots: vec![Vec::new(); SLOTS], linked: 0, parked: None }
    }

    fn tick_of(&self, at: Instant) -> u64 {
        (at.saturating_duration_since(self.start).as_millis() / TICK.as_millis()) as u64
    }

    fn arm(&mut self, key: usize, now: Instant, after: Duration) -> Option<Waker> {
        let now = self.tick_of(now);
        let ticks = after.as_millis().div_ceil(TICK.as_millis()).min(1 << 40) as u64;
        let deadline = now + ticks + 1;
        let driver = if self.linked == 0 {
            // Nothing was waiting: the ticks of the pause need not be walked.
            self.next = now;
            self.parked.take()
        } else {
            None
        };
        let entry = &mut self.entries[key];
        entry.deadline = deadline;
        entry.fired = false;
        if entry.links == 0 || entry.looked_at > deadline {
            self.link(key, deadline);
        }
        driver
    }

    fn link(&mut self, key: usize, tick: u64) {
        let entry = &mut self.entries[key];
        entry.links += 1;
        entry.looked_at = tick;
        self.linked += 1;
        self.slots[tick as usize % SLOTS].push(key);
    }

    /// Handles all ticks up to `now`; gives whom to wake.
    fn advance(&mut self, now: Instant, wake: &mut Vec<Waker>) {
        let now = self.tick_of(now);
        // After a long stall every slot is due once, not once per missed turn.
        let from = self.next.max((now + 1).saturating_sub(SLOTS as u64));
        for tick in from..=now {
            let keys = std::mem::take(&mut self.slots[tick as usize % SLOTS]);
            for key in keys {
                self.look(key, now, wake);
            }
        }
        self.next = now + 1;
    }

    fn look(&mut self, key: usize, now: u64, wake: &mut Vec<Waker>) {
        self.linked -= 1;
        let entry = &mut self.entries[key];
        entry.links -= 1;
        entry.looked_at = IDLE;
        if entry.dropped {
            if entry.links == 0 {
                self.entries.remove(key);
            }
        } else if entry.deadline <= now {
            entry.deadline = IDLE;
            entry.fired = true;
            wake.extend(entry.waker.take());
        } else if entry.deadline != IDLE && entry.links == 0 {
            let deadline = entry.deadline;
            self.link(key, deadline);
        }
    }
}

/// Moves the wheel of this thread. Runs for the life of the worker, and sleeps while no timer is
/// linked.
pub async fn drive() {
    let mut wake = Vec::new();
    loop {
        poll_fn(|cx| {
            WHEEL.with_borrow_mut(|wheel| {
                if wheel.linked > 0 {
                    return Poll::Ready(());
                }
                wheel.parked = Some(cx.waker().clone());
                Poll::Pending
            })
        })
        .await;
        crate::clock::sleep(TICK).await;
        WHEEL.with_borrow_mut(|wheel| wheel.advance(crate::clock::now(), &mut wake));
        for waker in wake.drain(..) {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(wheel: &mut Wheel) -> usize {
        wheel.entries.insert(Entry {
            deadline: IDLE,
            looked_at: IDLE,
            links: 0,
            fired: false,
            dropped: false,
            waker: None,
        })
    }

    #[test]
    fn a_timer_fires_after_its_time_and_not_before() {
        let start = Instant::now();
        for after in [0, 1, 10, 95, 10_240, 60_000] {
            let mut wheel = Wheel::new(start);
            let key = insert(&mut wheel);
            wheel.arm(key, start, Duration::from_millis(after));
            let mut at = start;
            while !wheel.entries[key].fired {
                assert!(at <= start + Duration::from_millis(after + 25), "{after} ms: late");
                at += Duration::from_millis(5);
                wheel.advance(at, &mut Vec::new());
            }
            assert!(at >= start + Duration::from_millis(after), "{after} ms: early");
            assert_eq!(wheel.linked, 0);
        }
    }

    #[test]
    fn a_deadline_that_moves_away_is_not_met_early_and_one_that_moves_near_not_late() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let mut wheel = Wheel::new(start);
        let key = insert(&mut wheel);
        wheel.arm(key, start, ms(100));
        wheel.arm(key, start + ms(50), ms(1000));
        wheel.advance(start + ms(500), &mut Vec::new());
        assert!(!wheel.entries[key].fired);
        wheel.arm(key, start + ms(510), ms(20));
        wheel.advance(start + ms(560), &mut Vec::new());
        assert!(wheel.entries[key].fired);
    }

    #[test]
    fn a_disarmed_timer_never_fires_and_leaves_nothing_behind() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        let key = insert(&mut wheel);
        for i in 0..1000 {
            wheel.arm(key, start + Duration::from_millis(i), Duration::from_millis(100));
            wheel.entries[key].deadline = IDLE;
        }
        assert!(wheel.linked <= 2, "to arm again does not link again: {}", wheel.linked);
        wheel.advance(start + Duration::from_secs(30), &mut Vec::new());
        assert!(!wheel.entries[key].fired);
        assert_eq!(wheel.linked, 0);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_driver_wakes_a_waiting_task() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                tokio::task::spawn_local(drive());
                for _ in 0..3 {
                    let mut timer = Timer::new();
                    let start = Instant::now();
                    timer.arm(Duration::from_millis(20));
                    timer.fired().await;
                    assert!(start.elapsed() >= Duration::from_millis(20));
                }
            })
            .await;
    }
}
