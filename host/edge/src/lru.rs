//! A map that knows which of its entries was used longest ago.

use std::collections::HashMap;
use std::sync::Arc;

use slab::Slab;

/// Entries stand in a list from the one used last to the one used longest ago; a place is an
/// entry's number as long as it is there.
pub struct Lru<V> {
    places: HashMap<Arc<[u8]>, usize>,
    entries: Slab<Entry<V>>,
    newest: usize,
    oldest: usize,
}

struct Entry<V> {
    key: Arc<[u8]>,
    value: V,
    newer: usize,
    older: usize,
}

/// Where the list ends.
const END: usize = usize::MAX;

impl<V> Default for Lru<V> {
    fn default() -> Lru<V> {
        Lru { places: HashMap::new(), entries: Slab::new(), newest: END, oldest: END }
    }
}

impl<V> Lru<V> {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn find(&self, key: &[u8]) -> Option<usize> {
        self.places.get(key).copied()
    }

    /// The place of the entry used longest ago.
    pub fn oldest(&self) -> Option<usize> {
        (self.oldest != END).then_some(self.oldest)
    }

    /// The entry, which counts as not used by this.
    pub fn peek(&self, place: usize) -> &V {
        &self.entries[place].value
    }

    /// The entry, which is the one used last from now on.
    pub fn touch(&mut self, place: usize) -> &mut V {
        if self.newest != place {
            self.unlink(place);
            self.link(place);
        }
        &mut self.entries[place].value
    }

    /// Adds what is not there yet.
    pub fn insert(&mut self, key: &[u8], value: V) -> usize {
        let key: Arc<[u8]> = key.into();
        let place = self.entries.insert(Entry { key: key.clone(), value, newer: END, older: END });
        let before = self.places.insert(key, place);
        debug_assert!(before.is_none(), "the key was there");
        self.link(place);
        place
    }

    pub fn remove(&mut self, place: usize) -> (Arc<[u8]>, V) {
        self.unlink(place);
        let Entry { key, value, .. } = self.entries.remove(place);
        self.places.remove(&key);
        (key, value)
    }

    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &V)> {
        self.entries.iter().map(|(_, entry)| (&*entry.key, &entry.value))
    }

    fn link(&mut self, place: usize) {
        let entry = &mut self.entries[place];
        (entry.newer, entry.older) = (END, self.newest);
        match self.newest {
            END => self.oldest = place,
            newest => self.entries[newest].newer = place,
        }
        self.newest = place;
    }

    fn unlink(&mut self, place: usize) {
        let (newer, older) = (self.entries[place].newer, self.entries[place].older);
        match newer {
            END => self.newest = older,
            newer => self.entries[newer].older = older,
        }
        match older {
            END => self.oldest = newer,
            older => self.entries[older].newer = newer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_sequence_leaves_what_a_plain_list_would_hold() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut lru = Lru::default();
        // Oldest first.
        let mut plain: Vec<(u8, u32)> = Vec::new();
        for step in 0..20_000 {
            let key = random.u8(..20);
            match (random.u8(..4), lru.find(&[key])) {
                (0, Some(place)) => {
                    let (name, value) = lru.remove(place);
                    let at = plain.iter().position(|(k, _)| *k == key).unwrap();
                    assert_eq!((name[0], value), plain.remove(at));
                }
                (1, _) => {
                    let oldest = lru.oldest().map(|place| *lru.peek(place));
                    assert_eq!(oldest, plain.first().map(|(_, value)| *value));
                    if let Some(place) = lru.oldest() {
                        lru.remove(place);
                        plain.remove(0);
                    }
                }
                (_, Some(place)) => {
                    *lru.touch(place) = step;
                    let at = plain.iter().position(|(k, _)| *k == key).unwrap();
                    plain.remove(at);
                    plain.push((key, step));
                }
                (_, None) => {
                    lru.insert(&[key], step);
                    plain.push((key, step));
                }
            }
            assert_eq!(lru.len(), plain.len());
        }
    }
}
