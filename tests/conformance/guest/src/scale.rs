//! What is coming: what the plugin of `tests/conformance/scale.rs` does.

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::imports::*;

pub struct Hinter;

fn hint(pool: &str, kind: &str, value: f64, ttl: Option<f64>) -> i32 {
    let nanos = |seconds: f64| ((seconds * 1e9) as u64).to_le_bytes();
    let ttl = ttl.map_or(vec![0], |ttl| [&[1], nanos(ttl).as_slice()].concat());
    let arguments = [text(pool), text(kind), value.to_le_bytes().to_vec(), ttl, nanos(0.0).to_vec()].concat();
    packed(forebay_scale_hint, &arguments).0
}

/// The call for the probe, by its name in Lua.
pub fn call(name: &str) -> Option<i32> {
    (name == "scale.hint").then(|| hint("shop", "hold", 1.0, Some(60.0)))
}

impl Context for Hinter {}

impl HttpContext for Hinter {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let Some(words) = self.get_http_request_header("x-hint") else { return Action::Continue };
        let words: Vec<_> = words.split(' ').collect();
        let number = |n: usize| words.get(n).and_then(|word: &&str| word.parse().ok());
        let said = match hint(words[0], words[1], number(2).unwrap_or_default(), number(3)) {
            0 => "done".to_owned(),
            code => code.to_string(),
        };
        self.set_http_request_header("x-hinted", Some(&said));
        Action::Continue
    }
}
