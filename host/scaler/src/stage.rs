//! The stages of a pool's origins: booting, warming, serving, draining, stopped.
//!
//! An origin serves when every fresh edge has warmed it, and stops when every fresh edge that
//! was told of the drain has nothing in flight there. Who leaves is chosen here and nowhere
//! else: booting ones first, then the youngest, which have the least to lose.

use core::net::SocketAddr;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wire::{Member, Stage};

use crate::decision::Capacity;
use crate::edges::{EdgeId, Mark, PoolEdges};
use crate::lead::Sample;
use crate::stamp;
use crate::wall::Wall;

/// Who is seen for the first time so long after its launch was launched by an earlier run.
const WATCHED: Duration = Duration::from_secs(5);

/// What an actuator sees of one origin that runs. Its instants are of the clock that `now` is of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    pub address: SocketAddr,
    #[serde(with = "crate::stamp")]
    pub launched_at: Timestamp,
    /// When it first answered its ready path.
    #[serde(with = "crate::stamp::option")]
    pub ready_at: Option<Timestamp>,
    /// When it first served, as an earlier run of the aggregator noted.
    #[serde(with = "crate::stamp::option")]
    pub serving_at: Option<Timestamp>,
    /// It was told to stop, by this run of the aggregator or an earlier one.
    #[serde(default)]
    pub stopping: bool,
}

/// An origin with its stage. Its instants are the wall clock's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OriginView {
    pub address: SocketAddr,
    pub stage: Stage,
    pub stage_age_seconds: f64,
    #[serde(with = "crate::stamp")]
    pub launched_at: Timestamp,
    #[serde(with = "crate::stamp::option")]
    pub ready_at: Option<Timestamp>,
    #[serde(with = "crate::stamp::option")]
    pub serving_at: Option<Timestamp>,
    /// The actuator was told to stop it.
    pub stopping: bool,
}

/// An origin that ran and does not any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gone {
    pub address: SocketAddr,
    #[serde(with = "crate::stamp")]
    pub launched_at: Timestamp,
    #[serde(with = "crate::stamp::option")]
    pub ready_at: Option<Timestamp>,
    #[serde(with = "crate::stamp::option")]
    pub serving_at: Option<Timestamp>,
    #[serde(with = "crate::stamp")]
    pub gone_at: Timestamp,
    /// It was to stop; otherwise it crashed or never became ready.
    pub asked: bool,
}

impl Gone {
    /// With the instants that the wall clock shows.
    pub fn by(&self, wall: Wall) -> Gone {
        Gone {
            address: self.address,
            launched_at: wall.shows(self.launched_at),
            ready_at: self.ready_at.map(|at| wall.shows(at)),
            serving_at: self.serving_at.map(|at| wall.shows(at)),
            gone_at: wall.shows(self.gone_at),
            asked: self.asked,
        }
    }
}

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
    /// Per edge, the report whose answer said that this origin drains.
    told: BTreeMap<EdgeId, Mark>,
}

/// How long stages may last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StageRules {
    /// `None`: the pool warms nothing, an origin that is ready serves.
    pub warmup: Option<Duration>,
    /// An exchange in flight is waited for so long and no longer.
    pub drain: Duration,
}

/// The origins that the actuator runs for one pool.
#[derive(Debug, Default)]
pub struct Origins {
    running: Vec<Origin>,
    /// Origin-seconds of those that are gone.
    ended: Duration,
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
}

