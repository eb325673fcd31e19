//! How many instances there may be at once: the edge has room for so many, and a plugin under `isolation:
//! exchange` has a share of it, over all workers.
//!
//! A plugin may have its limit `instances`, and never more than are still free. So whatever some of them do (hold
//! exchanges open, never say that they are done), a part of the room is left for one more: of K that take all they
//! get, each has a (K+1)th.
//!
//! What is past the share is refused for that exchange alone; it is no fault. An exchange that has ended, and whose
//! plugin is not done with it, gives its place up first: the oldest of the same worker.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::{Rc, Weak as Distant};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

/// As many as the Wasm engine has memories for; VMs of Lua take from the same room, since each of them takes memory.
pub const ALL: usize = wasm::INSTANCES as usize;

/// Shared by all workers of an edge.
#[derive(Default)]
pub struct Room {
    /// Alive, whatever for.
    alive: AtomicUsize,
    shares: Mutex<HashMap<Arc<str>, Weak<Share>>>,
}

/// What one plugin has of it, whatever versions of it run.
pub struct Share {
    room: Arc<Room>,
    /// Exchanges with an instance of their own.
    held: AtomicUsize,
}

/// An instance is alive.
pub struct Alive(Arc<Room>);

/// An exchange has an instance of its own.
pub struct Place(Arc<Share>);

/// The place of one lease, which may be taken from it once its exchange has ended.
#[derive(Default)]
pub struct Held {
    place: RefCell<Option<Place>>,
    taken: Notify,
}

/// Of one set, on one worker: exchanges that have ended and still have their place, oldest first.
#[derive(Default)]
pub struct Lingering {
    last: Cell<u64>,
    by_age: RefCell<BTreeMap<u64, Distant<Held>>>,
}

impl Room {
    pub fn share(self: &Arc<Room>, plugin: &Arc<str>) -> Arc<Share> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(plugin).and_then(Weak::upgrade) {
            return share;
        }
        shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Share { room: self.clone(), held: AtomicUsize::new(0) });
        shares.insert(plugin.clone(), Arc::downgrade(&share));
        share
    }

    pub fn alive(self: &Arc<Room>) -> Alive {
        self.alive.fetch_add(1, Ordering::Relaxed);
        Alive(self.clone())
    }
}

impl Share {
    /// A place for one more exchange, of `most`; or why there is none.
    pub fn enter(self: &Arc<Share>, most: u32) -> Result<Place, String> {
        let held = self.held.fetch_add(1, Ordering::Relaxed);
        // Gives it back if it is not to be had.
        let place = Place(self.clone());
        if held >= most as usize {
            let text = format!("{most} exchanges have an instance of their own, as many as may (limit instances)");
            return Err(text);
        }
        let free = ALL.saturating_sub(self.room.alive.load(Ordering::Relaxed));
        if held >= free {
            return Err(format!(
                "{held} exchanges have an instance of their own, and of the {ALL} that the edge may have {free} are \
                 free: one plugin gets no more than those"
            ));
        }
        Ok(place)
    }
}

impl Held {
    pub fn new(place: Place) -> Rc<Held> {
        Rc::new(Held { place: RefCell::new(Some(place)), taken: Notify::new() })
    }

    /// Until another exchange has got its place.
    pub async fn taken(&self) {
        self.taken.notified().await;
    }
}

impl Lingering {
    /// The exchange has ended. The number is for [`Lingering::left`].
    pub fn add(&self, held: &Rc<Held>) -> u64 {
        let number = self.last.get() + 1;
        self.last.set(number);
        self.by_age.borrow_mut().insert(number, Rc::downgrade(held));
        number
    }

    /// The plugin is done with it.
    pub fn left(&self, number: u64) {
        self.by_age.borrow_mut().remove(&number);
    }

    /// Takes the place of the oldest, if there is one.
    pub fn give_up(&self) -> bool {
        let oldest = || self.by_age.borrow_mut().pop_first().map(|(_, held)| held.upgrade());
        while let Some(held) = oldest() {
            if let Some(held) = held
                && held.place.take().is_some()
            {
                held.taken.notify_one();
                return true;
            }
        }
        false
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exchanges that come one after another, each with an instance that lives as long, until one is refused.
    fn fill(room: &Arc<Room>, plugin: &str, most: u32) -> (Vec<(Place, Alive)>, String) {
        let share = room.share(&plugin.into());
        let mut held = Vec::new();
        loop {
            match share.enter(most) {
                Ok(place) => held.push((place, room.alive())),
                Err(why) => return (held, why),
            }
        }
    }

    #[test]
    fn however_many_plugins_take_all_they_get_one_more_finds_room() {
        let room = Arc::default();
        let (first, why) = fill(&room, "first", u32::MAX);
        assert_eq!(first.len(), ALL / 2);
        assert!(why.ends_with("of the 4000 that the edge may have 2000 are free: one plugin gets no more than those"));
        let mut others = Vec::new();
        for n in 0..8 {
            others.push(fill(&room, &format!("greedy-{n}"), 1000).0);
        }
        assert!(
            others[0].len() == 1000 && others[7].len() > 5,
            "{:?}",
            others.iter().map(Vec::len).collect::<Vec<_>>()
        );
        assert!(!fill(&room, "victim", 1000).0.is_empty(), "there is room for one that has nothing");
        drop((first, others));
        assert_eq!(fill(&room, "victim", 1000).0.len(), 1000, "what ends gives its room back");
    }

    #[test]
    fn a_plugin_has_one_share_whoever_asks() {
        let room: Arc<Room> = Arc::default();
        let held: Vec<_> = (0..3).map(|_| room.share(&"one".into()).enter(3).ok().unwrap()).collect();
        let why = room.share(&"one".into()).enter(3).err().unwrap();
        assert_eq!(why, "3 exchanges have an instance of their own, as many as may (limit instances)");
        assert!(room.share(&"other".into()).enter(3).is_ok());
        drop(held);
        assert!(room.share(&"one".into()).enter(3).is_ok(), "who was refused holds nothing");
    }

    #[test]
    fn the_oldest_that_has_ended_gives_its_place_up() {
        let room: Arc<Room> = Arc::default();
        let share = room.share(&"one".into());
        let lingering = Lingering::default();
        let held: Vec<_> = (0..3).map(|_| Held::new(share.enter(3).ok().unwrap())).collect();
        let numbers: Vec<_> = held.iter().map(|held| lingering.add(held)).collect();
        lingering.left(numbers[0]);
        assert!(lingering.give_up() && share.enter(3).is_ok());
        assert!(held[0].place.borrow().is_some(), "the plugin was done with it");
        assert!(held[1].place.borrow().is_none() && held[2].place.borrow().is_some());
        assert!(lingering.give_up() && !lingering.give_up(), "no place is taken twice");
    }
}
