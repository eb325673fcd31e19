//! NAME: says on each response what its configuration gives, and counts what it did.

use proxy_wasm::hostcalls::{define_metric, increment_metric};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel, MetricType};
use std::rc::Rc;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Plugin { settings: Rc::default() }));
}}

#[derive(Default)]
struct Settings {
    greeting: String,
    greeted: u32,
}

struct Plugin {
    settings: Rc<Settings>,
}

impl Context for Plugin {}

impl RootContext for Plugin {
    fn on_configure(&mut self, _size: usize) -> bool {
        let config = self.get_plugin_configuration().unwrap_or_default();
        let greeting = if config.is_empty() {
            "hello".to_owned()
        } else {
            let json: Option<serde_json::Value> = serde_json::from_slice(&config).ok();
            match json.and_then(|json| json["greeting"].as_str().map(str::to_owned)) {
                Some(greeting) => greeting,
                None => {
                    log::error("config must be { greeting: a text }");
                    return false;
                }
            }
        };
        let Ok(greeted) = define_metric(MetricType::Counter, "greeted_total") else { return false };
        self.settings = Rc::new(Settings { greeting, greeted });
        true
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Exchange { settings: self.settings.clone() }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Exchange {
    settings: Rc<Settings>,
}

impl Context for Exchange {}

impl HttpContext for Exchange {
    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.set_http_response_header("x-NAME", Some(&self.settings.greeting));
        let _ = increment_metric(self.settings.greeted, 1);
        Action::Continue
    }
}

mod log {
    use proxy_wasm::hostcalls;
    use proxy_wasm::types::LogLevel;

    pub fn error(message: &str) {
        let _ = hostcalls::log(LogLevel::Error, message);
    }
}
