//! The small files by which a restarted aggregator finds the origins that run: one per origin,
//! `POOL-PORT.json`, beside the origin's output in `POOL-PORT.log`.
//!
//! And the fence: `POOL.lock` is held by who changes anything, `POOL.token` has the highest token of a
//! lease that anything was changed under.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use scaler::Observed;
use serde::{Deserialize, Serialize};

use super::identity::Identity;
use crate::clock::Clock;

/// Logs of origins that are gone.
const KEPT_LOGS: usize = 64;

/// One origin. Its instants are of the clock that nobody sets.
#[derive(Clone, Debug)]
pub struct Record {
    pub pool: String,
    pub address: SocketAddr,
    pub identity: Identity,
    pub launched_at: Timestamp,
    pub ready_at: Option<Timestamp>,
    pub serving_at: Option<Timestamp>,
    /// When it was told to stop.
    pub stopping_at: Option<Timestamp>,
    /// It waits in the warm pool, or boots for it.
    pub parked: bool,
    /// Somebody has said that it is going, and why.
    pub leaving: Option<String>,
}

/// The file's text: what the wall clock showed, for people, and the machine's monotonic clock, by which a later
/// run knows how long ago it was, even if the wall clock was set in between.
#[derive(Serialize, Deserialize)]
struct Written {
    pool: String,
    address: SocketAddr,
    identity: Identity,
    #[serde(with = "scaler::stamp")]
    launched_at: Timestamp,
    #[serde(with = "scaler::stamp::option")]
    ready_at: Option<Timestamp>,
    #[serde(with = "scaler::stamp::option")]
    serving_at: Option<Timestamp>,
    #[serde(default, with = "scaler::stamp::option")]
    stopping_at: Option<Timestamp>,
    /// Absent in files of before.
    #[serde(default)]
    parked: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leaving: Option<String>,
    /// Absent in files of before.
    #[serde(default)]
    monotonic_ms: Monotonic,
}

/// The same instants in milliseconds.
#[derive(Default, Serialize, Deserialize)]
struct Monotonic {
    launched: Option<i64>,
    ready: Option<i64>,
    serving: Option<i64>,
    stopping: Option<i64>,
}

impl Written {
    fn of(record: &Record, clock: &Clock) -> Written {
        let shows = |at: Timestamp| clock.wall().shows(at);
        let monotonic = |at: Option<Timestamp>| at.map(|at| clock.to_monotonic(at));
        let Record { pool, address, identity, launched_at, ready_at, serving_at, stopping_at, parked, leaving } =
            record.clone();
        Written {
            pool,
            address,
            identity,
            launched_at: shows(launched_at),
            ready_at: ready_at.map(shows),
            serving_at: serving_at.map(shows),
            stopping_at: stopping_at.map(shows),
            parked,
            leaving,
            monotonic_ms: Monotonic {
                launched: monotonic(Some(launched_at)),
                ready: monotonic(ready_at),
                serving: monotonic(serving_at),
                stopping: monotonic(stopping_at),
            },
        }
    }

    /// The monotonic clock counts from the start of the machine: of a process that lives, it is the same one.
    fn read(self, clock: &Clock) -> Record {
        let Monotonic { launched, ready, serving, stopping } = self.monotonic_ms;
        let instant = |milliseconds: Option<i64>, shown: Timestamp| match milliseconds {
            Some(milliseconds) => clock.of_monotonic(milliseconds),
            None => clock.wall().instant(shown),
        };
        Record {
            pool: self.pool,
            address: self.address,
            identity: self.identity,
            launched_at: instant(launched, self.launched_at),
            ready_at: self.ready_at.map(|at| instant(ready, at)),
            serving_at: self.serving_at.map(|at| instant(serving, at)),
            stopping_at: self.stopping_at.map(|at| instant(stopping, at)),
            parked: self.parked,
            leaving: self.leaving,
        }
    }
}

/// Why nothing may be changed now.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("another aggregator runs its origins")]
    Busy,
    #[error("token {token} of the lease is refused: token {highest} has acted since")]
    Fenced { token: u64, highest: u64 },
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Record {
    pub fn observed(&self, stopping: bool) -> Observed {
        Observed {
            address: self.address,
            launched_at: self.launched_at,
            ready_at: self.ready_at,
            serving_at: self.serving_at,
            stopping,
            parked: self.parked,
            leaving: self.leaving.clone(),
        }
    }
}

pub struct Records {
    folder: PathBuf,
    pool: String,
    clock: Clock,
}

impl Records {
    pub fn new(folder: &Path, pool: &str, clock: Clock) -> Records {
        Records { folder: folder.to_path_buf(), pool: pool.to_string(), clock }
    }

