//! What the host keeps beside a running instance: who answers for which context, what the
//! callback may still use, and the last words of a guest that is about to fail.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;
use std::time::Duration;

use abi::{Answer, CalloutError, CalloutResponse, ContextId, Host, LogLevel, Refusal, Status};
use bytes::Bytes;
use wasmtime::{Memory, ResourceLimiter, StoreContextMut, TypedFunc, UpdateDeadline};

use crate::clock::thread_cpu;
use crate::engine::TABLE_ELEMENTS;

/// Of a line that a guest prints without an end, and of its last words.
const MAX_LINE: usize = 4 << 10;

/// The version of proxy-wasm that a module speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    V0_1_0,
    V0_2_0,
    V0_2_1,
}

/// The store's data.
pub struct State {
    hosts: HashMap<u32, Rc<dyn Host>, BuildHasherDefault<ById>>,
    /// Who answers the hostcalls that come now, and its context.
    host: Option<Rc<dyn Host>>,
    pub effective: u32,
    pub version: Version,
    /// `None` until the module has been instantiated.
    pub memory: Option<Memory>,
    pub allocate: Option<TypedFunc<u32, u32>>,
    /// Whether the end of a timer can be told.
    pub hears_timers: bool,
    /// Whether the end of another wait can be told.
    pub hears_replies: bool,
    pub bounds: Bounds,
    pub budget: Budget,
    /// Contexts that were told `proxy_on_done`, and which of them said that they were not done.
    pub told_done: Vec<u32>,
    pub not_done: Vec<u32>,
    /// The end of a callout, while the guest is told of it.
    pub answer: Option<Result<CalloutResponse, CalloutError>>,
    /// What another wait has brought, packed, or the pool that an origin is selected for, while the
    /// guest is told of it.
    pub reply: Option<Bytes>,
    pub printed: Printed,
    /// Kept between calls so that reading a header allocates nothing here.
    pub scratch: Vec<u8>,
}

impl State {
    pub fn new(host: Rc<dyn Host>, version: Version) -> State {
        let limits = &host.settings().limits;
        let (memory, start_cpu) = (limits.memory, limits.start_cpu);
        let mut state = State {
            version,
            host: Some(host.clone()),
            bounds: Bounds { memory, refused: None },
            budget: Budget { since: Some(thread_cpu()), limit: start_cpu },
            ..State::unhosted()
        };
        state.hosts.insert(ContextId::PLUGIN.0, host);
        state
    }

    /// For a store in which nothing ever runs: the one that imports are looked up in.
    pub fn unhosted() -> State {
        State {
            hosts: HashMap::default(),
            host: None,
            effective: ContextId::PLUGIN.0,
            version: Version::V0_2_1,
            memory: None,
            allocate: None,
            hears_timers: false,
            hears_replies: false,
            bounds: Bounds { memory: 0, refused: None },
            budget: Budget { since: None, limit: Duration::ZERO },
            told_done: Vec::new(),
            not_done: Vec::new(),
            answer: None,
            reply: None,
            printed: Printed::default(),
            scratch: Vec::new(),
        }
    }

    pub fn host(&self) -> Rc<dyn Host> {
        self.host.clone().expect("a guest only runs in a store that has a host")
    }

    /// Asked before something is started whose end must be told.
    pub fn can_reply(&self) -> Answer<()> {
        if self.hears_replies {
            return Ok(());
        }
        let text = "the module exports neither forebay_on_reply nor proxy_on_foreign_function to be told of the end";
        Err(Refusal::new(Status::Unimplemented, text))
    }

    pub fn host_of(&self, context: u32) -> Option<Rc<dyn Host>> {
        self.hosts.get(&context).cloned()
    }

    /// CPU time of one callback of the context that is effective.
    pub fn limits_cpu(&self) -> Duration {
        self.host.as_ref().map_or(Duration::ZERO, |host| host.settings().limits.cpu)
    }

