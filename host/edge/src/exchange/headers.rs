//! Header maps as plugins see them: proxy-wasm's pseudo headers in front, names without case.
//!
//! `:authority` is the request's target host wherever HTTP put it (`Host` in HTTP/1, the
//! pseudo header in HTTP/2), and `host` names the same thing; `pairs` lists it once, as
//! `:authority`. Framing belongs to the edge: `transfer-encoding`, `connection` and what else is said to
//! the next hop alone cannot be written.

use abi::{Answer, Map, Refusal, Status};
use http::header::{CONNECTION, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, StatusCode, Uri};

use super::{Exchange, name};

/// Most pairs of one map, and bytes of their names and values, as other proxy-wasm hosts bound them. They are
/// not of the plugin's own memory.
const MOST_PAIRS: usize = 1024;
const MOST_BYTES: usize = 1 << 20;
/// Under this a value is not worth adding up the others: so many of them are little in all.
const SMALL: usize = 1 << 10;

impl Exchange {
    /// Calls `each` with every value, in order.
    pub fn get(&self, map: Map, name: &[u8], each: &mut dyn FnMut(&[u8])) -> Answer<()> {
        let mut found = false;
        let mut give = |value: &[u8]| {
            found = true;
            each(value);
        };
        if is_pseudo(map, name) {
            self.pseudo(map, std::str::from_utf8(name).unwrap_or(":"), &mut give);
        } else {
            name::with(name, |name| {
                self.with(map, |headers| headers.get_all(name).iter().for_each(|value| give(value.as_bytes())));
            });
        }
        if found { Ok(()) } else { Err(Refusal::not_found()) }
    }

    pub fn pairs(&self, map: Map, each: &mut dyn FnMut(&[u8], &[u8])) {
        let pseudo: &[&str] = match map {
            Map::RequestHeaders => &[":authority", ":path", ":method", ":scheme"],
            Map::ResponseHeaders => &[":status"],
            Map::RequestTrailers | Map::ResponseTrailers => &[],
        };
        for name in pseudo {
            self.pseudo(map, name, &mut |value| each(name.as_bytes(), value));
        }
        self.with(map, |headers| {
            for (name, value) in headers.iter().filter(|(name, _)| map != Map::RequestHeaders || *name != HOST) {
                each(name.as_str().as_bytes(), value.as_bytes());
            }
        });
    }

    pub fn set(&self, map: Map, name: &[u8], value: &[u8]) -> Answer<()> {
        if is_pseudo(map, name) {
            return self.set_pseudo(map, name, value);
        }
        self.has_room(map, value)?;
        let value = header_value(value)?;
        with_name(name, |name| self.with_mut(map, |headers| headers.insert(name, value)))?.map(drop)
    }

    pub fn add(&self, map: Map, name: &[u8], value: &[u8]) -> Answer<()> {
        if is_pseudo(map, name) {
            return self.set_pseudo(map, name, value);
        }
        self.has_room(map, value)?;
        let value = header_value(value)?;
        let append = |name: &HeaderName| {
            self.with_mut(map, |headers| {
                if headers.len() >= MOST_PAIRS {
                    return Err(Refusal::new(Status::LimitExceeded, format!("more than {MOST_PAIRS} headers")));
                }
                headers.append(name, value);
                Ok(())
            })
        };
        with_name(name, append)??
    }

    pub fn remove(&self, map: Map, name: &[u8]) -> Answer<()> {
        if is_pseudo(map, name) {
            return Err(bad(format!("{} cannot be removed", show(name))));
        }
        // `HeaderMap::remove` moves the last entry into the gap: what is left must keep its order.
        let remove = |name: &HeaderName, headers: &mut HeaderMap| {
            if headers.contains_key(name) {
                let kept = std::mem::take(headers);
                headers.reserve(kept.len());
                let mut last = None;
                for (next, value) in kept {
                    last = next.or(last);
                    if let Some(at) = last.as_ref().filter(|at| *at != name) {
                        headers.append(at.clone(), value);
                    }
                }
            }
        };
        with_name(name, |name| self.with_mut(map, |headers| remove(name, headers)))?
    }

