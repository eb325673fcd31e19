//! How a running edge takes a new configuration, or a module that has come since: checked off to the
//! side, then swapped whole, or refused while the old one serves on. Never on a worker: what has to be
//! compiled is compiled on the caller's thread and those of the compiler.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use config::{Region, Remote};

use crate::plugins::code::{self, Find};
use crate::plugins::{self, Plugins};
use crate::self_test;
use crate::snapshot::{self, Snapshot};
use crate::worker::Shared;

/// What all reloads of an edge go through, one at a time.
pub struct Reloads {
    shared: Arc<Shared>,
    /// Whether code that is new is tested before it serves.
    self_test: bool,
    one: Mutex<()>,
}

impl Reloads {
    pub fn new(shared: Arc<Shared>, self_test: bool) -> Reloads {
        Reloads { shared, self_test, one: Mutex::new(()) }
    }

    /// A new region. What its plugins need and nobody has yet is fetched from then on.
    pub fn reload(&self, region: Arc<Region>) -> Result<(), Vec<String>> {
        let _one = self.one.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.shared.snapshot.load_full();
        let errors = unchangeable(&before.region, &region);
        if !errors.is_empty() {
            return Err(errors);
        }
        let sources = &self.shared.sources;
        let find = |remote: &Arc<Remote>| sources.find(remote);
        let taken = self.take(region, &before.plugins, &find);
        // What was looked for is forgotten where the region is refused.
        sources.follow(&self.shared.snapshot.load().region);
        taken
    }

    /// Modules that have come since they were named: each by itself, so that one which does not run
    /// keeps none of the others.
    pub fn take_arrived(&self) {
        let _one = self.one.lock().unwrap_or_else(PoisonError::into_inner);
        let sources = &self.shared.sources;
        let before = self.shared.snapshot.load_full();
        for remote in before.plugins.absent().filter(|remote| sources.arrived(remote)) {
            let now = self.shared.snapshot.load_full();
            let find = |asked: &Arc<Remote>| if asked == remote { sources.find(asked) } else { Ok(None) };
            match self.take(now.region.clone(), &now.plugins, &find) {
                Ok(()) => tracing::info!(target: "forebay::source", source = %remote, "its plugin serves"),
                Err(errors) => {
                    let why = errors.join("\n");
                    tracing::error!(target: "forebay::source", source = %remote, "what came is refused: {why}");
                    sources.refuse(remote, &why);
                }
            }
        }
    }

    fn take(&self, region: Arc<Region>, before: &Plugins, find: &Find<'_>) -> Result<(), Vec<String>> {
        let plugins = plugins::load_found(&region, Some(before), &code::load, find)?;
        if self.self_test {
            let errors = self_test::errors(&region, &plugins, Some(before));
            if !errors.is_empty() {
                return Err(errors);
            }
        }
        let read = snapshot::read(&region)?;
        let shared = &self.shared;
        if let (Some(starter), Some(edge)) = (&shared.starter, &region.edge) {
            starter.prepare(&plugins, Some(before), edge.workers.max(1));
        }
        // Nothing can fail from here on.
        plugins.settle(&region);
        shared.sources.loaded(plugins.fetched());
        shared.ledger.set_access(region.log.access);
        shared.state.configure(&region);
        shared.membership.reload(&region, Instant::now());
        let snapshot = Snapshot::with(region, plugins, read, &shared.membership);
        shared.snapshot.store(Arc::new(snapshot));
        Ok(())
    }
}

/// What a running edge cannot take from a new file.
fn unchangeable(before: &Region, after: &Region) -> Vec<String> {
    let (Some(before), Some(after)) = (&before.edge, &after.edge) else {
        return vec!["the section `edge` cannot be taken out of a running edge".into()];
    };
    let mut errors = Vec::new();
    let mut refuse = |what: &str, was: String, is: String| {
        if was != is {
            errors.push(format!("{what} cannot change while the edge runs (was {was}, is {is}): restart it"));
        }
    };
    let listeners = |edge: &config::Edge| {
        let one =
            |l: &config::Listener| format!("{} http1={} http2={} tls={}", l.address, l.http1, l.http2, l.tls.is_some());
        edge.listeners.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    refuse("edge.listeners", listeners(before), listeners(after));
    refuse("edge.admin", format!("{:?}", before.admin), format!("{:?}", after.admin));
    refuse("edge.workers", before.workers.to_string(), after.workers.to_string());
    errors
}
