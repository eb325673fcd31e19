//! Decisions on disk, as lines of JSON, before anything is done about them.
//!
//! Append-only. A file that is full is renamed, in one step, and the oldest is removed: a crash at
//! any point leaves files that are read as they were. On start the tail is read, of as many files
//! as it takes: what was decided lately, and how many origins each pool had. A last line that is
//! torn (the machine went down in it) is passed over.

pub mod files;

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use config::region::Journal as Config;

use jiff::Timestamp;
use scaler::budget::Month;
use scaler::decide::OperatorHold;
use scaler::{Decision, OriginView, stamp};
use serde::{Deserialize, Serialize};

use crate::lease::Right;

/// How much of the end of the files is read on start.
const TAIL_BYTES: u64 = 4 << 20;
/// Decisions that `/v1/decisions` can answer.
const KEPT: usize = 1000;
/// A decision that says nothing new is written so often.
const QUIET: Duration = Duration::from_secs(60);
/// A count older than this says nothing about what is needed now.
const ADOPTABLE: Duration = Duration::from_secs(3600);

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Record {
    Decision {
        region: String,
        /// `leader`: it is acted on; `lapsed`: the same, without a lease; `standby`: it was decided in shadow, beside
        /// the one that acts.
        #[serde(default = "leader")]
        role: String,
        /// Of the lease, in whose name it is acted on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<u64>,
        decision: Box<Decision>,
        /// What ran when it was made.
        origins: Vec<OriginView>,
    },
    /// The pool's origins were stopped because the aggregator was told to end them.
    Released {
        region: String,
        pool: String,
        #[serde(with = "scaler::stamp")]
        at: Timestamp,
    },
}

fn leader() -> String {
    Right::Sole.role().to_string()
}

pub struct Journal {
    region: String,
    config: Option<Config>,
    file: Option<File>,
    recent: VecDeque<Decision>,
    /// By pool: the last record, for what is news.
    last: BTreeMap<String, Decision>,
    /// By pool: an operator's hold, as the last record of an earlier run has it.
    held: BTreeMap<String, OperatorHold>,
    /// By pool: what its month has cost, and until when. An end of all origins does not undo it.
    spent: BTreeMap<String, (Timestamp, Month)>,
    /// In whose name decisions are written.
    right: Right,
    /// The highest token in the file; 0 if it has none.
    token: u64,
}

