//! Named targets: whom plugins may call besides the pools of the region.
//!
//! A plugin writes the authority and the path of its callout, so it could make the edge ask whatever
//! the edge can reach: its own admin address, a cloud's metadata service, a neighbour behind the
//! firewall. So a target is one address that the region file names, or, where it says `any_address`,
//! any public one: a name is looked up, the addresses that it gives are checked, and one that passed is
//! connected to (not the name again, which could then mean another). `hosts` and `path_prefix` narrow
//! both down. Redirects are never followed: who follows them asks where a stranger says.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use abi::{Answer, Refusal, Status};
use config::TargetTo;
use http::uri::Authority;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::public::is_public;
use crate::body::Body;
use crate::clock;
use crate::worker::Worker;

/// Idle connections that a worker keeps to one host of a target, and how long.
const MOST_IDLE: usize = 8;
const IDLE: Duration = Duration::from_secs(15);
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

/// This worker's idle connections, the last one used last.
#[derive(Default)]
pub struct Idle {
    kept: RefCell<HashMap<Key, Vec<Kept>>>,
}

type Key = (u64, String, u16);
/// A connection, and since when nobody uses it.
type Kept = (SendRequest<Body>, Instant);

trait Io: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// The targets of a region, with their roots as they are on disk now.
pub fn all(region: &config::Region) -> Result<HashMap<String, Arc<Target>>, Vec<String>> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let (mut targets, mut errors) = (HashMap::new(), Vec::new());
    for (name, spec) in &region.targets {
        match spec.tls.as_ref().map(|tls| client(tls.roots.as_deref(), "tls.roots")).transpose() {
            Ok(tls) => {
                let id = NEXT.fetch_add(1, Ordering::Relaxed);
                targets.insert(name.clone(), Arc::new(Target { id, spec: spec.clone(), tls }));
            }
            Err(error) => errors.push(format!("target {name:?}: {error}")),
        }
    }
    if errors.is_empty() { Ok(targets) } else { Err(errors) }
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
        let asked = asked.ok_or_else(|| bad(format!("http.call: no authority {authority:?} (host or host:port)")))?;
        let host = asked.host().to_ascii_lowercase();
        if !self.spec.hosts.is_empty() && !self.spec.hosts.iter().any(|allowed| covers(allowed, &host)) {
            let allowed = self.spec.hosts.join(", ");
            let text = format!("http.call: target {name:?} is not for host {host:?} (only for: {allowed})");
            return Err(Refusal::new(Status::CapabilityDenied, text));
        }
        if let Some(prefix) = &self.spec.path_prefix
            && !is_below(prefix, path)
        {
            let text = format!("http.call: target {name:?} is not for path {path:?} (only for {prefix} and below)");
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
        while let Some(mut sender) = worker.targets.take(&self.key()) {
            let request = request();
            let idempotent = request.method().is_idempotent();
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(Received { response, sender }),
                Err(mut error) => {
                    // Nothing of it was sent, or it does no harm to send it again: another connection.
                    if error.take_message().is_none() && !idempotent {
                        return Err(Failed { why: error.into_error().to_string(), unanswered: true });
                    }
                }
            }
        }
        let mut sender = self.connect().await.map_err(|why| Failed { why, unanswered: true })?;
        match sender.send_request(request()).await {
            Ok(response) => Ok(Received { response, sender }),
            Err(error) => Err(Failed { why: error.to_string(), unanswered: true }),
        }
    }

    /// Gives a connection back whose answer was read whole.
    pub fn keep(&self, worker: &Rc<Worker>, mut sender: SendRequest<Body>) {
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

    async fn connect(&self) -> Result<SendRequest<Body>, String> {
        let mut why = format!("{}: no address", self.host);
        for address in self.addresses().await?.into_iter().take(MOST_TRIED) {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // Only latency is lost without it.
                    let _ = stream.set_nodelay(true);
                    return self.shake_hands(stream).await;
                }
                Err(error) => why = format!("{}:{}: {error}", self.host, self.port),
            }
        }
        Err(why)
    }

    async fn shake_hands(&self, stream: TcpStream) -> Result<SendRequest<Body>, String> {
        let named = |error: &dyn std::fmt::Display| format!("{}:{}: {error}", self.host, self.port);
        let io: Box<dyn Io> = match (&self.target.tls, &self.target.spec.tls) {
            (Some(client), Some(spec)) => {
                let name = spec.server_name.as_ref().unwrap_or(&self.host).clone();
                let name = ServerName::try_from(name).map_err(|error| named(&error))?;
                let stream = TlsConnector::from(client.clone()).connect(name, stream).await;
                Box::new(stream.map_err(|error| named(&error))?)
            }
            _ => Box::new(stream),
        };
        let (sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(|error| named(&error))?;
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to a target ended");
            }
        });
        Ok(sender)
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

/// An answer whose body is still on its way, and the connection that it comes over.
pub struct Received {
    pub response: Response<Incoming>,
    pub sender: SendRequest<Body>,
}

impl Idle {
    fn take(&self, key: &Key) -> Option<SendRequest<Body>> {
        let mut kept = self.kept.borrow_mut();
        let senders = kept.get_mut(key)?;
        while let Some((sender, until)) = senders.pop() {
            if until > clock::now() && !sender.is_closed() {
                return Some(sender);
            }
        }
        kept.remove(key);
        None
    }

    fn put(&self, key: Key, sender: SendRequest<Body>) {
        let (mut kept, now) = (self.kept.borrow_mut(), clock::now());
        // Hosts that nobody asks any more, and targets that a reload has taken away, go here.
        kept.retain(|_, senders| {
            senders.retain(|(sender, until)| *until > now && !sender.is_closed());
            !senders.is_empty()
        });
        let senders = kept.entry(key).or_default();
        if senders.len() < MOST_IDLE {
            senders.push((sender, now + IDLE));
        }
    }

    /// Closes all: the worker is draining.
    pub fn clear(&self) {
        self.kept.borrow_mut().clear();
    }
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
