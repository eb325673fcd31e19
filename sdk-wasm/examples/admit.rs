//! Lets requests in whose `x-key` an authority knows, and remembers what it said for a minute.
//!
//! The store `keys` is asked first, then the pool `authority`, again after a while if that is too busy.
//! On another host, which has no store and no sleep, the authority is asked each time and once.

use std::rc::Rc;
use std::time::Duration;

use forebay_sdk::callout::{self, Callout};
use forebay_sdk::proxy_wasm::traits::{Context, HttpContext, RootContext};
use forebay_sdk::proxy_wasm::types::{Action, ContextType, LogLevel, MapType};
use forebay_sdk::proxy_wasm::{self, hostcalls};
use forebay_sdk::task::{self, AsyncHttpContext};
use forebay_sdk::{kv, time};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Plugin));
}}

struct Plugin;

impl Context for Plugin {}

impl RootContext for Plugin {
    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(task::http(context_id, Exchange))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Exchange;

const MINUTE: Duration = Duration::from_secs(60);

impl AsyncHttpContext for Exchange {
    async fn on_http_request_headers(self: Rc<Self>, _count: usize, _end_of_stream: bool) -> Action {
        let Ok(Some(key)) = hostcalls::get_map_value(MapType::HttpRequestHeaders, "x-key") else {
            return refuse(401, "no key");
        };
        let known = kv::get("keys", key.as_bytes()).await.unwrap_or_default();
        let tier = match known {
            Some(tier) => tier,
            None => match ask(&key).await {
                Some(tier) => {
                    // What cannot be remembered is asked for again, and that is all.
                    let _ = kv::set("keys", key.as_bytes(), &tier, Some(MINUTE)).await;
                    tier
                }
                None => return refuse(403, "not known"),
            },
        };
        let _ = hostcalls::set_map_value_bytes(MapType::HttpRequestHeaders, "x-tier", Some(&tier));
        Action::Continue
    }

    async fn on_log(self: Rc<Self>) {
        let status = hostcalls::get_map_value(MapType::HttpResponseHeaders, ":status").ok().flatten();
        let _ = hostcalls::log(LogLevel::Info, &format!("admit: {}", status.unwrap_or_default()));
    }
}

/// What the authority says of a key; `None` if it does not know it, or says nothing.
async fn ask(key: &str) -> Option<Vec<u8>> {
    for pause in [20, 40, 0] {
        let question = Callout {
            headers: vec![("x-key".to_owned(), key.as_bytes().to_vec())],
            ..Callout::get("authority", "/tier").timeout(Duration::from_secs(2))
        };
        match callout::call(&question).await {
            Ok(answer) if answer.status == 200 => return Some(answer.body),
            Ok(answer) if answer.status == 429 => time::sleep(Duration::from_millis(pause)).await.ok()?,
            _ => return None,
        }
    }
    None
}

/// An answer instead of the origin's. The request stays where it is: nothing is left to resume.
fn refuse(status: u32, why: &str) -> Action {
    let _ = hostcalls::send_http_response(status, vec![], Some(why.as_bytes()));
    Action::Pause
}
