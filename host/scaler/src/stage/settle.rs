//! Who is a member, who waits in the warm pool, and who leaves.
//!
//! Members are what the decision counts. The warm pool is a second tier beside them: origins that have booted and
//! were warmed and take no traffic. Who joins comes from there first, as that takes no boot; the pool refills
//! behind. Whether an origin that boots is for the one or the other is settled anew each time: it costs nothing.

use std::cmp::Reverse;
use std::time::Duration;

use jiff::Timestamp;
use wire::Stage;

use super::{Origin, Origins, StageChange};
use crate::stamp;

impl Origin {
    /// It counts for the decision: not on its way out, and not in the warm pool.
    pub(super) fn is_member(&self) -> bool {
        self.stage != Stage::Draining && self.parked.is_none()
    }

    pub(super) fn is_parked(&self) -> bool {
        self.stage != Stage::Draining && self.parked.is_some()
    }

    /// How long it has been set aside.
    pub(super) fn parked_for(&self, now: Timestamp) -> Duration {
        self.parked.map_or(Duration::ZERO, |since| stamp::age(now, since))
    }

    /// Whose leaving loses least comes first: who is going anyway, who boots (first who is late), the youngest.
    fn loss(&self) -> impl Ord + use<> {
        let counted = (self.going.is_none(), self.stage, !self.is_late());
        (counted, Reverse(self.launched_at), Reverse(self.address))
    }

    /// How near it is to serving, of those in the warm pool.
    fn nearness(&self) -> impl Ord + use<> {
        (self.going.is_none(), self.warm, self.stage, Reverse(self.launched_at), Reverse(self.address))
    }

    fn join(&mut self, now: Timestamp, changes: &mut Vec<StageChange>) {
        self.parked = None;
        if std::mem::take(&mut self.warm) {
            self.joined = Some(now);
            self.told.clear();
            self.enter(Stage::Serving, now, "from the warm pool", changes);
        }
    }

    /// Edges are told that it warms, which every version of them knows: they keep away from it but for that.
    fn park(&mut self, now: Timestamp, changes: &mut Vec<StageChange>) {
        self.parked = Some(now);
        if self.stage == Stage::Serving {
            (self.warm, self.joined) = (true, None);
            self.enter(Stage::Warming, now, "not needed: to the warm pool", changes);
        }
    }

    fn leave(&mut self, because: &str, now: Timestamp, changes: &mut Vec<StageChange>) {
        let booting = self.stage == Stage::Booting;
        let unused = booting || (self.parked.is_some() && self.serving_at.is_none());
        (self.parked, self.warm, self.joined) = (None, false, None);
        // What edges were told before was another thing.
        self.told.clear();
        self.enter(Stage::Draining, now, because, changes);
        if unused {
            self.stop("no edge uses it yet", changes);
        }
    }
}

impl Origins {
    /// Chooses who joins, waits, leaves or stays after all, so that there are so many `members` and so many in the
    /// `warm` pool. Where too few run nothing is chosen: the actuator is asked for more.
    pub fn settle(&mut self, members: u32, warm: u32, now: Timestamp) -> Vec<StageChange> {
        let mut changes = Vec::new();
        self.join(members, now, &mut changes);
        self.trade(now, &mut changes);
        while self.count(Origin::is_member) > members {
            let waiting = self.count(Origin::is_parked);
            let ready = self.count(|origin| origin.is_parked() && origin.stage != Stage::Booting);
            let candidates = self.running.iter_mut().filter(|origin| origin.is_member());
            let Some(origin) = candidates.min_by_key(|origin| origin.loss()) else { break };
            // One that has booted is worth more than one that boots, which is ended below.
            let room = if origin.stage == Stage::Booting { waiting < warm } else { ready < warm };
            if room && origin.going.is_none() && !origin.is_late() {
                origin.park(now, &mut changes);
            } else {
                origin.leave("not needed", now, &mut changes);
            }
        }
        // Of a late one nobody knows whether it ever comes, and who waits is counted on.
        let again = self.launches.may(now);
        for origin in self.running.iter_mut().filter(|origin| origin.is_parked()) {
            let because = match origin.going {
                Some(_) => "it is going",
                None if again && origin.is_late() => "late: another boots for the warm pool in its place",
                None => continue,
            };
            self.parked += origin.parked_for(now);
            origin.leave(because, now, &mut changes);
        }
        while self.count(Origin::is_parked) > warm {
            let candidates = self.running.iter_mut().filter(|origin| origin.is_parked());
            let Some(origin) = candidates.min_by_key(|origin| origin.loss()) else { break };
            self.parked += origin.parked_for(now);
            origin.leave("not needed in the warm pool", now, &mut changes);
        }
        changes
    }

    /// Up to so many members, of those that run and are none. Nobody leaves.
    pub fn raise(&mut self, members: u32, now: Timestamp) -> Vec<StageChange> {
        let mut changes = Vec::new();
        self.join(members, now, &mut changes);
        changes
    }

    fn join(&mut self, members: u32, now: Timestamp, changes: &mut Vec<StageChange>) {
        while self.count(Origin::is_member) < members {
            // The last to drain has the most connections left.
            let back = self.running.iter_mut();
            let back = back.filter(|o| o.stage == Stage::Draining && !o.stopping && o.going.is_none());
            if let Some(origin) = back.max_by_key(|origin| origin.since) {
                origin.told.clear();
                let stage = match (origin.serving_at, origin.ready_at) {
                    (Some(_), _) => Stage::Serving,
                    (None, Some(_)) => Stage::Warming,
                    (None, None) => Stage::Booting,
                };
                origin.enter(stage, now, "needed again before it was drained", changes);
                continue;
            }
            let parked = self.running.iter_mut().filter(|origin| origin.is_parked() && origin.going.is_none());
            let Some(origin) = parked.max_by_key(|origin| origin.nearness()) else { return };
            self.parked += origin.parked_for(now);
            origin.join(now, changes);
        }
    }

    /// Nobody waits for a boot while another is warm: they change places.
    fn trade(&mut self, now: Timestamp, changes: &mut Vec<StageChange>) {
        loop {
            let warm = |origin: &Origin| origin.is_parked() && origin.warm && origin.going.is_none();
            let boots = |origin: &Origin| origin.is_member() && origin.stage == Stage::Booting;
            let warm = self.running.iter().position(warm);
            let boots = self.running.iter().enumerate().filter(|(_, origin)| boots(origin));
            let boots = boots.min_by_key(|(_, origin)| origin.loss()).map(|(at, _)| at);
            let (Some(warm), Some(boots)) = (warm, boots) else { return };
            self.running[boots].park(now, changes);
            self.parked += self.running[warm].parked_for(now);
            self.running[warm].join(now, changes);
        }
    }

    pub(super) fn count(&self, is: impl Fn(&Origin) -> bool) -> u32 {
        self.running.iter().filter(|origin| is(origin)).count() as u32
    }
}
