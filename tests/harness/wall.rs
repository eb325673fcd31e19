//! A wall clock that a test sets under the processes that it started, by Debian's `faketime`. Their monotonic
//! clock is the machine's own: it goes on, as it does on a machine whose clock is set.

use std::path::{Path, PathBuf};

use crate::folder::Folder;

pub struct WallClock {
    folder: Folder,
    library: PathBuf,
}

impl WallClock {
    /// The machine's, until it is set.
    #[track_caller]
    pub fn start() -> WallClock {
        let clock = WallClock { folder: Folder::new(), library: library() };
        clock.set(0);
        clock
    }

    /// For [`crate::Process::start_with`]; processes that those start have the same clock.
    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        vec![
            ("LD_PRELOAD", self.library.clone()),
            ("FAKETIME_TIMESTAMP_FILE", self.file()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ]
    }

    /// From now on it is so many seconds ahead of the machine's; behind, if negative.
    #[track_caller]
    pub fn set(&self, seconds: i64) {
        // Moved over: whoever reads it meanwhile reads all of one.
        let beside = self.folder.path().join("new");
        std::fs::write(&beside, format!("{seconds:+}\n")).expect("a temporary folder can be written to");
        std::fs::rename(&beside, self.file()).expect("and a file in it moved");
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("wall")
    }
}

#[track_caller]
fn library() -> PathBuf {
    let name = Path::new("faketime/libfaketimeMT.so.1");
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    folders
        .map(|folder| folder.join(name))
        .find(|path| path.exists())
        .expect("no /usr/lib/*/faketime/libfaketimeMT.so.1: apt-get install faketime, as tests/run does")
}
