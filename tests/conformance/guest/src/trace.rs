//! Spans: what the plugin of `tests/conformance/trace.rs` does.

use std::time::Duration;

use forebay_sdk::log::Field;
use forebay_sdk::trace::{self, Span};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

#[derive(Default)]
pub struct Traced {
    pub how: String,
    spans: Vec<Span>,
}

impl Traced {
    pub fn new(how: String) -> Traced {
        Traced { how, spans: Vec::new() }
    }
}

impl Context for Traced {
    fn on_http_call_response(&mut self, _: u32, _: usize, _: usize, _: usize) {
        while let Some(span) = self.spans.pop() {
            let _ = span.finish();
        }
        self.resume_http_request();
    }
}

impl HttpContext for Traced {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        if self.how == "none" {
            // Only the callout.
        } else if let Ok(work) = trace::span("work") {
            let _ = work.set("user", Field::Text("ann"));
            let _ = work.set("tries", Field::Number(1.0));
            let _ = work.set("tries", Field::Number(2.0));
            if self.how == "open" {
                return Action::Continue;
            }
            self.spans.push(work);
            self.spans.extend(trace::span("inner"));
        }
        let headers = vec![(":method", "GET"), (":path", "/side"), (":authority", "side.test")];
        match self.dispatch_http_call("side", headers, None, vec![], Duration::from_secs(5)) {
            Ok(_) => Action::Pause,
            Err(_) => Action::Continue,
        }
    }
}
