//! What is coming: what the plugin of `tests/conformance/scale.rs` does.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use forebay_sdk::scale::{self, Hint, Metrics, Proposal};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, LogLevel};

use crate::imports::*;
use crate::probe;

pub struct Hinter;

thread_local! {
    /// The words of the configuration: the callback below is none of the SDK's contexts.
    static WORDS: RefCell<Vec<String>> = RefCell::default();
    static ASKED: Cell<u32> = const { Cell::new(0) };
}

pub fn configure(words: &[String]) {
    WORDS.with_borrow_mut(|kept| *kept = words.to_vec());
}

forebay_sdk::on_autoscale!(autoscale);

/// A policy: `probe scale`, or `policy HOW`.
fn autoscale(metrics: Metrics) -> Option<Proposal> {
    let words = WORDS.with_borrow(Clone::clone);
    let times = ASKED.replace(ASKED.get() + 1) + 1;
    match (words.first()?.as_str(), words.get(1)?.as_str()) {
        ("probe", "scale") if times == 1 => {
            probe::run("scale", probe::ENDS);
            None
        }
        ("policy", how) => policy(how, times, &metrics),
        _ => None,
    }
}

/// What the plugins of `tests/conformance/policy.rs` and `tests/scaling/script.rs` do.
fn policy(how: &str, times: u32, metrics: &Metrics) -> Option<Proposal> {
    let proposal = |origins: f64, because: &str| Some(Proposal { origins, because: because.to_owned() });
    match how {
        "count" => proposal(2.5, &format!("{} at {}, asked {times} times", metrics.pool, metrics.origins.desired)),
        "more" => proposal(f64::from(metrics.origins.floor) + 2.0, "two more than the floor"),
        "nan" => proposal(f64::NAN, ""),
        "negative" => proposal(-1.0, ""),
        "absurd" => proposal(1e9, ""),
        "loop" => loop {
            std::hint::black_box(times);
        },
        "memory" => {
            let mut all = Vec::new();
            loop {
                all.push(vec![1u8; 1 << 20]);
                std::hint::black_box(&all);
            }
        }
        "error" => panic!("the policy has a mistake"),
        _ => None,
    }
}

/// The same where the module has no `forebay_on_autoscale`, with nothing but proxy-wasm.
pub fn tick() {
    let Ok(Some(view)) = hostcalls::call_foreign_function("forebay_scale_view", None) else { return };
    let json = String::from_utf8_lossy(&view[8..]).into_owned();
    let because = if json.contains("\"pool\":\"shop\"") { "by a tick" } else { "it sees no pool" };
    let length = (because.len() as u32).to_le_bytes();
    let arguments = [&3f64.to_le_bytes()[..], &length, because.as_bytes()].concat();
    let _ = hostcalls::call_foreign_function("forebay_scale_propose", Some(&arguments));
}

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
    Some(match name {
        "scale.hint" => hint("shop", "hold", 1.0, Some(60.0)),
        "scale.view" => packed(forebay_scale_view, &[]).0,
        "scale.propose" => packed(forebay_scale_propose, &[2f64.to_le_bytes().to_vec(), text("probed")].concat()).0,
        _ => return None,
    })
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
