//! When a store is no longer asked: after some failures in a row nothing is sent for a while, then
//! one call tries it, and its end decides. Time is passed in.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Of one worker and one store.
pub struct Breaker {
    after: u32,
    rest: Duration,
    state: Cell<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Calls go through; so many have failed in a row.
    Closed { failures: u32 },
    /// None goes through until then.
    Open { until: Instant },
    /// One call is under way that tries the store.
    Trying,
}

/// What a call is to the breaker that let it through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Ordinary,
    /// The one that tries a store that was given up.
    Probe,
}

impl Breaker {
    pub fn new(after: u32, rest: Duration) -> Breaker {
        Breaker { after: after.max(1), rest, state: Cell::new(State::Closed { failures: 0 }) }
    }

    /// Whether a call may go through; if not, after how long it is worth trying again.
    pub fn admit(&self, now: Instant) -> Result<Role, Duration> {
        match self.state.get() {
            State::Closed { .. } => Ok(Role::Ordinary),
            State::Open { until } if now >= until => {
                self.state.set(State::Trying);
                Ok(Role::Probe)
            }
            State::Open { until } => Err(until - now),
            State::Trying => Err(Duration::ZERO),
        }
    }

    /// The store has answered. True if calls go through again from now on.
    pub fn succeeded(&self, role: Role) -> bool {
        match (self.state.get(), role) {
            (State::Closed { .. }, _) => self.state.set(State::Closed { failures: 0 }),
            (State::Trying, Role::Probe) => {
                self.state.set(State::Closed { failures: 0 });
                return true;
            }
            // It was let through before the others failed: no news.
            _ => {}
        }
        false
    }

    /// The store has not answered. True if it is given up from now on.
    pub fn failed(&self, role: Role, now: Instant) -> bool {
        match (self.state.get(), role) {
            (State::Closed { failures }, _) if failures + 1 < self.after => {
                self.state.set(State::Closed { failures: failures + 1 });
            }
            (State::Closed { .. }, _) => {
                self.state.set(State::Open { until: now + self.rest });
                return true;
            }
            (State::Trying, Role::Probe) => self.state.set(State::Open { until: now + self.rest }),
            _ => {}
        }
        false
    }

    /// Its exchange ended before the call did: nothing was learnt, and the next call may try.
    pub fn abandoned(&self, role: Role, now: Instant) {
        if (self.state.get(), role) == (State::Trying, Role::Probe) {
            self.state.set(State::Open { until: now });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Duration = Duration::from_secs(1);

    /// One that has just been opened by two failures, and when.
    fn opened() -> (Breaker, Instant) {
        let (breaker, now) = (Breaker::new(2, REST), Instant::now());
        assert!(!breaker.failed(Role::Ordinary, now));
        assert!(breaker.failed(Role::Ordinary, now));
        (breaker, now)
    }

    #[test]
    fn it_opens_after_failures_in_a_row_only() {
        let (breaker, now) = (Breaker::new(2, REST), Instant::now());
        for _ in 0..3 {
            assert!(!breaker.failed(Role::Ordinary, now));
            assert!(!breaker.succeeded(Role::Ordinary), "it was never open");
            assert_eq!(breaker.admit(now), Ok(Role::Ordinary));
        }
        assert!(!breaker.failed(Role::Ordinary, now));
        assert!(breaker.failed(Role::Ordinary, now));
        assert_eq!(breaker.admit(now), Err(REST));
    }

    #[test]
    fn one_call_tries_after_the_rest_and_its_end_decides() {
        let (breaker, now) = opened();
        assert_eq!(breaker.admit(now + REST / 2), Err(REST / 2));
        assert_eq!(breaker.admit(now + REST), Ok(Role::Probe));
        assert_eq!(breaker.admit(now + REST * 9), Err(Duration::ZERO), "one only");
        assert!(!breaker.failed(Role::Probe, now + REST), "it was open already");
        assert_eq!(breaker.admit(now + REST), Err(REST));
        assert_eq!(breaker.admit(now + REST * 2), Ok(Role::Probe));
        assert!(breaker.succeeded(Role::Probe));
        assert_eq!(breaker.admit(now + REST * 2), Ok(Role::Ordinary));
        assert!(!breaker.failed(Role::Ordinary, now + REST * 2), "it counts from zero again");
    }

    #[test]
    fn what_was_under_way_when_it_opened_moves_it_no_more() {
        let (breaker, now) = opened();
        assert!(!breaker.succeeded(Role::Ordinary));
        assert!(!breaker.failed(Role::Ordinary, now + REST));
        assert_eq!(breaker.admit(now), Err(REST));
        assert_eq!(breaker.admit(now + REST), Ok(Role::Probe));
        assert!(!breaker.succeeded(Role::Ordinary));
        assert_eq!(breaker.admit(now + REST), Err(Duration::ZERO));
    }

    #[test]
    fn a_probe_that_was_abandoned_leaves_the_next_call_to_try() {
        let (breaker, now) = opened();
        assert_eq!(breaker.admit(now + REST), Ok(Role::Probe));
        breaker.abandoned(Role::Ordinary, now + REST);
        assert_eq!(breaker.admit(now + REST), Err(Duration::ZERO));
        breaker.abandoned(Role::Probe, now + REST);
        assert_eq!(breaker.admit(now + REST), Ok(Role::Probe));
    }
}
