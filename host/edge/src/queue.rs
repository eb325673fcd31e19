//! Queues of bytes, per machine and bounded, seen by every worker and both engines. What is pushed
//! is popped once, in order.
//!
//! A push tells one instance on one worker, of one plugin that listens, by [`Bell`]; what is pushed
//! until that has ended is of the same burst and tells nobody else. When it has ended and items are
//! left, it is told again if it took some, on the next worker; if it took none, the next plugin is;
//! when no plugin takes any, they are left until the next push. So a plugin that pops one item each
//! time sees all of them, and one that is told may leave them to another.
//!
//! A plugin's own queues are those named `<plugin>/…`: whoever makes one, and when, it is told of them.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use abi::{Answer, Call, Refusal, Status};
use bytes::Bytes;
use metrics::{counter, gauge};
use tokio::sync::Notify;

use crate::state::named::Named;

/// Queues that one plugin may register under its own name.
const MOST_OWN: usize = 64;
/// Bytes of the name that it gives one.
const MOST_NAME: usize = 255;

/// All queues of the edge.
#[derive(Default)]
pub struct Queues {
    by_name: Named<Queue>,
    last_id: AtomicU32,
    /// Who is told of queues of their own, also of those to come.
    owners: Mutex<Vec<Owner>>,
}

/// A plugin of one worker.
struct Owner {
    plugin: Arc<str>,
    id: u64,
    bell: Weak<Bell>,
}

pub struct Queue {
    /// For proxy-wasm, which names them by numbers.
    pub id: u32,
    pub name: Arc<str>,
    most: [AtomicUsize; 2],
    state: Mutex<State>,
    pushed: AtomicU64,
    refused: AtomicU64,
}

#[derive(Default)]
struct State {
    items: VecDeque<Bytes>,
    bytes: usize,
    /// Ever.
    pushed: u64,
    popped: u64,
    listeners: Vec<Listener>,
    /// Whose turn it is.
    turn: usize,
    /// Plugins in a row that were told and took nothing.
    idle: usize,
    /// Somebody is on their way, or has not ended yet.
    told: bool,
}

/// A plugin, on all workers.
struct Listener {
    plugin: u64,
    workers: Vec<Weak<Bell>>,
    turn: usize,
}

/// By which a worker hears of queues.
#[derive(Default)]
pub struct Bell {
    rung: Mutex<Vec<(u64, Telling)>>,
    notify: Notify,
}

/// Somebody is told of a queue. When this is dropped, that has ended, whatever became of it.
pub struct Telling {
    pub queue: Arc<Queue>,
    pushed: u64,
    popped: u64,
}

impl Queues {
    /// The bounds of the configuration; one that is not named there has the defaults.
    pub fn configure(&self, specs: &std::collections::BTreeMap<String, config::Queue>) {
        for name in specs.keys() {
            self.open(name);
        }
        for (name, queue) in self.by_name.all().iter() {
            let spec = specs.get(&**name).cloned().unwrap_or_default();
            queue.most[0].store(spec.items, Ordering::Relaxed);
            queue.most[1].store(spec.bytes, Ordering::Relaxed);
        }
    }

    /// The queue of that name, made if it is not there.
    pub fn open(&self, name: &str) -> Arc<Queue> {
        if let Some(known) = self.get(name) {
            return known;
        }
        let queue = self.by_name.get_or(name, || {
            let spec = config::Queue::default();
            Queue {
                id: self.last_id.fetch_add(1, Ordering::Relaxed) + 1,
                name: name.into(),
                most: [spec.items.into(), spec.bytes.into()],
                state: Mutex::default(),
                pushed: AtomicU64::new(0),
                refused: AtomicU64::new(0),
            }
        });
        // An owner that comes at this moment finds the queue itself, since it can be found by now.
        for owner in self.owners().iter().filter(|owner| is_own(&owner.plugin, name)) {
            owner.bell.upgrade().iter().for_each(|bell| queue.listen(bell, owner.id));
        }
        queue
    }

