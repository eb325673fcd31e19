//! Values that are written as one text (or number) and mean something checked: durations, sizes,
//! names, addresses, patterns. Each form says what is allowed in the words of its errors.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::tz::TimeZone;
use regex::Regex;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value as Json;

use super::value::{Value, Written};
use crate::error::{Errors, Problem, near_miss};
use crate::node::{Kind, Node, shorten};
use crate::region::{Balance, FaultPolicy, LogFormat};

/// A text that is read by `$read`: `Ok`, or why not (what is allowed is added to it).
macro_rules! form {
    ($(#[doc = $doc:literal])+ $Name:ident($Inner:ty), $allowed:literal, $schema:tt, $read:expr) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug)]
        pub struct $Name(pub $Inner);

        impl Value for $Name {
            fn read(node: &Node, errors: &mut Errors) -> Option<$Name> {
                let read: fn(&str) -> Result<$Inner, Wrong> = $read;
                let wrong = match &node.kind {
                    Kind::Text(text) => match read(text) {
                        Ok(value) => return Some($Name(value)),
                        Err(wrong) => wrong,
                    },
                    Kind::Int(_) | Kind::Float(_) | Kind::Bool(_) => {
                        let mut wrong = Wrong::default();
                        // Without quotes YAML reads a number or a boolean: `name: 1`, `exact: true`.
                        if let Some(text) = plain(node).filter(|text| read(text).is_ok()) {
                            wrong.why = Some(format!("a text is needed: write \"{text}\" with its quotes"));
                        }
                        wrong
                    }
                    _ => Wrong::default(),
                };
                errors.add(&node.place, wrong.problem(node, concat!("allowed: ", $allowed)));
                None
            }
        }

        impl JsonSchema for $Name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($Name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let mut schema: Schema = json_schema!($schema);
                schema.insert("type".to_owned(), "string".into());
                schema.insert("description".to_owned(), super::value::about(concat!($($doc, " "),+)).into());
                schema
            }
        }
    };
}

/// Why a text is not of its form, as far as there is more to say than what is allowed.
#[derive(Default)]
struct Wrong {
    why: Option<String>,
    near: Option<String>,
}

impl Wrong {
    fn why(why: impl Into<String>) -> Wrong {
        Wrong { why: Some(why.into()), near: None }
    }

    fn near(near: Option<String>) -> Wrong {
        Wrong { why: None, near }
    }

    fn problem(self, node: &Node, allowed: &str) -> Problem {
        let found = match self.why {
            Some(why) => format!("found {} ({why})", node.describe()),
            None => format!("found {}", node.describe()),
        };
        Problem::found(found).allowed(allowed).near(self.near)
    }
}

fn plain(node: &Node) -> Option<String> {
    match &node.kind {
        Kind::Int(value) => Some(value.to_string()),
        Kind::Float(value) => Some(value.to_string()),
        Kind::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// A number and its unit. A number alone has none, and could mean anything.
const TIME_UNITS: [(&str, u64); 6] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000)];
const SIZE_UNITS: [(&str, u64); 5] = [("", 1), ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
/// Ten years: far past any use, and far from every overflow in sums of durations.
const LONGEST: Duration = Duration::from_secs(3650 * 86_400);

/// Splits `1.5s` into its number and the rest, without a blank between them.
fn measure(text: &str, units: &[(&str, u64)]) -> Option<u128> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    Some(number.parse::<u64>().ok()? as u128 * u128::from(*factor))
}

fn read_duration(node: &Node, zero: bool, allowed: &str, errors: &mut Errors) -> Option<Duration> {
    let wrong = match &node.kind {
        Kind::Text(text) => match measure(text, &TIME_UNITS).map(|us| u64::try_from(us).map(Duration::from_micros)) {
            Some(Ok(Duration::ZERO)) if !zero => Wrong::why("zero makes no sense here"),
            Some(Ok(time)) if time <= LONGEST => return Some(time),
            Some(_) => Wrong::why("longer than ten years"),
            None => Wrong::near(near_duration(text)),
        },
        Kind::Int(0) if zero => return Some(Duration::ZERO),
        Kind::Int(number) => Wrong { why: Some("without a unit".to_owned()), near: Some(format!("{number}s")) },
        _ => Wrong::default(),
    };
    errors.add(&node.place, wrong.problem(node, allowed));
    None
}

