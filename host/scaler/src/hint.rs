//! What plugins ask for one pool, by who asked. Each report brings all that stands through its
//! edge, so nothing needs to be taken back: what is missing in the next one is gone, and what an
//! edge that fell silent asked for ends with its time.

use std::collections::BTreeMap;
use std::time::Duration;

use config::region::{HintKind, Hints as Rule};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wire::PoolReport;

use crate::decision::Clamp;
use crate::stamp;

/// A cost is of requests that were; it is shown a little longer than a report takes to come.
const COST_SHOWN: Duration = Duration::from_secs(3);

/// The hints of one pool that stand.
#[derive(Debug, Default)]
pub struct Hints {
    of_edge: BTreeMap<String, Vec<Hint>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Hint {
    pub plugin: String,
    pub kind: HintKind,
    /// Of a cost: requests a second.
    pub value: f64,
    pub until: Timestamp,
    /// When it is needed.
    pub due: Timestamp,
}

/// What plugins asked for when a decision was made, and what the pool's policy made of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hinted {
    /// Origins that the hints come to; `null`: none of them asks for any.
    pub want: Option<u32>,
    /// What was granted of that, where it is less.
    pub clamped: Option<Clamp>,
    pub asked: Vec<Asked>,
}

/// One hint of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    pub edge: String,
    pub plugin: String,
    pub kind: String,
    /// `demand` and `cost` in requests a second, `prewarm` in origins.
    pub value: f64,
    pub ttl_seconds: f64,
    /// Until it is needed; 0: now.
    pub due_seconds: f64,
    /// Why it counts for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl Hints {
    /// Takes what a report of `edge` says in place of what the one before it said. True if that is
    /// something else than before.
    pub fn take(&mut self, edge: &str, report: &PoolReport, period: Duration, rule: &Rule, now: Timestamp) -> bool {
        let standing = report.hints.iter().filter_map(|hint| {
            let ttl = Duration::from_millis(hint.ttl_ms).min(rule.longest);
            let due = stamp::later(now, Duration::from_millis(hint.due_ms));
            // A kind that is not known is of a newer edge.
            let kind = HintKind::parse(&hint.kind)?;
            Some(Hint { plugin: hint.plugin.clone(), kind, value: hint.value, until: stamp::later(now, ttl), due })
        });
        let costs = report.costs.iter().map(|(plugin, weight)| Hint {
            plugin: plugin.clone(),
            kind: HintKind::Cost,
            value: weight / period.as_secs_f64(),
            until: stamp::later(now, COST_SHOWN),
            due: now,
        });
        let told: Vec<Hint> = standing.chain(costs).collect();
        let before = self.of_edge.remove(edge).unwrap_or_default();
        let key = |hint: &Hint| (hint.plugin.clone(), hint.kind, hint.value.to_bits());
        let keys =
            |hints: &[Hint]| hints.iter().filter(|hint| hint.kind != HintKind::Cost).map(key).collect::<Vec<_>>();
        let changed = keys(&before) != keys(&told);
        if !told.is_empty() {
            self.of_edge.insert(edge.to_owned(), told);
        }
        changed
    }

    /// The pool takes none any more.
    pub fn clear(&mut self) {
        self.of_edge.clear();
    }

    pub fn forget(&mut self, now: Timestamp) {
        self.of_edge.retain(|_, hints| {
            hints.retain(|hint| hint.until > now);
            !hints.is_empty()
        });
    }

    /// Those that stand, by edge.
    pub fn standing(&self, now: Timestamp) -> impl Iterator<Item = (&str, &Hint)> {
        let all = self.of_edge.iter().flat_map(|(edge, hints)| hints.iter().map(move |hint| (edge.as_str(), hint)));
        all.filter(move |(_, hint)| hint.until > now)
    }

    /// When one of them will say something else though nothing is reported.
    pub fn next_change(&self, lead: Duration, now: Timestamp) -> Option<Timestamp> {
        let times = self.standing(now).filter(|(_, hint)| hint.kind != HintKind::Cost).flat_map(|(_, hint)| {
            let begins = (hint.kind == HintKind::Prewarm).then(|| stamp::earlier(hint.due, lead));
            begins.into_iter().chain([hint.until])
        });
        times.filter(|at| *at > now).min()
    }
}

impl Asked {
    pub fn new(edge: &str, hint: &Hint, rule: &Rule, now: Timestamp) -> Asked {
        let allowed = || rule.kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
        Asked {
            edge: edge.to_owned(),
            plugin: hint.plugin.clone(),
            kind: hint.kind.name().to_owned(),
            value: hint.value,
            ttl_seconds: stamp::seconds(stamp::age(hint.until, now)),
            due_seconds: stamp::seconds(stamp::age(hint.due, now)),
            refused: (!rule.kinds.contains(&hint.kind)).then(|| format!("the pool takes only {}", allowed())),
        }
    }

    /// What makes it another one than it was: not its time, which runs, nor the size of a cost,
    /// which is measured.
    pub fn key(&self) -> (&str, &str, &str, Option<u64>) {
        let value = (self.kind != HintKind::Cost.name()).then_some(self.value.to_bits());
        (&self.edge, &self.plugin, &self.kind, value)
    }
}
