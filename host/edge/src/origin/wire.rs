//! The bytes between the edge and one origin, with what the HTTP library does not tell: whether
//! a byte of the answer has come, which interim answers (1xx) came before it, and what was sent
//! (so that a request can be sent again without keeping a copy of it on the way there).

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::body::Body;
use crate::stream::Stream;

/// An interim head longer than this is not passed on.
const LONGEST_INTERIM: usize = 16 << 10;

/// What is known of the exchange on a connection.
#[derive(Default)]
pub struct Wire {
    /// No byte of the final answer has come.
    awaiting: Cell<bool>,
    /// Any byte of an answer has come.
    answered: Cell<bool>,
    /// Begun but incomplete interim answers.
    partial: RefCell<Vec<u8>>,
    interim: RefCell<Vec<Interim>>,
    interims: Cell<bool>,
    recording: Cell<bool>,
    sent: RefCell<Vec<u8>>,
    accepted: Cell<usize>,
    /// Goes up with each write.
    writes: Cell<u64>,
}

/// An interim answer of the origin.
#[derive(Debug, PartialEq)]
pub enum Interim {
    /// 100: the origin wants the body.
    Continue,
    /// Any other but 101: a head as it may go to an HTTP/1.1 client.
    Head(Vec<u8>),
}

impl Wire {
    /// A request is about to be sent; `record` if it may have to be sent again.
    pub fn begin(&self, record: bool) {
        self.awaiting.set(true);
        self.answered.set(false);
        self.interims.set(false);
        self.recording.set(record);
        self.accepted.set(0);
        self.sent.borrow_mut().clear();
        self.partial.borrow_mut().clear();
    }

    /// The final answer's head has been read.
    pub fn end(&self) {
        self.awaiting.set(false);
        self.recording.set(false);
    }

    pub fn answered(&self) -> bool {
        self.answered.get()
    }

    pub fn writes(&self) -> u64 {
        self.writes.get()
    }

    pub fn take_interims(&self) -> Vec<Interim> {
        if self.interims.replace(false) { self.interim.take() } else { Vec::new() }
    }

    /// The request as it was sent, if it was recorded and had no body.
    pub fn recorded(&self) -> Option<Request<Body>> {
        if self.recording.get() { parse_sent(&self.sent.borrow()) } else { None }
    }

    fn received(&self, bytes: &[u8]) {
        if !self.awaiting.get() || bytes.is_empty() {
            return;
        }
        self.answered.set(true);
        let mut partial = self.partial.borrow_mut();
        if partial.is_empty() && !begins_interim(bytes) {
            self.awaiting.set(false);
            return;
        }
        partial.extend_from_slice(bytes);
        while begins_interim(&partial) {
            let Some(end) = memchr::memmem::find(&partial, b"\r\n\r\n") else {
                if partial.len() > LONGEST_INTERIM {
                    break;
                }
                return;
            };
            let head: Vec<u8> = partial.drain(..end + 4).collect();
            self.interim.borrow_mut().extend(interim(&head));
            self.interims.set(true);
        }
        if !partial.is_empty() {
            partial.clear();
            self.awaiting.set(false);
        }
    }

    /// `presented` may be accepted in part, or not at all and then presented again.
    fn record(&self, presented: &[&[u8]]) {
        let mut sent = self.sent.borrow_mut();
        sent.truncate(self.accepted.get());
        presented.iter().for_each(|bytes| sent.extend_from_slice(bytes));
    }

    fn wrote(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(n)) = written {
            self.accepted.set(self.accepted.get() + n);
            self.writes.set(self.writes.get() + 1);
        }
    }
}

/// True also for the first bytes of what may become one. A 101 is final.
fn begins_interim(bytes: &[u8]) -> bool {
    const START: &[u8] = b"HTTP/1.1 1";
    let n = bytes.len().min(START.len());
    n > 0 && bytes[..n] == START[..n] && !bytes.starts_with(b"HTTP/1.1 101")
}

