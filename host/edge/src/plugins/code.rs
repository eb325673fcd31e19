//! Code of plugins, loaded: taken over where it has not changed, and compiled several modules at once.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use abi::{Limits, LoadError};
use bytes::Bytes;
use config::{PluginCode, PluginLimits, Remote};

use crate::source::absent::{self, Absent};

/// The stack of a thread that compiles; the compiler's own threads take what it gives them.
const STACK: usize = 8 << 20;

/// What makes code of what a region says of a plugin.
pub type Loader<'a> = dyn Fn(&config::Plugin) -> Result<Arc<dyn abi::Plugin>, LoadError> + Sync + 'a;

/// What has a module that is fetched; `None` while it has not come, an error if what the region file
/// names beside it does not serve.
pub type Find<'a> = dyn Fn(&Arc<Remote>) -> Result<Option<Bytes>, String> + 'a;

#[derive(Clone)]
pub struct Loaded {
    code: PluginCode,
    trusted: bool,
    pub version: Arc<str>,
    pub plugin: Arc<dyn abi::Plugin>,
}

/// Something to be compiled.
struct Job<'a> {
    spec: &'a config::Plugin,
    version: Arc<str>,
    /// Of what was fetched.
    module: Option<Bytes>,
}

impl Loaded {
    /// Its module has not come.
    pub fn is_absent(&self) -> bool {
        &*self.version == absent::VERSION
    }

    pub fn remote(&self) -> Option<&Arc<Remote>> {
        match &self.code {
            PluginCode::Remote(remote) => Some(remote),
            PluginCode::Lua(_) | PluginCode::Wasm(_) => None,
        }
    }

    /// Whether `spec` is the same code, in this version.
    fn is(&self, spec: &config::Plugin, version: &str) -> bool {
        let same = match (&self.code, &spec.code) {
            (PluginCode::Remote(is), PluginCode::Remote(wanted)) => is.same_module(wanted),
            (is, wanted) => is == wanted,
        };
        same && self.trusted == spec.trusted && *self.version == *version
    }
}

/// The code of every plugin of a region, by its name.
pub fn all(
    region: &config::Region,
    previous: Option<&HashMap<String, Loaded>>,
    loader: &Loader<'_>,
    find: &Find<'_>,
) -> Vec<(String, Result<Loaded, String>)> {
    let mut all = Vec::with_capacity(region.plugins.len());
    let (mut jobs, mut waiting) = (Vec::<Job<'_>>::new(), Vec::new());
    let specs: Vec<_> = region.plugins.values().map(|spec| widest(region, spec)).collect();
    for (name, spec) in region.plugins.keys().zip(&specs) {
        match known_or_job(spec, previous.and_then(|previous| previous.get(name)), find) {
            Ok(Ok(loaded)) => all.push((name.clone(), Ok(loaded))),
            Err(error) => all.push((name.clone(), Err(error))),
            Ok(Err(job)) => {
                // The same module under two names is compiled once.
                let same = jobs.iter().position(|other| is_wasm(spec) && other.is_for(&job));
                waiting.push((name, spec, same.unwrap_or(jobs.len())));
                if same.is_none() {
                    jobs.push(job);
                }
            }
        }
    }
    let done = at_once(&jobs, loader);
    for (name, spec, job) in waiting {
        let loaded = done[job].clone().map_err(|error| failed(spec, error)).map(|plugin| Loaded {
            code: spec.code.clone(),
            trusted: spec.trusted,
            version: jobs[job].version.clone(),
            plugin,
        });
        all.push((name.clone(), loaded));
    }
    all
}

impl Job<'_> {
    fn is_for(&self, other: &Job<'_>) -> bool {
        self.spec.code == other.spec.code && self.version == other.version
    }
}

fn is_wasm(spec: &config::Plugin) -> bool {
    matches!(spec.code, PluginCode::Wasm(_) | PluginCode::Remote(_))
}

/// The plugin with the widest limits of its start that a route or a pool gives it: where none would refuse its
/// file, loading does not.
fn widest(region: &config::Region, spec: &config::Plugin) -> config::Plugin {
    let mut spec = spec.clone();
    let uses = region.routes.iter().flat_map(|route| &route.plugins).chain(region.scripts().map(|(_, used)| used));
    for used in uses.filter(|used| used.plugin.name == spec.name) {
        spec.limits.start_cpu = spec.limits.start_cpu.max(used.limits.start_cpu);
        spec.limits.memory = spec.limits.memory.max(used.limits.memory);
    }
    spec
}

