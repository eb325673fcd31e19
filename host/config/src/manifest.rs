//! `plugin.yaml`: what a plugin is and what it needs, as its author says. A region file grants;
//! this asks.

use std::path::Path;

use crate::error::Errors;

/// The file's name, in a plugin's folder.
pub const FILE: &str = "plugin.yaml";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Lua,
    Wasm,
}

#[derive(Clone, Debug)]
pub struct Manifest {
    pub name: String,
    pub engine: Engine,
    pub description: String,
    /// What its configuration may hold, as written for people: JSON, or a text.
    pub config: Option<String>,
    /// As written, known to the ABI, each with its line.
    pub capabilities: Vec<(String, u32)>,
    /// Limits for a region file, as JSON; `None` if it asks for none.
    pub limits: Option<String>,
    /// Names of callbacks, each with its line.
    pub callbacks: Vec<(String, u32)>,
}

/// Reads a `plugin.yaml`. All errors at once, each with its line.
pub fn load(path: &Path) -> Result<Manifest, Errors> {
    crate::load_beside(path, crate::check::manifest::manifest)
}
