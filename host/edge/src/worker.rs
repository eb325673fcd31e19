//! What one worker thread owns, and what all workers share.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::TcpListener as StdListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use arc_swap::ArcSwap;
use slab::Slab;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{LocalSet, spawn_local};

use crate::instances::Instances;
use crate::kv::Stores;
use crate::origin::Origins;
use crate::origin::dial::Dial;
use crate::plugins::Plugins;
use crate::snapshot::Snapshot;
use crate::starter::Starter;
use crate::state::State;
use crate::telemetry::Telemetry;
use crate::{listen, wheel};

/// Plugins run on it: LuaJIT and wasmtime use the thread's own stack.
pub const STACK: usize = 16 << 20;

/// Owned by one thread: handed around as `Rc<Worker>`.
pub struct Worker {
    pub id: usize,
    pub shared: Arc<Shared>,
    /// Connections to origins, idle and live counts, of this worker.
    pub origins: Origins,
    /// Connections to the targets of callouts.
    pub targets: crate::callout::target::idle::Idle,
    pub telemetry: Telemetry,
    /// This worker's running plugins.
    pub instances: Instances,
    /// This worker's connections to key-value stores.
    pub kv: Stores,
    /// Whether the worker lets its connections end.
    pub drain: Drain,
    /// With clients, now.
    pub exchanges: Cell<usize>,
    /// Work of plugins that has no exchange any more and that a drain waits for all the same.
    detached: Cell<usize>,
    /// Of exchanges that were refused before they had one.
    pub(crate) no_id: Arc<str>,
    permits: Arc<Semaphore>,
    connections: usize,
}

/// Shared by all threads of the edge.
pub struct Shared {
    /// Taken once per request; a reload swaps it whole.
    pub snapshot: ArcSwap<Snapshot>,
    /// The origins of each pool, with their health and stage.
    pub membership: crate::membership::Memberships,
    /// What all workers counted.
    pub ledger: Arc<crate::telemetry::Ledger>,
    /// For `/readyz`: each worker says when it accepts, and a drain says that it began.
    pub standing: crate::admin::Standing,
    /// What plugins of all workers share.
    pub state: Arc<State>,
    /// Where modules come from that are not files.
    pub sources: crate::source::Sources,
    /// On a stage there is none: a worker starts its instances itself.
    pub starter: Option<Starter>,
}

impl Shared {
    /// What `workers` threads serve `region` with. Reads its certificates; nothing is bound.
    pub fn new(region: &Arc<config::Region>, plugins: Plugins, workers: usize) -> Result<Shared, Vec<String>> {
        let membership = crate::membership::Memberships::new(region, workers);
        let snapshot = Snapshot::new(region.clone(), plugins, &membership)?;
        Ok(Shared {
            snapshot: ArcSwap::from_pointee(snapshot),
            membership,
            ledger: Arc::new(crate::telemetry::Ledger::new(workers, region.log.access)),
            standing: crate::admin::Standing::default(),
            state: Arc::new(State::new(region)),
            sources: Default::default(),
            starter: None,
        })
    }
}

/// Whether connections shall end, and who waits to hear it.
#[derive(Default)]
pub struct Drain {
    begun: Cell<bool>,
    waiting: RefCell<Slab<Waker>>,
    /// The worker itself, while it waits for the last to end.
    last: Cell<Option<Waker>>,
}

/// Work that a drain waits for, until this drops.
pub struct Detached(Rc<Worker>);

/// One connection's eye on a [`Drain`].
pub struct Watch<'a> {
    drain: &'a Drain,
    key: Cell<Option<usize>>,
}

/// Runs futures of this worker for the HTTP library.
#[derive(Clone, Copy)]
pub struct LocalExecutor;

impl Worker {
    pub fn new(id: usize, shared: Arc<Shared>, dial: Dial) -> Worker {
        let connections = shared.snapshot.load().limits.connections.clamp(1, Semaphore::MAX_PERMITS);
        Worker {
            id,
            origins: Origins::new(dial),
            targets: Default::default(),
            telemetry: Telemetry::new(id, shared.ledger.clone()),
            instances: Instances::new(shared.state.clone()),
            kv: Stores::default(),
            drain: Drain::default(),
            exchanges: Cell::new(0),
            detached: Cell::new(0),
            no_id: "".into(),
            permits: Arc::new(Semaphore::new(connections)),
            connections,
            shared,
        }
    }

