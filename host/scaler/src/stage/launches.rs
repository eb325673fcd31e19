//! Launches that are late or come to nothing, and origins that are known to be going.
//!
//! An origin that boots for longer than nearly all before it gets a replacement beside it; the first of the two
//! that serves is kept, the other is ended. At most a quarter of the pool is replaced so at once. Where replacements
//! are late as well, more of them would only cost: each further round waits twice as long as the one before, and
//! nothing that serves is taken away meanwhile.
//!
//! An origin that is going (whoever runs it was told so, or its health fails at every edge) is no capacity any
//! more: its replacement starts now, and it leaves once that serves.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wire::Stage;

use super::{Origin, Origins, StageRules};
use crate::edges::PoolEdges;
use crate::stamp;
use crate::wall::Wall;

/// Rounds in a row that came to nothing, from which on launches are said to fail: one is bad luck.
const FAILING: u32 = 2;
/// What failed so long ago says nothing of a launch now.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// Until it is known when an origin is late.
const FIRST_REST: Duration = Duration::from_secs(60);
const LONGEST_REST: Duration = Duration::from_secs(1800);
/// Of the pool, that is replaced at once for being late or unwell: more at once is a fault of them all.
const PART: usize = 4;

/// Why an origin is not counted on any more.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Going {
    /// Somebody said so.
    Told(String),
    /// Its health fails at every edge. It may come back.
    Unwell,
}

/// An origin that is not counted on, for the record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replaced {
    pub address: core::net::SocketAddr,
    pub because: String,
    /// Another runs in its place, or is asked for; otherwise it waits for that.
    pub replaced: bool,
}

/// How launches went lately.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Launches {
    /// Since one was ready: instants at which some turned late, or ended before they were ready.
    rounds: u32,
    last: Option<Timestamp>,
    /// No late one is replaced before.
    not_before: Option<Timestamp>,
}

impl Launches {
    pub fn came(&mut self) {
        *self = Launches::default();
    }

    /// Some were late at this instant, or ended by themselves: one round, however many.
    fn came_to_nothing(&mut self, rest: Duration, now: Timestamp) {
        if self.last == Some(now) {
            return;
        }
        if self.last.is_some_and(|last| stamp::age(now, last) > FORGOTTEN.max(rest * 3)) {
            self.came();
        }
        self.rounds = self.rounds.saturating_add(1);
        self.last = Some(now);
        if let Some(doubled) = self.rounds.checked_sub(FAILING) {
            let rest = rest.saturating_mul(1 << doubled.min(10)).min(LONGEST_REST);
            self.not_before = Some(stamp::later(now, rest));
        }
    }

    pub fn may(&self, now: Timestamp) -> bool {
        self.not_before.is_none_or(|at| at <= now)
    }

    pub fn failing(&self, wall: Wall, now: Timestamp) -> Option<String> {
        let last = self.last.filter(|last| self.rounds >= FAILING && stamp::age(now, *last) <= FORGOTTEN)?;
        let at = wall.shows(last);
        Some(format!("launches fail: {} rounds in a row were late or ended, the last at {at:.0}", self.rounds))
    }
}

impl Origin {
    pub(super) fn is_late(&self) -> bool {
        self.late && self.stage == Stage::Booting
    }

    /// A member that is not counted on.
    fn is_doubtful(&self) -> bool {
        self.is_member() && (self.is_late() || self.going.is_some())
    }

    /// Unhealthy at every fresh edge.
    fn is_unwell(&self, edges: &PoolEdges) -> bool {
        let unwell = |latest: &crate::edges::Latest| latest.origins.get(&self.address).is_some_and(|o| !o.healthy);
        edges.fresh.iter().all(|(_, latest)| unwell(latest))
    }

    fn look(&mut self, rules: &StageRules, edges: &PoolEdges, now: Timestamp) {
        // Nobody says anything: what was known stands.
        if edges.fresh.is_empty() {
            return;
        }
        let takes = self.stage == Stage::Serving || self.warm;
        match rules.unwell_after.filter(|_| takes && self.is_unwell(edges)) {
            Some(after) => {
                let since = *self.unwell_since.get_or_insert(now);
                if stamp::age(now, since) >= after {
                    self.going.get_or_insert(Going::Unwell);
                }
            }
            None => {
                self.unwell_since = None;
                self.going = self.going.take().filter(|going| *going != Going::Unwell);
            }
        }
    }
}

