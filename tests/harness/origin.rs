//! An HTTP/1.1 origin in this process. The test gives a closure for each request, which may
//! answer, stream, wait, break off or reset; what came is counted and kept.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use crate::certificate::Certificate;
use crate::http1::{Head, Headers, Messages, chunk};
use crate::port::Port;
use crate::wait::{PATIENCE, wait_until};

type Answer = dyn Fn(&mut Exchange) -> io::Result<()> + Send + Sync;

/// A listening origin. It stops when it is dropped.
pub struct Origin {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    // Nobody listens there after it, so what is still sent to it reaches no other origin.
    _port: Port,
}

/// One request, and the connection to answer it on.
pub struct Exchange {
    pub head: Head,
    /// Counts the requests of this origin from 1.
    pub number: usize,
    /// Counts the connections of this origin from 1.
    pub connection: usize,
    pub messages: Messages,
    keep: bool,
}

struct Shared {
    answer: Box<Answer>,
    tls: Option<Arc<rustls::ServerConfig>>,
    open: AtomicBool,
    requests: AtomicUsize,
    connections: AtomicUsize,
    in_flight: AtomicUsize,
    seen: Mutex<Vec<Head>>,
    /// The socket of each open connection by its number, to be shut when the origin stops.
    sockets: Mutex<BTreeMap<usize, TcpStream>>,
}

impl Origin {
    /// Answers each request with what `answer` does.
    pub fn serve(answer: impl Fn(&mut Exchange) -> io::Result<()> + Send + Sync + 'static) -> Origin {
        Origin::serve_with(None, answer)
    }

    /// The same in TLS.
    pub fn serve_tls(
        certificate: &Certificate,
        answer: impl Fn(&mut Exchange) -> io::Result<()> + Send + Sync + 'static,
    ) -> Origin {
        Origin::serve_with(Some(Arc::new(certificate.server())), answer)
    }

    fn serve_with(
        tls: Option<Arc<rustls::ServerConfig>>,
        answer: impl Fn(&mut Exchange) -> io::Result<()> + Send + Sync + 'static,
    ) -> Origin {
        let shared = Arc::new(Shared {
            answer: Box::new(answer),
            tls,
            open: AtomicBool::new(true),
            requests: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            seen: Mutex::new(Vec::new()),
            sockets: Mutex::new(BTreeMap::new()),
        });
        let port = Port::free();
        shared.listen(port.address);
        Origin { address: port.address, shared, _port: port }
    }

    /// Answers 200 with `text`, whatever comes.
    pub fn saying(text: &'static str) -> Origin {
        Origin::serve(move |exchange| {
            exchange.messages.body()?;
            exchange.respond(200, &[], text.as_bytes())
        })
    }

    /// Answers 200 with the request as it came: the head as text in the body, then the body.
    pub fn echo() -> Origin {
        Origin::serve(|exchange| {
            let body = exchange.messages.body()?;
            exchange.respond(200, &[("x-echo", "yes")], &body)
        })
    }

    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Requests that are being answered now.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::SeqCst)
    }

    /// The heads of all requests so far.
    pub fn seen(&self) -> Vec<Head> {
        self.shared.seen.lock().expect("no test thread panicked with the lock").clone()
    }

    #[track_caller]
    pub fn last(&self) -> Head {
        self.seen().pop().expect("the origin was asked")
    }

    /// Waits until `n` requests have come.
    #[track_caller]
    pub fn wait_for_requests(&self, n: usize) {
        wait_until(&format!("{n} requests at the origin"), PATIENCE, || (self.requests() >= n).then_some(()));
    }

    /// From now on connections are refused, and those that stand are closed.
    pub fn stop(&self) {
        self.shared.stop(self.address);
    }

    /// Listens again, on the same address.
    pub fn restart(&self) {
        self.shared.listen(self.address);
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stop(self.address);
    }
}

