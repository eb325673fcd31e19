//! Loaded plugins, bound to the routes that use them. [`code`]: what is loaded, before it is bound.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use abi::{Capabilities, Limits, Mode, Settings};
use bytes::Bytes;
use config::{FaultPolicy, Isolation, LimitMode, PluginLimits};

pub mod code;

use self::code::{Find, Loaded, Loader};

use crate::exchange::Surroundings;
use crate::instances::Running;
use crate::life::Life;
use crate::life::record::Record;
use crate::secret::Secrets;
use crate::source::Terms;
use crate::source::absent::VERSION as ABSENT;
use crate::starter::Prepared;

/// One plugin with one configuration: routes that say the same thing share it, and so do its
/// instances.
pub struct Bound {
    /// Unique among all that were ever bound in this process.
    pub id: u64,
    pub settings: Arc<Settings>,
    pub code: Arc<dyn abi::Plugin>,
    pub on_fault: FaultPolicy,
    pub isolation: Isolation,
    /// How many exchanges at once may have one of their own.
    pub instances: u32,
    pub secrets: Secrets,
    /// On how many routes it serves now; elsewhere its faults have disabled it, or it is kept as
    /// the version before.
    pub acting: Acting,
    /// Its faults outside of exchanges.
    pub background: Record,
    /// Started before it serves, for the workers to come and take.
    pub prepared: Ready,
}

/// Instances that no worker has yet.
#[derive(Default)]
pub struct Ready(Mutex<Vec<Prepared>>);

/// Counts the routes on which a version serves.
#[derive(Debug, Default)]
pub struct Acting(AtomicUsize);

/// What a region's routes use, and what the admin address shows.
#[derive(Default)]
pub struct Plugins {
    /// By route name, in the order of the route's plugins.
    pub by_route: HashMap<String, Vec<Arc<Life>>>,
    /// By plugin name.
    loaded: HashMap<String, Loaded>,
}

/// Loads every plugin that a region names and tries one instance of each use. What did not
/// change since `previous` is taken over with its instances. All errors at once. Nothing is fetched: what
/// would have to be is absent.
pub fn load(region: &config::Region, previous: Option<&Plugins>) -> Result<Plugins, Vec<String>> {
    load_by(region, previous, &code::load)
}

/// The same with an engine of the caller's own: benches hold ours beside others.
pub fn load_by(
    region: &config::Region,
    previous: Option<&Plugins>,
    loader: &Loader<'_>,
) -> Result<Plugins, Vec<String>> {
    load_found(region, previous, loader, &|remote| Terms::read(remote).map(|_| None))
}

/// The same with what `find` has of modules that are fetched. One that it does not have is absent: where
/// another version of the plugin stood on a route, that stays, as it is.
pub fn load_found(
    region: &config::Region,
    previous: Option<&Plugins>,
    loader: &Loader<'_>,
    find: &Find<'_>,
) -> Result<Plugins, Vec<String>> {
    let mut plugins = Plugins::default();
    let mut errors = Vec::new();
    let before = previous.map(|previous| &previous.loaded);
    for (name, loaded) in code::all(region, before, loader, find) {
        match loaded {
            Ok(loaded) => {
                plugins.loaded.insert(name, loaded);
            }
            Err(error) => errors.push(error),
        }
    }
    let surroundings = Surroundings::for_check();
    for route in &region.routes {
        let mut chain: Vec<Arc<Life>> = Vec::with_capacity(route.plugins.len());
        let before = previous.and_then(|previous| previous.by_route.get(&route.name));
        for plugin in &route.plugins {
            let Some(loaded) = plugins.loaded.get(&plugin.plugin.name) else { continue };
            // A plugin may stand on a route more than once.
            let same = |life: &&Arc<Life>| **life.plugin() == plugin.plugin.name;
            let nth = chain.iter().filter(same).count();
            let before = before.and_then(|before| before.iter().filter(same).nth(nth));
            if let Some(serving) = before.filter(|life| loaded.is_absent() && &*life.bound.settings.version != ABSENT) {
                chain.push(serving.clone());
                continue;
            }
            let known = plugins.bound().chain(previous.into_iter().flat_map(Plugins::bound));
            let place = format!("route {:?}", route.name);
            match bind(region, &place, plugin, loaded, known, &surroundings) {
                Ok(bound) => chain.push(Life::begin(bound, &route.name, &plugin.crash_budget, before)),
                Err(error) => errors.push(error),
            }
        }
        plugins.by_route.insert(route.name.clone(), chain);
    }
    if errors.is_empty() { Ok(plugins) } else { Err(errors) }
}

