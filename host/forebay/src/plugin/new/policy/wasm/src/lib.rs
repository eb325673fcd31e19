//! NAME: how many origins a pool should have, and why.

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, RootContext};
use proxy_wasm::types::{ContextType, LogLevel};
use serde_json::Value;
use std::cell::Cell;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Plugin));
}}

thread_local! {
    /// Requests a second that one origin carries.
    static EACH: Cell<f64> = const { Cell::new(100.0) };
}

/// How many, and why; `None`: it has nothing to say. The fields of `metrics` are in the SDK's page on policies.
fn autoscale(metrics: &Value) -> Option<(f64, String)> {
    // Unknown is not zero: the pool's other rules decide.
    let load = metrics["requests_per_second"].as_f64()?;
    let each = EACH.get();
    Some((load / each, format!("{load:.0} requests/s at {each} per origin")))
}

struct Plugin;

impl Context for Plugin {}

impl RootContext for Plugin {
    fn on_configure(&mut self, _size: usize) -> bool {
        let config = self.get_plugin_configuration().unwrap_or_default();
        if config.is_empty() {
            return true;
        }
        let json: Option<Value> = serde_json::from_slice(&config).ok();
        match json.and_then(|json| json["requests_per_origin"].as_f64()).filter(|each| *each > 0.0) {
            Some(each) => {
                EACH.set(each);
                true
            }
            None => {
                let _ = hostcalls::log(LogLevel::Error, "config must be { requests_per_origin: a number over 0 }");
                false
            }
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// Called in each tick of a pool that names the plugin in `scaling.scripts`.
#[no_mangle]
extern "C" fn forebay_on_autoscale(_context: u32, _size: usize) {
    // A status of 4 bytes, a length of 4 bytes, JSON.
    let view = hostcalls::call_foreign_function("forebay_scale_view", None).ok().flatten().unwrap_or_default();
    let metrics = view.get(8..).and_then(|json| serde_json::from_slice(json).ok());
    let Some((origins, because)) = metrics.and_then(|metrics: Value| autoscale(&metrics)) else { return };
    // A double, a length, the reason; all little-endian.
    let length = (because.len() as u32).to_le_bytes();
    let arguments = [&origins.to_le_bytes()[..], &length, because.as_bytes()].concat();
    let _ = hostcalls::call_foreign_function("forebay_scale_propose", Some(&arguments));
}
