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

/// Files that are kept, and bytes of all of them; beyond either those go that were used longest ago, by
/// this process or another, but never what was just fetched. Used is: fetched, or read by a start or a reload.
const MAX_FILES: usize = 128;
const MAX_BYTES: u64 = 1 << 30;

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
        let fresh: Vec<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
        prune(folder, &fresh, MAX_FILES, MAX_BYTES);
        Ok(())
    }
}

fn signature_name(remote: &Remote) -> Option<String> {
    let key = remote.public_key.as_ref()?;
    Some(format!("{}-{}.sig", remote.sha256(), &parts::sha256(&key.pem)[..16]))
}

/// A file that may be what was put there; it counts as used now. A pipe or a device in its place is not read.
fn bounded(path: &Path) -> Option<Bytes> {
    use std::io::Read;
    let is = std::fs::metadata(path).ok()?;
    if !is.is_file() || is.len() > wasm::MAX_MODULE {
        return None;
    }
    let file = std::fs::File::open(path).ok()?;
    // A folder that can only be read serves as well.
    let _ = file.set_modified(SystemTime::now());
    let mut bytes = Vec::with_capacity(is.len() as usize);
    file.take(wasm::MAX_MODULE + 1).read_to_end(&mut bytes).ok()?;
    Some(bytes.into())
}

/// Written beside and renamed: another process sees all of it or nothing.
fn put(folder: &Path, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let own = format!("new-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let fresh = folder.join(own);
    std::fs::write(&fresh, bytes)?;
    std::fs::rename(&fresh, folder.join(name))
}

fn prune(folder: &Path, fresh: &[&str], most: usize, most_bytes: u64) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let known = entries.flatten().filter_map(|entry| {
        let is = entry.metadata().ok()?;
        let fresh = fresh.iter().any(|name| entry.file_name() == *name);
        Some((fresh, is.modified().ok()?, is.len(), entry.path()))
    });
    let mut files: Vec<_> = known.collect();
    // What was just fetched is last of all: another process may touch the others meanwhile.
    files.sort();
    let (mut left, mut bytes) = (files.len(), files.iter().map(|(_, _, len, _)| len).sum::<u64>());
    for (fresh, _, len, path) in files {
        if fresh || (left <= most && bytes <= most_bytes) {
            break;
        }
        let _ = std::fs::remove_file(path);
        left -= 1;
        bytes -= len;
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
        prune(&folder, &[], 1, 100);
        assert!(store.read(&one).is_some() && store.read(&two).is_none());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn bytes_are_bounded_too_and_what_was_just_fetched_stays() {
        let (store, folder) = store("bytes");
        let old = https(b"five5");
        store.write(&old, &parts(b"five5")).unwrap();
        let new = https(b"six six");
        store.write(&new, &parts(b"six six")).unwrap();
        let hours = |remote: &Remote, hours: u64| {
            let file = std::fs::File::options().write(true).open(folder.join(remote.sha256())).unwrap();
            file.set_modified(SystemTime::now() - std::time::Duration::from_secs(3600 * hours)).unwrap();
        };
        prune(&folder, &[], 2, 12);
        assert!(store.read(&old).is_some() && store.read(&new).is_some(), "it fits");
        hours(&old, 1);
        hours(&new, 2);
        prune(&folder, &[new.sha256()], 2, 11);
        assert!(store.read(&old).is_none() && store.read(&new).is_some(), "by its time it would have gone");
        prune(&folder, &[new.sha256()], 0, 0);
        assert!(store.read(&new).is_some());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        let (store, folder) = store("strange");
        let remote = https(b"module");
        store.write(&remote, &parts(b"module")).unwrap();
        let path = folder.join(remote.sha256());
        std::fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(store.read(&remote).is_none());
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert!(store.read(&remote).is_none());
        store.write(&remote, &parts(b"module")).unwrap();
        assert!(store.read(&remote).is_some(), "it is put right");
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
