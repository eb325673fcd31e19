//! Recorded demand as a file, as text or gzip. Its first line says what it is:
//!
//! - CSV with two columns: `t_seconds` (since it began), `time` or `timestamp` (RFC 3339, or seconds since the
//!   epoch), and `value` or `count` (requests in the row), or `rate` or `requests_per_second`;
//! - JSON lines with the same names as keys;
//! - a pool's history as an aggregator gives it, CSV or JSON.

use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use jiff::Timestamp;
use scaler::{Capacity, Point};
use serde::Deserialize;
use serde_json::Value;

use super::recorded::{Recorded, Row, Unit};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const HISTORY: &str = "time,requests,rejects,errors,cost,covered,booting,warming,serving,draining";
const TIMES: [&str; 3] = ["t_seconds", "time", "timestamp"];
const VALUES: [(&str, Unit); 4] =
    [("value", Unit::Count), ("count", Unit::Count), ("rate", Unit::Rate), ("requests_per_second", Unit::Rate)];
/// Unpacked: ten years by the minute are some 100 MB.
const MOST_BYTES: u64 = 256 << 20;
/// A point of a history of which less was reported is a gap.
const COVERED: f64 = 0.5;

/// What is recorded, or what is wrong with the file.
pub fn read(file: &Path) -> Result<Recorded, String> {
    let bytes = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    parse(&name(file), &bytes).map_err(|(line, problem)| match line {
        Some(line) => format!("{}:{line}: {problem}", file.display()),
        None => format!("{}: {problem}", file.display()),
    })
}

fn name(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let file = file.strip_suffix(".gz").unwrap_or(&file);
    let endings = [".csv", ".jsonl", ".json"];
    endings.iter().find_map(|ending| file.strip_suffix(ending)).unwrap_or(file).to_string()
}

type Problem = (Option<usize>, String);

fn parse(name: &str, bytes: &[u8]) -> Result<Recorded, Problem> {
    let text = if bytes.starts_with(&GZIP) {
        let mut text = Vec::new();
        let read = MultiGzDecoder::new(bytes).take(MOST_BYTES + 1).read_to_end(&mut text);
        read.map_err(|error| (None, format!("looks like gzip, but: {error}")))?;
        text
    } else {
        bytes.to_vec()
    };
    if text.len() as u64 > MOST_BYTES {
        return Err((None, format!("more than {} MiB of text", MOST_BYTES >> 20)));
    }
    let text = String::from_utf8(text).map_err(|_| (None, "neither text nor gzip".to_string()))?;
    if text.trim_start().starts_with('{') {
        return match serde_json::from_str::<Value>(&text) {
            Ok(value) if value.get("points").is_some() => history(name, text.as_bytes()).map_err(|why| (None, why)),
            _ => json_lines(name, &text),
        };
    }
    csv(name, &text)
}

#[derive(Deserialize)]
struct History {
    step_seconds: f64,
    points: Vec<Point>,
}

/// A pool's history, as the aggregator answers it in JSON.
pub fn history(name: &str, body: &[u8]) -> Result<Recorded, String> {
    let History { step_seconds, points } =
        serde_json::from_slice(body).map_err(|error| format!("is no history of a pool: {error}"))?;
    let known = points.iter().filter(|point| point.covered >= COVERED);
    let row = |point: &Point| Row { at: point.second() as f64, value: point.requests, ran: Some(point.origins) };
    let rows: Vec<Row> = known.map(row).collect();
    if rows.is_empty() {
        return Err("the history has no point in that time".to_string());
    }
    Recorded::of(name, &rows, Unit::Rate, Some(step_seconds), true).map_err(|(_, problem)| problem)
}

fn csv(name: &str, text: &str) -> Result<Recorded, Problem> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let Some((at, header)) = lines.next() else {
        return Err((None, "is empty: a line such as `t_seconds,value` comes first".to_string()));
    };
    if header.trim_end() == HISTORY {
        return csv_history(name, lines);
    }
    let columns: Vec<&str> = header.trim_end().split(',').map(str::trim).collect();
    let (time, unit) = match columns[..] {
        [time, value] => known(time, value),
        _ => None,
    }
    .ok_or_else(|| {
        (Some(at + 1), format!("the first line is `t_seconds,value`, not `{}`; {ALLOWED}", short(header)))
    })?;
    let mut rows = Vec::new();
    let mut places = Vec::new();
    for (at, line) in lines {
        let line = line.trim_end();
        let (then, value) = line.split_once(',').ok_or_else(|| (Some(at + 1), time_and_number(line)))?;
        let then = instant(time, then.trim()).ok_or_else(|| (Some(at + 1), time_and_number(line)))?;
        // An empty cell is a gap.
        if value.trim().is_empty() {
            continue;
        }
        let value = number(value.trim()).ok_or_else(|| (Some(at + 1), time_and_number(line)))?;
        rows.push(Row { at: then, value, ran: None });
        places.push(at + 1);
    }
    finish(name, &rows, &places, unit, time)
}

