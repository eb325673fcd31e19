//! What of a region is kept on a disk, and taken back from it: points, checkpoints, what a month has cost.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Region;
use crate::budget::Month;
use crate::checkpoint::Checkpoint;
use crate::history::Points;
use crate::pool::Pool;

impl Region {
    /// By pool, the points that reports changed since this was asked last; pools without are missing.
    pub fn points(&mut self, now: Timestamp) -> BTreeMap<String, Points> {
        let of = |(name, pool): (&String, &mut Pool)| {
            let edges = self.edges.of_pool(name, now, self.stale);
            (name.clone(), pool.points(&edges, now))
        };
        self.pools.iter_mut().map(of).filter(|(_, points)| !points.is_empty()).collect()
    }

    /// What was told of the last hour is lost: [`Region::points`] tells all of it again.
    pub fn tell_points_again(&mut self) {
        self.pools.values_mut().for_each(Pool::tell_again);
    }

    /// Takes what the engine of a pool had learned in an earlier run, or says why it is of no use.
    pub fn restore(&mut self, pool: &str, checkpoint: &Checkpoint) -> Result<(), String> {
        let pool = self.pools.get_mut(pool).ok_or_else(|| "no such pool is scaled here".to_string())?;
        pool.restore(checkpoint)
    }

    /// Since when the minutes that were seen are of use to the engine of a pool; `None`: it knows them.
    pub fn wants_minutes(&mut self, pool: &str, now: Timestamp) -> Option<Timestamp> {
        self.pools.get_mut(pool)?.wants_minutes(now)
    }

    /// By pool, what its engine has learned, where it is time to write it down or `anyway`.
    pub fn checkpoints(&mut self, anyway: bool) -> BTreeMap<String, Checkpoint> {
        let of = |(name, pool): (&String, &mut Pool)| Some((name.clone(), pool.checkpoint(anyway)?));
        self.pools.iter_mut().filter_map(of).collect()
    }

    /// By pool, what was spent in the month so far and until when; pools without a ceiling are missing.
    pub fn spent(&self) -> BTreeMap<String, (Timestamp, Month)> {
        self.pools.iter().filter_map(|(name, pool)| Some((name.clone(), pool.spent()?))).collect()
    }
}
