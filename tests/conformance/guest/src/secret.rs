//! What a plugin does with a secret, and what it tries.

use std::time::Duration;

use forebay_sdk::secret::{self, Algorithm};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, LogLevel};

use crate::imports::forebay_secret_hmac;
use crate::packed::{self, Pack};

pub struct Secret {
    pub how: String,
}

fn hmac(algorithm: Algorithm) -> String {
    let digest = secret::get("billing").and_then(|secret| secret.hmac(algorithm, b"data"));
    match digest {
        Ok(digest) => digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        Err(refusal) => packed::name(refusal.code).to_owned(),
    }
}

/// By an algorithm that there is not, which the SDK cannot say.
fn hmac_sha1() -> &'static str {
    packed::name(Pack::default().text("billing").text("sha1").text("data").ask(forebay_secret_hmac).0)
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
        let billing = secret::get("billing");
        if let Err(refusal) = &billing {
            self.tell("x-refused", packed::name(refusal.code));
        }
        let header = |before: &str| billing.as_ref().map_or(before.to_owned(), |billing| billing.header(before));
        let mark = header("");
        match self.how.as_str() {
            "use" => {
                self.tell("x-hmac", &hmac(Algorithm::Sha256));
                self.tell("x-none", hmac_sha1());
                let bearer = header("Bearer ");
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
