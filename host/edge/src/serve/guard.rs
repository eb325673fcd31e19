//! The I/O of a client connection under the HTTP library: TCP or TLS, with the time limits that
//! the library does not have, the look at request heads ([`Scan`]) or frames ([`Frames`]), and interim
//! answers. Time without an exchange is bounded here for HTTP/1.1 only, whose clients send nothing then;
//! for HTTP/2 see [`super::idle`].

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::serve::frames::Frames;
use crate::serve::scan::Scan;
use crate::serve::tap::Tap;
use crate::stream::Stream;
use crate::wheel::Timer;

/// Which time limit runs while a read waits.
#[derive(Clone, Copy, PartialEq)]
enum Waiting {
    /// For the first request of the connection, or for the end of a head.
    Head,
    Idle,
    Nothing,
}

/// What the bytes are.
enum Bytewise {
    Http1(Scan),
    /// Read, and written. Its framing has no ambiguities.
    Http2(Frames, Frames),
    Tunnel,
}

pub struct Guard {
    stream: Stream,
    /// Read already, to see which protocol it is.
    early: Bytes,
    bytewise: Bytewise,
    tap: Arc<Tap>,
    limits: Limits,
    waiting: Waiting,
    fresh: bool,
    /// Heads that had ended at the last look.
    heads: u64,
    read_timer: Timer,
    write_timer: Option<Timer>,
    /// The library has written all that it had when it last flushed.
    clean: bool,
    /// Interim bytes on their way out.
    interim: Bytes,
}

#[derive(Clone, Copy)]
pub struct Limits {
    pub header: std::time::Duration,
    pub idle: std::time::Duration,
    pub write: std::time::Duration,
}

impl Guard {
    pub fn new(stream: Stream, early: Bytes, http1: bool, tap: Arc<Tap>, limits: Limits) -> Guard {
        let bytewise = match http1 {
            true => Bytewise::Http1(Scan::new()),
            false => Bytewise::Http2(Frames::received(), Frames::sent()),
        };
        Guard {
            stream,
            early,
            bytewise,
            tap,
            limits,
            waiting: Waiting::Nothing,
            fresh: true,
            heads: 0,
            read_timer: Timer::new(),
            write_timer: None,
            clean: true,
            interim: Bytes::new(),
        }
    }

    fn saw(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.fresh = false;
        if self.tap.left_http() {
            self.bytewise = Bytewise::Tunnel;
        }
        match &mut self.bytewise {
            Bytewise::Http1(scan) => {
                let tap = &self.tap;
                scan.read(bytes, |number, finding| tap.find(number, finding));
            }
            Bytewise::Http2(received, _) => received.read(bytes),
            Bytewise::Tunnel => {}
        }
        let (in_head, heads) = self.head();
        // The time for a head counts from its first byte: more bytes of it buy no more time.
        let same = in_head && self.waiting == Waiting::Head && heads == self.heads;
        self.heads = heads;
        if self.waiting != Waiting::Nothing && !same {
            self.waiting = Waiting::Nothing;
            self.read_timer.disarm();
        }
        if in_head && self.waiting == Waiting::Nothing {
            self.waiting = Waiting::Head;
            self.read_timer.arm(self.limits.header);
        }
    }

    /// Whether a head has begun and not ended, and how many have ended.
    fn head(&self) -> (bool, u64) {
        match &self.bytewise {
            Bytewise::Http1(scan) => (scan.in_head(), scan.heads()),
            Bytewise::Http2(received, _) => (received.in_block(), received.blocks()),
            Bytewise::Tunnel => (false, 0),
        }
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let waiting = match self.bytewise {
            _ if self.tap.left_http() => Waiting::Nothing,
            _ if self.head().0 => Waiting::Head,
            Bytewise::Http2(..) => Waiting::Nothing,
            _ if self.tap.busy() => Waiting::Nothing,
            _ if self.fresh => Waiting::Head,
            _ => Waiting::Idle,
        };
        if waiting != self.waiting {
            self.waiting = waiting;
            match waiting {
                Waiting::Head => self.read_timer.arm(self.limits.header),
                Waiting::Idle => self.read_timer.arm(self.limits.idle),
                Waiting::Nothing => self.read_timer.disarm(),
            }
        }
        if waiting != Waiting::Nothing && self.read_timer.poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }

    /// Looks at the first `n` bytes of what was to be written.
    fn wrote<'a>(&mut self, slices: impl Iterator<Item = &'a [u8]>, mut n: usize) {
        let Bytewise::Http2(_, sent) = &mut self.bytewise else { return };
        for slice in slices {
            let part = slice.len().min(n);
            sent.read(&slice[..part]);
            n -= part;
        }
        if sent.data() != self.tap.sent() {
            self.tap.set_sent(sent.data(), crate::clock::now());
        }
    }

    /// Interim heads go out between whole messages of the library, or not at all.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.tap.interim_waits() {
            let heads = self.tap.take_interim();
            if self.clean && self.interim.is_empty() {
                self.interim = heads.into();
            }
        }
        while !self.interim.is_empty() {
            let n = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.interim))?;
            self.interim.advance(n);
        }
        Poll::Ready(Ok(()))
    }

    fn watch_write<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if self.write_timer.take().is_some() {
                self.tap.set_write_waits(false);
            }
            return written;
        }
        let timer = self.write_timer.get_or_insert_with(|| {
            let mut timer = Timer::new();
            timer.arm(self.limits.write);
            self.tap.set_write_waits(true);
            timer
        });
        if timer.poll(cx).is_ready() {
            self.tap.time_write_out();
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl AsyncRead for Guard {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.early.is_empty() {
            let n = this.early.len().min(buf.remaining());
            let early = this.early.split_to(n);
            buf.put_slice(&early);
            this.saw(&early);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Pending => this.wait(cx),
            Poll::Ready(read) => {
                this.saw(&buf.filled()[before..]);
                Poll::Ready(read)
            }
        }
    }
}

impl AsyncWrite for Guard {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        self.clean = false;
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(n)) = written {
            self.wrote(std::iter::once(bytes), n);
        }
        self.watch_write(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        self.clean = false;
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(n)) = written {
            self.wrote(slices.iter().map(|slice| &**slice), n);
        }
        self.watch_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.clean = true;
        ready!(self.poll_interim(cx))?;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch_write(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch_write(cx, shut)
    }
}
