//! Where modules come from that are not files: `https://` and `oci://`. Fetched on threads of their own,
//! off every worker; kept on disk; tried again, with growing pauses, until they are there.
//!
//! - this file: [`Sources`], all that a process fetches, and what the admin address says of them
//! - [`fetch`]: one attempt; [`client`]: HTTPS; [`registry`]: tokens, manifests, blobs
//! - [`image`]: the layouts of images; [`signature`]: public keys
//! - [`parts`]: what came, held against the region file; [`store`]: the same on disk
//! - [`state`]: how it stands with one, and when it is tried again; [`absent`]: what stands in a chain
//!   for a module that is not there yet
//!
//! Modules are known by their SHA-256, so what is on disk is as good as what is fetched, and a source that
//! gives other bytes today gives nothing. A start waits for those that are not there (`wait`), and goes on
//! without them by the plugin's fault policy. A reload does not wait: where a plugin ran before, that
//! version serves on until the new one is there, and then the edge takes it over by itself.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use config::{PluginCode, Region, Remote};
use rustls::ClientConfig;
use serde_json::{Value, json};
use tokio::sync::watch;

pub mod absent;
mod client;
mod fetch;
mod image;
mod parts;
mod registry;
mod signature;
mod state;
mod store;

use crate::callout::target;
use signature::Key;
use state::{Standing, State};
use store::Store;

/// All sources of a process.
pub struct Sources {
    entries: Mutex<Vec<Arc<Source>>>,
    store: Arc<Store>,
    /// Called, on the thread of a source, when its module has come.
    arrival: Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>,
}

/// How a module is asked for and held to its signature, read from the files that the region names.
pub struct Terms {
    tls: Arc<ClientConfig>,
    key: Option<Key>,
}

/// How it stands with the source of a plugin, in numbers.
pub struct Facts {
    pub from: String,
    pub sha256: String,
    pub state: &'static str,
    /// Attempts of this process that brought the module, and that failed.
    pub fetched: u64,
    pub failed: u64,
    /// When one brought it last, since 1970.
    pub last: Option<Duration>,
}

struct Source {
    remote: Arc<Remote>,
    terms: Terms,
    state: Mutex<State>,
    moved: Condvar,
    /// A thread fetches it. The thread ends when nobody wants it any more.
    fetching: watch::Sender<bool>,
}

impl Terms {
    /// Whether what the region file names beside a module serves: its key and its roots.
    pub fn read(remote: &Remote) -> Result<Terms, String> {
        let key = remote
            .public_key
            .as_ref()
            .map(|key| Key::parse(&key.pem).map_err(|error| format!("public_key {}: {error}", key.path.display())));
        let tls = target::client(remote.ca.as_deref(), "fetch.ca")?;
        Ok(Terms { tls, key: key.transpose()? })
    }
}

impl Default for Sources {
    fn default() -> Sources {
        Sources { entries: Mutex::default(), store: Arc::new(Store::usual()), arrival: Arc::default() }
    }
}

impl Sources {
    /// What is done when a module has come; said once.
    pub fn on_arrival(&self, act: impl Fn() + Send + Sync + 'static) {
        // A second one would be that of another edge.
        let _ = self.arrival.set(Box::new(act));
    }

    /// The module, if it has come or is on disk. Reads and hashes: not for a worker.
    pub fn find(&self, remote: &Arc<Remote>) -> Result<Option<Bytes>, String> {
        let source = self.source(remote)?;
        if let Some(module) = &source.state().module {
            return Ok(Some(module.clone()));
        }
        let Some(parts) = self.store.read(remote) else { return Ok(None) };
        match parts.module(remote, source.terms.key.as_ref()) {
            Ok(module) => {
                source.become_ready(module.clone(), None);
                Ok(Some(module))
            }
            Err(why) => {
                tracing::warn!(target: LOG_TARGET, source = %remote, "what is kept of it is not taken: {why}");
                Ok(None)
            }
        }
    }

