//! One version of a plugin that edits all it can and then fails where it is told: `life VERSION
//! WHERE`. A request that says `x-good` passes.

use std::time::Duration;

use forebay_sdk::time;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

pub struct Life {
    pub version: String,
    pub fails: String,
}

impl Life {
    fn fail(&self, here: &str) {
        if self.fails == here && self.get_http_request_header("x-good").is_none() {
            panic!("a sentence of the plugin");
        }
    }
}

impl Context for Life {}

impl HttpContext for Life {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        self.add_http_request_header("x-version", &self.version);
        self.set_http_request_header("x-gone", None);
        let seen = self.get_property(vec!["seen"]).unwrap_or_default();
        self.add_http_request_header("x-seen", &String::from_utf8_lossy(&seen));
        self.set_property(vec!["seen"], Some(self.version.as_bytes()));
        self.fail("headers");
        if self.fails == "wait" {
            let fails = self.get_http_request_header("x-good").is_none();
            let slept = time::sleep(Duration::from_millis(1)).then(move |_| {
                if fails {
                    panic!("a sentence of the plugin");
                }
                let _ = hostcalls::resume_http_request();
            });
            slept.expect("sleeping is granted");
            return Action::Pause;
        }
        Action::Continue
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        if !end {
            return Action::Pause;
        }
        let body = self.get_http_request_body(0, size).unwrap_or_default();
        self.set_http_request_body(0, size, format!("{}:{}", self.version, String::from_utf8_lossy(&body)).as_bytes());
        self.fail("body");
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.add_http_response_header("x-answered", &self.version);
        self.fail("response");
        Action::Continue
    }
}
