//! The hostcalls, as raw C functions.
//!
//! Each is a Rust function `fn(Asked) -> Reply` and is entered through [`enter`], the only
//! frame that Lua sees. What a plugin calls is built on them in `prelude/api.lua`, which turns
//! tables into plain arguments (so that no metamethod ever runs under a Rust frame); the hot
//! ones, headers, are called as they are.

mod body;
mod callout;
mod context;
mod dict;
mod event;
mod exchange;
mod grpc;
mod headers;
mod kv;
mod limit;
mod limits;
mod log;
mod lua;
mod metric;
mod origin;
mod queue;
mod scale;
mod secret;
mod trace;

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use abi::{Refusal, Status, Verdict};

pub use callout::push_result;
pub use event::push_event;
pub use grpc::push_grpc;
pub use scale::propose;

use crate::kit;
use crate::state::Kind;
pub use crate::state::Raw;
use crate::state::State;
use crate::vm::{Stage, Stop, Vm, Wait};

/// How places in the prelude begin (see `vm/sandbox.rs`), and how many frames of it may stand
/// between a script and a hostcall.
const PRELUDE: &[u8] = b"[forebay ";
const MAX_PRELUDE: c_int = 8;

/// Up to here each whole number is one of Lua's.
pub const EXACT: f64 = 9_007_199_254_740_992.0;

/// How a hostcall ends, other than with values.
pub enum Out {
    /// The coroutine goes back to the host; [`Vm::stop`] says why.
    Suspend,
    /// The error on top is raised.
    Raise,
}

/// The number of values on top that are the result.
pub type Reply = Result<c_int, Out>;

/// A hostcall that is being asked.
#[derive(Clone, Copy)]
pub struct Asked {
    pub state: State,
    pub vm: &'static Vm,
}

/// Runs one hostcall. Nothing inside can throw: the allocator does not fail, panics are caught,
/// and only here, with nothing left to drop, Lua is told to raise or to yield.
#[inline(always)]
pub fn enter(raw: *mut Raw, call: impl FnOnce(Asked) -> Reply) -> c_int {
    // SAFETY: Lua gives the running state; this runs on the thread that owns it.
    let state = unsafe { State::new(raw) };
    let vm = Vm::of(state);
    let before = vm.heap.infallible.replace(true);
    let asked = Asked { state, vm };
    let reply = catch_unwind(AssertUnwindSafe(|| call(asked))).unwrap_or_else(|panic| Err(asked.panicked(&*panic)));
    vm.heap.infallible.set(before);
    match reply {
        Ok(values) => values,
        // SAFETY: the outermost frame of a C function; what the call made has been dropped.
        Err(Out::Suspend) if state.can_suspend() => unsafe { state.suspend() },
        Err(out) => {
            if let Out::Suspend = out {
                match vm.stop.get() {
                    Some(Stop::Killed(_)) => vm.arm(),
                    _ => vm.stop.set(None),
                }
            }
            // SAFETY: as above.
            unsafe { state.raise() }
        }
    }
}

/// Names `$name` as the C function of `$call`.
macro_rules! functions {
    ($($lua:literal $call:expr;)*) => {
        &[$(($lua, {
            unsafe extern "C-unwind" fn entry(raw: *mut Raw) -> i32 {
                enter(raw, $call)
            }
            entry as crate::state::Function
        })),*]
    };
}
pub(crate) use functions;

/// Puts every C function into the table on top, by its name in the prelude.
pub fn register(state: State) {
    let groups = [
        headers::FUNCTIONS,
        body::FUNCTIONS,
        exchange::FUNCTIONS,
        event::FUNCTIONS,
        callout::FUNCTIONS,
        grpc::FUNCTIONS,
        context::FUNCTIONS,
        dict::FUNCTIONS,
        limit::FUNCTIONS,
        kv::FUNCTIONS,
        queue::FUNCTIONS,
        metric::FUNCTIONS,
        origin::FUNCTIONS,
        limits::FUNCTIONS,
        log::FUNCTIONS,
        secret::FUNCTIONS,
        scale::FUNCTIONS,
        trace::FUNCTIONS,
        lua::FUNCTIONS,
    ];
    for (name, function) in groups.into_iter().flatten().chain(kit::functions()) {
        state.push_function(*function);
        state.raw_set_field(-2, name);
    }
}

impl Asked {
    pub fn nil(&self) -> Reply {
        self.state.push_nil();
        Ok(1)
    }

    pub fn yes(&self) -> Reply {
        self.state.push_bool(true);
        Ok(1)
    }

    /// `nil, {code = …, message = …}`
    #[cold]
    pub fn refuse(&self, refusal: &Refusal) -> Reply {
        if refusal.status == Status::LimitExceeded {
            // The host may make a fault of it once the callback has returned.
            self.state.reserve(4);
            self.state.push_traceback(self.state);
            *self.vm.refused_at.borrow_mut() = Some(crate::value::error_text(self.state, -1));
            self.state.pop(1);
        }
        self.failure(refusal.status.name(), &refusal.message)
    }

    #[cold]
    pub fn failure(&self, code: &str, message: &str) -> Reply {
        self.state.push_nil();
        push_failure(self.state, code, message);
        Ok(2)
    }

