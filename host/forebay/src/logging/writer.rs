//! Log lines leave on a thread of their own. A disk or a pipe that stalls for seconds must not
//! stall the workers that wrote to it: their lines wait in a bounded queue, and past it they
//! are dropped, counted, and the count is logged.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Some seconds of a busy edge.
const LINES: usize = 16 << 10;
/// How long the end of the process waits for what is still queued.
const PATIENCE: Duration = Duration::from_secs(2);

enum Item {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// One event is one call of `write`.
#[derive(Clone)]
pub struct Writer {
    queue: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
}

impl Writer {
    pub fn start(to: impl Write + Send + 'static) -> io::Result<Writer> {
        Writer::bounded(to, LINES)
    }

    fn bounded(to: impl Write + Send + 'static, lines: usize) -> io::Result<Writer> {
        let (queue, items) = sync_channel(lines);
        let dropped = Arc::new(AtomicU64::new(0));
        let count = dropped.clone();
        std::thread::Builder::new().name("log".into()).spawn(move || drain(&items, to, &count))?;
        Ok(Writer { queue, dropped })
    }

    /// Returns when everything before it is written, or has had its time.
    pub fn flush_queue(&self) {
        let (done, flushed) = sync_channel(1);
        if self.queue.try_send(Item::Flush(done)).is_ok() {
            let _ = flushed.recv_timeout(PATIENCE);
        }
    }
}

impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Item::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Errors are nobody's to hear of: this is where they would be written.
fn drain(items: &Receiver<Item>, mut to: impl Write, dropped: &AtomicU64) {
    for item in items {
        match item {
            Item::Line(line) => drop(to.write_all(&line)),
            Item::Flush(done) => {
                let _ = to.flush();
                let _ = done.send(());
            }
        }
        match dropped.swap(0, Ordering::Relaxed) {
            0 => {}
            lines => drop(writeln!(to, "{{\"level\":\"WARN\",\"message\":\"{lines} log lines were dropped\"}}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Takes nothing until it is let go.
    struct Stalled {
        gate: Arc<Mutex<()>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _open = self.gate.lock().unwrap();
            self.written.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stalled_disk_stalls_nobody_and_what_it_cost_is_said() {
        let (gate, written) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(Vec::new())));
        let mut writer = Writer::bounded(Stalled { gate: gate.clone(), written: written.clone() }, 4).unwrap();
        let closed = gate.lock().unwrap();
        // Would never return if a write waited for the disk.
        for n in 0..100 {
            writer.write_all(format!("line {n}\n").as_bytes()).unwrap();
        }
        assert_eq!(written.lock().unwrap().len(), 0);
        drop(closed);
        let text = || String::from_utf8(written.lock().unwrap().clone()).unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !text().contains("log lines were dropped") {
            assert!(std::time::Instant::now() < deadline, "{}", text());
            writer.flush_queue();
        }
        assert!(text().starts_with("line 0\n"), "{}", text());
        assert!(!text().contains("line 99"), "{}", text());
    }

    #[test]
    fn a_flush_has_everything_written() {
        let (gate, written) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(Vec::new())));
        let mut writer = Writer::start(Stalled { gate, written: written.clone() }).unwrap();
        for _ in 0..1000 {
            writer.write_all(b"x\n").unwrap();
        }
        writer.flush_queue();
        assert_eq!(written.lock().unwrap().len(), 2000);
    }
}
