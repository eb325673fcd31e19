//! When an HTTP/2 connection without an exchange ends. Its client may send frames all the time
//! (pings, settings, windows), so bytes say nothing: the time runs from the end of the last exchange,
//! from the last data that the client took, or from the connection's start.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::serve::guard::Limits;
use crate::serve::tap::Tap;
use crate::wheel::Timer;

/// From the goodbye until the connection is closed, whether or not the client has answered.
const LINGER: Duration = Duration::from_secs(1);

pub struct Idle {
    tap: Arc<Tap>,
    limits: Limits,
    timer: Timer,
    /// When goodbye was said.
    goodbye: Option<Instant>,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub enum Due {
    Goodbye,
    Close,
}

impl Idle {
    pub fn new(tap: Arc<Tap>, limits: Limits) -> Idle {
        let mut timer = Timer::new();
        timer.arm(limits.idle);
        Idle { tap, limits, timer, goodbye: None }
    }

    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
        // The timer is not moved with each exchange; when it fires, it is set for what is left.
        while self.timer.poll(cx).is_ready() {
            let now = crate::clock::now();
            match self.left(now) {
                Some(left) if left.is_zero() => {
                    let due = if self.goodbye.is_some() { Due::Close } else { Due::Goodbye };
                    self.goodbye = Some(now);
                    self.timer.arm(LINGER);
                    return Poll::Ready(due);
                }
                Some(left) => self.timer.arm(left),
                None => self.timer.arm(self.patience()),
            }
        }
        Poll::Pending
    }

    fn patience(&self) -> Duration {
        match self.goodbye {
            Some(_) => LINGER,
            None => self.limits.idle,
        }
    }

    /// `None`: an exchange is open.
    fn left(&self, now: Instant) -> Option<Duration> {
        let since = self.tap.quiet_since()?.max(self.goodbye.unwrap_or(self.tap.opened()));
        // Bytes that the client's side of the network does not take have the time of a write.
        let patience = match self.tap.write_waits() {
            true => self.patience().max(self.limits.write),
            false => self.patience(),
        };
        Some(patience.saturating_sub(now.saturating_duration_since(since)))
    }
}