/// `10 sec`, `1.5s`, `2H`: what they would be here.
fn near_duration(text: &str) -> Option<String> {
    let text: String = text.to_lowercase().split_whitespace().collect();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(end);
    let unit = match unit {
        "us" | "µs" => "us",
        "ms" | "msec" | "millis" | "milliseconds" => "ms",
        "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "h" | "hr" | "hour" | "hours" => "h",
        "d" | "day" | "days" => "d",
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return Some(format!("{whole}{unit}"));
    }
    let factor = TIME_UNITS.iter().find(|(name, _)| *name == unit)?.1;
    let number = number.parse::<f64>().ok().filter(|n| n.is_finite() && *n < 1e9)?;
    Some(written_duration(Duration::from_micros((number * factor as f64).round() as u64)))
}

fn written_duration(time: Duration) -> String {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let fits = |unit: &&(&str, u64)| micros != 0 && micros.is_multiple_of(unit.1);
    // Up to two of the next unit stay in the smaller one: `60s` and `90s`, but `5m`.
    let unit = TIME_UNITS.iter().rev().filter(fits).find(|(name, factor)| micros / factor > 1 || *name != "m");
    match unit {
        Some((name, factor)) => format!("{}{name}", micros / factor),
        None => "0s".to_owned(),
    }
}

macro_rules! duration {
    ($(#[doc = $doc:literal])+ $Name:ident, zero: $zero:literal, $allowed:literal) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug)]
        pub struct $Name(pub Duration);

        impl From<Duration> for $Name {
            fn from(time: Duration) -> $Name {
                $Name(time)
            }
        }

        impl Written for $Name {
            fn written(&self) -> Json {
                written_duration(self.0).into()
            }
        }

        impl Value for $Name {
            fn read(node: &Node, errors: &mut Errors) -> Option<$Name> {
                read_duration(node, $zero, concat!("allowed: ", $allowed), errors).map($Name)
            }
        }

        impl JsonSchema for $Name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($Name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "pattern": "^[0-9]+(us|ms|s|m|h|d)$",
                    "description": $allowed,
                    "examples": ["250ms", "30s", "5m", "2h"],
                })
            }
        }
    };
}

duration! {
    /// A length of time that may be zero.
    Span, zero: true, "a duration such as 0s, 250ms, 30s, 5m or 2h"
}
duration! {
    /// A length of time that zero would make senseless.
    Period, zero: false, "a duration over zero such as 250ms, 30s, 5m or 2h"
}

/// Bytes, at least one.
#[derive(Clone, Debug)]
pub struct Size(pub u64);

impl From<u64> for Size {
    fn from(bytes: u64) -> Size {
        Size(bytes)
    }
}

impl From<usize> for Size {
    fn from(bytes: usize) -> Size {
        Size(bytes as u64)
    }
}

