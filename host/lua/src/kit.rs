//! The modules of sdk-lua that are done natively: `require "forebay.json"` and its like. They are no
//! hostcalls: they ask the host nothing, reach nothing, and work in every phase.
//!
//! Their work is linear in what they are given, which a script can make as large as its memory:
//! each looks at the watchdog as it goes, so that none holds a worker past the deadline.
//!
//! - [`json`]: texts to values and back
//! - [`encoding`]: base64 and hexadecimal
//! - [`hash`]: digests, HMAC, random bytes
//! - [`jwt`]: tokens, verified
//! - [`time`]: times as texts

mod encoding;
mod hash;
mod json;
mod jwt;
mod time;

use crate::api::{Asked, Out};
use crate::state::{Function, Kind};

/// Bytes that are worked on between two looks at the watchdog: well under a millisecond of the
/// slowest of it.
const PIECE: usize = 64 << 10;

/// The modules, by the name that a script requires. `prelude/kit.lua` makes their tables.
pub const MODULES: [&str; 6] =
    ["forebay.base64", "forebay.hash", "forebay.hex", "forebay.json", "forebay.jwt", "forebay.time"];

/// The C functions of all modules, by `module.function`.
pub fn functions() -> impl Iterator<Item = &'static (&'static str, Function)> {
    [encoding::FUNCTIONS, hash::FUNCTIONS, json::FUNCTIONS, jwt::FUNCTIONS, time::FUNCTIONS].into_iter().flatten()
}

/// Ends the script if it must end, or if a value of `bytes` is more than its memory limit.
fn look(asked: &Asked, bytes: usize) -> Result<(), Out> {
    if bytes > asked.vm.heap.piece() {
        return Err(asked.out_of_memory());
    }
    if asked.vm.kill().is_some() { Err(asked.killed()) } else { Ok(()) }
}

/// A field of the options at `index`, or `None` where there are no options or it is nil. Popped
/// again by the caller's `set_top`; read without metamethods.
fn option<'a>(
    asked: &Asked,
    index: i32,
    function: &str,
    name: &str,
    kind: Kind,
    allowed: &str,
) -> Result<Option<Field<'a>>, Out> {
    match asked.state.kind(index) {
        Kind::None | Kind::Nil => return Ok(None),
        Kind::Table => {}
        _ => return Err(asked.wrong(index, function, "options", "a table, or nil")),
    }
    asked.state.reserve(4);
    asked.state.raw_field(index, name);
    match asked.state.kind(-1) {
        Kind::Nil => Ok(None),
        found if found == kind => Ok(Some(match kind {
            Kind::Boolean => Field::Truth(asked.state.truth(-1)),
            Kind::Number => Field::Number(asked.state.number(-1)),
            _ => Field::Bytes(asked.state.bytes(-1).unwrap_or_default()),
        })),
        found => {
            let text = format!("{function}: option '{name}' is {}; allowed: {allowed}", found.name());
            Err(asked.error(&text))
        }
    }
}

/// What [`option`] finds. The bytes live as long as their slot.
enum Field<'a> {
    Truth(bool),
    Number(f64),
    Bytes(&'a [u8]),
}

fn truth(asked: &Asked, index: i32, function: &str, name: &str) -> Result<bool, Out> {
    let found = option(asked, index, function, name, Kind::Boolean, "true, false or nil")?;
    Ok(matches!(found, Some(Field::Truth(true))))
}

fn text_option<'a>(asked: &Asked, index: i32, function: &str, name: &str) -> Result<Option<&'a [u8]>, Out> {
    let found = option(asked, index, function, name, Kind::String, "a string, or nil")?;
    Ok(found.map(|field| if let Field::Bytes(bytes) = field { bytes } else { &[] }))
}

fn number_option(asked: &Asked, index: i32, function: &str, name: &str) -> Result<Option<f64>, Out> {
    let found = option(asked, index, function, name, Kind::Number, "a number, or nil")?;
    Ok(found.map(|field| if let Field::Number(number) = field { number } else { 0.0 }))
}
