//! Fetched modules on disk, so that an edge starts without whoever they came from.
//!
//! A file is named by the SHA-256 of what is in it, as in a registry; a signature stands beside, by what
//! it is of and by which key. Nothing here is believed when it is read: [`Parts::module`] holds all of it
//! against the region file again.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use config::{Remote, RemoteAt};

use super::image;
use super::parts::{self, Parts};

/// Files that are kept, of at most [`wasm::MAX_MODULE`] bytes each; beyond that those go that were used
/// longest ago.
const MAX_FILES: usize = 128;

pub struct Store {
    /// `None`: nothing is kept.
    folder: Option<PathBuf>,
}

impl Store {
    /// `forebay/modules` in the user's cache folder, if the user has one.
    pub fn usual() -> Store {
        Store { folder: wasm::cache_home().map(|home| home.join("modules")) }
    }

    /// What is kept of a module, unverified; `None` if anything of it is missing.
    pub fn read(&self, remote: &Remote) -> Option<Parts> {
        let folder = self.folder.as_deref()?;
        let read = |name: &str| bounded(&folder.join(name));
        let pinned = read(remote.sha256())?;
        let (manifest, blob) = match &remote.at {
            RemoteAt::Https { .. } => (None, pinned),
            RemoteAt::Oci { .. } => {
                let layer = image::layer(&pinned).ok()?;
                (Some(pinned), read(&layer.blob.sha256)?)
            }
        };
        let signature = signature_name(remote).and_then(|name| read(&name)).map(|bytes| bytes.to_vec());
        Some(Parts { manifest, blob, signature })
    }

    /// Keeps what has been verified.
    pub fn write(&self, remote: &Remote, parts: &Parts) -> std::io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        let Some(folder) = &self.folder else { return Ok(()) };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let blob = parts::sha256(&parts.blob);
        let mut wanted: Vec<(String, &[u8])> = vec![(blob, &parts.blob)];
        if let Some(manifest) = &parts.manifest {
            wanted.push((remote.sha256().to_owned(), manifest));
        }
        if let (Some(name), Some(signature)) = (signature_name(remote), &parts.signature) {
            wanted.push((name, signature));
        }
        for (name, bytes) in &wanted {
            put(folder, name, bytes)?;
        }
        prune(folder, MAX_FILES);
        Ok(())
    }
}

fn signature_name(remote: &Remote) -> Option<String> {
    let key = remote.public_key.as_ref()?;
    Some(format!("{}-{}.sig", remote.sha256(), &parts::sha256(&key.pem)[..16]))
}

/// A file that may be what was put there; it counts as used now.
fn bounded(path: &Path) -> Option<Bytes> {
    let file = std::fs::File::open(path).ok()?;
    if file.metadata().ok()?.len() > wasm::MAX_MODULE {
        return None;
    }
    // A folder that can only be read serves as well.
    let _ = file.set_modified(SystemTime::now());
    std::fs::read(path).ok().map(Bytes::from)
}

/// Written beside and renamed: another process sees all of it or nothing.
fn put(folder: &Path, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let own = format!("new-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let fresh = folder.join(own);
    std::fs::write(&fresh, bytes)?;
    std::fs::rename(&fresh, folder.join(name))
}

fn prune(folder: &Path, most: usize) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let used = |entry: &std::fs::DirEntry| entry.metadata().and_then(|data| data.modified()).ok();
    let mut files: Vec<_> = entries.flatten().map(|entry| (used(&entry), entry.path())).collect();
    files.sort();
    for (_, path) in &files[..files.len().saturating_sub(most)] {
        let _ = std::fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(name: &str) -> (Store, PathBuf) {
        let folder = std::env::temp_dir().join(format!("forebay-modules-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        (Store { folder: Some(folder.clone()) }, folder)
    }

    fn https(module: &[u8]) -> Remote {
        Remote {
            at: RemoteAt::Https {
                url: "https://a.test/x".to_owned(),
                sha256: parts::sha256(module),
                signature: "https://a.test/x.sig".to_owned(),
            },
            public_key: None,
            ca: None,
            login: None,
            token_host: None,
            timeout: Remote::TIMEOUT,
            wait: Remote::WAIT,
        }
    }

    fn parts(module: &'static [u8]) -> Parts {
        Parts { manifest: None, blob: Bytes::from_static(module), signature: None }
    }

    #[test]
    fn what_was_kept_is_held_against_its_digest_when_it_is_read() {
        let (store, folder) = store("kept");
        let remote = https(b"module");
        assert!(store.read(&remote).is_none());
        store.write(&remote, &parts(b"module")).unwrap();
        assert_eq!(store.read(&remote).unwrap().module(&remote, None).unwrap(), &b"module"[..]);
        for bad in [&b"modulf"[..], b"modul", b""] {
            std::fs::write(folder.join(remote.sha256()), bad).unwrap();
            assert!(store.read(&remote).unwrap().module(&remote, None).is_err());
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let (store, folder) = store("pruned");
        let (one, two) = (https(b"one"), https(b"two"));
        store.write(&one, &parts(b"one")).unwrap();
        store.write(&two, &parts(b"two")).unwrap();
        let file = |remote: &Remote| std::fs::File::options().write(true).open(folder.join(remote.sha256())).unwrap();
        let hour = std::time::Duration::from_secs(3600);
        file(&two).set_modified(SystemTime::now() - hour).unwrap();
        file(&one).set_modified(SystemTime::now() - 2 * hour).unwrap();
        assert!(store.read(&one).is_some(), "used now");
        prune(&folder, 1);
        assert!(store.read(&one).is_some() && store.read(&two).is_none());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn without_a_folder_nothing_is_kept_and_nothing_fails() {
        let remote = https(b"module");
        let none = Store { folder: None };
        none.write(&remote, &parts(b"module")).unwrap();
        assert!(none.read(&remote).is_none());
        let not_ours = Store { folder: Some("/proc/no/such/folder".into()) };
        assert!(not_ours.write(&remote, &parts(b"module")).is_err());
    }
}
