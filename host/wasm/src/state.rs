//! What the host keeps beside a running instance: who answers for which context, what the
//! callback may still use, and the last words of a guest that is about to fail.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;
use std::time::Duration;

use abi::{
    Answer, CalloutError, CalloutResponse, ContextId, GrpcEvent, Host, Limit, Limits, LogLevel, Meter, Mode, Refusal,
    Spent, Status,
};
use bytes::Bytes;
use wasmtime::{Memory, TypedFunc};

use crate::budget::{Bounds, Budget};
use crate::bulk::Rewritten;
use crate::clock::thread_cpu;

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
    hosts: HashMap<u32, Open, BuildHasherDefault<ById>>,
    /// Who answers the hostcalls that come now, and its context.
    host: Option<Rc<dyn Host>>,
    pub effective: u32,
    pub version: Version,
    pub rewritten: Rewritten,
    /// `None` until the module has been instantiated.
    pub memory: Option<Memory>,
    /// Shared, as it is taken out for each call: to copy one costs as much as to call it.
    pub allocate: Option<Rc<TypedFunc<u32, u32>>>,
    /// Whether the end of a timer can be told.
    pub hears_timers: bool,
    /// Whether the end of another wait can be told.
    pub hears_replies: bool,
    /// The context that is entered is told its end.
    pub ending: bool,
    pub bounds: Bounds,
    pub budget: Budget,
    /// Contexts that were told `proxy_on_done`, and which of them said that they were not done.
    pub told_done: Vec<u32>,
    pub not_done: Vec<u32>,
    /// The last hostcall of this callback was refused for want of a capability.
    pub denied: Cell<bool>,
    limits: Limits,
    /// What really ends the guest: in shadow mode more than the limits.
    pub backstop: Limits,
    /// CPU time of all entries.
    pub cpu: Duration,
    /// The end of a callout, while the guest is told of it.
    pub answer: Option<Result<CalloutResponse, CalloutError>>,
    /// What came of a gRPC call or stream, while the guest is told of it.
    pub grpc: Option<GrpcEvent>,
    /// What another wait has brought, packed, or the pool that an origin is selected for, while the
    /// guest is told of it.
    pub reply: Option<Bytes>,
    pub printed: Printed,
    /// Kept between calls so that reading a header allocates nothing here.
    pub scratch: Vec<u8>,
}

/// A context that is open.
struct Open {
    host: Rc<dyn Host>,
    /// CPU time of the callback that was called last, with what came of its waits, and of all.
    callback: Meter,
    exchange: Meter,
}

/// Why a guest is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A callback of its own.
    Event,
    /// The end of a wait: it counts to the callback that waits.
    Wait,
    /// The end of the context, which a spent exchange must reach too: with a budget of its own.
    End,
}

impl State {
    pub fn new(host: Rc<dyn Host>, version: Version, rewritten: Rewritten) -> State {
        let limits = &host.settings().limits;
        let backstop = limits.backstop();
        let bounds = Bounds { memory: backstop.memory, note: limits.memory, ..Bounds::default() };
        let mut state = State {
            version,
            rewritten,
            host: Some(host.clone()),
            bounds,
            budget: Budget { since: None, exact: false, limit: backstop.start_cpu, of: Limit::StartCpu },
            limits: limits.clone(),
            backstop,
            ..State::unhosted()
        };
        state.open(ContextId::PLUGIN.0, host);
        state
    }

    /// For a store in which nothing ever runs: the one that imports are looked up in.
    pub fn unhosted() -> State {
        State {
            hosts: HashMap::default(),
            host: None,
            effective: ContextId::PLUGIN.0,
            version: Version::V0_2_1,
            rewritten: Rewritten::NOT,
            memory: None,
            allocate: None,
            hears_timers: false,
            hears_replies: false,
            ending: false,
            told_done: Vec::new(),
            not_done: Vec::new(),
            bounds: Bounds::default(),
            budget: Budget { since: None, exact: false, limit: Duration::ZERO, of: Limit::Cpu },
            denied: Cell::new(false),
            limits: Limits::default(),
            backstop: Limits::default(),
            cpu: Duration::ZERO,
            answer: None,
            grpc: None,
            reply: None,
            printed: Printed::default(),
            scratch: Vec::new(),
        }
    }

    pub fn host(&self) -> Rc<dyn Host> {
        self.host.clone().expect("a guest only runs in a store that has a host")
    }

    /// Asked before something is started whose end comes later: a context that is at its end (its
    /// `proxy_on_delete`, and the `proxy_on_done` of a root context, which nothing follows) is not told it.
    pub fn can_wait(&self, call: &str) -> Answer<()> {
        if !self.ending {
            return Ok(());
        }
        let text = format!("{call}: the context ends with this callback, and nobody would be told of the end of it");
        Err(Refusal::new(Status::PhaseDenied, text))
    }

    /// Asked before something is started whose end must be told as a reply.
    pub fn can_reply(&self, call: &str) -> Answer<()> {
        self.can_wait(call)?;
        if self.hears_replies {
            return Ok(());
        }
        let text = "the module exports neither forebay_on_reply nor proxy_on_foreign_function to be told of the end";
        Err(Refusal::new(Status::Unimplemented, text))
    }

