//! A running plugin: its contexts, and the coroutines in which their callbacks run and wait.
//! Long, as a callback's life (begun, waiting, gone on with, its account, its fault) is read as one.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use abi::{Action, ContextId, Event, Fault, Host, Instance, Limit, Limits, Meter, Mode, Side, Spent, Started, Verdict};

use crate::api;
use crate::source::Source;
use crate::state::{Kind, Ref, Resumed, State};
use crate::value;
use crate::vm::{Asking, Coroutine, Stage, Stop, Vm, Wait};

/// The callbacks that a plugin's table may have, by the stage that they run in.
pub const CALLBACKS: [(&str, Stage); 16] = [
    ("on_vm_start", Stage::Start),
    ("on_configure", Stage::Start),
    ("on_request_headers", Stage::RequestHeaders),
    ("on_request_body", Stage::RequestBody),
    ("on_request_trailers", Stage::RequestTrailers),
    ("on_response_headers", Stage::ResponseHeaders),
    ("on_response_body", Stage::ResponseBody),
    ("on_response_trailers", Stage::ResponseTrailers),
    ("on_log", Stage::Log),
    ("on_tick", Stage::Tick),
    ("on_origin_select", Stage::Origin),
    ("on_done", Stage::Done),
    ("on_drain", Stage::Drain),
    ("on_queue_ready", Stage::QueueReady),
    ("on_response_event", Stage::ResponseEvent),
    ("autoscale", Stage::Scale),
];
const ON_VM_START: usize = 0;
const ON_CONFIGURE: usize = 1;
const ON_QUEUE_READY: usize = 13;
const ON_DONE: usize = 11;
const ON_DRAIN: usize = 12;
const ON_RESPONSE_EVENT: usize = 14;
const AUTOSCALE: usize = 15;

pub mod parked;

pub struct LuaInstance {
    vm: ManuallyDrop<Box<Vm>>,
    /// In the order of [`CALLBACKS`].
    callbacks: [Ref; CALLBACKS.len()],
    contexts: HashMap<ContextId, Context, BuildHasherDefault<ContextHasher>>,
    limits: Limits,
    /// What really ends it: in shadow mode more than the limits.
    backstop: Limits,
    /// CPU time of the start so far.
    start: Meter,
    /// CPU time of all entries.
    cpu: Duration,
    healthy: bool,
}

struct Context {
    asking: Asking,
    /// Waiting coroutines: at most one a side, and what the background started.
    waiting: Vec<Task>,
}

/// A callback that has not ended.
#[derive(Clone, Copy)]
struct Task {
    coroutine: Coroutine,
    stage: Stage,
    whole: bool,
    taken: bool,
    wait: Wait,
    /// CPU time that it has used.
    meter: Meter,
}

/// Where a callback stands as it is run: see [`Asking`].
struct At {
    stage: Stage,
    whole: bool,
    taken: bool,
    /// CPU time that the callback has used.
    meter: Meter,
}

/// Context numbers are ours and dense: no flood to guard against.
#[derive(Default)]
struct ContextHasher(u64);

impl Hasher for ContextHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|b| self.write_u32((*b).into()));
    }
    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Context {
    #[cold]
    fn account(&self, spent: Spent, counted: bool) {
        if counted {
            let mut exchange = self.asking.exchange.get();
            exchange.add(spent);
            self.asking.exchange.set(exchange);
        }
    }

    /// In shadow mode: what was passed is said, and changes nothing.
    #[cold]
    fn tell(&self, limits: &Limits, callback: Meter, memory: bool) {
        let host = &self.asking.host;
        let used = callback.known();
        if used >= limits.cpu {
            host.passed(Limit::Cpu, &format!("ran for {used:?} in one callback (limit cpu: {:?})", limits.cpu));
        }
        let used = self.asking.exchange.get().known();
        if used >= limits.exchange_cpu {
            let limit = limits.exchange_cpu;
            host.passed(
                Limit::ExchangeCpu,
                &format!("ran for {used:?} in one exchange (limit exchange_cpu: {limit:?})"),
            );
        }
        if memory {
            host.passed(Limit::Memory, &format!("had more than {} bytes of memory (limit memory)", limits.memory));
        }
    }
}

/// What a failed start was about: [`crate::plugin`] reads the line from it.
pub struct StartFailure {
    pub fault: Fault,
    /// The table that the file returned has this unknown callback, or is none.
    pub shape: bool,
}

