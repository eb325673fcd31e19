//! What was expected, held against what happened.

use config::spec::scale::Proposal;
use config::spec::{Answer, Answered, Asked, Expect, Line as WantedLine};
use http::HeaderMap;

use super::Finding;
use super::cast::Received;
use super::pieces::Whole;
use super::policy::Said;
use super::record::{Fault, Seen};
use super::series::Series;

/// The response as the client got it.
#[derive(Clone, Debug)]
pub struct Got {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Whole,
}

const ABSENT: &str = "absent";

/// Holds one value (or several of one name) against what it must be. `at` begins the findings.
pub fn value(at: String, wanted: &Answer, found: &[String], findings: &mut Vec<Finding>) {
    let shown = if found.is_empty() { ABSENT.to_owned() } else { found.join(", ") };
    let (holds, expected) = match wanted {
        Answer::Absent => (found.is_empty(), ABSENT.to_owned()),
        Answer::Is(text) => (found == [text.clone()], text.clone()),
        Answer::All(all) => (found == all.as_slice(), format!("{all:?}")),
        Answer::Contains(part) => (found.iter().any(|v| v.contains(part)), format!("with {part:?} in it")),
        Answer::Matches(pattern) => (found.iter().any(|v| pattern.is_match(v)), format!("that matches {pattern}")),
        Answer::Json(json) => (found.len() == 1 && same_json(json, &found[0]), json.clone()),
    };
    if !holds {
        findings.push(Finding::new(at, expected, shown));
    }
}

fn same_json(left: &str, right: &str) -> bool {
    match (serde_json::from_str::<serde_json::Value>(left), serde_json::from_str::<serde_json::Value>(right)) {
        (Ok(left), Ok(right)) => left == right,
        _ => false,
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn map(at: &str, wanted: &[(String, Answer)], found: &HeaderMap, findings: &mut Vec<Finding>) {
    for (name, answer) in wanted {
        let values: Vec<_> = found.get_all(name.as_str()).iter().map(|value| text(value.as_bytes())).collect();
        value(format!("{at} {name}"), answer, &values, findings);
    }
}

fn body(at: &str, wanted: &Option<Answer>, found: &Whole, findings: &mut Vec<Finding>) {
    let Some(wanted) = wanted else { return };
    let bytes = text(&found.bytes);
    let values = if bytes.is_empty() && matches!(wanted, Answer::Absent) { Vec::new() } else { vec![bytes] };
    value(format!("{at}body"), wanted, &values, findings);
    if let Some(cut) = &found.cut {
        findings.push(Finding::new(format!("{at}body"), "whole", format!("cut off: {cut}")));
    }
}

/// A request, of a callout or as the origin got it.
pub fn asked(at: &str, wanted: &Asked, found: &Received) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(method) = &wanted.method
        && *method != found.method
    {
        findings.push(Finding::new(format!("{at}method"), method.clone(), found.method.clone()));
    }
    if let Some(path) = &wanted.path {
        value(format!("{at}path"), path, std::slice::from_ref(&found.path), &mut findings);
    }
    map(&format!("{at}header"), &wanted.headers, &found.headers, &mut findings);
    body(at, &wanted.body, &found.body, &mut findings);
    map(&format!("{at}trailer"), &wanted.trailers, &found.body.trailers, &mut findings);
    findings
}

fn answered(wanted: &Answered, got: &Got) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(status) = wanted.status
        && status != got.status
    {
        let why = got.headers.get("x-forebay-reject").map(|why| format!(" ({})", text(why.as_bytes())));
        let found = format!("{}{}", got.status, why.unwrap_or_default());
        findings.push(Finding::new("response status", status.to_string(), found));
    }
    map("response header", &wanted.headers, &got.headers, &mut findings);
    body("response ", &wanted.body, &got.body, &mut findings);
    map("response trailer", &wanted.trailers, &got.body.trailers, &mut findings);
    findings
}

/// What client and origin saw of an exchange. `got` is what came back, or why nothing did.
pub fn exchange(expect: &Expect, received: &[Received], got: Option<&Result<Got, String>>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let last = received.last();
    match (&expect.request, last) {
        (Some(wanted), Some(received)) => findings.extend(asked("request ", wanted, received)),
        (Some(_), None) => findings.push(Finding::new("request", "reaches the origin", "the origin got none")),
        (None, _) => {}
    }
    match (expect.reaches_origin, last) {
        (Some(true), None) => findings.push(Finding::new("request", "reaches the origin", "the origin got none")),
        (Some(false), Some(received)) => {
            let found = format!("{} {}, in pool {}", received.method, received.path, received.pool);
            findings.push(Finding::new("request", "does not reach the origin", found));
        }
        _ => {}
    }
    match got {
        Some(Ok(got)) if expect.closed => {
            findings.push(Finding::new("response", "closed without one", format!("status {}", got.status)));
        }
        Some(Ok(got)) => findings.extend(expect.response.iter().flat_map(|wanted| answered(wanted, got))),
        Some(Err(why)) if !expect.closed => {
            findings.push(Finding::new("response", "a response", format!("closed without one: {why}")));
        }
        _ => {}
    }
    findings
}

