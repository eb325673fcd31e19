//! A folder of our own beside nothing, in which a plugin's Lua files stand again together with one
//! of ours: so that ours can require them, in the sandbox that they run in.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context;
use config::PluginCode;
use edge::stage::Role;

/// As the engine reads modules: no deeper, and no more.
const DEPTH: usize = 4;
const FILES: usize = 256;

/// Removed when dropped.
pub struct Scratch {
    path: PathBuf,
    main: PathBuf,
}

impl Scratch {
    /// `main` runs as the plugin `role`; the Lua files below `from` can be required by it.
    pub fn new(main: &str, from: Option<&Path>) -> anyhow::Result<Scratch> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("forebay-plugin-{}-{number}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("{}: cannot be made", path.display()))?;
        // A name that cannot be required, and that no plugin's file has.
        let scratch = Scratch { main: path.join("[forebay].lua"), path };
        fs::write(&scratch.main, main)?;
        for (name, file) in from.map(lua_files).unwrap_or_default() {
            let copy = scratch.path.join(name);
            if let Some(folder) = copy.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::copy(&file, &copy).with_context(|| format!("{}: cannot be read", file.display()))?;
        }
        Ok(scratch)
    }

    pub fn role(&self, name: &str, capabilities: Vec<String>, limits: Option<String>) -> Role {
        Role { name: name.to_owned(), code: PluginCode::Lua(self.main.clone()), capabilities, limits }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The Lua files of a folder that can be required, by their path in it, in its order.
pub fn lua_files(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut files = Vec::new();
    collect(folder, "", 0, &mut files);
    files.sort();
    files.truncate(FILES);
    files
}

fn collect(folder: &Path, prefix: &str, depth: usize, files: &mut Vec<(String, PathBuf)>) {
    let segment = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string()) else { continue };
        if kind.is_dir() && depth < DEPTH && segment(&name) {
            collect(&entry.path(), &format!("{prefix}{name}/"), depth + 1, files);
        } else if kind.is_file() && name.strip_suffix(".lua").is_some_and(segment) {
            files.push((format!("{prefix}{name}"), entry.path()));
        }
    }
}