impl Journal {
    /// Reads the tail. A file that cannot be read or opened is told now, and again at each write.
    pub fn open(region: &str, config: Option<&Config>) -> Journal {
        let mut journal = Journal {
            region: region.to_string(),
            config: config.cloned(),
            file: None,
            recent: VecDeque::new(),
            last: BTreeMap::new(),
            held: BTreeMap::new(),
            spent: BTreeMap::new(),
            right: Right::Sole,
            token: 0,
        };
        if let Some(Config { path, .. }) = config {
            match tail(path) {
                Ok(records) => records.into_iter().for_each(|record| journal.remember(record)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::error!(path = %path.display(), %error, "the journal cannot be read"),
            }
        }
        journal
    }

    fn remember(&mut self, record: Record) {
        match record {
            Record::Decision { decision, role, token, .. } => {
                self.token = self.token.max(token.unwrap_or_default());
                // Also of a standby: it was told to this aggregator, whoever acts.
                match &decision.operator {
                    Some(hold) => self.held.insert(decision.pool.clone(), hold.clone()),
                    None => self.held.remove(&decision.pool),
                };
                if role != Right::Shadow.role() {
                    self.keep(*decision);
                }
            }
            Record::Released { pool, at, .. } => {
                self.last.remove(&pool);
                if let Some((until, month)) = self.spent.get_mut(&pool) {
                    // Until then they ran, and nobody after it.
                    let hours = stamp::age(at, *until).as_secs_f64() / 3600.0;
                    month.spent_hours += f64::from(month.running) * hours;
                    (*until, month.running) = (at, 0);
                }
            }
        }
    }

    fn keep(&mut self, decision: Decision) {
        if let Some(month) = decision.budget.as_ref().and_then(|budget| budget.month.clone()) {
            self.spent.insert(decision.pool.clone(), (decision.at, month));
        }
        self.last.insert(decision.pool.clone(), decision.clone());
        self.recent.push_back(decision);
        if self.recent.len() > KEPT {
            self.recent.pop_front();
        }
    }

    /// The highest token that an earlier run acted with; 0 if there was none.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// From now on it is written in another name: all is news.
    pub fn sign(&mut self, right: Right) {
        self.right = right;
        self.last.clear();
    }

    /// The counts that an earlier run left, by pool.
    pub fn counts(&self, now: Timestamp) -> Vec<(String, u32)> {
        let young = self.last.values().filter(|decision| stamp::age(now, decision.at) <= ADOPTABLE);
        young.map(|decision| (decision.pool.clone(), decision.to)).collect()
    }

    /// The holds of operators that an earlier run left, by pool, where they last by that clock.
    pub fn held(&self, clock: Timestamp) -> Vec<(String, OperatorHold)> {
        let lasts = |hold: &OperatorHold| hold.until.is_none_or(|until| clock < until);
        let held = self.held.iter().filter(|(_, hold)| lasts(hold));
        held.map(|(pool, hold)| (pool.clone(), hold.clone())).collect()
    }

    /// What an earlier run had counted in a month, by pool, and until when.
    pub fn spent(&self) -> Vec<(String, Timestamp, Month)> {
        self.spent.iter().map(|(pool, (at, month))| (pool.clone(), *at, month.clone())).collect()
    }

    /// Writes a decision down if it is news. An error means that it must not be acted on.
    pub fn write(&mut self, decision: &Decision, origins: &[OriginView]) -> io::Result<bool> {
        let news = self.last.get(&decision.pool).is_none_or(|last| {
            decision.differs(last) || decision.at < last.at || stamp::age(decision.at, last.at) >= QUIET
        });
        if !news {
            return Ok(false);
        }
        self.append(&Record::Decision {
            region: self.region.clone(),
            role: self.right.role().to_string(),
            token: self.right.token(),
            decision: Box::new(decision.clone()),
            origins: origins.to_vec(),
        })?;
        self.keep(decision.clone());
        Ok(true)
    }

    /// Writes down that a pool's origins are being stopped, so that their count is not adopted.
    pub fn released(&mut self, pool: &str, at: Timestamp) -> io::Result<()> {
        self.append(&Record::Released { region: self.region.clone(), pool: pool.to_string(), at })?;
        self.last.remove(pool);
        Ok(())
    }

    fn append(&mut self, record: &Record) -> io::Result<()> {
        let Some(config) = &self.config else { return Ok(()) };
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        let mut file = match self.file.take() {
            Some(file) if is_at(&file, &config.path) => file,
            _ => open(&config.path)?,
        };
        let bytes = file.metadata()?.len();
        if bytes > 0 && bytes + line.len() as u64 > config.file_bytes {
            rotate(config)?;
            file = open(&config.path)?;
        }
        // One write: a crash tears at most this line. Synced: what is acted on is on disk.
        file.write_all(&line).and_then(|()| file.sync_data())?;
        // After an error part of a line may be there: opening again ends it.
        self.file = Some(file);
        Ok(())
    }

    /// The latest, oldest first.
    pub fn recent(&self, pool: Option<&str>, limit: usize) -> Vec<&Decision> {
        let of_pool = self.recent.iter().rev().filter(|decision| pool.is_none_or(|pool| decision.pool == pool));
        let mut found: Vec<_> = of_pool.take(limit).collect();
        found.reverse();
        found
    }

    pub fn config(&self) -> Option<&Config> {
        self.config.as_ref()
    }

    pub fn path(&self) -> Option<&Path> {
        self.config.as_ref().map(|config| config.path.as_path())
    }
}

/// Whether that path is still this file: another process, or a person, may have moved it.
fn is_at(file: &File, path: &Path) -> bool {
    let id = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(there)) => id(open) == id(there),
        _ => false,
    }
}

/// Gives the full file its number, and removes those that are too many.
fn rotate(config: &Config) -> io::Result<()> {
    let mut full = files::full(&config.path)?;
    let next = full.last().map_or(1, |(number, _)| number + 1);
    let aside = files::numbered(&config.path, next);
    std::fs::rename(&config.path, &aside)?;
    sync_folder(&config.path)?;
    full.push((next, aside));
    let most = config.files.saturating_sub(1) as usize;
    for (_, old) in &full[..full.len().saturating_sub(most)] {
        // One more than there should be is no reason to stop acting.
        if let Err(error) = std::fs::remove_file(old) {
            tracing::warn!(path = %old.display(), %error, "an old journal cannot be removed");
        }
    }
    Ok(())
}

/// A name that a crash must not undo.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// For appending after a whole line.
fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    if file.metadata()?.len() == 0 {
        sync_folder(path)?;
    } else {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

fn tail(path: &Path) -> io::Result<Vec<Record>> {
    let (mut records, mut unread, mut bytes) = (Vec::new(), 0, 0);
    files::visit(
        path,
        |_| false,
        |line| {
            bytes += line.len() as u64 + 1;
            if bytes > TAIL_BYTES {
                return ControlFlow::Break(());
            }
            match serde_json::from_slice(line) {
                Ok(record) => records.push(record),
                Err(_) => unread += 1,
            }
            ControlFlow::Continue(())
        },
    )?;
    // A crash may have torn one.
    if unread > 0 {
        tracing::warn!(path = %path.display(), unread, "lines of the journal were passed over");
    }
    records.reverse();
    Ok(records)
}
