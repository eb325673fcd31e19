//! GET over HTTPS, for modules: bounded in bytes, and in redirects, which lead to https:// only and
//! take no credentials to another host.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Of one GET.
const MOST_REDIRECTS: usize = 5;
/// Addresses of one name that are tried.
const MOST_TRIED: usize = 4;

/// `https://host:port/path`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    host: String,
    port: u16,
    /// With its query.
    path: String,
}

/// What is asked for.
pub struct Ask<'a> {
    pub url: &'a Url,
    pub accept: &'static str,
    /// The value of `authorization`; only the host of `url` is told it.
    pub authorization: Option<HeaderValue>,
    /// Bytes of the body.
    pub most: u64,
}

/// Some answer; its body is read only if it is a 200.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Whom it trusts.
pub struct Client {
    tls: TlsConnector,
}

impl Url {
    /// `None` if it is no URL that may be asked.
    pub fn parse(text: &str) -> Option<Url> {
        let uri: Uri = text.split('#').next()?.parse().ok()?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
        if uri.scheme_str() != Some("https") || authority.host().is_empty() {
            return None;
        }
        let host = authority.host().to_ascii_lowercase();
        let port = match authority.as_str()[authority.host().len()..].strip_prefix(':') {
            Some(_) => authority.port_u16()?,
            None => 443,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Some(Url { host, port, path: if path.is_empty() { "/" } else { path }.to_owned() })
    }

    /// `host`, and the port if it is not the usual one.
    pub fn authority(&self) -> String {
        if self.port == 443 { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    pub fn same_host(&self, other: &Url) -> bool {
        (&self.host, self.port) == (&other.host, other.port)
    }

    /// Where a `location` leads from here.
    fn join(&self, location: &str) -> Option<Url> {
        let within = |path: String| Url::parse(&format!("https://{}{path}", self.authority()));
        if let Some(rest) = location.strip_prefix("//") {
            return Url::parse(&format!("https://{rest}"));
        }
        if location.split(['/', '?', '#']).next().is_some_and(|first| first.contains(':')) {
            return Url::parse(location);
        }
        if location.starts_with('/') {
            return within(location.to_owned());
        }
        let path = self.path.split('?').next().unwrap_or("/");
        let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
        within(format!("{folder}{location}"))
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Queries of storage hosts are signed: whoever reads one may fetch by it.
        write!(f, "https://{}{}", self.authority(), self.path.split('?').next().unwrap_or_default())
    }
}

impl Client {
    pub fn new(tls: Arc<ClientConfig>) -> Client {
        Client { tls: TlsConnector::from(tls) }
    }

    /// The answer at the end of all redirects. An error says what was asked.
    pub async fn get(&self, ask: &Ask<'_>) -> Result<Answer, String> {
        let mut url = ask.url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let authorization = ask.authorization.as_ref().filter(|_| url.same_host(ask.url));
            let answer = self.once(&url, ask, authorization).await.map_err(|why| format!("{url}: {why}"))?;
            match answer.status.as_u16() {
                301 | 302 | 303 | 307 | 308 => {
                    let to = answer.headers.get(header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default();
                    url = url.join(to).ok_or_else(|| {
                        format!("{url}: redirected to \"{}\"; only https:// is followed", to.escape_debug())
                    })?;
                }
                _ => return Ok(answer),
            }
        }
        Err(format!("{}: redirected more than {MOST_REDIRECTS} times", ask.url))
    }

    async fn once(&self, url: &Url, ask: &Ask<'_>, authorization: Option<&HeaderValue>) -> Result<Answer, String> {
        let mut request = Request::get(&url.path)
            .header(header::HOST, url.authority())
            .header(header::ACCEPT, ask.accept)
            .header(header::USER_AGENT, concat!("forebay/", env!("CARGO_PKG_VERSION")))
            .header(header::CONNECTION, "close");
        if let Some(value) = authorization {
            let mut value = value.clone();
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
        let io = TokioIo::new(self.connect(url).await?);
        let (mut sender, connection) = http1::handshake(io).await.map_err(|error| error.to_string())?;
        let talk = async {
            let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
            read(response, ask.most).await
        };
        let mut talk = std::pin::pin!(talk);
        // Both on this task: whoever gives up the one gives up the other.
        tokio::select! {
            answer = &mut talk => answer,
            // It ends when all is read; what is left to say is the answer's.
            _ = connection => talk.await,
        }
    }

    async fn connect(&self, url: &Url) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
        let bare = url.host.strip_prefix('[').and_then(|v6| v6.strip_suffix(']')).unwrap_or(&url.host);
        let found = tokio::net::lookup_host((bare, url.port)).await.map_err(|error| error.to_string())?;
        let name = ServerName::try_from(bare.to_owned()).map_err(|error| error.to_string())?;
        let mut why = "no address".to_owned();
        for address in found.take(MOST_TRIED).collect::<Vec<SocketAddr>>() {
            match TcpStream::connect(address).await {
                Ok(stream) => return self.tls.connect(name, stream).await.map_err(|error| error.to_string()),
                Err(error) => why = error.to_string(),
            }
        }
        Err(why)
    }
}

async fn read(response: Response<Incoming>, most: u64) -> Result<Answer, String> {
    let (parts, mut body) = response.into_parts();
    let mut all = BytesMut::new();
    if parts.status == StatusCode::OK {
        let long = |is: u64| format!("has {is} bytes or more; at most {most} are taken");
        if body.size_hint().lower() > most {
            return Err(long(body.size_hint().lower()));
        }
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| format!("the body broke off after {} bytes: {error}", all.len()))?;
            let Ok(data) = frame.into_data() else { continue };
            if (all.len() + data.len()) as u64 > most {
                return Err(long((all.len() + data.len()) as u64));
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(Answer { status: parts.status, headers: parts.headers, body: all.freeze() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn only_https_without_a_user_is_a_url() {
        assert_eq!(url("https://A.test").authority(), "a.test");
        assert_eq!(url("https://a.test:443/x").authority(), "a.test");
        assert_eq!(url("https://[::1]:8443/x?y#z").authority(), "[::1]:8443");
        for bad in
            ["http://a.test/", "ftp://a/", "/x", "", "https://", "https://u:p@a.test/", "https://a:x/", "file:///x"]
        {
            assert_eq!(Url::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_redirect_never_leaves_https() {
        let from = url("https://a.test:8443/dir/file?q=1");
        let to = |location: &str| from.join(location).map(|url| (url.authority(), url.path));
        let at = |authority: &str, path: &str| Some((authority.to_owned(), path.to_owned()));
        assert_eq!(to("https://b.test/x?y=1"), at("b.test", "/x?y=1"));
        assert_eq!(to("//b.test/x"), at("b.test", "/x"));
        assert_eq!(to("/x"), at("a.test:8443", "/x"));
        assert_eq!(to("other"), at("a.test:8443", "/dir/other"));
        for bad in ["http://a.test:8443/x", "HTTP://b.test/", "file:///etc/passwd", "javascript:x", "https://u@b.test/"]
        {
            assert_eq!(to(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_signed_query_is_not_shown() {
        assert_eq!(url("https://a.test/x?signature=s3cr3t").to_string(), "https://a.test/x");
    }
}