impl Origins {
    /// Notices who is late or unwell, and grants replacements.
    pub(super) fn watch(&mut self, rules: &StageRules, edges: &PoolEdges, now: Timestamp) {
        let rest = rules.late_after.unwrap_or(FIRST_REST);
        if std::mem::take(&mut self.ended_early) {
            self.launches.came_to_nothing(rest, now);
        }
        for origin in self.running.iter_mut().filter(|origin| !origin.stopping) {
            origin.look(rules, edges, now);
            let over = rules.late_after.is_some_and(|after| stamp::age(now, origin.launched_at) >= after);
            if over && !origin.late && origin.stage == Stage::Booting {
                origin.late = true;
                self.launches.came_to_nothing(rest, now);
            }
        }
        let sound = self.running.iter().filter(|origin| origin.is_member() && !origin.is_doubtful()).count();
        let most = sound.div_ceil(PART).max(1);
        let mut granted = self.running.iter().filter(|origin| origin.replaced && origin.is_doubtful()).count();
        let may = self.launches.may(now);
        for origin in self.running.iter_mut().filter(|origin| origin.is_doubtful() && !origin.replaced) {
            // Notices are facts, and each is one origin less.
            let told = matches!(origin.going, Some(Going::Told(_)));
            let late = origin.is_late();
            if told || (granted < most && (!late || may)) {
                origin.replaced = true;
                granted += 1;
            }
        }
        self.running.iter_mut().filter(|origin| !origin.is_doubtful()).for_each(|origin| origin.replaced = false);
    }

    /// Somebody knows that an origin is going. False if it does not run here.
    pub fn leaving(&mut self, address: core::net::SocketAddr, because: &str) -> bool {
        let found = self.running.iter_mut().find(|origin| origin.address == address);
        if let Some(origin) = found {
            origin.going = Some(Going::Told(because.to_owned()));
            return true;
        }
        false
    }

    /// Of whom that is known by somebody's word, and why.
    pub fn told_leaving(&self) -> Vec<(core::net::SocketAddr, String)> {
        let told = |origin: &Origin| match &origin.going {
            Some(Going::Told(because)) => Some((origin.address, because.clone())),
            Some(Going::Unwell) | None => None,
        };
        self.running.iter().filter_map(told).collect()
    }

    /// How many shall run beside `count`, as so many are not counted on. None once enough others serve: then whoever
    /// has not come is ended.
    pub fn surge(&self, count: u32) -> u32 {
        let replaced = self.running.iter().filter(|origin| origin.replaced && origin.is_doubtful()).count() as u32;
        let sound = |origin: &&Origin| origin.is_member() && origin.stage == Stage::Serving && origin.going.is_none();
        let come = self.running.iter().filter(sound).count() as u32;
        if come >= count { 0 } else { replaced }
    }

    /// Who is not counted on, and why. `room`: the ceiling lets another run beside them.
    pub fn replaced(&self, rules: &StageRules, room: bool) -> Vec<Replaced> {
        let told = |origin: &Origin| {
            let because = match &origin.going {
                Some(Going::Told(because)) => format!("leaving: {because}"),
                Some(Going::Unwell) => "unhealthy at every edge".to_owned(),
                None => format!("late: boots for over {}", stamp::text(rules.late_after.unwrap_or_default())),
            };
            Replaced { address: origin.address, because, replaced: origin.replaced && room }
        };
        self.running.iter().filter(|origin| origin.is_doubtful()).map(told).collect()
    }

    /// Why nothing that serves may be taken away, if launches fail.
    pub fn failing(&self, wall: Wall, now: Timestamp) -> Option<String> {
        self.launches.failing(wall, now)
    }

    /// When something here is due.
    pub(super) fn next_launch_change(&self, rules: &StageRules, now: Timestamp) -> Option<Timestamp> {
        let boots = self.running.iter().filter(|origin| origin.stage == Stage::Booting && !origin.late);
        let late = boots.filter_map(|origin| Some(stamp::later(origin.launched_at, rules.late_after?)));
        let unwell = self.running.iter().filter(|origin| origin.going.is_none());
        let unwell = unwell.filter_map(|origin| Some(stamp::later(origin.unwell_since?, rules.unwell_after?)));
        late.chain(unwell).chain(self.launches.not_before).filter(|at| *at > now).min()
    }
}
