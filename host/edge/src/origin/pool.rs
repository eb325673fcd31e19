//! This worker's connections to origins: idle ones, the last one used first, and the shared one
//! of an HTTP/2 origin.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::client::conn::http2;

use crate::body::Body;
use crate::origin::balance::Rotation;
use crate::origin::client::Link;
use crate::origin::dial::Dial;

/// How often connections that nobody asks for are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// All of this worker.
#[derive(Default)]
pub struct Origins {
    dial: Dial,
    homes: RefCell<HashMap<SocketAddr, Rc<Home>>>,
    rotations: RefCell<HashMap<Arc<str>, Rc<RefCell<Rotation>>>>,
}

/// The connections to one origin.
pub struct Home {
    pub address: SocketAddr,
    pub dial: Dial,
    idle: RefCell<Vec<Idle>>,
    /// While it lives, all requests to an HTTP/2 origin go over it.
    pub shared: RefCell<Option<http2::SendRequest<Body>>>,
    used: Cell<Instant>,
}

struct Idle {
    link: Box<Link>,
    until: Instant,
}

impl Origins {
    pub fn new(dial: Dial) -> Origins {
        Origins { dial, ..Origins::default() }
    }

    pub fn home(&self, address: SocketAddr) -> Rc<Home> {
        self.homes.borrow_mut().entry(address).or_insert_with(|| Rc::new(Home::new(address, self.dial.clone()))).clone()
    }

    pub fn rotation(&self, pool: &Arc<str>) -> Rc<RefCell<Rotation>> {
        if let Some(rotation) = self.rotations.borrow().get(pool) {
            return rotation.clone();
        }
        self.rotations.borrow_mut().entry(pool.clone()).or_default().clone()
    }

    /// Closes what has been idle too long, and forgets origins without connections.
    pub fn sweep(&self, now: Instant) {
        self.homes.borrow_mut().retain(|_, home| {
            home.idle.borrow_mut().retain(|idle| idle.until > now);
            let mut shared = home.shared.borrow_mut();
            if shared.as_ref().is_some_and(|shared| shared.is_closed()) {
                *shared = None;
            }
            Rc::strong_count(home) > 1
                || shared.is_some()
                || !home.idle.borrow().is_empty()
                || now.saturating_duration_since(home.used.get()) < Duration::from_secs(60)
        });
    }

    /// Closes every idle connection: the worker is draining.
    pub fn clear(&self) {
        self.homes.borrow_mut().clear();
    }

    /// Sweeps for the life of the worker.
    pub async fn keep(worker: Rc<crate::worker::Worker>) {
        loop {
            crate::clock::sleep(SWEEP).await;
            worker.origins.sweep(crate::clock::now());
        }
    }
}

impl Home {
    fn new(address: SocketAddr, dial: Dial) -> Home {
        Home {
            address,
            dial,
            idle: RefCell::default(),
            shared: RefCell::default(),
            used: Cell::new(crate::clock::now()),
        }
    }

    /// The idle connection that was used last, if it has not been idle too long. It may have
    /// been closed by the origin: ask it.
    pub fn take(&self) -> Option<Box<Link>> {
        let now = crate::clock::now();
        self.used.set(now);
        let mut idle = self.idle.borrow_mut();
        let last = idle.pop()?;
        if last.until <= now {
            // Older ones are below it in the stack.
            idle.clear();
            return None;
        }
        Some(last.link)
    }

    /// Keeps a connection for `time`, unless `most` are kept already.
    pub fn give_back(&self, link: Box<Link>, most: usize, time: Duration) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < most {
            idle.push(Idle { link, until: crate::clock::now() + time });
        }
    }
}