    /// A plugin of a worker is told of the queues of its own, from now on and once.
    pub fn listen_own(&self, plugin: &Arc<str>, id: u64, bell: &Arc<Bell>) {
        let owner = Owner { plugin: plugin.clone(), id, bell: Arc::downgrade(bell) };
        let mut owners = self.owners();
        if !owners.iter().any(|known| known.id == id && known.bell.ptr_eq(&owner.bell)) {
            owners.push(owner);
        }
        drop(owners);
        for (_, queue) in self.by_name.all().iter().filter(|(name, _)| is_own(plugin, name)) {
            queue.listen(bell, id);
        }
    }

    fn owners(&self) -> MutexGuard<'_, Vec<Owner>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn get(&self, name: &str) -> Option<Arc<Queue>> {
        self.by_name.get(name)
    }

    pub fn by_id(&self, id: u32) -> Answer<Arc<Queue>> {
        let all = self.by_name.all();
        let found = all.values().find(|queue| queue.id == id).cloned();
        found.ok_or_else(|| Refusal::new(Status::NotFound, format!("no queue has the id {id}")))
    }

    /// A queue that is a plugin's own: `<plugin>/<name>`.
    pub fn open_own(&self, call: Call, plugin: &str, name: &str) -> Answer<Arc<Queue>> {
        let call = call.row().lua;
        if name.is_empty() || name.len() > MOST_NAME {
            let text = format!("{call}: a name of {} bytes behind {plugin:?}/ (allowed: 1 to {MOST_NAME})", name.len());
            return Err(Refusal::new(Status::BadArgument, text));
        }
        let full = format!("{plugin}/{name}");
        if self.get(&full).is_none()
            && self.by_name.all().keys().filter(|known| is_own(plugin, known)).count() >= MOST_OWN
        {
            let text = format!("{call}: {plugin:?} has its {MOST_OWN} queues already");
            return Err(Refusal::new(Status::LimitExceeded, text));
        }
        Ok(self.open(&full))
    }

    /// Nobody of this worker listens any more but the plugins in `keep`.
    pub fn forget(&self, bell: &Arc<Bell>, keep: &HashSet<u64>) {
        let kept = |owner: &Owner| keep.contains(&owner.id) || !std::ptr::eq(owner.bell.as_ptr(), Arc::as_ptr(bell));
        self.owners().retain(|owner| owner.bell.strong_count() > 0 && kept(owner));
        for queue in self.by_name.all().values() {
            let mut state = queue.lock();
            for listener in state.listeners.iter_mut().filter(|listener| !keep.contains(&listener.plugin)) {
                listener.workers.retain(|worker| !std::ptr::eq(worker.as_ptr(), Arc::as_ptr(bell)));
            }
            state.listeners.retain(|listener| !listener.workers.is_empty());
        }
    }

    /// A plugin that would take nothing does again: it is told of what is there.
    pub fn rouse(&self, plugin: u64) {
        for queue in self.by_name.all().values() {
            let mut state = queue.lock();
            if state.listeners.iter().any(|listener| listener.plugin == plugin) {
                state.idle = 0;
                queue.tell(state);
            }
        }
    }

    /// Brings counts into the metrics.
    pub fn publish(&self) {
        for (name, queue) in self.by_name.all().iter() {
            let (items, bytes) = {
                let state = queue.lock();
                (state.items.len(), state.bytes)
            };
            gauge!("forebay_queue_items", "queue" => name.to_string()).set(items as f64);
            gauge!("forebay_queue_bytes", "queue" => name.to_string()).set(bytes as f64);
            let (pushed, refused) = (&queue.pushed, &queue.refused);
            counter!("forebay_queue_pushed_total", "queue" => name.to_string())
                .absolute(pushed.load(Ordering::Relaxed));
            counter!("forebay_queue_refused_total", "queue" => name.to_string())
                .absolute(refused.load(Ordering::Relaxed));
        }
    }
}

/// Whether a queue of this name is the plugin's own.
pub fn is_own(plugin: &str, name: &str) -> bool {
    name.strip_prefix(plugin).is_some_and(|rest| rest.starts_with('/'))
}

