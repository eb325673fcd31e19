//! A folder of one test's own, removed at its end.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("forebay-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap_or_else(|e| panic!("cannot make {}: {e}", path.display()));
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, replacing what was there at once, as a careful operator does.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let (file, new) = (self.0.join(name), self.0.join(format!(".{name}.new")));
        std::fs::write(&new, text).unwrap_or_else(|e| panic!("cannot write {}: {e}", new.display()));
        std::fs::rename(&new, &file).unwrap_or_else(|e| panic!("cannot write {}: {e}", file.display()));
        file
    }
}

impl Default for Folder {
    fn default() -> Folder {
        Folder::new()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
