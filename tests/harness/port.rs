//! Ports that no other test has, and that no test before had.
//!
//! The edge listens with `SO_REUSEPORT`, so two of them on one port would share it without an error. And a
//! port that the system gives goes back to it when its listener closes, and may be given to the next who asks,
//! while somebody still sends to who was there: an edge whose origin was stopped, the probes and scrapers of an
//! aggregator whose origin has ended. That origin then counts requests that nobody sent to it.
//!
//! So ports come from below the range that the system hands out by itself, in blocks that a process locks until
//! it ends. In one process each is given once, as long as there are others.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

const FIRST: u16 = 10_000;
const BLOCK: u16 = 200;
const BLOCKS: u16 = 100;

/// What this process has.
static MINE: Mutex<Mine> = Mutex::new(Mine { locks: Vec::new(), fresh: VecDeque::new(), returned: VecDeque::new() });

struct Mine {
    /// Of its blocks. They end with the process, however it ends.
    locks: Vec<File>,
    /// Never given.
    fresh: VecDeque<u16>,
    /// Given, and not needed any more; the first the longest ago.
    returned: VecDeque<u16>,
}

/// A port of 127.0.0.1, nobody else's until it is dropped.
pub struct Port {
    pub address: SocketAddr,
}

impl Port {
    pub fn free() -> Port {
        let mut mine = mine();
        loop {
            let Some(number) = mine.take() else {
                panic!("no free port between {FIRST} and {}: other tests have them all", FIRST + BLOCK * BLOCKS);
            };
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, number));
            // Something on this machine may have it that is no test; it is not ours to give again then.
            if TcpListener::bind(address).is_ok() {
                return Port { address };
            }
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        mine().returned.push_back(self.address.port());
    }
}

fn mine() -> MutexGuard<'static, Mine> {
    // A test that failed while it had the lock has left it whole.
    MINE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mine {
    fn take(&mut self) -> Option<u16> {
        if self.fresh.is_empty() {
            self.lock_another();
        }
        self.fresh.pop_front().or_else(|| self.returned.pop_front())
    }

    fn lock_another(&mut self) {
        let folder = std::env::temp_dir().join("forebay-test-port-blocks");
        std::fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("cannot make {}: {e}", folder.display()));
        let begin = turn(&folder);
        for block in (0..BLOCKS).map(|i| (begin + i) % BLOCKS) {
            let file = folder.join(block.to_string());
            let Ok(lock) = OpenOptions::new().create(true).truncate(false).write(true).open(file) else { continue };
            // A lock goes with the open file, so one of this process keeps this process out as well.
            if lock.try_lock().is_ok() {
                self.locks.push(lock);
                self.fresh.extend((0..BLOCK).map(|i| FIRST + block * BLOCK + i));
                return;
            }
        }
    }
}

/// The block to begin with: each process that asks gets the one after the last, so that what one had is another's only
/// once all others were.
fn turn(folder: &Path) -> u16 {
    let file = folder.join("turn");
    let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(file).expect("it opens");
    file.lock().expect("others have it for a moment");
    let mut last = String::new();
    file.read_to_string(&mut last).expect("it is text");
    let turn = last.trim().parse::<u16>().map_or(0, |last| (last + 1) % BLOCKS);
    file.rewind().expect("a file has a begin");
    // As wide as any, so that nothing of a longer one is left.
    file.write_all(format!("{turn:5}").as_bytes()).expect("it is written");
    turn
}
