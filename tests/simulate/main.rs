//! `forebay simulate`: what would have been, from recordings of every kind.

mod pages;
mod policies;
mod sources;
mod stdio;
mod traces;

use std::process::{Command, Output};

use harness::binary::forebay;

fn simulate(arguments: &[&str]) -> Output {
    Command::new(forebay()).arg("simulate").args(arguments).output().expect("forebay starts")
}

/// What it prints, where it succeeds and says nothing else.
#[track_caller]
fn said(arguments: &[&str]) -> String {
    let output = simulate(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    assert_eq!(errors, "", "{arguments:?}");
    String::from_utf8(output.stdout).expect("it is text")
}

/// The error with which it is refused.
#[track_caller]
fn refused(arguments: &[&str]) -> String {
    let output = simulate(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{arguments:?}: {errors}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    errors
}

#[track_caller]
fn json(arguments: &[&str]) -> serde_json::Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--out", "json"]).collect();
    serde_json::from_str(&said(&arguments)).expect("it is JSON")
}

/// The file of a trace that is in the repository.
fn recorded(name: &str) -> String {
    harness::binary::root().join("tests/traces").join(name).display().to_string()
}

/// A path as an argument.
fn named(path: &std::path::Path) -> &str {
    path.to_str().expect("temporary folders are named in text")
}

/// A region file with one pool `shop`: 2 to 12 origins, 50 requests a second each, and `more` keys of its scaling.
fn region(more: &str) -> String {
    format!(
        "aggregator: {{address: 127.0.0.1:9902, tick: 15s, stale_after: 20s}}\n\
         pools: [{{name: shop, slow_start: 30s, scaling: {{floor: 2, ceiling: 12, lead: 2m, reactive: \
         {{requests_per_origin: 50, headroom: 1.0}}, actuator: dry_run, {more}}}}}]\n"
    )
}

/// Two days from a Monday on by the minute: 100 requests a second, and 300 in the hour from noon.
fn two_days() -> String {
    let mut text = "time,rate\n".to_string();
    for minute in 0..2 * 1440 {
        let rate = if minute / 60 % 24 == 12 { 300 } else { 100 };
        text.push_str(&format!("{},{rate}\n", 1_772_409_600 + minute * 60));
    }
    text
}