const ALLOWED: &str = "also `time` or `timestamp` first, and `count`, `rate` or `requests_per_second` second, or the \
                       history of a pool";

fn known(time: &str, value: &str) -> Option<(&'static str, Unit)> {
    let time = TIMES.into_iter().find(|known| *known == time)?;
    let (_, unit) = VALUES.into_iter().find(|(known, _)| *known == value)?;
    Some((time, unit))
}

fn csv_history<'a>(name: &str, lines: impl Iterator<Item = (usize, &'a str)>) -> Result<Recorded, Problem> {
    let (mut rows, mut places) = (Vec::new(), Vec::new());
    for (at, line) in lines {
        let wrong = || (Some(at + 1), format!("a time, five numbers and four counts, not `{}`", short(line)));
        let cells: Vec<&str> = line.trim_end().split(',').collect();
        let [time, requests, _, _, _, covered, booting, warming, serving, draining] = cells[..] else {
            return Err(wrong());
        };
        let count = |text: &str| text.parse::<u32>().map_err(|_| wrong());
        let ran = Capacity {
            booting: count(booting)?,
            warming: count(warming)?,
            serving: count(serving)?,
            draining: count(draining)?,
            warm: 0,
        };
        let (then, value) = instant("time", time).zip(number(requests)).ok_or_else(wrong)?;
        if number(covered).ok_or_else(wrong)? >= COVERED {
            rows.push(Row { at: then, value, ran: Some(ran) });
            places.push(at + 1);
        }
    }
    finish(name, &rows, &places, Unit::Rate, "time")
}

fn json_lines(name: &str, text: &str) -> Result<Recorded, Problem> {
    let (mut rows, mut places, mut first) = (Vec::new(), Vec::new(), None);
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |what: &str| (Some(at + 1), format!("{what}, not `{}`", short(line)));
        let keys = "an object with a time and a value, such as {\"time\": \"2026-01-31T18:00:00Z\", \"rate\": 12.5}";
        let object: Value = serde_json::from_str(line).map_err(|_| wrong(keys))?;
        let time = TIMES.into_iter().find(|key| object.get(key).is_some()).ok_or_else(|| wrong(keys))?;
        let (key, unit) = VALUES.into_iter().find(|(key, _)| object.get(key).is_some()).ok_or_else(|| wrong(keys))?;
        if *first.get_or_insert((time, unit)) != (time, unit) {
            return Err(wrong("the keys of the first line"));
        }
        let then = match &object[time] {
            Value::String(text) => instant(time, text),
            other => other.as_f64().and_then(|seconds| instant(time, &seconds.to_string())),
        };
        let then = then.ok_or_else(|| wrong("an instant"))?;
        if object[key].is_null() {
            continue;
        }
        let value = object[key].as_f64().filter(|value| *value >= 0.0);
        rows.push(Row { at: then, value: value.ok_or_else(|| wrong("a number not under 0"))?, ran: None });
        places.push(at + 1);
    }
    let (time, unit) = first.unwrap_or(("time", Unit::Rate));
    finish(name, &rows, &places, unit, time)
}

fn finish(name: &str, rows: &[Row], places: &[usize], unit: Unit, time: &str) -> Result<Recorded, Problem> {
    let recorded = Recorded::of(name, rows, unit, None, time != TIMES[0]);
    recorded.map_err(|(row, problem)| (row.and_then(|row| places.get(row).copied()), problem))
}

/// In seconds.
fn instant(column: &str, text: &str) -> Option<f64> {
    let seconds = number(text);
    if column == TIMES[0] || seconds.is_some() {
        return seconds;
    }
    let instant: Timestamp = text.parse().ok()?;
    Some(instant.as_millisecond() as f64 / 1000.0)
}

fn number(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)
}

fn time_and_number(line: &str) -> String {
    format!("a time and a number not under 0 are needed, not `{}`", short(line))
}

fn short(line: &str) -> String {
    line.chars().take(60).collect()
}
