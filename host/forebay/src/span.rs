//! Durations on the command line, written as in region files: `40ms`, `2s`, `1m 30s`.

use std::time::Duration;

pub fn parse(text: &str) -> Result<Duration, String> {
    let allowed = "a duration such as 250ms, 2s or 1m";
    let signed: jiff::SignedDuration = text.parse().map_err(|_| format!("{allowed}, not `{text}`"))?;
    Duration::try_from(signed).map_err(|_| format!("{allowed}, not below zero"))
}