    /// What runs beside the exchanges as long as the worker does.
    pub fn keep(self: &Rc<Worker>) {
        spawn_local(wheel::drive());
        spawn_local(Origins::keep(self.clone()));
        spawn_local(Instances::keep(self.clone()));
        spawn_local(Instances::listen(self.clone()));
        spawn_local(Instances::tend(self.clone()));
        spawn_local(Instances::receive(self.clone()));
    }

    /// The configuration as it is now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot.load_full()
    }

    /// Waits until one more connection may be open.
    pub async fn permit(&self) -> OwnedSemaphorePermit {
        self.permits.clone().acquire_owned().await.expect("the semaphore is never closed")
    }

    fn is_empty(&self) -> bool {
        // An acceptor that waits for a connection holds a permit too, but has ended by then.
        self.exchanges.get() == 0 && self.detached.get() == 0 && self.permits.available_permits() == self.connections
    }

    /// Has a drain wait, within its time, for what holds this.
    pub fn detach(self: &Rc<Worker>) -> Detached {
        self.detached.set(self.detached.get() + 1);
        Detached(self.clone())
    }
}

impl Drain {
    /// From now on connections end as soon as they have no exchange.
    pub fn begin(&self) {
        self.begun.set(true);
        for (_, waker) in self.waiting.take() {
            waker.wake();
        }
    }

    pub fn has_begun(&self) -> bool {
        self.begun.get()
    }

    pub fn watch(&self) -> Watch<'_> {
        Watch { drain: self, key: Cell::new(None) }
    }

    /// An exchange or a connection has ended.
    pub(crate) fn moved(&self) {
        if self.begun.get()
            && let Some(waker) = self.last.take()
        {
            waker.wake();
        }
    }
}

impl Watch<'_> {
    /// If not, the task of `cx` is woken when it begins. One task uses one watch.
    pub fn begun(&self, cx: &mut Context<'_>) -> bool {
        if self.drain.begun.get() {
            return true;
        }
        if self.key.get().is_none() {
            self.key.set(Some(self.drain.waiting.borrow_mut().insert(cx.waker().clone())));
        }
        false
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        self.0.detached.set(self.0.detached.get() - 1);
        self.0.drain.moved();
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.get() {
            self.drain.waiting.borrow_mut().try_remove(key);
        }
        self.drain.moved();
    }
}

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        spawn_local(async move { drop(future.await) });
    }
}

/// The life of a worker's thread: serves until `stop`, then at most for the drain time. The
/// number of exchanges that were cut off.
pub fn run(id: usize, shared: Arc<Shared>, listeners: Vec<StdListener>, stop: watch::Receiver<bool>) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, worker = id, "a worker did not start");
            return 0;
        }
    };
    let local = LocalSet::new();
    let cut = local.block_on(&runtime, serve(id, shared, listeners, stop));
    // Whatever still runs is dropped here, on its own thread.
    drop(local);
    cut
}

async fn serve(id: usize, shared: Arc<Shared>, listeners: Vec<StdListener>, mut stop: watch::Receiver<bool>) -> usize {
    let worker = Rc::new(Worker::new(id, shared, Dial::default()));
    worker.keep();
    let mut acceptors = Vec::new();
    for (index, listener) in listeners.into_iter().enumerate() {
        match TcpListener::from_std(listener) {
            Ok(listener) => acceptors.push(spawn_local(listen::accept(worker.clone(), listener, index))),
            Err(error) => tracing::error!(%error, worker = id, "a worker does not listen"),
        }
    }
    worker.shared.standing.accepting.fetch_add(1, Ordering::Relaxed);
    // An error means that the edge itself is gone, which ends the worker as well.
    let _ = stop.wait_for(|stop| *stop).await;
    worker.shared.standing.accepting.fetch_sub(1, Ordering::Relaxed);
    worker.drain.begin();
    let time = worker.snapshot().region.edge.as_ref().map_or(Duration::ZERO, |edge| edge.drain);
    worker.instances.drain(time);
    let ended = async {
        for acceptor in acceptors {
            let _ = acceptor.await;
        }
        poll_fn(|cx| {
            if worker.is_empty() {
                return Poll::Ready(());
            }
            worker.drain.last.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await
    };
    let _ = tokio::time::timeout(time, ended).await;
    worker.origins.clear();
    worker.targets.clear();
    worker.exchanges.get()
}