impl Plugins {
    /// Every plugin of every route.
    pub fn lives(&self) -> impl Iterator<Item = &Arc<Life>> {
        self.by_route.values().flatten()
    }

    /// Every use, of the routes of this region.
    pub fn bound(&self) -> impl Iterator<Item = &Arc<Bound>> {
        self.lives().map(|life| &life.bound)
    }

    /// The same, and the versions that may stand in.
    pub fn kept(&self) -> impl Iterator<Item = &Arc<Bound>> {
        self.lives().flat_map(|life| std::iter::once(&life.bound).chain(&life.good))
    }

    /// The code of each plugin that `previous` does not have, by the plugin's name.
    pub fn fresh<'a>(
        &'a self,
        previous: Option<&'a Plugins>,
    ) -> impl Iterator<Item = (&'a str, &'a Arc<dyn abi::Plugin>)> {
        let known = move |name: &str, code: &Arc<dyn abi::Plugin>| {
            let known = previous.and_then(|previous| previous.loaded.get(name));
            known.is_some_and(|known| Arc::ptr_eq(&known.plugin, code))
        };
        let all = self.loaded.iter().map(|(name, loaded)| (name.as_str(), &loaded.plugin));
        all.filter(move |(name, code)| !known(name, code))
    }

    /// Brings what may change under a life that goes on in line with `region`: these plugins are
    /// its now.
    pub fn settle(&self, region: &config::Region) {
        for route in &region.routes {
            let lives = self.by_route.get(&route.name).into_iter().flatten();
            for (life, used) in lives.zip(&route.plugins) {
                life.set_terms(&used.crash_budget);
                life.good.iter().for_each(|good| good.secrets.renew(region));
            }
        }
    }

    /// Of the plugin of that name.
    pub fn loaded(&self, name: &str) -> Option<&Loaded> {
        self.loaded.get(name)
    }

    /// The modules that have not come.
    pub fn absent(&self) -> impl Iterator<Item = &Arc<config::Remote>> {
        self.loaded.values().filter(|loaded| loaded.is_absent()).filter_map(Loaded::remote)
    }

    /// Those that have.
    pub fn fetched(&self) -> impl Iterator<Item = &Arc<config::Remote>> {
        self.loaded.values().filter(|loaded| !loaded.is_absent()).filter_map(Loaded::remote)
    }

    /// The same code in something of the stage's: given as `previous` to [`load`], it is bound anew.
    pub fn wrapped(mut self, wrap: impl Fn(Arc<dyn abi::Plugin>) -> Arc<dyn abi::Plugin>) -> Plugins {
        self.loaded.values_mut().for_each(|loaded| loaded.plugin = wrap(loaded.plugin.clone()));
        self.by_route.clear();
        self
    }
}

