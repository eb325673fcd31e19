//! What the bytes of a client connection and the requests on it tell each other. Shared between
//! the connection's I/O, which the HTTP library owns, and the service that answers. One thread
//! uses it; it is `Send` because the library's upgrades ask for that.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::serve::scan::Finding;

#[derive(Debug, Default)]
pub struct Tap {
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
}

impl Tap {
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

    pub fn end(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    pub fn busy(&self) -> bool {
        self.in_flight.load(Relaxed) > 0
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
