//! What is read from files is read aside, where it keeps no decision waiting, and by a few at a time: a hundred
//! questions about last month at once would take the machine from the loop, and its memory too.

use std::fmt::Display;
use std::sync::Arc;

use http::StatusCode;
use tokio::sync::Semaphore;

use super::{Answer, PATIENCE, fail};

/// So many files are read at one time; who comes after them waits.
pub const AT_ONCE: usize = 2;

/// Runs what reads the files of `what`. The answer says why, if it cannot.
pub async fn aside<T: Send + 'static, E: Display + Send + 'static>(
    turns: &Arc<Semaphore>,
    what: &str,
    read: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Answer> {
    let failed = |detail: &str| fail(StatusCode::SERVICE_UNAVAILABLE, what, detail);
    let turn = tokio::time::timeout(PATIENCE, turns.clone().acquire_owned()).await;
    let Ok(Ok(permit)) = turn else {
        return Err(failed(&format!("{AT_ONCE} others are reading: no turn within {PATIENCE:?}")));
    };
    let read = tokio::task::spawn_blocking(move || {
        // Until it is read to its end, also if whoever asked has gone.
        let _permit = permit;
        read()
    });
    match read.await {
        Ok(read) => read.map_err(|error| failed(&error.to_string())),
        Err(_) => Err(failed("reading it failed")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Condvar;
    use std::sync::Mutex;

    use super::*;

    /// How many read now, how many did at most, and whether they may end.
    #[derive(Default)]
    struct Readers(Mutex<(usize, usize, bool)>, Condvar);

    impl Readers {
        fn read(&self) -> Result<(), String> {
            let mut state = self.0.lock().unwrap();
            state.0 += 1;
            state.1 = state.1.max(state.0);
            self.1.notify_all();
            let mut state = self.1.wait_while(state, |state| !state.2).unwrap();
            state.0 -= 1;
            Ok(())
        }

        fn wait_for(&self, readers: usize) {
            let state = self.0.lock().unwrap();
            drop(self.1.wait_while(state, |state| state.0 < readers).unwrap());
        }
    }

    #[test]
    fn a_few_read_at_one_time_also_once_those_who_asked_have_gone_and_the_rest_get_their_turn() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (turns, readers) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::new(Readers::default()));
        runtime.block_on(async {
            let ask = || {
                let (turns, readers) = (turns.clone(), readers.clone());
                tokio::spawn(async move { aside(&turns, "journal", move || readers.read()).await.is_ok() })
            };
            let mut all: Vec<_> = (0..20).map(|_| ask()).collect();
            // Each of them has asked.
            tokio::task::yield_now().await;
            readers.wait_for(AT_ONCE);
            let gone: Vec<_> = all.drain(..AT_ONCE).collect();
            gone.iter().for_each(|asker| asker.abort());
            for asker in gone {
                assert!(asker.await.unwrap_err().is_cancelled());
            }
            assert_eq!(turns.available_permits(), 0, "their reading goes on, and takes the turns");
            readers.0.lock().unwrap().2 = true;
            readers.1.notify_all();
            for asker in all {
                assert!(asker.await.unwrap());
            }
        });
        let state = readers.0.lock().unwrap();
        assert!(state.1 <= AT_ONCE, "{} at one time", state.1);
    }
}
