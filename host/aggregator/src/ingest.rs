//! Bytes to a report, or the reason why not. What the report says is judged by the scaler.

use http::StatusCode;
use scaler::Refused;
use serde::Deserialize;
use wire::Report;

/// A report of a thousand origins in a hundred pools is well under this.
pub const MOST_BYTES: usize = 1 << 20;

/// Read leniently where the whole is not read: another version may have any fields.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

pub fn decode(body: &[u8]) -> Result<Report, Refused> {
    let malformed = |error: serde_json::Error| Refused::new("malformed", format!("not a report: {error}"));
    // Read once where all is well: reports are most of what an aggregator does.
    let error = match serde_json::from_slice::<Report>(body) {
        Ok(report) if report.version == wire::VERSION => return Ok(report),
        Ok(_) => None,
        Err(error) => Some(error),
    };
    let Version { version } = serde_json::from_slice(body).map_err(malformed)?;
    match error {
        Some(error) if version == wire::VERSION => Err(malformed(error)),
        _ => {
            let detail = format!("version {version}; this aggregator knows version {}", wire::VERSION);
            Err(Refused::new("version", detail))
        }
    }
}

pub fn too_large() -> Refused {
    Refused::new("too_large", format!("more than {MOST_BYTES} bytes"))
}

/// The status that tells the edge whose fault it was.
pub fn status(refused: &Refused) -> StatusCode {
    match refused.reason {
        "too_large" => StatusCode::PAYLOAD_TOO_LARGE,
        "impossible" | "absurd" => StatusCode::UNPROCESSABLE_ENTITY,
        "edges" => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// Counts and logs a report that changed nothing.
pub fn refuse(refused: &Refused) {
    metrics::counter!("forebay_aggregator_reports_refused_total", "reason" => refused.reason).increment(1);
    tracing::warn!(reason = refused.reason, detail = %refused.detail, "report refused");
}
