//! The Wasm half of the conformance suite: the first word of the configuration names a case,
//! and each case does what the Lua plugin of the same name does (see ../../cases).
//!
//! - `cases`: one behaviour for each hostcall, through the proxy-wasm SDK
//! - `kv`: what is asked of a key-value store
//! - `state`: what plugins of all workers share
//! - `probe`: every hostcall tried in one phase, by its import, so that the code is seen
//! - `beside`: the imports that the table of hostcalls does not have
//! - `origin`: which origin gets the request; `scale`: what is coming
//! - `faults`: what a plugin must not do; `life`: versions of a plugin, good and bad
//! - `isolation`: what exchanges share
//! - `trace`: spans
//! - `tasks`: async/await
//! - `soak`: what `tests/soak` sends by the thousand
//! - `program`: operations that come with the request
//! - `grpc`: gRPC calls and streams; `held`: an end that waits
//! - `limits`: what uses up limits
//! - `secret`: what a plugin does with a secret
//! - `imports`: the imports, [`packed`] those of our own

mod beside;
mod cases;
mod faults;
mod grpc;
mod held;
mod imports;
mod isolation;
mod life;
mod limits;
mod origin;
mod kv;
mod packed;
mod probe;
mod program;
mod state;
mod scale;
mod soak;
mod tasks;
mod trace;
mod secret;

use std::cell::Cell;
use std::rc::Rc;

use forebay_sdk::task::Tasks;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::hostcalls;
use proxy_wasm::types::{ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(proxy_wasm::types::LogLevel::Trace);
    proxy_wasm::set_root_context(|id| {
        let root = Root { words: Vec::new(), ticks: 0, probed: false, served: Cell::new(false), tasks: Rc::new(Tasks::new(id)) };
        if root.get_plugin_configuration().unwrap_or_default() == b"probe root_create" {
            probe::run("root_create", probe::ENDS);
        }
        Box::new(root)
    });
}}

struct Root {
    words: Vec<String>,
    ticks: u32,
    probed: bool,
    /// An exchange has had a context here.
    served: Cell<bool>,
    tasks: Rc<Tasks>,
}

impl Root {
    fn word(&self, n: usize) -> &str {
        self.words.get(n).map_or("", String::as_str)
    }
}

impl Root {
    /// Once, in the callback of the root context that the configuration names.
    fn probe(&mut self, at: &str) {
        if at.starts_with("root_d") && !self.served.get() {
            // One that was never used ends too, and where nobody serves.
            return;
        }
        if (self.word(0), self.word(1)) == ("probe", at) && !std::mem::replace(&mut self.probed, true) {
            probe::run(at, probe::ENDS);
        }
    }
}

/// The SDK drops a context where it is told `proxy_on_delete`.
impl Drop for Root {
    fn drop(&mut self) {
        self.probe("root_delete");
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, _: u32, _: usize, _: usize, _: usize) {
        self.probe("root_call_response");
    }

    fn on_grpc_stream_initial_metadata(&mut self, _: u32, _: u32) {
        self.probe("root_grpc_metadata");
    }

    fn on_grpc_stream_message(&mut self, _: u32, _: usize) {
        self.probe("root_grpc_message");
    }

    fn on_grpc_stream_trailing_metadata(&mut self, _: u32, _: u32) {
        self.probe("root_grpc_trailers");
    }

    fn on_grpc_stream_close(&mut self, _: u32, _: u32) {
        self.probe("root_grpc_close");
    }

    fn on_foreign_function(&mut self, _: u32, _: usize) {
        self.probe("root_foreign_function");
    }

    fn on_done(&mut self) -> bool {
        self.probe("root_done");
        true
    }

    fn on_grpc_call_response(&mut self, _: u32, status: u32, size: usize) {
        grpc::say("tick", &grpc::told(self, status, size));
    }
}

impl RootContext for Root {
    /// The configuration is there before `on_configure`.
    fn on_vm_start(&mut self, _size: usize) -> bool {
        let config = self.get_plugin_configuration().unwrap_or_default();
        if config == b"probe vm_start" {
            probe::run("vm_start", probe::ENDS);
        }
        true
    }

