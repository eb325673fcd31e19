//! Every hostcall tried in one phase, by its import, so that the code is seen. What came is told
//! in the log, a line for each: `probe PHASE CALL CODE`.

use std::ptr::null_mut;
use std::time::Duration;

use forebay_sdk::queue;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, LogLevel};

use crate::imports::*;
use crate::packed::Pack;
use crate::{beside, state};

pub struct Probe {
    pub phase: String,
    /// One call that ends the exchange, tried alone; empty: all others. `hold`: holds the request's body.
    pub only: String,
}

const MAPS: [(&str, u32); 4] =
    [("request.headers", 0), ("request.trailers", 1), ("response.headers", 2), ("response.trailers", 3)];
const OPERATIONS: [&str; 6] = ["get", "get_all", "pairs", "set", "add", "remove"];
const OTHERS: &[&str] = &[
    "request.body",
    "request.chunk",
    "request.body_chunks",
    "request.set_body",
    "response.body",
    "response.chunk",
    "response.body_chunks",
    "response.set_body",
    "response.set_event",
    "continue",
    "http.call",
    "origin.set_pool",
    "origin.set_host",
    "origin.exclude",
    "origin.get",
    "origin.stats",
    "http.call_all",
    "grpc.call",
    "scale.hint",
    "scale.view",
    "scale.propose",
    "property.get",
    "ctx.get",
    "ctx.set",
    "dict.get",
    "dict.set",
    "queue.push",
    "queue.pop",
    "limit.take",
    "tokens.reserve",
    "lease.commit",
    "lease.release",
    "dict.add",
    "dict.incr",
    "dict.delete",
    "dict.cas",
    "kv.get",
    "kv.set",
    "kv.incr",
    "kv.delete",
    "kv.eval",
    "metric.counter",
    "metric.gauge",
    "metric.histogram",
    "limits.remaining",
    "trace.span",
    "log",
    "secret",
    "secret.hmac",
    "now",
    "sleep",
    "timer.every",
    "abi.version",
    "abi.has",
];

/// Tries all calls but those that end an exchange, and of these the ones in `too`.
pub fn run(phase: &str, too: &[&str]) {
    for (map, number) in MAPS {
        for operation in OPERATIONS {
            tell(phase, &format!("{map}.{operation}"), header(operation, number));
        }
    }
    for call in OTHERS.iter().chain(too) {
        tell(phase, call, other(call));
    }
    for import in beside::NAMES {
        tell(phase, import, beside::call(import));
    }
    beside::notify();
}

/// Opens a stream that answers at once, sends one message, and ends this side: to be told of all that
/// comes of it, in the context that is called now.
pub fn stream() {
    let token = hostcalls::open_grpc_stream("side", "test.Echo", "Chat", vec![]).expect("it is granted");
    hostcalls::send_grpc_stream_message(token, Some(b"one"), true).expect("the stream is open");
}

/// Has its end told as `proxy_on_foreign_function`, where the module exports no `forebay_on_timer`.
pub fn sleep() {
    let mut token = 0;
    // SAFETY: the host writes one number to an address of ours.
    let code = unsafe { forebay_time_sleep(1_000_000, &mut token) };
    assert_eq!(code, 0, "a sleep is granted");
}

/// Sends one callout to be told of the answer, in the context that is called now.
pub fn ask() {
    let headers = vec![(":method", "GET"), (":path", "/"), (":authority", "side")];
    let _ = hostcalls::dispatch_http_call("side", headers, None, vec![], Duration::from_secs(5));
}

/// All calls, those that would end an exchange too: where there is none to end.
pub const ENDS: &[&str] = &["respond", "close"];

fn tell(phase: &str, call: &str, code: i32) {
    let _ = hostcalls::log(LogLevel::Info, &format!("probe {phase} {call} {code}"));
}

fn header(operation: &str, map: u32) -> i32 {
    let (key, value) = ("x-probe", "1");
    let (mut data, mut size) = (null_mut(), 0);
    // SAFETY: every pointer is to memory of ours that outlives the call. What the host allocates
    // for an answer is not freed: the probe runs a handful of times.
    unsafe {
        match operation {
            "get" => proxy_get_header_map_value(map, key.as_ptr(), key.len(), &mut data, &mut size),
            "get_all" | "pairs" => proxy_get_header_map_pairs(map, &mut data, &mut size),
            "set" => proxy_replace_header_map_value(map, key.as_ptr(), key.len(), value.as_ptr(), value.len()),
            "add" => proxy_add_header_map_value(map, key.as_ptr(), key.len(), value.as_ptr(), value.len()),
            _ => proxy_remove_header_map_value(map, key.as_ptr(), key.len()),
        }
    }
}