    pub fn replace(&self, map: Map, pairs: &[(&[u8], &[u8])]) -> Answer<()> {
        if pairs.len() > MOST_PAIRS {
            return Err(Refusal::new(Status::LimitExceeded, format!("more than {MOST_PAIRS} headers")));
        }
        let mut fresh = HeaderMap::with_capacity(pairs.len());
        // The edge's own framing (of an upgrade) stays; that it is written back is no attempt on it.
        let mut framing = Vec::new();
        self.with(map, |headers| {
            let own = headers.iter().filter(|(name, _)| is_framing(name));
            framing.extend(own.map(|(name, value)| (name.clone(), value.clone())));
        });
        let written_back = |name: &[u8], value: &[u8]| {
            framing.iter().any(|(own, kept)| name.eq_ignore_ascii_case(own.as_str().as_bytes()) && kept == value)
        };
        let own = pairs.iter().filter(|(name, value)| !is_pseudo(map, name) && !written_back(name, value));
        for (name, value) in own {
            let value = header_value(value)?;
            with_name(name, |name| fresh.append(name, value))?;
        }
        if map == Map::RequestHeaders
            && let Some(host) = self.request.borrow().headers.get(HOST)
        {
            fresh.insert(HOST, host.clone());
        }
        fresh.extend(framing);
        self.with_mut(map, |headers| *headers = fresh)?;
        // A path first that any method may have, then the method, then one that only OPTIONS may.
        let rank = |name: &[u8], value: &[u8]| match name {
            b":path" if value != b"*" => 0,
            b":method" => 1,
            _ => 2,
        };
        let mut pseudo: Vec<_> = pairs.iter().filter(|(name, _)| is_pseudo(map, name)).collect();
        pseudo.sort_by_key(|(name, value)| rank(name, value));
        pseudo.into_iter().try_for_each(|(name, value)| self.set_pseudo(map, name, value))
    }

    /// The target host, wherever it stands.
    pub fn authority(&self) -> String {
        authority(&self.request.borrow()).unwrap_or_default().to_owned()
    }

    fn pseudo(&self, map: Map, name: &str, give: &mut dyn FnMut(&[u8])) {
        match (map, name) {
            (Map::RequestHeaders, ":method") => give(self.request.borrow().method.as_str().as_bytes()),
            (Map::RequestHeaders, ":path") => give(path(&self.request.borrow().uri).as_bytes()),
            (Map::RequestHeaders, ":scheme") => give(self.scheme().as_bytes()),
            (Map::ResponseHeaders, ":status") => {
                if let Some(response) = &*self.response.borrow() {
                    give(response.status.as_str().as_bytes());
                }
            }
            (Map::RequestHeaders, ":authority") => {
                if let Some(authority) = authority(&self.request.borrow()) {
                    give(authority.as_bytes());
                }
            }
            (Map::RequestHeaders, name) if !name.starts_with(':') => self.pseudo(map, ":authority", give),
            _ => {}
        }
    }

