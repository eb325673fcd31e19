//! A client that sends what it is told, byte by byte.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;

use crate::certificate::Certificate;
use crate::http1::{Head, Messages, Response};
use crate::wait::PATIENCE;

/// One connection to the edge.
pub struct Client {
    /// The TLS session is one that was there before.
    pub resumed: bool,
    pub messages: Messages,
    /// The application protocol that TLS agreed on.
    pub alpn: Option<String>,
    method: String,
}

impl Client {
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Client {
        Client::try_connect(address).unwrap_or_else(|e| panic!("cannot connect to {address}: {e}"))
    }

    pub fn try_connect(address: SocketAddr) -> io::Result<Client> {
        let messages = Messages::on(TcpStream::connect_timeout(&address, PATIENCE)?)?;
        messages.patience(PATIENCE);
        Ok(Client { resumed: false, messages, alpn: None, method: "GET".to_owned() })
    }

    /// Over TLS, as `localhost`, offering `alpn`.
    pub fn connect_tls(address: SocketAddr, trusted: &Certificate, alpn: &[&str]) -> io::Result<Client> {
        Client::connect_tls_with(address, trusted.client(alpn))
    }

    /// The same with another configuration: a certificate of its own, say.
    pub fn connect_tls_with(address: SocketAddr, config: impl Into<Arc<rustls::ClientConfig>>) -> io::Result<Client> {
        let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from("localhost").expect("localhost is a name");
        let mut tls = rustls::ClientConnection::new(config.into(), name).map_err(io::Error::other)?;
        let mut handshake = socket.try_clone()?;
        while tls.is_handshaking() {
            tls.complete_io(&mut handshake)?;
        }
        let alpn = tls.alpn_protocol().map(|p| String::from_utf8_lossy(p).into_owned());
        let resumed = tls.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        let stream = rustls::StreamOwned::new(tls, socket.try_clone()?);
        Ok(Client { resumed, messages: Messages::new(Box::new(stream), socket), alpn, method: "GET".to_owned() })
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        if let Some(at) = bytes.iter().position(|b| *b == b' ') {
            let word = String::from_utf8_lossy(&bytes[..at]).into_owned();
            if word.bytes().all(|b| b.is_ascii_uppercase()) {
                self.method = word;
            }
        }
        self.messages.write(bytes).unwrap_or_else(|e| panic!("cannot send: {e}"));
    }

    /// Sends a request with its framing written for it. `Host: test` unless `headers` has one.
    #[track_caller]
    pub fn request(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut text = format!("{method} {target} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            text.push_str("Host: test\r\n");
        }
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(body);
        method.clone_into(&mut self.method);
        self.messages.write(&bytes).unwrap_or_else(|e| panic!("cannot send {method} {target}: {e}"));
    }

    pub fn try_response(&mut self) -> io::Result<Response> {
        let method = self.method.clone();
        self.messages.response(&method)
    }

    #[track_caller]
    pub fn response(&mut self) -> Response {
        self.try_response().unwrap_or_else(|e| panic!("no whole response came: {e}"))
    }

    /// The head of the next response; its body is then read with [`Client::chunk`].
    #[track_caller]
    pub fn response_head(&mut self) -> Head {
        let method = self.method.clone();
        self.messages.response_head(&method).unwrap_or_else(|e| panic!("no response head came: {e}"))
    }

    #[track_caller]
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        self.messages.chunk().unwrap_or_else(|e| panic!("the body broke off: {e}"))
    }

    #[track_caller]
    pub fn get(&mut self, target: &str) -> Response {
        self.request("GET", target, &[], b"");
        self.response()
    }

    /// Whether the edge closes this connection within `patience` without sending anything more.
    pub fn closed_within(&mut self, patience: Duration) -> bool {
        self.messages.patience(patience);
        let closed = match self.messages.raw(1) {
            Ok(_) => false,
            Err(e) => matches!(e.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
        };
        self.messages.patience(PATIENCE);
        closed
    }
}

/// One GET on a connection of its own.
#[track_caller]
pub fn get(address: SocketAddr, target: &str) -> Response {
    let mut client = Client::connect(address);
    client.request("GET", target, &[("Connection", "close")], b"");
    client.response()
}
