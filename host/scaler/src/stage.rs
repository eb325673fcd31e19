//! The stages of a pool's origins: booting, warming, serving, draining, stopped.
//!
//! An origin serves when every fresh edge has warmed it, and stops when every fresh edge that
//! was told of the drain has nothing in flight there. Who leaves is chosen here and nowhere
//! else: booting ones first, then the youngest, which have the least to lose.
//!
//! - [`seen`]: what an actuator sees of one, and what is told of it;
//! - [`moves`]: how one goes from stage to stage;
//! - [`settle`]: who is a member, who waits in the warm pool, who leaves;
//! - [`launches`]: who is late or going, and what replaces them.

mod launches;
mod moves;
mod seen;
mod settle;

use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wire::{Member, Stage};

use crate::decision::Capacity;
use crate::edges::{EdgeId, Mark, PoolEdges};
use crate::lead::{SLOW_START_FROM, Sample};
use crate::stamp;
use crate::wall::Wall;
pub use launches::Replaced;
use launches::{Going, Launches};
pub use seen::{Gone, Observed, OriginView};

/// Who is seen for the first time so long after its launch was launched by an earlier run.
const WATCHED: Duration = Duration::from_secs(5);

/// `to` is `None` when the origin may be stopped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageChange {
    pub address: SocketAddr,
    pub from: Stage,
    pub to: Option<Stage>,
    pub because: String,
}

#[derive(Debug)]
struct Origin {
    address: SocketAddr,
    launched_at: Timestamp,
    ready_at: Option<Timestamp>,
    serving_at: Option<Timestamp>,
    stage: Stage,
    since: Timestamp,
    stopping: bool,
    /// Its boot was watched from the beginning: an aggregator that starts while one boots may see it ready late.
    watched: bool,
    /// Since when it is in the warm pool, or boots for it.
    parked: Option<Timestamp>,
    /// In the warm pool: it has booted, and every edge has warmed it.
    warm: bool,
    /// It was warm and joined then; `None` once every edge knows.
    joined: Option<Timestamp>,
    /// It boots for longer than nearly all before it.
    late: bool,
    /// Another may run in its place.
    replaced: bool,
    going: Option<Going>,
    unwell_since: Option<Timestamp>,
    /// Per edge, the report whose answer said that this origin drains, or has joined.
    told: BTreeMap<EdgeId, Mark>,
}

/// How long stages may last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StageRules {
    /// `None`: the pool warms nothing, an origin that is ready serves.
    pub warmup: Option<Duration>,
    /// An exchange in flight is waited for so long and no longer.
    pub drain: Duration,
    /// Whoever boots for so long is late; `None`: that is not known yet.
    pub late_after: Option<Duration>,
    /// Whoever is unhealthy at every edge for so long is going; `None`: nobody checks.
    pub unwell_after: Option<Duration>,
    /// Who has drained may be stopped: only by who acts.
    pub ends: bool,
}

/// The origins that the actuator runs for one pool.
#[derive(Debug, Default)]
pub struct Origins {
    running: Vec<Origin>,
    /// Origin-seconds of those that are gone.
    ended: Duration,
    /// Seconds in the warm pool of those that left it.
    parked: Duration,
    launches: Launches,
    /// A launch ended by itself before it was ready, since that was looked at.
    ended_early: bool,
    news: News,
}

/// What origins taught of how long they take, since it was asked for last.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct News {
    pub came: Vec<Sample>,
    /// Launches that ended by themselves before they were ready.
    pub failed: u32,
    /// Seconds from draining to gone.
    pub drained: Vec<f64>,
    /// Seconds from joining out of the warm pool until every edge knew.
    pub joined: Vec<f64>,
}