impl Origins {
    /// Takes what the actuator sees for true: new ones join, those it does not see are gone.
    pub fn observe(&mut self, seen: &[Observed], now: Timestamp) -> Vec<Gone> {
        let mut gone = Vec::new();
        self.running.retain(|origin| {
            let stays = seen.iter().any(|o| o.address == origin.address && o.launched_at == origin.launched_at);
            if !stays {
                self.ended += stamp::age(now, origin.launched_at);
                if origin.stage == Stage::Draining && origin.ready_at.is_some() {
                    self.news.drained.push(stamp::seconds(stamp::age(now, origin.since)));
                } else if origin.ready_at.is_none() && !origin.stopping {
                    self.news.failed += 1;
                }
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
                continue;
            }
            // An origin that served under an earlier run goes on serving: warming it again would
            // take it from the edges.
            let adopted = observed.serving_at.is_some() && observed.ready_at.is_some();
            let stage = match (observed.stopping, adopted) {
                (true, _) => Stage::Draining,
                (false, true) => Stage::Serving,
                (false, false) => Stage::Booting,
            };
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
                match rules.warmup {
                    Some(_) => origin.enter(Stage::Warming, now, "ready", &mut changes),
                    None => {
                        self.news.came.extend(origin.came(now));
                        origin.enter(Stage::Serving, now, "ready; the pool has no warm-up", &mut changes);
                    }
                }
            }
            if origin.stage == Stage::Warming
                && let Some(because) = origin.warm(rules, edges, now)
            {
                self.news.came.extend(origin.came(now));
                origin.enter(Stage::Serving, now, because, &mut changes);
            }
            if origin.stage == Stage::Draining
                && !origin.stopping
                && let Some(because) = origin.drained(rules, edges, now)
            {
                origin.stop(because, &mut changes);
            }
        }
        changes
    }

    pub fn take_news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }

    /// Chooses who leaves, or stays after all, so that `count` origins are not leaving. Where too
    /// few run nothing is chosen: the actuator is asked for more.
    pub fn settle(&mut self, count: u32, now: Timestamp) -> Vec<StageChange> {
        let mut changes = Vec::new();
        let mut staying = self.running.iter().filter(|origin| origin.stage != Stage::Draining).count() as u32;
        while staying < count {
            // The last to drain has the most connections left.
            let back = self.running.iter_mut().filter(|o| o.stage == Stage::Draining && !o.stopping);
            let Some(origin) = back.max_by_key(|origin| origin.since) else { break };
            origin.told.clear();
            let stage = if origin.serving_at.is_some() { Stage::Serving } else { Stage::Warming };
            origin.enter(stage, now, "needed again before it was drained", &mut changes);
            staying += 1;
        }
        while staying > count {
            let candidates = self.running.iter_mut().filter(|origin| origin.stage != Stage::Draining);
            let first = candidates.min_by_key(|o| (o.stage, Reverse(o.launched_at), Reverse(o.address)));
            let Some(origin) = first else { break };
            let booting = origin.stage == Stage::Booting;
            origin.enter(Stage::Draining, now, "not needed", &mut changes);
            if booting {
                origin.stop("no edge uses it yet", &mut changes);
            }
            staying -= 1;
        }
        changes
    }

    /// Whether all of them serve but for those that stop, and no more than there shall be.
    pub fn rest(&self, count: u32) -> bool {
        let (mut serving, mut other) = (0, 0);
        for origin in self.running.iter().filter(|origin| !origin.stopping) {
            match origin.stage {
                Stage::Serving => serving += 1,
                Stage::Booting | Stage::Warming | Stage::Draining => other += 1,
            }
        }
        other == 0 && serving <= count
    }

    /// An edge was answered with the present stages after the report `mark`.
    pub fn tell(&mut self, edge: EdgeId, mark: Mark) {
        for origin in self.running.iter_mut().filter(|origin| origin.stage == Stage::Draining) {
            origin.told.entry(edge).or_insert(mark);
        }
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
    pub fn staying(&self) -> usize {
        self.running.iter().filter(|origin| !origin.stopping).count()
    }

    /// Those that will not serve, or not be gone, `lead` from now: on their way for longer than that already, or
    /// with a drain that may last so long.
    pub fn left(&self, rules: &StageRules, lead: Duration, now: Timestamp) -> Capacity {
        let late = |origin: &Origin| stamp::age(now, origin.launched_at) > lead;
        let drains =
            |origin: &Origin| !origin.stopping && stamp::later(origin.since, rules.drain) > stamp::later(now, lead);
        let stays = |origin: &&Origin| match origin.stage {
            Stage::Booting | Stage::Warming => late(origin),
            Stage::Draining => drains(origin),
            Stage::Serving => false,
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
        };
        self.running.iter().map(view).collect()
    }

    /// From launch to stop, over all origins of this run of the aggregator.
    pub fn origin_seconds(&self, now: Timestamp) -> f64 {
        let alive: Duration = self.running.iter().map(|origin| stamp::age(now, origin.launched_at)).sum();
        stamp::seconds(self.ended + alive)
    }

    /// When a time-out of a stage is due.
    pub fn next_change(&self, rules: &StageRules, now: Timestamp) -> Option<Timestamp> {
        let due = self.running.iter().filter_map(|origin| match origin.stage {
            Stage::Warming => rules.warmup.map(|warmup| stamp::later(origin.since, warmup)),
            Stage::Draining if !origin.stopping => Some(stamp::later(origin.since, rules.drain)),
            _ => None,
        });
        due.filter(|at| *at > now).min()
    }
}

