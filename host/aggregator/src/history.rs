//! What pools saw, on disk: an hour in steps of 15 s and two weeks of minutes, so that whoever
//! starts next knows it too, and a replay can ask what would have been.
//!
//! It is never worth an outage: a file that is damaged is moved aside and another begun, one that
//! cannot be used is tried again, and meanwhile the region goes on without.

pub mod store;

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use scaler::wall::Wall;
use scaler::{Event, Region, Step, stamp};

use crate::clock::Clock;
use store::{Batch, KEEP_FINE, OpenError, Reader, Store};

/// How long a file that could not be used is left alone.
const RETRY: Duration = Duration::from_secs(5);

pub struct History {
    clock: Clock,
    config: Option<config::region::History>,
    store: Option<Store>,
    /// Why there is no store.
    because: String,
    retry_at: Timestamp,
    /// When it was written last.
    written_at: Option<Timestamp>,
}

impl History {
    /// Opens the file, and tells the region what an earlier run saw.
    pub fn open(config: Option<&config::region::History>, region: &mut Region, clock: Clock) -> History {
        let because = "the region file has neither `aggregator.history` nor `aggregator.journal`".to_string();
        let now = clock.now();
        let mut history =
            History { clock, config: config.cloned(), store: None, because, retry_at: now, written_at: None };
        history.try_open(region, now);
        history
    }

    /// Takes a changed file.
    pub fn configure(&mut self, config: Option<&config::region::History>, region: &mut Region) {
        if self.config.as_ref() != config {
            // First: the same file may be meant.
            self.store = None;
            *self = History::open(config, region, self.clock.clone());
            region.tell_points_again();
        }
    }

    fn try_open(&mut self, region: &mut Region, now: Timestamp) {
        let Some(config) = &self.config else { return };
        let opened = match Store::open(&config.path, config.keep) {
            Err(OpenError::Damaged(path, what)) => {
                move_aside(&path, &what, now).and_then(|()| Store::open(&config.path, config.keep))
            }
            opened => opened,
        };
        match opened {
            Ok(store) => {
                recall(&store.reader(), config.keep, region, self.clock.wall(), now);
                self.store = Some(store);
            }
            Err(error) => {
                let because = error.to_string();
                if because != self.because {
                    tracing::error!(retry_seconds = RETRY.as_secs(), "no history is kept: {because}");
                    metrics::counter!("forebay_aggregator_history_failures_total").increment(1);
                }
                self.because = because;
                self.retry_at = stamp::later(now, RETRY);
            }
        }
    }

    /// Hands over what is new, at most once in a `tick`.
    pub fn keep(&mut self, region: &mut Region, tick: Duration) {
        let now = self.clock.now();
        if self.written_at.is_some_and(|at| stamp::age(now, at) < tick) {
            return;
        }
        if let Some(error) = self.store.as_ref().and_then(Store::failed) {
            tracing::error!(retry_seconds = RETRY.as_secs(), "the history cannot be written: {error}");
            metrics::counter!("forebay_aggregator_history_failures_total").increment(1);
            (self.store, self.because, self.retry_at) = (None, error, stamp::later(now, RETRY));
        }
        if self.store.is_none() && now >= self.retry_at {
            self.try_open(region, now);
            // What was handed over since the last that was written may be lost.
            region.tell_points_again();
        }
        let Some(store) = &self.store else { return };
        self.written_at = Some(now);
        write(store, region, false, &self.clock);
    }

    /// The region file changed: an engine that begins anew learns from what pools saw.
    pub fn teach(&self, region: &mut Region) {
        let (Some(store), Some(config)) = (&self.store, &self.config) else { return };
        let reader = store.reader();
        for pool in region.pools() {
            tell_minutes(&reader, config.keep, &pool, region, self.clock.wall(), self.clock.now());
        }
    }

    /// Hands over all that is known, before the end. Waits until it is on the disk.
    pub fn close(&mut self, region: &mut Region) {
        if let Some(store) = self.store.take() {
            write(&store, region, true, &self.clock);
        }
        self.because = "the aggregator ends".to_string();
    }

