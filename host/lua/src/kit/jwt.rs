//! `forebay.jwt`: JSON Web Tokens, verified (RFC 7519, 7515, 7518, 8037; the advice of RFC 8725).
//!
//! What a key is decides which algorithms it may be used with, never the token: a public key is
//! not taken for a shared secret. The signature is checked before any claim is believed.

mod key;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::Value;

use super::hash::equal_piece as equal;
use super::json;
use super::{look, number_option, text_option};
use crate::api::{Asked, Out, Raw, Reply, enter, functions};
use crate::state::{Function, Kind};
use key::Keys;

pub const FUNCTIONS: &[(&str, Function)] = functions! {
    "forebay.jwt.verify" verify;
    "forebay.jwt.decode" decode;
};

/// A token is a header's value: no server takes a longer one.
const MAX_TOKEN: usize = 64 << 10;
/// Bytes of a key, or of a set of them: parsing it cannot be interrupted.
const MAX_KEY: usize = 64 << 10;
/// Texts of one option, and bytes of them in all.
const MAX_TEXTS: usize = 64;
const MAX_TEXT: usize = 16 << 10;
/// Clocks of issuers and edges differ.
const LEEWAY: f64 = 60.0;
const LONGEST_LEEWAY: f64 = 86_400.0;

/// Why a token is not taken: the code and the text that the script gets.
struct Refused(&'static str, String);

type Checked<T> = Result<T, Refused>;

fn refuse<T>(code: &'static str, why: impl Into<String>) -> Checked<T> {
    Err(Refused(code, why.into()))
}

/// A token in its three parts, decoded and not believed.
struct Token<'a> {
    header: Value,
    header_text: Vec<u8>,
    claims_text: Vec<u8>,
    signature: &'a str,
    signed: &'a [u8],
}

