//! What a run came to: a table for people, one JSON object for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::driver::Tally;
use super::observer::{Decision, PluginCounts};
use crate::origin::Counts;

#[derive(Debug, Serialize)]
pub struct Summary {
    /// Sent by the load, to the pool and to the route that the edge answers itself.
    pub requests: u64,
    pub by_status: BTreeMap<u16, u64>,
    /// Refused by the edge, or shed by an origin over its capacity.
    pub rejects: u64,
    pub rejects_by: RejectsBy,
    /// Without any answer.
    pub unanswered: u64,
    /// From the planned instant to the end of the answer, of answers under 500.
    pub latency_ms: Latency,
    /// Of plugins.
    pub faults: u64,
    pub plugins: BTreeMap<String, Calls>,
    /// Those that changed how many origins there should be.
    pub decisions: Vec<Decided>,
    /// From launch to stop, over all origins.
    pub origin_seconds: f64,
    /// How long before the peak there were enough origins at their full share of traffic;
    /// negative if they came late, null if they never did.
    pub ready_before_peak_seconds: Option<f64>,
    /// When the peak began.
    pub peak_seconds: f64,
    /// Each origin's own counts.
    pub origins: Vec<Counts>,
    pub schedule: bool,
    /// Of load.
    pub seconds: f64,
    pub seed: u64,
}

#[derive(Debug, Serialize)]
pub struct RejectsBy {
    pub edge: u64,
    pub origins: u64,
}

#[derive(Debug, Serialize)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
}

#[derive(Debug, Serialize)]
pub struct Calls {
    pub calls: u64,
    pub callbacks: BTreeMap<String, u64>,
    pub faults: u64,
}

#[derive(Debug, Serialize)]
pub struct Decided {
    pub at_seconds: f64,
    pub from: u32,
    pub to: u32,
    pub line: String,
}

impl Summary {
    /// What the load and the edge know; the rest is filled in by who knows it.
    pub fn new(tally: &Tally, plugins: BTreeMap<String, PluginCounts>, decisions: &[(f64, Decision)]) -> Summary {
        let decided = |(at, decision): &(f64, Decision)| Decided {
            at_seconds: round(*at),
            from: decision.from,
            to: decision.to,
            line: decision.line.clone(),
        };
        let calls =
            |counts: PluginCounts| Calls { calls: counts.calls, callbacks: counts.callbacks, faults: counts.faults };
        Summary {
            requests: tally.sent,
            by_status: tally.by_status.clone(),
            rejects: tally.rejects(),
            rejects_by: RejectsBy { edge: tally.refused, origins: tally.shed },
            unanswered: tally.unanswered,
            latency_ms: Latency { p50: tally.latency_ms(0.5), p99: tally.latency_ms(0.99) },
            faults: plugins.values().map(|plugin| plugin.faults).sum(),
            plugins: plugins.into_iter().map(|(name, counts)| (name, calls(counts))).collect(),
            decisions: decisions.iter().map(decided).collect(),
            origin_seconds: 0.0,
            ready_before_peak_seconds: None,
            peak_seconds: 0.0,
            origins: Vec::new(),
            schedule: false,
            seconds: 0.0,
            seed: 0,
        }
    }

    pub fn table(&self) -> String {
        let mut classes: BTreeMap<u16, u64> = BTreeMap::new();
        for (status, count) in &self.by_status {
            *classes.entry(status / 100).or_default() += count;
        }
        let classes: Vec<String> = classes.iter().map(|(class, count)| format!("{class}xx {count}")).collect();
        let plugins: Vec<String> =
            self.plugins.iter().map(|(name, plugin)| format!("{name} {} calls", plugin.calls)).collect();
        let share = 100.0 * self.rejects as f64 / self.requests.max(1) as f64;
        let ready = match self.ready_before_peak_seconds {
            Some(ready) if ready >= 0.0 => format!("{ready:.1} s before the peak"),
            Some(late) => format!("{:.1} s after the peak had begun", -late),
            None => "never".into(),
        };
        let served: u64 = self.origins.iter().map(|origin| origin.served).sum();
        let rows = [
            ("requests", self.requests.to_string()),
            ("status", classes.join("   ")),
            ("no answer", self.unanswered.to_string()),
            (
                "rejects",
                format!(
                    "{} ({share:.1} %: {} by the edge, {} by origins over capacity)",
                    self.rejects, self.rejects_by.edge, self.rejects_by.origins
                ),
            ),
            ("latency", format!("p50 {:.1} ms   p99 {:.1} ms", self.latency_ms.p50, self.latency_ms.p99)),
            ("plugins", plugins.join("   ")),
            ("faults", self.faults.to_string()),
            ("decisions", self.decisions.len().to_string()),
            (
                "origins",
                format!(
                    "{:.0} origin-seconds, {} origins, {served} requests served",
                    self.origin_seconds,
                    self.origins.len()
                ),
            ),
            ("capacity", format!("ready {ready}")),
        ];
        let mut table = String::new();
        for (name, value) in rows {
            let _ = writeln!(table, "  {name:<10} {value}");
        }
        table
    }
}

/// Tenths are all that a reader can use; thousandths all that a program can.
pub fn round(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}

/// What the origins left in the folder when they ended.
pub fn origins(folder: &Path) -> anyhow::Result<Vec<Counts>> {
    let mut counts = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let text = std::fs::read(&path).with_context(|| path.display().to_string())?;
            counts.push(serde_json::from_slice::<Counts>(&text).with_context(|| path.display().to_string())?);
        }
    }
    counts.sort_by_key(|counts| counts.port);
    Ok(counts)
}
