//! The small files by which a restarted aggregator finds the origins that run: one per origin,
//! `POOL-PORT.json`, beside the origin's output in `POOL-PORT.log`.

use std::fs::{self, File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::identity::Identity;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub pool: String,
    pub address: SocketAddr,
    pub identity: Identity,
    #[serde(with = "scaler::stamp")]
    pub launched_at: Timestamp,
    #[serde(with = "scaler::stamp::option")]
    pub ready_at: Option<Timestamp>,
    #[serde(with = "scaler::stamp::option")]
    pub serving_at: Option<Timestamp>,
    /// When it was told to stop.
    #[serde(default, with = "scaler::stamp::option")]
    pub stopping_at: Option<Timestamp>,
}

pub struct Records {
    folder: PathBuf,
    pool: String,
}

impl Records {
    pub fn new(folder: &Path, pool: &str) -> Records {
        Records { folder: folder.to_path_buf(), pool: pool.to_string() }
    }

    /// Those of this pool. A file that cannot be read is told and passed over.
    pub fn read(&self) -> Vec<Record> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        let mut records = Vec::new();
        for path in paths.filter(|path| path.extension().is_some_and(|extension| extension == "json")) {
            let record = fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice::<Record>(&bytes)?));
            match record {
                Ok(record) if record.pool == self.pool => records.push(record),
                Ok(_) => {}
                Err(error) => tracing::warn!(path = %path.display(), %error, "state file passed over"),
            }
        }
        records.sort_by_key(|record| record.launched_at);
        records
    }

    /// Whole or not at all: written beside and moved over.
    pub fn write(&self, record: &Record) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let path = self.path(record.address.port(), "json");
        let beside = self.path(record.address.port(), "new");
        fs::write(&beside, serde_json::to_vec(record)?)?;
        fs::rename(beside, path)
    }

    pub fn remove(&self, record: &Record) {
        let path = self.path(record.address.port(), "json");
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "state file cannot be removed");
        }
    }

    /// Where the origin on this port writes what it has to say.
    pub fn log_path(&self, port: u16) -> io::Result<PathBuf> {
        fs::create_dir_all(&self.folder)?;
        Ok(self.path(port, "log"))
    }

    /// The right to run this pool's origins, for as long as the file is open. `None`: another
    /// aggregator has it.
    pub fn lock(&self) -> io::Result<Option<File>> {
        fs::create_dir_all(&self.folder)?;
        let file = File::create(self.folder.join(format!("{}.lock", self.stem())))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn path(&self, port: u16, kind: &str) -> PathBuf {
        self.folder.join(format!("{}-{port}.{kind}", self.stem()))
    }

    /// The pool's name where a file's name may hold it. The record inside names the pool exactly.
    fn stem(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        self.pool.chars().map(plain).collect()
    }
}
