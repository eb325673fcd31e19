//! Parts of requests and responses: paths, hosts, methods, headers.

use super::{Wrong, defaults, form};

form! {
    /// The path of a URL, such as `/health`.
    UrlPath(String), "a path that starts with '/', without blanks",
    { "pattern": "^/" },
    |text| {
        if text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
            return Ok(text.to_owned());
        }
        let near = format!("/{text}");
        let fits = !text.starts_with('/') && !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        Err(Wrong::near(fits.then_some(near)))
    }
}

form! {
    /// A host name without port, such as `example.com`, or `*.example.com` for all below it.
    Host(String), "a host without port such as example.com or *.example.com", {},
    |text| {
        let lower = text.to_ascii_lowercase();
        let labels = lower.strip_prefix("*.").unwrap_or(&lower);
        let label = |l: &str| !l.is_empty() && l.len() <= 63
            && l.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if labels.split('.').all(label) && lower.len() <= 253 {
            return Ok(lower);
        }
        let v6 = lower.strip_prefix('[').and_then(|l| l.strip_suffix(']'));
        if v6.is_some_and(|v6| v6.parse::<std::net::Ipv6Addr>().is_ok()) {
            return Ok(lower);
        }
        let near = labels.rsplit_once(':').filter(|(host, port)| port.parse::<u16>().is_ok() && host.split('.').all(label));
        Err(Wrong::near(near.map(|(host, _)| host.to_owned())))
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

form! {
    /// A request method in capitals, such as `GET`.
    Method(String), "a method in capitals such as GET", { "pattern": "^[A-Z0-9!#$%&'*+.^_`|~-]+$" },
    |text| {
        if is_token(text) && !text.bytes().any(|b| b.is_ascii_lowercase()) {
            return Ok(text.to_owned());
        }
        Err(Wrong::near(is_token(text).then(|| text.to_ascii_uppercase())))
    }
}

form! {
    /// A header's name, in any case.
    HeaderName(String), "a header name such as x-request-id", {},
    |text| if is_token(text) { Ok(text.to_ascii_lowercase()) } else { Err(Wrong::default()) }
}

form! {
    /// A header's value: one line, without control characters.
    HeaderValue(String), "a header value on one line without control characters", {},
    |text| {
        let fits = text.bytes().all(|b| b == b'\t' || (b >= 0x20 && b != 0x7f)) && text.trim() == text;
        if fits { Ok(text.to_owned()) } else { Err(Wrong::default()) }
    }
}

defaults!(UrlPath);
