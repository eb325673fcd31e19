//! Runs plugins in LuaJIT. (Signature agreed with the edge; the engine follows.)

use std::path::Path;
use std::sync::Arc;

use abi::{LoadError, Plugin};

/// Loads and checks the plugin whose main file is `path`; modules beside it can be required.
pub fn load(path: &Path) -> Result<Arc<dyn Plugin>, LoadError> {
    Err(LoadError::new(format!("{}: the Lua engine is not built yet", path.display())))
}
