//! The file of a history: points by pool and time, what a pool's engine has learned, opaque, and what a month has cost.
//!
//! One process has it open. A thread of its own writes, one transaction for all that waits: a slow
//! disk keeps no decision waiting, and a process that is killed loses what no transaction had ended.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition};
use scaler::budget::Month;
use scaler::{Capacity, Checkpoint, Point, Points, Step, stamp};
use serde::{Deserialize, Serialize};

/// What this code reads and writes. A file of another is moved aside.
const SCHEMA: u64 = 1;
/// How long points of 15 s are kept.
pub const KEEP_FINE: Duration = Duration::from_secs(3600);

/// Five numbers and four counts, little endian.
const POINT_BYTES: usize = 56;
type PointTable = TableDefinition<'static, (&'static str, u64), &'static [u8; POINT_BYTES]>;

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const FINE: PointTable = TableDefinition::new("points_15s");
const MINUTES: PointTable = TableDefinition::new("points_1m");
const CHECKPOINTS: TableDefinition<&str, (u32, &[u8])> = TableDefinition::new("checkpoints");
/// JSON of [`Spent`]: a field that is added is no other schema.
const SPENT: TableDefinition<&str, &[u8]> = TableDefinition::new("spent");

/// Memory for pages of the file.
const CACHE_BYTES: usize = 8 << 20;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{} is in use by another process: each aggregator needs a history of its own (aggregator.history.path)", .0.display())]
    InUse(PathBuf),
    #[error("{path}: {1}", path = .0.display())]
    Unreadable(PathBuf, String),
    /// What is in it is not what was written.
    #[error("{path} is damaged: {1}", path = .0.display())]
    Damaged(PathBuf, String),
}

/// What a pool's month has cost until then.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Spent {
    #[serde(with = "scaler::stamp")]
    at: Timestamp,
    month: Month,
}

/// What one transaction writes.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    points: BTreeMap<(String, Step), BTreeMap<u64, Point>>,
    checkpoints: BTreeMap<String, Checkpoint>,
    spent: BTreeMap<String, Spent>,
    now: Option<Timestamp>,
}

impl Batch {
    pub fn new(points: BTreeMap<String, Points>, now: Timestamp) -> Batch {
        let mut batch = Batch { now: Some(now), ..Batch::default() };
        for (pool, Points { fine, minutes }) in points {
            for (step, points) in [(Step::Fine, fine), (Step::Minute, minutes)] {
                let keyed = points.into_iter().filter_map(|point| Some((u64::try_from(point.second()).ok()?, point)));
                batch.points.insert((pool.clone(), step), keyed.collect());
            }
        }
        batch
    }

    pub fn checkpoint(&mut self, pool: &str, checkpoint: Checkpoint) {
        self.checkpoints.insert(pool.to_string(), checkpoint);
    }

    pub fn spent(&mut self, pool: &str, at: Timestamp, month: Month) {
        self.spent.insert(pool.to_string(), Spent { at, month });
    }

    /// The later word on a point holds.
    fn absorb(&mut self, later: Batch) {
        for (key, points) in later.points {
            self.points.entry(key).or_default().extend(points);
        }
        self.checkpoints.extend(later.checkpoints);
        self.spent.extend(later.spent);
        self.now = later.now.or(self.now);
    }
}

/// An open file.
#[derive(Debug)]
pub struct Store {
    database: Arc<Database>,
    outbox: Option<mpsc::Sender<Batch>>,
    failed: Arc<Mutex<Option<String>>>,
    writer: Option<JoinHandle<()>>,
}

impl Store {
    /// Reads and checks the whole file, or begins one.
    pub fn open(path: &Path, keep: Duration) -> Result<Store, OpenError> {
        let unreadable = |error: std::io::Error| OpenError::Unreadable(path.to_path_buf(), error.to_string());
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(unreadable)?;
        }
        // The library returns errors for damage that it finds by its checksums; what slips past may
        // still trip it.
        let opened = catch_unwind(AssertUnwindSafe(|| open(path)));
        let (database, pools) = opened
            .unwrap_or_else(|_| Err(OpenError::Damaged(path.to_path_buf(), "reading it panicked".to_string())))?;
        let database = Arc::new(database);
        let (outbox, inbox) = mpsc::channel();
        let failed = Arc::new(Mutex::new(None));
        let writer = Writer { database: database.clone(), pools, keep, pruned: None };
        let told = failed.clone();
        let thread = std::thread::Builder::new().name("history".into()).spawn(move || {
            let ended = catch_unwind(AssertUnwindSafe(|| writer.run(&inbox)));
            let error = ended.unwrap_or_else(|_| Err("writing it panicked".to_string())).err();
            *told.lock().unwrap_or_else(PoisonError::into_inner) = error;
        });
        let thread = thread.map_err(unreadable)?;
        Ok(Store { database, outbox: Some(outbox), failed, writer: Some(thread) })
    }

    /// Hands over what is to be written. It is not waited for.
    pub fn write(&self, batch: Batch) {
        // A writer that has ended has said why.
        let _ = self.outbox.as_ref().map(|outbox| outbox.send(batch));
    }

    /// Why nothing is written any more.
    pub fn failed(&self) -> Option<String> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn reader(&self) -> Reader {
        Reader { database: self.database.clone() }
    }
}