/// What a policy said that was asked. Its fault is told with the others.
pub fn proposal(expect: &Expect, said: &Result<Said, &'static str>) -> Vec<Finding> {
    let said = match said {
        Ok(Ok(said)) => said,
        Ok(Err(_)) => return Vec::new(),
        Err(why) => return vec![Finding::new("autoscale", "a plugin that can be asked", *why)],
    };
    let shown = said.as_ref().map_or("none".to_owned(), |said| format!("{}: {}", said.origins, said.because));
    let (wanted, said) = match (&expect.proposal, said) {
        (None, _) | (Some(Proposal::None), None) => return Vec::new(),
        (Some(Proposal::None), Some(_)) => return vec![Finding::new("proposal", "none", shown)],
        (Some(Proposal::Of { .. }), None) => return vec![Finding::new("proposal", "one", shown)],
        (Some(Proposal::Of { origins, because }), Some(said)) => ((origins, because), said),
    };
    let mut findings = Vec::new();
    if let Some(origins) = wanted.0
        && *origins != said.origins
    {
        findings.push(Finding::new("proposal", origins.to_string(), shown));
    }
    if let Some(because) = wanted.1 {
        value("proposal's reason".to_owned(), because, std::slice::from_ref(&said.because), &mut findings);
    }
    findings
}

/// What the plugin logged, and how it failed.
pub fn seen(expect: &Expect, seen: &Seen) -> Vec<Finding> {
    let mut findings = Vec::new();
    for wanted in &expect.logs {
        let holds = |line: &super::record::Line| {
            line.text.contains(&wanted.contains) && wanted.level.is_none_or(|level| level == line.level)
        };
        if !seen.lines.iter().any(holds) {
            findings.push(Finding::new("log", line(wanted), lines(seen)));
        }
    }
    for unwanted in &expect.no_logs {
        if let Some(line) = seen.lines.iter().find(|line| line.text.contains(unwanted)) {
            findings.push(Finding::new("log", format!("no line with {unwanted:?} in it"), line.text.clone()));
        }
    }
    match &expect.fault {
        None => findings.extend(seen.faults.iter().map(|fault| Finding::new("fault", "none", describe(fault)))),
        Some(wanted) => {
            let holds = |fault: &Fault| {
                fault.verdict == wanted.verdict
                    && wanted.callback.as_ref().is_none_or(|callback| *callback == fault.callback)
                    && wanted.contains.as_ref().is_none_or(|part| fault.message.contains(part))
            };
            if seen.faults.is_empty() || !seen.faults.iter().all(holds) {
                let callback = wanted.callback.as_ref().map(|callback| format!(" in {callback}")).unwrap_or_default();
                let part = wanted.contains.as_ref().map(|part| format!(" with {part:?} in it")).unwrap_or_default();
                let found: Vec<_> = seen.faults.iter().filter(|fault| !holds(fault)).map(describe).collect();
                let found = if found.is_empty() { "none".to_owned() } else { found.join("\n") };
                findings.push(Finding::new("fault", format!("{}{callback}{part}", wanted.verdict), found));
            }
        }
    }
    findings
}

fn line(wanted: &WantedLine) -> String {
    let level = wanted.level.map(|level| format!("{level:?} ").to_lowercase()).unwrap_or_default();
    format!("a line {level}with {:?} in it", wanted.contains)
}

fn lines(seen: &Seen) -> String {
    let lines = seen.shown();
    if lines.is_empty() { "no line".to_owned() } else { lines.join("\n") }
}

fn describe(fault: &Fault) -> String {
    let trace = if fault.trace.is_empty() { String::new() } else { format!("\n{}", fault.trace) };
    format!("{} in {}: {}{trace}", fault.verdict, fault.callback, fault.message)
}

pub fn metrics(expect: &Expect, before: &Series, after: &Series) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, wanted) in &expect.metrics {
        let found = after.since(before, name);
        // Untouched and defined without being counted are the same to whoever reads it.
        if wanted.unwrap_or(0.0) != found.unwrap_or(0.0) {
            let shown = |value: Option<f64>| value.map_or_else(|| "never touched".to_owned(), |v| v.to_string());
            let moved = after.moved(before);
            let others = if moved.is_empty() { String::new() } else { format!(" (there are: {})", moved.join(", ")) };
            findings.push(Finding::new(format!("metric {name}"), shown(*wanted), shown(found) + &others));
        }
    }
    findings
}

/// What a store holds under each key that matters.
pub fn held(
    what: &str,
    wanted: &config::spec::Data<Answer>,
    read: impl Fn(&str, &str) -> Option<String>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (store, keys) in wanted {
        for (key, answer) in keys {
            let found: Vec<_> = read(store, key).into_iter().collect();
            value(format!("{what} {store}, key {key}"), answer, &found, &mut findings);
        }
    }
    findings
}
