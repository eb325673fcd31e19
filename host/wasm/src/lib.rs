//! Runs plugins in wasmtime as proxy-wasm (0.1.0, 0.2.0, 0.2.1). The only crate that knows
//! wasmtime; proxy-wasm's own words are used here and nowhere else.
//!
//! The parts, in the order in which a module meets them:
//!
//! - [`engine`]: the one engine of the process; [`ticker`]: what makes its epochs;
//! - [`bounds`]: what a module may ask of the compiler; [`bulk`]: puts deadlines into operations on much memory;
//! - [`cache`]: compiled code on disk; [`plugin`]: a module checked, linked, ready to be run;
//! - [`imports`]: what a module may import, and what is said when it wants more;
//! - [`exports`]: the callbacks that it has;
//! - [`begin`]: how it starts;
//! - [`instance`]: a running copy: events become callbacks, answers become actions;
//! - [`budget`]: what one entry may use;
//! - [`state`]: what the host keeps beside an instance: hosts by context, limits, last words;
//! - [`memory`]: every pointer and length that a guest gives is checked there and only there;
//! - [`api`]: the hostcalls, a file for each noun; [`wasi`]: the little of WASI that SDKs need;
//! - [`fault`]: what a failed call into the guest is called; [`clock`]: CPU time of a thread.
//!
//! `README.md` lists every import and callback, and where this differs from Envoy.

mod api;
mod begin;
mod bounds;
mod budget;
mod bulk;
mod cache;
mod clock;
mod engine;
mod exports;
mod fault;
mod imports;
mod instance;
mod memory;
mod plugin;
mod state;
mod ticker;
mod wasi;

use std::path::Path;
use std::sync::Arc;

use abi::{LoadError, Plugin};

pub use cache::home as cache_home;
pub use clock::thread_cpu;
pub use engine::POOL as INSTANCES;
#[doc(hidden)]
pub use engine::without_deadlines;
pub use exports::CALLBACKS;
pub use imports::names as import_names;
#[doc(hidden)]
pub use imports::types as import_types;

/// Bytes of a module. Large ones of real plugins have 6 MB; compiling takes a second for each MB, and what memory it
/// may take [`bounds`] says.
pub const MAX_MODULE: u64 = 64 << 20;

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    let found = std::fs::metadata(path).map_err(|e| LoadError::new(e.to_string()))?;
    if !found.is_file() {
        // A pipe would hold whoever reads it.
        return Err(LoadError::new("is no file; a plugin is made of files"));
    }
    let size = found.len();
    if size > MAX_MODULE {
        return Err(LoadError::new(format!("has {size} bytes, a module may have {MAX_MODULE}")));
    }
    std::fs::read(path).map_err(|e| LoadError::new(e.to_string()))
}

/// Loads, checks and compiles the module at `path`; the compiled code is kept in the user's
/// cache folder. The error names everything that the module lacks or wants too much, but not
/// `path`: who gave it knows better how to call it.
pub fn load(path: &Path) -> Result<Arc<dyn Plugin>, LoadError> {
    load_bytes(&read(path)?)
}

/// The same of a module that is not a file.
pub fn load_bytes(bytes: &[u8]) -> Result<Arc<dyn Plugin>, LoadError> {
    load_with(bytes, cache::folder().as_deref())
}

/// The same with another folder for the compiled code, or none.
pub fn load_with(bytes: &[u8], compiled: Option<&Path>) -> Result<Arc<dyn Plugin>, LoadError> {
    Ok(Arc::new(plugin::Module::new(bytes, compiled)?))
}
