//! What a Prometheus server knows, by its range queries. The query answers requests a second, in one series:
//! `sum(rate(http_requests_total{service="shop"}[1m]))`. The value at an instant is taken for the step that
//! ends there, which is what a rate over a step means.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine as _;
use jiff::Timestamp;
use serde::Deserialize;

use super::recorded::{Recorded, Row, Unit};
use crate::ask;
use crate::region::Unfit;

/// A server refuses more than 11,000 points in one answer.
const POINTS: i64 = 10_000;
/// A query over weeks takes its time.
const PATIENCE: Duration = Duration::from_secs(120);
/// Series that an error names.
const NAMED: usize = 5;

#[derive(Debug)]
pub struct Asked<'a> {
    /// `http://host:port`, and a path before `/api` if there is one.
    pub url: &'a str,
    pub query: &'a str,
    pub from: Timestamp,
    pub to: Timestamp,
    /// Seconds.
    pub step: i64,
    /// The header, if one is needed.
    pub authorization: Option<String>,
}

/// `Bearer` and the token of a file, without the line's end.
pub fn bearer(file: &Path) -> anyhow::Result<String> {
    Ok(format!("Bearer {}", secret(file)?))
}

/// `Basic` of a file's `user:password`.
pub fn basic(file: &Path) -> anyhow::Result<String> {
    let pair = secret(file)?;
    if !pair.contains(':') {
        bail!(Unfit::one(format!("{}: its line is `user:password`, and has no `:`", file.display())));
    }
    Ok(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
}

fn secret(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file).map_err(|error| Unfit::one(format!("{}: {error}", file.display())))?;
    match text.trim_end_matches(['\r', '\n']) {
        secret if secret.is_empty() || secret.contains(char::is_control) => {
            bail!(Unfit::one(format!("{}: one line is expected, and not an empty one", file.display())))
        }
        secret => Ok(secret.to_string()),
    }
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    error: String,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    /// Absent in series of histograms.
    #[serde(default)]
    values: Vec<(f64, String)>,
}

impl Series {
    fn name(&self) -> String {
        let name = self.metric.get("__name__").map_or("", String::as_str);
        let labels = self.metric.iter().filter(|(label, _)| *label != "__name__");
        let labels: Vec<String> = labels.map(|(label, value)| format!("{label}={value:?}")).collect();
        format!("{name}{{{}}}", labels.join(", "))
    }
}

/// Asks in as many pieces as it takes.
pub async fn ask(asked: &Asked<'_>, mut tell: impl FnMut(f64)) -> anyhow::Result<Recorded> {
    let (authority, path) = place(asked.url)?;
    let step = asked.step;
    // On the grid of the step, so that the same time is asked the same way whenever it is asked.
    let first = asked.from.as_second().div_euclid(step) + 1;
    let last = asked.to.as_second().div_euclid(step);
    if last < first {
        bail!(Unfit::one(format!("from {:.0} to {:.0} there is no whole step of {step} s", asked.from, asked.to)));
    }
    let mut rows: Vec<Row> = Vec::new();
    let mut name: Option<String> = None;
    for begin in (first..=last).step_by(POINTS as usize) {
        let end = last.min(begin + POINTS - 1);
        tell((begin - first) as f64 / (last - first + 1) as f64);
        let query = format!(
            "{path}/api/v1/query_range?query={}&start={}&end={}&step={step}",
            ask::escape(asked.query),
            begin * step,
            end * step
        );
        let series = piece(&authority, &query, asked).await?;
        let several =
            series.len() > 1 || series.first().is_some_and(|one| name.get_or_insert(one.name()) != &one.name());
        if several {
            let names = series.iter().map(Series::name);
            let names: Vec<String> =
                name.into_iter().filter(|name| series.iter().all(|s| s.name() != *name)).chain(names).collect();
            let more = names.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let shown = names[..names.len().min(NAMED)].join(", ");
            bail!(Unfit::one(format!(
                "the query answers {} series, one is needed: {shown}{more}; `sum(…)` makes one of them",
                names.len()
            )));
        }
        for (at, value) in series.into_iter().flat_map(|series| series.values) {
            rows.push(row(at, &value, step)?);
        }
    }
    if rows.is_empty() {
        let (from, to) = (asked.from, asked.to);
        bail!(Unfit::one(format!("the query answers nothing from {from:.0} to {to:.0}: {}", asked.query)));
    }
    Recorded::of("prometheus", &rows, Unit::Rate, Some(step as f64), true)
        .map_err(|(_, problem)| Unfit::one(format!("the query: {problem}")).into())
}

