//! A module: checked, compiled, linked; shared by all workers.

use std::path::Path;
use std::rc::Rc;

use abi::{Callbacks, Fault, Host, Instance, LoadError, Plugin, Started};
use wasmtime::InstancePre;

use crate::begin::Begin;
use crate::bounds::TooMuch;
use crate::bulk::Rewritten;
use crate::engine::engine;
use crate::exports::{Places, VERSIONS};
use crate::instance::Running;
use crate::state::{State, Version};
use crate::{cache, exports, imports};

pub struct Module {
    pub pre: InstancePre<State>,
    pub version: Version,
    callbacks: Callbacks,
    pub places: Places,
    pub begin: Begin,
    pub rewritten: Rewritten,
}

impl Module {
    /// Checks and compiles; compiled code is kept in `cache`. The error has every problem of
    /// the module at once.
    pub fn new(bytes: &[u8], cache: Option<&Path>) -> Result<Module, LoadError> {
        recognize(bytes)?;
        let (module, rewritten) =
            cache::compile(engine(), bytes, cache).map_err(|e| match e.downcast_ref::<TooMuch>() {
                Some(refused) => LoadError::new(refused.to_string()),
                None => LoadError::new(format!("no valid Wasm module: {}", e.root_cause())),
            })?;
        let mut problems = exports::problems(&module);
        let (linker, missing) = imports::resolve(&module);
        if !missing.is_empty() {
            problems.push(format!("imports what this host does not have: {}", missing.join("; ")));
        }
        if !problems.is_empty() {
            return Err(LoadError::new(format!("the module {}", problems.join("; it "))));
        }
        let pre = linker.instantiate_pre(&module).map_err(|e| LoadError::new(format!("the module {e:#}")))?;
        let version = VERSIONS.iter().find(|(name, _)| module.get_export(name).is_some());
        let version = version.expect("a module without a version is a problem").1;
        let (callbacks, places, begin) = (exports::callbacks(&module), Places::of(&module), Begin::of(&module));
        Ok(Module { pre, version, callbacks, places, begin, rewritten })
    }
}

/// Tells what is no core module by its first bytes: the compiler would only say that the magic
/// number is wrong.
fn recognize(bytes: &[u8]) -> Result<(), LoadError> {
    let what = match bytes {
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => return Ok(()),
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => "a Wasm component; proxy-wasm modules are core modules".to_owned(),
        [0, b'a', b's', b'm', ..] => "a Wasm module of an unknown version".to_owned(),
        [] => "empty, so no Wasm module".to_owned(),
        _ if bytes.trim_ascii_start().starts_with(b"(module") => {
            "Wasm in text form, and only the binary form is loaded (wat2wasm makes it)".to_owned()
        }
        _ => format!("no Wasm module: it begins with {:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(8)])),
    };
    Err(LoadError::new(format!("the file is {what}")))
}

impl Plugin for Module {
    fn callbacks(&self) -> Callbacks {
        self.callbacks
    }

    fn instantiate(&self, host: Rc<dyn Host>) -> Result<Box<dyn Instance>, Fault> {
        Ok(Box::new(Running::start(self, host)?))
    }

    fn start(&self, host: Rc<dyn Host>) -> Option<Result<Box<dyn Started>, Fault>> {
        Some(Running::start(self, host).map(|running| Box::new(running.park()) as Box<dyn Started>))
    }
}
