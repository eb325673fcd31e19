//! Origins are told to stop, in the name of who leads.

use std::time::Duration;

use jiff::Timestamp;

use super::Process;
use super::identity::Identity;
use super::origin::{Origin, Stopping};
use super::signal::{self, Signal};
use crate::lease::Right;

impl Process {
    /// Nothing is stopped that another runs.
    pub fn release(&mut self, right: Right, now: Timestamp) -> Duration {
        self.take(right);
        if !right.leads() {
            return Duration::ZERO;
        }
        if !self.adopted {
            self.adopt(now);
        }
        let Some(_entry) = self.enter() else { return Duration::ZERO };
        let mut origins = std::mem::take(&mut self.origins);
        for origin in &mut origins {
            origin.ordered = true;
            self.terminate(origin, now);
        }
        self.origins = origins;
        // The kernel needs a moment after SIGKILL.
        self.config.stop_timeout + Duration::from_secs(2)
    }

    pub(super) fn terminate(&self, origin: &mut Origin, now: Timestamp) {
        if origin.stopping.is_none() {
            origin.stopping = Some(Stopping { since: now, killed: false });
            origin.probe = None;
            self.count("stop");
            // Before the signal: a later run must not take it for one that serves.
            origin.record.stopping_at = Some(now);
            self.save(&origin.record);
            self.send(&origin.record.identity, Signal::Terminate);
        }
    }

    pub(super) fn send(&self, identity: &Identity, signal: Signal) {
        // Looked at just before: the number may belong to someone else by now.
        if identity.is_alive()
            && let Err(error) = signal::send(identity.pid, signal)
        {
            tracing::error!(pool = self.pool, pid = identity.pid, %error, "origin cannot be signalled");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use config::region::ProcessActuator;
    use tokio::sync::Notify;

    use super::*;
    use crate::clock::Clock;

    /// Processes that never answer, which are given so long to boot.
    fn sleepers(folder: &std::path::Path, clock: &Clock, boot_timeout: Duration) -> Process {
        let config = ProcessActuator {
            command: vec!["sleep".into(), "60".into()],
            host: "127.0.0.1".parse().unwrap(),
            ready_path: "/".into(),
            boot_timeout,
            stop_timeout: Duration::from_secs(2),
            state_dir: folder.to_path_buf(),
        };
        Process::new("shop".into(), config, clock.clone(), Arc::new(Notify::new()))
    }

    /// Those that run and were not told to stop.
    fn running(process: &mut Process, right: Right, now: Timestamp) -> Vec<SocketAddr> {
        let seen = process.observe(right, now).unwrap_or_default();
        let mut found: Vec<_> = seen.iter().filter(|origin| !origin.stopping).map(|origin| origin.address).collect();
        found.sort();
        found
    }

    #[tokio::test]
    async fn in_the_name_of_a_lease_that_has_lapsed_origins_are_started_and_none_is_ended() {
        let folder = std::env::temp_dir().join(format!("forebay-lapsed-{}", std::process::id()));
        let clock = Clock::start();
        let now = clock.now();
        let mut old = sleepers(&folder, &clock, Duration::from_secs(10));
        let (leads, lapsed) = (Right::Token(3), Right::Lapsed(3));
        old.observe(leads, now);
        old.set(leads, 2, &[], now);
        let two = running(&mut old, leads, now);
        assert_eq!(two.len(), 2);
        assert_eq!(running(&mut old, lapsed, now), two, "they are adopted");
        old.set(lapsed, 3, &two[..1], now);
        assert_eq!(running(&mut old, lapsed, now).len(), 3, "one more, and none is stopped");
        old.set(lapsed, 1, &two, now);
        let late = now + Duration::from_secs(30);
        assert_eq!(running(&mut old, lapsed, late).len(), 3, "nor is one that boots for too long");
        assert_eq!(old.release(lapsed, late), Duration::ZERO);
        assert_eq!(running(&mut old, lapsed, late).len(), 3, "nor when the aggregator is told to end them");

        // Another has the next lease: from its first word on nothing is done in the old name.
        let mut new = sleepers(&folder, &clock, Duration::from_secs(100));
        let all = running(&mut new, Right::Token(4), now);
        assert_eq!(all.len(), 3, "what was started without a lease is adopted");
        old.set(lapsed, 5, &[], late);
        assert_eq!((old.observe(lapsed, late), old.token()), (None, 4));
        assert_eq!(running(&mut new, Right::Token(4), now), all);
        new.release(Right::Token(4), now);
        let gone = |process: &mut Process| process.observe(Right::Token(4), now).is_some_and(|left| left.is_empty());
        while !gone(&mut new) {
            // The ends of `old`'s children are its to wait for.
            old.observe(lapsed, late);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
