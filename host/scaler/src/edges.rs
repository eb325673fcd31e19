//! Who reported, when, and what is a repeat. An edge that fell silent is `missing` for a while:
//! its share of the load is unknown, not zero. One that said farewell is neither: from then on it sees
//! nothing, and that is known.

pub mod doubt;

use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use wire::{OriginReport, PoolReport, Report};

use crate::report::Refused;
use crate::stamp;
use doubt::{Doubt, Doubts};

/// How long something stands in for a silent edge ([`crate::missing`]). Past it the edge is taken for gone.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(900);
/// How long one that said farewell is remembered: longer than reports of it may be repeated, and short, as edges may have
/// another name after each start.
const LEFT_FOR: Duration = Duration::from_secs(60);
/// Means of what an edge brings fade with these times, in seconds.
const LAST: f64 = 5.0;
const LATELY: f64 = 300.0;
/// More edges than a region has; past it names are being made up.
const MOST_EDGES: usize = 4096;

/// An edge, as a small number: series keep one per share of each second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EdgeId(pub u32);

/// A run of an edge and the report in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    pub boot: u64,
    pub seq: u64,
}

#[derive(Debug)]
pub struct Edge {
    pub name: String,
    pub id: EdgeId,
    pub mark: Mark,
    /// When its last report arrived.
    pub at: Timestamp,
    /// That report was its last, and said so.
    left: bool,
    /// What that report said, by the number of the pool.
    pools: Vec<Option<Latest>>,
}

#[derive(Clone, Debug)]
pub struct Latest {
    pub in_flight: u64,
    pub origins: BTreeMap<SocketAddr, OriginReport>,
    /// Requests a second, over some seconds.
    pub last: f64,
    /// The same over some minutes.
    pub lately: f64,
    /// Seconds that these means know.
    known: f64,
}

impl Latest {
    /// Of one more report.
    fn after(before: Option<&Latest>, pool: PoolReport, seconds: f64) -> Latest {
        let rate = pool.requests as f64 / seconds;
        let (last, lately, known) = before.map_or((rate, rate, 0.0), |old| (old.last, old.lately, old.known));
        let known = known + seconds;
        // Of an edge that is known for less than that it is the plain mean: its first report weighs as much as the others,
        // and not as all that might have been before it.
        let mean = |mean: f64, over: f64| {
            let gain = (1.0 - (-seconds / over).exp()) / (1.0 - (-known / over).exp());
            mean + (rate - mean) * gain
        };
        let (last, lately) = (mean(last, LAST), mean(lately, LATELY));
        Latest { in_flight: pool.in_flight, origins: pool.origins, last, lately, known }
    }
}

#[derive(Debug, Default)]
pub struct Edges {
    by_name: BTreeMap<String, Edge>,
    /// The numbers of pools: each edge is asked for each pool in each decision.
    pools: BTreeMap<String, usize>,
    doubts: Doubts,
    ids: u32,
    forgot_at: Option<Timestamp>,
}

impl Edges {
    /// Takes note of a checked report. `None`: it, or a later one, was here before. What it says is for [`Edges::keep`].
    pub fn note(&mut self, report: &Report, now: Timestamp, stale: Duration) -> Result<Option<EdgeId>, Refused> {
        self.forget(now, stale);
        let mark = Mark { boot: report.boot, seq: report.seq };
        if let Some(edge) = self.by_name.get(&report.edge) {
            // A run that began earlier is an old one, unless the newer fell silent: then the
            // machine's clock was set back between the two.
            let old_run = mark.boot < edge.mark.boot && stamp::age(now, edge.at) <= stale;
            if old_run || (mark.boot == edge.mark.boot && mark.seq <= edge.mark.seq) {
                return Ok(None);
            }
        }
        self.doubts.judge(report, mark, stale, now)?;
        if let Some(edge) = self.by_name.get_mut(&report.edge) {
            (edge.mark, edge.at, edge.left) = (mark, now, report.farewell);
            return Ok(Some(edge.id));
        }
        if self.by_name.len() >= MOST_EDGES {
            return Err(Refused::new("edges", format!("{MOST_EDGES} edges report already")));
        }
        let id = EdgeId(self.ids);
        self.ids += 1;
        let edge = Edge { name: report.edge.clone(), id, mark, at: now, left: report.farewell, pools: Vec::new() };
        self.by_name.insert(report.edge.clone(), edge);
        Ok(Some(id))
    }