impl LuaInstance {
    /// A VM in which the plugin's file has run. Its callbacks are known, none was called.
    pub fn start(source: Arc<Source>, host: Rc<dyn Host>) -> Result<LuaInstance, StartFailure> {
        let limits = host.settings().limits.clone();
        let backstop = limits.backstop();
        let vm = Vm::new(source, backstop.memory)
            .map_err(|why| StartFailure { fault: Fault::new(Verdict::Panic, why), shape: false })?;
        let asking = Asking::new(host, Stage::Start, true);
        let mut instance = LuaInstance {
            vm: ManuallyDrop::new(vm),
            callbacks: [Ref::NONE; CALLBACKS.len()],
            contexts: HashMap::default(),
            limits,
            backstop,
            start: Meter::default(),
            cpu: Duration::ZERO,
            healthy: true,
        };
        instance.vm.heap.note_past(instance.limits.memory);
        instance.contexts.insert(ContextId::PLUGIN, Context { asking, waiting: Vec::new() });
        instance.run_file()?;
        Ok(instance)
    }

    pub fn has(&self, callback: usize) -> bool {
        self.callbacks[callback].is_some()
    }

    /// Runs the whole start where it may go to another thread after.
    pub fn started(source: Arc<Source>, host: Rc<dyn Host>) -> Result<Box<dyn Started>, Fault> {
        LuaInstance::configured(source, host).map(|instance| Box::new(instance.park()) as Box<dyn Started>)
    }

    /// Runs the whole start.
    pub fn configured(source: Arc<Source>, host: Rc<dyn Host>) -> Result<LuaInstance, Fault> {
        let mut instance = LuaInstance::start(source, host).map_err(|failure| {
            let mut fault = failure.fault;
            if fault.verdict == Verdict::Trap {
                fault.verdict = Verdict::Config;
            }
            fault
        })?;
        instance.configure()?;
        Ok(instance)
    }

    /// Calls `on_vm_start` and `on_configure`. After this globals are read-only.
    pub fn configure(&mut self) -> Result<(), Fault> {
        let settings = self.plugin_context().host.settings().clone();
        for (callback, config) in [(ON_VM_START, &settings.vm_config), (ON_CONFIGURE, &settings.config)] {
            if !self.has(callback) {
                continue;
            }
            let coroutine = self.vm.take_coroutine();
            coroutine.state.push_kept(self.callbacks[callback]);
            value::push_config(coroutine.state, config);
            let result = self.run_start(coroutine, 1).map_err(|mut fault| {
                if fault.verdict == Verdict::Trap {
                    fault.verdict = Verdict::Config;
                }
                fault
            })?;
            let state = result.state;
            let refused = state.top() > 0 && state.kind(1) == Kind::Boolean && !state.truth(1);
            let why = (state.top() > 1).then(|| value::error_text(state, 2));
            self.vm.give_coroutine(result);
            if refused {
                let name = CALLBACKS[callback].0;
                let why = why.map(|why| format!(": {why}")).unwrap_or_default();
                return Err(Fault::new(Verdict::Config, format!("{name} returned false{why}")));
            }
        }
        self.vm.freeze().map_err(|why| Fault::new(Verdict::Panic, format!("sealing the libraries: {why}")))
    }

    fn plugin_context(&self) -> &Asking {
        &self.contexts[&ContextId::PLUGIN].asking
    }

    fn run_file(&mut self) -> Result<(), StartFailure> {
        let source = self.vm.source.clone();
        let coroutine = self.vm.take_coroutine();
        let name = std::ffi::CString::new(format!("={}", source.name)).unwrap_or_default();
        let left = self.start.left(self.backstop.start_cpu);
        self.vm.stop.set(None);
        let (compiled, spent) = self.vm.metered(left, true, || coroutine.state.compile(&source.main, &name));
        self.spend_start(spent);
        if !compiled && self.vm.stop.get().is_some() {
            return Err(StartFailure { fault: self.fault(coroutine, Resumed::Failed), shape: false });
        }
        if !compiled {
            let message = value::error_text(coroutine.state, -1);
            return Err(StartFailure { fault: Fault::new(Verdict::Config, message), shape: false });
        }
        let done = self.run_start(coroutine, 0).map_err(|fault| StartFailure { fault, shape: false })?;
        let shape = |message| StartFailure { fault: Fault::new(Verdict::Config, message), shape: true };
        self.read_callbacks(done.state).map_err(shape)?;
        self.vm.give_coroutine(done);
        Ok(())
    }

