//! An HTTP/2 client that sends what it is told, frame by frame: it gives no window, answers no ping
//! and ends no header block unless the test does.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::certificate::Certificate;
use crate::client::Client;
use crate::http1::Stream;
use crate::wait::PATIENCE;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// `SETTINGS_INITIAL_WINDOW_SIZE`.
pub const INITIAL_WINDOW: u16 = 4;

/// One connection.
pub struct Frames {
    stream: Box<dyn Stream>,
    socket: TcpStream,
    buffer: Vec<u8>,
    /// The edge has closed it.
    pub closed: bool,
}

#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    /// The error code of `RST_STREAM`.
    pub fn code(&self) -> u32 {
        u32::from_be_bytes(self.payload[..4].try_into().expect("four bytes"))
    }
}

impl Frames {
    /// In clear, with these settings.
    #[track_caller]
    pub fn connect(address: SocketAddr, settings: &[(u16, u32)]) -> Frames {
        Frames::begin(Client::connect(address), settings)
    }

    #[track_caller]
    pub fn connect_tls(address: SocketAddr, trusted: &Certificate, settings: &[(u16, u32)]) -> Frames {
        let client = Client::connect_tls(address, trusted, &["h2"]).unwrap_or_else(|e| panic!("no TLS: {e}"));
        Frames::begin(client, settings)
    }

    fn begin(client: Client, settings: &[(u16, u32)]) -> Frames {
        let messages = client.messages;
        let mut frames = Frames { stream: messages.stream, socket: messages.socket, buffer: Vec::new(), closed: false };
        let settings: Vec<u8> = settings
            .iter()
            .flat_map(|(name, value)| name.to_be_bytes().into_iter().chain(value.to_be_bytes()))
            .collect();
        frames.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        frames.send(SETTINGS, 0, 0, &settings);
        frames
    }

    /// Bytes as they are; what a closed connection does not take is lost.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.closed |= self.stream.write_all(bytes).and_then(|()| self.stream.flush()).is_err();
    }

    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend_from_slice(&[kind, flags]);
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.raw(&frame);
    }

    /// A whole request without a body.
    pub fn get(&mut self, stream: u32, path: &str) {
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, &head("GET", path, &[]));
    }

    pub fn window(&mut self, stream: u32, more: u32) {
        self.send(WINDOW_UPDATE, 0, stream, &more.to_be_bytes());
    }

    pub fn ping(&mut self) {
        self.send(PING, 0, 0, b"12345678");
    }

    /// The next frame, if it comes `within`.
    pub fn next(&mut self, within: Duration) -> Option<Frame> {
        let end = Instant::now() + within;
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            let left = end.saturating_duration_since(Instant::now());
            if self.closed || left.is_zero() {
                return None;
            }
            self.socket.set_read_timeout(Some(left)).expect("a time to wait is set");
            let mut bytes = [0; 16 << 10];
            match self.stream.read(&mut bytes) {
                Ok(0) => self.closed = true,
                Ok(n) => self.buffer.extend_from_slice(&bytes[..n]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
                Err(_) => self.closed = true,
            }
        }
    }

    /// Reads until a frame is `wanted`; panics with `what` if none is.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut wanted: impl FnMut(&Frame) -> bool) -> Frame {
        let begin = Instant::now();
        loop {
            match self.next(PATIENCE) {
                Some(frame) if wanted(&frame) => return frame,
                Some(_) => assert!(begin.elapsed() < PATIENCE, "other frames came, but not this: {what}"),
                None => panic!("no frame came ({}): {what}", if self.closed { "closed" } else { "open" }),
            }
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let length =
            u32::from_be_bytes([0, *self.buffer.first()?, *self.buffer.get(1)?, *self.buffer.get(2)?]) as usize;
        if self.buffer.len() < 9 + length {
            return None;
        }
        let stream = u32::from_be_bytes(self.buffer[5..9].try_into().expect("four bytes")) & 0x7fff_ffff;
        let (kind, flags) = (self.buffer[3], self.buffer[4]);
        let payload = self.buffer.drain(..9 + length).skip(9).collect();
        Some(Frame { kind, flags, stream, payload })
    }
}

/// A header block in HPACK's plainest form: every name and value spelled out.
pub fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "test")];
    let mut block = Vec::new();
    for (name, value) in pseudo.iter().chain(headers) {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).ok().filter(|n| *n < 127).expect("the test's headers are short"));
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}