    /// Keeps what a report says that was taken note of, of the pools that are scaled here.
    pub fn keep(&mut self, report: Report, scaled: impl Fn(&str) -> bool, now: Timestamp) {
        let Some(edge) = self.by_name.get_mut(&report.edge) else { return };
        let seconds = report.period_ms as f64 / 1000.0;
        let mut before = std::mem::take(&mut edge.pools);
        edge.pools.resize_with(before.len(), || None);
        for (name, pool) in report.pools {
            if !scaled(&name) {
                continue;
            }
            self.doubts.believe(&name, pool.requests as f64 / seconds, now);
            let number = match self.pools.get(&name) {
                Some(number) => *number,
                None => {
                    let number = self.pools.len();
                    self.pools.insert(name, number);
                    number
                }
            };
            let before = before.get_mut(number).and_then(Option::take);
            if edge.pools.len() <= number {
                edge.pools.resize_with(number + 1, || None);
            }
            edge.pools[number] = Some(Latest::after(before.as_ref(), pool, seconds));
        }
    }

    /// Those that were silent for too long. Looking at each of them for each report would be a cost of its own.
    fn forget(&mut self, now: Timestamp, stale: Duration) {
        let soon = self.forgot_at.is_some_and(|at| at <= now && stamp::age(now, at) < Duration::from_secs(1));
        if !soon || self.by_name.len() >= MOST_EDGES {
            self.by_name.retain(|_, edge| stamp::age(now, edge.at) <= edge.kept(stale));
            self.forgot_at = Some(now);
        }
    }

    pub fn get(&self, name: &str) -> Option<&Edge> {
        self.by_name.get(name)
    }

    /// What the pool's edges say now.
    pub fn of_pool<'a>(&'a self, pool: &'a str, now: Timestamp, stale: Duration) -> PoolEdges<'a> {
        let mut edges = PoolEdges { stale, ..PoolEdges::default() };
        edges.doubted = self.doubts.of_pool(pool, now).collect();
        let Some(number) = self.pools.get(pool) else { return edges };
        for edge in self.by_name.values() {
            let Some(latest) = edge.pools.get(*number).and_then(Option::as_ref) else { continue };
            let age = stamp::age(now, edge.at);
            if age > edge.kept(stale) {
                continue;
            }
            if edge.left || age <= stale {
                edges.ids.insert(edge.id);
            }
            match edge.left {
                true => edges.left.push(edge),
                false if age <= stale => edges.fresh.push((edge, latest)),
                false => edges.missing.push((edge, latest)),
            }
        }
        edges
    }

    /// When the next edge of any pool turns stale.
    pub fn next_stale(&self, now: Timestamp, stale: Duration) -> Option<Timestamp> {
        let edges = self.by_name.values().filter(|edge| !edge.left);
        edges.map(|edge| stamp::later(edge.at, stale)).filter(|at| *at > now).min()
    }

    /// How many are fresh, of any pool.
    pub fn fresh(&self, now: Timestamp, stale: Duration) -> usize {
        self.by_name.values().filter(|edge| !edge.left && stamp::age(now, edge.at) <= stale).count()
    }
}

impl Edge {
    fn kept(&self, stale: Duration) -> Duration {
        if self.left { LEFT_FOR } else { stale + FORGOTTEN_AFTER }
    }
}

/// The edges whose last report named a pool.
#[derive(Debug, Default)]
pub struct PoolEdges<'a> {
    /// A report older than this is no fresh one.
    pub stale: Duration,
    pub fresh: Vec<(&'a Edge, &'a Latest)>,
    /// Stale, and not yet taken for gone.
    pub missing: Vec<(&'a Edge, &'a Latest)>,
    /// Who said farewell lately. Nothing is expected of them.
    pub left: Vec<&'a Edge>,
    /// Whose reports were not believed lately.
    pub doubted: Vec<(&'a str, &'a Doubt)>,
    /// Of the fresh ones, and of those that left.
    ids: Ids,
}

impl PoolEdges<'_> {
    /// Whether what it saw of the last seconds counts as it stands: it is fresh, or has left, and what it saw
    /// before that was no less real.
    pub fn counts(&self, id: EdgeId) -> bool {
        self.ids.has(id)
    }
}

/// A set of edges, a bit for each: it is asked for each edge of each pool in each decision.
#[derive(Debug, Default)]
struct Ids(Vec<u64>);

impl Ids {
    fn insert(&mut self, id: EdgeId) {
        let place = id.0 as usize / 64;
        if self.0.len() <= place {
            self.0.resize(place + 1, 0);
        }
        self.0[place] |= 1 << (id.0 % 64);
    }

    fn has(&self, id: EdgeId) -> bool {
        self.0.get(id.0 as usize / 64).is_some_and(|bits| bits >> (id.0 % 64) & 1 == 1)
    }
}
