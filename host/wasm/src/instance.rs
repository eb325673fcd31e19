//! A running copy of a module: events become callbacks, answers become actions. Over 400 lines: a
//! method for each event that a guest is told.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use abi::{
    Action, Answer, CalloutError, CalloutResponse, ContextId, Event, Fault, GrpcEvent, Host, LogLevel, Map, Side,
    Value, Verdict,
};
use wasmtime::Store;

use crate::api::{event, packed};
use crate::budget::{self, spent};
use crate::exports::{Exports, OnHeaders};
use crate::fault;
use crate::plugin::Module;
use crate::state::{Entry, State};

/// What goes over the wire as the root context.
const ROOT: u32 = ContextId::PLUGIN.0;

mod parked;

pub struct Running {
    store: Store<State>,
    exports: Exports,
    /// After a fault the guest's memory is in doubt: it is not entered again.
    dead: bool,
}

impl Running {
    /// Instantiates and runs everything up to `on_configure`, all within `limits.start_cpu`.
    pub fn start(module: &Module, host: Rc<dyn Host>) -> Result<Running, Fault> {
        let pre = &module.pre;
        let settings = host.settings();
        let sizes = (settings.vm_config.len() as u32, settings.config.len() as u32);
        let mut store = Store::new(pre.module().engine(), State::new(host.clone(), module.version, module.rewritten));
        store.limiter(|state| &mut state.bounds);
        store.epoch_deadline_callback(budget::on_epoch);
        store.set_epoch_deadline(1);
        let instance = contain(&mut store, |store| {
            let instance = pre.instantiate(&mut *store)?;
            module.begin.run(&instance, store)?;
            Ok(instance)
        })
        .map_err(at_start)?;
        let exports = Exports::of(&module.places, instance);
        let mut running = Running { store, exports, dead: false };
        let refused = contain(&mut running.store, |store| {
            let exports = &running.exports;
            if let Some(create) = &exports.context_create {
                create.call(&mut *store, (ROOT, 0))?;
            }
            for (name, callback, size) in
                [("on_vm_start", &exports.vm_start, sizes.0), ("on_configure", &exports.configure, sizes.1)]
            {
                if let Some(callback) = callback
                    && callback.call(&mut *store, (ROOT, size))? == 0
                {
                    return Ok(Some(name));
                }
            }
            Ok(None)
        });
        match refused {
            Ok(None) => {
                running.store.data_mut().started();
                Ok(running)
            }
            Ok(Some(name)) => {
                running.dead = true;
                let said = &running.store.data().printed.last_words;
                let said = if said.is_empty() { String::new() } else { format!("; the plugin said: {said}") };
                Err(Fault::new(Verdict::Config, format!("{name} returned false{said}")))
            }
            Err(fault) => {
                running.dead = true;
                Err(at_start(fault))
            }
        }
    }

