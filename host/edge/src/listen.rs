//! Accepts client connections: one listening socket per worker and address, so that the kernel
//! spreads connections over workers and no lock does.

use std::future::{Future, poll_fn};
use std::io::BufReader;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ProtocolVersion, RootCertStore, ServerConfig};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::certificate::Certificate;
use crate::serve::{self, Connection, TlsFacts};
use crate::stream::Stream;
use crate::wheel::Timer;
use crate::worker::Worker;

/// Connections that the kernel completes before a worker takes them.
const BACKLOG: i32 = 1024;
/// After an error of the system (out of files, say): to try at once would only spin.
const AFTER_ERROR: Duration = Duration::from_millis(20);

/// One socket per worker on the same address. With port 0 the first gets its port from the
/// system and the others share it.
pub fn bind(address: SocketAddr, workers: usize) -> std::io::Result<(SocketAddr, Vec<StdListener>)> {
    let mut address = address;
    let mut listeners = Vec::with_capacity(workers);
    for _ in 0..workers.max(1) {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener = StdListener::from(socket);
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok((address, listeners))
}

/// Accepts until the worker drains. `index` is the listener's place in the file.
pub async fn accept(worker: Rc<Worker>, listener: TcpListener, index: usize) {
    let watch = worker.drain.watch();
    loop {
        let permit = worker.permit().await;
        let accepted = poll_fn(|cx| match listener.poll_accept(cx) {
            Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
            // What the kernel has completed is still served: to close would reset it.
            Poll::Pending if watch.begun(cx) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        match accepted.await {
            None => return,
            Some(Ok((stream, remote))) => {
                let worker = worker.clone();
                tokio::task::spawn_local(async move {
                    let counted = worker.telemetry.connection_opened();
                    open(worker.clone(), stream, remote, index).await;
                    drop((counted, permit));
                    worker.drain.moved();
                });
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(AFTER_ERROR).await;
            }
        }
    }
}

async fn open(worker: Rc<Worker>, stream: TcpStream, remote: SocketAddr, index: usize) {
    // Only latency is lost without it.
    let _ = stream.set_nodelay(true);
    let Ok(local) = stream.local_addr() else { return };
    let snapshot = worker.snapshot();
    let Some(listener) = snapshot.region.edge.as_ref().and_then(|edge| edge.listeners.get(index)) else { return };
    let (http1, http2) = (listener.http1, listener.http2);
    let Some(TlsSide { config, certificate }) = snapshot.tls.get(index).cloned().flatten() else {
        drop(snapshot);
        let connection = Connection::new(remote, local, None);
        return serve::serve(worker, Stream::Tcp(stream), connection, http1, http2).await;
    };
    let within = snapshot.limits.header_timeout;
    drop(snapshot);
    let mut timer = Timer::new();
    timer.arm(within);
    let mut shaking = pin!(TlsAcceptor::from(config).accept(stream));
    let shaken = poll_fn(|cx| match shaking.as_mut().poll(cx) {
        Poll::Ready(shaken) => Poll::Ready(Some(shaken)),
        Poll::Pending => timer.poll(cx).map(|()| None),
    });
    match shaken.await {
        Some(Ok(stream)) => {
            let tls = facts(stream.get_ref().1, certificate);
            let connection = Connection::new(remote, local, Some(tls));
            serve::serve(worker, Stream::Tls(Box::new(stream)), connection, http1, http2).await;
        }
        Some(Err(error)) => tracing::debug!(%remote, %error, "TLS handshake failed"),
        None => tracing::debug!(%remote, "TLS handshake took too long"),
    }
}

fn facts(session: &rustls::ServerConnection, certificate: Arc<Certificate>) -> TlsFacts {
    TlsFacts {
        version: match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        },
        sni: session.server_name().map(Arc::from),
        alpn: session.alpn_protocol().and_then(|alpn| std::str::from_utf8(alpn).ok()).map(Arc::from),
        certificate,
        peer: session.peer_certificates().and_then(<[_]>::first).map(|leaf| Arc::new(Certificate::of(leaf))),
    }
}

/// What a listener speaks TLS with.
#[derive(Clone)]
pub struct TlsSide {
    config: Arc<ServerConfig>,
    certificate: Arc<Certificate>,
}

/// Reads certificate, key and the roots of clients; done again with each reload.
pub fn tls_side(tls: &config::Tls, listener: &config::Listener) -> Result<TlsSide, String> {
    let named = |path: &Path, what: &str| format!("{}: {}: {what}", listener.address, path.display());
    let chain = certificates(&tls.certificate).map_err(|error| named(&tls.certificate, &error))?;
    let certificate = Arc::new(Certificate::of(&chain[0]));
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| named(&tls.key, &error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = |clients| verifier(clients, provider.clone()).map_err(|error| named(&clients.roots, &error));
    let verifier = tls.clients.as_ref().map(verifier).transpose()?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions");
    let config = match verifier.clone() {
        Some(verifier) => config.with_client_cert_verifier(verifier),
        None => config.with_no_client_auth(),
    };
    let mut config =
        config.with_single_cert(chain, key).map_err(|error| named(&tls.certificate, &error.to_string()))?;
    config.alpn_protocols = tls.alpn.iter().map(|protocol| protocol.clone().into_bytes()).collect();
    if verifier.is_some() {
        // A session that is resumed is not verified again, and its certificate may have expired.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(TlsSide { config: Arc::new(config), certificate })
}

/// At least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let read = CertificateDer::pem_reader_iter(BufReader::new(file));
    let read = read.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    if read.is_empty() { Err("no certificate in it".to_owned()) } else { Ok(read) }
}

/// What a client's certificate is held against. A root that cannot be one is an error: whom it was there for
/// would be refused, and nobody would know why.
fn verifier(
    clients: &config::TlsClients,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for (number, root) in (1..).zip(certificates(&clients.roots)?) {
        roots.add(root).map_err(|error| format!("certificate {number} cannot be a root of clients: {error}"))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = match clients.certificate {
        config::ClientCertificate::Required => verifier,
        config::ClientCertificate::Optional => verifier.allow_unauthenticated(),
    };
    verifier.build().map_err(|error| error.to_string())
}
