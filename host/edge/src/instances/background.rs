//! What plugins do by themselves, in CPU time: ticks, queues, what such callbacks waited for. Exchanges
//! of others share the worker with it and have no part in it, so each plugin has a share of the worker
//! for it (limit `background_cpu`). What comes when that is used up waits for its turn, and is never
//! dropped.

use std::cell::Cell;
use std::time::Duration;

use abi::{Limit, Limits, Mode};
use tokio::sync::{Mutex, MutexGuard};

use crate::clock;
use crate::exchange::seat::Seat;
use crate::share::Share;

/// The share of what is used in this time is free at once.
const BURST: Duration = Duration::from_secs(1);

/// Of one plugin on one worker, whatever configurations and versions of it there are.
#[derive(Default)]
pub struct Background {
    /// By the limits, and by what really holds back: in shadow mode that is more.
    used: [Cell<Share>; 2],
    /// Who waits comes in order.
    turns: Mutex<()>,
}

/// Leave to call the plugin once.
pub struct Turn<'a>(#[expect(dead_code, reason = "the next in line waits for its drop")] MutexGuard<'a, ()>);

impl Background {
    /// Leave, if there is any now.
    pub fn try_turn(&self) -> Option<Turn<'_>> {
        let turn = self.turns.try_lock().ok()?;
        self.used[1].get().wait(clock::now(), BURST).is_none().then_some(Turn(turn))
    }

    /// Waits for it; `delayed` is called if there was none.
    pub async fn turn(&self, delayed: impl FnOnce()) -> Turn<'_> {
        if let Some(turn) = self.try_turn() {
            return turn;
        }
        delayed();
        let turn = self.turns.lock().await;
        while let Some(wait) = self.used[1].get().wait(clock::now(), BURST) {
            clock::sleep(wait).await;
        }
        Turn(turn)
    }

    /// The plugin has used this much. In shadow mode it is told what it would have waited for.
    pub fn used(&self, used: Duration, seat: &Seat) {
        let (now, limits) = (clock::now(), &seat.bound.settings.limits);
        for (share, limits) in self.used.iter().zip([limits, &limits.backstop()]) {
            let mut sum = share.get();
            sum.add(now, used, limits.background_cpu.as_secs_f64());
            share.set(sum);
        }
        if limits.mode == Mode::Shadow && self.used[0].get().wait(now, BURST).is_some() {
            let share = limits.background_cpu;
            let text = format!("used more than {share:?} of CPU time a second (limit background_cpu)");
            seat.tell_passed(Limit::BackgroundCpu, &text);
        }
    }

    /// What may be used now before anything waits.
    pub fn left(&self, limits: &Limits) -> Duration {
        let owed = self.used[0].get().owed(clock::now());
        limits.background_cpu.mul_f64(BURST.saturating_sub(owed).as_secs_f64())
    }
}
