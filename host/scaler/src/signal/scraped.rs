//! What origins show of themselves: one metric of each, read off their text by whoever drives the scaler.
//!
//! An origin that does not answer is a gap and not zero: those that do stand for it. Under 70 % of them stand for
//! nobody but themselves, and nothing is taken away.

use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::time::Duration;

use config::region::{Over, Per, Scrape};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Reading;
use super::moving::Moving;
use crate::report::MOST_METRIC;
use crate::stamp;

/// What one look at an origin brought, by the name of the signal: a value, or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scraped {
    pub address: SocketAddr,
    pub values: BTreeMap<String, Result<f64, String>>,
}

/// Missed so often, a value is of the past.
const STALE_INTERVALS: u32 = 3;
/// Part of the origins that stands for all.
const ENOUGH: f64 = 0.7;
/// So many times the others, and the target, is no load: somebody counts wrong.
const ABSURD: f64 = 20.0;
/// With fewer nobody can say which of them counts wrong.
const JUDGES: usize = 3;
const FORGOTTEN_AFTER: Duration = Duration::from_secs(900);

/// One signal, of each origin that was looked at.
#[derive(Debug, Default)]
pub struct OfOrigins(BTreeMap<SocketAddr, Told>);

#[derive(Debug)]
struct Told {
    looked_at: Timestamp,
    /// As it was shown last.
    raw: Option<(f64, Timestamp)>,
    mean: Option<Moving>,
    /// The last look brought nothing.
    failed: Option<String>,
}

impl OfOrigins {
    pub fn take(
        &mut self,
        (rule, target): (&Scrape, f64),
        window: Duration,
        address: SocketAddr,
        value: &Result<f64, String>,
        now: Timestamp,
    ) {
        self.0.retain(|_, told| stamp::age(now, told.looked_at) <= FORGOTTEN_AFTER);
        let told = self.0.entry(address).or_insert(Told { looked_at: now, raw: None, mean: None, failed: None });
        told.looked_at = now;
        let value = match value {
            Ok(value) if (0.0..=MOST_METRIC).contains(value) => *value,
            Ok(value) => return told.failed = Some(format!("it shows {value}; allowed are 0 to {MOST_METRIC}")),
            Err(why) => return told.failed = Some(why.clone()),
        };
        told.failed = None;
        let last = told.raw.replace((value, now)).map(|(last, at)| (last, stamp::age(now, at)));
        // After a long silence nothing of before is said of now.
        let last = last.filter(|(_, since)| !since.is_zero() && *since <= rule.interval * (STALE_INTERVALS + 1));
        let (value, span) = match (rule.per, last) {
            // A counter that went down began anew: what it shows came since.
            (Per::Rate, Some((last, since))) => {
                let added = if value < last { value } else { value - last };
                (added / since.as_secs_f64(), since)
            }
            // One look at a counter says nothing.
            (Per::Rate, None) => return told.mean = None,
            (Per::Gauge, Some((_, since))) => (value, since),
            (Per::Gauge, None) => return told.mean = Some(Moving::new(value, now)),
        };
        // What was absurd is not mixed with what is not.
        let mean = told.mean.take().filter(|mean| mean.value <= ABSURD * value.max(target));
        told.mean.insert(mean.unwrap_or(Moving::new(value, now))).take(value, span, window, now);
    }

    /// Of those that serve.
    pub fn read(&self, rule: &Scrape, serving: &[SocketAddr], now: Timestamp, reading: Reading) -> Reading {
        if serving.is_empty() {
            return Reading { because: Some("no origin serves".to_owned()), ..reading };
        }
        let stale = rule.interval * STALE_INTERVALS + rule.timeout;
        let known = serving.iter().filter_map(|address| self.0.get(address)?.mean);
        let known: Vec<Moving> = known.filter(|mean| mean.age(now) <= stale).collect();
        let most = absurd(&known, reading.per_origin);
        let told: Vec<Moving> = known.iter().copied().filter(|mean| mean.value <= most).collect();
        let age = told.iter().map(|mean| mean.age(now)).max().map(stamp::seconds);
        let mut because = Vec::new();
        if told.len() < serving.len() {
            because.push(format!("{} of {} origins tell", told.len(), serving.len()));
        }
        if told.len() < known.len() {
            because.push(format!("{} left out: over {ABSURD} times the others", known.len() - told.len()));
        }
        if let Some((address, why)) = serving.iter().find_map(|one| Some((one, self.0.get(one)?.failed.as_ref()?))) {
            because.push(format!("{address}: {why}"));
        }
        let sum: f64 = told.iter().map(|mean| mean.value).sum();
        let value = (!told.is_empty()).then(|| match rule.over {
            // Those that do not tell are as the others.
            Over::Sum => sum / told.len() as f64 * serving.len() as f64,
            Over::Mean => sum / told.len() as f64,
            Over::Max => told.iter().map(|mean| mean.value).fold(0.0, f64::max),
        });
        let gap = (told.len() as f64) < ENOUGH * serving.len() as f64;
        let because = (!because.is_empty()).then(|| because.join("; "));
        Reading { age_seconds: age, gap, because, ..reading }.with(value)
    }
}

/// What is over this is left out.
fn absurd(known: &[Moving], target: f64) -> f64 {
    if known.len() < JUDGES {
        return f64::INFINITY;
    }
    let mut values: Vec<f64> = known.iter().map(|mean| mean.value).collect();
    values.sort_by(f64::total_cmp);
    ABSURD * values[(values.len() - 1) / 2].max(target)
}
