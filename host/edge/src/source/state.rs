//! How it stands with one source: what has been tried, and when it is tried again. Told the time, and
//! rolls no dice, so that its tests can.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

/// Before the first attempt that follows one that failed; twice as long before each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Characters of an error: much of it may be a stranger's words.
const LONGEST_ERROR: usize = 1024;

#[derive(Default)]
pub struct State {
    pub standing: Standing,
    /// Attempts that have begun.
    pub attempts: u64,
    /// Of them, those that brought it, those that failed, and of these the last in a row.
    pub fetched: u64,
    pub failed: u64,
    failures: u32,
    /// When one of this process has brought it last.
    pub fetched_at: Option<SystemTime>,
    pub last_error: Option<String>,
    /// When the next attempt begins.
    pub next: Option<Instant>,
    /// It came from the disk, not from a fetch of this process.
    pub kept: bool,
    /// Why what came does not run: the edge goes on with what it had.
    pub refused: Option<String>,
    /// The module, until it is loaded.
    pub module: Option<Bytes>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    #[default]
    Fetching,
    /// Every attempt since then has failed.
    Failed(Instant),
    Ready,
}

impl Standing {
    pub fn name(self) -> &'static str {
        match self {
            Standing::Fetching => "fetching",
            Standing::Failed(_) => "failed",
            Standing::Ready => "ready",
        }
    }
}

impl State {
    pub fn begin(&mut self) {
        self.attempts += 1;
        self.next = None;
    }

    /// An attempt has failed; how long to wait until the next, `dice` (0 to 1) of half of it being
    /// chance, so that edges do not ask all at once.
    pub fn failed(&mut self, error: &str, now: Instant, dice: f64) -> Duration {
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16));
        let pause = doubled.min(LONGEST_PAUSE).mul_f64(0.5 + dice / 2.0);
        self.failures = self.failures.saturating_add(1);
        self.failed += 1;
        self.last_error = Some(error.chars().take(LONGEST_ERROR).collect());
        self.next = Some(now + pause);
        if self.standing == Standing::Fetching {
            self.standing = Standing::Failed(now);
        }
        pause
    }

    /// It is here: from the disk, or fetched at this time.
    pub fn ready(&mut self, module: Bytes, fetched: Option<SystemTime>) {
        let kept = fetched.is_none();
        *self = State {
            standing: Standing::Ready,
            attempts: self.attempts,
            fetched: self.fetched + u64::from(!kept),
            failed: self.failed,
            fetched_at: fetched.or(self.fetched_at),
            // What went wrong on the way is still worth reading.
            last_error: self.last_error.take(),
            kept,
            module: Some(module),
            ..State::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pause_is_twice_the_last_up_to_the_longest_and_half_of_it_is_chance() {
        let now = Instant::now();
        let pauses = |dice: f64| {
            let mut state = State::default();
            (0..12).map(|_| state.failed("x", now, dice).as_secs_f64()).collect::<Vec<_>>()
        };
        assert_eq!(pauses(1.0), [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0, 300.0]);
        assert_eq!(pauses(0.0)[..3], [0.5, 1.0, 2.0]);
        assert_eq!(pauses(0.0)[11], 150.0);
    }

    #[test]
    fn a_source_has_failed_since_the_first_of_its_failures() {
        let (mut state, now) = (State::default(), Instant::now());
        let later = now + Duration::from_secs(5);
        state.begin();
        state.failed("first", now, 0.5);
        state.begin();
        state.failed("second", later, 0.5);
        assert_eq!((state.standing, state.attempts), (Standing::Failed(now), 2));
        assert_eq!(state.last_error.as_deref(), Some("second"));
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(7);
        state.ready(Bytes::from_static(b"m"), Some(at));
        assert_eq!((state.fetched, state.failed, state.fetched_at, state.kept), (1, 2, Some(at), false));
        assert_eq!((state.standing, state.next), (Standing::Ready, None));
        state.ready(Bytes::from_static(b"m"), None);
        assert_eq!((state.fetched, state.failed, state.fetched_at, state.kept), (1, 2, Some(at), true));
        state.failed(&"ü".repeat(5000), later, 0.5);
        assert_eq!(state.last_error.unwrap().chars().count(), LONGEST_ERROR);
    }
}
