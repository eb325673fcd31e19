//! `forebay.hash`: digests (FIPS 180-4), HMAC (RFC 2104), comparison in constant time, random bytes.

use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac};

use super::encoding::push_hex;
use super::{PIECE, look};
use crate::api::{Asked, Out, Raw, Reply, enter, functions};
use crate::source::nearest;
use crate::state::{Function, Kind};

pub const FUNCTIONS: &[(&str, Function)] = functions! {
    "forebay.hash.sha1" |asked| digested(asked, "hash.sha1", &digest::SHA1_FOR_LEGACY_USE_ONLY);
    "forebay.hash.sha256" |asked| digested(asked, "hash.sha256", &digest::SHA256);
    "forebay.hash.sha384" |asked| digested(asked, "hash.sha384", &digest::SHA384);
    "forebay.hash.sha512" |asked| digested(asked, "hash.sha512", &digest::SHA512);
    "forebay.hash.hmac" authenticated;
    "forebay.hash.equal" equal;
    "forebay.hash.random" random;
};

/// Random bytes of one call: drawing them is one system call.
const MAX_RANDOM: f64 = 4096.0;

/// What `hmac` takes, by name.
const ALGORITHMS: [(&str, hmac::Algorithm); 4] = [
    ("sha1", hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
    ("sha256", hmac::HMAC_SHA256),
    ("sha384", hmac::HMAC_SHA384),
    ("sha512", hmac::HMAC_SHA512),
];

/// `sha256(bytes, encoding)`: in hexadecimal digits, or as bytes for the encoding "raw".
fn digested(asked: Asked, function: &str, algorithm: &'static digest::Algorithm) -> Reply {
    let bytes = asked.text(1, function, "bytes")?;
    let raw = is_raw(&asked, 2, function)?;
    let mut context = digest::Context::new(algorithm);
    for piece in bytes.chunks(PIECE) {
        look(&asked, 0)?;
        context.update(piece);
    }
    give(asked, context.finish().as_ref(), raw)
}

/// `hmac(algorithm, key, bytes, encoding)`
fn authenticated(asked: Asked) -> Reply {
    let name = asked.name(1, "hash.hmac", "algorithm")?;
    let Some((_, algorithm)) = ALGORITHMS.iter().find(|(known, _)| *known == name) else {
        let near = nearest(name, ALGORITHMS.iter().map(|(known, _)| *known));
        let hint = near.map(|near| format!(" (did you mean \"{near}\"?)")).unwrap_or_default();
        let known: Vec<_> = ALGORITHMS.iter().map(|(known, _)| *known).collect();
        return Err(asked.error(&format!("hash.hmac: no algorithm \"{name}\"{hint}; there are: {}", known.join(", "))));
    };
    let (key, bytes) = (asked.text(2, "hash.hmac", "key")?, asked.text(3, "hash.hmac", "bytes")?);
    let raw = is_raw(&asked, 4, "hash.hmac")?;
    look(&asked, 0)?;
    let mut context = hmac::Context::with_key(&hmac::Key::new(*algorithm, key));
    for piece in bytes.chunks(PIECE) {
        look(&asked, 0)?;
        context.update(piece);
    }
    give(asked, context.sign().as_ref(), raw)
}

fn is_raw(asked: &Asked, index: i32, function: &str) -> Result<bool, Out> {
    match asked.state.kind(index) {
        Kind::None | Kind::Nil => Ok(false),
        Kind::String => match asked.state.bytes(index) {
            Some(b"raw") => Ok(true),
            Some(b"hex") => Ok(false),
            other => {
                let found = String::from_utf8_lossy(other.unwrap_or_default()).into_owned();
                Err(asked.error(&format!("{function}: encoding \"{found}\"; allowed: \"hex\", \"raw\" or nil")))
            }
        },
        _ => Err(asked.wrong(index, function, "encoding", "\"hex\", \"raw\" or nil")),
    }
}

fn give(asked: Asked, bytes: &[u8], raw: bool) -> Reply {
    if raw {
        asked.state.push_bytes(bytes);
    } else {
        let mut text = Vec::with_capacity(bytes.len() * 2);
        push_hex(bytes, &mut text);
        asked.state.push_bytes(&text);
    }
    Ok(1)
}

/// `equal(a, b)`: how long it takes says nothing of where they differ.
fn equal(asked: Asked) -> Reply {
    let (a, b) = (asked.text(1, "hash.equal", "a")?, asked.text(2, "hash.equal", "b")?);
    // The lengths are no secret. A piece at a time, as all of it may be megabytes.
    let mut same = a.len() == b.len();
    for (a, b) in a.chunks(PIECE).zip(b.chunks(PIECE)) {
        look(&asked, 0)?;
        same &= equal_piece(a, b);
    }
    asked.state.push_bool(same);
    Ok(1)
}

pub fn equal_piece(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0u8, |all, (a, b)| all | (a ^ b));
    a.len() == b.len() && std::hint::black_box(difference) == 0
}

/// `random(n)`: bytes that nobody can foretell.
fn random(asked: Asked) -> Reply {
    let count = asked.number(1, "hash.random", "n")?;
    if !(1.0..=MAX_RANDOM).contains(&count) || count.fract() != 0.0 {
        let text = format!("hash.random: argument 1 (n) is {count}; allowed: a whole number from 1 to {MAX_RANDOM}");
        return Err(asked.error(&text));
    }
    let mut bytes = [0; MAX_RANDOM as usize];
    let bytes = &mut bytes[..count as usize];
    if SystemRandom::new().fill(bytes).is_err() {
        return asked.failure(abi::Status::InternalFailure.name(), "hash.random: the system gives no random bytes");
    }
    asked.state.push_bytes(bytes);
    Ok(1)
}
