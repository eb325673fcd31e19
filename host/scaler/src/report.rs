//! What makes an edge's report impossible. A report is taken whole or not at all: one absurd
//! value says that the sender is broken, and then its other values cannot be trusted either.

use std::time::Duration;

use wire::{Hint, PoolReport, Report};

/// More than any edge counts in a second; past it a counter has wrapped or was never set.
const MOST_A_SECOND: f64 = 1e9;
/// More exchanges at once than an edge has sockets for.
const MOST_IN_FLIGHT: u64 = 100_000_000;
/// Longer than any time-out that a region file could sensibly give, in milliseconds.
const MOST_LATENCY_MS: f64 = 86_400_000.0;
const LONGEST_PERIOD: Duration = Duration::from_secs(60);
const LONGEST_NAME: usize = 256;
/// More hints for one pool than plugins give; past it names are being made up.
const MOST_HINTS: usize = 1024;
/// More than any hint asks for, of requests a second or of origins.
const MOST_HINTED: f64 = 1e9;
/// More steps than the scale of latencies has.
const MOST_LATENCIES: usize = 1024;
/// More signals than a pool may have.
const MOST_METRICS: usize = 64;
/// Past what whole numbers a float tells apart.
pub const MOST_METRIC: f64 = 1e15;

/// Why a report was not taken. It changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// One of a small set, for a metric's label.
    pub reason: &'static str,
    /// What was found and what is allowed.
    pub detail: String,
}

impl Refused {
    pub fn new(reason: &'static str, detail: impl Into<String>) -> Refused {
        Refused { reason, detail: detail.into() }
    }
}

/// Refuses what no edge can have seen.
pub fn check(report: &Report) -> Result<(), Refused> {
    if report.version != wire::VERSION {
        let detail = format!("version {}; this aggregator knows version {}", report.version, wire::VERSION);
        return Err(Refused::new("version", detail));
    }
    if report.edge.is_empty() || report.edge.len() > LONGEST_NAME {
        let detail = format!("edge: a name of {} bytes; allowed are 1 to {LONGEST_NAME}", report.edge.len());
        return Err(Refused::new("impossible", detail));
    }
    if report.period_ms == 0 || u128::from(report.period_ms) > LONGEST_PERIOD.as_millis() {
        let detail = format!("period_ms: {}; allowed are 1 to {}", report.period_ms, LONGEST_PERIOD.as_millis());
        return Err(Refused::new("impossible", detail));
    }
    let seconds = report.period_ms as f64 / 1000.0;
    for (name, pool) in &report.pools {
        check_pool(pool, seconds)
            .map_err(|(field, detail)| Refused::new("impossible", format!("pools.{name}.{field}: {detail}")))?;
    }
    Ok(())
}

fn check_pool(pool: &PoolReport, seconds: f64) -> Result<(), (String, String)> {
    let most = (MOST_A_SECOND * seconds.max(1.0)) as u64;
    let counts = [("requests", pool.requests), ("errors", pool.errors), ("latency_count", pool.latency_count)];
    for (field, count) in counts {
        if count > most {
            return Err((field.into(), format!("{count}; at most {most} in {seconds} s")));
        }
    }
    if pool.rejects > pool.requests {
        let detail = format!("{}; at most the {} requests that arrived", pool.rejects, pool.requests);
        return Err(("rejects".into(), detail));
    }
    if pool.in_flight > MOST_IN_FLIGHT {
        return Err(("in_flight".into(), format!("{}; at most {MOST_IN_FLIGHT}", pool.in_flight)));
    }
    // The sum may hold one longest exchange per measured answer.
    let most_sum = MOST_LATENCY_MS * pool.latency_count.max(1) as f64;
    for (field, value, most) in
        [("latency_sum_ms", pool.latency_sum_ms, most_sum), ("latency_p99_ms", pool.latency_p99_ms, MOST_LATENCY_MS)]
    {
        if !value.is_finite() || value < 0.0 || value > most {
            return Err((field.into(), format!("{value}; allowed are 0 to {most}")));
        }
    }
    check_hints(pool, most)?;
    check_signals(pool, most)?;
    for (address, origin) in &pool.origins {
        if origin.requests > most || origin.in_flight > MOST_IN_FLIGHT {
            let detail = format!("requests {}, in_flight {}: too many", origin.requests, origin.in_flight);
            return Err((format!("origins.{address}"), detail));
        }
    }
    Ok(())
}

fn check_signals(pool: &PoolReport, most: u64) -> Result<(), (String, String)> {
    let steps = pool.latencies.len();
    if steps > MOST_LATENCIES || pool.latencies.iter().any(|(_, count)| *count > most) {
        let detail = format!("{steps} steps; allowed are {MOST_LATENCIES}, with up to {most} answers each");
        return Err(("latencies".into(), detail));
    }
    if pool.metrics.len() > MOST_METRICS {
        return Err(("metrics".into(), format!("{}; at most {MOST_METRICS}", pool.metrics.len())));
    }
    for (name, metric) in &pool.metrics {
        let values = metric.added.into_iter().chain(metric.now);
        if let Some(value) = values.into_iter().find(|value| !(0.0..=MOST_METRIC).contains(value)) {
            return Err((format!("metrics.{name}"), format!("{value}; allowed are 0 to {MOST_METRIC}")));
        }
    }
    Ok(())
}

fn check_hints(pool: &PoolReport, most: u64) -> Result<(), (String, String)> {
    let count = pool.hints.len().max(pool.costs.len());
    if count > MOST_HINTS {
        return Err(("hints".into(), format!("{count}; at most {MOST_HINTS}")));
    }
    for Hint { plugin, kind, value, .. } in &pool.hints {
        if plugin.len() > LONGEST_NAME || kind.len() > LONGEST_NAME {
            return Err(("hints".into(), format!("a name of more than {LONGEST_NAME} bytes")));
        }
        if !(0.0..=MOST_HINTED).contains(value) {
            return Err(("hints".into(), format!("{kind} {value}; allowed are 0 to {MOST_HINTED}")));
        }
    }
    // A request counts for a thousand at most; it may have come in an earlier period than its cost.
    let most = most as f64 * 1e3;
    for (plugin, cost) in &pool.costs {
        if plugin.len() > LONGEST_NAME || !(-most..=most).contains(cost) {
            return Err(("costs".into(), format!("{cost}; allowed are {} to {most}", -most)));
        }
    }
    Ok(())
}