impl Drop for Store {
    /// Waits until all that was handed over is written.
    fn drop(&mut self) {
        self.outbox = None;
        if let Some(writer) = self.writer.take() {
            // Its panics are caught.
            let _ = writer.join();
        }
    }
}

fn open(path: &Path) -> Result<(Database, BTreeSet<String>), OpenError> {
    let damaged = |what: String| OpenError::Damaged(path.to_path_buf(), what);
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    let database = builder.create(path).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            OpenError::InUse(path.to_path_buf())
        }
        DatabaseError::Storage(StorageError::Io(error))
            if !matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
        {
            OpenError::Unreadable(path.to_path_buf(), error.to_string())
        }
        error => damaged(error.to_string()),
    })?;
    let pools = prepare(&database).map_err(|error| damaged(error.to_string()))?;
    match pools {
        Ok(pools) => Ok((database, pools)),
        Err(found) => Err(damaged(format!("it has schema {found}; this aggregator reads {SCHEMA}"))),
    }
}

/// Makes the tables of a new file. The pools of an old one, or its schema if that is not ours.
fn prepare(database: &Database) -> Result<Result<BTreeSet<String>, u64>, redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        let found = meta.get("schema")?.map(|schema| schema.value());
        if let Some(found) = found.filter(|found| *found != SCHEMA) {
            return Ok(Err(found));
        }
        meta.insert("schema", SCHEMA)?;
    }
    transaction.open_table(CHECKPOINTS)?;
    transaction.open_table(SPENT)?;
    let mut pools = BTreeSet::new();
    for step in Step::ALL {
        let table = transaction.open_table(table(step))?;
        // From one pool to the next, past all of its points.
        let mut next = table.first()?.map(|(key, _)| key.value().0.to_string());
        while let Some(pool) = next {
            let behind = table
                .range((pool.as_str(), u64::MAX)..)?
                .find(|entry| entry.as_ref().is_ok_and(|(key, _)| key.value().0 != pool));
            next = behind.transpose()?.map(|(key, _)| key.value().0.to_string());
            pools.insert(pool);
        }
    }
    transaction.commit()?;
    Ok(Ok(pools))
}

fn table(step: Step) -> PointTable {
    match step {
        Step::Fine => FINE,
        Step::Minute => MINUTES,
    }
}

/// What the writing thread has.
struct Writer {
    database: Arc<Database>,
    /// All that may have points.
    pools: BTreeSet<String>,
    keep: Duration,
    /// The minute in which old points were removed last.
    pruned: Option<i64>,
}

impl Writer {
    fn run(mut self, inbox: &mpsc::Receiver<Batch>) -> Result<(), String> {
        while let Ok(mut batch) = inbox.recv() {
            while let Ok(later) = inbox.try_recv() {
                batch.absorb(later);
            }
            let begin = Instant::now();
            self.write(&batch).map_err(|error| error.to_string())?;
            metrics::histogram!("forebay_aggregator_history_commit_seconds").record(begin.elapsed());
        }
        Ok(())
    }

