//! async/await: what `tests/conformance/tasks.rs` looks at.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use forebay_sdk::callout::{self, Callout};
use forebay_sdk::task::{self, AsyncHttpContext, Tasks};
use forebay_sdk::{dict, time};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::HttpContext;
use proxy_wasm::types::{Action, LogLevel, MapType};

use crate::imports::proxy_get_header_map_value;

pub fn context(id: u32, how: String, root: &Rc<Tasks>) -> Box<dyn HttpContext> {
    task::http(id, Exchange { how, root: root.clone() })
}

struct Exchange {
    how: String,
    /// Of the root context: what it does outlives the exchange.
    root: Rc<Tasks>,
}

/// Says when what holds it is dropped.
struct Held;

impl Drop for Held {
    fn drop(&mut self) {
        say("case tasks: dropped");
    }
}

fn say(line: &str) {
    let _ = hostcalls::log(LogLevel::Info, line);
}

fn tell(name: &str, value: &str) {
    let _ = hostcalls::set_map_value(MapType::HttpRequestHeaders, name, Some(value));
}

/// By the import: the SDK panics where there is no exchange.
fn has_request() -> bool {
    let (path, mut data, mut size) = (":path", std::ptr::null_mut(), 0);
    // SAFETY: the host reads a text of ours and writes to places of ours.
    unsafe { proxy_get_header_map_value(0, path.as_ptr(), path.len(), &mut data, &mut size) == 0 }
}

async fn sleep(milliseconds: u64) {
    time::sleep(Duration::from_millis(milliseconds)).await.expect("sleeping is granted");
}

async fn call(path: &str) -> String {
    match callout::call(&Callout::get("side", path).timeout(Duration::from_secs(5))).await {
        Ok(answer) => format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body)),
        Err(refusal) => refusal.code.to_string(),
    }
}

/// One wakes the other.
#[derive(Default)]
struct Signal {
    given: bool,
    waiting: Option<Waker>,
}

impl Exchange {
    /// A task of the root context ends the wait of this exchange's, and must not be taken for it.
    async fn across(&self) {
        let signal = Rc::new(RefCell::new(Signal::default()));
        let gives = signal.clone();
        self.root.spawn(async move {
            sleep(20).await;
            let _ = dict::open("tasks").set(b"root", if has_request() { b"one" } else { b"none" }, None);
            let mut signal = gives.borrow_mut();
            signal.given = true;
            signal.waiting.take().expect("somebody waits").wake();
        });
        poll_fn(|context| {
            let mut signal = signal.borrow_mut();
            signal.waiting = Some(context.waker().clone());
            if signal.given { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        tell("x-across", "yes");
        let root = dict::open("tasks").get(b"root").ok().flatten().unwrap_or_default();
        tell("x-root", &String::from_utf8_lossy(&root.0));
    }
}

impl AsyncHttpContext for Exchange {
    async fn on_http_request_headers(self: Rc<Self>, _: usize, _: bool) -> Action {
        match self.how.as_str() {
            "steps" => {
                let first = call("/first").await;
                sleep(1).await;
                tell("x-told", &format!("{first}, {}", call("/second").await));
            }
            "all" => {
                let both = [Callout::get("side", "/a"), Callout::get("side", "/b")];
                let told = callout::call_all(&both).await.expect("both are granted");
                let told = told.into_iter().map(|one| one.map_or(0, |answer| answer.status).to_string());
                tell("x-told", &told.collect::<Vec<_>>().join(" "));
            }
            // The reply to the first is not awaited to its end: what comes must wake nobody.
            "dropped" => {
                drop(time::sleep(Duration::from_millis(1)));
                sleep(20).await;
                tell("x-told", "one");
            }
            "held" => {
                let _held = Held;
                let answer = call("/held").await;
                say(&format!("case tasks: went on with {answer}"));
            }
            "across" => self.across().await,
            "refuse" => {
                sleep(1).await;
                let _ = hostcalls::send_http_response(403, vec![], Some(b"after a while"));
                return Action::Pause;
            }
            _ => {}
        }
        Action::Continue
    }

    async fn on_http_response_headers(self: Rc<Self>, _: usize, _: bool) -> Action {
        if self.how == "steps" {
            sleep(1).await;
            let _ = hostcalls::set_map_value(MapType::HttpResponseHeaders, "x-slept", Some("yes"));
        }
        Action::Continue
    }

    async fn on_log(self: Rc<Self>) {
        if self.how == "steps" {
            let told = call("/log").await;
            let path = hostcalls::get_map_value(MapType::HttpRequestHeaders, ":path").ok().flatten();
            say(&format!("case tasks: log {told} for {}", path.unwrap_or_default()));
        }
    }
}
