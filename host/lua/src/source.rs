//! The files of a plugin: its main file, the modules beside it, and those of sdk-lua.
//!
//! All of it is read once, when the plugin is loaded: no worker reads files, and every instance
//! of a version runs the same code.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use abi::LoadError;

/// Bytes of one file (and of the text that `load` takes): compiling cannot be interrupted.
pub const MAX_FILE: usize = 64 << 10;
/// Modules beside a plugin, and folders in each other: a plugin in a crowded folder must not
/// make us read all of it.
const MAX_MODULES: usize = 256;
const MAX_DEPTH: usize = 4;
/// Bytes of a name that is looked for among others, or shown in a message.
const MAX_NAME: usize = 128;

/// Modules that every plugin can require.
const SDK: [(&str, &str); 2] = [
    ("forebay.cookie", include_str!("../../../sdk-lua/forebay/cookie.lua")),
    ("forebay.url", include_str!("../../../sdk-lua/forebay/url.lua")),
];

/// Chunk name and text of a module; the error is for the script.
type Found<'a> = Result<(String, Cow<'a, [u8]>), String>;

#[derive(Default)]
pub struct Source {
    /// The name that messages carry: the file's own, without its folder.
    pub name: String,
    pub main: Vec<u8>,
    modules: BTreeMap<String, Module>,
    /// For a trusted plugin: where else modules are.
    path: Option<Vec<PathBuf>>,
}

struct Module {
    /// Path beside the main file.
    file: String,
    text: Text,
}

enum Text {
    Read(Vec<u8>),
    /// Why not: told to whoever requires it.
    Unread(String),
}

impl Source {
    pub fn read(path: &Path, trusted: Option<&[PathBuf]>) -> Result<Source, LoadError> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let main = read(path).map_err(LoadError::new)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let root = fs::canonicalize(folder).map_err(|error| LoadError::new(error.to_string()))?;
        if trusted.is_none() && path.is_symlink() && !is_inside(&root, path) {
            // Who may put links into the folder could have any file of the machine read.
            let text = format!("is a link to a file outside of {}; allowed: one inside", folder.display());
            return Err(LoadError::new(text));
        }
        let mut modules = BTreeMap::new();
        collect(&root, folder, "", "", 0, &mut modules);
        Ok(Source { name, main, modules, path: trusted.map(<[PathBuf]>::to_vec) })
    }

    #[cfg(test)]
    pub fn of(main: &str) -> Source {
        Source { name: "test.lua".to_owned(), main: main.as_bytes().to_vec(), modules: BTreeMap::new(), path: None }
    }

    /// Whether the operator trusts it with the process.
    pub fn is_trusted(&self) -> bool {
        self.path.is_some()
    }

    /// The chunk name and text of a module; the error is for the script.
    pub fn module(&self, name: &str) -> Found<'_> {
        if let Some((name, text)) = SDK.iter().find(|(known, _)| *known == name) {
            return Ok((format!("[{name}]"), text.as_bytes().into()));
        }
        match self.modules.get(name) {
            Some(Module { file, text: Text::Read(text) }) => Ok((file.clone(), text.into())),
            Some(Module { file, text: Text::Unread(why) }) => Err(format!("module '{name}' ({file}): {why}")),
            None => self.on_path(name).unwrap_or_else(|| Err(self.unknown(name))),
        }
    }

    /// A module of a trusted plugin in one of its folders; `None` if there is none. Read as it is
    /// required, which is at the start: there is no list of what a path holds.
    fn on_path(&self, name: &str) -> Option<Found<'_>> {
        // The length first: a script may ask with megabytes.
        if self.path.is_none() || name.len() > MAX_FILE || !name.split('.').all(is_segment) {
            return None;
        }
        let file = name.replace('.', "/");
        let files = [format!("{file}.lua"), format!("{file}/init.lua")];
        let mut all = self.path.iter().flatten().flat_map(|folder| files.iter().map(|file| folder.join(file)));
        let found = all.find(|file| file.is_file())?;
        let text = fs::read(&found).map_err(|error| format!("module '{name}' ({}): {error}", found.display()));
        Some(text.map(|text| (found.display().to_string(), text.into())))
    }

    fn unknown(&self, name: &str) -> String {
        let sdk = || SDK.iter().map(|(name, _)| *name).chain(crate::kit::MODULES);
        let known = || self.modules.keys().map(String::as_str).chain(sdk());
        let near = nearest(name, known());
        let hint = near.map(|near| format!(" (did you mean '{near}'?)")).unwrap_or_default();
        let known: Vec<_> = known().collect();
        let cut = name.char_indices().nth(MAX_NAME).map_or(name.len(), |(at, _)| at);
        let name = &name[..cut];
        let path: String = self.path.iter().flatten().map(|folder| format!("; not in {}", folder.display())).collect();
        format!("no module '{name}'{hint}; there are: {}{path}", known.join(", "))
    }
}

/// The word that `written` most likely stands for.
pub fn nearest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Comparing takes the square of the length, and nobody writes a name that long.
    if written.len() > MAX_NAME {
        return None;
    }
    let scored = known.map(|word| (strsim::jaro_winkler(written, word), word));
    scored.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, word)| word)
}

/// Reads what is a file: a pipe or a device would hold whoever reads it.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let found = fs::metadata(path).map_err(|e| format!("cannot be read: {e}"))?;
    if !found.is_file() {
        return Err(format!("is {}; a plugin is made of files", if found.is_dir() { "a folder" } else { "no file" }));
    }
    let size = found.len();
    if size > MAX_FILE as u64 {
        return Err(format!("has {size} bytes, a Lua file may have {MAX_FILE}"));
    }
    let text = fs::read(path).map_err(|e| format!("cannot be read: {e}"))?;
    match text[..] {
        [0x1b, ..] => return Err("is compiled Lua; a plugin is source text".to_owned()),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Err("is text in UTF-16; a plugin is text in UTF-8".to_owned()),
        _ => {}
    }
    if text.len() > MAX_FILE {
        return Err(format!("has {} bytes, a Lua file may have {MAX_FILE}", text.len()));
    }
    Ok(text)
}

/// Whether the file that a link leads to lies under `root`, as the files of a mounted volume do (in a
/// Kubernetes volume each is a link into a folder beside it). What a link elsewhere shows is not the plugin's.
pub fn is_inside(root: &Path, link: &Path) -> bool {
    fs::canonicalize(link).is_ok_and(|file| file.starts_with(root) && file.is_file())
}

/// Reads the Lua files under `folder` whose names can be required: a module lies beside its plugin.
fn collect(root: &Path, folder: &Path, module: &str, file: &str, depth: usize, modules: &mut BTreeMap<String, Module>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        if kind.is_dir() && depth < MAX_DEPTH && is_segment(&name) {
            let (module, file) = (format!("{module}{name}."), format!("{file}{name}/"));
            collect(root, &entry.path(), &module, &file, depth + 1, modules);
        }
        let Some(stem) = name.strip_suffix(".lua").filter(|stem| is_segment(stem)) else { continue };
        let is_file = kind.is_file() || kind.is_symlink() && is_inside(root, &entry.path());
        if !is_file || modules.len() >= MAX_MODULES {
            continue;
        }
        let text = read(&entry.path()).map_or_else(Text::Unread, Text::Read);
        modules.insert(format!("{module}{stem}"), Module { file: format!("{file}{name}"), text });
    }
}

fn is_segment(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}
