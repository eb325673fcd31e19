//! Finds the route of a request. Pure: no I/O, no clock.
//!
//! **Order.** The most specific path wins: exact, then the longest prefix, then patterns; among
//! equals the order of the file. Host, methods and headers only say whether a route matches.
//!
//! **Which path.** Routes are matched on the *plain* path, and the plain path is what origins
//! get, so that an origin cannot read a path differently from the route that let it through:
//! escapes of unreserved characters are undone (`%61` is `a`, `%2e` is `.`), dot segments are
//! resolved (the root is its own parent), slashes in a row are merged. A path that holds a broken
//! escape, an escaped NUL or a raw backslash is refused. Escaped slashes and backslashes are
//! kept, since some APIs put whole paths into one segment; but if reading them as slashes would
//! lead to another route, the request is refused as well.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use config::{HeaderMatch, PathMatch, RouteTo, ValueMatch};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use crate::body::Body;
use crate::life::Life;

/// One route, compiled.
pub struct Route {
    pub name: Arc<str>,
    pub spec: Arc<config::Route>,
    /// In the order of the file; response events go through it backwards.
    pub plugins: Vec<Arc<Life>>,
    /// The pool it leads to, if it leads to one.
    pub pool: Option<Arc<str>>,
    /// The answer that it gives itself, if it leads to no pool.
    respond: Option<(StatusCode, HeaderMap, Bytes)>,
}

/// Routes in the order in which they are tried.
#[derive(Default)]
pub struct Router {
    ordered: Vec<Arc<Route>>,
}

/// A path that no route may be asked for.
pub type BadPath = &'static str;

impl Route {
    pub fn new(spec: Arc<config::Route>, plugins: Vec<Arc<Life>>) -> Route {
        let (pool, respond) = match &spec.to {
            RouteTo::Pool(pool) => (Some(Arc::from(pool.as_str())), None),
            RouteTo::Respond(respond) => (None, Some(compile(respond))),
        };
        Route { name: spec.name.as_str().into(), spec, plugins, pool, respond }
    }

    /// The response of a route that leads to no pool.
    pub fn direct(&self) -> Option<Response<Body>> {
        let (status, headers, body) = self.respond.as_ref()?;
        let mut response = Response::new(Body::from(body.clone()));
        *response.status_mut() = *status;
        *response.headers_mut() = headers.clone();
        Some(response)
    }
}

/// The configuration has been checked: what does not parse here does not happen.
fn compile(respond: &config::DirectResponse) -> (StatusCode, HeaderMap, Bytes) {
    let status = StatusCode::from_u16(respond.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut headers = HeaderMap::new();
    for (name, value) in &respond.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
    }
    (status, headers, Bytes::copy_from_slice(respond.body.as_bytes()))
}

impl Router {
    /// `routes` are in the order of the file.
    pub fn new(routes: &[Arc<Route>]) -> Router {
        let mut ordered = routes.to_vec();
        ordered.sort_by_key(|route| match &route.spec.path {
            PathMatch::Exact(_) => (0, 0),
            PathMatch::Prefix(prefix) => (1, usize::MAX - prefix.trim_end_matches('/').len()),
            PathMatch::Pattern(_) => (2, 0),
        });
        Router { ordered }
    }

    /// `host` is without port, in any case; `path` is plain ([`plain_path`]).
    pub fn find(&self, host: &str, path: &str, method: &Method, headers: &HeaderMap) -> Option<&Arc<Route>> {
        self.ordered.iter().find(|route| {
            let spec = &route.spec;
            path_matches(&spec.path, path)
                && (spec.hosts.is_empty() || spec.hosts.iter().any(|pattern| host_matches(pattern, host)))
                && (spec.methods.is_empty() || spec.methods.iter().any(|m| m == method.as_str()))
                && spec.headers.iter().all(|wanted| header_matches(wanted, headers))
        })
    }

