//! Durations: read from the command line (`40ms`, `2s`, `1m 30s`), and shown to people.

use std::time::Duration;

pub fn parse(text: &str) -> Result<Duration, String> {
    let allowed = "a duration such as 250ms, 2s or 1m";
    let signed: jiff::SignedDuration = text.parse().map_err(|_| format!("{allowed}, not `{text}`"))?;
    Duration::try_from(signed).map_err(|_| format!("{allowed}, not below zero"))
}

/// To a tenth of a second: `60 s`, `1.5 s`.
pub fn text(span: Duration) -> String {
    let tenths = (span.as_secs_f64() * 10.0).round() / 10.0;
    format!("{tenths} s")
}
