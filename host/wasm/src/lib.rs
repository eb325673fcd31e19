//! Runs plugins in wasmtime as proxy-wasm. (Signature agreed with the edge; the engine follows.)

use std::path::Path;
use std::sync::Arc;

use abi::{LoadError, Plugin};

/// Loads, checks and compiles the module at `path`.
pub fn load(path: &Path) -> Result<Arc<dyn Plugin>, LoadError> {
    Err(LoadError::new(format!("{}: the Wasm engine is not built yet", path.display())))
}
