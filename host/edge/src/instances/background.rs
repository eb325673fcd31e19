//! What plugins do by themselves, in CPU time: ticks, queues, what such callbacks waited for. Exchanges
//! of others share the worker with it and have no part in it, so each plugin has a share of the worker
//! for it (limit `background_cpu`). What comes when that is used up waits for its turn, and is never
//! dropped.

use std::cell::Cell;
use std::time::{Duration, Instant};

use abi::{Limit, Limits, Mode};
use tokio::sync::{Mutex, MutexGuard};

use crate::clock;
use crate::exchange::seat::Seat;

/// The share of what is used in this time is free at once.
const BURST: Duration = Duration::from_secs(1);

/// Of one plugin on one worker, whatever configurations and versions of it there are.
#[derive(Default)]
pub struct Background {
    /// By the limits, and by what really holds back: in shadow mode that is more.
    paid: [Paid; 2],
    /// Who waits comes in order.
    turns: Mutex<()>,
}

/// A bucket of CPU time as one instant (GCRA): by when all that was used is made up for.
#[derive(Default)]
struct Paid(Cell<Option<Instant>>);

/// Leave to call the plugin once.
pub struct Turn<'a>(#[expect(dead_code, reason = "the next in line waits for its drop")] MutexGuard<'a, ()>);

impl Paid {
    /// How long until more may be used.
    fn wait(&self, now: Instant) -> Option<Duration> {
        let over = self.0.get()?.saturating_duration_since(now).checked_sub(BURST)?;
        (!over.is_zero()).then_some(over)
    }

    /// `share` may be used in a second.
    fn add(&self, now: Instant, used: Duration, share: Duration) {
        let from = self.0.get().map_or(now, |by| by.max(now));
        let seconds = used.as_secs_f64() / share.as_secs_f64().max(1e-3);
        self.0.set(Some(from + Duration::from_secs_f64(seconds)));
    }
}

impl Background {
    /// Leave, if there is any now.
    pub fn try_turn(&self) -> Option<Turn<'_>> {
        let turn = self.turns.try_lock().ok()?;
        self.paid[1].wait(clock::now()).is_none().then_some(Turn(turn))
    }

    /// Waits for it; `delayed` is called if there was none.
    pub async fn turn(&self, delayed: impl FnOnce()) -> Turn<'_> {
        if let Some(turn) = self.try_turn() {
            return turn;
        }
        delayed();
        let turn = self.turns.lock().await;
        while let Some(wait) = self.paid[1].wait(clock::now()) {
            clock::sleep(wait).await;
        }
        Turn(turn)
    }

    /// The plugin has used this much. In shadow mode it is told what it would have waited for.
    pub fn used(&self, used: Duration, seat: &Seat) {
        let (now, limits) = (clock::now(), &seat.bound.settings.limits);
        self.paid[0].add(now, used, limits.background_cpu);
        self.paid[1].add(now, used, limits.backstop().background_cpu);
        if limits.mode == Mode::Shadow && self.paid[0].wait(now).is_some() {
            let share = limits.background_cpu;
            let text = format!("used more than {share:?} of CPU time a second (limit background_cpu)");
            seat.tell_passed(Limit::BackgroundCpu, &text);
        }
    }

    /// What may be used now before anything waits.
    pub fn left(&self, limits: &Limits) -> Duration {
        let now = clock::now();
        let owed = self.paid[0].0.get().map_or(Duration::ZERO, |by| by.saturating_duration_since(now));
        limits.background_cpu.mul_f64(BURST.saturating_sub(owed).as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_share_is_free_at_once_and_then_comes_back_with_time() {
        let (paid, now) = (Paid::default(), Instant::now());
        for _ in 0..10 {
            assert_eq!(paid.wait(now), None);
            paid.add(now, 10 * MS, 100 * MS);
        }
        assert_eq!(paid.wait(now), None, "just used up");
        paid.add(now, 10 * MS, 100 * MS);
        let wait = paid.wait(now).expect("10 ms too much");
        assert!(wait > 99 * MS && wait < 101 * MS, "{wait:?} at a tenth of the worker");
        assert_eq!(paid.wait(now + 101 * MS), None);
        assert_eq!(paid.wait(now + 3600 * BURST), None);
        // A rest of any length gives no more than the burst.
        paid.add(now + 3600 * BURST, 150 * MS, 100 * MS);
        assert!(paid.wait(now + 3600 * BURST).is_some_and(|wait| wait > 499 * MS));
    }
}
