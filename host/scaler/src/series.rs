//! The edges' reports as one series per pool, by the second, an hour of them.
//!
//! Of late seconds each edge's share is kept, and how much of the second that edge covered ([`share`]). So the level
//! of a window is the sum, over edges, of what each saw per second *that it reported*: a lost
//! report makes the window of that edge shorter and never its load smaller.
//!
//! Of earlier seconds only the sum is kept: an hour of the shares of 2,000 edges in 50 pools would be
//! 20 GB. Seconds of an earlier run are known by their level alone ([`Series::seed`]). Both count for the time
//! that they are about, beside the shares.

mod present;
mod share;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use wire::PoolReport;

use crate::edges::EdgeId;
use crate::stamp;
pub use present::Present;
use share::{Recent, Share};

const KEPT_SECONDS: i64 = 3600;
/// Edges that were silent for so long are forgotten: longer than anyone asks for what they saw.
const SILENT_SECONDS: i64 = 900;

/// A second that some edge reported, or an earlier run knew of.
#[derive(Debug)]
struct Bucket {
    second: i64,
    /// The level, and the part of the second that was reported, as an earlier run had them.
    seed: Option<(Level, f64)>,
    /// The sum of shares that are not kept any more, and of how many edges.
    sum: Share,
    edges: f64,
}

impl Bucket {
    fn new(second: i64) -> Bucket {
        Bucket { second, seed: None, sum: Share::default(), edges: 0.0 }
    }

    /// `edges`: the share is all of an edge, or a late part of one.
    fn fold(&mut self, share: &Share, edges: f64) {
        self.sum.add(share);
        self.edges += edges;
    }

    /// The level of the shares that were summed, and the edges' seconds that they cover.
    fn folded(&self) -> Option<(Level, f64)> {
        let covered = self.sum.covered_ms / 1000.0;
        // As if each of them had covered as much as the others.
        (covered > 0.0).then(|| (self.sum.level(self.edges), covered))
    }
}

/// Seconds that no edge reported are absent.
#[derive(Debug, Default)]
pub struct Series {
    buckets: VecDeque<Bucket>,
    /// Shares of late seconds, by edge.
    recent: BTreeMap<EdgeId, Box<Recent>>,
    /// Up to this second shares are summed.
    horizon: Option<i64>,
    /// The first second that was added to since [`Series::take_touched`].
    touched: Option<i64>,
    /// The millisecond that the last report went up to.
    until: i64,
}

/// Means per second over a window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Level {
    pub requests: f64,
    pub rejects: f64,
    pub errors: f64,
    /// What `requests` count for beyond what they are, by plugins' hints.
    pub cost: f64,
}

impl Level {
    /// `self + other x weight`.
    fn plus(self, other: Level, weight: f64) -> Level {
        Level {
            requests: self.requests + other.requests * weight,
            rejects: self.rejects + other.rejects * weight,
            errors: self.errors + other.errors * weight,
            cost: self.cost + other.cost * weight,
        }
    }
}

/// The level of some seconds, and what part of them was reported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    pub level: Level,
    pub covered: f64,
}

/// What some seconds hold.
#[derive(Debug, Default)]
struct Held {
    /// Of the edges whose shares are kept.
    live: Level,
    edges: usize,
    /// Seconds that each of these edges reported, summed.
    live_covered: f64,
    /// Levels of other seconds, each times what `past_covered` counts of it.
    past: Level,
    past_covered: f64,
}

impl Held {
    fn past(&mut self, level: Level, covered: f64) {
        self.past = self.past.plus(level, covered);
        self.past_covered += covered;
    }

    /// Seconds that an edge reported, on the mean.
    fn covered(&self, edges: usize) -> f64 {
        self.live_covered / edges.max(self.edges).max(1) as f64
    }

    /// Of what was reported and what is only known by its sum, each by the time that it is about.
    fn level(&self) -> Option<Level> {
        if self.past_covered == 0.0 {
            return (self.edges > 0).then_some(self.live);
        }
        let part = self.covered(0);
        let all = part + self.past_covered;
        Some(Level::default().plus(self.live, part / all).plus(self.past, 1.0 / all))
    }
}

