//! `forebay.time`: seconds since 1970 as texts, and back. All in UTC unless a zone is named.

use abi::Status;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, fmt::strtime};

use crate::api::{Asked, Out, Raw, Reply, enter, functions};
use crate::state::{Function, Kind};

pub const FUNCTIONS: &[(&str, Function)] = functions! {
    "forebay.time.http" http;
    "forebay.time.parse_http" parse_http;
    "forebay.time.iso" iso;
    "forebay.time.parse_iso" parse_iso;
    "forebay.time.format" format;
};

/// Bytes of a text that is a time, or of a format: nothing that is one is longer.
const MAX_TEXT: usize = 256;

/// `http(seconds)`: `Sun, 22 Nov 2026 06:00:00 GMT` (RFC 9110, section 5.6.7).
fn http(asked: Asked) -> Reply {
    let at = timestamp(&asked, 1, "time.http")?;
    match rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at) {
        Ok(text) => push(asked, &text),
        Err(error) => asked.failure(Status::BadArgument.name(), &format!("time.http: {error}")),
    }
}

/// `parse_http(text)`: seconds, or nil and why not. The obsolete forms of RFC 850 and asctime are
/// read too, as RFC 9110 asks of a recipient.
fn parse_http(asked: Asked) -> Reply {
    let Some(text) = short(&asked, "time.parse_http")? else { return too_long(asked, "time.parse_http") };
    let obsolete = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    let parsed = rfc2822::DateTimeParser::new().parse_timestamp(text).or_else(|error| {
        let old = obsolete.iter().find_map(|form| strtime::parse(form, text).and_then(|time| time.to_datetime()).ok());
        old.and_then(|time| time.to_zoned(TimeZone::UTC).ok()).map(|time| time.timestamp()).ok_or(error)
    });
    seconds(asked, "time.parse_http", parsed)
}

/// `iso(seconds)`: `2026-11-22T06:00:00Z` (RFC 3339), with a fraction if there is one.
fn iso(asked: Asked) -> Reply {
    let at = timestamp(&asked, 1, "time.iso")?;
    push(asked, &at.to_string())
}

/// `parse_iso(text)`: seconds, or nil and why not; a text without a zone is refused.
fn parse_iso(asked: Asked) -> Reply {
    let Some(text) = short(&asked, "time.parse_iso")? else { return too_long(asked, "time.parse_iso") };
    seconds(asked, "time.parse_iso", text.parse())
}

/// `format(seconds, form, zone)`: strftime's conversions; a zone is an IANA name.
fn format(asked: Asked) -> Reply {
    let at = timestamp(&asked, 1, "time.format")?;
    let form = asked.name(2, "time.format", "form")?;
    if form.len() > MAX_TEXT {
        return Err(asked.error(&format!("time.format: a form of {} bytes, it may have {MAX_TEXT}", form.len())));
    }
    let zone = match asked.state.kind(3) {
        Kind::None | Kind::Nil => TimeZone::UTC,
        _ => {
            let name = asked.name(3, "time.format", "zone")?;
            match TimeZone::get(name) {
                Ok(zone) => zone,
                Err(_) => {
                    let text = format!("time.format: no time zone \"{}\"; allowed: IANA names", shown(name));
                    return asked.failure(Status::NotFound.name(), &text);
                }
            }
        }
    };
    match strtime::format(form, &at.to_zoned(zone)) {
        Ok(text) => push(asked, &text),
        Err(error) => Err(asked.error(&format!("time.format: {error}"))),
    }
}

fn shown(name: &str) -> String {
    name.chars().take(64).collect()
}

fn timestamp(asked: &Asked, index: i32, function: &str) -> Result<Timestamp, Out> {
    let seconds = asked.number(index, function, "seconds")?;
    let at = SignedDuration::try_from_secs_f64(seconds).ok();
    // Microseconds: a double has no more to say of a time in this century.
    let at = at.map(|at| at.round(jiff::SignedDurationRound::new().smallest(jiff::Unit::Microsecond)));
    let at = at.and_then(Result::ok).and_then(|at| Timestamp::from_duration(at).ok());
    at.ok_or_else(|| {
        asked.error(&format!("{function}: argument {index} (seconds) is {seconds}; allowed: years -9999 to 9999"))
    })
}

fn short<'a>(asked: &Asked, function: &str) -> Result<Option<&'a str>, Out> {
    let text = asked.name(1, function, "text")?;
    Ok((text.len() <= MAX_TEXT).then_some(text))
}

fn too_long(asked: Asked, function: &str) -> Reply {
    asked.failure(Status::ParseFailure.name(), &format!("{function}: no time has more than {MAX_TEXT} bytes"))
}

fn seconds(asked: Asked, function: &str, parsed: Result<Timestamp, jiff::Error>) -> Reply {
    match parsed {
        Ok(at) => {
            asked.state.push_number(at.as_duration().as_secs_f64());
            Ok(1)
        }
        Err(error) => asked.failure(Status::ParseFailure.name(), &format!("{function}: {error}")),
    }
}

fn push(asked: Asked, text: &str) -> Reply {
    asked.state.push_bytes(text.as_bytes());
    Ok(1)
}
