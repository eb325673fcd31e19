//! One part of a dictionary, under a lock of its own.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use crate::lru::Lru;

/// What an entry costs beside its key and value.
const OVERHEAD: usize = 64;

#[derive(Default)]
pub struct Shard {
    entries: Lru<Entry>,
    /// When what expires does, and its place.
    expiring: BTreeSet<(Duration, usize)>,
    /// Counts up over all keys, so that a key that was deleted and written again never shows a
    /// version that was seen before.
    last_version: u32,
    /// The latest time that was told: threads look at the clock before they have the lock.
    now: Duration,
}

pub struct Entry {
    pub value: Bytes,
    pub version: u32,
    pub expires: Option<Duration>,
    used: Duration,
}

/// Bytes that an entry counts as.
pub fn cost(key: &[u8], value: &[u8]) -> usize {
    key.len() + value.len() + OVERHEAD
}

impl Shard {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// When its oldest entry was used last.
    pub fn oldest_use(&self) -> Option<Duration> {
        self.entries.oldest().map(|place| self.entries.peek(place).used)
    }

    /// When the time of the next entry is over.
    pub fn next_end(&self) -> Option<Duration> {
        self.expiring.first().map(|(expires, _)| *expires)
    }

    pub fn get(&mut self, key: &[u8], now: Duration) -> Option<&Entry> {
        let place = self.entries.find(key)?;
        self.now = self.now.max(now);
        let entry = self.entries.touch(place);
        entry.used = self.now;
        Some(entry)
    }

    /// Writes over what is there.
    pub fn put(&mut self, key: &[u8], value: Bytes, expires: Option<Duration>, now: Duration) {
        self.last_version = self.last_version.wrapping_add(1).max(1);
        self.now = self.now.max(now);
        let entry = Entry { value, version: self.last_version, expires, used: self.now };
        let place = match self.entries.find(key) {
            Some(place) => {
                let before = std::mem::replace(self.entries.touch(place), entry);
                self.forget(before.expires, place);
                place
            }
            None => self.entries.insert(key, entry),
        };
        if let Some(expires) = expires {
            self.expiring.insert((expires, place));
        }
    }

    /// The bytes that this gives back.
    pub fn remove(&mut self, key: &[u8]) -> usize {
        self.entries.find(key).map_or(0, |place| self.take(place))
    }

    /// Takes out the entry used longest ago; the bytes that this gives back.
    pub fn evict(&mut self) -> Option<usize> {
        let oldest = self.entries.oldest()?;
        Some(self.take(oldest))
    }

    /// Takes this entry out if its time is over; the bytes that this gives back.
    pub fn expire_key(&mut self, key: &[u8], now: Duration) -> usize {
        let place = self.entries.find(key);
        let over = |place: &usize| self.entries.peek(*place).expires.is_some_and(|expires| expires <= now);
        place.filter(over).map_or(0, |place| self.take(place))
    }

    /// Takes out an entry whose time is over; the bytes that this gives back.
    pub fn expire(&mut self, now: Duration) -> Option<usize> {
        let (expires, place) = *self.expiring.first()?;
        (expires <= now).then(|| self.take(place))
    }

    fn take(&mut self, place: usize) -> usize {
        let (key, entry) = self.entries.remove(place);
        self.forget(entry.expires, place);
        cost(&key, &entry.value)
    }

    fn forget(&mut self, expires: Option<Duration>, place: usize) {
        if let Some(expires) = expires {
            self.expiring.remove(&(expires, place));
        }
    }
}

#[cfg(test)]
impl Shard {
    /// What its entries count as, added up.
    pub fn bytes(&self) -> usize {
        self.entries.iter().map(|(key, entry)| cost(key, &entry.value)).sum()
    }
}