/// `place` is told where it cannot be done; of what is `known` the same is taken over.
pub fn bind<'a>(
    region: &config::Region,
    place: &str,
    used: &config::RoutePlugin,
    loaded: &Loaded,
    mut known: impl Iterator<Item = &'a Arc<Bound>>,
    surroundings: &std::rc::Rc<Surroundings>,
) -> Result<Arc<Bound>, String> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let settings = settings(used, loaded.version.clone())
        .map_err(|error| format!("{place}: plugin {:?}: {error}", used.plugin.name))?;
    let secrets = Secrets::of(region, &settings.capabilities);
    let same = |bound: &&Arc<Bound>| bound.is(&settings, used, &loaded.plugin) && bound.secrets.same(&secrets);
    if let Some(bound) = known.find(same) {
        return Ok(bound.clone());
    }
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let bound = Arc::new(Bound {
        id,
        settings: Arc::new(settings),
        code: loaded.plugin.clone(),
        on_fault: used.on_fault,
        isolation: used.isolation,
        instances: used.limits.instances,
        secrets,
        acting: Acting::default(),
        background: Record::default(),
        prepared: Ready::default(),
    });
    if loaded.is_absent() {
        return Ok(bound);
    }
    Running::start(&bound, surroundings).map_err(|fault| {
        // What loads it shows the error; this is for whoever looks at faults, such as a stage.
        tracing::debug!(
            target: "forebay::fault", plugin = &*bound.settings.plugin, version = &*bound.settings.version,
            place, callback = "on_configure", verdict = fault.verdict.name(),
            trace = fault.trace.as_deref().unwrap_or_default(), "{}", fault.message
        );
        let trace = fault.trace.as_deref().map(|trace| format!("\n{trace}")).unwrap_or_default();
        format!("{place}: plugin {:?} does not start: {fault}{trace}", used.plugin.name)
    })?;
    Ok(bound)
}

impl Bound {
    /// Whether nothing about this use differs.
    fn is(&self, settings: &Settings, used: &config::RoutePlugin, code: &Arc<dyn abi::Plugin>) -> bool {
        (self.on_fault, self.isolation, self.instances) == (used.on_fault, used.isolation, used.limits.instances)
            && Arc::ptr_eq(&self.code, code)
            && same(&self.settings, settings)
    }

    /// Whether it may behave otherwise than `other`: its code or what it is told and granted.
    pub fn differs(&self, other: &Bound) -> bool {
        self.settings.version != other.settings.version || !same(&self.settings, &other.settings)
    }
}

/// Apart from the version, which stands for the code.
fn same(one: &Settings, other: &Settings) -> bool {
    one.plugin == other.plugin
        && one.vm_config == other.vm_config
        && one.config == other.config
        && one.limits == other.limits
        && one.capabilities == other.capabilities
}

impl Ready {
    pub fn add(&self, prepared: Prepared) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(prepared);
    }

    pub fn take(&self) -> Option<Prepared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

impl Acting {
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn sub(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether it serves anywhere.
    pub fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

fn settings(used: &config::RoutePlugin, version: Arc<str>) -> Result<Settings, String> {
    let plugin = &used.plugin;
    let capabilities = Capabilities::parse(plugin.capabilities.iter().map(String::as_str)).map_err(|word| {
        format!("no capability {word:?}; capabilities are: {}", Capabilities::spellings().join(", "))
    })?;
    Ok(Settings {
        plugin: plugin.name.as_str().into(),
        version,
        vm_config: Bytes::from(plugin.vm_config.clone()),
        config: Bytes::from(used.config.clone()),
        limits: limits(&used.limits),
        capabilities,
    })
}

/// The same limits in the ABI's words (`config` may not import `abi`).
fn limits(limits: &PluginLimits) -> Limits {
    let PluginLimits {
        mode,
        cpu,
        start_cpu,
        exchange_cpu,
        background_cpu,
        wall,
        memory,
        // The edge's own affair: no engine is told.
        instances: _,
        buffer,
        callouts,
        kv_calls,
        log_lines,
        metrics,
    } = limits.clone();
    let mode = match mode {
        LimitMode::Enforce => Mode::Enforce,
        LimitMode::Shadow => Mode::Shadow,
    };
    Limits {
        mode,
        cpu,
        start_cpu,
        exchange_cpu,
        background_cpu,
        wall,
        memory,
        buffer,
        callouts,
        kv_calls,
        log_lines,
        metrics,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_of_a_file_default_to_those_of_the_abi() {
        assert_eq!(limits(&PluginLimits::default()), Limits::default());
    }
}