impl<'a> Token<'a> {
    fn read(text: &'a [u8]) -> Checked<Token<'a>> {
        if text.len() > MAX_TOKEN {
            return refuse("MALFORMED", format!("a token of {} bytes, it may have {MAX_TOKEN}", text.len()));
        }
        let text = std::str::from_utf8(text).or_else(|_| refuse("MALFORMED", "the token is no text"))?;
        let parts: Vec<&str> = text.split('.').collect();
        let [header, claims, signature] = parts[..] else {
            return refuse("MALFORMED", format!("a token has 3 parts with dots between, this one {}", parts.len()));
        };
        let part = |name: &str, text: &str| {
            let decoded = URL_SAFE_NO_PAD.decode(text);
            decoded.map_err(|error| Refused("MALFORMED", format!("its {name} is no base64url: {error}")))
        };
        let (header_text, claims_text) = (part("header", header)?, part("payload", claims)?);
        let header: Value = serde_json::from_slice(&header_text)
            .map_err(|error| Refused("MALFORMED", format!("its header is no JSON: {error}")))?;
        // All before the last dot.
        let signed = &text.as_bytes()[..text.len() - signature.len() - 1];
        Ok(Token { header, header_text, claims_text, signature, signed })
    }

    fn algorithm(&self) -> Checked<Algorithm> {
        // RFC 7515, 4.1.11: what is critical must be understood, and none of it is.
        if self.header.get("crit").is_some() {
            return refuse("ALGORITHM", "the token's header has `crit`, which asks for extensions that are not there");
        }
        let name = self.header.get("alg").and_then(Value::as_str).unwrap_or_default();
        name.parse().or_else(|_| refuse("ALGORITHM", format!("the token's algorithm is \"{name}\"")))
    }
}

/// What the options ask of a token, beside its signature.
struct Wanted {
    issuers: Option<Vec<String>>,
    audiences: Option<Vec<String>>,
    required: Vec<String>,
    leeway: f64,
}

/// `verify(token, options)`: claims and header, or nil and why not.
fn verify(asked: Asked) -> Reply {
    const NAME: &str = "jwt.verify";
    let token = asked.text(1, NAME, "token")?;
    if asked.state.kind(2) != Kind::Table {
        return Err(asked.wrong(2, NAME, "options", "a table with one of secret, public_key, jwks"));
    }
    look(&asked, 0)?;
    let keys = keys(&asked)?;
    let allowed = texts(&asked, 2, NAME, "algorithms")?;
    let wanted = Wanted {
        issuers: texts(&asked, 2, NAME, "issuer")?,
        audiences: texts(&asked, 2, NAME, "audience")?,
        required: texts(&asked, 2, NAME, "required")?.unwrap_or_else(|| vec!["exp".to_owned()]),
        leeway: leeway(&asked)?,
    };
    let now = asked.vm.host().now();
    let checked = keys.and_then(|keys| check(&asked, token, &keys, allowed.as_deref(), &wanted, now));
    asked.state.set_top(2);
    match checked {
        Ok(token) => {
            json::push(&asked, &token.claims_text)?;
            json::push(&asked, &token.header_text)?;
            Ok(2)
        }
        Err(Refused(code, why)) => asked.failure(code, &format!("{NAME}: {why}")),
    }
}

/// `decode(token)`: claims and header of a token that nobody has verified, or nil and why not.
fn decode(asked: Asked) -> Reply {
    let token = asked.text(1, "jwt.decode", "token")?;
    match Token::read(token).and_then(|token| claims(&token).map(|_| token)) {
        Ok(token) => {
            json::push(&asked, &token.claims_text)?;
            json::push(&asked, &token.header_text)?;
            Ok(2)
        }
        Err(Refused(code, why)) => asked.failure(code, &format!("jwt.decode: {why}")),
    }
}

fn keys(asked: &Asked) -> Result<Checked<Keys>, Out> {
    const NAME: &str = "jwt.verify";
    let given = [
        ("secret", text_option(asked, 2, NAME, "secret")?),
        ("public_key", text_option(asked, 2, NAME, "public_key")?),
        // A table has become text in the prelude.
        ("jwks", text_option(asked, 2, NAME, "jwks")?),
        // A handle has become its name there: the host knows the secret, this VM does not.
        ("held_secret", text_option(asked, 2, NAME, "held_secret")?),
    ];
    let mut some = given.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
    let (Some((name, value)), None) = (some.next(), some.next()) else {
        return Err(asked.error("jwt.verify: the options have one of secret, public_key and jwks"));
    };
    if value.len() > MAX_KEY {
        let why = format!("{name} has {} bytes, it may have {MAX_KEY}", value.len());
        return Ok(Err(Refused("KEY", why)));
    }
    Ok(match name {
        "secret" => Keys::secret(value),
        "public_key" => Keys::pem(value),
        "held_secret" => Ok(Keys::held(&String::from_utf8_lossy(value))),
        _ => Keys::jwks(value),
    }
    .map_err(|why| Refused("KEY", why)))
}

fn leeway(asked: &Asked) -> Result<f64, Out> {
    let seconds = number_option(asked, 2, "jwt.verify", "leeway")?.unwrap_or(LEEWAY);
    if (0.0..=LONGEST_LEEWAY).contains(&seconds) {
        return Ok(seconds);
    }
    Err(asked.error(&format!("jwt.verify: option 'leeway' is {seconds}; allowed: seconds from 0 to {LONGEST_LEEWAY}")))
}

/// An option that is a text or a list of texts. One string may stand in the list many times, and is
/// copied each time.
fn texts(asked: &Asked, index: i32, function: &str, name: &str) -> Result<Option<Vec<String>>, Out> {
    let state = asked.state;
    state.reserve(6);
    state.raw_field(index, name);
    let mut left = MAX_TEXT;
    let mut text = |index| {
        let bytes = state.bytes(index).unwrap_or_default();
        let fits = left.checked_sub(bytes.len());
        left = fits.ok_or_else(|| {
            asked.error(&format!("{function}: option '{name}' has over {MAX_TEXT} bytes of text; allowed: up to that"))
        })?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    };
    let found = match state.kind(-1) {
        Kind::Nil => None,
        Kind::String => Some(vec![text(-1)?]),
        Kind::Table => {
            let mut all = Vec::new();
            for at in 1..=state.length(-1) {
                state.raw_get_index(-1, at as i32);
                if state.kind(-1) != Kind::String || at > MAX_TEXTS {
                    return Err(asked.error(&format!(
                        "{function}: option '{name}' has {} at {at}; allowed: up to {MAX_TEXTS} strings",
                        state.kind(-1).name()
                    )));
                }
                all.push(text(-1)?);
                state.pop(1);
            }
            Some(all)
        }
        other => {
            let text = format!("{function}: option '{name}' is {}; allowed: a string or a list of them", other.name());
            return Err(asked.error(&text));
        }
    };
    state.pop(1);
    Ok(found)
}

fn check<'a>(
    asked: &Asked,
    text: &'a [u8],
    keys: &Keys,
    allowed: Option<&[String]>,
    wanted: &Wanted,
    now: Duration,
) -> Checked<Token<'a>> {
    let token = Token::read(text)?;
    let algorithm = token.algorithm()?;
    let name = token.header["alg"].as_str().unwrap_or_default();
    if let Some(allowed) = allowed
        && !allowed.iter().any(|known| known == name)
    {
        return refuse("ALGORITHM", format!("the token's algorithm is {name}; allowed: {}", allowed.join(", ")));
    }
    let id = token.header.get("kid").and_then(Value::as_str);
    let valid = match keys {
        Keys::Held(name) => is_signed_by(asked, &token, name, algorithm)?,
        Keys::Here(keys) => {
            let key = key::find(keys, algorithm, id).map_err(|why| Refused("KEY", why))?;
            matches!(jsonwebtoken::crypto::verify(token.signature, token.signed, key, algorithm), Ok(true))
        }
    };
    if !valid {
        return refuse("SIGNATURE", "the signature is not of this key");
    }
    let claims = claims(&token)?;
    wanted.check(&claims, now.as_secs_f64())?;
    Ok(token)
}

