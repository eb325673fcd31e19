//! A plugin's lines of log, with their fields. In a JSON log the fields stand as an object under
//! `fields` (`host/forebay/src/logging/json.rs` sees to that); here they are its text.

use std::borrow::Cow;

use abi::{Field, LogLevel, MAX_FIELDS};
use serde_json::{Map, Value};
use tracing::Level;

/// Where plugins' own lines go.
const TARGET: &str = "forebay::plugin";

/// Bytes that are kept: of a message, of a field's name, of its text.
const MESSAGE: usize = 16 << 10;
const NAME: usize = 64;
const TEXT: usize = 1 << 10;

pub fn write(plugin: &str, request_id: &str, level: LogLevel, message: &str, fields: &[(&str, Field)]) {
    let message = cut(message, MESSAGE);
    // A line without fields has no such key.
    let fields = (!fields.is_empty()).then(|| object(fields).to_string());
    let fields = fields.as_deref();
    match level {
        LogLevel::Trace => tracing::trace!(target: TARGET, plugin, request_id, fields, "{message}"),
        LogLevel::Debug => tracing::debug!(target: TARGET, plugin, request_id, fields, "{message}"),
        LogLevel::Info => tracing::info!(target: TARGET, plugin, request_id, fields, "{message}"),
        LogLevel::Warn => tracing::warn!(target: TARGET, plugin, request_id, fields, "{message}"),
        // A plugin's error is its operator's, not the edge's; the level says so all the same.
        LogLevel::Error => tracing::error!(target: TARGET, plugin, request_id, fields, "{message}"),
        LogLevel::Critical => {
            tracing::error!(target: TARGET, plugin, request_id, fields, critical = true, "{message}");
        }
    }
}

/// The lowest level that anybody keeps.
pub fn lowest() -> LogLevel {
    if tracing::enabled!(target: TARGET, Level::TRACE) {
        LogLevel::Trace
    } else if tracing::enabled!(target: TARGET, Level::DEBUG) {
        LogLevel::Debug
    } else if tracing::enabled!(target: TARGET, Level::INFO) {
        LogLevel::Info
    } else if tracing::enabled!(target: TARGET, Level::WARN) {
        LogLevel::Warn
    } else {
        LogLevel::Error
    }
}

/// The fields as JSON, what is too long of them cut off. A number that JSON has no word for is text.
pub fn object(fields: &[(&str, Field)]) -> Value {
    let value = |field: &Field| match field {
        Field::Text(text) => Value::from(&*cut(text, TEXT)),
        Field::Bool(truth) => Value::from(*truth),
        // Whole numbers are written as such.
        Field::Number(number) if number.fract() == 0.0 && number.abs() < 9e15 => Value::from(*number as i64),
        Field::Number(number) => {
            serde_json::Number::from_f64(*number).map_or_else(|| number.to_string().into(), Value::Number)
        }
    };
    let pair = |(name, field): &(&str, Field)| (cut(name, NAME).into_owned(), value(field));
    let mut object: Map<_, _> = fields.iter().take(MAX_FIELDS).map(pair).collect();
    if fields.len() > MAX_FIELDS {
        object.insert("…".to_owned(), format!("there were more than {MAX_FIELDS} fields").into());
    }
    Value::Object(object)
}

/// A field that is kept until its line is written: no more of it than the line will have.
pub fn kept(name: &str, field: Field) -> (String, Field) {
    let field = match field {
        Field::Text(text) if text.len() > TEXT => Field::Text(cut(&text, TEXT).into_owned()),
        short => short,
    };
    (cut(name, NAME).into_owned(), field)
}

/// The beginning of a text, at most `most` bytes of it, with a mark that there was more.
pub fn cut(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let mut end = most - '…'.len_utf8();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Cow::Owned(format!("{}…", &text[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_bounded_in_number_and_in_length() {
        let long = "ß".repeat(2000);
        let names: Vec<String> = (0..40).map(|n| format!("{n}{long}")).collect();
        let fields: Vec<_> = names.iter().map(|name| (name.as_str(), Field::Text(long.clone()))).collect();
        let object = object(&fields);
        assert_eq!(object["…"], "there were more than 16 fields");
        assert_eq!(object.as_object().unwrap().len(), MAX_FIELDS + 1);
        for (name, value) in object.as_object().unwrap().iter().filter(|(name, _)| *name != "…") {
            let value = value.as_str().unwrap();
            assert!(
                name.len() <= NAME && value.len() <= TEXT && value.ends_with('…'),
                "{} {}",
                name.len(),
                value.len()
            );
        }
    }

    #[test]
    fn fields_are_of_their_own_type() {
        let fields = [
            ("a", Field::Text("x".to_owned())),
            ("b", Field::Number(3.0)),
            ("c", Field::Number(0.5)),
            ("d", Field::Bool(true)),
            ("e", Field::Number(f64::INFINITY)),
        ];
        assert_eq!(object(&fields).to_string(), r#"{"a":"x","b":3,"c":0.5,"d":true,"e":"inf"}"#);
    }
}
