//! What is measured out to one plugin: the body bytes in front of it, and its lines of log.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

/// Body bytes in front of one plugin.
#[derive(Default)]
pub struct Window {
    pub bytes: RefCell<Bytes>,
    /// A body event is being told, or the whole body was read for it.
    pub open: Cell<bool>,
    /// What is looked at is one server-sent event.
    pub event: Cell<bool>,
    /// The plugin has written: its fault can no longer be passed over.
    pub changed: Cell<bool>,
}

/// Lines that one plugin of one worker may still log in this second. A start logs from a thread of its own.
#[derive(Default)]
pub struct LogBudget {
    second: AtomicU64,
    lines: AtomicU32,
    /// Lines of the edge about limits that the plugin passed in shadow mode.
    warned: AtomicU32,
}

/// Such lines in one second: the counter has them all.
const WARNINGS: u32 = 10;

impl Window {
    pub fn push(&self, more: Bytes) {
        let mut bytes = self.bytes.borrow_mut();
        if bytes.is_empty() {
            *bytes = more;
        } else if !more.is_empty() {
            let mut all =
                std::mem::take(&mut *bytes).try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
            all.extend_from_slice(&more);
            *bytes = all.freeze();
        }
    }

    pub fn take(&self) -> Bytes {
        self.open.set(false);
        self.event.set(false);
        std::mem::take(&mut *self.bytes.borrow_mut())
    }

    pub fn size(&self) -> usize {
        self.bytes.borrow().len()
    }

    /// What [`Window::splice`] would leave.
    pub fn size_with(&self, range: &Range<usize>, new: usize) -> usize {
        let start = range.start.min(self.size());
        self.size() - (range.end.clamp(start, self.size()) - start) + new
    }

    /// Replaces a range, clamped to what there is.
    pub fn splice(&self, range: Range<usize>, new: &[u8]) {
        let mut bytes = self.bytes.borrow_mut();
        let start = range.start.min(bytes.len());
        let end = range.end.clamp(start, bytes.len());
        let mut all = BytesMut::with_capacity(bytes.len() - (end - start) + new.len());
        all.extend_from_slice(&bytes[..start]);
        all.extend_from_slice(new);
        all.extend_from_slice(&bytes[end..]);
        *bytes = all.freeze();
        self.changed.set(true);
    }
}

impl LogBudget {
    /// Lines of this second.
    pub fn lines(&self, now: Duration) -> u32 {
        if self.second.swap(now.as_secs(), Relaxed) != now.as_secs() {
            self.lines.store(0, Relaxed);
            self.warned.store(0, Relaxed);
        }
        self.lines.load(Relaxed)
    }

    /// One more line, and how many it makes in this second.
    pub fn take(&self, now: Duration) -> u32 {
        self.lines(now);
        self.lines.fetch_add(1, Relaxed).saturating_add(1)
    }

    /// Whether the edge says once more in this second that a limit was passed.
    pub fn may_warn(&self, now: Duration) -> bool {
        self.lines(now);
        self.warned.fetch_add(1, Relaxed) < WARNINGS
    }
}
