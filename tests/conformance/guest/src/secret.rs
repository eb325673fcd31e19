//! What a plugin does with a secret, and what it tries.

use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, LogLevel};

use crate::imports::{forebay_secret_hmac, forebay_secret_mark};
use crate::packed::{self, Pack};

pub struct Secret {
    pub how: String,
}

fn mark(name: &str) -> Result<String, &'static str> {
    let (status, results) = Pack::default().text(name).ask(forebay_secret_mark);
    if status == 0 { Ok(packed::text(&results)) } else { Err(packed::name(status)) }
}

fn hmac(algorithm: &str, data: &str) -> String {
    let (status, results) = Pack::default().text("billing").text(algorithm).text(data).ask(forebay_secret_hmac);
    if status != 0 {
        return packed::name(status).to_owned();
    }
    results[4..].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Secret {
    fn tell(&self, name: &str, value: &str) {
        self.set_http_request_header(name, Some(value));
    }

    fn call(&self, headers: &[(&str, &str)]) -> Action {
        let fixed = [(":method", "GET"), (":path", "/side"), (":authority", "side.test")];
        let headers = fixed.iter().chain(headers).copied().collect();
        match self.dispatch_http_call("side", headers, None, vec![], Duration::from_secs(5)) {
            Ok(_) => Action::Pause,
            Err(_) => {
                self.tell("x-status", "refused");
                Action::Continue
            }
        }
    }

    /// Everything that could show a secret is given what stands for one.
    fn leak(&self, mark: &str) {
        let _ = hostcalls::log(LogLevel::Info, &format!("leak {mark} {mark:?}"));
        self.tell("x-mark", mark);
        self.set_property(vec!["mark"], Some(mark.as_bytes()));
        let _ = self.set_shared_data("mark", Some(mark.as_bytes()), None);
        self.tell("x-ctx", &String::from_utf8_lossy(&self.get_property(vec!["mark"]).unwrap_or_default()));
        let _ = hostcalls::define_metric(proxy_wasm::types::MetricType::Counter, mark);
        self.send_http_response(500, vec![("x-mark", mark)], Some(mark.as_bytes()));
    }
}

impl Context for Secret {
    fn on_http_call_response(&mut self, _: u32, _: usize, _: usize, _: usize) {
        let status = self.get_http_call_response_header(":status").unwrap_or_else(|| "none".to_owned());
        self.tell("x-status", &status);
        self.resume_http_request();
    }
}

impl HttpContext for Secret {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let mark = match mark("billing") {
            Ok(mark) => mark,
            Err(code) => {
                self.tell("x-refused", code);
                String::new()
            }
        };
        match self.how.as_str() {
            "use" => {
                self.tell("x-hmac", &hmac("sha256", "data"));
                self.tell("x-none", &hmac("sha1", "data"));
                let bearer = format!("Bearer {mark}");
                self.call(&[("authorization", &bearer), ("x-key", &mark), ("x-list", "a"), ("x-list", &mark)])
            }
            "leak" => {
                self.leak(&mark);
                Action::Continue
            }
            "share" => {
                self.set_property(vec!["stolen"], Some(mark.as_bytes()));
                Action::Continue
            }
            // What another plugin has shared.
            "steal" => {
                let stolen = self.get_property(vec!["stolen"]).unwrap_or_default();
                self.call(&[("x-key", &String::from_utf8_lossy(&stolen))])
            }
            _ => Action::Continue,
        }
    }
}
