//! The filter that the benches run in every language: three header reads, two writes and a
//! find on the request; one set and one remove on the response.

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Warn);
    proxy_wasm::set_root_context(|_| Box::new(Plugin));
}}

struct Plugin;

impl Context for Plugin {}

impl RootContext for Plugin {
    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Exchange))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Exchange;

impl Context for Exchange {}

impl HttpContext for Exchange {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let host = self.get_http_request_header(":authority").unwrap_or_default();
        let agent = self.get_http_request_header("user-agent").unwrap_or_default();
        let id = self.get_http_request_header("x-id").unwrap_or_default();
        let seen = if agent.contains("bot") { "bot" } else { "human" };
        self.set_http_request_header("x-edge", Some(&format!("{host}/{id}")));
        self.set_http_request_header("x-seen", Some(seen));
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.set_http_response_header("x-served-by", Some("forebay"));
        self.set_http_response_header("server", None);
        Action::Continue
    }
}