/// Only what is meant for the whole way is passed on, and only if it is well formed.
fn interim(head: &[u8]) -> Option<Interim> {
    let text = std::str::from_utf8(head).ok()?.strip_suffix("\r\n\r\n")?;
    let mut lines = text.split("\r\n");
    let status = lines.next()?;
    if status.starts_with("HTTP/1.1 100") {
        return Some(Interim::Continue);
    }
    let mut passed = status.as_bytes().to_vec();
    passed.extend_from_slice(b"\r\n");
    for line in lines {
        let (name, value) = line.split_once(':')?;
        HeaderName::from_bytes(name.as_bytes()).ok()?;
        HeaderValue::from_str(value.trim()).ok()?;
        let lower = name.to_ascii_lowercase();
        let framing = ["connection", "keep-alive", "transfer-encoding", "content-length", "upgrade", "trailer"];
        if !framing.contains(&&*lower) && !lower.starts_with("proxy-") {
            passed.extend_from_slice(line.as_bytes());
            passed.extend_from_slice(b"\r\n");
        }
    }
    passed.extend_from_slice(b"\r\n");
    if passed.iter().filter(|byte| **byte == b'\n').count() != passed.iter().filter(|byte| **byte == b'\r').count() {
        return None;
    }
    Some(Interim::Head(passed))
}

/// Reads back a head that the HTTP library wrote: its form is known, so a strict reader will do.
fn parse_sent(sent: &[u8]) -> Option<Request<Body>> {
    let head = sent.strip_suffix(b"\r\n\r\n")?;
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut words = lines.next()?.split(|byte| *byte == b' ');
    let mut request = Request::new(Body::Empty);
    *request.method_mut() = Method::from_bytes(words.next()?).ok()?;
    *request.uri_mut() = Uri::from_maybe_shared(Bytes::copy_from_slice(words.next()?)).ok()?;
    for line in lines {
        let colon = memchr::memchr(b':', line)?;
        let value = line[colon + 1..].strip_prefix(b" ").unwrap_or(&line[colon + 1..]);
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        request.headers_mut().append(name, HeaderValue::from_bytes(value).ok()?);
    }
    Some(request)
}

/// A connection to an origin.
pub struct OriginIo {
    stream: Stream,
    wire: Rc<Wire>,
}

impl OriginIo {
    pub fn new(stream: Stream, wire: Rc<Wire>) -> OriginIo {
        OriginIo { stream, wire }
    }
}

impl AsyncRead for OriginIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.wire.received(&buf.filled()[before..]);
        read
    }
}

impl AsyncWrite for OriginIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.wire.recording.get() {
            self.wire.record(&[bytes]);
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wire.wrote(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.wire.recording.get() {
            let slices: Vec<&[u8]> = slices.iter().map(|slice| &**slice).collect();
            self.wire.record(&slices);
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wire.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interim_answers_are_found_however_they_are_cut() {
        let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
        for cut in 1..bytes.len() {
            let wire = Wire::default();
            wire.begin(false);
            wire.received(&bytes[..cut]);
            wire.received(&bytes[cut..]);
            let wanted = [Interim::Continue, Interim::Head(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".to_vec())];
            assert_eq!(wire.take_interims(), wanted, "cut at {cut}");
            assert!(!wire.awaiting.get());
        }
    }

    #[test]
    fn a_final_answer_is_no_interim_one_nor_is_a_malformed_one_passed() {
        for bytes in [&b"HTTP/1.1 200 OK\r\n\r\n"[..], b"HTTP/1.1 101 X\r\n\r\n", b"HTTP/1.0 100 X\r\n\r\n"] {
            let wire = Wire::default();
            wire.begin(false);
            wire.received(bytes);
            assert!(wire.take_interims().is_empty());
            assert!(wire.answered());
        }
        assert_eq!(interim(b"HTTP/1.1 103 X\r\nA: b\nC: d\r\n\r\n"), None);
        assert_eq!(interim(b"HTTP/1.1 103 X\r\nA b\r\n\r\n"), None);
    }

    #[test]
    fn what_was_sent_can_be_read_back_also_after_a_partial_write() {
        let wire = Wire::default();
        wire.begin(true);
        let head = b"GET /a?b=c HTTP/1.1\r\nhost: h\r\nx: a: b\r\nx: \xff\r\n\r\n";
        wire.record(&[&head[..]]);
        wire.wrote(&Poll::Ready(Ok(10)));
        wire.record(&[&head[10..20], &head[20..]]);
        wire.wrote(&Poll::Pending);
        let request = wire.recorded().unwrap();
        assert_eq!(request.uri(), "/a?b=c");
        assert_eq!(request.headers()["host"], "h");
        let x: Vec<_> = request.headers().get_all("x").iter().map(|value| value.as_bytes()).collect();
        assert_eq!(x, [&b"a: b"[..], b"\xff"]);
    }
}
