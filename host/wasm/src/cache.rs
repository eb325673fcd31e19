//! Compiled code on disk, so that a module is compiled once on a machine (0.4 s for a small
//! one, 7 s for a large one) and then only mapped.
//!
//! A file is named by the SHA-256 of the module, of the engine's version and settings and of the version
//! of [`crate::bulk`], which rewrites it first, and begins with the SHA-256 of what follows: compiled code
//! is run as it is, so a file that was cut short or damaged must never be taken. (wasmtime's own cache does
//! not check that.) What follows is what the rewriting has moved, and the code.
//!
//! What was checked is copied (`deserialize`), not mapped (`deserialize_file`): a mapping would save 0.7 of
//! the 3.6 ms that a module of 1.3 MB takes, and the digests stay; but who changes or cuts a mapped file
//! later changes what runs, or ends the process with SIGBUS.

use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use sha2::{Digest, Sha256};
use wasmtime::{Engine, Module};

use crate::bounds::{self, Way};
use crate::bulk::{self, Rewritten};

const DIGEST: usize = 32;
/// Files that are kept. An edge has a handful of modules and their last versions; beyond that
/// the oldest go, or a machine on which plugins are built would fill up.
const MAX_FILES: usize = 256;
/// The largest file that is taken for compiled code: some twenty times the largest module.
const MAX_BYTES: u64 = 1 << 30;

/// `forebay` in the user's cache folder, if the user has one.
pub fn home() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(cache.join("forebay"))
}

/// Where compiled code is kept.
pub fn folder() -> Option<PathBuf> {
    Some(home()?.join("compiled"))
}

/// Compiles `bytes`, or takes what an earlier run compiled. Errors are the compiler's; a folder
/// that cannot be read or written only costs time.
pub fn compile(engine: &Engine, bytes: &[u8], folder: Option<&Path>) -> wasmtime::Result<(Module, Rewritten)> {
    let Some(folder) = folder.filter(|folder| ours(folder)) else { return make(engine, bytes) };
    let path = folder.join(key(engine, bytes));
    if let Some(known) = read(engine, &path) {
        return Ok(known);
    }
    let (module, rewritten) = make(engine, bytes)?;
    if let Err(error) = write(&module, rewritten, folder, &path) {
        tracing::debug!(%error, path = %path.display(), "compiled Wasm code is not kept");
    }
    Ok((module, rewritten))
}

/// The module is checked as it was given: errors have its offsets, and what it names and has not got is
/// not what was added.
fn make(engine: &Engine, bytes: &[u8]) -> wasmtime::Result<(Module, Rewritten)> {
    Module::validate(engine, bytes)?;
    let way = bounds::check(bytes)?;
    let (code, rewritten) = bulk::rewrite(bytes).map_err(wasmtime::Error::new)?;
    let _turn = bounds::turn();
    if way == Way::AtOnce {
        return Ok((Module::new(engine, &code)?, rewritten));
    }
    let compiled = crate::engine::one_by_one()?.precompile_module(&code)?;
    // SAFETY: it was compiled just now, by this process; wasmtime checks that the settings are this engine's.
    #[allow(unsafe_code)]
    let module = unsafe { Module::deserialize(engine, &compiled) }?;
    Ok((module, rewritten))
}

/// Whether only this user (and root) can write to `folder` and put another in its place. Compiled
/// code is run as it is: in a folder that anybody can write to (a cache under `/tmp`), anybody
/// could give us theirs.
fn ours(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    const OTHERS_WRITE: u32 = 0o002;
    const GROUP_WRITE: u32 = 0o020;
    const STICKY: u32 = 0o1000;
    // SAFETY: it only answers, and cannot fail.
    #[allow(unsafe_code)]
    let user = unsafe { libc::geteuid() };
    // Where it really is, if it is there already.
    let folder = &folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let known = folder.ancestors().filter_map(|path| Some((path, std::fs::metadata(path).ok()?)));
    for (path, is) in known {
        let open = is.mode() & (OTHERS_WRITE | GROUP_WRITE);
        // In a sticky folder nobody moves what is not theirs; but they can be there first, which
        // the owner of the folder below it tells.
        let safe = open == 0 || (path != folder && is.mode() & STICKY != 0);
        // A group of one's own is common in home folders.
        let safe = safe || (path != folder && open == GROUP_WRITE && is.uid() == user);
        if !safe || (is.uid() != user && is.uid() != 0) {
            tracing::warn!(path = %path.display(), "others can write here: compiled Wasm code is not kept");
            return false;
        }
    }
    true
}