    /// Like [`Router::find`], but refuses a path whose route depends on whether an escaped slash
    /// is a slash.
    pub fn find_sure(
        &self,
        host: &str,
        path: &str,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Option<&Arc<Route>>, BadPath> {
        let found = self.find(host, path, method, headers);
        let Some(opened) = open_slashes(path) else { return Ok(found) };
        let opened = plain_path(&opened)?;
        let other = self.find(host, &opened, method, headers);
        match (found, other) {
            (Some(a), Some(b)) if Arc::ptr_eq(a, b) => Ok(found),
            (None, None) => Ok(None),
            _ => Err("an escaped slash would lead to another route"),
        }
    }
}

fn path_matches(wanted: &PathMatch, path: &str) -> bool {
    match wanted {
        PathMatch::Exact(exact) => path == exact,
        PathMatch::Prefix(prefix) => {
            let prefix = prefix.trim_end_matches('/');
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        PathMatch::Pattern(pattern) => pattern.find(path).is_some_and(|found| found.range() == (0..path.len())),
    }
}

fn host_matches(pattern: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    match pattern.strip_prefix('*') {
        // `.example.com` must have a label before it.
        Some(suffix) => {
            host.len() > suffix.len()
                && host.is_char_boundary(host.len() - suffix.len())
                && host[host.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
        }
        None => host.eq_ignore_ascii_case(pattern),
    }
}

fn header_matches(wanted: &HeaderMatch, headers: &HeaderMap) -> bool {
    headers.get_all(&wanted.name).iter().any(|value| match &wanted.value {
        ValueMatch::Present => true,
        ValueMatch::Exact(exact) => value.as_bytes() == exact.as_bytes(),
        ValueMatch::Pattern(pattern) => value.to_str().is_ok_and(|value| pattern.is_match(value)),
    })
}

/// The path in its plain form; see the head of this file. Borrowed if it was plain already.
pub fn plain_path(path: &str) -> Result<Cow<'_, str>, BadPath> {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') {
        // `OPTIONS *`, or the empty path of an absolute target.
        return match path {
            "*" => Ok(Cow::Borrowed(path)),
            "" => Ok(Cow::Borrowed("/")),
            _ => Err("the target is not a path"),
        };
    }
    let odd = |(i, byte): (usize, &u8)| match byte {
        b'%' | b'\\' => true,
        b'/' => matches!(bytes.get(i + 1), Some(b'/' | b'.')),
        _ => false,
    };
    if !bytes.iter().enumerate().any(odd) {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = undo_escapes(path)?;
    let mut plain = String::with_capacity(decoded.len());
    let mut segments = decoded.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "" if !last => {}
            "" => plain.push('/'),
            "." if last => plain.push('/'),
            "." => {}
            ".." => {
                // The root is its own parent (RFC 3986, 5.2.4).
                plain.truncate(plain.rfind('/').unwrap_or(0));
                if last {
                    plain.push('/');
                }
            }
            segment => {
                plain.push('/');
                plain.push_str(segment);
            }
        }
    }
    if plain.is_empty() {
        plain.push('/');
    }
    if plain == path { Ok(Cow::Borrowed(path)) } else { Ok(Cow::Owned(plain)) }
}

