//! `forebay.base64` and `forebay.hex`: RFC 4648, sections 4, 5 and 8.

use abi::Status;
use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{PIECE, look, truth};
use crate::api::{Asked, Raw, Reply, enter, functions};
use crate::state::Function;

pub const FUNCTIONS: &[(&str, Function)] = functions! {
    "forebay.base64.encode" encode;
    "forebay.base64.decode" decode;
    "forebay.hex.encode" hex_encode;
    "forebay.hex.decode" hex_decode;
};

/// Padding may be there or not: both are met in the wild, and neither is ambiguous.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const PADDED: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const PLAIN: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT.with_encode_padding(false));
const URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT.with_encode_padding(false));

/// Whole groups of 3 bytes, and of 4 characters.
const GROUPS: usize = PIECE / 12;

/// `encode(bytes, {url, padding})`: the URL alphabet has no padding, the standard one has it unless
/// `padding` is false.
fn encode(asked: Asked) -> Reply {
    let bytes = asked.text(1, "base64.encode", "bytes")?;
    let engine = if truth(&asked, 2, "base64.encode", "url")? {
        &URL
    } else {
        let named =
            super::option(&asked, 2, "base64.encode", "padding", crate::state::Kind::Boolean, "true, false or nil")?;
        if matches!(named, Some(super::Field::Truth(false))) { &PLAIN } else { &PADDED }
    };
    look(&asked, bytes.len() / 3 * 4)?;
    let mut text = String::with_capacity(bytes.len() / 3 * 4 + 4);
    for piece in bytes.chunks(3 * GROUPS) {
        look(&asked, text.len())?;
        engine.encode_string(piece, &mut text);
    }
    asked.state.push_bytes(text.as_bytes());
    Ok(1)
}

/// `decode(text, {url})`: the bytes, or nil and why not.
fn decode(asked: Asked) -> Reply {
    let text = asked.text(1, "base64.decode", "text")?;
    let engine = if truth(&asked, 2, "base64.decode", "url")? { &URL } else { &PADDED };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let mut at = 0;
    for piece in text.chunks(4 * GROUPS) {
        look(&asked, bytes.len())?;
        let last = at + piece.len() == text.len();
        // Padding ends a text: in a piece before the last it is a stray byte like any other.
        let stray = (!last).then(|| piece.iter().position(|b| *b == b'=')).flatten();
        let decoded = match stray {
            Some(offset) => Err(base64::DecodeError::InvalidByte(offset, b'=')),
            None => engine.decode_vec(piece, &mut bytes),
        };
        if let Err(error) = decoded {
            return asked.failure(Status::ParseFailure.name(), &format!("base64.decode: {}", said(&error, at)));
        }
        at += piece.len();
    }
    asked.state.push_bytes(&bytes);
    Ok(1)
}

fn said(error: &base64::DecodeError, at: usize) -> String {
    use base64::DecodeError::*;
    match error {
        InvalidByte(offset, byte) => format!("byte {byte:#04x} at {} is not of the alphabet", at + offset + 1),
        InvalidLength(_) => "the text ends in the middle of a group".to_owned(),
        InvalidLastSymbol(offset, _) => format!("the last character, at {}, says more than it may", at + offset + 1),
        InvalidPadding => "the padding at the end is wrong".to_owned(),
    }
}

/// `encode(bytes)`: in lower case.
fn hex_encode(asked: Asked) -> Reply {
    let bytes = asked.text(1, "hex.encode", "bytes")?;
    look(&asked, bytes.len().saturating_mul(2))?;
    let mut text = Vec::with_capacity(bytes.len() * 2);
    for piece in bytes.chunks(PIECE) {
        look(&asked, text.len())?;
        push_hex(piece, &mut text);
    }
    asked.state.push_bytes(&text);
    Ok(1)
}

pub fn push_hex(bytes: &[u8], to: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    to.extend(bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]));
}

/// `decode(text)`: the bytes, or nil and why not; both cases are read.
fn hex_decode(asked: Asked) -> Reply {
    let text = asked.text(1, "hex.decode", "text")?;
    let failed = |why: String| asked.failure(Status::ParseFailure.name(), &format!("hex.decode: {why}"));
    if text.len() % 2 != 0 {
        return failed(format!("{} digits, an even number is wanted", text.len()));
    }
    let mut bytes = Vec::with_capacity(text.len() / 2);
    for (n, piece) in text.chunks(PIECE).enumerate() {
        look(&asked, bytes.len())?;
        for (i, pair) in piece.chunks_exact(2).enumerate() {
            let digit = |byte: u8| (byte as char).to_digit(16);
            let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else {
                let at = n * PIECE + 2 * i + if digit(pair[0]).is_none() { 1 } else { 2 };
                return failed(format!("byte {:#04x} at {at} is no digit", text[at - 1]));
            };
            bytes.push((high << 4 | low) as u8);
        }
    }
    asked.state.push_bytes(&bytes);
    Ok(1)
}
