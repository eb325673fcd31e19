//! `forebay.log`.

use abi::{Field, LogLevel, MAX_FIELDS};

use super::{Asked, Out, Raw, Reply, enter, functions};
use crate::state::{Function, Kind};

pub const FUNCTIONS: &[(&str, Function)] = functions! {
    "log" log;
    "log:level" |asked| { asked.state.push_number(f64::from(asked.vm.host().log_level() as u32)); Ok(1) };
};

/// Bytes of a message and of a field that are copied: the host keeps fewer of them, and a line of
/// 30 MB would cost the edge more than the script.
const MESSAGE: usize = 20 << 10;
const TEXT: usize = 2 << 10;

/// `log(level, text, flat fields or nil)`
fn log(asked: Asked) -> Reply {
    let level = LogLevel::from_wire(asked.number(1, "log", "level")? as u32).unwrap_or(LogLevel::Critical);
    let message = text_of(asked.text(2, "log", "message")?, MESSAGE);
    let fields = fields(&asked, 3)?;
    let fields: Vec<_> = fields.iter().map(|(name, field)| (name.as_str(), field.clone())).collect();
    asked.vm.host().log_fields(level, &message, &fields);
    Ok(0)
}

/// Reads the flat array of names and values that the prelude made: strings, numbers, booleans.
fn fields(asked: &Asked, index: i32) -> Result<Vec<(String, Field)>, Out> {
    if asked.state.kind(index) != Kind::Table {
        return Ok(Vec::new());
    }
    // One more than are kept, so that the host can say that there were more.
    let count = (asked.state.length(index) / 2).min(MAX_FIELDS + 1);
    let mut fields = Vec::with_capacity(count);
    for pair in 0..count as i32 {
        asked.state.raw_get_index(index, 2 * pair + 1);
        asked.state.raw_get_index(index, 2 * pair + 2);
        let name = text_of(asked.state.bytes(-2).unwrap_or_default(), TEXT);
        let field = field(asked, -1);
        asked.state.pop(2);
        fields.push((name, field));
    }
    Ok(fields)
}

/// The value at `index` as a field: what is no string, number or boolean counts as an empty text.
pub fn field(asked: &Asked, index: i32) -> Field {
    match asked.state.kind(index) {
        Kind::Number => Field::Number(asked.state.number(index)),
        Kind::Boolean => Field::Bool(asked.state.truth(index)),
        _ => Field::Text(text_of(asked.state.bytes(index).unwrap_or_default(), TEXT)),
    }
}

fn text_of(bytes: &[u8], most: usize) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(most)]).into_owned()
}
