//! What crosses as what: JSON and properties become Lua values, errors become text.

use abi::Value;

use crate::state::{Kind, State};

/// Bytes of an error's text that are kept.
const MAX_ERROR_TEXT: usize = 4 << 10;

/// Pushes a property: a string, a number (durations and times in seconds), a boolean or a table.
pub fn push(state: State, value: &Value) {
    match value {
        Value::Nil => state.push_nil(),
        Value::Bytes(bytes) => state.push_bytes(bytes),
        Value::Int(number) => state.push_number(*number as f64),
        Value::Bool(truth) => state.push_bool(*truth),
        Value::Nanos(nanos) => state.push_number(*nanos as f64 / 1e9),
        Value::Map(pairs) => {
            state.reserve(4);
            state.new_table(0, pairs.len() as i32);
            for (name, value) in pairs {
                state.push_bytes(name);
                state.push_bytes(value);
                state.raw_set(-3);
            }
        }
        Value::List(items) => {
            state.reserve(4);
            state.new_table(items.len() as i32, 0);
            for (i, item) in items.iter().enumerate() {
                push(state, item);
                state.raw_set_index(-2, i as i32 + 1);
            }
        }
    }
}

/// Pushes a plugin's configuration: JSON as a Lua value, any other text as it is.
pub fn push_config(state: State, config: &[u8]) {
    match serde_json::from_slice::<serde_json::Value>(config) {
        Ok(json) => push_json(state, &json),
        Err(_) => state.push_bytes(config),
    }
}

/// Nesting is bounded by the parser (128).
fn push_json(state: State, json: &serde_json::Value) {
    state.reserve(4);
    match json {
        serde_json::Value::Null => state.push_nil(),
        serde_json::Value::Bool(truth) => state.push_bool(*truth),
        serde_json::Value::Number(number) => state.push_number(number.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(text) => state.push_bytes(text.as_bytes()),
        serde_json::Value::Array(items) => {
            state.new_table(items.len() as i32, 0);
            for (i, item) in items.iter().enumerate() {
                push_json(state, item);
                state.raw_set_index(-2, i as i32 + 1);
            }
        }
        serde_json::Value::Object(fields) => {
            state.new_table(0, fields.len() as i32);
            for (name, field) in fields {
                state.push_bytes(name.as_bytes());
                push_json(state, field);
                state.raw_set(-3);
            }
        }
    }
}

/// The text of an error value, which may be anything. No script code runs for it.
pub fn error_text(state: State, index: i32) -> String {
    // Cut: it goes into logs and answers.
    let text = |index| {
        let bytes: &[u8] = state.bytes(index).unwrap_or_default();
        String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_ERROR_TEXT)]).into_owned()
    };
    match state.kind(index) {
        // A copy, since a number becomes a string in its slot.
        Kind::String | Kind::Number => text(index),
        Kind::Table => {
            let top = state.top();
            state.reserve(4);
            state.push_copy(index);
            state.raw_field(-1, "code");
            state.raw_field(-2, "message");
            let part = |index| (state.kind(index) == Kind::String).then(|| text(index));
            let (code, message) = (part(-2), part(-1));
            state.set_top(top);
            match (code, message) {
                (Some(code), Some(message)) => format!("{code}: {message}"),
                (None, Some(message)) => message,
                _ => "an error value that is a table without a message".to_owned(),
            }
        }
        other => format!("an error value that is a {}", other.name()),
    }
}

/// Whether an error is a refusal for want of a capability.
pub fn is_denial(state: State, index: i32) -> bool {
    if state.kind(index) != Kind::Table {
        return false;
    }
    state.reserve(4);
    state.push_copy(index);
    state.raw_field(-1, "code");
    let denied = state.kind(-1) == Kind::String && state.bytes(-1) == Some(b"CAPABILITY_DENIED");
    state.pop(2);
    denied
}