impl Size {
    /// As an index. Where `usize` is narrower than the file's number, nothing can be that large.
    pub fn bytes(&self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Written for Size {
    fn written(&self) -> Json {
        let unit = SIZE_UNITS.iter().rev().find(|(name, factor)| *name != "B" && self.0.is_multiple_of(*factor));
        match unit {
            Some((name, factor)) if !name.is_empty() => format!("{}{name}", self.0 / factor).into(),
            _ => self.0.into(),
        }
    }
}

impl Value for Size {
    fn read(node: &Node, errors: &mut Errors) -> Option<Size> {
        let (bytes, near) = match &node.kind {
            Kind::Int(number) => (u128::try_from(*number).ok(), None),
            Kind::Text(text) => (measure(text, &SIZE_UNITS), near_size(text)),
            _ => (None, None),
        };
        let wrong = match bytes.map(|bytes| (bytes, i64::try_from(bytes))) {
            Some((1.., Ok(bytes))) => return Some(Size(bytes.unsigned_abs())),
            Some((0, _)) => Wrong::why("zero makes no sense here"),
            Some(_) => Wrong::why("past 64 bits"),
            None => Wrong::near(near),
        };
        errors.add(&node.place, wrong.problem(node, "allowed: a size such as 1000 (bytes), 64KiB, 16MiB or 1GiB"));
        None
    }
}

/// `64k`, `16 MB`: what they would be here.
fn near_size(text: &str) -> Option<String> {
    let text: String = text.to_lowercase().split_whitespace().collect();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let unit = match unit {
        "k" | "kb" | "kib" | "ki" => "KiB",
        "m" | "mb" | "mib" | "mi" => "MiB",
        "g" | "gb" | "gib" | "gi" => "GiB",
        "b" | "bytes" => "B",
        _ => return None,
    };
    number.parse::<u64>().ok().map(|number| format!("{number}{unit}"))
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "minimum": 1,
            "pattern": "^[0-9]+(B|KiB|MiB|GiB)?$",
            "description": "bytes: 1000, 64KiB, 16MiB, 1GiB",
            "examples": [1000, "64KiB", "16MiB"],
        })
    }
}

macro_rules! whole {
    ($(#[doc = $doc:literal])+ $Name:ident($Inner:ty), $range:expr, $allowed:literal) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug)]
        pub struct $Name(pub $Inner);

        impl<T: Into<$Inner>> From<T> for $Name {
            fn from(value: T) -> $Name {
                $Name(value.into())
            }
        }

        impl Written for $Name {
            fn written(&self) -> Json {
                self.0.into()
            }
        }

        impl Value for $Name {
            fn read(node: &Node, errors: &mut Errors) -> Option<$Name> {
                if let Kind::Int(number) = node.kind
                    && let Ok(number) = <$Inner>::try_from(number)
                    && ($range).contains(&number)
                {
                    return Some($Name(number));
                }
                let wrong = match &node.kind {
                    Kind::Text(text) if text.parse::<$Inner>().is_ok_and(|number| ($range).contains(&number)) => {
                        Wrong::why("a number is needed: write it without quotes")
                    }
                    _ => Wrong::default(),
                };
                errors.add(&node.place, wrong.problem(node, concat!("allowed: ", $allowed)));
                None
            }
        }

        impl JsonSchema for $Name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($Name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "integer", "minimum": *($range).start(), "maximum": *($range).end() })
            }
        }
    };
}

whole! {
    /// A number that may be zero.
    Count(u32), 0u32..=u32::MAX, "a whole number from 0"
}
whole! {
    /// A number of at least one.
    Positive(u32), 1u32..=u32::MAX, "a whole number from 1"
}
whole! {
    /// An HTTP status.
    Status(u16), 100u16..=599, "a status from 100 to 599"
}
whole! {
    /// A thread count; zero is one per core.
    Workers(u32), 0u32..=1024, "a whole number from 0 (one per core) to 1024"
}

/// A number over zero, whole or not.
#[derive(Clone, Debug)]
pub struct Ratio(pub f64);

impl From<f64> for Ratio {
    fn from(value: f64) -> Ratio {
        Ratio(value)
    }
}

impl Written for Ratio {
    fn written(&self) -> Json {
        self.0.into()
    }
}

impl Value for Ratio {
    fn read(node: &Node, errors: &mut Errors) -> Option<Ratio> {
        let number = match node.kind {
            Kind::Int(number) => number as f64,
            Kind::Float(number) => number,
            _ => f64::NAN,
        };
        if number > 0.0 && number <= 1e12 {
            return Some(Ratio(number));
        }
        errors.add(&node.place, Wrong::default().problem(node, "allowed: a number over 0, such as 50 or 1.2"));
        None
    }
}

impl JsonSchema for Ratio {
    fn schema_name() -> Cow<'static, str> {
        "Ratio".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "exclusiveMinimum": 0, "maximum": 1e12 })
    }
}

