//! Notices that the region file, a calendar's or a plugin's file has changed, by looking at them twice a second.
//!
//! By looking, and not by inotify: a watch is on a folder, and the library's tells of every file
//! that is opened in it. Where origins or other servers read files of the same folder, that cost
//! a tenth of the edge's CPU. Looking follows links too, so a swapped `..data` of Kubernetes and
//! a file put in the old one's place need no case of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use config::{PluginCode, Region, manifest, spec};

/// How often the files are looked at; a change must have stood this long before it counts, since
/// one save may write more than once.
const LOOK: Duration = Duration::from_millis(300);

/// The bounds that the Lua engine sets to the modules beside a plugin.
const MODULES: usize = 256;
const DEPTH: usize = 4;

pub struct Watch {
    files: BTreeSet<PathBuf>,
    /// Folders of Lua plugins, whose modules may stand anywhere below.
    lua: BTreeSet<PathBuf>,
    seen: Sight,
}

/// What the files look like; one that is not there is missing here.
type Sight = BTreeMap<PathBuf, Stamp>;

#[derive(Clone, PartialEq)]
struct Stamp {
    written: Option<SystemTime>,
    size: u64,
    inode: u64,
}

impl Watch {
    pub fn new(file: &Path, region: &Region) -> anyhow::Result<Watch> {
        let files = BTreeSet::from([std::path::absolute(file)?]);
        let mut watch = Watch { files, lua: BTreeSet::new(), seen: Sight::new() };
        watch.follow(region);
        Ok(watch)
    }

    /// Watches what this region is made of. What was watched before stays so: a plugin that a
    /// mistaken edit took out is then still noticed when it comes back.
    pub fn follow(&mut self, region: &Region) {
        for plugin in region.plugins.values() {
            let (PluginCode::Lua(path) | PluginCode::Wasm(path)) = &plugin.code else { continue };
            self.lua.extend(plugin.lua_path.iter().cloned());
            self.files.insert(path.clone());
            // A plugin that its self-test refused may be mended there.
            let beside = plugin.code.folder().map(|folder| [manifest::FILE, spec::FILE].map(|name| folder.join(name)));
            self.files.extend(beside.into_iter().flatten());
            if path.file_name().is_some_and(|name| name == "main.lua") {
                self.lua.extend(path.parent().map(Path::to_owned));
            }
        }
        self.files.extend(region.calendars.iter().filter_map(|calendar| calendar.file.clone()));
        let now = self.look();
        // What is watched already keeps its sight: a change that came during the reload counts.
        let fresh = now.into_iter().filter(|(path, _)| !self.seen.contains_key(path));
        let fresh: Vec<_> = fresh.collect();
        self.seen.extend(fresh);
    }

    /// Waits for a change that matters, and until it has settled; says which file it was.
    pub async fn changed(&mut self) -> String {
        let mut before = self.look();
        loop {
            tokio::time::sleep(LOOK).await;
            let now = self.look();
            let settled = now == before;
            before = now;
            if settled && let Some(path) = self.difference(&before) {
                self.seen = before;
                return format!("{} changed", path.display());
            }
        }
    }

    fn difference(&self, now: &Sight) -> Option<PathBuf> {
        let mut all = self.seen.keys().chain(now.keys());
        all.find(|path| self.seen.get(*path) != now.get(*path)).cloned()
    }

    fn look(&self) -> Sight {
        let mut modules = Vec::new();
        for folder in &self.lua {
            find_modules(folder, DEPTH, &mut modules);
        }
        let stamp = |path: &PathBuf| Some((path.clone(), Stamp::of(path)?));
        self.files.iter().chain(&modules).filter_map(stamp).collect()
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        use std::os::unix::fs::MetadataExt;
        let meta = fs::metadata(path).ok()?;
        Some(Stamp { written: meta.modified().ok(), size: meta.len(), inode: meta.ino() })
    }
}

fn find_modules(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        let path = entry.path();
        if kind.is_dir() && depth > 0 {
            find_modules(&path, depth - 1, found);
        } else if path.extension().is_some_and(|extension| extension == "lua") && found.len() < MODULES {
            found.push(path);
        }
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
        runtime.block_on(async { tokio::time::timeout(LOOK * 5, watch.changed()).await.ok() })
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
    fn a_link_that_is_swapped_on_the_way_to_the_file_is_noticed() {
        let folder = Folder::new("linked");
        for (name, text) in [("one", REGION), ("two", "log: {}\n")] {
            fs::create_dir(folder.file(name)).unwrap();
            fs::write(folder.file(name).join("region.yaml"), text).unwrap();
        }
        let (data, new) = (folder.file("..data"), folder.file("new"));
        std::os::unix::fs::symlink("one", &data).unwrap();
        std::os::unix::fs::symlink("..data/region.yaml", folder.file("region.yaml")).unwrap();
        let what = noticed(&folder, |_| {
            std::os::unix::fs::symlink("two", &new).unwrap();
            fs::rename(&new, &data).unwrap();
        });
        assert!(what.unwrap().ends_with("region.yaml changed"));
    }

    #[test]
    fn a_file_that_goes_and_comes_back_is_noticed() {
        let what = noticed(&Folder::new("gone"), |file| fs::remove_file(file).unwrap());
        assert!(what.unwrap().ends_with("region.yaml changed"));
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
