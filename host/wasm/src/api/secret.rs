//! Secrets: a mark for the headers of `proxy_http_call`, and digests. The secret itself never
//! enters a guest.

use abi::{Algorithm, Answer};

use super::packed::{Reader, Writer};
use crate::state::State;

/// `forebay_secret_mark`: the name; gives the text that stands for it, alone or behind other text,
/// in the values of headers that this plugin sends by `proxy_http_call`.
pub fn mark(state: &State, arguments: &mut Reader<'_>) -> Answer<Writer> {
    let mark = state.host().secret(arguments.text()?)?;
    Ok(Writer::default().bytes(mark.as_bytes()).done())
}

/// `forebay_secret_hmac`: the name, the algorithm (`sha256`, `sha384`, `sha512`), the data; gives
/// the digest.
pub fn hmac(state: &State, arguments: &mut Reader<'_>) -> Answer<Writer> {
    let (name, algorithm, data) = (arguments.text()?, arguments.text()?, arguments.bytes()?);
    let digest = state.host().secret_hmac(name, Algorithm::from_name(algorithm)?, data)?;
    Ok(Writer::default().bytes(&digest).done())
}
