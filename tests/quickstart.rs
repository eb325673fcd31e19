//! `forebay quickstart`, short, as a newcomer runs it: what its summary says is held against
//! what the origins themselves counted.

use std::sync::Mutex;

use harness::binary::forebay;
use serde_json::Value;

/// One at a time: each is a whole region in real time.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs it for 15 s on free ports and gives the summary.
fn quickstart(more: &[&str]) -> Value {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = harness::Folder::new();
    let mut child = std::process::Command::new(forebay());
    child.args(["quickstart", "--for", "15s", "--json", "--ports", "auto", "--dir"]).arg(folder.path()).args(more);
    let output = child.stdin(std::process::Stdio::null()).output().expect("quickstart runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}\n{errors}", output.status);
    let log = std::fs::read_to_string(folder.path().join("forebay.log")).unwrap_or_default();
    for line in log.lines().chain(errors.lines()) {
        assert!(!line.contains("panicked") && !line.contains("ERROR"), "{line}");
    }
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
        panic!("one JSON object on stdout, and nothing else: {e}\n{}", String::from_utf8_lossy(&output.stdout))
    })
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("not a number: {value}"))
}

fn by_status(summary: &Value, wanted: impl Fn(u16) -> bool) -> f64 {
    let statuses = summary["by_status"].as_object().expect("a map of statuses");
    statuses
        .iter()
        .filter(|(status, _)| wanted(status.parse().expect("a status")))
        .map(|(_, count)| number(count))
        .sum()
}

#[test]
fn what_quickstart_says_is_what_the_origins_counted() {
    let summary = quickstart(&[]);
    let requests = number(&summary["requests"]);
    assert!(requests > 100.0, "{summary:#}");
    assert_eq!(by_status(&summary, |_| true) + number(&summary["unanswered"]), requests, "each request has one end");
    assert_eq!(number(&summary["faults"]), 0.0);

    // What the origins served is what came back well, less what the edge answered by itself.
    let origins = summary["origins"].as_array().expect("a list of origins");
    assert!(origins.len() >= 2, "origins were added: {summary:#}");
    let sum = |key: &str| origins.iter().map(|origin| number(&origin[key])).sum::<f64>();
    let good = by_status(&summary, |status| status < 400);
    let (served, shed) = (sum("served"), sum("shed"));
    assert!(served > 0.0 && served <= good + number(&summary["unanswered"]), "served {served}, good answers {good}");
    assert!(good - served < requests * 0.2, "served {served}, good answers {good}: who answered the rest?");
    assert_eq!(number(&summary["rejects_by"]["origins"]), shed, "what origins shed is what the load saw of it");
    assert!(sum("warmup") > 0.0, "origins were warmed by real requests");

    // Both plugins saw real requests.
    let plugins = summary["plugins"].as_object().expect("a map of plugins");
    assert!(plugins.len() >= 2, "{plugins:?}");
    for (name, plugin) in plugins {
        assert!(number(&plugin["calls"]) >= served, "{name}: {plugin}");
    }
    assert!(!summary["decisions"].as_array().expect("a list").is_empty());
    assert!(number(&summary["origin_seconds"]) > 0.0);
    let (p50, p99) = (number(&summary["latency_ms"]["p50"]), number(&summary["latency_ms"]["p99"]));
    assert!(p50 > 0.0 && p50 <= p99, "p50 {p50}, p99 {p99}");
}

#[test]
fn the_schedule_has_capacity_ready_before_the_peak_and_reactive_alone_costs_rejects() {
    let (with, without) = (quickstart(&[]), quickstart(&["--no-schedule"]));
    assert!(number(&with["ready_before_peak_seconds"]) >= 0.0, "{with:#}");
    let late = without["ready_before_peak_seconds"].as_f64();
    assert!(late.is_none_or(|late| late < 0.0), "reactive scaling cannot be early: {without:#}");
    let (with, without) = (number(&with["rejects"]), number(&without["rejects"]));
    assert!(without > with * 1.5 + 10.0, "rejects: {with} with the schedule, {without} without");
}
