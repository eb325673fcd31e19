//! Reports that say what nobody has seen before: over twenty times the most of the pool's edges. One of them is
//! taken for a mistake and refused whole; three that agree, or a second edge that says so too, are a crowd.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wire::Report;

use super::Mark;
use crate::report::Refused;
use crate::stamp;

/// So many times the most that any edge of the pool was seen to bring.
const TIMES: f64 = 20.0;
/// Requests a second, of which no edge's range is less: from one to fifty is no wonder.
const LEAST: f64 = 50.0;
/// So many reports in a row that say about the same are believed.
const BELIEVED: u32 = 3;
/// Reports in a row agree if they differ by less than this, two edges if by less than the other.
const AGREE: f64 = 2.0;
const EDGES_AGREE: f64 = 4.0;
/// The most that was seen counts half after so long.
const HALF_LIFE: f64 = 3600.0;
/// A report that was not believed is told for so long.
const TOLD_FOR: Duration = Duration::from_secs(60);
/// More than there can be in earnest; past it the oldest is forgotten.
const MOST: usize = 4096;

/// The most that an edge brought, in requests a second. It fades.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peak {
    most: f64,
    at: Timestamp,
}

impl Peak {
    pub fn new(rate: f64, at: Timestamp) -> Peak {
        Peak { most: rate, at }
    }

    pub fn at(self, now: Timestamp) -> f64 {
        self.most * 0.5f64.powf(stamp::age(now, self.at).as_secs_f64() / HALF_LIFE)
    }

    pub fn after(self, rate: f64, now: Timestamp) -> Peak {
        if rate >= self.at(now) { Peak::new(rate, now) } else { self }
    }
}

/// What one edge said of one pool, and was not believed.
#[derive(Clone, Debug, PartialEq)]
pub struct Doubt {
    rate: f64,
    /// Of how many reports in a row.
    reports: u32,
    mark: Mark,
    at: Timestamp,
}

/// The same in a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Doubted {
    pub edge: String,
    pub requests_per_second: f64,
    /// So many in a row.
    pub reports: u32,
}

impl Doubt {
    pub fn told(&self, edge: &str) -> Doubted {
        Doubted { edge: edge.to_owned(), requests_per_second: self.rate, reports: self.reports }
    }
}

/// What is believed of each pool, and what of which edge is not.
#[derive(Debug, Default)]
pub struct Doubts {
    /// By pool, the most that any of its edges brought.
    peaks: BTreeMap<String, Peak>,
    /// By edge and pool.
    open: BTreeMap<(String, String), Doubt>,
}

impl Doubts {
    /// An edge was seen to bring so much of a pool.
    pub fn believe(&mut self, pool: &str, rate: f64, now: Timestamp) {
        if let Some(peak) = self.peaks.get_mut(pool) {
            *peak = peak.after(rate, now);
        } else if self.peaks.len() < MOST {
            self.peaks.insert(pool.to_owned(), Peak::new(rate, now));
        }
    }

    /// Refuses a report that is not believed. Of a pool that nobody reported before anything is.
    pub fn judge(&mut self, report: &Report, mark: Mark, stale: Duration, now: Timestamp) -> Result<(), Refused> {
        self.open.retain(|_, doubt| stamp::age(now, doubt.at) <= TOLD_FOR);
        let seconds = report.period_ms as f64 / 1000.0;
        let mut refused = Ok(());
        for (pool, seen) in &report.pools {
            let rate = seen.requests as f64 / seconds;
            let most = self.peaks.get(pool).map(|peak| TIMES * peak.at(now).max(LEAST));
            let Some(most) = most.filter(|most| rate > *most) else { continue };
            let key = (report.edge.clone(), pool.clone());
            let reports = self.again(&key, rate, mark, stale, now);
            if reports >= BELIEVED || self.others_agree(&key, rate, stale, now) {
                continue;
            }
            if self.open.len() < MOST || self.open.contains_key(&key) {
                self.open.insert(key, Doubt { rate, reports, mark, at: now });
            }
            let detail = format!(
                "pools.{pool}.requests: {rate:.0} a second; so far at most {:.0}, and {TIMES} times that is believed \
                 once {BELIEVED} reports in a row or two edges say so",
                most / TIMES
            );
            refused = Err(Refused::new("absurd", detail));
        }
        if refused.is_ok() {
            // What is believed in the end was no mistake before.
            self.open.retain(|(edge, _), _| *edge != report.edge);
        }
        refused
    }

    /// The how manieth report in a row this is that says so. The same one again is no other.
    fn again(&self, key: &(String, String), rate: f64, mark: Mark, stale: Duration, now: Timestamp) -> u32 {
        let Some(doubt) = self.open.get(key).filter(|doubt| stamp::age(now, doubt.at) <= stale) else { return 1 };
        if mark <= doubt.mark {
            return doubt.reports;
        }
        if agree(rate, doubt.rate, AGREE) { doubt.reports + 1 } else { 1 }
    }

    fn others_agree(&self, key: &(String, String), rate: f64, stale: Duration, now: Timestamp) -> bool {
        let (edge, pool) = key;
        let others = self.open.iter().filter(|((other, of), _)| other != edge && of == pool);
        others
            .filter(|(_, doubt)| stamp::age(now, doubt.at) <= stale)
            .any(|(_, doubt)| agree(rate, doubt.rate, EDGES_AGREE))
    }

    /// Those of the last minute.
    pub fn of_pool<'a>(&'a self, pool: &'a str, now: Timestamp) -> impl Iterator<Item = (&'a str, &'a Doubt)> {
        let of = self.open.iter().filter(move |((_, of), _)| of == pool);
        of.filter(move |(_, doubt)| stamp::age(now, doubt.at) <= TOLD_FOR)
            .map(|((edge, _), doubt)| (edge.as_str(), doubt))
    }
}

fn agree(a: f64, b: f64, by: f64) -> bool {
    a <= b * by && b <= a * by
}