impl Value for bool {
    fn read(node: &Node, errors: &mut Errors) -> Option<bool> {
        if let Kind::Bool(value) = node.kind {
            return Some(value);
        }
        let near = match &node.kind {
            Kind::Text(text) => match text.to_lowercase().as_str() {
                "yes" | "on" | "y" | "true" => Some("true".to_owned()),
                "no" | "off" | "n" | "false" => Some("false".to_owned()),
                _ => None,
            },
            _ => None,
        };
        errors.add(&node.place, Wrong::near(near).problem(node, "allowed: true or false"));
        None
    }
}

impl Written for bool {
    fn written(&self) -> Json {
        (*self).into()
    }
}

form! {
    /// Any text.
    Text(String), "a text", {}, |text| Ok(text.to_owned())
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        Text(text.to_owned())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Text {
        Text(text)
    }
}

impl Written for Text {
    fn written(&self) -> Json {
        self.0.as_str().into()
    }
}

form! {
    /// A name: letters, digits, `-`, `_` and `.`, starting with a letter or digit, at most 63.
    Name(String),
    "a name of letters, digits, '-', '_' and '.', at most 63, the first a letter or digit",
    { "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$" },
    |text| {
        let fits = (1..=63).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if fits { Ok(text.to_owned()) } else { Err(Wrong::default()) }
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Name {
        Name(text.to_owned())
    }
}

impl Written for Name {
    fn written(&self) -> Json {
        self.0.as_str().into()
    }
}

form! {
    /// A path of a file; a relative one is relative to the folder of this file.
    FilePath(String), "a path", { "minLength": 1 },
    |text| if text.is_empty() || text.contains('\0') { Err(Wrong::default()) } else { Ok(text.to_owned()) }
}

form! {
    /// An address and port such as `127.0.0.1:8080` or `[::1]:8080`.
    Address(SocketAddr), "an IP address and a port such as 127.0.0.1:8080 or [::1]:8080",
    { "examples": ["127.0.0.1:8080", "[::1]:8080"] },
    |text| {
        text.parse().map_err(|_| {
            let near = match text.rsplit_once(':') {
                Some(("localhost" | "", port)) => Some(format!("127.0.0.1:{port}")),
                Some(("*", port)) => Some(format!("0.0.0.0:{port}")),
                _ => None,
            };
            Wrong::near(near.filter(|near| near.parse::<SocketAddr>().is_ok()))
        })
    }
}

form! {
    /// An IP address such as `127.0.0.1`.
    Ip(IpAddr), "an IP address such as 127.0.0.1", {},
    |text| text.parse().map_err(|_| Wrong::near((text == "localhost").then(|| "127.0.0.1".to_owned())))
}

impl From<IpAddr> for Ip {
    fn from(ip: IpAddr) -> Ip {
        Ip(ip)
    }
}

impl Written for Ip {
    fn written(&self) -> Json {
        self.0.to_string().into()
    }
}

form! {
    /// Where an aggregator listens: `http://host:port`.
    AggregatorUrl(String), "http://host:port", { "pattern": "^http://[^/]+:[0-9]+/?$" },
    |text| {
        let Some(rest) = text.strip_prefix("http://") else {
            let bare = text.rsplit_once("://").map_or(text, |(_, rest)| rest);
            return Err(Wrong::near(authority(bare).map(|rest| format!("http://{rest}"))));
        };
        authority(rest).map(|rest| format!("http://{rest}")).ok_or_else(Wrong::default)
    }
}

/// `host:port`, with or without a last slash.
fn authority(text: &str) -> Option<&str> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let (host, port) = text.rsplit_once(':')?;
    let host_fits = match host.strip_prefix('[') {
        Some(v6) => v6.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c)),
    };
    (host_fits && port.parse::<u16>().is_ok_and(|port| port > 0)).then_some(text)
}

form! {
    /// The path of a URL, such as `/health`.
    UrlPath(String), "a path that starts with '/', without blanks, '?' after it where a query is meant",
    { "pattern": "^/" },
    |text| {
        if text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
            return Ok(text.to_owned());
        }
        let near = format!("/{text}");
        let fits = !text.starts_with('/') && !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        Err(Wrong::near(fits.then_some(near)))
    }
}