    /// From now on these are the sources: what has not come is fetched, and nothing that the region
    /// does not name.
    pub fn follow(&self, region: &Region) {
        let remotes = region.plugins.values().filter_map(|plugin| remote(plugin));
        // What cannot be read any more was said when the region was loaded.
        let kept: Vec<_> = remotes.filter_map(|remote| self.source(remote).ok()).collect();
        kept.iter().for_each(|source| self.begin(source));
        let before = std::mem::replace(&mut *self.entries(), kept.clone());
        before.iter().filter(|source| !kept.iter().any(|kept| Arc::ptr_eq(kept, source))).for_each(|gone| gone.end());
    }

    /// These modules run.
    pub fn loaded<'a>(&self, remotes: impl Iterator<Item = &'a Arc<Remote>>) {
        for source in remotes.filter_map(|remote| self.source(remote).ok()) {
            let mut state = source.state();
            (state.standing, state.module, state.refused, state.next) = (Standing::Ready, None, None, None);
        }
    }

    /// Has all that a region names fetched, and waits for it, for each as long as its plugin says.
    pub fn gather(&self, region: &Region) {
        // From disk, where it is there. What is wrong is said when it is loaded.
        region.plugins.values().filter_map(|plugin| remote(plugin)).for_each(|remote| drop(self.find(remote)));
        self.follow(region);
        let begin = Instant::now();
        for remote in region.plugins.values().filter_map(|plugin| remote(plugin)) {
            let Ok(source) = self.source(remote) else { continue };
            let state = source.state();
            let left = remote.wait.saturating_sub(begin.elapsed());
            let waiting = |state: &mut State| state.standing != Standing::Ready;
            let waited = source.moved.wait_timeout_while(state, left, waiting);
            let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if state.standing != Standing::Ready {
                let why = state.last_error.as_deref().unwrap_or("it is still on its way");
                tracing::warn!(target: LOG_TARGET, source = %remote, "not there after {:?}: {why}", remote.wait);
            }
        }
    }

    /// What came does not run. It is not tried again before the next reload.
    pub fn refuse(&self, remote: &Arc<Remote>, why: &str) {
        if let Ok(source) = self.source(remote) {
            source.state().refused = Some(why.to_owned());
        }
    }

    /// Whether it has come, and nobody has found yet that it does not run.
    pub fn arrived(&self, remote: &Arc<Remote>) -> bool {
        self.source(remote).is_ok_and(|source| {
            let state = source.state();
            state.standing == Standing::Ready && state.refused.is_none()
        })
    }

    /// Ends all fetching.
    pub fn end(&self) {
        self.entries().drain(..).for_each(|source| source.end());
    }

    /// For the admin address; `None` for what is not fetched.
    pub fn view(&self, plugin: &config::Plugin) -> Option<Value> {
        let remote = remote(plugin)?;
        let source = self.entries().iter().find(|source| source.remote == *remote).cloned()?;
        let (state, now) = (source.state(), Instant::now());
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Some(json!({
            "from": remote.to_string(),
            "sha256": remote.sha256(),
            "signed_by": remote.public_key.as_ref().map(|key| &key.path),
            "state": state.standing.name(),
            "failed_for_ms": match state.standing {
                Standing::Failed(since) => Some(millis(now.saturating_duration_since(since))),
                Standing::Fetching | Standing::Ready => None,
            },
            "attempts": state.attempts,
            "last_error": state.last_error,
            "next_attempt_in_ms": state.next.map(|next| millis(next.saturating_duration_since(now))),
            "from_disk": state.kept,
            "refused": state.refused,
        }))
    }

    /// For metrics; `None` for what is not fetched.
    pub fn facts(&self, plugin: &config::Plugin) -> Option<Facts> {
        let remote = remote(plugin)?;
        let source = self.entries().iter().find(|source| source.remote == *remote).cloned()?;
        let state = source.state();
        let last = state.fetched_at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        Some(Facts {
            from: remote.to_string(),
            sha256: remote.sha256().to_owned(),
            state: if state.refused.is_some() { "refused" } else { state.standing.name() },
            fetched: state.fetched,
            failed: state.failed,
            last,
        })
    }

    /// Made if it is new; nothing is fetched by that.
    fn source(&self, remote: &Arc<Remote>) -> Result<Arc<Source>, String> {
        if let Some(source) = self.entries().iter().find(|source| source.remote == *remote) {
            return Ok(source.clone());
        }
        let terms = Terms::read(remote)?;
        let (state, moved, fetching) = (Mutex::default(), Condvar::new(), watch::Sender::new(false));
        let source = Arc::new(Source { remote: remote.clone(), terms, state, moved, fetching });
        self.entries().push(source.clone());
        Ok(source)
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Arc<Source>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches it until it is there, if nobody does.
    fn begin(&self, source: &Arc<Source>) {
        if source.state().standing == Standing::Ready || source.fetching.send_replace(true) {
            return;
        }
        let (fetched, store, arrival) = (source.clone(), self.store.clone(), self.arrival.clone());
        // What has come is tried there before it takes over, and plugins need their stack.
        let thread = std::thread::Builder::new().name("source".into()).stack_size(crate::worker::STACK);
        let started = thread.spawn(move || {
            if run(&fetched, &store)
                && let Some(act) = arrival.get()
            {
                act();
            }
        });
        if let Err(error) = started {
            source.fetching.send_replace(false);
            let error = format!("no thread to fetch it on: {error}");
            source.state().failed(&error, Instant::now(), 1.0);
            tracing::error!(target: LOG_TARGET, source = %source.remote, "{error}");
        }
    }
}

