//! Named targets: whom plugins may call besides the pools of the region.
//!
//! A plugin writes the authority and the path of its callout, so it could make the edge ask whatever
//! the edge can reach: its own admin address, a cloud's metadata service, a neighbour behind the
//! firewall. So a target is one address that the region file names, or, where it says `any_address`,
//! any public one: a name is looked up, the addresses that it gives are checked, and one that passed is
//! connected to (not the name again, which could then mean another). `hosts` and `path_prefix` narrow
//! both down. Redirects are never followed: who follows them asks where a stranger says.
//!
//! - [`idle`]: the connections of a worker

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use abi::{Answer, Refusal, Status};
use config::TargetTo;
use http::uri::Authority;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use self::idle::Key;
use super::public::is_public;
use crate::body::Body;
use crate::worker::Worker;

pub mod idle;

/// What TLS calls HTTP/2.
const HTTP2: &[u8] = b"h2";
/// Addresses of one name that are tried.
const MOST_TRIED: usize = 4;

pub struct Target {
    /// Unique in this process: connections of an old configuration are not those of a new one.
    id: u64,
    pub spec: config::Target,
    tls: Option<Arc<ClientConfig>>,
}

/// Where one callout goes: checked, not yet looked up.
pub struct Way {
    target: Arc<Target>,
    host: String,
    port: u16,
}

/// No answer.
pub struct Failed {
    pub why: String,
    /// There was no connection, or it ended before any answer.
    pub unanswered: bool,
}

trait Io: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// The targets of a region, with their roots as they are on disk now.
pub fn all(region: &config::Region) -> Result<HashMap<String, Arc<Target>>, Vec<String>> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let (mut targets, mut errors) = (HashMap::new(), Vec::new());
    for (name, spec) in &region.targets {
        match spec.tls.as_ref().map(|tls| tls_client(tls, spec.http2)).transpose() {
            Ok(tls) => {
                let id = NEXT.fetch_add(1, Ordering::Relaxed);
                targets.insert(name.clone(), Arc::new(Target { id, spec: spec.clone(), tls }));
            }
            Err(error) => errors.push(format!("target {name:?}: {error}")),
        }
    }
    if errors.is_empty() { Ok(targets) } else { Err(errors) }
}

fn tls_client(tls: &config::TargetTls, http2: bool) -> Result<Arc<ClientConfig>, String> {
    let mut client = client(tls.roots.as_deref(), "tls.roots")?;
    if http2 {
        Arc::make_mut(&mut client).alpn_protocols = vec![HTTP2.to_vec()];
    }
    Ok(client)
}

/// Trusts the roots of a PEM file, or those of the system; `key` is where the region file names one.
pub fn client(from: Option<&Path>, key: &str) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    let added = match from {
        Some(path) => {
            let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            let read = CertificateDer::pem_file_iter(path).map_err(|error| named(&error))?;
            let read = read.collect::<Result<Vec<_>, _>>().map_err(|error| named(&error))?;
            roots.add_parsable_certificates(read).0
        }
        None => roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs).0,
    };
    if added == 0 {
        return Err(match from {
            Some(path) => format!("{}: no certificate in it can be a root", path.display()),
            None => format!("the system has no roots to trust; \"{key}\" can name a file of them"),
        });
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

impl Target {
    /// The authority of a callout that names none; `None` if it must.
    pub fn authority(&self) -> Option<&str> {
        let TargetTo::Address(address) = &self.spec.to else { return None };
        let usual = if self.tls.is_some() { ":443" } else { ":80" };
        Some(address.strip_suffix(usual).unwrap_or(address))
    }

    /// Holds a callout against what the region allows.
    pub fn way(self: &Arc<Target>, authority: &str, path: &str) -> Answer<Way> {
        let (name, bad) = (&self.spec.name, |text: String| Refusal::new(Status::BadArgument, text));
        let asked = authority.parse::<Authority>().ok().filter(|asked| !asked.as_str().contains('@'));
        let asked = asked.ok_or_else(|| bad(format!("no authority {authority:?} (host or host:port)")))?;
        let host = asked.host().to_ascii_lowercase();
        if !self.spec.hosts.is_empty() && !self.spec.hosts.iter().any(|allowed| covers(allowed, &host)) {
            let allowed = self.spec.hosts.join(", ");
            let text = format!("target {name:?} is not for host {host:?} (only for: {allowed})");
            return Err(Refusal::new(Status::CapabilityDenied, text));
        }
        if let Some(prefix) = &self.spec.path_prefix
            && !is_below(prefix, path)
        {
            let text = format!("target {name:?} is not for path {path:?} (only for {prefix} and below)");
            return Err(Refusal::new(Status::CapabilityDenied, text));
        }
        let (host, port) = match &self.spec.to {
            TargetTo::Any { .. } => (host, asked.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 })),
            TargetTo::Address(address) => {
                let (host, port) = address.rsplit_once(':').unwrap_or((address, "80"));
                (host.to_owned(), port.parse().unwrap_or(80))
            }
        };
        let host = host.strip_prefix('[').and_then(|v6| v6.strip_suffix(']')).map_or(host.clone(), str::to_owned);
        Ok(Way { target: self.clone(), host, port })
    }
}