    fn write(&mut self, batch: &Batch) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        for ((pool, step), points) in &batch.points {
            let mut table = transaction.open_table(table(*step))?;
            for (second, point) in points {
                table.insert((pool.as_str(), *second), &encode(point))?;
            }
            if !points.is_empty() && !self.pools.contains(pool) {
                self.pools.insert(pool.clone());
            }
        }
        if !batch.checkpoints.is_empty() {
            let mut table = transaction.open_table(CHECKPOINTS)?;
            for (pool, Checkpoint { version, bytes }) in &batch.checkpoints {
                table.insert(pool.as_str(), (*version, bytes.as_slice()))?;
            }
        }
        if !batch.spent.is_empty() {
            let mut table = transaction.open_table(SPENT)?;
            // What cannot be said in JSON has no number in it that anyone could go by.
            let written = batch.spent.iter().filter_map(|(pool, spent)| Some((pool, serde_json::to_vec(spent).ok()?)));
            for (pool, bytes) in written {
                table.insert(pool.as_str(), bytes.as_slice())?;
            }
        }
        let minute = batch.now.map(|now| Step::Minute.start(now.as_second()));
        if let Some(now) = batch.now.filter(|_| minute != self.pruned) {
            self.pruned = minute;
            for (step, keep) in [(Step::Fine, KEEP_FINE), (Step::Minute, self.keep)] {
                let oldest = u64::try_from(stamp::earlier(now, keep).as_second()).unwrap_or(0);
                let mut table = transaction.open_table(table(step))?;
                for pool in &self.pools {
                    table.retain_in((pool.as_str(), 0)..(pool.as_str(), oldest), |_, _| false)?;
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

/// Reads beside the writer: what was committed when a call began.
#[derive(Clone, Debug)]
pub struct Reader {
    database: Arc<Database>,
}

impl Reader {
    /// The points of a pool that began in `from..to`, oldest first.
    pub fn points(&self, pool: &str, step: Step, from: Timestamp, to: Timestamp) -> Result<Vec<Point>, redb::Error> {
        // The first whole second that is not before it: a step that began in this second has begun.
        let second = |at: Timestamp| {
            let part = i64::from(at.subsec_nanosecond() > 0);
            u64::try_from(at.as_second() + part).unwrap_or(0)
        };
        let table = self.database.begin_read()?.open_table(table(step))?;
        let (from, to) = (second(from), second(to));
        if to <= from {
            return Ok(Vec::new());
        }
        let mut points = Vec::new();
        for entry in table.range((pool, from)..(pool, to))? {
            let (key, value) = entry?;
            points.extend(decode(key.value().1, value.value()));
        }
        Ok(points)
    }

    /// When the first and the last point of a pool began; `None` if it has none.
    pub fn span(&self, pool: &str, step: Step) -> Result<Option<(Timestamp, Timestamp)>, redb::Error> {
        let table = self.database.begin_read()?.open_table(table(step))?;
        let mut range = table.range((pool, 0)..=(pool, u64::MAX))?;
        let (first, last) = (range.next().transpose()?, range.next_back().transpose()?);
        let at = |second: u64| i64::try_from(second).ok().and_then(|second| Timestamp::from_second(second).ok());
        let first = first.and_then(|(key, _)| at(key.value().1));
        let last = last.and_then(|(key, _)| at(key.value().1)).or(first);
        Ok(first.zip(last))
    }

    pub fn checkpoint(&self, pool: &str) -> Result<Option<Checkpoint>, redb::Error> {
        let table = self.database.begin_read()?.open_table(CHECKPOINTS)?;
        let found = table.get(pool)?;
        Ok(found.map(|found| {
            let (version, bytes) = found.value();
            Checkpoint { version, bytes: bytes.to_vec() }
        }))
    }
}

impl Reader {
    /// What a pool's month had cost, and until when. What cannot be read was of another program, and is nothing.
    pub fn spent(&self, pool: &str) -> Result<Option<(Timestamp, Month)>, redb::Error> {
        let table = self.database.begin_read()?.open_table(SPENT)?;
        let found = table.get(pool)?;
        let spent = found.and_then(|found| serde_json::from_slice::<Spent>(found.value()).ok());
        Ok(spent.map(|spent| (spent.at, spent.month)))
    }
}

fn encode(point: &Point) -> [u8; POINT_BYTES] {
    let Point { at: _, requests, rejects, errors, cost, covered, origins } = *point;
    let Capacity { booting, warming, serving, draining, .. } = origins;
    let mut bytes = [0; POINT_BYTES];
    for (place, value) in bytes.chunks_exact_mut(8).zip([requests, rejects, errors, cost, covered]) {
        place.copy_from_slice(&value.to_le_bytes());
    }
    for (place, value) in bytes[40..].chunks_exact_mut(4).zip([booting, warming, serving, draining]) {
        place.copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

fn decode(second: u64, bytes: &[u8; POINT_BYTES]) -> Option<Point> {
    let number = |i: usize| f64::from_le_bytes(std::array::from_fn(|k| bytes[i * 8 + k]));
    let count = |i: usize| u32::from_le_bytes(std::array::from_fn(|k| bytes[40 + i * 4 + k]));
    Some(Point {
        at: Timestamp::from_second(i64::try_from(second).ok()?).ok()?,
        requests: number(0),
        rejects: number(1),
        errors: number(2),
        cost: number(3),
        covered: number(4),
        origins: Capacity {
            booting: count(0),
            warming: count(1),
            serving: count(2),
            draining: count(3),
            ..Capacity::default()
        },
    })
}