    /// How the client spoke to this edge.
    pub fn scheme(&self) -> &'static str {
        if self.connection.tls.is_some() { "https" } else { "http" }
    }

    fn set_pseudo(&self, map: Map, name: &[u8], value: &[u8]) -> Answer<()> {
        self.writable(map)?;
        match (map, name) {
            (Map::ResponseHeaders, b":status") => {
                let mut response = self.response.borrow_mut();
                let Some(response) = &mut *response else { return Ok(()) };
                // An interim answer cannot be made of a final one. What is there may be written back.
                let status = StatusCode::from_bytes(value).ok();
                let status = status.filter(|s| (200..=599).contains(&s.as_u16()) || *s == response.status);
                response.status =
                    status.ok_or_else(|| bad(format!(":status: {} is no status (200 to 599)", show(value))))?;
                Ok(())
            }
            (Map::RequestHeaders, b":method") => {
                let method =
                    Method::from_bytes(value).map_err(|_| bad(format!(":method: {} is no method", show(value))))?;
                let mut request = self.request.borrow_mut();
                if method == Method::CONNECT && request.method != method {
                    return Err(bad(":method: a request is no tunnel: it cannot become CONNECT".into()));
                }
                if method != Method::OPTIONS && path(&request.uri) == "*" {
                    return Err(bad(":method: the :path is *, which is for OPTIONS alone; set :path first".into()));
                }
                request.method = method;
                Ok(())
            }
            (Map::RequestHeaders, b":path") => {
                if value == b"*" && self.request.borrow().method != Method::OPTIONS {
                    return Err(bad(":path: * is for OPTIONS alone".into()));
                }
                let path = PathAndQuery::try_from(value)
                    .ok()
                    .filter(|path| path.as_str().starts_with('/') || path.as_str() == "*")
                    .ok_or_else(|| bad(format!(":path: {} is no path (it begins with /)", show(value))))?;
                self.edit_uri(|parts| parts.path_and_query = Some(path))
            }
            // Which scheme the origin is spoken to with is the pool's affair.
            (Map::RequestHeaders, b":scheme") => Scheme::try_from(value)
                .map(|_| ())
                .map_err(|_| bad(format!(":scheme: {} is no scheme (http, https)", show(value)))),
            (Map::RequestHeaders, b":authority") | (Map::RequestHeaders, _) if !unknown_pseudo(name) => {
                let authority = Authority::try_from(value)
                    .map_err(|_| bad(format!(":authority: {} is no host[:port]", show(value))))?;
                let host = header_value(value)?;
                self.request.borrow_mut().headers.insert(HOST, host);
                if self.request.borrow().uri.authority().is_none() {
                    return Ok(());
                }
                self.edit_uri(|parts| parts.authority = Some(authority))
            }
            _ => Err(bad(format!("{} is not a pseudo header of {}", show(name), map.lua()))),
        }
    }

    fn edit_uri(&self, edit: impl FnOnce(&mut http::uri::Parts)) -> Answer<()> {
        let mut request = self.request.borrow_mut();
        let mut parts = request.uri.clone().into_parts();
        edit(&mut parts);
        request.uri = Uri::from_parts(parts).map_err(|error| bad(error.to_string()))?;
        Ok(())
    }

    fn with(&self, map: Map, read: impl FnOnce(&HeaderMap)) {
        match map {
            Map::RequestHeaders => read(&self.request.borrow().headers),
            Map::ResponseHeaders => {
                if let Some(response) = &*self.response.borrow() {
                    read(&response.headers);
                }
            }
            Map::RequestTrailers | Map::ResponseTrailers => {
                if let Some(trailers) = &*self.trailers(map.side()).borrow() {
                    read(trailers);
                }
            }
        }
    }

    fn with_mut<T>(&self, map: Map, write: impl FnOnce(&mut HeaderMap) -> T) -> Answer<T> {
        self.writable(map)?;
        match map {
            Map::RequestHeaders => Ok(write(&mut self.request.borrow_mut().headers)),
            Map::ResponseHeaders => {
                let mut response = self.response.borrow_mut();
                let response = response.as_mut().ok_or_else(|| bad("there is no response yet".into()))?;
                Ok(write(&mut response.headers))
            }
            Map::RequestTrailers | Map::ResponseTrailers => {
                let mut trailers = self.trailers(map.side()).borrow_mut();
                let text = || bad(format!("{} can be changed in their own callback only", map.lua()));
                Ok(write(trailers.as_mut().ok_or_else(text)?))
            }
        }
    }

    /// Whether a value of this size fits beside what is there.
    fn has_room(&self, map: Map, value: &[u8]) -> Answer<()> {
        if value.len() <= SMALL {
            return Ok(());
        }
        let mut bytes = value.len();
        self.with(map, |headers| {
            bytes += headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
        });
        if bytes <= MOST_BYTES {
            return Ok(());
        }
        let text = format!("{}: {bytes} bytes with this one (allowed: {MOST_BYTES})", map.lua());
        Err(Refusal::new(Status::LimitExceeded, text))
    }

    fn writable(&self, map: Map) -> Answer<()> {
        if matches!(map, Map::RequestHeaders | Map::ResponseHeaders) && self.sent(map.side()) {
            let text = format!("{}: they have been sent already", map.lua());
            return Err(Refusal::new(Status::PhaseDenied, text));
        }
        Ok(())
    }
}

pub fn path(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", PathAndQuery::as_str)
}

fn authority(request: &http::request::Parts) -> Option<&str> {
    let host = request.headers.get(HOST).and_then(|host| host.to_str().ok());
    host.or_else(|| request.uri.authority().map(Authority::as_str))
}

fn is_pseudo(map: Map, name: &[u8]) -> bool {
    name.starts_with(b":") || (map == Map::RequestHeaders && name.eq_ignore_ascii_case(b"host"))
}

fn unknown_pseudo(name: &[u8]) -> bool {
    name.starts_with(b":") && name != b":authority"
}

/// What is said from one hop to the next about the connection itself (RFC 9110, 7.6.1). `te` and `trailer`
/// are about the message too, and plugins may write them.
fn is_framing(name: &HeaderName) -> bool {
    [TRANSFER_ENCODING, CONNECTION, UPGRADE].contains(name)
        || ["keep-alive", "proxy-connection", "http2-settings"].contains(&name.as_str())
}

/// Whether a plugin may answer with this header.
pub fn may_answer(name: &[u8], value: &[u8]) -> Answer<()> {
    header_value(value)?;
    with_name(name, |_| ())
}

/// With a name that plugins may write.
fn with_name<T>(name: &[u8], with: impl FnOnce(&HeaderName) -> T) -> Answer<T> {
    let known = name::with(name, |name| {
        if is_framing(name) {
            return Err(bad(format!("{name}: framing belongs to the edge")));
        }
        Ok(with(name))
    });
    known.ok_or_else(|| bad(format!("{} is no header name", show(name))))?
}

fn header_value(value: &[u8]) -> Answer<HeaderValue> {
    HeaderValue::from_bytes(value).map_err(|_| bad(format!("{} is no header value", show(value))))
}

fn bad(text: String) -> Refusal {
    Refusal::new(Status::BadArgument, text)
}

/// A guest's bytes in a message: short, and printable.
fn show(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(40)];
    format!("\"{}\"", cut.escape_ascii())
}