fn key(engine: &Engine, bytes: &[u8]) -> String {
    let mut digest = Digester(Sha256::new_with_prefix(bytes));
    engine.precompile_compatibility_hash().hash(&mut digest);
    bulk::VERSION.hash(&mut digest);
    digest.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(engine: &Engine, path: &Path) -> Option<(Module, Rewritten)> {
    let file = open(path)?;
    let (digest, kept) = file.split_at_checked(DIGEST)?;
    if Sha256::digest(kept).as_slice() != digest {
        tracing::warn!(path = %path.display(), "a damaged file of compiled Wasm code: compiling again");
        return None;
    }
    let (rewritten, code) = kept.split_first_chunk()?;
    // SAFETY: the bytes are those that `write` took from `Module::serialize` (the digest says
    // so), in a folder that only this user can write to: who can forge one can replace this
    // program. wasmtime itself checks that version and settings are those of this engine.
    #[allow(unsafe_code)]
    let module = unsafe { Module::deserialize(engine, code) }.ok()?;
    Some((module, Rewritten::from_bytes(*rewritten)))
}

/// The bytes of a file of ours. Anything else that stands there (a pipe, a device, a file with a hole of
/// gigabytes) would hold the start or fill the memory.
fn open(path: &Path) -> Option<Vec<u8>> {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    let found = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = match found {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "compiled Wasm code cannot be read: compiling again");
            return None;
        }
    };
    let is = file.metadata().ok()?;
    if !is.is_file() || is.len() > MAX_BYTES {
        tracing::warn!(path = %path.display(), bytes = is.len(), "no file of compiled Wasm code: compiling again");
        return None;
    }
    let mut bytes = Vec::with_capacity(is.len() as usize);
    file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Written beside and renamed: another process sees all of it or nothing.
fn write(module: &Module, rewritten: Rewritten, folder: &Path, path: &Path) -> wasmtime::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mut kept = rewritten.to_bytes().to_vec();
    kept.extend_from_slice(&module.serialize()?);
    let mut file = Sha256::digest(&kept).to_vec();
    file.extend_from_slice(&kept);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let own = format!("new-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let fresh = folder.join(own);
    std::fs::write(&fresh, file)?;
    std::fs::rename(&fresh, path)?;
    prune(folder, MAX_FILES);
    Ok(())
}

/// Removes the files that were written first. Another process may do the same meanwhile: what
/// is gone already is no error, and what it still needed it compiles again.
fn prune(folder: &Path, most: usize) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let entries: Vec<_> = entries.flatten().collect();
    if entries.len() <= most {
        return;
    }
    let written = |entry: &std::fs::DirEntry| entry.metadata().and_then(|data| data.modified()).ok();
    let mut files: Vec<_> = entries.iter().map(|entry| (written(entry), entry.path())).collect();
    files.sort();
    for (_, path) in &files[..files.len() - most] {
        let _ = std::fs::remove_file(path);
    }
}

/// Feeds what is hashed to SHA-256.
struct Digester(Sha256);

