//! Durations and sizes: a number and its unit.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value as Json;

use super::Wrong;
use crate::error::Errors;
use crate::node::{Kind, Node};
use crate::raw::value::{Value, Written};

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
        Kind::Int(number) => {
            Wrong { why: Some("without a unit".to_owned()), near: Some(format!("{number}s")), ..Wrong::default() }
        }
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

pub(crate) fn written_duration(time: Duration) -> String {
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