    /// Runs what must not wait; the coroutine comes back with its results.
    fn run_start(&mut self, coroutine: Coroutine, arguments: i32) -> Result<Coroutine, Fault> {
        let asking = &self.contexts[&ContextId::PLUGIN].asking;
        let left = self.start.left(self.backstop.start_cpu);
        asking.callback.set(self.start);
        let (resumed, spent) = self.vm.metered(left, true, || self.vm.resume(asking, coroutine, arguments));
        self.spend_start(spent);
        match resumed {
            Resumed::Done => Ok(coroutine),
            _ => Err(self.fault(coroutine, resumed)),
        }
    }

    fn spend_start(&mut self, spent: Spent) {
        let before = self.start.known();
        self.start.add(spent);
        self.cpu += spent.whole();
        let (used, limit) = (self.start.known(), self.limits.start_cpu);
        if self.limits.mode == Mode::Shadow && before < limit && used >= limit {
            let host = &self.plugin_context().host;
            host.passed(Limit::StartCpu, &format!("used {used:?} of CPU time to start (limit start_cpu: {limit:?})"));
        }
    }

    fn read_callbacks(&mut self, state: State) -> Result<(), String> {
        if state.top() < 1 {
            // As scripts of scaling are written elsewhere: nothing but a function of that name.
            state.push_kept(self.vm.globals.get());
            state.raw_field(1, CALLBACKS[AUTOSCALE].0);
            if state.kind(-1) == Kind::Function {
                self.callbacks[AUTOSCALE] = state.keep();
                return Ok(());
            }
            state.set_top(0);
        }
        if state.top() < 1 || state.kind(1) != Kind::Table {
            let found = if state.top() < 1 { "nothing" } else { state.kind(1).name() };
            return Err(format!("the file returned {found}; a plugin returns a table of callbacks (return {{ … }})"));
        }
        let names = || CALLBACKS.iter().map(|(name, _)| *name);
        state.set_top(1);
        state.push_nil();
        while state.next(1) {
            if state.kind(-2) == Kind::String {
                let name = String::from_utf8_lossy(state.bytes(-2).unwrap_or_default()).into_owned();
                match names().position(|known| known == name) {
                    Some(i) if state.kind(-1) == Kind::Function => {
                        state.push_copy(-1);
                        self.callbacks[i] = state.keep();
                    }
                    Some(_) => return Err(format!("{name} is {}; a callback is a function", state.kind(-1).name())),
                    None if name.starts_with("on_") => {
                        let near = crate::source::nearest(&name, names());
                        let hint = near.map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
                        let known: Vec<_> = names().collect();
                        return Err(format!("unknown callback {name}{hint}; there are: {}", known.join(", ")));
                    }
                    None => {}
                }
            }
            state.pop(1);
        }
        Ok(())
    }

    /// Starts a callback of `context`, if the plugin has it.
    fn begin(
        &mut self,
        context: ContextId,
        callback: usize,
        whole: bool,
        arguments: impl FnOnce(State) -> i32,
    ) -> Result<Action, Fault> {
        let function = self.callbacks[callback];
        if !function.is_some() {
            return Ok(Action::Continue);
        }
        let coroutine = self.vm.take_coroutine();
        coroutine.state.push_kept(function);
        let arguments = arguments(coroutine.state);
        let at = At { stage: CALLBACKS[callback].1, whole, taken: false, meter: Meter::default() };
        self.run(context, coroutine, at, arguments)
    }

    /// Lets the callback go on that waited for `wait`; `None` if there is none.
    fn go_on(
        &mut self,
        context: ContextId,
        wait: Wait,
        results: impl FnOnce(State) -> i32,
    ) -> Option<Result<Action, Fault>> {
        let waiting = &mut self.contexts.get_mut(&context)?.waiting;
        let task = waiting.remove(waiting.iter().position(|task| task.wait == wait)?);
        let results = results(task.coroutine.state);
        let whole = task.whole || matches!(wait, Wait::Body(_));
        let at = At { stage: task.stage, whole, taken: task.taken, meter: task.meter };
        Some(self.run(context, task.coroutine, at, results))
    }

