//! The edges' reports as one series per pool: buckets of a second, an hour of them.
//!
//! A bucket keeps each edge's share and how much of the second that edge covered. So the level
//! of a window is the sum, over edges, of what each saw per second *that it reported*: a lost
//! report makes the window of that edge shorter and never its load smaller.
//!
//! Seconds of an earlier run are known by their level alone ([`Series::seed`]): beside what this run
//! was reported they count for the time that they are about.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use wire::PoolReport;

use crate::edges::EdgeId;
use crate::stamp;

const KEPT_SECONDS: i64 = 3600;

/// What one edge saw of a pool in a part of a second.
#[derive(Clone, Copy, Debug)]
struct Share {
    edge: EdgeId,
    /// Milliseconds of the second that its reports cover; more than 1000 where they overlap.
    covered_ms: f64,
    requests: f64,
    rejects: f64,
    errors: f64,
    /// Requests that its requests count for beyond what they are.
    cost: f64,
}

#[derive(Debug)]
struct Bucket {
    second: i64,
    shares: Vec<Share>,
    /// The level, and the part of the second that was reported, as an earlier run had them.
    seed: Option<(Level, f64)>,
}

/// Seconds that no edge reported are absent.
#[derive(Debug, Default)]
pub struct Series {
    buckets: VecDeque<Bucket>,
    /// The first second that was added to since [`Series::take_touched`].
    touched: Option<i64>,
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

/// What the buckets of some seconds hold.
struct Held {
    /// By edge.
    sums: BTreeMap<EdgeId, Share>,
    /// What an earlier run knew: levels, each times the part of its second that was reported, and
    /// the sum of these parts.
    seeds: Level,
    seeds_covered: f64,
}

impl Held {
    /// Seconds that an edge reported, on the mean.
    fn live_covered(&self, span: f64, edges: usize) -> f64 {
        let reported: f64 = self.sums.values().map(|sum| (sum.covered_ms / 1000.0).min(span)).sum();
        reported / edges.max(self.sums.len()).max(1) as f64
    }

    /// Of what was reported and what an earlier run knew, each by the time that it is about.
    fn level(&self, span: f64) -> Option<Level> {
        let live = self.sums.values().fold(Level::default(), |level, sum| {
            let here = Level { requests: sum.requests, rejects: sum.rejects, errors: sum.errors, cost: sum.cost };
            level.plus(here, 1000.0 / sum.covered_ms)
        });
        if self.seeds_covered == 0.0 {
            return (!self.sums.is_empty()).then_some(live);
        }
        let part = self.live_covered(span, 0);
        let all = part + self.seeds_covered;
        Some(Level::default().plus(live, part / all).plus(self.seeds, 1.0 / all))
    }
}

impl Series {
    /// Spreads a report that arrived at `now` over the `period` before it.
    pub fn add(&mut self, edge: EdgeId, report: &PoolReport, period: Duration, now: Timestamp) {
        let end = now.as_millisecond();
        let start = end - period.as_millis() as i64;
        // A clock that was set back leaves buckets ahead of time, which would push out the new.
        while self.buckets.back().is_some_and(|bucket| bucket.second > end.div_euclid(1000) + 60) {
            self.buckets.pop_back();
        }
        let mut from = start;
        while from < end {
            let second = from.div_euclid(1000);
            let to = end.min((second + 1) * 1000);
            let part = (to - from) as f64 / (end - start) as f64;
            self.share(second, edge, (to - from) as f64, part, report);
            from = to;
        }
        let oldest = end.div_euclid(1000) - KEPT_SECONDS;
        while self.buckets.front().is_some_and(|bucket| bucket.second <= oldest) {
            self.buckets.pop_front();
        }
    }

    fn share(&mut self, second: i64, edge: EdgeId, covered_ms: f64, part: f64, report: &PoolReport) {
        self.touched = Some(self.touched.map_or(second, |touched| touched.min(second)));
        let place = self.place(second);
        let shares = &mut self.buckets[place].shares;
        let place = shares.iter().position(|share| share.edge == edge).unwrap_or_else(|| {
            shares.push(Share { edge, covered_ms: 0.0, requests: 0.0, rejects: 0.0, errors: 0.0, cost: 0.0 });
            shares.len() - 1
        });
        let share = &mut shares[place];
        share.covered_ms += covered_ms;
        share.requests += report.requests as f64 * part;
        share.rejects += report.rejects as f64 * part;
        share.errors += report.errors as f64 * part;
        share.cost += report.costs.values().sum::<f64>() * part;
    }

    fn place(&mut self, second: i64) -> usize {
        match self.buckets.binary_search_by_key(&second, |bucket| bucket.second) {
            Ok(place) => place,
            Err(place) => {
                self.buckets.insert(place, Bucket { second, shares: Vec::new(), seed: None });
                place
            }
        }
    }

    /// What an earlier run knew of a second, and what part of it had been reported.
    pub fn seed(&mut self, second: i64, level: Level, covered: f64) {
        let place = self.place(second);
        // Who saw the second knows better.
        if self.buckets[place].shares.is_empty() {
            self.buckets[place].seed = Some((level, covered));
        }
    }

    /// The mean over the seconds that the `window` before `now` touches, of the edges that `counts`
    /// lets count; `None` if none of them reported in it.
    pub fn level(&self, window: Duration, now: Timestamp, counts: impl Fn(EdgeId) -> bool) -> Option<Level> {
        let first = stamp::earlier(now, window).as_millisecond().div_euclid(1000);
        let last = now.as_millisecond().div_euclid(1000);
        let held = self.held(first, last + 1, counts);
        // What an earlier run saw says nothing of who reports now.
        if held.sums.is_empty() { None } else { held.level((last + 1 - first) as f64) }
    }

    /// The mean of the seconds from `from` up to `to`, of all edges, of which there should be
    /// `edges`; `None` if nobody reported any of it, to this run or an earlier one.
    pub fn mean(&self, from: i64, to: i64, edges: usize) -> Option<Mean> {
        let held = self.held(from, to, |_| true);
        let span = (to - from).max(1) as f64;
        let level = held.level(span)?;
        let covered = (held.live_covered(span, edges) + held.seeds_covered) / span;
        Some(Mean { level, covered: covered.min(1.0) })
    }

    fn held(&self, from: i64, to: i64, counts: impl Fn(EdgeId) -> bool) -> Held {
        let mut held = Held { sums: BTreeMap::new(), seeds: Level::default(), seeds_covered: 0.0 };
        let begin = self.buckets.partition_point(|bucket| bucket.second < from);
        for bucket in self.buckets.range(begin..).take_while(|bucket| bucket.second < to) {
            for share in bucket.shares.iter().filter(|share| counts(share.edge)) {
                held.sums
                    .entry(share.edge)
                    .and_modify(|sum| {
                        sum.covered_ms += share.covered_ms;
                        sum.requests += share.requests;
                        sum.rejects += share.rejects;
                        sum.errors += share.errors;
                        sum.cost += share.cost;
                    })
                    .or_insert(*share);
            }
            if let Some((level, covered)) = bucket.seed {
                held.seeds = held.seeds.plus(level, covered);
                held.seeds_covered += covered;
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