impl Queue {
    pub fn push(self: &Arc<Queue>, item: &[u8]) -> Answer<()> {
        let most = self.most.each_ref().map(|most| most.load(Ordering::Relaxed));
        let mut state = self.lock();
        let after = [state.items.len() + 1, state.bytes + item.len()];
        if after[0] > most[0] || after[1] > most[1] {
            drop(state);
            self.refused.fetch_add(1, Ordering::Relaxed);
            let ([items, bytes], name) = (most, &self.name);
            let text = format!("queue.push: {name:?} is full (allowed: {items} items and {bytes} bytes)");
            return Err(Refusal::new(Status::LimitExceeded, text));
        }
        state.items.push_back(Bytes::copy_from_slice(item));
        state.bytes = after[1];
        state.pushed += 1;
        self.pushed.fetch_add(1, Ordering::Relaxed);
        self.tell(state);
        Ok(())
    }

    /// How many it holds.
    pub fn items(&self) -> usize {
        self.lock().items.len()
    }

    /// The oldest item.
    pub fn pop(&self) -> Option<Bytes> {
        let mut state = self.lock();
        let item = state.items.pop_front()?;
        state.bytes -= item.len();
        state.popped += 1;
        Some(item)
    }

    /// A plugin listens on a worker, from now on and once.
    pub fn listen(self: &Arc<Queue>, bell: &Arc<Bell>, plugin: u64) {
        let mut state = self.lock();
        let place = state.listeners.iter().position(|listener| listener.plugin == plugin).unwrap_or_else(|| {
            state.listeners.push(Listener { plugin, workers: Vec::new(), turn: 0 });
            state.listeners.len() - 1
        });
        let workers = &mut state.listeners[place].workers;
        workers.retain(|worker| worker.strong_count() > 0);
        if workers.iter().any(|worker| std::ptr::eq(worker.as_ptr(), Arc::as_ptr(bell))) {
            return;
        }
        workers.push(Arc::downgrade(bell));
        // What was pushed before anybody listened.
        state.idle = 0;
        self.tell(state);
    }

    /// Tells whose turn it is, if there is something and nobody is on their way.
    fn tell(self: &Arc<Queue>, mut state: MutexGuard<'_, State>) {
        if state.told || state.items.is_empty() {
            return;
        }
        let Some((plugin, bell)) = state.next() else { return };
        state.told = true;
        let telling = Telling { queue: self.clone(), pushed: state.pushed, popped: state.popped };
        // The bell's own lock is never held with that of a queue.
        drop(state);
        bell.ring(plugin, telling);
    }

    fn ended(self: &Arc<Queue>, telling: &Telling) {
        let mut state = self.lock();
        state.told = false;
        if state.popped != telling.popped || state.pushed != telling.pushed {
            state.idle = 0;
        } else {
            state.idle += 1;
            state.turn += 1;
            if state.idle >= state.listeners.len() {
                // Left until the next push.
                state.idle = 0;
                return;
            }
        }
        self.tell(state);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A poisoned queue only means that a thread died between two operations on a list.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The plugin and the worker whose turn it is.
    fn next(&mut self) -> Option<(u64, Arc<Bell>)> {
        for _ in 0..self.listeners.len() {
            let place = self.turn % self.listeners.len();
            let listener = &mut self.listeners[place];
            // A worker that has ended hears nothing.
            listener.workers.retain(|worker| worker.strong_count() > 0);
            listener.turn = listener.turn.wrapping_add(1);
            let worker = listener.workers.get(listener.turn % listener.workers.len().max(1));
            if let Some(bell) = worker.and_then(Weak::upgrade) {
                return Some((listener.plugin, bell));
            }
            self.turn += 1;
        }
        None
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.queue.clone().ended(self);
    }
}

impl Bell {
    fn ring(&self, plugin: u64, telling: Telling) {
        self.lock().push((plugin, telling));
        self.notify.notify_one();
    }

    /// Waits until somebody of this worker is to be told, and says who of what.
    pub async fn rung(&self) -> Vec<(u64, Telling)> {
        loop {
            let rung = std::mem::take(&mut *self.lock());
            if !rung.is_empty() {
                return rung;
            }
            self.notify.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, Telling)>> {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
