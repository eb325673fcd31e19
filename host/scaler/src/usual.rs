//! What a pool usually sees at a time of day: the mean of the hour around it on the last seven days. A pool with an
//! engine has a history there; one without keeps its own.

use config::region::Scaling;
use jiff::Timestamp;

use crate::forecast::history::{DAY, History};
use crate::history::Point;
use crate::policy::View;
use crate::policy::predictive::{STEP_SECONDS, requests, step_of};
use crate::signal::Unit;

const DAYS: usize = 7;
/// Minutes before and after.
const HALF_AN_HOUR: usize = 30;
/// After a longer gap nothing that is kept is of the last days.
const LONGEST_GAP: i64 = 14 * 86_400 / STEP_SECONDS;
/// Less of a minute than this was reported: part of the demand is not the demand.
const WHOLE: f64 = 0.99;

/// The mean around this time on the last days, in the history's unit; `None` before the second day.
pub fn usual(history: &History) -> Option<f64> {
    let around =
        |day: usize| (day * DAY - HALF_AN_HOUR..=day * DAY + HALF_AN_HOUR).filter_map(|ago| history.minute(ago));
    let (sum, count) = (1..=DAYS).flat_map(around).fold((0.0, 0u32), |(sum, count), mean| (sum + mean, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// Requests a second of two weeks, by the minute.
#[derive(Debug)]
pub struct Usual {
    history: History,
    /// The first step that is not in it.
    next: Option<i64>,
}

impl Usual {
    /// `None` where an engine counts the same.
    pub fn of(scaling: &Scaling) -> Option<Usual> {
        let engine = scaling.predictive.as_ref();
        let known = engine.is_some_and(|rule| Unit::of(rule.requests_per_origin, scaling).is_requests());
        (!known).then(|| Usual { history: History::new(STEP_SECONDS as f64), next: None })
    }

    /// Takes every step that is over, once. A step in which an edge was silent is a gap.
    pub fn settle(&mut self, view: &View) {
        let current = step_of(view.now);
        self.catch_up(current, |step| requests(step, view));
    }

    /// Takes what an earlier run saw, by the minute, oldest first, if it has nothing yet.
    pub fn teach(&mut self, minutes: &[Point]) {
        let Some(first) = minutes.first().filter(|_| self.next.is_none()) else { return };
        self.next = Some(step_of(first.at));
        for point in minutes {
            let step = step_of(point.at);
            self.catch_up(step, |_| None);
            let whole = (point.covered >= WHOLE && point.requests.is_finite()).then_some(point.requests);
            self.catch_up(step + 60 / STEP_SECONDS, |_| whole);
        }
    }

    fn catch_up(&mut self, current: i64, of: impl Fn(i64) -> Option<f64>) {
        let next = *self.next.get_or_insert(current);
        if current - next > LONGEST_GAP {
            (self.history, self.next) = (History::new(STEP_SECONDS as f64), Some(current));
            return;
        }
        for step in next..current {
            self.history.push(of(step));
        }
        self.next = Some(next.max(current));
    }

    /// Nothing is known of the days before.
    pub fn wants_minutes(&self) -> Option<Timestamp> {
        self.next.is_none().then_some(Timestamp::UNIX_EPOCH)
    }

    pub fn now(&self) -> Option<f64> {
        usual(&self.history)
    }
}
