//! Whether a file of the plugin has changed: looked at, not watched, as the edge does.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A change must have stood this long: one save may write more than once.
const LOOK: Duration = Duration::from_millis(150);
const DEPTH: usize = 8;
const FILES: usize = 5_000;

pub struct Files {
    dir: PathBuf,
    seen: Sight,
}

/// When each file was written, and its size.
type Sight = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

impl Files {
    pub fn of(dir: &Path) -> Files {
        Files { dir: dir.to_owned(), seen: look(dir) }
    }
}

/// Waits for a change that has settled; gives the file that it is about.
pub async fn changed(files: &RefCell<Files>) -> String {
    let dir = files.borrow().dir.clone();
    let mut before = look(&dir);
    loop {
        tokio::time::sleep(LOOK).await;
        let now = look(&dir);
        let settled = now == before;
        before = now;
        let mut files = files.borrow_mut();
        if !settled || before == files.seen {
            continue;
        }
        let differs = |path: &&PathBuf| before.get(*path) != files.seen.get(*path);
        let changed = before.keys().chain(files.seen.keys()).find(differs).cloned();
        files.seen = before.clone();
        if let Some(path) = changed {
            return path.strip_prefix(&dir).unwrap_or(&path).display().to_string();
        }
    }
}

fn look(dir: &Path) -> Sight {
    let mut sight = Sight::new();
    walk(dir, 0, &mut sight);
    sight
}

/// What a build leaves and what is hidden is no source of the plugin.
fn walk(dir: &Path, depth: usize, sight: &mut Sight) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with('.') || name == "target" || sight.len() > FILES {
            continue;
        }
        let Ok(facts) = fs::metadata(entry.path()) else { continue };
        if facts.is_dir() && depth < DEPTH {
            walk(&entry.path(), depth + 1, sight);
        } else if facts.is_file() && name != "Cargo.lock" {
            sight.insert(entry.path(), (facts.modified().ok(), facts.len()));
        }
    }
}
