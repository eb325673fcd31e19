//! Lines of the log, with fields.

use proxy_wasm::types::LogLevel;

use crate::packed::{self, Arguments, Refusal};

/// What a field of a line or of a span holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Field<'a> {
    Text(&'a str),
    Number(f64),
    Bool(bool),
}

impl Field<'_> {
    pub(crate) fn pack(self, to: Arguments) -> Arguments {
        match self {
            Field::Text(text) => to.u8(1).bytes(text.as_bytes()),
            Field::Number(number) => to.u8(2).f64(number),
            Field::Bool(truth) => to.u8(3).u8(truth.into()),
        }
    }
}

/// Writes a line with fields: up to 16, texts are cut at 1 KiB.
///
/// # Errors
/// Code 1 (not found) on another host: `proxy_wasm::hostcalls::log` does there.
pub fn write(level: LogLevel, message: &str, fields: &[(&str, Field<'_>)]) -> Result<(), Refusal> {
    let arguments = Arguments::new().u32(level as u32).bytes(message.as_bytes());
    let arguments = arguments.list(fields.iter(), |to, (name, field)| field.pack(to.bytes(name.as_bytes())));
    packed::call("forebay_log", arguments).map(drop)
}
