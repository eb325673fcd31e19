//! Ports that no other test has. The edge listens with `SO_REUSEPORT`, so two of them on one
//! port would share it without an error: a port is therefore locked while a test uses it, and
//! taken from below the range that the system hands out by itself.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

/// A port of 127.0.0.1, held until it is dropped.
pub struct Port {
    pub address: SocketAddr,
    _lock: File,
}

impl Port {
    pub fn free() -> Port {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let folder = std::env::temp_dir().join("forebay-test-ports");
        std::fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("cannot make {}: {e}", folder.display()));
        // Processes begin at different places, so that they seldom meet.
        let begin = (std::process::id().wrapping_mul(37) % u32::from(COUNT)) as u16;
        for _ in 0..COUNT {
            let number = FIRST + (begin + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, number));
            let file = folder.join(number.to_string());
            let Ok(lock) = OpenOptions::new().create(true).truncate(false).write(true).open(file) else { continue };
            if lock.try_lock().is_ok() && TcpListener::bind(address).is_ok() {
                return Port { address, _lock: lock };
            }
        }
        panic!("no free port between {FIRST} and {}", FIRST + COUNT);
    }
}