impl Way {
    /// One request over an idle connection or a new one. An idle one that has ended meanwhile does
    /// not count.
    pub async fn send(&self, worker: &Rc<Worker>, request: impl Fn() -> Request<Body>) -> Result<Received, Failed> {
        if self.target.spec.http2 {
            return self.send_http2(worker, request()).await;
        }
        while let Some(mut sender) = worker.targets.take(&self.key()) {
            let request = request();
            let idempotent = request.method().is_idempotent();
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(Received { response, sender: Some(sender) }),
                Err(mut error) => {
                    // Nothing of it was sent, or it does no harm to send it again: another connection.
                    if error.take_message().is_none() && !idempotent {
                        return Err(Failed { why: error.into_error().to_string(), unanswered: true });
                    }
                }
            }
        }
        let unanswered = |why| Failed { why, unanswered: true };
        let io = self.connect().await.map_err(unanswered)?;
        let made = http1::handshake(TokioIo::new(io)).await;
        let (mut sender, connection) = made.map_err(|error| unanswered(self.named(&error)))?;
        drive(connection);
        match sender.send_request(request()).await {
            Ok(response) => Ok(Received { response, sender: Some(sender) }),
            Err(error) => Err(Failed { why: error.to_string(), unanswered: true }),
        }
    }

    /// Over the shared connection, or a new one if there is none or it has ended meanwhile.
    async fn send_http2(&self, worker: &Rc<Worker>, mut request: Request<Body>) -> Result<Received, Failed> {
        let unanswered = |why| Failed { why, unanswered: true };
        self.absolute(&mut request).map_err(unanswered)?;
        if let Some(mut shared) = worker.targets.shared(&self.key()) {
            match shared.try_send_request(request).await {
                Ok(response) => return Ok(Received { response, sender: None }),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(unanswered(error.into_error().to_string())),
                },
            }
        }
        let io = self.connect().await.map_err(unanswered)?;
        let made = http2::Builder::new(crate::worker::LocalExecutor).handshake(TokioIo::new(io)).await;
        let (mut shared, connection) = made.map_err(|error| unanswered(self.named(&error)))?;
        drive(connection);
        worker.targets.share(self.key(), shared.clone());
        match shared.send_request(request).await {
            Ok(response) => Ok(Received { response, sender: None }),
            Err(error) => Err(unanswered(error.to_string())),
        }
    }

    /// The target as HTTP/2 writes it.
    fn absolute(&self, request: &mut Request<Body>) -> Result<(), String> {
        let host = request.headers_mut().remove(http::header::HOST);
        let authority = host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or(&self.host);
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let scheme = if self.target.tls.is_some() { "https" } else { "http" };
        let uri = http::Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
        *request.uri_mut() = uri.map_err(|error| self.named(&error))?;
        *request.version_mut() = http::Version::HTTP_2;
        Ok(())
    }

    /// Gives a connection back whose answer was read whole.
    pub fn keep(&self, worker: &Rc<Worker>, sender: Option<SendRequest<Body>>) {
        // What is shared stays where it is.
        let Some(mut sender) = sender else { return };
        let (worker, key) = (worker.clone(), self.key());
        tokio::task::spawn_local(async move {
            if sender.ready().await.is_ok() {
                worker.targets.put(key, sender);
            }
        });
    }

    fn key(&self) -> Key {
        (self.target.id, self.host.clone(), self.port)
    }

    fn named(&self, error: &dyn std::fmt::Display) -> String {
        format!("{}:{}: {error}", self.host, self.port)
    }

    async fn connect(&self) -> Result<Box<dyn Io>, String> {
        let mut why = format!("{}: no address", self.host);
        for address in self.addresses().await?.into_iter().take(MOST_TRIED) {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // Only latency is lost without it.
                    let _ = stream.set_nodelay(true);
                    return self.shake_hands(stream).await;
                }
                Err(error) => why = self.named(&error),
            }
        }
        Err(why)
    }

    async fn shake_hands(&self, stream: TcpStream) -> Result<Box<dyn Io>, String> {
        let (Some(client), Some(spec)) = (&self.target.tls, &self.target.spec.tls) else { return Ok(Box::new(stream)) };
        let name = spec.server_name.as_ref().unwrap_or(&self.host).clone();
        let name = ServerName::try_from(name).map_err(|error| self.named(&error))?;
        let stream = TlsConnector::from(client.clone()).connect(name, stream).await;
        let stream = stream.map_err(|error| self.named(&error))?;
        if self.target.spec.http2 && stream.get_ref().1.alpn_protocol() != Some(HTTP2) {
            return Err(self.named(&"it does not offer HTTP/2 (ALPN h2)"));
        }
        Ok(Box::new(stream))
    }

    /// Those that may be connected to. A name that gives none is told apart from one that is not known
    /// only in the log: plugins do not learn what is behind the firewall.
    async fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
        let found: Vec<SocketAddr> = match self.host.parse::<IpAddr>() {
            Ok(ip) => vec![(ip, self.port).into()],
            Err(_) => match tokio::net::lookup_host((&*self.host, self.port)).await {
                Ok(found) => found.collect(),
                Err(error) => return Err(format!("{}: {error}", self.host)),
            },
        };
        if self.target.spec.to != (TargetTo::Any { private: false }) {
            return Ok(found);
        }
        let public: Vec<_> = found.iter().filter(|address| is_public(address.ip())).copied().collect();
        if public.is_empty() {
            let target = &*self.target.spec.name;
            tracing::warn!(target: "forebay::callout", name = target, host = %self.host, ?found, "refused: not public");
            return Err(format!("{}: not a public address, and target {target:?} reaches no others", self.host));
        }
        Ok(public)
    }
}