    /// The next bytes for a loop over chunks; from then on it stands in the body.
    fn chunk(&mut self, context: ContextId, side: Side, size: usize, end: bool) -> Result<Action, Fault> {
        if size == 0 && !end {
            // Nothing to look at, and more to come.
            return Ok(Action::Chunk);
        }
        let wait = Wait::Chunk(side);
        let Some(known) = self.contexts.get_mut(&context) else { return Ok(Action::Continue) };
        let Some(place) = known.waiting.iter().position(|task| task.wait == wait) else { return Ok(Action::Continue) };
        let task = known.waiting.remove(place);
        let state = task.coroutine.state;
        match known.asking.host.body(side) {
            Ok(bytes) if !bytes.is_empty() => state.push_bytes(&bytes),
            _ => state.push_nil(),
        }
        let at = At { stage: Stage::body(side), whole: end, taken: true, meter: task.meter };
        self.run(context, task.coroutine, at, 1)
    }

    fn run(&mut self, context: ContextId, coroutine: Coroutine, at: At, values: i32) -> Result<Action, Fault> {
        let Some(known) = self.contexts.get_mut(&context) else {
            self.vm.drop_coroutine(coroutine);
            return Err(Fault::new(Verdict::Panic, format!("context {} is not open", context.0)));
        };
        let At { stage, whole, taken, meter: mut callback } = at;
        (known.asking.stage, known.asking.whole) = (stage, whole);
        known.asking.taken.set(taken);
        let (vm, most) = (&*self.vm, &self.backstop);
        let exchange = known.asking.exchange.get();
        let counted = context != ContextId::PLUGIN;
        let mut left = callback.left(most.cpu);
        if counted {
            left = left.min(exchange.left(most.exchange_cpu));
        }
        if left.is_zero() {
            // Its last entries have used it up: this one is not begun.
            let text = self.cpu_text(callback.left(most.cpu).is_zero());
            vm.drop_coroutine(coroutine);
            return Err(Fault::new(Verdict::Cpu, text).with_cpu(callback.known()));
        }
        known.asking.callback.set(callback);
        // Of the background each entry counts, and no exchange waits for the clock to be read.
        let exact = !counted || callback.is_near(most.cpu) || exchange.is_near(most.exchange_cpu);
        let (resumed, spent) = vm.metered(left, exact, || vm.resume(&known.asking, coroutine, values));
        if spent != Spent::default() {
            self.cpu += spent.whole();
            callback.add(spent);
            known.account(spent, counted);
        }
        if self.limits.mode == Mode::Shadow {
            known.tell(&self.limits, callback, vm.heap.was_noted());
        }
        let by_exchange = counted && known.asking.exchange.get().left(most.exchange_cpu).is_zero();
        match (resumed, vm.stop.get()) {
            (Resumed::Done, _) => {
                let proposed =
                    if stage == Stage::Scale { api::propose(coroutine.state, &*known.asking.host) } else { Ok(()) };
                vm.give_coroutine(coroutine);
                proposed.map(|()| Action::Continue).map_err(|fault| fault.with_cpu(callback.known()))
            }
            (Resumed::Yielded, Some(Stop::Wait(wait))) => {
                // Of a side that began anew, an answer in place of another: nobody comes for it any more.
                if !matches!(wait, Wait::Token(_)) {
                    known
                        .waiting
                        .extract_if(.., |task| task.wait == wait)
                        .for_each(|old| vm.drop_coroutine(old.coroutine));
                }
                let taken = known.asking.taken.get();
                known.waiting.push(Task { coroutine, stage, whole, taken, wait, meter: callback });
                Ok(match (wait, stage) {
                    (Wait::Token(_), _) => Action::Pause,
                    (Wait::Chunk(_), _) => Action::Chunk,
                    (Wait::Body(_), Stage::RequestBody | Stage::ResponseBody) => Action::BufferAll,
                    (Wait::Body(_), _) => Action::Buffer,
                })
            }
            (Resumed::Yielded, Some(Stop::Continued)) => {
                vm.drop_coroutine(coroutine);
                Ok(Action::Continue)
            }
            (Resumed::Yielded, Some(Stop::Answered)) => {
                vm.drop_coroutine(coroutine);
                Ok(Action::Pause)
            }
            _ => {
                let mut fault = self.fault(coroutine, resumed);
                if fault.verdict == Verdict::Cpu {
                    fault.message = self.cpu_text(!by_exchange);
                }
                Err(fault.with_cpu(callback.known()))
            }
        }
    }