impl Drop for Sources {
    fn drop(&mut self) {
        self.end();
    }
}

fn remote(plugin: &config::Plugin) -> Option<&Arc<Remote>> {
    match &plugin.code {
        PluginCode::Remote(remote) => Some(remote),
        PluginCode::Lua(_) | PluginCode::Wasm(_) => None,
    }
}

impl Source {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn become_ready(&self, module: Bytes, fetched: Option<SystemTime>) {
        self.state().ready(module, fetched);
        self.moved.notify_all();
    }

    fn end(&self) {
        self.fetching.send_replace(false);
    }
}

/// Where fetching is logged.
const LOG_TARGET: &str = "forebay::source";

/// The life of a thread that fetches; whether the module has come.
fn run(source: &Arc<Source>, store: &Store) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(target: LOG_TARGET, source = %source.remote, %error, "it is not fetched");
            source.state().failed(&error.to_string(), Instant::now(), 1.0);
            // The next reload tries again.
            source.end();
            return false;
        }
    };
    let mut wanted = source.fetching.subscribe();
    runtime.block_on(async {
        tokio::select! {
            _ = wanted.wait_for(|wanted| !wanted) => false,
            () = try_on(source, store) => true,
        }
    })
}

/// Tries until the module is there.
async fn try_on(source: &Source, store: &Store) {
    let remote = &source.remote;
    loop {
        source.state().begin();
        match attempt(source, store).await {
            Ok(module) => {
                tracing::info!(target: LOG_TARGET, source = %remote, bytes = module.len(), "fetched");
                return source.become_ready(module, Some(crate::clock::wall()));
            }
            Err(why) => {
                let pause = source.state().failed(&why, Instant::now(), fastrand::f64());
                let seconds = pause.as_secs_f64();
                tracing::warn!(target: LOG_TARGET, source = %remote, seconds, "not fetched, and tried again then: {why}");
                tokio::time::sleep(pause).await;
            }
        }
    }
}

async fn attempt(source: &Source, store: &Store) -> Result<Bytes, String> {
    let (remote, terms) = (&source.remote, &source.terms);
    let fetched = tokio::time::timeout(remote.timeout, fetch::fetch(remote, terms)).await;
    let parts = fetched.unwrap_or_else(|_| Err(format!("{remote}: not all of it came within {:?}", remote.timeout)))?;
    let module = parts.module(remote, terms.key.as_ref())?;
    if let Err(error) = store.write(remote, &parts) {
        tracing::warn!(target: LOG_TARGET, source = %remote, %error, "what was fetched is not kept on disk");
    }
    Ok(module)
}
