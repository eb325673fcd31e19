//! What is counted of a store: calls and how they ended, how long they took, whether it is given up.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use abi::Call;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    /// The store has answered that it will not.
    Refused,
    Timeout,
    /// There was no store.
    Unavailable,
    /// It was not asked: the breaker is open, or too much is in flight.
    Shed,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Refused => "refused",
            Outcome::Timeout => "timeout",
            Outcome::Unavailable => "unavailable",
            Outcome::Shed => "shed",
        }
    }
}

/// One worker's handles for one store.
pub struct Tally {
    kv: String,
    calls: RefCell<Vec<((Call, Outcome), Counter)>>,
    took: RefCell<Vec<(Call, Histogram)>>,
    /// Counts the workers that have given it up.
    open: Gauge,
    opened: Cell<bool>,
}

impl Tally {
    pub fn new(kv: &str) -> Tally {
        let open = gauge!("forebay_kv_breaker_open", "kv" => kv.to_owned());
        // So that it is seen before anything is wrong.
        open.increment(0.0);
        Tally { kv: kv.to_owned(), calls: RefCell::default(), took: RefCell::default(), open, opened: Cell::new(false) }
    }

    /// One call ended; `took` is the wait for the store, if it was asked.
    pub fn count(&self, call: Call, outcome: Outcome, took: Option<Duration>) {
        let mut calls = self.calls.borrow_mut();
        match calls.iter().find(|(key, _)| *key == (call, outcome)) {
            Some((_, counter)) => counter.increment(1),
            None => {
                let counter = counter!("forebay_kv_calls_total", "kv" => self.kv.clone(), "call" => call.row().lua,
                    "outcome" => outcome.name());
                counter.increment(1);
                calls.push(((call, outcome), counter));
            }
        }
        let Some(took) = took else { return };
        let mut all = self.took.borrow_mut();
        if !all.iter().any(|(known, _)| *known == call) {
            let histogram =
                histogram!("forebay_kv_duration_seconds", "kv" => self.kv.clone(), "call" => call.row().lua);
            all.push((call, histogram));
        }
        if let Some((_, histogram)) = all.iter().find(|(known, _)| *known == call) {
            histogram.record(took.as_secs_f64());
        }
    }

    pub fn set_open(&self, open: bool) {
        if self.opened.replace(open) != open {
            self.open.increment(if open { 1.0 } else { -1.0 });
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.set_open(false);
    }
}
