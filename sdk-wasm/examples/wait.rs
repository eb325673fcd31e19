//! Lets each request wait for as long as the configuration says: `{"wait_ms": 20}`.
//! On another host, which has no sleep, requests go on at once.

use std::time::Duration;

use forebay_sdk::proxy_wasm::traits::{Context, HttpContext, RootContext};
use forebay_sdk::proxy_wasm::types::{Action, ContextType};
use forebay_sdk::{config, meta, proxy_wasm, time};
use serde::Deserialize;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Plugin::default()));
}}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    wait_ms: u64,
}

#[derive(Default)]
struct Plugin {
    config: Config,
}

impl Context for Plugin {}

impl RootContext for Plugin {
    fn on_configure(&mut self, _size: usize) -> bool {
        let Some(config) = config::read() else { return false };
        self.config = config;
        true
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Exchange { wait: Duration::from_millis(self.config.wait_ms) }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Exchange {
    wait: Duration,
}

impl Context for Exchange {}

impl HttpContext for Exchange {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if meta::version().is_none() || !meta::has("sleep") {
            return Action::Continue;
        }
        let slept = time::sleep(self.wait).then(|_| {
            let _ = proxy_wasm::hostcalls::add_map_value(
                proxy_wasm::types::MapType::HttpRequestHeaders,
                "x-waited",
                "yes",
            );
            let _ = proxy_wasm::hostcalls::resume_http_request();
        });
        if slept.is_ok() {
            Action::Pause
        } else {
            Action::Continue
        }
    }
}
