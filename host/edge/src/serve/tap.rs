//! What the bytes of a client connection and the requests on it tell each other. Shared between
//! the connection's I/O, which the HTTP library owns, and the service that answers. One thread
//! uses it; it is `Send` because the library's upgrades ask for that.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::serve::scan::Finding;

#[derive(Debug)]
pub struct Tap {
    /// When the connection began.
    opened: Instant,
    /// Requests that are being answered.
    in_flight: AtomicU32,
    /// Requests that the service was asked to answer.
    requests: AtomicU64,
    /// Interim heads that go out before the next bytes.
    interim: Mutex<Vec<u8>>,
    interim_waits: AtomicBool,
    /// The first head that must be refused though the library takes it: its number, counted
    /// from one, and why.
    finding: Mutex<Option<(u64, Finding)>>,
    found: AtomicBool,
    /// The connection has left HTTP.
    tunnel: AtomicBool,
    /// Milliseconds from `opened` to when an exchange last ended or its client last took data.
    moved: AtomicU64,
    /// Bytes of HTTP/2 data frames that were written.
    sent: AtomicU64,
    /// What is to be written waits for the client's side of the network.
    write_waits: AtomicBool,
    /// It did so for too long, and the connection is over.
    write_timed_out: AtomicBool,
}

impl Tap {
    pub fn new() -> Tap {
        Tap {
            opened: crate::clock::now(),
            in_flight: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            interim: Mutex::default(),
            interim_waits: AtomicBool::new(false),
            finding: Mutex::default(),
            found: AtomicBool::new(false),
            tunnel: AtomicBool::new(false),
            moved: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            write_waits: AtomicBool::new(false),
            write_timed_out: AtomicBool::new(false),
        }
    }

    /// A request begins; why it must be refused, if it must.
    pub fn begin(&self) -> Option<Finding> {
        let number = self.requests.fetch_add(1, Relaxed) + 1;
        self.in_flight.fetch_add(1, Relaxed);
        if !self.found.load(Relaxed) {
            return None;
        }
        let finding = *self.finding.lock().unwrap_or_else(PoisonError::into_inner);
        finding.filter(|(at, _)| number >= *at).map(|(_, finding)| finding)
    }

    pub fn end(&self, now: Instant) {
        self.in_flight.fetch_sub(1, Relaxed);
        self.moved(now);
    }

    pub fn busy(&self) -> bool {
        self.in_flight() > 0
    }

    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// Since when nothing has moved that belongs to an exchange; `None` while one is open.
    pub fn quiet_since(&self) -> Option<Instant> {
        (!self.busy()).then(|| self.opened + Duration::from_millis(self.moved.load(Relaxed)))
    }

    fn moved(&self, now: Instant) {
        let after = now.saturating_duration_since(self.opened).as_millis();
        self.moved.store(u64::try_from(after).unwrap_or(u64::MAX), Relaxed);
    }

    /// So many bytes of data have been written by now, in all.
    pub fn set_sent(&self, bytes: u64, now: Instant) {
        self.sent.store(bytes, Relaxed);
        self.moved(now);
    }

    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    pub fn set_write_waits(&self, waits: bool) {
        self.write_waits.store(waits, Relaxed);
    }

    pub fn write_waits(&self) -> bool {
        self.write_waits.load(Relaxed)
    }

    pub fn time_write_out(&self) {
        self.write_timed_out.store(true, Relaxed);
    }

    pub fn write_timed_out(&self) -> bool {
        self.write_timed_out.load(Relaxed)
    }

    pub fn find(&self, number: u64, finding: Finding) {
        let mut slot = self.finding.lock().unwrap_or_else(PoisonError::into_inner);
        slot.get_or_insert((number, finding));
        self.found.store(true, Relaxed);
    }

    pub fn pass_interim(&self, head: &[u8]) {
        self.interim.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(head);
        self.interim_waits.store(true, Relaxed);
    }

    pub fn interim_waits(&self) -> bool {
        self.interim_waits.load(Relaxed)
    }

    pub fn take_interim(&self) -> Vec<u8> {
        self.interim_waits.store(false, Relaxed);
        std::mem::take(&mut *self.interim.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn leave_http(&self) {
        self.tunnel.store(true, Relaxed);
    }

    pub fn left_http(&self) -> bool {
        self.tunnel.load(Relaxed)
    }
}

impl Default for Tap {
    fn default() -> Tap {
        Tap::new()
    }
}
