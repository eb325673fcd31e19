//! Notices that the region file or a plugin's file has changed.
//!
//! Folders are watched and not files: editors and deployments put a new file in the old one's
//! place, and a watch on the old one would then see nothing more. In Kubernetes the folder's
//! `..data` link is what changes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use config::{PluginCode, Region};
use notify::event::{EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// One save makes several events; the reload waits until they are over.
const SETTLE: Duration = Duration::from_millis(200);

pub struct Watch {
    watcher: RecommendedWatcher,
    events: mpsc::UnboundedReceiver<PathBuf>,
    file: PathBuf,
    files: BTreeSet<PathBuf>,
    folders: BTreeSet<PathBuf>,
    /// Folders of Lua plugins, whose modules may stand anywhere below.
    lua: BTreeSet<PathBuf>,
}

impl Watch {
    pub fn new(file: &Path, region: &Region) -> anyhow::Result<Watch> {
        let file = std::path::absolute(file).with_context(|| file.display().to_string())?;
        let (send, events) = mpsc::unbounded_channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            let changed = match event.kind {
                EventKind::Create(_) | EventKind::Remove(_) => true,
                EventKind::Modify(kind) => !matches!(kind, ModifyKind::Metadata(_)),
                _ => false,
            };
            if changed {
                event.paths.into_iter().for_each(|path| drop(send.send(path)));
            }
        })?;
        let (files, folders, lua) = Default::default();
        let mut watch = Watch { watcher, events, file, files, folders, lua };
        watch.follow(region);
        Ok(watch)
    }

    /// Watches what this region is made of. What was watched before stays so: a plugin that a
    /// mistaken edit took out is then still noticed when it comes back.
    pub fn follow(&mut self, region: &Region) {
        let code = region.plugins.values().map(|plugin| match &plugin.code {
            PluginCode::Lua(path) | PluginCode::Wasm(path) => path.clone(),
        });
        for path in code.chain([self.file.clone()]) {
            let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
            let whole = path.file_name().is_some_and(|name| name == "main.lua");
            if whole {
                self.lua.insert(folder.clone());
            }
            if !self.folders.contains(&folder) {
                let depth = if whole { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
                match self.watcher.watch(&folder, depth) {
                    Ok(()) => drop(self.folders.insert(folder)),
                    Err(error) => tracing::warn!("changes in {} will not be noticed: {error}", folder.display()),
                }
            }
            self.files.insert(path);
        }
    }

    /// Waits for a change that matters, and until it has settled; says which file it was.
    pub async fn changed(&mut self) -> String {
        loop {
            let Some(path) = self.events.recv().await else { std::future::pending().await };
            if !self.matters(&path) {
                continue;
            }
            let mut settled = Instant::now() + SETTLE;
            while let Ok(Some(more)) = tokio::time::timeout_at(settled.into(), self.events.recv()).await {
                if self.matters(&more) {
                    settled = Instant::now() + SETTLE;
                }
            }
            return format!("{} changed", path.display());
        }
    }

    fn matters(&self, path: &Path) -> bool {
        let module = || {
            path.extension().is_some_and(|extension| extension == "lua")
                && self.lua.iter().any(|folder| path.starts_with(folder))
        };
        path.file_name().is_some_and(|name| name == "..data") || self.files.contains(path) || module()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const REGION: &str = "aggregator: { address: 127.0.0.1:0 }\n";

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let folder = std::env::temp_dir().join(format!("forebay-watch-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Folder(folder)
        }

        fn file(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    /// What `change` is noticed as, within a time that is long enough to fail.
    fn noticed(folder: &Folder, change: impl FnOnce(&Path)) -> Option<String> {
        noticed_in(folder, REGION, change)
    }

    fn noticed_in(folder: &Folder, region: &str, change: impl FnOnce(&Path)) -> Option<String> {
        let file = folder.file("region.yaml");
        fs::write(&file, region).unwrap();
        let region = config::parse(region, &file, &folder.0).unwrap();
        let mut watch = Watch::new(&file, &region).unwrap();
        change(&file);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(SETTLE * 4, watch.changed()).await.ok() })
    }

    #[test]
    fn a_module_below_the_folder_of_a_lua_plugin_is_noticed() {
        let folder = Folder::new("module");
        fs::create_dir_all(folder.file("greet/words")).unwrap();
        fs::write(folder.file("greet/main.lua"), "return {}").unwrap();
        let region = format!("{REGION}plugins: [{{ name: greet, lua: greet }}]\n");
        let module = folder.file("greet/words/hello.lua");
        let what = noticed_in(&folder, &region, |_| fs::write(&module, "return {}").unwrap());
        assert!(what.unwrap().ends_with("hello.lua changed"));
    }

    #[test]
    fn a_file_that_is_written_in_place_is_noticed_by_its_name() {
        let what = noticed(&Folder::new("written"), |file| fs::write(file, "log: {}\n").unwrap());
        assert!(what.unwrap().ends_with("region.yaml changed"));
    }

    #[test]
    fn a_file_put_in_the_old_ones_place_is_noticed() {
        let folder = Folder::new("renamed");
        let new = folder.file("new");
        let what = noticed(&folder, |file| {
            fs::write(&new, REGION).unwrap();
            fs::rename(&new, file).unwrap();
        });
        assert!(what.is_some());
    }

    #[test]
    fn a_link_that_is_swapped_beside_the_file_is_noticed() {
        let folder = Folder::new("linked");
        let link = folder.file("..data");
        assert!(noticed(&folder, |_| std::os::unix::fs::symlink("elsewhere", &link).unwrap()).is_some());
    }

    #[test]
    fn other_files_of_the_folder_and_reading_the_file_are_no_change() {
        let folder = Folder::new("other");
        let other = folder.file("notes.txt");
        let what = noticed(&folder, |file| {
            fs::read(file).unwrap();
            fs::write(&other, "x").unwrap();
        });
        assert_eq!(what, None);
    }
}
