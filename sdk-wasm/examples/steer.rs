//! Gives each attempt to the origin with the fewest exchanges, a retry to the pool `standby`, and asks
//! for one origin more while those there are have ten exchanges each.

use std::time::Duration;

use forebay_sdk::origin::{self, Stats};
use forebay_sdk::scale::{self, Hint};
use forebay_sdk::{on_origin_select, proxy_wasm};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Plugin));
}}

on_origin_select!(|pool, attempt| {
    // A refusal leaves the request to the pool's own balance, which is no worse than without us.
    if let Err(refusal) = steer(pool, attempt) {
        let _ = proxy_wasm::hostcalls::log(LogLevel::Warn, &refusal.to_string());
    }
});

fn steer(pool: &str, attempt: u32) -> Result<(), forebay_sdk::packed::Refusal> {
    if attempt > 1 {
        return origin::set_pool("standby");
    }
    let able: Vec<Stats> =
        origin::stats(None)?.into_iter().filter(|one| one.healthy && one.stage == "serving").collect();
    let Some(least) = able.iter().min_by_key(|one| one.in_flight) else { return Ok(()) };
    if least.in_flight >= 10 {
        let minute = Duration::from_secs(60);
        scale::hint(pool, Hint::Prewarm(able.len() as u32 + 1, minute, Duration::ZERO))?;
    }
    origin::set_host(&least.address)
}

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
    fn on_log(&mut self) {
        if let Ok(Some(picked)) = origin::get() {
            let line = format!("{} of {} at attempt {}", picked.address, picked.pool, picked.attempt);
            let _ = proxy_wasm::hostcalls::log(LogLevel::Info, &line);
        }
    }
}
