//! Dictionaries: small values that all workers of this edge share. A call takes the lock of one
//! of a dictionary's shards for the time of a map operation, never two and never across a plugin.
//!
//! A dictionary holds at most its bytes. When a write needs room, the entry goes that was used
//! longest ago in all of it: each shard tells, beside its lock, when its oldest was used.

mod shard;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use abi::{Answer, DictIncr, DictWrite, Refusal, Status};
use bytes::Bytes;
use metrics::{counter, gauge};

use shard::{Shard, cost};

const SHARDS: usize = 16;
/// Bytes of a key.
const MOST_KEY: usize = 1 << 10;
/// A value may have this, or a sixteenth of its dictionary if that is more: making room for one
/// write must not take long.
const SMALL_VALUE: usize = 64 << 10;
/// Entries that are taken out under one lock when their time is over.
const SWEEP: usize = 256;
/// What a [`Part`] says of a shard that has no such entry.
const NONE: u64 = u64::MAX;

/// One dictionary.
pub struct Dict {
    parts: [Part; SHARDS],
    hasher: RandomState,
    /// Bytes that it may hold.
    most: AtomicUsize,
    bytes: AtomicUsize,
    evictions: AtomicU64,
}

#[derive(Default)]
struct Part {
    shard: Mutex<Shard>,
    /// When its oldest entry was used, in nanoseconds.
    oldest: AtomicU64,
    /// When the time of the next entry is over.
    next_end: AtomicU64,
    entries: AtomicUsize,
}

/// What becomes of a key.
enum Change {
    Put { value: Bytes, expires: Option<Duration> },
    Remove,
}

/// What stands under a key now.
struct Found<'a> {
    value: &'a Bytes,
    version: u32,
    expires: Option<Duration>,
}

impl Dict {
    pub fn new(most: usize) -> Dict {
        let dict = Dict {
            parts: Default::default(),
            hasher: RandomState::new(),
            most: AtomicUsize::new(most),
            bytes: AtomicUsize::new(0),
            evictions: AtomicU64::new(0),
        };
        for part in &dict.parts {
            part.oldest.store(NONE, Ordering::Relaxed);
            part.next_end.store(NONE, Ordering::Relaxed);
        }
        dict
    }

