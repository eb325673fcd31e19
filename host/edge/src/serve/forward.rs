//! Headers that belong to one hop are taken off; headers that tell the next hop about this one
//! are put on.
//!
//! Towards origins: `x-forwarded-for` is appended to; `x-forwarded-proto` and
//! `x-forwarded-host` say what this edge saw, whatever the client claimed; `via` is appended
//! to; `x-request-id` is kept if it is sane, else made. `te: trailers` is kept, and `trailer`,
//! which belongs to the message.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Version, header};

use crate::serve::Client;

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Longer request ids are not a client's but an attack's on the logs.
const LONGEST_ID: usize = 128;

/// Prepares a request for the next hop; gives its id. `upgrade`: it may become a tunnel.
pub(crate) fn request(client: &Client, parts: &mut Parts, upgrade: bool) -> Arc<str> {
    let headers = &mut parts.headers;
    let protocol = if upgrade { headers.get(header::UPGRADE).cloned() } else { None };
    let trailers =
        headers.get_all(header::TE).iter().any(|te| tokens(te).any(|token| token.eq_ignore_ascii_case(b"trailers")));
    strip(headers);
    if let Some(protocol) = protocol {
        headers.insert(header::UPGRADE, protocol);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    if headers.remove(header::TE).is_some() && trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    append(headers, FORWARDED_FOR, &client.remote);
    let proto = if client.connection.tls.is_some() { "https" } else { "http" };
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(proto));
    match headers.get(header::HOST).cloned() {
        Some(host) => headers.insert(FORWARDED_HOST, host),
        None => headers.remove(FORWARDED_HOST),
    };
    let via = match parts.version {
        Version::HTTP_2 => "2.0 forebay",
        Version::HTTP_10 => "1.0 forebay",
        _ => "1.1 forebay",
    };
    append(headers, header::VIA, &HeaderValue::from_static(via));
    request_id(headers)
}

/// Prepares a response for the client.
pub(crate) fn response(headers: &mut HeaderMap) {
    strip(headers);
    headers.remove(header::TE);
}

/// Without `te`, of which a part may stay.
fn strip(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .flat_map(tokens)
            .filter_map(|token| HeaderName::from_bytes(token).ok())
            // A message cannot disown what says whom it is for and how long it is.
            .filter(|name| ![header::HOST, header::CONTENT_LENGTH, header::TE].contains(name))
            .collect();
        named.into_iter().for_each(|name| drop(headers.remove(name)));
        headers.remove(header::CONNECTION);
    }
    for name in [
        KEEP_ALIVE,
        PROXY_CONNECTION,
        HTTP2_SETTINGS,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::PROXY_AUTHENTICATE,
    ] {
        headers.remove(name);
    }
    headers.remove(header::PROXY_AUTHORIZATION);
}

pub(crate) fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

/// Adds to a list header, as one line.
fn append(headers: &mut HeaderMap, name: HeaderName, value: &HeaderValue) {
    if !headers.contains_key(&name) {
        headers.insert(name, value.clone());
        return;
    }
    let mut joined = Vec::new();
    for before in headers.get_all(&name) {
        joined.extend_from_slice(before.as_bytes());
        joined.extend_from_slice(b", ");
    }
    joined.extend_from_slice(value.as_bytes());
    let joined = HeaderValue::from_maybe_shared(joined).expect("values joined by a comma are a value");
    headers.insert(name, joined);
}

fn request_id(headers: &mut HeaderMap) -> Arc<str> {
    let mut given = headers.get_all(REQUEST_ID).iter();
    if let (Some(id), None) = (given.next(), given.next())
        && let Some(id) = sane(id.as_bytes())
    {
        return id.into();
    }
    let mut id = [0u8; 32];
    let mut random = fastrand::u128(..);
    for digit in &mut id {
        *digit = b"0123456789abcdef"[(random & 15) as usize];
        random >>= 4;
    }
    headers.insert(REQUEST_ID, HeaderValue::from_bytes(&id).expect("digits are a value"));
    std::str::from_utf8(&id).expect("digits are text").into()
}

fn sane(id: &[u8]) -> Option<&str> {
    let sane = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    let good = !id.is_empty() && id.len() <= LONGEST_ID && id.iter().all(sane);
    good.then(|| std::str::from_utf8(id).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn headers_of_one_hop_and_those_that_connection_names_are_taken_off() {
        let mut headers = headers(&[
            ("connection", "close, X-One"),
            ("connection", "x-two, host, content-length"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("host", "h"),
            ("content-length", "1"),
            ("trailer", "x"),
        ]);
        response(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort();
        assert_eq!(left, ["content-length", "host", "trailer", "x-three"]);
    }

    #[test]
    fn a_sane_request_id_is_kept_and_any_other_replaced() {
        for (given, kept) in [(&["a-1"][..], true), (&["a b"], false), (&["a", "b"], false), (&[""], false)] {
            let pairs: Vec<_> = given.iter().map(|id| ("x-request-id", *id)).collect();
            let mut headers = headers(&pairs);
            let id = request_id(&mut headers);
            assert_eq!(headers.get_all(REQUEST_ID).iter().collect::<Vec<_>>(), [&*id]);
            assert_eq!(&*id == given[0], kept, "{given:?}");
            assert!(kept || (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
        }
    }

    #[test]
    fn a_list_is_appended_to_as_one_line() {
        let mut headers = headers(&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2")]);
        append(&mut headers, FORWARDED_FOR, &HeaderValue::from_static("3.3.3.3"));
        assert_eq!(headers.get_all(FORWARDED_FOR).iter().collect::<Vec<_>>(), ["1.1.1.1, 2.2.2.2, 3.3.3.3"]);
    }
}