    fn on_configure(&mut self, _size: usize) -> bool {
        let config = self.get_plugin_configuration().unwrap_or_default();
        let config = String::from_utf8(config).unwrap_or_default();
        self.words = config.split_whitespace().map(str::to_owned).collect();
        origin::configure(&self.words);
        scale::configure(&self.words);
        match (self.word(0), self.word(1)) {
            ("probe", "start") => probe::run("start", probe::ENDS),
            ("probe", "background" | "root_call_response" | "root_grpc_metadata" | "root_grpc_message"
                | "root_grpc_trailers" | "root_grpc_close" | "root_foreign_function") => {
                self.set_tick_period(std::time::Duration::from_millis(50));
            }
            ("count", _) => {
                self.set_tick_period(std::time::Duration::from_millis(20));
                return !isolation::refuses();
            }
            ("grpc", "tick") => self.set_tick_period(std::time::Duration::from_millis(20)),
            ("timer_every", _) => self.set_tick_period(std::time::Duration::from_millis(20)),
            ("queue_take", "register") => {
                self.register_shared_queue("own");
            }
            ("refuse_config", _) => return false,
            ("limits", "start") => limits::spin(self.word(2).parse().unwrap_or(0)),
            ("start_loop", _) => faults::spin(),
            _ => {}
        }
        true
    }

    fn on_tick(&mut self) {
        self.ticks += 1;
        match self.word(0) {
            "probe" if self.ticks == 1 => match self.word(1) {
                "root_call_response" => probe::ask(),
                "root_foreign_function" => probe::sleep(),
                stream if stream.starts_with("root_grpc_") => probe::stream(),
                _ => probe::run("background", probe::ENDS),
            },
            "timer_every" => cases::tick(),
            "policy" => scale::tick(),
            "count" => isolation::tick(),
            "grpc" if self.ticks == 1 => grpc::tick(),
            _ => {}
        }
    }

    /// Takes one item each time that it is told.
    fn on_queue_ready(&mut self, queue: u32) {
        self.probe("queue_ready");
        if self.word(0) != "queue_take" {
            return;
        }
        if let Ok(Some(item)) = self.dequeue_shared_queue(queue) {
            let item = String::from_utf8_lossy(&item).into_owned();
            let _ = hostcalls::log(LogLevel::Info, &format!("case queue_take: {item}."));
        }
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        let (case, argument) = (self.word(0).to_owned(), self.word(1).to_owned());
        self.served.set(true);
        if (self.word(0), self.word(1)) == ("probe", "create") {
            probe::run("create", &[]);
        }
        Some(match case.as_str() {
            "probe" => Box::new(probe::Probe { phase: argument, only: self.word(2).to_owned() }),
            "origin" => Box::new(origin::Steered),
            "trace" => Box::new(trace::Traced::new(argument)),
            "limits" => Box::new(limits::Limits::new(argument, self.word(2).parse().unwrap_or(0))),
            "scale" => Box::new(scale::Hinter),
            "secret" => Box::new(secret::Secret { how: argument }),
            "count" => Box::new(isolation::Count),
            "kv" => Box::new(kv::Asks { how: argument, tasks: Tasks::new(id) }),
            "program" => forebay_sdk::task::http(id, program::Program::default()),
            "soak" => soak::context(id),
            "tasks" => tasks::context(id, argument, &self.tasks),
            "fault" => Box::new(faults::Fault { how: argument }),
            "held" => Box::new(held::Held),
            "grpc" => Box::new(grpc::Calls::new(argument)),
            "life" => Box::new(life::Life { version: argument, fails: self.word(2).to_owned() }),
            _ => Box::new(cases::Case::new(case, argument)),
        })
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// Tells that the edge drains, and then waits for a while.
#[no_mangle]
extern "C" fn forebay_on_drain(_context: u32, left: u32) {
    cases::drain(left);
}

forebay_sdk::on_response_event!(cases::event);