    /// What is said of CPU time that is used up, of one callback or of the exchange.
    #[cold]
    fn cpu_text(&self, of_callback: bool) -> String {
        let Limits { cpu, exchange_cpu, mode, .. } = self.limits;
        let times = if mode == Mode::Shadow { ", ten times over" } else { "" };
        if of_callback {
            format!("ran longer than its CPU limit of {cpu:?}{times}")
        } else {
            format!("ran longer in one exchange than its CPU limit of {exchange_cpu:?} (limit exchange_cpu){times}")
        }
    }

    /// What a coroutine that did not end well means. It is dropped; the VM goes on.
    fn fault(&mut self, coroutine: Coroutine, resumed: Resumed) -> Fault {
        let vm = &*self.vm;
        let state = coroutine.state;
        state.reserve(8);
        let killed = match vm.stop.get() {
            Some(Stop::Killed(verdict)) => Some(verdict),
            _ if resumed == Resumed::OutOfMemory => Some(Verdict::Memory),
            // The error that stands for a kill where no yield was possible.
            _ => vm.kill().filter(|_| resumed == Resumed::Failed && state.kind(-1) == Kind::Userdata),
        };
        let verdict = killed.unwrap_or_else(|| {
            let raised = resumed == Resumed::Failed && value::is_denial(state, -1);
            if raised { Verdict::Capability } else { Verdict::Trap }
        });
        let limits = &self.limits;
        let message = match verdict {
            Verdict::Cpu => {
                // That of a callback is said by `run`, which knows which limit it was.
                format!("ran longer than its CPU limit of {:?}", limits.start_cpu)
            }
            Verdict::Memory => format!("asked for more memory than its limit of {} bytes", limits.memory),
            Verdict::Panic => vm.panicked.take().unwrap_or_default(),
            _ if resumed == Resumed::Failed => value::error_text(state, -1),
            _ => "waited or yielded where that is not possible".to_owned(),
        };
        vm.main().push_traceback(state);
        let trace = value::error_text(vm.main(), -1);
        vm.main().pop(1);
        vm.drop_coroutine(coroutine);
        if matches!(verdict, Verdict::Memory | Verdict::Panic) {
            self.healthy = false;
            vm.heap.forgive();
        }
        Fault::new(verdict, message).with_trace(trace)
    }

    /// The whole body of a side has come: whoever waits for it goes on, else it is a body event
    /// like another, the last.
    fn body_ready(&mut self, context: ContextId, side: Side) -> Result<Action, Fault> {
        let body = match self.contexts.get(&context).map(|known| known.asking.host.body(side)) {
            Some(Ok(body)) => body,
            _ => bytes::Bytes::new(),
        };
        let resumed = self.go_on(context, Wait::Body(side), |state| {
            state.push_bytes(&body);
            1
        });
        resumed.unwrap_or_else(|| self.body(context, side, body.len(), true))
    }

    fn body(&mut self, context: ContextId, side: Side, size: usize, end: bool) -> Result<Action, Fault> {
        let callback = if side == Side::Request { 3 } else { 6 };
        self.begin(context, callback, end, |state| {
            state.push_number(size as f64);
            state.push_bool(end);
            2
        })
    }

    fn tick(&mut self) -> Result<Action, Fault> {
        // A tick that still waits is not overtaken: ticks must not pile up.
        let waits = |task: &Task| task.stage == Stage::Tick;
        if self.contexts[&ContextId::PLUGIN].waiting.iter().any(waits) {
            return Ok(Action::Continue);
        }
        self.begin(ContextId::PLUGIN, 9, true, |_| 0)
    }

    /// Of any queue, one at a time: what is pushed while one waits is told when it has ended.
    fn queue_ready(&mut self, queue: &str) -> Result<Action, Fault> {
        let waits = |task: &Task| task.stage == Stage::QueueReady;
        if self.contexts[&ContextId::PLUGIN].waiting.iter().any(waits) {
            return Ok(Action::Pause);
        }
        self.begin(ContextId::PLUGIN, ON_QUEUE_READY, true, |state| {
            state.push_bytes(queue.as_bytes());
            1
        })
    }
}