fn other(call: &str) -> i32 {
    if let Some(code) = state::probe(call).or_else(|| crate::kv::probe(call)) {
        return code;
    }
    let (mut data, mut size, mut number, mut time) = (null_mut(), 0, 0, 0);
    let text = |text: &'static str| (text.as_ptr(), text.len());
    // SAFETY: as in `header`.
    unsafe {
        match call {
            "request.body" | "request.chunk" | "request.body_chunks" => proxy_get_buffer_bytes(0, 0, 64, &mut data, &mut size),
            "response.body" | "response.chunk" | "response.body_chunks" => proxy_get_buffer_bytes(1, 0, 64, &mut data, &mut size),
            "request.set_body" => proxy_set_buffer_bytes(0, 0, 0, data, 0),
            "response.set_event" => forebay_response_set_event([0u8].as_ptr(), 1, &mut data, &mut size),
            "response.set_body" => proxy_set_buffer_bytes(1, 0, 0, data, 0),
            "respond" => {
                let headers = pairs(&[]);
                let (detail, body) = (text("probe"), text("probed"));
                proxy_send_local_response(299, detail.0, detail.1, body.0, body.1, headers.as_ptr(), headers.len(), -1)
            }
            "continue" => proxy_continue_stream(0),
            "close" => proxy_close_stream(0),
            "http.call_all" => {
                // A list of none.
                let arguments = [0u8; 4];
                forebay_http_call_all(arguments.as_ptr(), arguments.len(), &mut data, &mut size)
            }
            "grpc.call" => crate::grpc::probe(),
            // Through the SDK, which would panic at the answer to a token that it does not know.
            "http.call" => {
                let headers = vec![(":method", "GET"), (":path", "/"), (":authority", "side")];
                match hostcalls::dispatch_http_call("side", headers, None, vec![], Duration::from_secs(1)) {
                    Ok(_) => 0,
                    Err(status) => status as i32,
                }
            }
            "property.get" => {
                let path = text("plugin_name");
                proxy_get_property(path.0, path.1, &mut data, &mut size)
            }
            "ctx.get" => {
                let path = text("probed");
                proxy_get_property(path.0, path.1, &mut data, &mut size)
            }
            "ctx.set" => {
                let (path, value) = (text("probed"), text("1"));
                proxy_set_property(path.0, path.1, value.0, value.1)
            }
            "metric.counter" | "metric.gauge" | "metric.histogram" => {
                let (kind, name) = match call {
                    "metric.counter" => (0, text("probe_total")),
                    "metric.gauge" => (1, text("probe_level")),
                    _ => (2, text("probe_bytes")),
                };
                proxy_define_metric(kind, name.0, name.1, &mut number)
            }
            "log" => {
                let line = text("probe says so");
                proxy_log(2, line.0, line.1)
            }
            "trace.span" => Pack::default().text("probe").ask(forebay_trace_span).0,
            "limits.remaining" => Pack::default().ask(forebay_limits_remaining).0,
            "secret" => Pack::default().text("billing").ask(forebay_secret_mark).0,
            "secret.hmac" => {
                Pack::default().text("billing").text("sha256").text("data").ask(forebay_secret_hmac).0
            }
            "now" => proxy_get_current_time_nanoseconds(&mut time),
            "sleep" => forebay_time_sleep(1_000_000, &mut number),
            "timer.every" => proxy_set_tick_period_milliseconds(50),
            "abi.version" => forebay_abi_version(&mut number),
            "abi.has" => {
                let name = text("now");
                forebay_abi_has(name.0, name.1, &mut number)
            }
            call => crate::origin::call(call).or_else(|| crate::scale::call(call)).unwrap_or(-1),
        }
    }
}

impl Probe {
    fn at(&self, phase: &str) {
        if self.phase != phase {
            return;
        }
        match self.only.as_str() {
            "" if matches!(phase, "log" | "done") => run(phase, ENDS),
            "" => run(phase, &[]),
            only => tell(phase, only, other(only)),
        }
    }

    /// Once, at the end of what the request headers wait for.
    fn at_end(&mut self, phase: &str) {
        if self.phase == phase {
            self.at(phase);
            self.phase.clear();
            self.resume_http_request();
        }
    }
}

impl Context for Probe {
    /// The answer to [`ask`]; those that the probe itself has asked for come after it.
    fn on_http_call_response(&mut self, _: u32, _: usize, _: usize, _: usize) {
        self.at_end("call_response");
    }

    fn on_grpc_stream_initial_metadata(&mut self, _: u32, _: u32) {
        self.at_end("grpc_metadata");
    }

    fn on_grpc_stream_message(&mut self, _: u32, _: usize) {
        self.at_end("grpc_message");
    }

    fn on_grpc_stream_trailing_metadata(&mut self, _: u32, _: u32) {
        self.at_end("grpc_trailers");
    }

    fn on_grpc_stream_close(&mut self, _: u32, _: u32) {
        self.at_end("grpc_close");
    }

    fn on_foreign_function(&mut self, _: u32, _: usize) {
        self.at_end("foreign_function");
    }

    fn on_done(&mut self) -> bool {
        self.at("done");
        true
    }
}

/// The SDK drops a context where it is told `proxy_on_delete`.
impl Drop for Probe {
    fn drop(&mut self) {
        if self.phase == "delete" {
            run("delete", ENDS);
        }
    }
}

impl HttpContext for Probe {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        self.at("request");
        match self.phase.as_str() {
            "call_response" => {
                ask();
                return Action::Pause;
            }
            "grpc_metadata" | "grpc_message" | "grpc_trailers" | "grpc_close" => {
                stream();
                return Action::Pause;
            }
            "foreign_function" => {
                sleep();
                return Action::Pause;
            }
            "queue_ready" => drop(queue::push("probes", b"item")),
            _ => {}
        }
        Action::Continue
    }

    fn on_http_request_body(&mut self, size: usize, _: bool) -> Action {
        if size > 0 {
            self.at("request_body");
        }
        // Until there is more of it than is allowed.
        if self.only == "hold" { Action::Pause } else { Action::Continue }
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        self.at("request_trailers");
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, _: bool) -> Action {
        if size > 0 {
            self.at("response_body");
        }
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        self.at("response_trailers");
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.at("response");
        Action::Continue
    }

    fn on_log(&mut self) {
        self.at("log");
    }
}
