//! The aggregator, and what it keeps on disk.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Lease;

#[derive(Clone, Debug)]
pub struct Aggregator {
    pub address: SocketAddr,
    /// Region name, for journals and metrics.
    pub region: String,
    /// `None` keeps decisions in memory only.
    pub journal: Option<Journal>,
    /// `None` keeps what pools saw in memory only.
    pub history: Option<History>,
    /// How often pools are decided.
    pub tick: Duration,
    /// A report older than this counts for nothing; with none younger the pool holds.
    pub stale_after: Duration,
    /// `None`: there is no other aggregator, and this one acts.
    pub lease: Option<Lease>,
}

impl Aggregator {
    pub const REGION: &str = "local";
    pub const TICK: Duration = Duration::from_secs(1);
    pub const STALE_AFTER: Duration = Duration::from_secs(5);
}

/// Append-only files of decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// The one that is written; full ones stand beside it, with a number behind the name.
    pub path: PathBuf,
    pub file_bytes: u64,
    /// The one that is written included; at least 1.
    pub files: u32,
}

impl Journal {
    pub const FILE_BYTES: u64 = 64 << 20;
    pub const FILES: u32 = 8;

    /// With the defaults.
    pub fn at(path: PathBuf) -> Journal {
        Journal { path, file_bytes: Journal::FILE_BYTES, files: Journal::FILES }
    }
}

/// What pools saw, on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    pub path: PathBuf,
    /// How long points of a minute are kept.
    pub keep: Duration,
}

impl History {
    pub const FILE: &str = "history.redb";
    pub const KEEP: Duration = Duration::from_secs(14 * 86_400);

    /// In the folder of the journal, with the defaults.
    pub fn beside(journal: &Path) -> History {
        History { path: journal.with_file_name(History::FILE), keep: History::KEEP }
    }
}