/// Whether the host, with a secret that it keeps, signs this token in the same way.
fn is_signed_by(asked: &Asked, token: &Token<'_>, name: &str, algorithm: Algorithm) -> Checked<bool> {
    let digest = match algorithm {
        Algorithm::HS256 => abi::Algorithm::Sha256,
        Algorithm::HS384 => abi::Algorithm::Sha384,
        Algorithm::HS512 => abi::Algorithm::Sha512,
        other => return refuse("KEY", format!("{other:?} takes a public key; there is a secret")),
    };
    match asked.vm.host().secret_hmac(name, digest, token.signed) {
        Ok(tag) => Ok(URL_SAFE_NO_PAD.decode(token.signature).is_ok_and(|given| equal(&given, &tag))),
        Err(refusal) => refuse(refusal.status.name(), refusal.message.into_owned()),
    }
}

fn claims(token: &Token<'_>) -> Checked<Value> {
    match serde_json::from_slice(&token.claims_text) {
        Ok(claims @ Value::Object(_)) => Ok(claims),
        Ok(_) => refuse("MALFORMED", "its payload is no JSON object"),
        Err(error) => refuse("MALFORMED", format!("its payload is no JSON: {error}")),
    }
}

impl Wanted {
    fn check(&self, claims: &Value, now: f64) -> Checked<()> {
        for name in &self.required {
            if claims.get(name).is_none_or(Value::is_null) {
                return refuse("CLAIM", format!("the token has no `{name}`"));
            }
        }
        let time = |name: &str| match claims.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(number)) => Ok(number.as_f64()),
            Some(_) => refuse("CLAIM", format!("the token's `{name}` is no number")),
        };
        if let Some(end) = time("exp")?
            && now >= end + self.leeway
        {
            return refuse("EXPIRED", format!("the token has expired {:.0} s ago", now - end));
        }
        if let Some(begin) = time("nbf")?
            && now + self.leeway < begin
        {
            return refuse("NOT_YET", format!("the token is not valid for {:.0} s yet", begin - now));
        }
        let said = |name: &str| match claims.get(name) {
            Some(Value::String(text)) => vec![text.as_str()],
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        for (name, code, wanted) in [("iss", "ISSUER", &self.issuers), ("aud", "AUDIENCE", &self.audiences)] {
            let Some(wanted) = wanted else { continue };
            let said = said(name);
            if !said.iter().any(|one| wanted.iter().any(|known| known == one)) {
                let said = if said.is_empty() { "missing".to_owned() } else { format!("\"{}\"", said.join("\", \"")) };
                return refuse(code, format!("the token's `{name}` is {said}; allowed: {}", wanted.join(", ")));
            }
        }
        Ok(())
    }
}
