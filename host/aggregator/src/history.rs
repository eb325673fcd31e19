//! What pools saw, on disk: an hour in steps of 15 s and two weeks of minutes, so that whoever
//! starts next knows it too, and a replay can ask what would have been.
//!
//! It is never worth an outage: a file that is damaged is moved aside and another begun, one that
//! cannot be used is tried again, and meanwhile the region goes on without.

pub mod store;

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use scaler::{Event, Region, Step, stamp};

use store::{Batch, KEEP_FINE, OpenError, Reader, Store};

/// How long a file that could not be used is left alone.
const RETRY: Duration = Duration::from_secs(5);

pub struct History {
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
    pub fn open(config: Option<&config::region::History>, region: &mut Region, now: Timestamp) -> History {
        let because = "the region file has neither `aggregator.history` nor `aggregator.journal`".to_string();
        let mut history = History { config: config.cloned(), store: None, because, retry_at: now, written_at: None };
        history.try_open(region, now);
        history
    }

    /// Takes a changed file.
    pub fn configure(&mut self, config: Option<&config::region::History>, region: &mut Region, now: Timestamp) {
        if self.config.as_ref() != config {
            // First: the same file may be meant.
            self.store = None;
            *self = History::open(config, region, now);
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
                recall(&store.reader(), region, now);
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
    pub fn keep(&mut self, region: &mut Region, tick: Duration, now: Timestamp) {
        if self.written_at.is_some_and(|at| at <= now && stamp::age(now, at) < tick) {
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
        let points = region.points(now);
        if !points.is_empty() {
            store.write(Batch::new(points, now));
        }
    }

    /// For answers, or why there can be none.
    pub fn reader(&self) -> Result<Reader, &str> {
        self.store.as_ref().map(Store::reader).ok_or(&self.because)
    }
}

/// Tells each pool its last hour.
fn recall(reader: &Reader, region: &mut Region, now: Timestamp) {
    for pool in region.pools() {
        match reader.points(&pool, Step::Fine, stamp::earlier(now, KEEP_FINE), now) {
            Ok(points) if !points.is_empty() => {
                tracing::info!(pool, points = points.len(), "recalled what an earlier run saw");
                // Infallible: only reports are refused.
                let _ = region.apply(Event::Recalled { pool, points }, now);
            }
            Ok(_) => {}
            Err(error) => tracing::error!(pool, %error, "the history cannot be read"),
        }
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
