//! Adds the headers of its configuration to requests and responses, and counts what it did.

use proxy_wasm::hostcalls::{define_metric, increment_metric};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel, MetricType};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::rc::Rc;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Plugin::default()));
}}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Set on each request, name to value.
    request: BTreeMap<String, String>,
    /// Set on each response.
    response: BTreeMap<String, String>,
}

/// One plugin on one route.
#[derive(Default)]
struct Plugin {
    config: Rc<Config>,
    requests_total: Option<u32>,
}

impl Context for Plugin {}

impl RootContext for Plugin {
    fn on_configure(&mut self, _size: usize) -> bool {
        let text = self.get_plugin_configuration().unwrap_or_default();
        let config = if text.is_empty() { Ok(Config::default()) } else { serde_json::from_slice(&text) };
        match config {
            Ok(config) => self.config = Rc::new(config),
            Err(error) => {
                // The last critical line is shown with the refusal.
                log::log(LogLevel::Critical, &format!("configuration: {error}"));
                return false;
            }
        }
        self.requests_total = define_metric(MetricType::Counter, "requests_total").ok();
        true
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Exchange { config: self.config.clone(), requests_total: self.requests_total }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Exchange {
    config: Rc<Config>,
    requests_total: Option<u32>,
}

impl Context for Exchange {}

impl HttpContext for Exchange {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if let Some(metric) = self.requests_total {
            let _ = increment_metric(metric, 1);
        }
        for (name, value) in &self.config.request {
            self.set_http_request_header(name, Some(value));
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        for (name, value) in &self.config.response {
            self.set_http_response_header(name, Some(value));
        }
        Action::Continue
    }
}

mod log {
    use proxy_wasm::types::LogLevel;

    pub fn log(level: LogLevel, message: &str) {
        let _ = proxy_wasm::hostcalls::log(level, message);
    }
}
