//! What is asked of a key-value store: through the SDK, and by the imports for the probe.

use std::time::Duration;

use forebay_sdk::kv;
use forebay_sdk::packed::{Refusal, Value};
use forebay_sdk::task::Tasks;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, MapType};

use crate::packed::{Import, Pack};

const STORE: &str = "main";
/// Not text.
const KEY: &[u8] = b"key\0\xff\r\n";
const VALUE: &[u8] = b"\0value\xff\r\n";

pub struct Asks {
    /// Which of the cases.
    pub how: String,
    pub tasks: Tasks,
}

/// As the Lua plugin shows it.
fn show(value: Result<Value, Refusal>) -> String {
    match value {
        Ok(Value::Nil) => "nil".to_owned(),
        Ok(Value::Bytes(bytes)) => bytes.escape_ascii().to_string(),
        Ok(Value::Int(number)) => number.to_string(),
        Ok(Value::Bool(truth)) => truth.to_string(),
        Ok(Value::List(items)) => {
            let items: Vec<_> = items.into_iter().map(|item| show(Ok(item))).collect();
            format!("[{}]", items.join(","))
        }
        Ok(other) => format!("{other:?}"),
        Err(refusal) => code(refusal),
    }
}

fn code(refusal: Refusal) -> String {
    match refusal.code {
        2 => "BAD_ARGUMENT".to_owned(),
        Refusal::CAPABILITY_DENIED => "CAPABILITY_DENIED".to_owned(),
        Refusal::LIMIT_EXCEEDED => "LIMIT_EXCEEDED".to_owned(),
        Refusal::TIMEOUT => "TIMEOUT".to_owned(),
        Refusal::UNAVAILABLE => "UNAVAILABLE".to_owned(),
        code => code.to_string(),
    }
}

/// One question after the other, as each says.
async fn all() -> String {
    fn told<T>(result: Result<T, Refusal>, value: impl FnOnce(T) -> Value) -> String {
        show(result.map(value))
    }
    let bytes = |found: Option<Vec<u8>>| found.map_or(Value::Nil, Value::Bytes);
    let minute = Some(Duration::from_secs(60));
    let script = "return {KEYS[1], ARGV[1], redis.call('GET', KEYS[2]), {1, {'deep', {}}}, redis.call('GET', 'none')}";
    [
        told(kv::get(STORE, KEY).await, bytes),
        told(kv::set(STORE, KEY, VALUE, minute).await, |()| Value::Bool(true)),
        told(kv::get(STORE, KEY).await, bytes),
        told(kv::incr(STORE, b"count", 1, None).await, Value::Int),
        told(kv::incr(STORE, b"count", -43, minute).await, Value::Int),
        told(kv::incr(STORE, KEY, 1, minute).await, Value::Int),
        told(kv::delete(STORE, KEY).await, Value::Bool),
        told(kv::delete(STORE, KEY).await, Value::Bool),
        show(kv::eval(STORE, script, &[b"k", b"count"], &[b"\xff"]).await),
        show(kv::eval(STORE, "return redis.call('NONSENSE')", &[], &[]).await),
        told(kv::set(STORE, KEY, VALUE, Some(Duration::ZERO)).await, |()| Value::Nil),
    ]
    .join("|")
}

fn tell(text: &str) {
    let _ = hostcalls::set_map_value(MapType::HttpRequestHeaders, "x-kv", Some(text));
    let _ = hostcalls::resume_http_request();
}

impl Context for Asks {}

impl HttpContext for Asks {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        match self.how.as_str() {
            "all" => {
                return self.tasks.hold_request(async {
                    let told = all().await;
                    let _ = hostcalls::set_map_value(MapType::HttpRequestHeaders, "x-kv", Some(&told));
                    Action::Continue
                });
            }
            "get" => {
                let show = |got: Result<Option<Vec<u8>>, Refusal>| show(got.map(|it| it.map_or(Value::Nil, Value::Bytes)));
                if let Err(refusal) = kv::get(STORE, b"k").then(move |got| tell(&show(got))) {
                    tell(&code(refusal));
                }
            }
            "spend" => spend(),
            _ => return Action::Continue,
        }
        Action::Pause
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        if self.how != "response" {
            return Action::Continue;
        }
        let started = kv::incr(STORE, b"seen", 1, None).then(|number| {
            let text = number.map_or_else(code, |number| number.to_string());
            let _ = hostcalls::set_map_value(MapType::HttpResponseHeaders, "x-seen", Some(&text));
            let _ = hostcalls::resume_http_response();
        });
        if started.is_ok() { Action::Pause } else { Action::Continue }
    }

    fn on_log(&mut self) {
        if self.how == "log" {
            drop(kv::incr(STORE, b"logged", 1, None));
        }
    }
}

/// Asks without end: the limit of calls ends it.
fn spend() {
    let _ = kv::get(STORE, b"k").then(|_| spend());
}

#[link(wasm_import_module = "env")]
extern "C" {
    fn forebay_kv_get(at: *const u8, len: usize, data: *mut *mut u8, size: *mut usize) -> i32;
    fn forebay_kv_set(at: *const u8, len: usize, data: *mut *mut u8, size: *mut usize) -> i32;
    fn forebay_kv_incr(at: *const u8, len: usize, data: *mut *mut u8, size: *mut usize) -> i32;
    fn forebay_kv_delete(at: *const u8, len: usize, data: *mut *mut u8, size: *mut usize) -> i32;
    fn forebay_kv_eval(at: *const u8, len: usize, data: *mut *mut u8, size: *mut usize) -> i32;
}

/// The code that a call of this name answers at once; `None` if it is none of these.
pub fn probe(call: &str) -> Option<i32> {
    let named = || Pack::default().text("probes").text("a");
    let (import, arguments) = match call {
        "kv.get" => (forebay_kv_get as Import, named()),
        // A value, and no time to live.
        "kv.set" => (forebay_kv_set as Import, named().text("1").u8(0)),
        "kv.incr" => (forebay_kv_incr as Import, named().f64(0.0).u8(0)),
        "kv.delete" => (forebay_kv_delete as Import, named()),
        // No keys, no arguments.
        "kv.eval" => (forebay_kv_eval as Import, named().u32(0).u32(0)),
        _ => return None,
    };
    Some(arguments.ask(import).0)
}
