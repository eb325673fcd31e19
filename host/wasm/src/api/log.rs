//! The plugin's log.

use abi::{Answer, Field, LogLevel, Refusal, Status};

use super::Guest;
use super::packed::{Reader, Writer};
use crate::memory::{self, Outcome};
use crate::state::{State, remember};

/// Bytes of one message that are kept: a line of 30 MB would cost the edge more than the guest.
const MAX_TEXT: usize = 16 << 10;

pub fn log(guest: &mut Guest<'_>, level: u32, at: u32, len: u32) -> Outcome {
    let level = LogLevel::from_wire(level).ok_or_else(|| no_level(level))?;
    let (data, state) = memory::view(guest)?;
    let text = memory::bytes(data, at, len)?;
    let text = &text[..text.len().min(MAX_TEXT)];
    let host = state.host();
    // A Rust guest's panic comes as a critical line.
    if level == LogLevel::Critical {
        remember(&mut state.printed.last_words, &String::from_utf8_lossy(text));
    }
    if level >= host.log_level() {
        host.log(level, &String::from_utf8_lossy(text));
    }
    Ok(())
}

/// `forebay_log`: the level (u32, as in `proxy_log`), the message, a list of fields: each its name, and
/// a tag with what it says (1 a text, 2 an f64, 3 a boolean as a byte).
pub fn fields(state: &State, arguments: &mut Reader<'_>) -> Answer<Writer> {
    let level = arguments.u32()?;
    let level = LogLevel::from_wire(level).ok_or_else(|| no_level(level))?;
    let message = arguments.bytes()?;
    let message = String::from_utf8_lossy(&message[..message.len().min(MAX_TEXT)]);
    let fields = arguments.list(|field| Ok((field.text()?, self::field(field)?)))?;
    let host = state.host();
    if level >= host.log_level() {
        host.log_fields(level, &message, &fields);
    }
    Ok(Writer::default())
}

/// A tag, and the value of a field behind it.
pub fn field(arguments: &mut Reader<'_>) -> Answer<Field> {
    Ok(match arguments.u8()? {
        1 => Field::Text(cut(arguments.bytes()?)?.to_owned()),
        2 => Field::Number(arguments.f64()?),
        3 => Field::Bool(arguments.u8()? != 0),
        other => {
            let text = format!("packed arguments: {other} is no tag of a field (1 text, 2 number, 3 boolean)");
            return Err(Refusal::new(Status::BadArgument, text));
        }
    })
}

/// Text of a field, as much as a line could keep of it.
fn cut(bytes: &[u8]) -> Answer<&str> {
    let kept = &bytes[..bytes.len().min(MAX_TEXT)];
    match std::str::from_utf8(kept) {
        Ok(text) => Ok(text),
        // In the middle of a character.
        Err(error) if error.error_len().is_none() && kept.len() < bytes.len() => {
            Ok(std::str::from_utf8(&kept[..error.valid_up_to()]).expect("as much of it is UTF-8"))
        }
        Err(_) => Err(Refusal::new(Status::BadArgument, "the text is no UTF-8")),
    }
}

fn no_level(level: u32) -> Refusal {
    Refusal::new(Status::BadArgument, format!("{level} is no log level (0 to 5)"))
}

pub fn level(guest: &mut Guest<'_>, out: u32) -> Outcome {
    let level = guest.data().host().log_level();
    memory::answer_u32(guest, out, level as u32)
}