    /// Those of this pool. A file that cannot be read is told and passed over.
    pub fn read(&self) -> Vec<Record> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        let mut records = Vec::new();
        for path in paths.filter(|path| path.extension().is_some_and(|extension| extension == "json")) {
            let bytes = fs::read(&path);
            // Its origin ended since the folder was listed.
            if matches!(&bytes, Err(error) if error.kind() == io::ErrorKind::NotFound) {
                continue;
            }
            let record = bytes.and_then(|bytes| Ok(serde_json::from_slice::<Written>(&bytes)?.read(&self.clock)));
            match record {
                Ok(record) if record.pool == self.pool => {
                    records.push((path != self.path(record.address.port(), "json"), record));
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(path = %path.display(), %error, "state file passed over"),
            }
        }
        // A copy that a person made beside one is no other origin, and may be old.
        records.sort_by_key(|(copy, record)| (*copy, record.launched_at));
        let mut seen = BTreeSet::new();
        records.retain(|(_, record)| seen.insert(record.address));
        let mut records: Vec<Record> = records.into_iter().map(|(_, record)| record).collect();
        records.sort_by_key(|record| record.launched_at);
        records
    }

    /// Those of this pool that another hand has put beside the ones of `known` addresses. One that cannot be read may
    /// not be whole yet: the next look is soon.
    pub fn others(&self, known: &[SocketAddr]) -> Vec<Record> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        let ours: BTreeSet<PathBuf> = known.iter().map(|address| self.path(address.port(), "json")).collect();
        let new = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
        // Looked at ten times a second: our own files are not read for it.
        let read = new.filter(|path| !ours.contains(path));
        let read = read.filter_map(|path| serde_json::from_slice::<Written>(&fs::read(path).ok()?).ok());
        let mut seen: BTreeSet<SocketAddr> = known.iter().copied().collect();
        read.filter(|record| record.pool == self.pool && seen.insert(record.address))
            .map(|record| record.read(&self.clock))
            .collect()
    }

    /// Whole or not at all: written beside and moved over.
    pub fn write(&self, record: &Record) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let path = self.path(record.address.port(), "json");
        let beside = self.path(record.address.port(), "new");
        fs::write(&beside, serde_json::to_vec(&Written::of(record, &self.clock))?)?;
        fs::rename(beside, path)
    }

    pub fn remove(&self, record: &Record) {
        let path = self.path(record.address.port(), "json");
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "state file cannot be removed");
        }
    }

    /// Where the origin on this port writes what it has to say. Of those that are gone the latest are kept: one
    /// that ends at once is started again and again, each time on another port.
    pub fn log_path(&self, port: u16) -> io::Result<PathBuf> {
        fs::create_dir_all(&self.folder)?;
        let path = self.path(port, "log");
        self.forget_logs(&path);
        Ok(path)
    }

    fn forget_logs(&self, but: &Path) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let (stem, mut old) = (self.stem(), Vec::new());
        for entry in entries.flatten() {
            let path = entry.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let port = name.strip_prefix(&stem).and_then(|rest| rest.strip_prefix('-')?.strip_suffix(".log"));
            let ours = port.is_some_and(|port| port.parse::<u16>().is_ok()) && path != but;
            if ours && !path.with_extension("json").exists() {
                old.extend(entry.metadata().and_then(|found| found.modified()).ok().map(|at| (at, path)));
            }
        }
        old.sort();
        for (_, path) in &old[..old.len().saturating_sub(KEPT_LOGS)] {
            // The next start tries again.
            let _ = fs::remove_file(path);
        }
    }

    /// The right to run this pool's origins, until it is dropped.
    pub fn lock(&self) -> Result<Lock, Refusal> {
        fs::create_dir_all(&self.folder)?;
        let file = File::create(self.beside("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => Err(Refusal::Busy),
            Err(TryLockError::Error(error)) => Err(Refusal::Io(error)),
        }
    }

    /// The same in the name of a lease's token, which no lower one comes after.
    pub fn enter(&self, token: u64) -> Result<Lock, Refusal> {
        let lock = self.lock()?;
        let highest = self.token()?;
        if highest > token {
            return Err(Refusal::Fenced { token, highest });
        }
        if highest < token {
            let (path, beside) = (self.beside("token"), self.beside("token-new"));
            let mut file = File::create(&beside)?;
            file.write_all(format!("{token}\n").as_bytes())?;
            file.sync_all()?;
            fs::rename(beside, path)?;
        }
        Ok(lock)
    }

    /// The highest token so far; 0 before the first.
    pub fn token(&self) -> io::Result<u64> {
        let path = self.beside("token");
        match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|_| {
                let found: String = text.chars().take(40).collect();
                io::Error::new(io::ErrorKind::InvalidData, format!("{} has no token: {found:?}", path.display()))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn beside(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", self.stem()))
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

/// A lock on a pool's file.
#[derive(Debug)]
pub struct Lock(File);

impl Drop for Lock {
    /// Closing would do, were it not for a child that is being started elsewhere: until it runs its program it
    /// has the file too, and with it the lock.
    fn drop(&mut self) {
        // An error leaves it to the closing.
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_enters_alone_and_never_after_a_higher_one() {
        let folder = std::env::temp_dir().join(format!("forebay-fence-{}", std::process::id()));
        let records = || Records::new(&folder, "shop", Clock::start());
        let (one, other) = (records(), records());
        assert_eq!(one.token().unwrap(), 0);
        let entry = one.enter(3).unwrap();
        assert!(matches!(other.enter(4), Err(Refusal::Busy)), "one at a time");
        assert_eq!(one.token().unwrap(), 3);
        drop(entry);
        drop(other.enter(4).unwrap());
        let refused = one.enter(3).unwrap_err();
        assert!(matches!(refused, Refusal::Fenced { token: 3, highest: 4 }), "{refused}");
        drop(other.enter(4).unwrap());
        // What cannot be read could be any token: nobody enters.
        fs::write(folder.join("shop.token"), "many").unwrap();
        assert!(matches!(other.enter(5), Err(Refusal::Io(error)) if error.to_string().contains("has no token")));
        assert_eq!(fs::read_to_string(folder.join("shop.token")).unwrap(), "many");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn logs_of_origins_that_are_gone_are_kept_up_to_a_number_and_no_others_are_removed() {
        let folder = std::env::temp_dir().join(format!("forebay-logs-{}", std::process::id()));
        let records = Records::new(&folder, "shop", Clock::start());
        let begin = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
        fs::create_dir_all(&folder).unwrap();
        for port in 1..=200u16 {
            let log = File::create(folder.join(format!("shop-{port}.log"))).unwrap();
            log.set_modified(begin + std::time::Duration::from_secs(port.into())).unwrap();
        }
        let others = ["shop-1.json", "shop-2-9000.log", "shop-x.log", "shopping-3.log", "notes.log"];
        others.iter().for_each(|name| fs::write(folder.join(name), "").unwrap());
        records.log_path(2).unwrap();
        let left = |name: &str| folder.join(name).exists();
        let logs: Vec<u16> = (1..=200).filter(|port| left(&format!("shop-{port}.log"))).collect();
        let kept: Vec<u16> = [1, 2].into_iter().chain(137..=200).collect();
        assert_eq!(logs, kept, "one that runs, one that begins, and the latest of the others");
        assert!(others.iter().all(|name| left(name)));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn an_origin_is_as_old_after_the_wall_clock_was_set_as_it_would_be_without() {
        let folder = std::env::temp_dir().join(format!("forebay-ages-{}", std::process::id()));
        const NOON: i64 = 1_772_452_800_000;
        let first = Clock::of(1_000, NOON);
        let at = |monotonic| first.of_monotonic(monotonic);
        let record = Record {
            pool: "shop".into(),
            address: "127.0.0.1:9000".parse().unwrap(),
            identity: Identity::of(std::process::id()).unwrap(),
            launched_at: at(2_000),
            ready_at: Some(at(3_000)),
            serving_at: None,
            stopping_at: Some(at(4_000)),
            parked: false,
            leaving: Some("spot notice".into()),
        };
        Records::new(&folder, "shop", first).write(&record).unwrap();
        let text = fs::read_to_string(folder.join("shop-9000.json")).unwrap();
        assert!(text.contains("2026-03-02T12:00:01"), "people read the wall clock: {text}");
        for set in [0, 3_600_000, -3_600_000, 31_536_000_000] {
            // The next run starts six seconds after it, by a wall clock that was set.
            let later = Clock::of(8_000, NOON + 7_000 + set);
            let found = Records::new(&folder, "shop", later.clone()).read().pop().unwrap();
            let age = |at| scaler::stamp::age(later.of_monotonic(8_000), at).as_millis();
            assert_eq!((age(found.launched_at), found.ready_at.map(age)), (6_000, Some(5_000)), "set by {set}");
            assert_eq!((found.serving_at, found.stopping_at.map(age)), (None, Some(4_000)), "set by {set}");
            assert_eq!(found.observed(false).leaving.as_deref(), Some("spot notice"));
        }
        // One of a version that wrote the wall clock alone.
        let before = text.split(",\"monotonic_ms\"").next().unwrap().to_owned() + "}";
        fs::write(folder.join("shop-9000.json"), before).unwrap();
        let later = Clock::of(8_000, NOON + 7_000);
        let found = Records::new(&folder, "shop", later.clone()).read().pop().unwrap();
        assert_eq!(found.launched_at, later.of_monotonic(2_000));
        fs::remove_dir_all(folder).unwrap();
    }
}