impl Instance for LuaInstance {
    fn open(&mut self, context: ContextId, host: Rc<dyn Host>) -> Result<(), Fault> {
        // A number that is given twice must not leave coroutines of the first behind.
        self.close(context);
        let asking = Asking::new(host, Stage::RequestHeaders, false);
        self.contexts.insert(context, Context { asking, waiting: Vec::new() });
        Ok(())
    }

    fn call(&mut self, context: ContextId, event: Event<'_>) -> Result<Action, Fault> {
        let flag = |end| {
            move |state: State| {
                state.push_bool(end);
                1
            }
        };
        match event {
            Event::RequestHeaders { end_of_stream: end } => self.begin(context, 2, end, flag(end)),
            Event::RequestBody { size, end_of_stream } => self.body(context, Side::Request, size, end_of_stream),
            Event::RequestTrailers => self.begin(context, 4, true, |_| 0),
            Event::ResponseHeaders { end_of_stream: end } => self.begin(context, 5, end, flag(end)),
            Event::ResponseBody { size, end_of_stream } => self.body(context, Side::Response, size, end_of_stream),
            Event::ResponseTrailers => self.begin(context, 7, true, |_| 0),
            Event::Chunk { side, size, end_of_stream } => self.chunk(context, side, size, end_of_stream),
            Event::ResponseEvent(event) => {
                self.begin(context, ON_RESPONSE_EVENT, true, |state| api::push_event(state, event))
            }
            Event::BodyReady(side) => self.body_ready(context, side),
            // A token that nobody waits for (its callback has failed or answered) changes nothing.
            Event::Callout { token, result } => self
                .go_on(context, Wait::Token(token), |state| api::push_result(state, result))
                .unwrap_or(Ok(Action::Pause)),
            Event::Grpc { token, event } => self
                .go_on(context, Wait::Token(token), |state| api::push_grpc(state, event))
                .unwrap_or(Ok(Action::Pause)),
            Event::Timer { token } => self.go_on(context, Wait::Token(token), flag(true)).unwrap_or(Ok(Action::Pause)),
            Event::Reply { token, reply } => self
                .go_on(context, Wait::Token(token), |state| api::push_reply(state, reply))
                .unwrap_or(Ok(Action::Pause)),
            Event::OriginSelect { pool, attempt } => self.begin(context, 10, true, |state| {
                state.push_bytes(pool.as_bytes());
                state.push_number(attempt.into());
                2
            }),
            Event::Tick => self.tick(),
            Event::QueueReady { name, .. } => self.queue_ready(name),
            Event::Done => self.begin(context, ON_DONE, true, |_| 0),
            Event::Log => self.begin(context, 8, true, |_| 0),
            Event::Autoscale { view } => self.begin(context, AUTOSCALE, true, |state| {
                value::push_config(state, view);
                1
            }),
            Event::Drain { left } => self.begin(context, ON_DRAIN, true, |state| {
                state.push_number(left.as_secs_f64());
                1
            }),
        }
    }

    fn close(&mut self, context: ContextId) {
        if let Some(known) = self.contexts.remove(&context) {
            for task in known.waiting {
                self.vm.drop_coroutine(task.coroutine);
            }
            self.vm.main().release(known.asking.locals.get());
        }
    }

    fn trace(&self, context: ContextId) -> Option<String> {
        let vm = &*self.vm;
        if let Some(place) = vm.refused_at.take() {
            return Some(place);
        }
        let waits = self.contexts.get(&context)?.waiting.last()?;
        vm.main().reserve(4);
        vm.main().push_traceback(waits.coroutine.state);
        let trace = value::error_text(vm.main(), -1);
        vm.main().pop(1);
        Some(trace)
    }

    fn healthy(&self) -> bool {
        self.healthy
    }

    fn memory(&self) -> abi::Memory {
        self.vm.heap.memory()
    }

    fn work(&self) -> abi::Work {
        let vm = self.vm.main();
        abi::Work { cpu: self.cpu, collections: vm.collections(), machine_code: vm.machine_code() }
    }
}

impl Drop for LuaInstance {
    fn drop(&mut self) {
        // SAFETY: taken once, here.
        let vm = unsafe { ManuallyDrop::take(&mut self.vm) };
        crate::vm::ending::end(vm);
    }
}
