//! What exchanges share: a number in the guest's memory. See ../../isolation.rs.

use std::sync::atomic::{AtomicU32, Ordering};

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, LogLevel};

static EXCHANGES: AtomicU32 = AtomicU32::new(0);

pub struct Count;

/// An exchange has said that no instance shall start any more.
pub fn refuses() -> bool {
    hostcalls::get_shared_data("refuse").is_ok_and(|(value, _)| value.is_some_and(|value| value == b"yes"))
}

pub fn tick() {
    let exchanges = EXCHANGES.load(Ordering::Relaxed);
    let _ = hostcalls::log(LogLevel::Info, &format!("case count: a tick after {exchanges} exchanges"));
}

impl Context for Count {}

impl HttpContext for Count {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let count = EXCHANGES.fetch_add(1, Ordering::Relaxed) + 1;
        self.set_http_request_header("x-count", Some(&count.to_string()));
        match self.get_http_request_header("x-do").as_deref() {
            Some("trap") => core::arch::wasm32::unreachable(),
            Some("wait") => Action::Pause,
            Some(word @ ("yes" | "no")) => {
                let _ = hostcalls::set_shared_data("refuse", Some(word.as_bytes()), None);
                Action::Continue
            }
            _ => Action::Continue,
        }
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.set_http_response_header("x-plugin", Some("alive"));
        Action::Continue
    }
}
