//! A client and an origin that keep every byte that came, and send what they are told to.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness::{PATIENCE, Port, wait_until};

/// Longer than anything here takes: what comes no further by then has come to a stop, and is told so.
const STUCK: Duration = Duration::from_secs(3);

/// An origin that answers what it is told, one request on a connection.
pub struct Far {
    pub address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    _port: Port,
}

#[derive(Default)]
struct Shared {
    answer: Vec<u8>,
    head: usize,
    seen: Vec<Vec<u8>>,
    /// Connections that have not come to their end.
    open: usize,
}

impl Far {
    pub fn start() -> Far {
        let port = Port::free();
        let address = port.address;
        let listener = TcpListener::bind(address).expect("nobody else has the port");
        let shared = Arc::<Mutex<Shared>>::default();
        let kept = shared.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let shared = kept.clone();
                shared.lock().expect("no thread panicked").open += 1;
                std::thread::spawn(move || {
                    serve(socket, &shared);
                    shared.lock().expect("no thread panicked").open -= 1;
                });
            }
        });
        Far { address, shared, _port: port }
    }

    /// What the next request is answered; of a HEAD the head alone.
    pub fn plan(&self, answer: Vec<u8>) {
        let head = end_of_head(&answer).expect("the answer has a head");
        let mut shared = self.shared.lock().expect("no thread panicked");
        (shared.answer, shared.head) = (answer, head);
        shared.seen.clear();
    }

    /// What came since then, when all of it has come. How much of a request that was broken off came before
    /// is for the kernel to say: of those nothing is kept.
    pub fn seen(&self) -> Vec<Vec<u8>> {
        wait_until("the end of all connections to the origin", PATIENCE, || {
            let shared = self.shared.lock().expect("no thread panicked");
            (shared.open == 0).then(|| shared.seen.clone())
        })
    }
}

fn serve(mut socket: TcpStream, shared: &Mutex<Shared>) {
    let mut bytes = Vec::new();
    let mut piece = [0; 64 << 10];
    let _ = socket.set_read_timeout(Some(STUCK));
    while !is_whole(&bytes) {
        match socket.read(&mut piece) {
            Ok(0) => return,
            Ok(n) => bytes.extend(&piece[..n]),
            // A connection that nothing comes on is none.
            Err(e) if bytes.is_empty() || !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return,
            Err(_) => {
                bytes.extend(b"<and then nothing>");
                break;
            }
        }
    }
    let mut all = shared.lock().expect("no thread panicked");
    let answer = if bytes.starts_with(b"HEAD ") { all.answer[..all.head].to_vec() } else { all.answer.clone() };
    let whole = is_whole(&bytes);
    all.seen.push(without_id(bytes));
    drop(all);
    if whole {
        let _ = socket.write_all(&answer);
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// Whether a request has come to its end.
fn is_whole(bytes: &[u8]) -> bool {
    let Some(head) = end_of_head(bytes) else { return false };
    let (head, mut body) = bytes.split_at(head);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if value("transfer-encoding:").is_none() {
        return body.len() >= value("content-length:").and_then(|n| n.parse().ok()).unwrap_or(0);
    }
    loop {
        let Some(end) = body.windows(2).position(|two| two == b"\r\n") else { return false };
        let size = usize::from_str_radix(&String::from_utf8_lossy(&body[..end]), 16).unwrap_or(usize::MAX / 2);
        if size == 0 {
            return end_of_head(&body[end..]).is_some();
        }
        let Some(rest) = body.get(end + 2 + size + 2..) else { return false };
        body = rest;
    }
}

/// Sends `request` and gives all that comes until the edge closes; the date is taken out.
pub fn ask(edge: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(edge).expect("the edge listens");
    socket.set_read_timeout(Some(2 * STUCK)).expect("a time-out above zero can be set");
    // An edge that has answered already may have closed.
    let _ = socket.write_all(request);
    let mut bytes = Vec::new();
    match socket.read_to_end(&mut bytes) {
        // Whether an end is a reset depends on what the edge had not read by then.
        Err(error) if error.kind() != ErrorKind::ConnectionReset => bytes.extend(b"<and then nothing>"),
        _ => {}
    }
    without_date(without_id(bytes))
}

/// Ids of requests that the edge made are those of this one; what a plugin wrote there stays.
fn without_id(mut bytes: Vec<u8>) -> Vec<u8> {
    let name = b"x-request-id: ";
    let end = end_of_head(&bytes).unwrap_or(bytes.len());
    let places = bytes[..end].windows(name.len()).enumerate().filter(|(_, part)| part == name);
    let places: Vec<_> = places.map(|(at, _)| at + name.len()).collect();
    for at in places {
        if bytes.get(at..at + 32).is_some_and(|id| id.iter().all(u8::is_ascii_hexdigit)) {
            bytes[at..at + 32].fill(b'.');
        }
    }
    bytes
}

fn without_date(bytes: Vec<u8>) -> Vec<u8> {
    let name = b"\r\ndate: ";
    let end = end_of_head(&bytes).unwrap_or(bytes.len());
    let Some(at) = bytes[..end].windows(name.len()).position(|part| part == name) else { return bytes };
    let value = at + name.len();
    let rest = bytes[value..].windows(2).position(|two| two == b"\r\n").map_or(bytes.len(), |n| value + n);
    // Of the edge alone: one that a plugin wrote stays.
    if bytes[value..rest].ends_with(b" GMT") { [&bytes[..at], &bytes[rest..]].concat() } else { bytes }
}