/// What is loaded already or has not come, or what is to be compiled.
fn known_or_job<'a>(
    spec: &'a config::Plugin,
    previous: Option<&Loaded>,
    find: &Find<'_>,
) -> Result<Result<Loaded, Job<'a>>, String> {
    let version = digest(spec).map_err(|error| failed(spec, LoadError::new(error.to_string())))?;
    if let Some(same) = previous.filter(|previous| previous.is(spec, &version)) {
        // How it is asked for may be new.
        return Ok(Ok(Loaded { code: spec.code.clone(), ..same.clone() }));
    }
    let PluginCode::Remote(remote) = &spec.code else { return Ok(Err(Job { spec, version, module: None })) };
    if let Some(module) = find(remote).map_err(|error| failed(spec, LoadError::new(error)))? {
        return Ok(Err(Job { spec, version, module: Some(module) }));
    }
    if let Some(same) = previous.filter(|previous| previous.is(spec, absent::VERSION)) {
        return Ok(Ok(Loaded { code: spec.code.clone(), ..same.clone() }));
    }
    let plugin: Arc<dyn abi::Plugin> = Arc::new(Absent::new(remote));
    Ok(Ok(Loaded { code: spec.code.clone(), trusted: false, version: absent::VERSION.into(), plugin }))
}

/// Modules are compiled on as many threads as there are cores (each with the compiler's own beside it); scripts one after the other, since that
/// takes no time.
fn at_once(jobs: &[Job<'_>], loader: &Loader<'_>) -> Vec<Result<Arc<dyn abi::Plugin>, LoadError>> {
    let run = |job: &Job<'_>| match &job.module {
        Some(module) => wasm::load_bytes(module),
        None => loader(job.spec),
    };
    let mut done: Vec<Option<_>> = jobs.iter().map(|job| (!is_wasm(job.spec)).then(|| run(job))).collect();
    let modules: Vec<usize> = (0..jobs.len()).filter(|job| done[*job].is_none()).collect();
    // On one core too: one that is read from the cache need not wait for one that is compiled.
    let threads = std::thread::available_parallelism().map_or(2, usize::from).max(2).min(modules.len());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut mine = Vec::new();
        while let Some(job) = modules.get(next.fetch_add(1, Ordering::Relaxed)) {
            mine.push((*job, run(&jobs[*job])));
        }
        mine
    };
    std::thread::scope(|scope| {
        let spawn = |n| {
            let thread = std::thread::Builder::new().name(format!("compile-{n}")).stack_size(STACK);
            thread.spawn_scoped(scope, work)
        };
        // This thread is one of them, so that there is always one.
        let others: Vec<_> = (1..threads).filter_map(|n| spawn(n).ok()).collect();
        let mine = work();
        let theirs = others.into_iter().flat_map(|thread| thread.join().unwrap_or_default());
        for (job, loaded) in mine.into_iter().chain(theirs) {
            done[job] = Some(loaded);
        }
    });
    // A thread that panicked has taken its module with it.
    let lost = || Err(LoadError::new("the compiler panicked"));
    done.into_iter().map(|loaded| loaded.unwrap_or_else(lost)).collect()
}

/// Loads a plugin that is a file.
pub fn load(spec: &config::Plugin) -> Result<Arc<dyn abi::Plugin>, LoadError> {
    match &spec.code {
        PluginCode::Lua(path) => {
            let PluginLimits { start_cpu, memory, .. } = spec.limits;
            let limits = Limits { start_cpu, memory, ..Limits::default() };
            lua::load_within(path, spec.trusted.then_some(&spec.lua_path[..]), &limits)
        }
        PluginCode::Wasm(path) => wasm::load(path),
        PluginCode::Remote(remote) => Err(LoadError::new(format!("{remote} is fetched, not read"))),
    }
}

fn failed(spec: &config::Plugin, error: LoadError) -> String {
    let at = match &spec.code {
        PluginCode::Lua(path) | PluginCode::Wasm(path) => path.display().to_string(),
        PluginCode::Remote(remote) => remote.to_string(),
    };
    let line = error.line.map(|line| format!(":{line}")).unwrap_or_default();
    format!("plugin {:?}: {at}{line}: {}", spec.name, error.message)
}

/// Bytes of a file that is hashed whole: a library of a trusted plugin may be large.
const LARGEST_MODULE: u64 = 4 << 20;

/// Names the code: its bytes, and for Lua those of the modules that it may require.
fn digest(spec: &config::Plugin) -> std::io::Result<Arc<str>> {
    let mut hasher = DefaultHasher::new();
    match &spec.code {
        PluginCode::Wasm(path) => read(path)?.hash(&mut hasher),
        // Nothing else can come from there.
        PluginCode::Remote(remote) => return Ok(remote.sha256()[..16].into()),
        PluginCode::Lua(path) => {
            read(path)?.hash(&mut hasher);
            if let Some(folder) = path.parent() {
                hash_modules(&folder.canonicalize()?, folder, &mut hasher, 8)?;
            }
            for folder in &spec.lua_path {
                folder.hash(&mut hasher);
                hash_modules(&folder.canonicalize()?, folder, &mut hasher, 8)?;
            }
        }
    }
    Ok(format!("{:016x}", hasher.finish()).into())
}