impl Hasher for Digester {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        u64::from_le_bytes(self.0.clone().finalize()[..8].try_into().expect("a digest has 32 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::engine;

    const MODULE: &str = r#"(module (func (export "one") (result i32) i32.const 1))"#;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("forebay-cache-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        folder
    }

    fn only_file(folder: &Path) -> PathBuf {
        let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }

    #[test]
    fn compiled_code_is_kept_and_taken_again() {
        let folder = folder("kept");
        let bytes = wat::parse_str(MODULE).unwrap();
        compile(engine(), &bytes, Some(&folder)).unwrap();
        let file = only_file(&folder);
        assert!(read(engine(), &file).is_some());
        let before = std::fs::metadata(&file).unwrap().modified().unwrap();
        compile(engine(), &bytes, Some(&folder)).unwrap();
        assert_eq!(std::fs::metadata(only_file(&folder)).unwrap().modified().unwrap(), before);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_the_rewriting_has_moved_is_kept_with_the_code() {
        let folder = folder("rewritten");
        let text = r#"(module (memory 1) (func (param i32) (memory.fill (local.get 0) (local.get 0) (local.get 0))))"#;
        let bytes = wat::parse_str(text).unwrap();
        let made = compile(engine(), &bytes, Some(&folder)).unwrap().1;
        assert_eq!(made.added, 1);
        assert!(made.shift.is_some_and(|shift| shift > 0));
        assert_eq!(read(engine(), &only_file(&folder)).unwrap().1, made);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_module_that_means_a_function_that_it_lacks_is_not_given_one_that_was_added() {
        let text = r#"(module (memory 1) (func (param i32) (memory.fill (local.get 0) (local.get 0) (local.get 0)))
            (func (call 2 (i32.const 0) (i32.const 0) (i32.const 0))))"#;
        let error = compile(engine(), &wat::parse_str(text).unwrap(), None).unwrap_err();
        assert!(error.root_cause().to_string().starts_with("unknown function 2"), "{error:#}");
    }

    #[test]
    fn a_damaged_file_is_compiled_again_and_never_run() {
        let folder = folder("damaged");
        let bytes = wat::parse_str(MODULE).unwrap();
        compile(engine(), &bytes, Some(&folder)).unwrap();
        let file = only_file(&folder);
        let good = std::fs::read(&file).unwrap();
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for bad in [&flipped[..], &good[..good.len() / 2], &good[..10], b""] {
            std::fs::write(&file, bad).unwrap();
            assert!(read(engine(), &file).is_none());
            compile(engine(), &bytes, Some(&folder)).unwrap();
            assert_eq!(std::fs::read(only_file(&folder)).unwrap(), good);
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// A pipe that nobody writes to, a device without end, a hole of gigabytes, a folder, a link to itself.
    #[test]
    fn what_is_no_file_of_ours_does_not_hold_the_start() {
        let folder = folder("strange");
        let bytes = wat::parse_str(MODULE).unwrap();
        compile(engine(), &bytes, Some(&folder)).unwrap();
        let file = only_file(&folder);
        let good = std::fs::read(&file).unwrap();
        let link = |to: &str, at: &Path| std::os::unix::fs::symlink(to, at).unwrap();
        let pipe = |at: &Path| assert!(std::process::Command::new("mkfifo").arg(at).status().unwrap().success());
        let hole = |at: &Path| std::fs::File::create(at).unwrap().set_len(6 << 30).unwrap();
        let strange: [&dyn Fn(&Path); 4] =
            [&pipe, &|at| link("/dev/zero", at), &hole, &|at| link(at.to_str().unwrap(), at)];
        for put in strange {
            std::fs::remove_file(&file).unwrap();
            put(&file);
            assert!(read(engine(), &file).is_none());
            compile(engine(), &bytes, Some(&folder)).unwrap();
            assert_eq!(std::fs::read(only_file(&folder)).unwrap(), good, "it is put right");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let allow = |path: &Path, mode| {
            std::fs::create_dir_all(path).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let bytes = wat::parse_str(MODULE).unwrap();
        let parent = folder("open");
        let inner = parent.join("inner");
        for (outer, own, used) in
            [(0o755, 0o777, 0), (0o755, 0o770, 0), (0o755, 0o1777, 0), (0o777, 0o700, 0), (0o755, 0o700, 1)]
        {
            allow(&parent, outer);
            allow(&inner, own);
            compile(engine(), &bytes, Some(&inner)).unwrap();
            assert_eq!(std::fs::read_dir(&inner).unwrap().count(), used, "{outer:o} {own:o}");
        }
        // By another name it is no better.
        let link = parent.join("link");
        std::os::unix::fs::symlink(&inner, &link).unwrap();
        assert!(ours(&link));
        allow(&inner, 0o777);
        assert!(!ours(&link));
        std::fs::remove_dir_all(parent).unwrap();
    }

    #[test]
    fn the_oldest_files_go_when_there_are_too_many() {
        let folder = folder("pruned");
        std::fs::create_dir_all(&folder).unwrap();
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        for (name, age) in [("b", 3), ("a", 1), ("c", 2), ("d", 0)] {
            let file = std::fs::File::create(folder.join(name)).unwrap();
            file.set_modified(time - std::time::Duration::from_secs(age)).unwrap();
        }
        prune(&folder, 2);
        let mut left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|f| f.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["a", "d"]);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn without_a_folder_to_write_to_a_module_still_compiles() {
        let bytes = wat::parse_str(MODULE).unwrap();
        compile(engine(), &bytes, Some(Path::new("/proc/no/such/folder"))).unwrap();
        compile(engine(), &bytes, None).unwrap();
    }
}