    /// Calls into the guest for `context` with a fresh budget; the instance is dead if it fails.
    fn enter<T>(
        &mut self,
        context: u32,
        body: impl FnOnce(&Exports, &mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T, Fault> {
        self.enter_for(Entry::Event, context, body)
    }

    fn enter_for<T>(
        &mut self,
        entry: Entry,
        context: u32,
        body: impl FnOnce(&Exports, &mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T, Fault> {
        if self.dead {
            return Err(Fault::new(Verdict::Trap, "the instance had a fault before; it is not called again"));
        }
        let state = self.store.data_mut();
        if !state.switch(context) {
            return Err(Fault::new(Verdict::Panic, format!("context {context} is not open")));
        }
        if state.begin(context, entry).is_none() {
            // Its last entries have used it up: this one is not begun, and the guest is as it was.
            return Err(Fault::new(Verdict::Cpu, spent(state.budget.of, &state.backstop).to_string()));
        }
        state.bounds.refused = None;
        state.denied.set(false);
        state.printed.last_words.clear();
        self.store.set_epoch_deadline(1);
        let exports = &self.exports;
        let result = contain(&mut self.store, |store| body(exports, store));
        self.dead = result.is_err();
        let state = self.store.data_mut();
        state.end(context);
        result.map_err(|fault| fault.with_cpu(state.used(context)))
    }

    fn on_headers(&mut self, context: u32, map: Map, end: bool) -> Result<Action, Fault> {
        self.enter(context, |exports, store| {
            let Some(callback) = headers_callback(exports, map) else { return Ok(Action::Continue) };
            let count = count(store.data(), map);
            Ok(if callback.call(store, context, count, end)? == 0 { Action::Continue } else { Action::Pause })
        })
    }

    fn on_body(&mut self, context: u32, side: Side, size: usize, end: bool) -> Result<Action, Fault> {
        self.enter(context, |exports, store| {
            let callback = match side {
                Side::Request => &exports.request_body,
                Side::Response => &exports.response_body,
            };
            let Some(callback) = callback else { return Ok(Action::Continue) };
            let size = u32::try_from(size).unwrap_or(u32::MAX);
            Ok(match callback.call(store, (context, size, end.into()))? {
                0 => Action::Continue,
                // StopIterationNoBuffer, from modules that were written against Envoy's own codes.
                3 => Action::Pause,
                _ => Action::Buffer,
            })
        })
    }

    fn on_trailers(&mut self, context: u32, map: Map) -> Result<Action, Fault> {
        self.enter(context, |exports, store| {
            let callback = match map.side() {
                Side::Request => &exports.request_trailers,
                Side::Response => &exports.response_trailers,
            };
            let Some(callback) = callback else { return Ok(Action::Continue) };
            let count = count(store.data(), map);
            Ok(if callback.call(store, (context, count))? == 0 { Action::Continue } else { Action::Pause })
        })
    }

    fn on_callout(
        &mut self,
        context: u32,
        token: u32,
        result: &Result<CalloutResponse, CalloutError>,
    ) -> Result<Action, Fault> {
        let done = self.enter_for(Entry::Wait, context, |exports, store| {
            let Some(callback) = &exports.http_call_response else { return Ok(()) };
            // `:status` is one of the headers. A callout that failed has none of anything.
            let (headers, body, trailers) = match result {
                Ok(answer) => (answer.headers.len() + 1, answer.body.len(), answer.trailers.len()),
                Err(_) => (0, 0, 0),
            };
            store.data_mut().answer = Some(result.clone());
            callback.call(store, (context, token, headers as u32, body as u32, trailers as u32))
        });
        self.store.data_mut().answer = None;
        // The guest itself says what goes on, by proxy_continue_stream.
        done.map(|()| Action::Pause)
    }

    /// The guest itself says what goes on, as after a callout.
    fn on_grpc(&mut self, context: u32, token: u32, event: &GrpcEvent) -> Result<Action, Fault> {
        let told = self.enter_for(Entry::Wait, context, |exports, store| {
            let (callback, number) = match event {
                GrpcEvent::Metadata(map) => (&exports.grpc_metadata, map.len() as u32),
                GrpcEvent::Message(message) => (&exports.grpc_message, message.len() as u32),
                GrpcEvent::Trailers(map) => (&exports.grpc_trailers, map.len() as u32),
                GrpcEvent::Closed(status) => (&exports.grpc_close, status.code),
            };
            let Some(callback) = callback else { return Ok(()) };
            store.data_mut().grpc = Some(event.clone());
            callback.call(store, (context, token, number))
        });
        self.store.data_mut().grpc = None;
        told.map(|()| Action::Pause)
    }

    /// Tells what a call that was waited for has brought: the guest reads it, packed, from the
    /// buffer of foreign calls.
    fn on_reply(&mut self, context: u32, token: u32, reply: &Answer<Value>) -> Result<Action, Fault> {
        let told = self.enter_for(Entry::Wait, context, |exports, store| {
            let Some(callback) = exports.reply.as_ref().or(exports.foreign_function.as_ref()) else { return Ok(()) };
            let reply = packed::reply(reply);
            let size = reply.len() as u32;
            store.data_mut().reply = Some(reply.into());
            callback.call(store, (context, token, size))
        });
        self.store.data_mut().reply = None;
        told.map(|()| Action::Pause)
    }

    /// The guest reads the pool from the buffer of foreign calls.
    fn on_origin_select(&mut self, context: u32, pool: &str, attempt: u32) -> Result<Action, Fault> {
        let told = self.enter(context, |exports, store| {
            let Some(callback) = &exports.origin_select else { return Ok(()) };
            store.data_mut().reply = Some(bytes::Bytes::copy_from_slice(pool.as_bytes()));
            callback.call(store, (context, pool.len() as u32, attempt))
        });
        self.store.data_mut().reply = None;
        told.map(|()| Action::Continue)
    }

    /// The guest reads the event, packed, from the buffer of foreign calls.
    fn on_response_event(&mut self, context: u32, event: &abi::ServerEvent) -> Result<Action, Fault> {
        let told = self.enter(context, |exports, store| {
            let Some(callback) = &exports.response_event else { return Ok(Action::Continue) };
            let packed = event::pack(event);
            let size = packed.len() as u32;
            store.data_mut().reply = Some(packed.into());
            Ok(if callback.call(store, (context, size))? == 0 { Action::Continue } else { Action::Pause })
        });
        self.store.data_mut().reply = None;
        told
    }

    /// A guest that says no is not done before it calls `proxy_done`.
    fn on_done(&mut self, context: u32) -> Result<Action, Fault> {
        self.enter(context, |exports, store| {
            let Some(callback) = &exports.done else { return Ok(Action::Continue) };
            store.data_mut().told_done.push(context);
            if callback.call(&mut *store, context)? != 0 {
                return Ok(Action::Continue);
            }
            store.data_mut().not_done.push(context);
            Ok(Action::Pause)
        })
    }

    /// For the end of contexts, where nobody is left to hear of a fault but the log.
    fn end(&mut self, context: u32, host: &dyn Host) {
        self.store.data_mut().ending = true;
        let ended = self.enter_for(Entry::End, context, |exports, store| {
            if let Some(done) = exports.done.as_ref().filter(|_| !store.data().told_done.contains(&context)) {
                done.call(&mut *store, context)?;
            }
            if let Some(delete) = &exports.delete {
                delete.call(&mut *store, context)?;
            }
            Ok(())
        });
        self.store.data_mut().ending = false;
        if let Err(fault) = ended {
            host.log(LogLevel::Error, &format!("closing its context: {fault}"));
        }
    }
}

impl abi::Instance for Running {
    fn open(&mut self, context: ContextId, host: Rc<dyn Host>) -> Result<(), Fault> {
        self.store.data_mut().open(context.0, host);
        let opened = self.enter(context.0, |exports, store| match &exports.context_create {
            Some(create) => create.call(store, (context.0, ROOT)),
            None => Ok(()),
        });
        if opened.is_err() {
            self.store.data_mut().close(context.0);
        }
        opened
    }

    fn call(&mut self, context: ContextId, event: Event<'_>) -> Result<Action, Fault> {
        let id = context.0;
        match event {
            Event::RequestHeaders { end_of_stream } => self.on_headers(id, Map::RequestHeaders, end_of_stream),
            Event::ResponseHeaders { end_of_stream } => self.on_headers(id, Map::ResponseHeaders, end_of_stream),
            Event::RequestBody { size, end_of_stream } => self.on_body(id, Side::Request, size, end_of_stream),
            Event::ResponseBody { size, end_of_stream } => self.on_body(id, Side::Response, size, end_of_stream),
            Event::RequestTrailers => self.on_trailers(id, Map::RequestTrailers),
            Event::ResponseTrailers => self.on_trailers(id, Map::ResponseTrailers),
            // Never asked for by this engine, and harmless: a body event like another, and the last
            // with all of it.
            Event::Chunk { side, size, end_of_stream } => self.on_body(id, side, size, end_of_stream),
            Event::BodyReady(side) => {
                let size = self.store.data().host_of(id).and_then(|host| host.body(side).ok()).map_or(0, |b| b.len());
                self.on_body(id, side, size, true)
            }
            Event::Callout { token, result } => self.on_callout(id, token.0, result),
            Event::Grpc { token, event } => self.on_grpc(id, token.0, event),
            Event::Timer { token } => self.enter_for(Entry::Wait, id, |exports, store| {
                if let Some(timer) = &exports.timer {
                    timer.call(store, (id, token.0))?;
                } else if let Some(foreign) = &exports.foreign_function {
                    // What a module has that was built with an SDK which knows nothing of us.
                    foreign.call(store, (id, token.0, 0))?;
                }
                Ok(Action::Pause)
            }),
            Event::Reply { token, reply } => self.on_reply(id, token.0, reply),
            Event::OriginSelect { pool, attempt } => self.on_origin_select(id, pool, attempt),
            Event::QueueReady { id: queue, .. } => self.enter(id, |exports, store| {
                if let Some(ready) = &exports.queue_ready {
                    ready.call(store, (id, queue))?;
                }
                Ok(Action::Continue)
            }),
            Event::Tick => self.enter(id, |exports, store| {
                if let Some(tick) = &exports.tick {
                    tick.call(store, id)?;
                }
                Ok(Action::Continue)
            }),
            Event::ResponseEvent(event) => self.on_response_event(id, event),
            Event::Autoscale { view } => self.enter(id, |exports, store| {
                if let Some(autoscale) = &exports.autoscale {
                    autoscale.call(store, (id, u32::try_from(view.len()).unwrap_or(u32::MAX)))?;
                } else if let Some(tick) = &exports.tick {
                    tick.call(store, id)?;
                }
                Ok(Action::Continue)
            }),
            Event::Done => self.on_done(id),
            Event::Drain { left } => self.enter(id, |exports, store| {
                if let Some(drain) = &exports.drain {
                    drain.call(store, (id, u32::try_from(left.as_secs()).unwrap_or(u32::MAX)))?;
                }
                Ok(Action::Continue)
            }),
            Event::Log => self.enter(id, |exports, store| {
                if let Some(log) = &exports.log {
                    log.call(store, id)?;
                }
                Ok(Action::Continue)
            }),
        }
    }

    fn close(&mut self, context: ContextId) {
        let Some(host) = self.store.data().host_of(context.0) else { return };
        if !self.dead {
            self.end(context.0, &*host);
        }
        self.store.data_mut().close(context.0);
    }

    fn healthy(&self) -> bool {
        !self.dead
    }

    fn ended(&self) -> bool {
        self.dead
    }

    fn memory(&self) -> abi::Memory {
        abi::Memory { bytes: self.store.data().bounds.in_use, ..abi::Memory::default() }
    }

    /// Its machine code is that of the module, which all instances share.
    fn work(&self) -> abi::Work {
        abi::Work { cpu: self.store.data().cpu, ..abi::Work::default() }
    }
}

impl Drop for Running {
    /// The end of the plugin context, as Envoy tells it when a configuration is replaced.
    fn drop(&mut self) {
        if !self.dead
            && let Some(host) = self.store.data().host_of(ROOT)
        {
            self.end(ROOT, &*host);
        }
    }
}

/// Runs guest code: what it printed is flushed, what ended it becomes a fault, and a panic of
/// this crate or of a `Host` stays within the call.
fn contain<T>(
    store: &mut Store<State>,
    body: impl FnOnce(&mut Store<State>) -> wasmtime::Result<T>,
) -> Result<T, Fault> {
    let inside = crate::ticker::enter();
    let result = catch_unwind(AssertUnwindSafe(|| body(&mut *store)));
    drop(inside);
    store.data_mut().flush();
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(fault::of(&error, store.data())),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
            Err(Fault::new(Verdict::Panic, format!("the Wasm engine panicked: {text}")))
        }
    }
}

/// A plugin that cannot start is one whose configuration cannot be used, however it says so.
/// Its limits keep their own verdicts.
fn at_start(fault: Fault) -> Fault {
    match fault.verdict {
        Verdict::Trap => Fault { verdict: Verdict::Config, ..fault },
        _ => fault,
    }
}

fn headers_callback(exports: &Exports, map: Map) -> Option<&OnHeaders> {
    match map.side() {
        Side::Request => exports.request_headers.as_ref(),
        Side::Response => exports.response_headers.as_ref(),
    }
}

/// How many headers there are; none for a plugin that may not read them.
fn count(state: &State, map: Map) -> u32 {
    let mut count = 0;
    let counted = state.host().headers(map, &mut |_, _| count += 1);
    counted.map_or(0, |()| count)
}