impl Shared {
    fn listen(self: &Arc<Self>, address: SocketAddr) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
        socket.set_reuse_address(true).expect("an address can be used again");
        // A process that is being started meanwhile has every socket of this one until it runs its program: that of
        // the look whether the port is free, too.
        wait_until(&format!("the port of {address}"), PATIENCE, || socket.bind(&address.into()).ok());
        socket.listen(1024).expect("a bound socket listens");
        self.open.store(true, Ordering::SeqCst);
        let (accepting, listener) = (self.clone(), TcpListener::from(socket));
        std::thread::spawn(move || accepting.accept(&listener));
    }

    fn accept(self: Arc<Self>, listener: &TcpListener) {
        while let Ok((socket, _)) = listener.accept() {
            if !self.open.load(Ordering::SeqCst) {
                return;
            }
            let connection = self.connections.fetch_add(1, Ordering::SeqCst) + 1;
            let shared = self.clone();
            if let Ok(copy) = socket.try_clone() {
                shared.sockets.lock().expect("no test thread panicked with the lock").insert(connection, copy);
            }
            std::thread::spawn(move || {
                // A client that breaks off is part of the tests.
                let _ = shared.connection(socket, connection);
                shared.sockets.lock().expect("no test thread panicked with the lock").remove(&connection);
            });
        }
    }

    fn connection(&self, socket: TcpStream, connection: usize) -> io::Result<()> {
        let mut messages = match &self.tls {
            None => Messages::on(socket)?,
            Some(tls) => {
                let session = rustls::ServerConnection::new(tls.clone()).map_err(io::Error::other)?;
                let stream = rustls::StreamOwned::new(session, socket.try_clone()?);
                Messages::new(Box::new(stream), socket)
            }
        };
        while let Some(head) = messages.request_head()? {
            self.seen.lock().expect("no test thread panicked with the lock").push(head.clone());
            let number = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
            let keep = !head.headers.all("connection").iter().any(|v| v.eq_ignore_ascii_case("close"));
            let mut exchange = Exchange { head, number, connection, messages, keep };
            self.in_flight.fetch_add(1, Ordering::SeqCst);
            let answered = (self.answer)(&mut exchange);
            self.in_flight.fetch_sub(1, Ordering::SeqCst);
            answered?;
            if !exchange.keep || !self.open.load(Ordering::SeqCst) {
                return Ok(());
            }
            exchange.messages.body()?;
            messages = exchange.messages;
        }
        Ok(())
    }

    fn stop(&self, address: SocketAddr) {
        if !self.open.swap(false, Ordering::SeqCst) {
            return;
        }
        // Wakes the thread that accepts, so that it closes the listener.
        drop(TcpStream::connect(address));
        wait_until("the origin to be closed", PATIENCE, || TcpStream::connect(address).err());
        for socket in self.sockets.lock().expect("no test thread panicked with the lock").values() {
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
    }
}

impl Exchange {
    /// A whole response with a length.
    pub fn respond(&mut self, status: u16, headers: &[(&str, &str)], body: &[u8]) -> io::Result<()> {
        let mut all = vec![("content-length", body.len().to_string())];
        if status == 204 || status == 304 {
            all.clear();
        }
        let mut bytes = head(status, &all, headers);
        if self.head.method() != "HEAD" {
            bytes.extend_from_slice(body);
        }
        self.messages.write(&bytes)
    }

    /// The head of a chunked response: [`Exchange::chunk`] and [`Exchange::end`] follow.
    pub fn begin(&mut self, status: u16, headers: &[(&str, &str)]) -> io::Result<()> {
        let bytes = head(status, &[("transfer-encoding", "chunked".to_owned())], headers);
        self.messages.write(&bytes)
    }

    pub fn chunk(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.messages.write(&chunk(bytes))
    }

    pub fn end(&mut self, trailers: &[(&str, &str)]) -> io::Result<()> {
        let mut text = "0\r\n".to_owned();
        for (name, value) in trailers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        self.messages.write(text.as_bytes())
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.messages.write(bytes)
    }

    /// Ends the connection with a RST.
    pub fn reset(&mut self) -> io::Result<()> {
        SockRef::from(&self.messages.socket).set_linger(Some(Duration::ZERO))?;
        self.close()
    }

    /// Ends the connection after this exchange.
    pub fn close(&mut self) -> io::Result<()> {
        self.keep = false;
        Ok(())
    }

    pub fn headers(&self) -> &Headers {
        &self.head.headers
    }
}

fn head(status: u16, framing: &[(&str, String)], headers: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status} Tested\r\n");
    for (name, value) in framing {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}
