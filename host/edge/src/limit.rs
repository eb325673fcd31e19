//! Token buckets: how much of something each key may take, the same for all workers. A bucket is
//! full at first and fills at a steady rate; what is over its burst is lost.
//!
//! Each key keeps one number, the time at which its bucket will be full again (GCRA), so nothing
//! runs in the background and all is exact: time is counted in nanoseconds times the rate, in
//! which a token is a whole number. A take holds the lock of its key's shard for two comparisons.
//!
//! A bucket that is full needs no number. So a key that goes to make room, the one that was used
//! longest ago, is full again: which it was, unless more keys are in use than the bucket has.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use abi::{Answer, Refusal, Status, Taken};
use metrics::{counter, gauge};

use crate::lru::Lru;

const MOST_PARTS: usize = 16;
/// Keys of a part, at least: with fewer, how they happen to fall would matter.
const LEAST_KEYS: usize = 64;
/// Bytes of a key.
const MOST_KEY: usize = 1 << 10;

/// All keys of one bucket of the configuration.
pub struct Bucket {
    pub name: String,
    pub terms: config::Bucket,
    parts: Box<[Mutex<Lru<u128>>]>,
    hasher: RandomState,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    taken: AtomicU64,
    given: AtomicU64,
    denied: AtomicU64,
    evictions: AtomicU64,
    /// Leases by how they ended.
    committed: AtomicU64,
    released: AtomicU64,
    left: AtomicU64,
}

/// How a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Committed,
    Released,
    /// Whoever held it has ended: what was reserved stays taken.
    Left,
}

impl Bucket {
    pub fn new(name: &str, terms: config::Bucket) -> Bucket {
        let parts = (terms.keys / LEAST_KEYS).clamp(1, MOST_PARTS);
        Bucket {
            name: name.to_owned(),
            terms,
            parts: (0..parts).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            counts: Counts::default(),
        }
    }

    /// Takes `cost` tokens if they are there; a cost of 0 only looks.
    pub fn take(&self, call: &str, key: &[u8], cost: u32, now: Duration) -> Answer<Taken> {
        if cost > self.terms.burst {
            let (name, burst) = (&self.name, self.terms.burst);
            let text = format!("{call}: {cost} tokens of bucket {name:?} at once (allowed: {burst}, its burst)");
            return Err(Refusal::new(Status::BadArgument, text));
        }
        if key.len() > MOST_KEY {
            let text = format!("{call}: a key of {} bytes (allowed: {MOST_KEY})", key.len());
            return Err(Refusal::new(Status::BadArgument, text));
        }
        let (now, burst) = (self.ticks(now), self.tokens(self.terms.burst));
        let mut part = self.part(key);
        let place = part.find(key);
        let full_at = place.map_or(now, |place| now.max(*part.touch(place)));
        let after = full_at + self.tokens(cost);
        let allowed = after <= now + burst;
        if allowed && after > now {
            self.store(&mut part, key, after);
        }
        drop(part);
        let count = if allowed { &self.counts.taken } else { &self.counts.denied };
        count.fetch_add(if allowed { cost.into() } else { 1 }, Ordering::Relaxed);
        let left = (now + burst).saturating_sub(if allowed { after } else { full_at }) / self.tokens(1);
        let wait = if allowed { 0 } else { (after - burst - now).div_ceil(self.terms.rate.into()) };
        Ok(Taken {
            allowed,
            remaining: u32::try_from(left).unwrap_or(u32::MAX),
            retry_after: Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX)),
        })
    }

    /// Gives tokens back that were taken.
    pub fn give(&self, key: &[u8], tokens: u32) {
        let mut part = self.part(key);
        if let Some(place) = part.find(key) {
            let full_at = part.touch(place);
            *full_at = full_at.saturating_sub(self.tokens(tokens));
            self.counts.given.fetch_add(tokens.into(), Ordering::Relaxed);
        }
    }

    /// Takes what has been used already, whether it is there or not: what is missing is waited for
    /// by those that come next.
    pub fn owe(&self, key: &[u8], tokens: u32, now: Duration) {
        let now = self.ticks(now);
        let mut part = self.part(key);
        let full_at = part.find(key).map_or(now, |place| now.max(*part.peek(place)));
        self.store(&mut part, key, full_at + self.tokens(tokens));
        self.counts.taken.fetch_add(tokens.into(), Ordering::Relaxed);
    }

    pub fn ended(&self, how: End) {
        let count = match how {
            End::Committed => &self.counts.committed,
            End::Released => &self.counts.released,
            End::Left => &self.counts.left,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Brings its counts into the metrics.
    pub fn publish(&self) {
        let keys: usize = self.parts.iter().map(|part| lock(part).len()).sum();
        gauge!("forebay_limit_keys", "bucket" => self.name.clone()).set(keys as f64);
        let counts = &self.counts;
        for (name, count) in [
            ("forebay_limit_tokens_total", &counts.taken),
            ("forebay_limit_returned_tokens_total", &counts.given),
            ("forebay_limit_denied_total", &counts.denied),
            ("forebay_limit_evictions_total", &counts.evictions),
        ] {
            counter!(name, "bucket" => self.name.clone()).absolute(count.load(Ordering::Relaxed));
        }
        for (end, count) in [("committed", &counts.committed), ("released", &counts.released), ("left", &counts.left)] {
            counter!("forebay_limit_leases_total", "bucket" => self.name.clone(), "end" => end)
                .absolute(count.load(Ordering::Relaxed));
        }
    }

    fn store(&self, part: &mut Lru<u128>, key: &[u8], full_at: u128) {
        if let Some(place) = part.find(key) {
            *part.touch(place) = full_at;
            return;
        }
        if part.len() >= self.terms.keys / self.parts.len()
            && let Some(oldest) = part.oldest()
        {
            part.remove(oldest);
            self.counts.evictions.fetch_add(1, Ordering::Relaxed);
        }
        part.insert(key, full_at);
    }

    fn part(&self, key: &[u8]) -> MutexGuard<'_, Lru<u128>> {
        lock(&self.parts[self.hasher.hash_one(key) as usize % self.parts.len()])
    }

    fn ticks(&self, time: Duration) -> u128 {
        time.as_nanos() * u128::from(self.terms.rate)
    }

    /// In so many ticks as many tokens come.
    fn tokens(&self, tokens: u32) -> u128 {
        self.terms.per.as_nanos() * u128::from(tokens)
    }
}

/// A poisoned shard only means that a thread died between two map operations.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