    /// What a call that only says yes or no gives.
    #[inline]
    pub fn answer(&self, answer: abi::Answer<()>) -> Reply {
        match answer {
            Ok(()) => self.yes(),
            Err(refusal) => self.refuse(&refusal),
        }
    }

    /// A text argument: a string, or a number as Lua writes it.
    #[inline]
    pub fn text<'a>(&self, index: c_int, function: &str, name: &str) -> Result<&'a [u8], Out> {
        match self.state.kind(index) {
            Kind::String | Kind::Number => Ok(self.state.bytes(index).expect("a string or number has bytes")),
            _ => Err(self.wrong(index, function, name, "a string")),
        }
    }

    pub fn number(&self, index: c_int, function: &str, name: &str) -> Result<f64, Out> {
        match self.state.kind(index) {
            Kind::Number => Ok(self.state.number(index)),
            _ => Err(self.wrong(index, function, name, "a number")),
        }
    }

    /// A whole number within bounds that a Lua number holds exactly.
    pub fn whole(&self, index: c_int, function: &str, name: &str, least: f64, most: f64) -> Result<f64, Out> {
        let number = self.number(index, function, name)?;
        if number.fract() != 0.0 || !(least..=most).contains(&number) {
            return Err(self.error(&format!(
                "{function}: argument {index} ({name}) is {number}; allowed: a whole number from {least} to {most}"
            )));
        }
        Ok(number)
    }

    /// A text argument that the host takes as a name.
    pub fn name<'a>(&self, index: c_int, function: &str, name: &str) -> Result<&'a str, Out> {
        let bytes = self.text(index, function, name)?;
        std::str::from_utf8(bytes).map_err(|_| self.wrong(index, function, name, "a string in UTF-8"))
    }

    /// An argument of the wrong kind: names the function, the argument, what was found and what
    /// is allowed.
    #[cold]
    pub fn wrong(&self, index: c_int, function: &str, name: &str, allowed: &str) -> Out {
        let found = self.state.kind(index).name();
        self.error(&format!("{function}: argument {index} ({name}) is {found}; allowed: {allowed}"))
    }

    /// An error at the place in the script that called.
    #[cold]
    pub fn error(&self, message: &str) -> Out {
        self.state.reserve(4);
        // The script's own place: the prelude stands between it and many calls.
        for level in 1..MAX_PRELUDE {
            self.state.push_place(level);
            if !self.state.bytes(-1).is_some_and(|place| place.is_empty() || place.starts_with(PRELUDE)) {
                break;
            }
            self.state.pop(1);
            if level + 1 == MAX_PRELUDE {
                self.state.push_bytes(b"");
            }
        }
        self.state.push_bytes(message.as_bytes());
        self.state.concat(2);
        Out::Raise
    }

    /// Asked before something is started that is then waited for. Nothing that a script can reach
    /// calls it back under a C frame; if something does, it must not start things without end.
    pub fn can_wait(&self) -> Result<(), Out> {
        if self.vm.asking().stage == Stage::Done {
            return Err(self.error("on_done cannot wait; on_log can"));
        }
        if self.state.can_suspend() { Ok(()) } else { Err(self.error("cannot wait here")) }
    }

    /// The script is not returned to until what it waits for is there.
    pub fn wait(&self, wait: Wait) -> Out {
        self.stop(Stop::Wait(wait))
    }

    /// The script is not returned to.
    pub fn answered(&self) -> Out {
        self.stop(Stop::Answered)
    }

    /// The callback ends here as if it had returned.
    pub fn continued(&self) -> Out {
        self.stop(Stop::Continued)
    }

    #[cold]
    pub fn killed(&self) -> Out {
        self.stop(Stop::Killed(self.vm.kill().unwrap_or(Verdict::Cpu)))
    }

    /// The script asked for more than its memory limit in one piece.
    #[cold]
    pub fn out_of_memory(&self) -> Out {
        self.vm.heap.exhaust();
        self.killed()
    }

    fn stop(&self, stop: Stop) -> Out {
        self.vm.stop.set(Some(stop));
        // Raised only where a yield is impossible.
        self.state.push_bytes(b"cannot wait here");
        Out::Suspend
    }

    #[cold]
    fn panicked(&self, panic: &(dyn std::any::Any + Send)) -> Out {
        let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        *self.vm.panicked.borrow_mut() = Some(text.unwrap_or_else(|| "a panic without text".to_owned()));
        self.killed()
    }
}

/// What a call gives that was waited for: its value, or nil and why not. The number of values.
pub fn push_reply(state: State, reply: &abi::Answer<abi::Value>) -> c_int {
    match reply {
        Ok(value) => {
            crate::value::push(state, value);
            1
        }
        Err(refusal) => {
            state.push_nil();
            push_failure(state, refusal.status.name(), &refusal.message);
            2
        }
    }
}

/// Pushes `{code = …, message = …}`, which reads well when it is raised.
pub fn push_failure(state: State, code: &str, message: &str) {
    state.reserve(6);
    state.new_table(0, 2);
    state.push_bytes(code.as_bytes());
    state.raw_set_field(-2, "code");
    state.push_bytes(message.as_bytes());
    state.raw_set_field(-2, "message");
    state.push_kept(Vm::of(state).refusal.get());
    state.set_metatable(-2);
}