    pub fn host_of(&self, context: u32) -> Option<Rc<dyn Host>> {
        self.hosts.get(&context).map(|open| open.host.clone())
    }

    /// The guest is entered for `context`, which is open: its budget begins. `None` if it is spent.
    pub fn begin(&mut self, context: u32, entry: Entry) -> Option<()> {
        let most = &self.backstop;
        let open = self.hosts.get_mut(&context)?;
        if entry != Entry::Wait {
            open.callback = Meter::default();
        }
        let mut budget = Budget {
            since: None,
            // Of the background each entry counts, and no exchange waits for the clock to be read.
            exact: context == ContextId::PLUGIN.0 || open.callback.is_near(most.cpu),
            limit: open.callback.left(most.cpu),
            of: Limit::Cpu,
        };
        if context != ContextId::PLUGIN.0 && entry != Entry::End {
            budget.exact |= open.exchange.is_near(most.exchange_cpu);
            let left = open.exchange.left(most.exchange_cpu);
            if left < budget.limit {
                (budget.limit, budget.of) = (left, Limit::ExchangeCpu);
            }
        }
        if budget.exact {
            budget.since = Some(thread_cpu());
        }
        self.budget = budget;
        (!self.budget.limit.is_zero()).then_some(())
    }

    /// The guest has returned: what it used is put to its account, and what it passed in shadow
    /// mode is told.
    pub fn end(&mut self, context: u32) {
        let spent = self.budget.spent();
        self.cpu += spent.whole();
        let Some(open) = self.hosts.get_mut(&context) else { return };
        if spent != Spent::default() {
            open.callback.add(spent);
            open.exchange.add(spent);
        }
        if self.limits.mode == Mode::Shadow {
            let (callback, exchange) = (open.callback.known(), open.exchange.known());
            let host = open.host.clone();
            self.tell(&*host, callback, if context == ContextId::PLUGIN.0 { Duration::ZERO } else { exchange });
        }
    }

    #[cold]
    fn tell(&mut self, host: &dyn Host, callback: Duration, exchange: Duration) {
        let Limits { cpu, exchange_cpu, .. } = self.limits;
        if callback >= cpu {
            host.passed(Limit::Cpu, &format!("ran for {callback:?} in one callback (limit cpu: {cpu:?})"));
        }
        if exchange >= exchange_cpu {
            let text = format!("ran for {exchange:?} in one exchange (limit exchange_cpu: {exchange_cpu:?})");
            host.passed(Limit::ExchangeCpu, &text);
        }
        self.tell_memory(host);
    }

    fn tell_memory(&mut self, host: &dyn Host) {
        if let Some(asked) = self.bounds.noted.take() {
            let text = format!("has {asked} bytes of memory (limit memory: {})", self.limits.memory);
            host.passed(Limit::Memory, &text);
        }
    }

    /// The start has ended well.
    pub fn started(&mut self) {
        if self.limits.mode == Mode::Shadow {
            let (used, limit) = (self.budget.spent().known, self.limits.start_cpu);
            let host = self.host();
            if used >= limit {
                let text = format!("used {used:?} of CPU time to start (limit start_cpu: {limit:?})");
                host.passed(Limit::StartCpu, &text);
            }
            self.tell_memory(&*host);
        }
    }

    /// What the callback of `context` that failed has used.
    pub fn used(&self, context: u32) -> Duration {
        self.hosts.get(&context).map_or(Duration::ZERO, |open| open.callback.known())
    }

    /// What is left now of the limits that are counted here: seconds, bytes.
    pub fn left(&self) -> Vec<(Limit, f64)> {
        let used = self.budget.spent().known;
        let seconds = |left: Duration| left.saturating_sub(used).as_secs_f64();
        let mut left = vec![(Limit::Memory, self.limits.memory.saturating_sub(self.bounds.in_use) as f64)];
        match self.hosts.get(&self.effective) {
            _ if self.budget.of == Limit::StartCpu => left.push((Limit::StartCpu, seconds(self.limits.start_cpu))),
            Some(open) => {
                left.push((Limit::Cpu, seconds(open.callback.left(self.limits.cpu))));
                if self.effective != ContextId::PLUGIN.0 {
                    left.push((Limit::ExchangeCpu, seconds(open.exchange.left(self.limits.exchange_cpu))));
                }
            }
            None => {}
        }
        left
    }

    /// The start is over: nobody answers until a worker adopts it.
    pub fn park(&mut self) {
        self.hosts.clear();
        self.host = None;
    }

    pub fn adopt(&mut self, host: Rc<dyn Host>) {
        self.host = Some(host.clone());
        self.open(ContextId::PLUGIN.0, host);
    }

    pub fn open(&mut self, context: u32, host: Rc<dyn Host>) {
        self.hosts.insert(context, Open { host, callback: Meter::default(), exchange: Meter::default() });
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
        let Some(open) = self.hosts.get(&context) else { return false };
        self.host = Some(open.host.clone());
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