/// A pipe or a device would hold the reload.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    if std::fs::metadata(path)?.is_file() {
        return std::fs::read(path);
    }
    Err(std::io::Error::other("is no file; a plugin is made of files"))
}

/// What the engine reads as modules, and no more of it: see `lua::is_inside`.
fn hash_modules(root: &Path, folder: &Path, hasher: &mut DefaultHasher, depth: usize) -> std::io::Result<()> {
    let mut entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let path = entry.path();
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if depth > 0 {
                hash_modules(root, &path, hasher, depth - 1)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "lua")
            && (kind.is_file() || kind.is_symlink() && lua::is_inside(root, &path))
        {
            entry.file_name().hash(hasher);
            let found = std::fs::metadata(&path)?;
            if found.len() <= LARGEST_MODULE {
                read(&path)?.hash(hasher);
            } else {
                // No module, but it is seen that it is another one.
                (found.len(), found.modified().ok()).hash(hasher);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;
    use std::time::{Duration, Instant};

    /// Modules `a.wasm`, `b.wasm`, … with these bytes, and plugins of the same names.
    fn region(folder: &Path, modules: &[&str]) -> config::Region {
        std::fs::create_dir_all(folder).unwrap();
        let names = ["a", "b", "c"];
        let plugins = modules.iter().zip(names).map(|(bytes, name)| {
            std::fs::write(folder.join(format!("{name}.wasm")), bytes).unwrap();
            format!("{{name: {name}, wasm: {name}.wasm}}")
        });
        let plugins = plugins.collect::<Vec<_>>().join(", ");
        let text = format!("edge: {{listeners: [{{address: '127.0.0.1:0'}}]}}\nplugins: [{plugins}]\n");
        config::parse(&text, Path::new("region.yaml"), folder).unwrap()
    }

    fn folder(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("forebay-code-{name}-{}", std::process::id()))
    }

    fn nothing(_: &Arc<Remote>) -> Result<Option<Bytes>, String> {
        Ok(None)
    }

    fn something() -> Arc<dyn abi::Plugin> {
        let at = config::RemoteAt::Https { url: String::new(), sha256: String::new(), signature: String::new() };
        let (timeout, wait) = (Remote::TIMEOUT, Remote::WAIT);
        Arc::new(Absent::new(&Remote { at, public_key: None, ca: None, login: None, token_host: None, timeout, wait }))
    }

    #[test]
    fn modules_are_compiled_at_once_and_their_errors_all_told() {
        let folder = folder("at-once");
        let region = region(&folder, &["1", "2", "3"]);
        let inside = AtomicU32::new(0);
        // Ends only when a second one has begun.
        let loader = |spec: &config::Plugin| {
            inside.fetch_add(1, Ordering::SeqCst);
            let begin = Instant::now();
            while inside.load(Ordering::SeqCst) < 2 {
                assert!(begin.elapsed() < Duration::from_secs(30), "one after the other");
                std::thread::yield_now();
            }
            if spec.name == "b" { Err(LoadError::new("broken")) } else { Ok(something()) }
        };
        let all = all(&region, None, &loader, &nothing);
        let loaded = all.iter().filter(|(_, loaded)| loaded.is_ok()).map(|(name, _)| &**name).collect::<Vec<_>>();
        assert_eq!(loaded, ["a", "c"]);
        let errors: Vec<_> = all.iter().filter_map(|(_, loaded)| loaded.as_ref().err()).collect();
        assert!(errors.len() == 1 && errors[0].ends_with("b.wasm: broken"), "{errors:?}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_did_not_change_is_not_compiled_again() {
        let folder = folder("again");
        let count = AtomicU32::new(0);
        let loader = |_: &config::Plugin| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(something())
        };
        let load = |modules: &[&str], before: Option<&HashMap<String, Loaded>>| {
            let all = all(&region(&folder, modules), before, &loader, &nothing).into_iter();
            all.map(|(name, loaded)| (name, loaded.unwrap())).collect::<HashMap<_, _>>()
        };
        let first = load(&["1", "2"], None);
        assert_eq!(count.load(Ordering::SeqCst), 2);
        let second = load(&["1", "3"], Some(&first));
        assert_eq!(count.load(Ordering::SeqCst), 3);
        assert!(Arc::ptr_eq(&first["a"].plugin, &second["a"].plugin));
        assert!(!Arc::ptr_eq(&first["b"].plugin, &second["b"].plugin));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
