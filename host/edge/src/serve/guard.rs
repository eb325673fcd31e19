//! The I/O of a client connection under the HTTP library: TCP or TLS, with the time limits that
//! the library does not have, the look at request heads ([`Scan`]), and interim answers.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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

pub struct Guard {
    stream: Stream,
    /// Read already, to see which protocol it is.
    early: Bytes,
    /// `None` for HTTP/2, whose framing has no such ambiguities.
    scan: Option<Scan>,
    tap: Arc<Tap>,
    limits: Limits,
    waiting: Waiting,
    fresh: bool,
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
        Guard {
            stream,
            early,
            scan: http1.then(Scan::new),
            tap,
            limits,
            waiting: Waiting::Nothing,
            fresh: true,
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
        let mut in_head = false;
        if let Some(scan) = &mut self.scan {
            if self.tap.left_http() {
                self.scan = None;
            } else {
                let tap = &self.tap;
                scan.read(bytes, |number, finding| tap.find(number, finding));
                in_head = scan.in_head();
            }
        }
        // The time for a head counts from its first byte: more bytes of it buy no more time.
        if self.waiting != Waiting::Nothing && !(in_head && self.waiting == Waiting::Head) {
            self.waiting = Waiting::Nothing;
            self.read_timer.disarm();
        }
        if in_head && self.waiting == Waiting::Nothing {
            self.waiting = Waiting::Head;
            self.read_timer.arm(self.limits.header);
        }
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let in_head = self.scan.as_ref().is_some_and(Scan::in_head);
        let waiting = match () {
            () if self.tap.left_http() => Waiting::Nothing,
            () if in_head => Waiting::Head,
            () if self.tap.busy() => Waiting::Nothing,
            () if self.fresh => Waiting::Head,
            () => Waiting::Idle,
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
            self.write_timer = None;
            return written;
        }
        if self.write_timer.is_none() {
            let mut timer = Timer::new();
            timer.arm(self.limits.write);
            self.write_timer = Some(timer);
        }
        match self.write_timer.as_mut().expect("set above").poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
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