impl Origins {
    /// Takes what the actuator sees for true: new ones join, those it does not see are gone. `follows`: who is in the
    /// warm pool is another aggregator's to say.
    pub fn observe(&mut self, seen: &[Observed], follows: bool, now: Timestamp) -> Vec<Gone> {
        let mut gone = Vec::new();
        self.running.retain(|origin| {
            let stays = seen.iter().any(|o| o.address == origin.address && o.launched_at == origin.launched_at);
            if !stays {
                self.ended += stamp::age(now, origin.launched_at);
                if origin.stage == Stage::Draining && origin.ready_at.is_some() {
                    self.news.drained.push(stamp::seconds(stamp::age(now, origin.since)));
                } else if origin.ready_at.is_none() && !origin.stopping {
                    self.news.failed += 1;
                    // One that was late has been counted for that.
                    self.ended_early |= !origin.late;
                }
                self.parked += origin.parked_for(now);
                gone.push(Gone {
                    address: origin.address,
                    launched_at: origin.launched_at,
                    ready_at: origin.ready_at,
                    serving_at: origin.serving_at,
                    gone_at: now,
                    asked: origin.stopping,
                });
            }
            stays
        });
        for observed in seen {
            if let Some(origin) = self.running.iter_mut().find(|origin| origin.address == observed.address) {
                origin.ready_at = origin.ready_at.or(observed.ready_at);
                if let Some(because) = observed.leaving.as_ref().filter(|_| follows) {
                    origin.going = Some(Going::Told(because.clone()));
                }
                if observed.stopping && !origin.stopping {
                    (origin.stage, origin.since, origin.stopping) = (Stage::Draining, now, true);
                }
                if follows && origin.parked.is_some() != observed.parked {
                    origin.follow(observed.parked, now);
                }
                continue;
            }
            // An origin that served under an earlier run goes on serving: warming it again would
            // take it from the edges.
            let adopted = observed.serving_at.is_some() && observed.ready_at.is_some();
            let stage = match (observed.stopping, adopted) {
                (true, _) => Stage::Draining,
                // One of the warm pool that served before it was set aside is warm.
                (false, true) if observed.parked => Stage::Warming,
                (false, true) => Stage::Serving,
                (false, false) => Stage::Booting,
            };
            let parked = observed.parked && !observed.stopping;
            self.news.came.extend(observed.remembered());
            self.running.push(Origin {
                address: observed.address,
                launched_at: observed.launched_at,
                ready_at: observed.ready_at,
                serving_at: observed.serving_at,
                stage,
                since: if adopted { observed.serving_at.unwrap_or(now) } else { observed.launched_at },
                stopping: observed.stopping,
                watched: stamp::age(now, observed.launched_at) <= WATCHED,
                parked: parked.then_some(now),
                warm: parked && adopted,
                joined: None,
                late: false,
                replaced: false,
                going: observed.leaving.clone().map(Going::Told),
                unwell_since: None,
                told: BTreeMap::new(),
            });
        }
        gone
    }

    /// Moves each origin as far as what is known allows.
    pub fn advance(&mut self, rules: &StageRules, edges: &PoolEdges, now: Timestamp) -> Vec<StageChange> {
        let mut changes = Vec::new();
        for origin in &mut self.running {
            if origin.stage == Stage::Booting && origin.ready_at.is_some() {
                self.launches.came();
                match rules.warmup {
                    // Without a warm-up an edge has one all the same: a connection.
                    None if origin.parked.is_some() => origin.enter(Stage::Warming, now, "ready", &mut changes),
                    Some(_) => origin.enter(Stage::Warming, now, "ready", &mut changes),
                    None => {
                        self.news.came.extend(origin.came(now));
                        origin.enter(Stage::Serving, now, "ready; the pool has no warm-up", &mut changes);
                    }
                }
            }
            if origin.stage == Stage::Warming
                && !origin.warm
                && let Some(because) = origin.warm(rules, edges, now)
            {
                self.news.came.extend(origin.came(now));
                if origin.parked.is_some() {
                    origin.warm = true;
                    let because = format!("{because}; it waits in the warm pool");
                    origin.enter(Stage::Warming, now, &because, &mut changes);
                } else {
                    origin.enter(Stage::Serving, now, because, &mut changes);
                }
            }
            self.news.joined.extend(origin.known(edges, now));
            if rules.ends
                && origin.stage == Stage::Draining
                && !origin.stopping
                && let Some(because) = origin.drained(rules, edges, now)
            {
                origin.stop(because, &mut changes);
            }
        }
        self.watch(rules, edges, now);
        changes
    }

