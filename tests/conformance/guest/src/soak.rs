//! What a request asks for in `x-do`, work and waits and every kind of fault: `tests/soak` sends them by the
//! thousand.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use forebay_sdk::callout::{self, Callout};
use forebay_sdk::task::{self, AsyncHttpContext};
use forebay_sdk::{dict, time};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::HttpContext;
use proxy_wasm::types::{Action, MapType};

use crate::faults;

pub fn context(id: u32) -> Box<dyn HttpContext> {
    task::http(id, Soak { id: RefCell::default() })
}

struct Soak {
    /// Of the request, not of the context.
    id: RefCell<String>,
}

fn header(name: &str) -> String {
    hostcalls::get_map_value(MapType::HttpRequestHeaders, name).ok().flatten().unwrap_or_default()
}

/// The status, or why there is none.
async fn call(target: &str, path: &str, timeout: u64) -> Result<u32, i32> {
    let asked = Callout::get(target, path).timeout(Duration::from_millis(timeout));
    callout::call(&asked).await.map(|answer| u32::from(answer.status)).map_err(|refusal| refusal.code)
}

impl Soak {
    fn answer(&self, status: u32, body: &str) -> Action {
        let id = self.id.borrow();
        let _ = hostcalls::send_http_response(status, vec![("x-id", id.as_str())], Some(body.as_bytes()));
        Action::Pause
    }

    fn work(&self) {
        let id = self.id.borrow();
        let mut numbers: Vec<usize> = (1..40).map(|n| n * id.len() % 23).collect();
        numbers.sort_unstable();
        let _ = hostcalls::set_map_value(MapType::HttpRequestHeaders, "x-made", Some(&format!("{numbers:?}")));
        let seen = dict::open("seen");
        seen.set(b"last", id.as_bytes(), None).expect("the dictionary is granted");
        assert!(seen.get(b"last").expect("the dictionary is granted").is_some());
    }
}

impl AsyncHttpContext for Soak {
    async fn on_http_request_headers(self: Rc<Self>, _: usize, _: bool) -> Action {
        self.id.replace(header("x-id"));
        match header("x-do").as_str() {
            "work" => self.work(),
            "wait" => time::sleep(Duration::from_millis(4)).await.expect("sleeping is granted"),
            "callout" => assert_eq!(call("side", "/side", 20_000).await, Ok(200)),
            "slow" => assert_eq!(call("side", "/slow", 20_000).await, Ok(200)),
            "late" if call("side", "/late", 20).await.is_err() => return self.answer(424, "late"),
            "unavailable" if call("gone", "/", 20_000).await.is_err() => return self.answer(424, "gone"),
            "answer" => return self.answer(418, "short"),
            "loop" => faults::spin(),
            "grow" => faults::bomb(),
            "recurse" => drop(faults::recurse(0)),
            "error" => panic!("asked for"),
            "trap" => core::arch::wasm32::unreachable(),
            "oversleep" => return Action::Pause,
            _ => {}
        }
        Action::Continue
    }

    async fn on_http_response_headers(self: Rc<Self>, _: usize, _: bool) -> Action {
        let id = self.id.borrow().clone();
        let _ = hostcalls::set_map_value(MapType::HttpResponseHeaders, "x-id", Some(&id));
        Action::Continue
    }
}