async fn piece(authority: &str, query: &str, asked: &Asked<'_>) -> anyhow::Result<Vec<Series>> {
    let (status, body) = ask::get_as(authority, query, asked.authorization.as_deref(), PATIENCE).await?;
    let answer: Answer = match serde_json::from_slice(&body) {
        Ok(answer) => answer,
        Err(_) if !status.is_success() => {
            let text = String::from_utf8_lossy(&body);
            bail!(Unfit::one(format!(
                "{authority} answers {status}: {}",
                text.trim().chars().take(200).collect::<String>()
            )));
        }
        Err(error) => return Err(error).with_context(|| format!("{authority} answers what is no Prometheus answer")),
    };
    if answer.status != "success" {
        bail!(Unfit::one(format!("{authority} refuses the query: {}", answer.error)));
    }
    Ok(answer.data.map(|data| data.result).unwrap_or_default())
}

fn row(at: f64, value: &str, step: i64) -> anyhow::Result<Row> {
    let when = || Timestamp::from_second(at as i64).map_or_else(|_| at.to_string(), |at| at.to_string());
    match value.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate >= 0.0 => Ok(Row { at: at - step as f64, value: rate, ran: None }),
        _ => bail!(Unfit::one(format!(
            "the query answers {value} at {}: requests a second are numbers not under 0 (a gap is no value at all)",
            when()
        ))),
    }
}

/// `host:port`, and what stands before `/api`.
fn place(url: &str) -> Result<(String, String), Unfit> {
    let refuse = |why: &str| Unfit::one(format!("--prometheus {url}: {why}"));
    let uri: http::Uri = url.parse().map_err(|_| refuse("allowed is http://host:port"))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return Err(refuse("only http is spoken here, through a tunnel or a proxy if it must leave")),
        _ => return Err(refuse("allowed is http://host:port")),
    }
    let (Some(host), None) = (uri.host(), uri.query()) else { return Err(refuse("allowed is http://host:port")) };
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(refuse("a password stands in a file: --basic-auth FILE"));
    }
    Ok((format!("{host}:{}", uri.port_u16().unwrap_or(80)), uri.path().trim_end_matches('/').to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_of_http_and_may_have_a_path() {
        let good = [
            ("http://127.0.0.1:9090", "127.0.0.1:9090", ""),
            ("http://metrics/prometheus/", "metrics:80", "/prometheus"),
            ("http://[::1]:9090/", "[::1]:9090", ""),
        ];
        for (url, authority, path) in good {
            assert_eq!(place(url).unwrap(), (authority.to_string(), path.to_string()), "{url}");
        }
        for (url, says) in [
            ("https://metrics", "only http"),
            ("metrics:9090", "http://host:port"),
            ("http://me:secret@metrics", "--basic-auth"),
            ("http://metrics/?x=1", "http://host:port"),
        ] {
            let refused = place(url).unwrap_err().to_string();
            assert!(refused.contains(says), "{url}: {refused}");
        }
    }

    #[test]
    fn a_value_that_is_no_rate_is_named_with_its_instant() {
        for value in ["NaN", "+Inf", "-1", "many"] {
            let refused = row(1_700_000_000.0, value, 60).unwrap_err().to_string();
            assert!(refused.contains(value) && refused.contains("2023-11-14T22:13:20Z"), "{refused}");
        }
        let row = row(1_700_000_040.0, "12.5", 60).unwrap();
        assert_eq!((row.at, row.value), (1_699_999_980.0, 12.5), "it is about the step that ends there");
    }
}
