//! `/v1/pools/NAME/hold`: an operator's word that a pool shall not shrink for a while, and why.
//!
//! `PUT ?because=TEXT&for=1h` (or `&until=INSTANT`, and `&both_ways=true` to keep it from growing too) sets it, in place
//! of one that stands; `DELETE` takes it back; `GET` shows it. It is in each record, so a restart finds it in the
//! journal. It always ends: who forgets one finds a pool that scales again.

use std::time::Duration;

use http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use scaler::decide::OperatorHold;
use scaler::stamp;
use serde_json::json as value;

use super::query::Query;
use super::{Answer, fail, json, unknown_pool};
use crate::Shared;

const LONGEST_REASON: usize = 200;
/// A week: what shall stand longer belongs into the region file (`floor`, `mode`).
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

pub fn answer(method: &Method, name: &str, query: &str, shared: &Shared) -> Answer {
    let words: &[&str] = match *method {
        Method::PUT => &["because", "for", "until", "both_ways"],
        Method::GET | Method::DELETE => &[],
        _ => {
            let detail = format!("{method} /v1/pools/{name}/hold; allowed are GET, PUT and DELETE");
            return fail(StatusCode::METHOD_NOT_ALLOWED, "method", &detail);
        }
    };
    let refuse = |detail: &str| fail(StatusCode::BAD_REQUEST, "query", detail);
    let query = match Query::read(query, words) {
        Ok(query) => query,
        Err(detail) => return refuse(&detail),
    };
    let mut steer = shared.steer();
    let now = steer.now();
    if steer.pool(name, now).is_none() {
        return unknown_pool(name, &steer.pools());
    }
    match *method {
        Method::PUT => match read(&query, steer.shows(now)) {
            Ok(hold) => steer.hold(name, Some(hold), now),
            Err(detail) => return refuse(&detail),
        },
        Method::DELETE => steer.hold(name, None, now),
        _ => {}
    }
    let hold = steer.pool(name, now).and_then(|view| view.operator);
    json(StatusCode::OK, &value!({ "pool": name, "role": steer.role(), "hold": hold }))
}

/// `clock`: what the wall clock shows.
fn read(query: &Query, clock: Timestamp) -> Result<OperatorHold, String> {
    let because = query.get("because").unwrap_or_default();
    if because.is_empty() || because.len() > LONGEST_REASON || because.contains(char::is_control) {
        let found = because.len();
        return Err(format!("because: {found} bytes; needed are 1 to {LONGEST_REASON} bytes of text in one line"));
    }
    let both_ways = match query.get("both_ways") {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => return Err(format!("both_ways `{other}`; allowed are true and false")),
    };
    let until = match (query.get("for"), query.instant("until")?) {
        (Some(text), None) => stamp::later(clock, span(text)?),
        (None, Some(until)) => until,
        (Some(_), Some(_)) => return Err("for and until; allowed is one of both".to_string()),
        (None, None) => return Err("neither for nor until; needed is one of both, such as for=1h".to_string()),
    };
    let last = stamp::later(clock, LONGEST);
    if until <= clock || until > last {
        return Err(format!("a hold until {until:.0}; allowed is after {clock:.0} and up to {last:.0}, a week"));
    }
    Ok(OperatorHold { both_ways, until: Some(until), because: because.to_string() })
}

fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("for `{text}`; allowed is a time such as 90s, 30m or 1h 30m, up to a week (168h)");
    let span: SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(span).ok().filter(|span| !span.is_zero() && *span <= LONGEST).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: &str = "2026-03-02T12:00:00Z";
    const WORDS: &[&str] = &["because", "for", "until", "both_ways"];

    fn read_at_noon(text: &str) -> Result<OperatorHold, String> {
        read(&Query::read(text, WORDS)?, NOON.parse().unwrap())
    }

    #[test]
    fn a_hold_has_a_reason_and_an_end_within_a_week() {
        let until = |text: &str| read_at_noon(text).unwrap().until.unwrap().to_string();
        assert_eq!(until("because=a%20sale&for=1h%2030m"), "2026-03-02T13:30:00Z");
        assert_eq!(until("because=x&for=168h"), "2026-03-09T12:00:00Z");
        assert_eq!(until("because=x&until=2026-03-02T13:41:00+01:00"), "2026-03-02T12:41:00Z");
        let hold = read_at_noon("because=a%20sale&for=90s&both_ways=true").unwrap();
        assert_eq!((hold.both_ways, &hold.because[..]), (true, "a sale"));
        assert!(!read_at_noon("because=x&for=90s").unwrap().both_ways, "growing is not held up unless it is said");
        let long = format!("because={}&for=1h", "x".repeat(201));
        for (text, says) in [
            ("for=1h", "because: 0 bytes; needed are 1 to 200"),
            (&long, "because: 201 bytes"),
            ("because=a%0Ab&for=1h", "in one line"),
            ("because=x", "neither for nor until; needed is one of both"),
            ("because=x&for=1h&until=2026-03-02T13:00:00Z", "allowed is one of both"),
            ("because=x&for=soon", "for `soon`; allowed is a time such as 90s"),
            ("because=x&for=-1h", "for `-1h`"),
            ("because=x&for=0s", "for `0s`"),
            ("because=x&for=169h", "up to a week (168h)"),
            ("because=x&until=12:41", "until `12:41`; allowed is an instant"),
            ("because=x&until=2026-03-02T12:00:00Z", "allowed is after 2026-03-02T12:00:00Z"),
            ("because=x&until=2026-03-09T12:00:01Z", "up to 2026-03-09T12:00:00Z"),
            ("because=x&for=1h&both_ways=yes", "both_ways `yes`; allowed are true and false"),
            ("reason=x&for=1h", "`reason`; allowed are because, for, until and both_ways"),
        ] {
            let refused = read_at_noon(text).unwrap_err();
            assert!(refused.contains(says), "{text}: {refused}");
        }
    }
}
