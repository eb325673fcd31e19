//! What a call brings later. It is awaited in a [task](crate::task), or given to a closure.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::packed::{broken, call_data, Refusal, Results, Value};
use crate::task;

/// What a call brings later, or why it was refused at once.
///
/// `.await` gives it in a [task](crate::task); [`Reply::then`] hands it to a closure. Dropped, it is
/// not told any more; the call itself goes on.
#[must_use = "await it, or give it to a closure with `then`"]
pub struct Reply<T> {
    state: State,
    read: fn(Value) -> Result<T, Refusal>,
}

enum State {
    Refused(Refusal),
    Waiting(Key),
    Told,
}

/// By whom it is told, and the host's number for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Timer(u32),
    Reply(u32),
    /// Of `proxy_http_call`.
    Answer(u32),
}

type Came = Result<Value, Refusal>;

enum Waiter {
    Nobody,
    Task(Waker),
    Closure(Box<dyn FnOnce(Came)>),
    Came(Came),
}

thread_local! {
    static WAITING: RefCell<HashMap<Key, Waiter>> = RefCell::default();
}

impl<T> Reply<T> {
    pub(crate) fn waiting(key: Key, read: fn(Value) -> Result<T, Refusal>) -> Reply<T> {
        WAITING.with_borrow_mut(|waiting| waiting.insert(key, Waiter::Nobody));
        Reply { state: State::Waiting(key), read }
    }

    pub(crate) fn refused(refusal: Refusal) -> Reply<T> {
        Reply { state: State::Refused(refusal), read: |_| Err(broken()) }
    }

    /// Why the call was refused at once, if it was.
    pub fn refusal(&self) -> Option<&Refusal> {
        match &self.state {
            State::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Has `then` called with it; return `Action::Pause` meanwhile and let `then` end with
    /// `resume_http_request` or another call that goes on. It is not called if the exchange ends before,
    /// and stays in the instance's memory then: a closure knows no context, as a [task](crate::task) does.
    ///
    /// # Errors
    /// The call was refused at once; `then` is not called.
    pub fn then(mut self, then: impl FnOnce(Result<T, Refusal>) + 'static) -> Result<(), Refusal>
    where
        T: 'static,
    {
        match std::mem::replace(&mut self.state, State::Told) {
            State::Refused(refusal) => Err(refusal),
            State::Told => Ok(()),
            State::Waiting(key) => {
                let read = self.read;
                let closure = Waiter::Closure(Box::new(move |came| then(came.and_then(read))));
                WAITING.with_borrow_mut(|waiting| waiting.insert(key, closure));
                Ok(())
            }
        }
    }
}

impl<T> Future for Reply<T> {
    type Output = Result<T, Refusal>;

    /// # Panics
    /// Polled again after it has given what it brought.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let came = match &self.state {
            State::Refused(refusal) => Err(refusal.clone()),
            State::Told => panic!("a reply was awaited again after it came"),
            State::Waiting(key) => {
                let now = WAITING.with_borrow_mut(|waiting| match waiting.remove(key) {
                    Some(Waiter::Came(came)) => Some(came),
                    _ => {
                        waiting.insert(*key, Waiter::Task(context.waker().clone()));
                        None
                    }
                });
                match now {
                    Some(came) => came,
                    None => return Poll::Pending,
                }
            }
        };
        self.state = State::Told;
        Poll::Ready(came.and_then(self.read))
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if let State::Waiting(key) = self.state {
            // Dropped after the borrow: a waker may be the last that holds what drops replies too.
            let waiter = WAITING.with_borrow_mut(|waiting| waiting.remove(&key));
            drop(waiter);
        }
    }
}

/// Gives what came to who waits for it, and lets the tasks that can go on do so. The map is let go
/// of first: a closure may wait again.
pub(crate) fn deliver(context: u32, key: Key, came: impl FnOnce() -> Came) {
    match WAITING.with_borrow_mut(|waiting| waiting.remove(&key)) {
        None => return,
        Some(Waiter::Closure(then)) => then(came()),
        Some(waiter) => {
            let came = Waiter::Came(came());
            WAITING.with_borrow_mut(|waiting| waiting.insert(key, came));
            if let Waiter::Task(waker) = waiter {
                waker.wake();
            }
        }
    }
    task::run(context);
}

/// Told by the host.
#[no_mangle]
extern "C" fn forebay_on_reply(context: u32, token: u32, size: usize) {
    deliver(context, Key::Reply(token), || {
        Results::checked(call_data(size)).and_then(|mut results| results.value())
    });
}

/// Told by the host.
#[no_mangle]
extern "C" fn forebay_on_timer(context: u32, token: u32) {
    deliver(context, Key::Timer(token), || Ok(Value::Nil));
}
