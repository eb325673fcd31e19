//! What is coming: what the plugin of `tests/conformance/scale.rs` does.

use std::time::Duration;

use forebay_sdk::scale::{self, Hint};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, LogLevel};

use crate::imports::*;

pub struct Hinter;

fn hint(pool: &str, kind: &str, value: f64, ttl: Option<f64>) -> i32 {
    let nanos = |seconds: f64| ((seconds * 1e9) as u64).to_le_bytes();
    let ttl = ttl.map_or(vec![0], |ttl| [&[1], nanos(ttl).as_slice()].concat());
    let arguments = [text(pool), text(kind), value.to_le_bytes().to_vec(), ttl, nanos(0.0).to_vec()].concat();
    packed(forebay_scale_hint, &arguments).0
}

/// What the SDK has a word for.
fn typed(kind: &str, value: f64, ttl: Option<f64>) -> Option<Hint> {
    let ttl = ttl.and_then(|ttl| Duration::try_from_secs_f64(ttl).ok());
    match (kind, ttl) {
        ("demand", Some(ttl)) => Some(Hint::Demand(value, ttl)),
        ("cost", None) => Some(Hint::Cost(value)),
        ("prewarm", Some(ttl)) if value.fract() == 0.0 && value >= 0.0 => {
            Some(Hint::Prewarm(value as u32, ttl, Duration::ZERO))
        }
        ("hold", Some(ttl)) if value == 1.0 => Some(Hint::Hold(ttl)),
        ("hold", Some(_)) if value == 0.0 => Some(Hint::Release),
        _ => None,
    }
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
        let (value, ttl) = (number(2).unwrap_or_default(), number(3));
        let said = match typed(words[1], value, ttl) {
            Some(typed) => match scale::hint(words[0], typed) {
                Ok(()) => 0,
                Err(refusal) => {
                    let _ = hostcalls::log(LogLevel::Warn, &refusal.message);
                    refusal.code
                }
            },
            // What the SDK cannot even say.
            None => hint(words[0], words[1], value, ttl),
        };
        let said = if said == 0 { "done".to_owned() } else { said.to_string() };
        self.set_http_request_header("x-hinted", Some(&said));
        Action::Continue
    }
}