impl Series {
    /// Spreads a report that arrived at `now` over the `period` before it.
    pub fn add(&mut self, edge: EdgeId, report: &PoolReport, period: Duration, now: Timestamp) {
        let end = now.as_millisecond();
        let start = end - period.as_millis() as i64;
        self.set_back(end.div_euclid(1000));
        self.until = end;
        self.sum_up((end - 1).div_euclid(1000));
        let cost = report.costs.values().sum::<f64>();
        let mut from = start;
        while from < end {
            let second = from.div_euclid(1000);
            let to = end.min((second + 1) * 1000);
            let part = (to - from) as f64 / (end - start) as f64;
            let share = Share {
                covered_ms: (to - from) as f64,
                requests: report.requests as f64 * part,
                rejects: report.rejects as f64 * part,
                errors: report.errors as f64 * part,
                cost: cost * part,
            };
            self.share(second, edge, &share);
            from = to;
        }
        let oldest = end.div_euclid(1000) - KEPT_SECONDS;
        while self.buckets.front().is_some_and(|bucket| bucket.second <= oldest) {
            self.buckets.pop_front();
        }
    }

    /// An edge has said farewell: until it reports again it sees nothing, and what it saw before fades out of windows
    /// as they go on. Left out at once it would be missed in them before others tell of its clients.
    pub fn leave(&mut self, edge: EdgeId, now: Timestamp) {
        if let Some(recent) = self.recent.get_mut(&edge) {
            recent.leave(now.as_millisecond());
        }
    }

    /// A clock that was set back leaves seconds ahead of time, which would push out the new.
    fn set_back(&mut self, now: i64) {
        let ahead = |second: i64| second > now + 60;
        if !self.buckets.back().is_some_and(|bucket| ahead(bucket.second)) {
            return;
        }
        while self.buckets.back().is_some_and(|bucket| ahead(bucket.second)) {
            self.buckets.pop_back();
        }
        for recent in self.recent.values_mut() {
            recent.forget(ahead);
        }
        self.horizon = self.horizon.map(|horizon| horizon.min(now - share::KEPT_SECONDS));
    }

    /// Shares that are too old to be kept now that `second` is here are summed.
    fn sum_up(&mut self, second: i64) {
        let horizon = second - share::KEPT_SECONDS;
        let before = *self.horizon.get_or_insert(horizon);
        if horizon <= before {
            return;
        }
        self.horizon = Some(horizon);
        let begin = self.buckets.partition_point(|bucket| bucket.second <= before);
        for bucket in self.buckets.range_mut(begin..).take_while(|bucket| bucket.second <= horizon) {
            let second = bucket.second;
            for share in self.recent.values().filter_map(|recent| recent.whole(second)) {
                bucket.fold(&share, 1.0);
            }
        }
        self.recent.retain(|_, recent| recent.last() > second - SILENT_SECONDS);
    }

    fn share(&mut self, second: i64, edge: EdgeId, share: &Share) {
        self.touched = Some(self.touched.map_or(second, |touched| touched.min(second)));
        let place = self.place(second);
        if self.horizon.is_some_and(|horizon| second <= horizon) {
            self.buckets[place].fold(share, (share.covered_ms / 1000.0).min(1.0));
        } else {
            self.recent.entry(edge).or_default().add(second, share);
        }
    }

    fn place(&mut self, second: i64) -> usize {
        // Nearly always the last one or the one before it.
        let late = self.buckets.iter().rev().take(2).position(|bucket| bucket.second == second);
        if let Some(late) = late {
            return self.buckets.len() - 1 - late;
        }
        match self.buckets.binary_search_by_key(&second, |bucket| bucket.second) {
            Ok(place) => place,
            Err(place) => {
                self.buckets.insert(place, Bucket::new(second));
                place
            }
        }
    }

    /// What an earlier run knew of a second, and what part of it had been reported.
    pub fn seed(&mut self, second: i64, level: Level, covered: f64) {
        let place = self.place(second);
        // Who saw the second knows better.
        let seen = self.buckets[place].edges > 0.0 || self.recent.values().any(|recent| recent.whole(second).is_some());
        if !seen {
            self.buckets[place].seed = Some((level, covered));
        }
    }

