//! Region files: read as written, checked as a whole, handed on as meant.
//!
//! - [`region`]: what a file means, with nothing left to check. The other crates see only this.
//! - [`load`], [`parse`]: a file to a [`Region`], or all that is wrong with it at once.
//! - [`schema`]: the JSON Schema of a file, for editors.
//! - [`manifest`], [`spec`]: what stands beside a plugin: `plugin.yaml` and `spec.yaml`.
//! - [`cron`], [`firing`]: when rules of time fire; one reading for the checker and the scaler.
//! - [`calendar`]: days that are not like others.
//! - [`outlook`]: what rules of time will do, for `check`.
//! - `node`: the file as a tree of values with their places.
//! - `raw`: what can be written, key by key; `check`: what it means together.
//! - [`error`]: what an error says.
//!
//! A new key is a line of its section's table in `raw`, a field in [`region`], and the step between
//! them in `check`; `edge-configs/reference.yaml` must show it, or a test fails.

pub mod calendar;
mod check;
pub mod cron;
pub mod error;
pub mod firing;
pub mod manifest;
mod node;
pub mod outlook;
mod raw;
pub mod region;
pub mod spec;

use std::path::Path;

pub use error::{Error, Errors, Place, Problem};
pub use raw::form::{NAMED_CAPABILITIES, PLAIN_CAPABILITIES};
pub use region::*;

use crate::node::Node;
use crate::raw::File;
use crate::raw::value::Value;

/// Reads and checks a file. Relative paths in it are relative to its folder.
pub fn load(path: &Path) -> Result<Region, Errors> {
    let text = read_text(path)?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    parse(&text, path, folder)
}

fn read_text(path: &Path) -> Result<String, Errors> {
    let refuse = |found: String| {
        let mut errors = Errors::new(path);
        errors.add(&Place::root(), Problem::found(found));
        errors
    };
    let bytes = std::fs::read(path).map_err(|error| refuse(format!("cannot be read: {error}")))?;
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        refuse(format!("not UTF-8, from line {line} on"))
    })
}

/// Reads and checks a file beside a plugin, which stands alone. Its author may be a stranger: a pipe or a
/// device would hold whoever reads it.
fn load_beside<R: Value, T>(path: &Path, check: impl FnOnce(&R, &mut Errors) -> Option<T>) -> Result<T, Errors> {
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        let mut errors = Errors::new(path);
        errors.add(&Place::root(), Problem::found("no file, but a folder, a pipe or a device".to_owned()));
        return Err(errors);
    }
    let text = read_text(path)?;
    let mut errors = Errors::new(path);
    let meant = match Node::parse(&text) {
        Ok(tree) => R::read(&tree, &mut errors).and_then(|raw| check(&raw, &mut errors)),
        Err((place, problem)) => {
            errors.add(&place, problem);
            None
        }
    };
    errors.sort();
    match meant {
        Some(meant) if errors.is_empty() => Ok(meant),
        _ => Err(errors),
    }
}

/// Checks a text. `file_name` is for the errors, `base_dir` is what relative paths are relative to;
/// it becomes absolute where the process runs now.
pub fn parse(text: &str, file_name: &Path, base_dir: &Path) -> Result<Region, Errors> {
    let mut errors = Errors::new(file_name);
    let region = match Node::parse(text) {
        Ok(tree) => File::read(&tree, &mut errors).and_then(|file| check::file(&file, base_dir, &mut errors)),
        Err((place, problem)) => {
            errors.add(&place, problem);
            None
        }
    };
    errors.sort();
    match region {
        Some(region) if errors.is_empty() => Ok(region),
        _ => Err(errors),
    }
}

/// The JSON Schema (2020-12) of a region file, with every key's description and default.
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(File);
    schema.insert("title".to_owned(), "Forebay region file".into());
    schema.into()
}
