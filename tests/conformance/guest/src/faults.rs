//! What a plugin must not do, and what it costs: one exchange.

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

pub struct Fault {
    pub how: String,
}

/// A loop that an optimiser may not take away.
pub fn spin() {
    let mut n = 0u64;
    loop {
        n = std::hint::black_box(n.wrapping_add(1));
    }
}

/// Keeps what it takes until there is no more.
pub fn bomb() {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    loop {
        kept.push(vec![7; 1 << 20]);
        std::hint::black_box(&kept);
    }
}

pub fn recurse(depth: u64) -> u64 {
    if std::hint::black_box(depth) == u64::MAX {
        return 0;
    }
    recurse(depth + 1).wrapping_add(std::hint::black_box(depth))
}

impl Fault {
    fn fail(&self, here: &str) {
        // `loop` fails in the request, `loop@response` in the response, …
        let (how, phase) = self.how.split_once('@').unwrap_or((&self.how, "request"));
        if phase != here {
            return;
        }
        match how {
            "loop" => spin(),
            "memory" => bomb(),
            "trap" => core::arch::wasm32::unreachable(),
            "error" => panic!("a sentence of the plugin"),
            "grant" => {
                let headers = vec![(":method", "GET"), (":path", "/"), (":authority", "side.test")];
                let called = self.dispatch_http_call("side", headers, None, vec![], std::time::Duration::from_secs(1));
                called.expect("a sentence of the plugin");
            }
            // What was refused is not what it fails of.
            "other" => {
                let headers = vec![(":method", "GET"), (":path", "/"), (":authority", "side.test")];
                let _ = self.dispatch_http_call("side", headers, None, vec![], std::time::Duration::from_secs(1));
                let _ = self.get_http_request_header("x-any");
                panic!("a sentence of the plugin");
            }
            "recursion" => drop(recurse(0)),
            _ => {}
        }
    }
}

impl Context for Fault {}

impl HttpContext for Fault {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        // A request that says so passes: the instance goes on to serve after a fault.
        if self.get_http_request_header("x-good").is_none() {
            self.fail("request");
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.fail("response");
        self.add_http_response_header("x-plugin", "alive");
        Action::Continue
    }

    fn on_log(&mut self) {
        self.fail("log");
    }
}