/// Moves a connection until it ends.
fn drive<E: std::fmt::Display>(connection: impl Future<Output = Result<(), E>> + 'static) {
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to a target ended");
        }
    });
}

/// An answer whose body is still on its way, and the connection that it comes over, if it has it alone.
pub struct Received {
    pub response: Response<Incoming>,
    pub sender: Option<SendRequest<Body>>,
}

/// `*.example.com` is for what is below it.
fn covers(allowed: &str, host: &str) -> bool {
    match allowed.strip_prefix('*') {
        Some(below) => host.len() > below.len() && host.ends_with(below),
        None => allowed == host,
    }
}

/// Whether a path is `prefix` or below it, however the other side may read it: a segment that could
/// climb is below nothing.
fn is_below(prefix: &str, path: &str) -> bool {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let prefix = prefix.trim_end_matches('/');
    let below = path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    below && path.split('/').all(|segment| !climbs(segment))
}

/// `.`, `..`, and what hides a slash, escaped once or more often.
fn climbs(segment: &str) -> bool {
    let mut plain = segment.to_ascii_lowercase();
    while plain.contains("%25") {
        plain = plain.replace("%25", "%");
    }
    let plain = plain.replace("%2e", ".").replace("%2f", "/").replace("%5c", "\\");
    plain == "." || plain == ".." || plain.contains(['/', '\\']) || plain.split(';').next() == Some("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_no_way_up_however_it_is_written() {
        for path in ["/v1", "/v1/", "/v1/a/b?c=/../d", "/v1/a%20b", "/v1/..a"] {
            assert!(is_below("/v1", path), "{path}");
        }
        let up = [
            "/",
            "/v2",
            "/v10",
            "/v1/../v2",
            "/v1/%2e%2E/v2",
            "/v1/..%2fv2",
            "/v1/.%2e",
            "/v1/%252e%252e/a",
            "/v1/a\\..\\b",
        ];
        for path in up.into_iter().chain(["/v1/a%5c..", "/v1/..;x/a", "/v1/./a"]) {
            assert!(!is_below("/v1", path), "{path}");
        }
        assert!(is_below("/", "/anything"));
    }

    #[test]
    fn a_star_covers_what_is_below_and_nothing_beside() {
        assert!(covers("*.example.com", "a.b.example.com") && covers("example.com", "example.com"));
        for host in ["example.com", "evilexample.com", "example.com.evil"] {
            assert!(!covers("*.example.com", host), "{host}");
        }
    }
}
