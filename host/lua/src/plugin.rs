//! Loaded code: checked once in a scratch sandbox, then shared by all workers.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use abi::{Callbacks, Fault, Host, Instance, Limits, LoadError, Plugin, Started, Verdict};

use crate::instance::{CALLBACKS, LuaInstance};
use crate::scratch::Scratch;
use crate::source::Source;

/// Scripts recurse on the C stack in places: the same as a worker's, or more.
const STACK: usize = 16 << 20;

struct LuaPlugin {
    source: Arc<Source>,
    callbacks: Callbacks,
}

/// With `trusted`, the folders in which modules are looked for.
pub fn load(path: &Path, trusted: Option<&[PathBuf]>, limits: &Limits) -> Result<Arc<dyn Plugin>, LoadError> {
    let source = Arc::new(Source::read(path, trusted)?);
    let (scratch, limits) = (source.clone(), limits.clone());
    let callbacks = std::thread::Builder::new()
        .name("lua-load".to_owned())
        .stack_size(STACK)
        .spawn(move || learn(scratch, limits))
        .map_err(|e| LoadError::new(format!("no thread to check the plugin in: {e}")))?
        .join()
        .unwrap_or_else(|_| Err(LoadError::new("the check of the plugin panicked: this is our bug")))?;
    Ok(Arc::new(LuaPlugin { source, callbacks }))
}

/// Runs the file where nothing can happen, to see what it returns.
fn learn(source: Arc<Source>, limits: Limits) -> Result<Callbacks, LoadError> {
    let host = Rc::new(Scratch::new(&source.name, limits.clone()));
    let instance = LuaInstance::start(source.clone(), host).map_err(|failure| {
        let fault = failure.fault;
        let message = match fault.verdict {
            Verdict::Cpu => {
                format!("{}: ran longer than {:?} while it was loaded (limit start_cpu)", source.name, limits.start_cpu)
            }
            _ if failure.shape => format!("{}: {}", source.name, fault.message),
            _ => fault.message.clone(),
        };
        match line_of(&source.name, &fault.message) {
            // The place is said by whoever knows the path, once.
            Some(line) => LoadError::at(line, text_of(&source.name, line, message)),
            None => LoadError::new(message),
        }
    })?;
    // The two of the start are no events.
    let events = CALLBACKS.iter().enumerate().skip(2).filter(|(i, _)| instance.has(*i));
    Ok(events.map(|(i, _)| Callbacks::from_bits_truncate(1 << (i - 2))).collect())
}

fn text_of(name: &str, line: u32, message: String) -> String {
    match message.strip_prefix(&format!("{name}:{line}: ")) {
        Some(text) => text.to_owned(),
        None => message,
    }
}

/// The line that a message `main.lua:7: …` names; one of a module has its file in the message.
fn line_of(name: &str, message: &str) -> Option<u32> {
    let rest = message.strip_prefix(name)?.strip_prefix(':')?;
    rest.split(':').next()?.parse().ok()
}

impl Plugin for LuaPlugin {
    fn callbacks(&self) -> Callbacks {
        self.callbacks
    }

    /// A killed coroutine leaves its state whole, so the exchanges beside it feel nothing.
    fn shares(&self) -> bool {
        true
    }

    fn instantiate(&self, host: Rc<dyn Host>) -> Result<Box<dyn Instance>, Fault> {
        Ok(Box::new(LuaInstance::configured(self.source.clone(), host)?))
    }

    /// What the FFI of a trusted plugin loads may belong to the thread that loads it.
    fn start(&self, host: Rc<dyn Host>) -> Option<Result<Box<dyn Started>, Fault>> {
        (!self.source.is_trusted()).then(|| LuaInstance::started(self.source.clone(), host))
    }
}