impl From<&str> for UrlPath {
    fn from(text: &str) -> UrlPath {
        UrlPath(text.to_owned())
    }
}

impl Written for UrlPath {
    fn written(&self) -> Json {
        self.0.as_str().into()
    }
}

form! {
    /// A host name without port, such as `example.com`, or `*.example.com` for all below it.
    Host(String), "a host without port such as example.com or *.example.com", {},
    |text| {
        let lower = text.to_ascii_lowercase();
        let labels = lower.strip_prefix("*.").unwrap_or(&lower);
        let label = |l: &str| !l.is_empty() && l.len() <= 63
            && l.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if labels.split('.').all(label) && lower.len() <= 253 {
            return Ok(lower);
        }
        let v6 = lower.strip_prefix('[').and_then(|l| l.strip_suffix(']'));
        if v6.is_some_and(|v6| v6.parse::<std::net::Ipv6Addr>().is_ok()) {
            return Ok(lower);
        }
        let near = labels.rsplit_once(':').filter(|(host, port)| port.parse::<u16>().is_ok() && host.split('.').all(label));
        Err(Wrong::near(near.map(|(host, _)| host.to_owned())))
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

form! {
    /// A request method in capitals, such as `GET`.
    Method(String), "a method in capitals such as GET", { "pattern": "^[A-Z0-9!#$%&'*+.^_`|~-]+$" },
    |text| {
        if is_token(text) && !text.bytes().any(|b| b.is_ascii_lowercase()) {
            return Ok(text.to_owned());
        }
        Err(Wrong::near(is_token(text).then(|| text.to_ascii_uppercase())))
    }
}

form! {
    /// A header's name, in any case.
    HeaderName(String), "a header name such as x-request-id", {},
    |text| if is_token(text) { Ok(text.to_ascii_lowercase()) } else { Err(Wrong::default()) }
}

form! {
    /// A header's value: one line, without control characters.
    HeaderValue(String), "a header value on one line without control characters", {},
    |text| {
        let fits = text.bytes().all(|b| b == b'\t' || (b >= 0x20 && b != 0x7f)) && text.trim() == text;
        if fits { Ok(text.to_owned()) } else { Err(Wrong::default()) }
    }
}

form! {
    /// A regular expression for the whole value, in the syntax of Rust's regex crate, where
    /// `\d`, `\w` and `\s` mean ASCII.
    Pattern(Regex), "a regular expression for the whole value, such as /v[0-9]+/.*", { "format": "regex" },
    |text| whole_pattern(text).map_err(|error| Wrong::why(last_line(&error.to_string())))
}

/// Classes are ASCII: paths and headers are, and Unicode's tables would be larger than the rest
/// of the engine.
fn whole_pattern(text: &str) -> Result<Regex, regex::Error> {
    let mut ascii = String::with_capacity(text.len() + 8);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let class = match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('d')) => "[0-9]",
            ('\\', Some('D')) => "[^0-9]",
            ('\\', Some('w')) => "[0-9A-Za-z_]",
            ('\\', Some('W')) => "[^0-9A-Za-z_]",
            ('\\', Some('s')) => "[ \\t\\n\\r\\x0B\\x0C]",
            ('\\', Some('S')) => "[^ \\t\\n\\r\\x0B\\x0C]",
            ('\\', Some('b')) => "(?-u:\\b)",
            ('\\', Some(other)) => {
                ascii.extend(['\\', other]);
                continue;
            }
            (other, _) => {
                ascii.push(other);
                continue;
            }
        };
        ascii.push_str(class);
    }
    // As written first: `a)(b` must not become whole inside the group.
    Regex::new(&ascii)?;
    Regex::new(&format!("^(?:{ascii})$"))
}

fn last_line(text: &str) -> String {
    let line = text.lines().next_back().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

form! {
    /// When: minute, hour, day of month, month, day of week; seconds optional as a first field.
    CronText(String), "five cron fields such as 30 8 * * 1-5, or six with seconds first", {},
    |text| match crate::cron::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(Wrong::why(error.to_string())),
    }
}

