//! The load of now, looked at once.

use std::cell::RefCell;
use std::time::Duration;

use jiff::Timestamp;

use super::{Level, Series};
use crate::edges::PoolEdges;

/// Levels of windows that end now, of the edges that count. Several rules and the record itself ask for the same
/// window in one decision, and [`Series::level`] walks over the shares of every edge: each window is looked at once.
pub struct Present<'a> {
    series: &'a Series,
    edges: &'a PoolEdges<'a>,
    now: Timestamp,
    /// One window, seldom two: a list is the shortest map.
    seen: RefCell<Vec<(Duration, Option<Level>)>>,
}

impl<'a> Present<'a> {
    pub fn of(series: &'a Series, edges: &'a PoolEdges<'a>, now: Timestamp) -> Present<'a> {
        Present { series, edges, now, seen: RefCell::default() }
    }

    /// As [`Series::level`].
    pub fn level(&self, window: Duration) -> Option<Level> {
        let known = self.seen.borrow().iter().find(|(of, _)| *of == window).map(|(_, level)| *level);
        known.unwrap_or_else(|| {
            let level = self.series.level(window, self.now, |edge| self.edges.counts(edge));
            self.seen.borrow_mut().push((window, level));
            level
        })
    }
}
