//! HTTP/2 responses that their client does not take. The HTTP library waits for the client's window
//! by itself, polls no body meanwhile and knows no time limit. So the future of each stream, which it
//! spawns, runs inside one of ours ([`Streams`]) that knows since when the client owes progress (the
//! [`Debt`] of the stream, which its response body writes): past `body_timeout` the stream's future is
//! dropped, which resets the stream and ends its exchange.
//!
//! A client owes from when a piece of a body ([`Pieces`]) was handed over until the library asks for
//! the next one. It then has window for all that was handed over before.
//!
//! Streams of one connection share its window and its socket, and one may wait for its turn while the
//! client takes what it can. Such a wait is excused, but not for ever: see [`excused`].

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use crate::serve::tap::Tap;
use crate::wheel::Timer;

/// What is handed to the library at once: it keeps a piece for a stream that has window for one byte.
const PIECE: usize = 16 << 10;

/// The last byte of more than this travels alone: the library asks for nothing after the last piece,
/// and keeps what has no window when the exchange is long over.
const TAIL: usize = 4 << 10;

/// What a connection has to move in one `body_timeout` for a stream of it to wait on.
const MOVING: u64 = PIECE as u64;

/// For how often `body_timeout` a stream may wait for others.
const TURNS: u32 = 8;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Debt>>> = const { RefCell::new(None) };
}

/// What the client of one stream owes.
#[derive(Default)]
pub struct Debt {
    /// The number of the piece that was handed over last.
    piece: Cell<u64>,
    owed: Cell<bool>,
    cut: Cell<bool>,
}

impl Debt {
    /// Of the stream whose future is being polled.
    pub fn current() -> Option<Rc<Debt>> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// A piece is being handed over.
    pub fn give(&self) {
        self.piece.set(self.piece.get() + 1);
        self.owed.set(true);
    }

    /// All that was handed over is paid for.
    pub fn pay(&self) {
        self.owed.set(false);
    }

    /// Whether the stream was ended because its client did not pay.
    pub fn was_cut(&self) -> bool {
        self.cut.get()
    }

    fn owed(&self) -> Option<u64> {
        self.owed.get().then(|| self.piece.get())
    }
}

/// A body's data on its way to the library, in pieces.
#[derive(Default)]
pub struct Pieces {
    rest: Bytes,
}

impl Pieces {
    /// Takes data in; what there was must have been given out.
    pub fn put(&mut self, data: Bytes) {
        debug_assert!(self.rest.is_empty(), "what there was has been given out");
        self.rest = data;
    }

    pub fn left(&self) -> usize {
        self.rest.len()
    }

    pub fn take(&mut self) -> Bytes {
        let n = match self.rest.len() {
            short @ ..=TAIL => short,
            long => (long - 1).min(PIECE),
        };
        self.rest.split_to(n)
    }
}

/// Runs the streams of one connection for the HTTP library.
#[derive(Clone)]
pub struct Streams {
    pub tap: Arc<Tap>,
    pub within: Duration,
}

impl<F: Future + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, future: F) {
        let Streams { tap, within } = self.clone();
        tokio::task::spawn_local(async move {
            let debt = Rc::new(Debt::default());
            let mut wait = Wait { tap, within, timer: None, piece: None, begun: 0, looked: 0, streams: 0, turns: 0 };
            // Dropped at the end of this block, after `cut` was said.
            let mut future = pin!(future);
            poll_fn(|cx| {
                let before = CURRENT.replace(Some(debt.clone()));
                let polled = future.as_mut().poll(cx);
                CURRENT.set(before);
                if polled.is_ready() {
                    return Poll::Ready(());
                }
                let stalled = wait.poll(debt.owed(), cx);
                debt.cut.set(stalled.is_ready());
                stalled
            })
            .await
        });
    }
}

/// How long a stream has waited for its client.
struct Wait {
    tap: Arc<Tap>,
    within: Duration,
    /// Made when a client first lets the edge wait.
    timer: Option<Timer>,
    /// For which the timer runs.
    piece: Option<u64>,
    /// What the connection had sent when the wait began, and when it was last looked at.
    begun: u64,
    looked: u64,
    /// The most streams that the connection was seen with meanwhile.
    streams: u32,
    turns: u32,
}

impl Wait {
    /// Ready when the client is late.
    fn poll(&mut self, owed: Option<u64>, cx: &mut Context<'_>) -> Poll<()> {
        if owed != self.piece {
            self.piece = owed;
            match owed {
                Some(_) => {
                    self.begun = self.tap.sent();
                    self.looked = self.begun;
                    self.streams = self.tap.in_flight();
                    self.turns = 0;
                    self.timer.get_or_insert_default().arm(self.within);
                }
                None => self.timer.iter_mut().for_each(Timer::disarm),
            }
        }
        let Some(timer) = self.timer.as_mut().filter(|_| owed.is_some()) else { return Poll::Pending };
        while timer.poll(cx).is_ready() {
            let sent = self.tap.sent();
            self.turns += 1;
            self.streams = self.streams.max(self.tap.in_flight());
            if !excused(sent - self.begun, sent - self.looked, self.streams, self.turns) {
                return Poll::Ready(());
            }
            self.looked = sent;
            timer.arm(self.within);
        }
        Poll::Pending
    }
}

/// Whether a stream that waits has only been waiting for its turn among `streams`: the connection has
/// moved `lately`, in the last `body_timeout`, and `moved` in all no more than what gives each a turn.
/// The library serves streams in turns, a piece each; twice that is allowed for.
fn excused(moved: u64, lately: u64, streams: u32, turns: u32) -> bool {
    turns < TURNS && lately >= MOVING && moved <= u64::from(streams) * 2 * PIECE as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_bounded_and_the_last_byte_of_much_travels_alone() {
        for (size, pieces) in [
            (1, &[1][..]),
            (TAIL, &[TAIL]),
            (TAIL + 1, &[TAIL, 1]),
            (PIECE, &[PIECE - 1, 1]),
            (PIECE + 1, &[PIECE, 1]),
            (PIECE + TAIL, &[PIECE, TAIL]),
            (2 * PIECE + TAIL + 2, &[PIECE, PIECE, TAIL + 1, 1]),
        ] {
            let mut some = Pieces::default();
            some.put(vec![0; size].into());
            let mut given = Vec::new();
            while some.left() > 0 {
                given.push(some.take().len());
            }
            assert_eq!(given, pieces, "{size}");
        }
    }

    #[test]
    fn to_wait_for_a_turn_is_excused_and_to_stall_is_not() {
        const PIECE: u64 = super::PIECE as u64;
        for (what, moved, lately, streams, turns, good) in [
            ("nothing moves", 0, 0, 10, 1, false),
            ("a trickle", 1000, 1000, 10, 1, false),
            ("others have their turn", 5 * PIECE, 5 * PIECE, 10, 1, true),
            ("all others have had theirs, and again", 21 * PIECE, 5 * PIECE, 10, 3, false),
            ("alone", 3 * PIECE, 3 * PIECE, 1, 1, false),
            ("too often", 8 * PIECE, PIECE, 10, TURNS, false),
        ] {
            assert_eq!(excused(moved, lately, streams, turns), good, "{what}");
        }
    }
}