    /// The mean over the seconds that the `window` before `now` touches, of the edges that `counts`
    /// lets count; `None` if none of them reported in it of late.
    pub fn level(&self, window: Duration, now: Timestamp, counts: impl Fn(EdgeId) -> bool) -> Option<Level> {
        let (first, end) = touched(window, now);
        let held = self.held(first, end, 0, counts);
        // What an earlier run saw says nothing of who reports now.
        if held.edges == 0 { None } else { held.level() }
    }

    /// Whether each of these edges reported in the seconds that the `window` before `now` touches.
    pub fn all_reported(&self, window: Duration, now: Timestamp, mut edges: impl Iterator<Item = EdgeId>) -> bool {
        let (first, end) = touched(window, now);
        edges.all(|edge| self.recent.get(&edge).is_some_and(|recent| recent.sum(first, end, self.until).is_some()))
    }

    /// Whether an edge has reported something of the seconds that the `window` before `now` touches, of late.
    pub fn heard(&self, edge: EdgeId, window: Duration, now: Timestamp) -> bool {
        let (first, _) = touched(window, now);
        let late = self.horizon.map_or(first, |horizon| first.max(horizon + 1));
        self.recent.get(&edge).is_some_and(|recent| recent.last() >= late)
    }

    /// What one edge saw in the seconds that the `window` before `now` touches, also if that is some minutes ago
    /// and it has been silent since.
    pub fn of_edge(&self, edge: EdgeId, window: Duration, now: Timestamp) -> Option<Level> {
        let (first, end) = touched(window, now);
        Some(self.recent.get(&edge)?.sum(first, end, self.until)?.level(1.0))
    }

    /// The mean of the seconds from `from` up to `to`, of all edges, of which there should be
    /// `edges`; `None` if nobody reported any of it, to this run or an earlier one.
    pub fn mean(&self, from: i64, to: i64, edges: usize) -> Option<Mean> {
        let held = self.held(from, to, edges, |_| true);
        let span = (to - from).max(1) as f64;
        let level = held.level()?;
        let covered = (held.covered(edges) + held.past_covered) / span;
        Some(Mean { level, covered: covered.min(1.0) })
    }

    /// `edges`: as many should have reported at least.
    fn held(&self, from: i64, to: i64, edges: usize, counts: impl Fn(EdgeId) -> bool) -> Held {
        let mut held = Held::default();
        let late = self.horizon.map_or(from, |horizon| from.max(horizon + 1));
        let span = (to - from) as f64;
        for (_, recent) in self.recent.iter().filter(|(edge, _)| counts(**edge)) {
            let Some(sum) = recent.sum(late, to, self.until) else { continue };
            held.edges += 1;
            held.live = held.live.plus(sum.level(1.0), 1.0);
            held.live_covered += (sum.covered_ms / 1000.0).min(span);
        }
        let begin = self.buckets.partition_point(|bucket| bucket.second < from);
        for bucket in self.buckets.range(begin..).take_while(|bucket| bucket.second < to) {
            if let Some((level, covered)) = bucket.seed {
                held.past(level, covered);
            }
            if let Some((level, covered)) = bucket.folded() {
                held.past(level, (covered / bucket.edges.max(edges as f64).max(1.0)).min(1.0));
            }
        }
        held
    }

    /// The first second that was added to since this was asked last.
    pub fn take_touched(&mut self) -> Option<i64> {
        self.touched.take()
    }

    /// As if all seconds had just been added.
    pub fn touch(&mut self) {
        self.touched = self.buckets.front().map(|bucket| bucket.second);
    }

    /// The last second that is known.
    pub fn last(&self) -> Option<i64> {
        self.buckets.back().map(|bucket| bucket.second)
    }

    /// How many seconds of the hour some edge reported.
    pub fn seconds(&self) -> usize {
        self.buckets.len()
    }
}

/// The seconds that a window touches, up to the second of the result.
fn touched(window: Duration, now: Timestamp) -> (i64, i64) {
    let first = stamp::earlier(now, window).as_millisecond().div_euclid(1000);
    (first, now.as_millisecond().div_euclid(1000) + 1)
}