form! {
    /// An IANA time zone such as `Europe/Berlin`, or `UTC`.
    Zone(String), "an IANA time zone such as Europe/Berlin or UTC", {},
    |text| {
        if TimeZone::get(text).is_ok() {
            return Ok(text.to_owned());
        }
        let zones: Vec<String> = jiff::tz::db().available().map(|zone| zone.to_string()).collect();
        Err(Wrong::near(near_miss(text, zones.iter().map(String::as_str))))
    }
}

form! {
    /// What a plugin may reach: see `capabilities`.
    Capability(String), "http.read, http.write, http.respond, body.read, body.write, property.read, metric, timer, callout:<pool>, dict:<name>", {},
    |text| {
        let named = text.split_once(':').filter(|(_, name)| !name.is_empty());
        let known = match named {
            Some((prefix, _)) => NAMED_CAPABILITIES.contains(&prefix),
            None => PLAIN_CAPABILITIES.contains(&text),
        };
        if known {
            return Ok(text.to_owned());
        }
        let near = match named {
            Some((prefix, name)) => near_miss(prefix, NAMED_CAPABILITIES).map(|prefix| format!("{prefix}:{name}")),
            None => near_miss(text, PLAIN_CAPABILITIES),
        };
        Err(Wrong::near(near))
    }
}

impl From<&str> for Zone {
    fn from(text: &str) -> Zone {
        Zone(text.to_owned())
    }
}

impl Written for Zone {
    fn written(&self) -> Json {
        self.0.as_str().into()
    }
}

/// As `abi` spells them, which this crate may not import; the edge's tests hold them together.
pub const PLAIN_CAPABILITIES: [&str; 8] =
    ["http.read", "http.write", "http.respond", "body.read", "body.write", "property.read", "metric", "timer"];
/// These take a name after a colon: `callout:shop`.
pub const NAMED_CAPABILITIES: [&str; 2] = ["callout", "dict"];

/// A closed set of words.
macro_rules! words {
    ($(#[doc = $doc:literal])+ $Name:ty { $($word:literal => $variant:path : $about:literal),+ $(,)? }) => {
        impl Written for $Name {
            fn written(&self) -> Json {
                match self { $($variant => $word.into(),)+ }
            }
        }

        impl Value for $Name {
            fn read(node: &Node, errors: &mut Errors) -> Option<$Name> {
                let word = match &node.kind {
                    Kind::Text(text) => match text.as_str() {
                        $($word => return Some($variant),)+
                        other => other,
                    },
                    _ => "",
                };
                let found = format!("found {}", node.describe());
                errors.add(&node.place, Problem::none_of(found, "allowed", &shorten(word), [$($word),+]));
                None
            }
        }

        impl JsonSchema for $Name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($Name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "description": super::value::about(concat!($($doc),+)),
                    "oneOf": [$({ "const": $word, "description": $about }),+],
                })
            }
        }
    };
}

/// A version of HTTP that a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

words! {
    /// A version of HTTP that a listener speaks.
    Protocol { "http1" => Protocol::Http1: "HTTP/1.1", "http2" => Protocol::Http2: "HTTP/2" }
}

/// A protocol's name in the TLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    H2,
    Http11,
}

words! {
    /// A protocol's name in the TLS handshake.
    Alpn { "h2" => Alpn::H2: "HTTP/2", "http/1.1" => Alpn::Http11: "HTTP/1.1" }
}

words! {
    /// How log lines look.
    LogFormat { "json" => LogFormat::Json: "one object a line", "pretty" => LogFormat::Pretty: "for a terminal" }
}

words! {
    /// What happens to an exchange whose plugin failed.
    FaultPolicy {
        "closed" => FaultPolicy::Closed: "503",
        "open" => FaultPolicy::Open: "go on without the plugin",
    }
}

words! {
    /// How an origin is picked.
    Balance {
        "round_robin" => Balance::RoundRobin: "each in turn",
        "least_requests" => Balance::LeastRequests: "the one with fewer requests in flight, of two picked at random",
    }
}