    /// For answers, or why there can be none.
    pub fn reader(&self) -> Result<Reader, &str> {
        self.store.as_ref().map(Store::reader).ok_or(&self.because)
    }
}

fn write(store: &Store, region: &mut Region, all: bool, clock: &Clock) {
    let now = clock.now();
    let (points, checkpoints) = (region.points(now), region.checkpoints(all));
    // What is spent goes along: where nothing else is news, so many run as before, and what they cost since then is known.
    if points.is_empty() && checkpoints.is_empty() && !all {
        return;
    }
    // What is too old is removed. A clock that was set far ahead makes nothing old.
    let mut batch = Batch::new(points, now.min(clock.wall().shows(now)));
    for (pool, checkpoint) in checkpoints {
        batch.checkpoint(&pool, checkpoint);
    }
    for (pool, (at, month)) in region.spent() {
        batch.spent(&pool, at, month);
    }
    store.write(batch);
}

/// Tells each pool what its engine had learned, its last hour, and what the engine has not heard of.
fn recall(reader: &Reader, keep: Duration, region: &mut Region, wall: Wall, now: Timestamp) {
    let to = wall.shows(now);
    for pool in region.pools() {
        match reader.checkpoint(&pool) {
            Ok(Some(checkpoint)) => match region.restore(&pool, &checkpoint) {
                Ok(()) => tracing::info!(pool, bytes = checkpoint.bytes.len(), "goes on with what was learned"),
                Err(because) => tracing::info!(pool, because, "what was learned is learned again"),
            },
            Ok(None) => {}
            Err(error) => tracing::error!(pool, %error, "what was learned cannot be read"),
        }
        match reader.spent(&pool) {
            Ok(Some((at, month))) => {
                // Infallible: only reports are refused.
                let _ = region.apply(Event::Spent { pool: pool.clone(), at, month }, now);
            }
            Ok(None) => {}
            Err(error) => tracing::error!(pool, %error, "what was spent cannot be read"),
        }
        match reader.points(&pool, Step::Fine, stamp::earlier(to, KEEP_FINE), to) {
            Ok(fine) if !fine.is_empty() => {
                tracing::info!(pool, points = fine.len(), "recalled what an earlier run saw");
                // Infallible: only reports are refused.
                let _ = region.apply(Event::Recalled { pool: pool.clone(), points: fine }, now);
            }
            Ok(_) => {}
            Err(error) => tracing::error!(pool, %error, "the history cannot be read"),
        }
        tell_minutes(reader, keep, &pool, region, wall, now);
    }
}

/// Tells the engine of a pool the minutes that it has not heard of, if it has been away for long.
fn tell_minutes(reader: &Reader, keep: Duration, pool: &str, region: &mut Region, wall: Wall, now: Timestamp) {
    let Some(from) = region.wants_minutes(pool, now) else { return };
    let (from, to) = (wall.shows(from), wall.shows(now));
    match reader.points(pool, Step::Minute, from.max(stamp::earlier(to, keep)), to) {
        Ok(minutes) if !minutes.is_empty() => {
            tracing::info!(pool, minutes = minutes.len(), "learns from what was seen");
            // Infallible: only reports are refused.
            let _ = region.apply(Event::Taught { pool: pool.to_string(), minutes }, now);
        }
        Ok(_) => {}
        Err(error) => tracing::error!(pool, %error, "the history cannot be read"),
    }
}

/// Whoever wants to look into a damaged file finds it beside the new one.
fn move_aside(path: &Path, what: &str, now: Timestamp) -> Result<(), OpenError> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".damaged-{}", now.as_millisecond()));
    let aside: PathBuf = path.with_file_name(name);
    std::fs::rename(path, &aside)
        .map_err(|error| OpenError::Unreadable(path.to_path_buf(), format!("{what}, and cannot be moved: {error}")))?;
    tracing::error!(
        path = %path.display(), aside = %aside.display(), what,
        "the history is damaged: it was moved aside and a new one begun"
    );
    metrics::counter!("forebay_aggregator_history_failures_total").increment(1);
    Ok(())
}
