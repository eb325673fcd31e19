//! What is refused before anything else is done with a request, and what the rest may rely on:
//! one framing, one host, a plain path in origin form.

use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Uri, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;
use std::sync::Arc;

use crate::reject::Reject;
use crate::route::{Route, plain_path};
use crate::snapshot::Snapshot;

/// Checks a head; gives its host with port (empty only for HTTP/1.0 without one). Afterwards
/// `host` is a header and the target is in origin form.
pub fn check(parts: &mut Parts, body: &Incoming, limits: &config::EdgeLimits) -> Result<HeaderValue, Reject> {
    if parts.method == Method::CONNECT {
        return Err(bad("CONNECT is not served"));
    }
    if parts.headers.len() > limits.headers {
        return Err(Reject::HeadersTooLarge);
    }
    one_framing(&parts.headers)?;
    if body.size_hint().lower() > limits.body_bytes {
        return Err(Reject::RequestBodyTooLarge);
    }
    if parts.uri.path() == "*" && parts.method != Method::OPTIONS {
        return Err(bad("a target of * is for OPTIONS alone"));
    }
    let host = one_host(parts)?;
    if parts.uri.authority().is_some() {
        let target = parts.uri.path_and_query().cloned();
        parts.uri = target.map_or_else(|| Uri::from_static("/"), Uri::from);
    }
    Ok(host)
}

/// Finds the route, and makes the target plain where it is not.
pub fn route<'a>(snapshot: &'a Snapshot, parts: &mut Parts, host: &HeaderValue) -> Result<&'a Arc<Route>, Reject> {
    let name = host_name(host.to_str().unwrap_or_default());
    let plain = plain_path(parts.uri.path()).map_err(bad)?;
    let found = snapshot.router.find_sure(name, &plain, &parts.method, &parts.headers).map_err(bad)?;
    if plain != parts.uri.path() {
        let target = match parts.uri.query() {
            Some(query) => format!("{plain}?{query}"),
            None => plain.into_owned(),
        };
        let target = PathAndQuery::from_maybe_shared(target).map_err(|_| bad("the target is not a path"))?;
        parts.uri = Uri::from(target);
    }
    found.ok_or(Reject::NoRoute)
}

fn bad(detail: &'static str) -> Reject {
    Reject::BadRequest { detail }
}

/// `chunked` alone: an origin would get the body without the other codings' names.
fn one_framing(headers: &HeaderMap) -> Result<(), Reject> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(bad("a transfer-encoding other than chunked"));
    }
    // The scan of the bytes finds this too, but only where it is in charge.
    if headers.contains_key(header::CONTENT_LENGTH) {
        return Err(bad("content-length together with transfer-encoding"));
    }
    Ok(())
}

/// The host of `host`, of the target, or of both if they agree.
fn one_host(parts: &mut Parts) -> Result<HeaderValue, Reject> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(bad("more than one host header"));
    }
    let target = parts.uri.authority();
    if target.is_some_and(|target| target.as_str().contains('@')) {
        return Err(bad("user information in the target"));
    }
    match (host, target) {
        (Some(host), None) => {
            if !is_host(host.as_bytes()) {
                return Err(bad("the host is malformed"));
            }
            Ok(host.clone())
        }
        (Some(host), Some(target)) => {
            if !host.as_bytes().eq_ignore_ascii_case(target.as_str().as_bytes()) {
                return Err(bad("the host header differs from the target's"));
            }
            Ok(host.clone())
        }
        (None, Some(target)) => {
            if parts.version == Version::HTTP_11 {
                return Err(bad("no host header"));
            }
            let host = HeaderValue::from_str(target.as_str()).map_err(|_| bad("the host is malformed"))?;
            parts.headers.insert(header::HOST, host.clone());
            Ok(host)
        }
        (None, None) if parts.version < Version::HTTP_11 => Ok(HeaderValue::from_static("")),
        (None, None) => Err(bad("no host header")),
    }
}

/// A name or an address, with or without port.
fn is_host(host: &[u8]) -> bool {
    // The common ones without a parser; `:` and `[` go the long way.
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if !host.is_empty() && host.iter().all(plain) {
        return true;
    }
    let authority = std::str::from_utf8(host).ok().and_then(|host| host.parse::<Authority>().ok());
    authority.is_some_and(|authority| {
        let text = authority.as_str();
        let port = text[authority.host().len()..].strip_prefix(':');
        !text.contains(['@', '%', '\\', ',']) && port.is_none_or(|port| port.is_empty() || port.parse::<u16>().is_ok())
    })
}

/// Without port.
fn host_name(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(version: Version, target: &str, hosts: &[&str]) -> Parts {
        let mut builder = http::Request::builder().version(version).uri(target);
        for host in hosts {
            builder = builder.header("host", *host);
        }
        builder.body(()).unwrap().into_parts().0
    }

    #[test]
    fn there_is_one_host_or_none() {
        let v11 = Version::HTTP_11;
        for (version, target, hosts, wanted) in [
            (v11, "/", &["a"][..], Some("a")),
            (v11, "/", &["a:80"], Some("a:80")),
            (v11, "/", &["[::1]:80"], Some("[::1]:80")),
            (v11, "/", &[], None),
            (v11, "/", &["a", "a"], None),
            (v11, "/", &["a", "b"], None),
            (v11, "/", &[""], None),
            (v11, "/", &["a b"], None),
            (v11, "/", &["a/b"], None),
            (v11, "/", &["u@a"], None),
            (v11, "/", &["a:x"], None),
            (v11, "/", &["a:99999"], None),
            (v11, "/", &["a,b"], None),
            (v11, "http://a/", &["a"], Some("a")),
            (v11, "http://A/", &["a"], Some("a")),
            (v11, "http://a/", &["b"], None),
            (v11, "http://a/", &[], None),
            (v11, "http://u@a/", &["a"], None),
            (Version::HTTP_10, "/", &[], Some("")),
            (Version::HTTP_2, "http://a/", &[], Some("a")),
            (Version::HTTP_2, "http://a/", &["a"], Some("a")),
            (Version::HTTP_2, "http://a/", &["b"], None),
        ] {
            let mut parts = parts(version, target, hosts);
            let found = one_host(&mut parts).ok();
            assert_eq!(found.as_ref().map(|host| host.to_str().unwrap()), wanted, "{version:?} {target} {hosts:?}");
        }
    }

    #[test]
    fn the_port_is_no_part_of_the_name() {
        for (host, name) in [("a", "a"), ("a:1", "a"), ("[::1]", "[::1]"), ("[::1]:1", "[::1]"), ("", "")] {
            assert_eq!(host_name(host), name);
        }
    }

    #[test]
    fn only_chunked_alone_is_taken() {
        for (codings, good) in [
            (&["chunked"][..], true),
            (&["Chunked"], true),
            (&["gzip, chunked"], false),
            (&["chunked", "chunked"], false),
        ] {
            let mut headers = HeaderMap::new();
            for coding in codings {
                headers.append("transfer-encoding", coding.parse().unwrap());
            }
            assert_eq!(one_framing(&headers).is_ok(), good, "{codings:?}");
        }
    }
}
