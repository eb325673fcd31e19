//! The edges' reports as one series per pool: buckets of a second, an hour of them.
//!
//! A bucket keeps each edge's share and how much of the second that edge covered. So the level
//! of a window is the sum, over edges, of what each saw per second *that it reported*: a lost
//! report makes the window of that edge shorter and never its load smaller.

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
}

/// Seconds that no edge reported are absent.
#[derive(Debug, Default)]
pub struct Series {
    buckets: VecDeque<Bucket>,
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
        let place = match self.buckets.binary_search_by_key(&second, |bucket| bucket.second) {
            Ok(place) => place,
            Err(place) => {
                self.buckets.insert(place, Bucket { second, shares: Vec::new() });
                place
            }
        };
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

    /// The mean over the seconds that the `window` before `now` touches, of the edges that `counts`
    /// lets count; `None` if none of them reported in it.
    pub fn level(&self, window: Duration, now: Timestamp, counts: impl Fn(EdgeId) -> bool) -> Option<Level> {
        let first = stamp::earlier(now, window).as_millisecond().div_euclid(1000);
        let last = now.as_millisecond().div_euclid(1000);
        let mut sums: BTreeMap<EdgeId, Share> = BTreeMap::new();
        let from = self.buckets.partition_point(|bucket| bucket.second < first);
        for share in self.buckets.range(from..).take_while(|b| b.second <= last).flat_map(|b| &b.shares) {
            if !counts(share.edge) {
                continue;
            }
            sums.entry(share.edge)
                .and_modify(|sum| {
                    sum.covered_ms += share.covered_ms;
                    sum.requests += share.requests;
                    sum.rejects += share.rejects;
                    sum.errors += share.errors;
                    sum.cost += share.cost;
                })
                .or_insert(*share);
        }
        if sums.is_empty() {
            return None;
        }
        Some(sums.values().fold(Level::default(), |level, sum| {
            let seconds = sum.covered_ms / 1000.0;
            Level {
                requests: level.requests + sum.requests / seconds,
                rejects: level.rejects + sum.rejects / seconds,
                errors: level.errors + sum.errors / seconds,
                cost: level.cost + sum.cost / seconds,
            }
        }))
    }

    /// How many seconds of the hour some edge reported.
    pub fn seconds(&self) -> usize {
        self.buckets.len()
    }
}