/// Undoes escapes of unreserved characters; the others are kept with their digits in upper case.
fn undo_escapes(path: &str) -> Result<String, BadPath> {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find(['%', '\\']) {
        decoded.push_str(&rest[..at]);
        if rest.as_bytes()[at] == b'\\' {
            return Err("a backslash in the path");
        }
        let digits = rest.as_bytes().get(at + 1..at + 3).ok_or("a broken escape in the path")?;
        let digit = |d: u8| (d as char).to_digit(16).ok_or("a broken escape in the path");
        let byte = (digit(digits[0])? * 16 + digit(digits[1])?) as u8;
        match byte {
            0 => return Err("an escaped NUL in the path"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => decoded.push(byte as char),
            byte => {
                decoded.push('%');
                decoded.push(char::from(digits[0]).to_ascii_uppercase());
                decoded.push(char::from(digits[1]).to_ascii_uppercase());
                debug_assert!(byte != b'.');
            }
        }
        rest = &rest[at + 3..];
    }
    decoded.push_str(rest);
    Ok(decoded)
}

/// The plain path with escaped slashes and backslashes opened, if it has any.
fn open_slashes(path: &str) -> Option<String> {
    (path.contains("%2F") || path.contains("%5C")).then(|| path.replace("%2F", "/").replace("%5C", "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(name: &str, path: PathMatch) -> config::Route {
        config::Route {
            name: name.into(),
            hosts: vec![],
            path,
            methods: vec![],
            headers: vec![],
            plugins: vec![],
            to: config::RouteTo::Pool("p".into()),
        }
    }

    fn prefix(path: &str) -> PathMatch {
        PathMatch::Prefix(path.into())
    }

    fn pattern(text: &str) -> PathMatch {
        PathMatch::Pattern(regex::Regex::new(text).unwrap())
    }

    fn router(routes: Vec<config::Route>) -> Router {
        let routes: Vec<_> = routes.into_iter().map(|spec| Arc::new(Route::new(Arc::new(spec), vec![]))).collect();
        Router::new(&routes)
    }

    fn find<'a>(router: &'a Router, host: &str, path: &str) -> &'a str {
        router.find(host, path, &Method::GET, &HeaderMap::new()).map_or("-", |route| &route.name)
    }

    #[test]
    fn exact_beats_the_longest_prefix_beats_patterns_beats_nothing() {
        let router = router(vec![
            route("pattern", pattern("/a.*")),
            route("root", prefix("/api")),
            route("deep", prefix("/api/v1/")),
            route("exact", PathMatch::Exact("/api/v1".into())),
            route("twin", PathMatch::Exact("/api/v1".into())),
        ]);
        for (path, wanted) in [
            ("/api/v1", "exact"),
            ("/api/v1/", "deep"),
            ("/api/v1/x", "deep"),
            ("/api/v10", "root"),
            ("/api", "root"),
            ("/apix", "pattern"),
            ("/b/a", "-"),
            ("/", "-"),
        ] {
            assert_eq!(find(&router, "h", path), wanted, "{path}");
        }
    }

    #[test]
    fn hosts_match_exactly_or_below_a_wildcard() {
        let mut exact = route("exact", prefix("/"));
        exact.hosts = vec!["a.example.com".into()];
        let mut wild = route("wild", prefix("/"));
        wild.hosts = vec!["*.example.com".into(), "other.org".into()];
        let router = router(vec![exact, wild, route("any", prefix("/any"))]);
        for (host, wanted) in [
            ("a.example.com", "exact"),
            ("A.Example.COM", "exact"),
            ("a.example.com.", "exact"),
            ("b.example.com", "wild"),
            ("b.c.example.com", "wild"),
            ("example.com", "-"),
            ("xexample.com", "-"),
            ("other.org", "wild"),
            ("", "-"),
        ] {
            assert_eq!(find(&router, host, "/x"), wanted, "{host}");
        }
    }

    #[test]
    fn methods_and_headers_decide_whether_a_route_matches() {
        let mut post = route("post", prefix("/"));
        post.methods = vec!["POST".into()];
        let mut beta = route("beta", prefix("/"));
        beta.headers = vec![
            HeaderMatch { name: "x-beta".into(), value: ValueMatch::Exact("1".into()) },
            HeaderMatch { name: "x-user".into(), value: ValueMatch::Present },
        ];
        let router = router(vec![post, beta, route("rest", prefix("/"))]);
        let mut headers = HeaderMap::new();
        let name = |m: Method, h: &HeaderMap| router.find("h", "/", &m, h).unwrap().name.clone();
        assert_eq!(&*name(Method::POST, &headers), "post");
        assert_eq!(&*name(Method::GET, &headers), "rest");
        headers.append("x-beta", "0".parse().unwrap());
        headers.append("x-beta", "1".parse().unwrap());
        assert_eq!(&*name(Method::GET, &headers), "rest");
        headers.insert("x-user", "u".parse().unwrap());
        assert_eq!(&*name(Method::GET, &headers), "beta");
    }

    #[test]
    fn paths_become_plain_or_are_refused() {
        for (path, wanted) in [
            ("/", Ok("/")),
            ("", Ok("/")),
            ("*", Ok("*")),
            ("/a/b", Ok("/a/b")),
            ("/a/b/", Ok("/a/b/")),
            ("/api/../admin", Ok("/admin")),
            ("/api/%2e%2E/admin", Ok("/admin")),
            ("/api/.%2e/admin/.", Ok("/admin/")),
            ("//admin///x", Ok("/admin/x")),
            ("/a/./b/..", Ok("/a/")),
            ("/%61dmin", Ok("/admin")),
            ("/a%20b%c3%a4", Ok("/a%20b%C3%A4")),
            ("/g%2fp", Ok("/g%2Fp")),
            ("/.well-known/x", Ok("/.well-known/x")),
            ("/...", Ok("/...")),
            ("/..", Ok("/")),
            ("/a/../../b", Ok("/b")),
            ("/%zz", Err(())),
            ("/%2", Err(())),
            ("/%00", Err(())),
            ("/a\\..\\b", Err(())),
            ("a/b", Err(())),
        ] {
            assert_eq!(plain_path(path).as_deref().map_err(|_| ()), wanted, "{path}");
        }
    }

    #[test]
    fn an_escaped_slash_cannot_lead_around_a_route() {
        let router = router(vec![route("admin", prefix("/admin")), route("rest", prefix("/"))]);
        let find = |path: &str| {
            let path = plain_path(path)?;
            let found = router.find_sure("h", &path, &Method::GET, &HeaderMap::new())?;
            Ok::<_, BadPath>(found.map(|route| route.name.to_string()))
        };
        assert_eq!(find("/projects/g%2Fp").unwrap().unwrap(), "rest");
        assert_eq!(find("/admin/g%2Fp").unwrap().unwrap(), "admin");
        for path in ["/%2fadmin", "/x%2f..%2fadmin", "/x/..%5cadmin", "/..%2f..%2fadmin"] {
            assert!(find(path).is_err(), "{path}");
        }
    }
}