    pub fn take_news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }

    /// Whether all of them serve, or are warm in the warm pool, but for those that stop; no more than there shall be,
    /// and nobody waits who could join.
    pub fn rest(&self, members: u32, warm: u32) -> bool {
        let (mut serving, mut waiting, mut other) = (0, 0, 0);
        for origin in self.running.iter().filter(|origin| !origin.stopping) {
            match origin.stage {
                _ if origin.going.is_some() || origin.joined.is_some() => other += 1,
                Stage::Serving => serving += 1,
                Stage::Warming if origin.warm => waiting += 1,
                Stage::Booting | Stage::Warming | Stage::Draining => other += 1,
            }
        }
        other == 0 && serving <= members && waiting <= warm && (serving == members || waiting == 0)
    }

    /// An edge was answered with the present stages after the report `mark`.
    pub fn tell(&mut self, edge: EdgeId, mark: Mark) {
        let news = |origin: &&mut Origin| origin.stage == Stage::Draining || origin.joined.is_some();
        for origin in self.running.iter_mut().filter(news) {
            origin.told.entry(edge).or_insert(mark);
        }
    }

    /// Another may have the say from now on: who was to stop here stops if the actuator says so.
    pub fn recall(&mut self) {
        self.running.iter_mut().for_each(|origin| origin.stopping = false);
    }

    /// Those that may be stopped now.
    pub fn stop(&self) -> Vec<SocketAddr> {
        self.running.iter().filter(|origin| origin.stopping).map(|origin| origin.address).collect()
    }

    /// How many drain and still run for the exchanges in flight.
    pub fn draining(&self) -> u32 {
        self.running.iter().filter(|origin| origin.stage == Stage::Draining && !origin.stopping).count() as u32
    }

    /// How many run and were not told to stop.
    pub fn present(&self) -> u32 {
        self.running.iter().filter(|origin| !origin.stopping).count() as u32
    }

    /// Members: those that do not drain and are not in the warm pool.
    pub fn joined(&self) -> u32 {
        self.count(Origin::is_member)
    }

    /// Of those, who does not drain.
    pub fn at_hand(&self) -> u32 {
        self.running.iter().filter(|origin| origin.stage != Stage::Draining).count() as u32
    }

    /// How many run, were not told to stop and are not in the warm pool.
    pub fn staying(&self) -> usize {
        self.running.iter().filter(|origin| !origin.stopping && origin.parked.is_none()).count()
    }

    /// Those in the warm pool, and those that boot for it.
    pub fn parked(&self) -> Vec<SocketAddr> {
        self.running.iter().filter(|origin| origin.is_parked()).map(|origin| origin.address).collect()
    }

    /// Of those, who is not counted on: it boots for longer than nearly all before it, or is going.
    pub fn parked_in_vain(&self) -> u32 {
        let vain = |origin: &&Origin| origin.is_parked() && (origin.is_late() || origin.going.is_some());
        self.running.iter().filter(vain).count() as u32
    }

    /// Of the whole pool but for listed origins.
    pub fn capacity(&self) -> Capacity {
        let of_tier = |origin: &&Origin| origin.is_parked() && origin.stage != Stage::Booting;
        let stages = self.running.iter().filter(|origin| !of_tier(origin)).map(|origin| origin.stage);
        Capacity { warm: self.running.iter().filter(of_tier).count() as u32, ..Capacity::of(stages) }
    }

    /// What members can carry now, in origins: one in its slow start as much as edges give it, one that is going
    /// or not serving nothing.
    pub fn carries(&self, slow_start: Duration, now: Timestamp) -> f64 {
        let part = |origin: &Origin| {
            let age = origin.serving_at.map_or(Duration::ZERO, |_| stamp::age(now, origin.since));
            let grown = age.as_secs_f64() / slow_start.as_secs_f64().max(1e-9);
            (SLOW_START_FROM + (1.0 - SLOW_START_FROM) * grown).min(1.0)
        };
        let serving = self.running.iter().filter(|o| o.stage == Stage::Serving && o.going.is_none());
        serving.map(part).sum()
    }

    /// Those that will not serve, or not be gone, `lead` from now: on their way for longer than that already, or
    /// with a drain that may last so long.
    pub fn left(&self, rules: &StageRules, lead: Duration, now: Timestamp) -> Capacity {
        let late = |origin: &Origin| stamp::age(now, origin.launched_at) > lead;
        let drains =
            |origin: &Origin| !origin.stopping && stamp::later(origin.since, rules.drain) > stamp::later(now, lead);
        let stays = |origin: &&Origin| {
            origin.parked.is_none()
                && match origin.stage {
                    Stage::Booting | Stage::Warming => late(origin),
                    Stage::Draining => drains(origin),
                    Stage::Serving => false,
                }
        };
        Capacity::of(self.running.iter().filter(stays).map(|origin| origin.stage))
    }

    pub fn stages(&self) -> impl Iterator<Item = (SocketAddr, Stage)> {
        self.running.iter().map(|origin| (origin.address, origin.stage))
    }

    pub fn members(&self, now: Timestamp) -> impl Iterator<Item = Member> {
        self.running.iter().map(move |origin| Member {
            address: origin.address,
            stage: origin.stage,
            stage_age_ms: stamp::age(now, origin.since).as_millis() as u64,
        })
    }

    pub fn views(&self, now: Timestamp, wall: Wall) -> Vec<OriginView> {
        let view = |origin: &Origin| OriginView {
            address: origin.address,
            stage: origin.stage,
            stage_age_seconds: stamp::seconds(stamp::age(now, origin.since)),
            launched_at: wall.shows(origin.launched_at),
            ready_at: origin.ready_at.map(|at| wall.shows(at)),
            serving_at: origin.serving_at.map(|at| wall.shows(at)),
            stopping: origin.stopping,
            parked: origin.is_parked(),
            warm: origin.warm,
        };
        self.running.iter().map(view).collect()
    }

    /// From launch to stop, over all origins of this run of the aggregator.
    pub fn origin_seconds(&self, now: Timestamp) -> f64 {
        let alive: Duration = self.running.iter().map(|origin| stamp::age(now, origin.launched_at)).sum();
        stamp::seconds(self.ended + alive)
    }

    /// Of those, in the warm pool.
    pub fn parked_seconds(&self, now: Timestamp) -> f64 {
        let waiting: Duration = self.running.iter().map(|origin| origin.parked_for(now)).sum();
        stamp::seconds(self.parked + waiting)
    }

    /// When a time-out of a stage is due.
    pub fn next_change(&self, rules: &StageRules, now: Timestamp) -> Option<Timestamp> {
        let due = self.running.iter().filter_map(|origin| match origin.stage {
            Stage::Warming => rules.warmup.map(|warmup| stamp::later(origin.since, warmup)),
            Stage::Draining if !origin.stopping => Some(stamp::later(origin.since, rules.drain)),
            _ => None,
        });
        due.chain(self.next_launch_change(rules, now)).filter(|at| *at > now).min()
    }
}
