//! Dictionaries: small values that all workers of this edge share. A write takes a lock on one
//! of 16 shards for the time of a map operation, never across a plugin.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use abi::{Answer, Refusal, Status};
use bytes::Bytes;

const SHARDS: usize = 16;

/// Bytes of keys and values that one dictionary may hold, an equal part of them in each shard: so
/// one value has at most a sixteenth.
const CAPACITY: usize = 16 << 20;

/// All dictionaries of the edge, by name.
#[derive(Default)]
pub struct Dicts {
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    values: HashMap<(Box<str>, Box<[u8]>), Versioned>,
    /// Bytes by dictionary, in this shard.
    held: HashMap<Box<str>, usize>,
    /// Counts up over all keys, so that a key that was deleted and written again never shows a
    /// version that was seen before.
    last_version: u32,
}

struct Versioned {
    value: Bytes,
    version: u32,
}

impl Dicts {
    /// The value and its version.
    pub fn get(&self, dict: &str, key: &[u8]) -> Answer<(Bytes, u32)> {
        let shard = self.shard(dict, key);
        let found = shard.values.get(&(dict.into(), key.into())).ok_or_else(Refusal::not_found)?;
        Ok((found.value.clone(), found.version))
    }

    /// Writes, or deletes with `None`; with `Some(version)` only if that is still the version.
    pub fn set(&self, dict: &str, key: &[u8], value: Option<&[u8]>, version: Option<u32>) -> Answer<()> {
        let mut shard = self.shard(dict, key);
        let at = (Box::from(dict), Box::from(key));
        let old = shard.values.get(&at).map(|v| (v.version, key.len() + v.value.len()));
        if version.is_some_and(|wanted| old.map(|(version, _)| version) != Some(wanted)) {
            return Err(Refusal::new(Status::CasMismatch, "dict.set: the value has changed since it was read"));
        }
        let without = shard.held.get(dict).copied().unwrap_or(0) - old.map_or(0, |(_, size)| size);
        let Some(value) = value else {
            shard.values.remove(&at);
            shard.held.insert(dict.into(), without);
            return Ok(());
        };
        let with = without + key.len() + value.len();
        if with > CAPACITY / SHARDS {
            let most = CAPACITY / SHARDS;
            let text = format!(
                "dict.set: {dict:?} has no room here: {with} bytes (allowed: {most} in each of {SHARDS} parts)"
            );
            return Err(Refusal::new(Status::LimitExceeded, text));
        }
        shard.last_version = shard.last_version.wrapping_add(1).max(1);
        let version = shard.last_version;
        shard.values.insert(at, Versioned { value: Bytes::copy_from_slice(value), version });
        shard.held.insert(dict.into(), with);
        Ok(())
    }

    fn shard(&self, dict: &str, key: &[u8]) -> std::sync::MutexGuard<'_, Shard> {
        let mut hasher = DefaultHasher::new();
        (dict, key).hash(&mut hasher);
        let shard = &self.shards[hasher.finish() as usize % SHARDS];
        // A poisoned shard only means that a thread died between two map operations.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_with_a_stale_version_is_refused() {
        let dicts = Dicts::default();
        dicts.set("d", b"k", Some(b"1"), None).unwrap();
        let (_, version) = dicts.get("d", b"k").unwrap();
        dicts.set("d", b"k", Some(b"2"), Some(version)).unwrap();
        let refused = dicts.set("d", b"k", Some(b"3"), Some(version)).unwrap_err();
        assert_eq!(refused.status, Status::CasMismatch);
        assert_eq!(dicts.get("d", b"k").unwrap().0, "2");
    }

    #[test]
    fn dictionaries_do_not_see_each_other_and_deleting_frees_room() {
        let dicts = Dicts::default();
        let most = vec![0; CAPACITY / SHARDS - 1];
        dicts.set("a", b"k", Some(&most), None).unwrap();
        assert_eq!(dicts.set("a", b"k", Some(&vec![0; CAPACITY]), None).unwrap_err().status, Status::LimitExceeded);
        assert_eq!(dicts.get("b", b"k").unwrap_err().status, Status::NotFound);
        dicts.set("a", b"k", None, None).unwrap();
        assert!(dicts.get("a", b"k").is_err());
        dicts.set("a", b"k", Some(&most), None).unwrap();
    }

    #[test]
    fn a_deleted_key_never_shows_an_old_version() {
        let dicts = Dicts::default();
        dicts.set("d", b"k", Some(b"1"), None).unwrap();
        let old = dicts.get("d", b"k").unwrap().1;
        dicts.set("d", b"k", None, None).unwrap();
        dicts.set("d", b"k", Some(b"1"), None).unwrap();
        assert_ne!(dicts.get("d", b"k").unwrap().1, old);
    }
}