impl Observed {
    /// How long it took, as an earlier run wrote down.
    fn remembered(&self) -> Option<Sample> {
        let (ready, serving) = (self.ready_at?, self.serving_at?);
        let seconds = |to, from| stamp::seconds(stamp::age(to, from));
        let (boot, warm_up) = (seconds(ready, self.launched_at), seconds(serving, ready));
        Some(Sample { address: self.address, launched_at: self.launched_at, boot, warm_up })
    }
}

impl Origin {
    /// It is about to serve: how long it took, if it never served before.
    fn came(&self, now: Timestamp) -> Option<Sample> {
        let ready = self.ready_at.filter(|_| self.watched && self.serving_at.is_none())?;
        let boot = stamp::seconds(stamp::age(ready, self.launched_at));
        // One that is ready and serves at once was never in the stage between.
        let warm_up = if self.stage == Stage::Warming { stamp::seconds(stamp::age(now, self.since)) } else { 0.0 };
        Some(Sample { address: self.address, launched_at: self.launched_at, boot, warm_up })
    }

    fn enter(&mut self, stage: Stage, now: Timestamp, because: &str, changes: &mut Vec<StageChange>) {
        changes.push(StageChange {
            address: self.address,
            from: self.stage,
            to: Some(stage),
            because: because.to_string(),
        });
        (self.stage, self.since) = (stage, now);
        if stage == Stage::Serving {
            self.serving_at = self.serving_at.or(Some(now));
        }
    }

    fn stop(&mut self, because: &str, changes: &mut Vec<StageChange>) {
        changes.push(StageChange { address: self.address, from: self.stage, to: None, because: because.to_string() });
        self.stopping = true;
    }

    fn warm(&self, rules: &StageRules, edges: &PoolEdges, now: Timestamp) -> Option<&'static str> {
        let warmed = |latest: &crate::edges::Latest| latest.origins.get(&self.address).is_some_and(|o| o.warmed);
        if !edges.fresh.is_empty() && edges.fresh.iter().all(|(_, latest)| warmed(latest)) {
            return Some("warmed by every edge");
        }
        let over = rules.warmup.is_none_or(|warmup| stamp::age(now, self.since) >= warmup);
        over.then_some("warm-up timed out")
    }

    fn drained(&self, rules: &StageRules, edges: &PoolEdges, now: Timestamp) -> Option<&'static str> {
        // Silent edges may still be sending here: they were never told. No data, no stop.
        if edges.fresh.is_empty() && !edges.missing.is_empty() {
            return None;
        }
        let idle = |(edge, latest): &(&crate::edges::Edge, &crate::edges::Latest)| {
            self.told.get(&edge.id).is_some_and(|told| *told < edge.mark)
                && latest.origins.get(&self.address).is_none_or(|origin| origin.in_flight == 0)
        };
        if !edges.fresh.is_empty() && edges.missing.is_empty() && edges.fresh.iter().all(idle) {
            return Some("drained by every edge");
        }
        (stamp::age(now, self.since) >= rules.drain).then_some("drain timed out")
    }
}
