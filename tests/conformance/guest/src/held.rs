//! A context that is not done before a callout of its end has brought its answer.

use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::LogLevel;

pub struct Held;

fn say(what: &str) {
    let _ = hostcalls::log(LogLevel::Info, &format!("case held: {what}"));
}

impl Context for Held {
    fn on_done(&mut self) -> bool {
        say("done");
        let headers = vec![(":method", "GET"), (":path", "/held"), (":authority", "side")];
        self.dispatch_http_call("side", headers, None, vec![], Duration::from_secs(5)).is_err()
    }

    fn on_http_call_response(&mut self, _: u32, _: usize, _: usize, _: usize) {
        let status = self.get_http_call_response_header(":status").unwrap_or_default();
        say(&format!("called {status}"));
        self.done();
    }
}

impl HttpContext for Held {
    fn on_log(&mut self) {
        say("log");
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        say("deleted");
    }
}