    pub fn open(&mut self, context: u32, host: Rc<dyn Host>) {
        self.hosts.insert(context, host);
    }

    pub fn close(&mut self, context: u32) {
        self.hosts.remove(&context);
        self.told_done.retain(|told| *told != context);
        self.not_done.retain(|waiting| *waiting != context);
        // The host of an exchange must not live on here until the next event.
        if self.effective == context {
            self.switch(ContextId::PLUGIN.0);
        }
    }

    /// Makes `context` the one that hostcalls are about; false if it is not open.
    pub fn switch(&mut self, context: u32) -> bool {
        if self.effective == context {
            return self.hosts.contains_key(&context);
        }
        let Some(host) = self.hosts.get(&context) else { return false };
        self.host = Some(host.clone());
        self.effective = context;
        true
    }

    /// What the guest printed goes to its log; the last of it is kept for a fault's message.
    pub fn print(&mut self, level: LogLevel, bytes: &[u8]) {
        let host = self.host();
        let Printed { out, err, last_words } = &mut self.printed;
        let line = if level == LogLevel::Error { err } else { out };
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            line.extend_from_slice(part);
            if part.ends_with(b"\n") || line.len() >= MAX_LINE {
                let text = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
                line.clear();
                host.log(level, &text);
                if level == LogLevel::Error {
                    remember(last_words, &text);
                }
            }
        }
    }

    /// Ends the lines that a callback left open.
    pub fn flush(&mut self) {
        for (level, open) in
            [(LogLevel::Info, !self.printed.out.is_empty()), (LogLevel::Error, !self.printed.err.is_empty())]
        {
            if open {
                self.print(level, b"\n");
            }
        }
    }
}

/// Lines that are being printed, and what was said last.
#[derive(Default)]
pub struct Printed {
    out: Vec<u8>,
    err: Vec<u8>,
    pub last_words: String,
}

/// A Rust guest's panic comes as a line of the log, then a trap that says only `unreachable`.
pub fn remember(last_words: &mut String, text: &str) {
    if last_words.len() + text.len() < MAX_LINE {
        if !last_words.is_empty() {
            last_words.push('\n');
        }
        last_words.push_str(text);
    }
}

/// CPU time of one callback.
pub struct Budget {
    /// CPU time of the thread when the callback began. Asking the clock costs a system call, so
    /// the first epoch that a callback meets does it (at most a millisecond late): one that
    /// meets none never pays.
    pub since: Option<Duration>,
    pub limit: Duration,
}

/// What ends a guest whose CPU time is spent.
#[derive(Debug)]
pub struct CpuSpent(pub Duration);

impl std::fmt::Display for CpuSpent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "used more than {:?} of CPU time", self.0)
    }
}

impl std::error::Error for CpuSpent {}

/// Called in the guest at the first loop or call after an epoch has ended.
pub fn on_epoch(mut store: StoreContextMut<'_, State>) -> wasmtime::Result<UpdateDeadline> {
    let budget = &mut store.data_mut().budget;
    let now = thread_cpu();
    match budget.since {
        None => budget.since = Some(now),
        Some(since) if now.saturating_sub(since) >= budget.limit => return Err(CpuSpent(budget.limit).into()),
        Some(_) => {}
    }
    Ok(UpdateDeadline::Continue(1))
}

/// Memory and tables of one instance.
pub struct Bounds {
    pub memory: usize,
    /// Bytes that were asked for and refused in this callback: what traps after that ran out
    /// of memory, whatever the trap is called.
    pub refused: Option<usize>,
}

impl ResourceLimiter for Bounds {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let fits = desired <= self.memory;
        if !fits {
            self.refused = Some(desired);
        }
        Ok(fits)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }

    fn instances(&self) -> usize {
        1
    }

    fn memories(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        4
    }
}

/// Contexts are small numbers that the host itself gave: any hash of them serves.
#[derive(Default)]
struct ById(u64);

impl Hasher for ById {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u32(&mut self, id: u32) {
        self.0 = u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
