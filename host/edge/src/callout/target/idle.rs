//! The connections of a worker to targets: those of HTTP/1 that nobody uses now, and those of HTTP/2, which
//! exchanges share.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};

use crate::body::Body;
use crate::clock;

/// Idle connections that a worker keeps to one host of a target, and how long.
const MOST_IDLE: usize = 8;
const IDLE: Duration = Duration::from_secs(15);

/// This worker's connections, the last one used last.
#[derive(Default)]
pub struct Idle {
    kept: RefCell<HashMap<Key, Vec<Kept>>>,
    shared: RefCell<HashMap<Key, Shared>>,
}

/// The target, and the host and port of it.
pub type Key = (u64, String, u16);
/// A connection, and until when it is kept.
type Kept = (http1::SendRequest<Body>, Instant);
type Shared = (http2::SendRequest<Body>, Instant);

impl Idle {
    pub(super) fn take(&self, key: &Key) -> Option<http1::SendRequest<Body>> {
        let mut kept = self.kept.borrow_mut();
        let senders = kept.get_mut(key)?;
        while let Some((sender, until)) = senders.pop() {
            if until > clock::now() && !sender.is_closed() {
                return Some(sender);
            }
        }
        kept.remove(key);
        None
    }

    pub(super) fn put(&self, key: Key, sender: http1::SendRequest<Body>) {
        let (mut kept, now) = (self.kept.borrow_mut(), clock::now());
        // Hosts that nobody asks any more, and targets that a reload has taken away, go here.
        kept.retain(|_, senders| {
            senders.retain(|(sender, until)| *until > now && !sender.is_closed());
            !senders.is_empty()
        });
        let senders = kept.entry(key).or_default();
        if senders.len() < MOST_IDLE {
            senders.push((sender, now + IDLE));
        }
    }

    /// The one that exchanges share, which lives on as long as they come.
    pub(super) fn shared(&self, key: &Key) -> Option<http2::SendRequest<Body>> {
        let (mut shared, now) = (self.shared.borrow_mut(), clock::now());
        let (sender, until) = shared.get_mut(key)?;
        if *until <= now || sender.is_closed() {
            shared.remove(key);
            return None;
        }
        *until = now + IDLE;
        Some(sender.clone())
    }

    pub(super) fn share(&self, key: Key, sender: http2::SendRequest<Body>) {
        let (mut shared, now) = (self.shared.borrow_mut(), clock::now());
        shared.retain(|_, (sender, until)| *until > now && !sender.is_closed());
        shared.insert(key, (sender, now + IDLE));
    }

    /// Closes all: the worker is draining.
    pub fn clear(&self) {
        self.kept.borrow_mut().clear();
        self.shared.borrow_mut().clear();
    }
}