    /// What is over a smaller bound goes with the next writes.
    pub fn set_most(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// The value and its version.
    pub fn get(&self, key: &[u8], now: Duration) -> Answer<(Bytes, u32)> {
        let mut held = self.open(self.place(key), key, now);
        let found = held.shard.get(key, now).ok_or_else(Refusal::not_found)?;
        Ok((found.value.clone(), found.version))
    }

    pub fn write(&self, key: &[u8], write: DictWrite<'_>, now: Duration) -> Answer<()> {
        let call = write.call().row().lua;
        let expires = |ttl| expiry(call, ttl, now);
        // Copied once, however often room must be made.
        let (value, ttl) = match write {
            DictWrite::Set { value, ttl, .. } | DictWrite::Add { value, ttl } | DictWrite::Cas { value, ttl, .. } => {
                (Bytes::copy_from_slice(value), ttl)
            }
            DictWrite::Delete { .. } => (Bytes::new(), None),
        };
        let expires = expires(ttl)?;
        self.change(call, key, now, |found| {
            let version = found.map(|found| found.version);
            match write {
                DictWrite::Set { version: Some(wanted), .. }
                | DictWrite::Cas { version: wanted, .. }
                | DictWrite::Delete { version: Some(wanted) }
                    if version != Some(wanted) =>
                {
                    return Err(mismatch(call, "the value has changed since it was read"));
                }
                DictWrite::Add { .. } if version.is_some() => {
                    return Err(mismatch(call, "there is a value already"));
                }
                DictWrite::Delete { .. } => return Ok((Change::Remove, ())),
                _ => {}
            }
            Ok((Change::Put { value: value.clone(), expires }, ()))
        })
    }

    pub fn incr(&self, key: &[u8], incr: DictIncr, now: Duration) -> Answer<i64> {
        let call = "dict.incr";
        let fresh = expiry(call, incr.ttl, now)?;
        self.change(call, key, now, |found| {
            let (number, expires) = match &found {
                None => (incr.init, fresh),
                Some(found) => (number(call, found.value)?, found.expires),
            };
            let number = number.checked_add(incr.by).ok_or_else(|| {
                let text = format!("{call}: {number} and {} are more than 64 bits hold", incr.by);
                Refusal::new(Status::BadArgument, text)
            })?;
            Ok((Change::Put { value: number.to_string().into(), expires }, number))
        })
    }

    /// Changes one key, as `decide` says from what is there now.
    fn change<T>(
        &self,
        call: &str,
        key: &[u8],
        now: Duration,
        decide: impl Fn(Option<&Found<'_>>) -> Answer<(Change, T)>,
    ) -> Answer<T> {
        if key.len() > MOST_KEY {
            let text = format!("{call}: a key of {} bytes (allowed: {MOST_KEY})", key.len());
            return Err(Refusal::new(Status::BadArgument, text));
        }
        let place = self.place(key);
        loop {
            let mut held = self.open(place, key, now);
            let entry = held.shard.get(key, now);
            let before = entry.map_or(0, |entry| cost(key, &entry.value));
            let found = entry.map(|e| Found { value: &e.value, version: e.version, expires: e.expires });
            let (change, told) = decide(found.as_ref())?;
            let Change::Put { value, expires } = change else {
                let freed = held.shard.remove(key);
                self.bytes.fetch_sub(freed, Ordering::Relaxed);
                return Ok(told);
            };
            self.fits(call, key, &value)?;
            if self.take(before, cost(key, &value)) {
                held.shard.put(key, value, expires, now);
                return Ok(told);
            }
            // The entry in question is the newest of its shard: it goes only if it is alone there.
            let spare = (held.shard.len() == 1 && before > 0).then_some(place);
            drop(held);
            if !self.make_room(spare, now) {
                return Err(self.full(call, cost(key, &value)));
            }
        }
    }

    /// What is over goes first. False if there is nothing to go.
    fn make_room(&self, spare: Option<usize>, now: Duration) -> bool {
        let over = |place: &usize| self.parts[*place].next_end.load(Ordering::Relaxed) <= nanos(now);
        (0..SHARDS).filter(over).any(|place| self.expire(&mut self.lock(place), now, SWEEP) > 0) || self.evict(spare)
    }

    /// Takes out what was used longest ago, but nothing in the shard `spare`; false if there is
    /// nothing.
    fn evict(&self, spare: Option<usize>) -> bool {
        let mut parts: Vec<usize> = (0..SHARDS).filter(|place| Some(*place) != spare).collect();
        let oldest = |place: &usize| self.parts[*place].oldest.load(Ordering::Relaxed);
        parts.sort_by_key(oldest);
        // Others evict at the same time: a shard may have become empty since it was looked at.
        parts.into_iter().filter(|place| oldest(place) != NONE).any(|place| {
            let Some(freed) = self.lock(place).shard.evict() else { return false };
            self.bytes.fetch_sub(freed, Ordering::Relaxed);
            self.evictions.fetch_add(1, Ordering::Relaxed);
            true
        })
    }

    /// Counts an entry of `after` bytes in place of one of `before`; false if there is no room.
    fn take(&self, before: usize, after: usize) -> bool {
        if after <= before {
            self.bytes.fetch_sub(before - after, Ordering::Relaxed);
            return true;
        }
        let most = self.most.load(Ordering::Relaxed);
        let more = |bytes: usize| Some(bytes + (after - before)).filter(|bytes| *bytes <= most);
        self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn fits(&self, call: &str, key: &[u8], value: &[u8]) -> Answer<()> {
        let most = self.most.load(Ordering::Relaxed);
        let allowed = SMALL_VALUE.max(most / SHARDS).min(most.saturating_sub(cost(key, b"")));
        if value.len() <= allowed {
            return Ok(());
        }
        let text = format!("{call}: a value of {} bytes (allowed: {allowed} in a dictionary of {most})", value.len());
        Err(Refusal::new(Status::LimitExceeded, text))
    }

    #[cold]
    fn full(&self, call: &str, wanted: usize) -> Refusal {
        let most = self.most.load(Ordering::Relaxed);
        Refusal::new(Status::LimitExceeded, format!("{call}: no room for {wanted} bytes (the dictionary has {most})"))
    }

    /// Takes out everything whose time is over.
    pub fn sweep(&self, now: Duration) {
        for place in 0..SHARDS {
            while self.expire(&mut self.lock(place), now, SWEEP) == SWEEP {}
        }
    }

    /// Brings its counts into the metrics.
    pub fn publish(&self, name: &str) {
        let entries: usize = self.parts.iter().map(|part| part.entries.load(Ordering::Relaxed)).sum();
        gauge!("forebay_dict_bytes", "dict" => name.to_owned()).set(self.bytes.load(Ordering::Relaxed) as f64);
        gauge!("forebay_dict_entries", "dict" => name.to_owned()).set(entries as f64);
        let evictions = self.evictions.load(Ordering::Relaxed);
        counter!("forebay_dict_evictions_total", "dict" => name.to_owned()).absolute(evictions);
    }

    fn place(&self, key: &[u8]) -> usize {
        self.hasher.hash_one(key) as usize % SHARDS
    }

    /// The shard of a key, which is not in it if its time is over. A little of what else is over
    /// goes as well, so that calls pay for what calls have left.
    fn open(&self, place: usize, key: &[u8], now: Duration) -> Held<'_> {
        let mut held = self.lock(place);
        let freed = held.shard.expire_key(key, now);
        self.bytes.fetch_sub(freed, Ordering::Relaxed);
        self.expire(&mut held, now, 2);
        held
    }

    /// Takes out at most so many entries whose time is over; how many there were.
    fn expire(&self, held: &mut Held<'_>, now: Duration, most: usize) -> usize {
        let freed: Vec<usize> = std::iter::from_fn(|| held.shard.expire(now)).take(most).collect();
        self.bytes.fetch_sub(freed.iter().sum(), Ordering::Relaxed);
        freed.len()
    }

    fn lock(&self, place: usize) -> Held<'_> {
        let part = &self.parts[place];
        // A poisoned shard only means that a thread died between two map operations.
        Held { shard: part.shard.lock().unwrap_or_else(PoisonError::into_inner), part }
    }
}

/// A locked shard: what is told beside the lock is brought up to date as it is let go.
struct Held<'a> {
    shard: MutexGuard<'a, Shard>,
    part: &'a Part,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.part.oldest.store(self.shard.oldest_use().map_or(NONE, nanos), Ordering::Relaxed);
        self.part.next_end.store(self.shard.next_end().map_or(NONE, nanos), Ordering::Relaxed);
        self.part.entries.store(self.shard.len(), Ordering::Relaxed);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).map_or(NONE - 1, |nanos| nanos.min(NONE - 1))
}

fn expiry(call: &str, ttl: Option<Duration>, now: Duration) -> Answer<Option<Duration>> {
    match ttl {
        Some(Duration::ZERO) => {
            Err(Refusal::new(Status::BadArgument, format!("{call}: a ttl of 0 (allowed: over 0, or none)")))
        }
        ttl => Ok(ttl.map(|ttl| now.saturating_add(ttl))),
    }
}

/// The number that a value is.
fn number(call: &str, value: &[u8]) -> Answer<i64> {
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| {
        let shown = value[..value.len().min(32)].escape_ascii();
        Refusal::new(Status::BadArgument, format!("{call}: the value is \"{shown}\", not a whole number"))
    })
}

#[cold]
fn mismatch(call: &str, why: &str) -> Refusal {
    Refusal::new(Status::CasMismatch, format!("{call}: {why}"))
}

#[cfg(test)]
mod tests;
