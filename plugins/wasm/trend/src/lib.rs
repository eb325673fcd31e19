//! A policy of a pool's scaling: as many origins as the load will want by the time that one that is started now
//! serves, if it goes on rising as it did in the last minutes. See README.md.

use std::cell::Cell;

use forebay_sdk::proxy_wasm::hostcalls;
use forebay_sdk::proxy_wasm::traits::{Context, RootContext};
use forebay_sdk::proxy_wasm::types::{ContextType, LogLevel};
use forebay_sdk::proxy_wasm;
use forebay_sdk::scale::{Metrics, Proposal};
use serde::Deserialize;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Plugin));
}}

forebay_sdk::on_autoscale!(autoscale);

#[derive(Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// Requests a second that one origin carries.
    requests_per_origin: f64,
    /// How far back the trend is looked for.
    minutes: f64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings::USUAL
    }
}

impl Settings {
    const USUAL: Settings = Settings { requests_per_origin: 100.0, minutes: 5.0 };
}

thread_local! {
    /// The policy is a function beside the plugin's contexts.
    static SETTINGS: Cell<Settings> = const { Cell::new(Settings::USUAL) };
}

struct Plugin;

impl Context for Plugin {}

impl RootContext for Plugin {
    fn on_configure(&mut self, _size: usize) -> bool {
        let Some(settings) = forebay_sdk::config::read::<Settings>() else { return false };
        let Settings { requests_per_origin, minutes } = settings;
        // NaN is in no range.
        if !(requests_per_origin > 0.0 && (1.0..=10.0).contains(&minutes)) {
            let found = format!("requests_per_origin {requests_per_origin}, minutes {minutes}");
            let allowed = "allowed: over 0, and from 1 to 10";
            let _ = hostcalls::log(LogLevel::Critical, &format!("configuration: {found}; {allowed}"));
            return false;
        }
        SETTINGS.set(settings);
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// A step of the past.
const STEP: f64 = 15.0;
/// Of which at least so much was reported.
const COVERED: f64 = 0.9;
/// Fewer steps show no trend.
const FEWEST: usize = 4;

fn autoscale(metrics: Metrics) -> Option<Proposal> {
    let Settings { requests_per_origin, minutes } = SETTINGS.get();
    // What is not known is not zero: the other rules decide.
    let level = metrics.requests_per_second?;
    let is_over = |at: f64| (metrics.now - minutes * 60.0..=metrics.now - STEP).contains(&at);
    let steps = metrics.series.iter().filter(|step| step.covered >= COVERED && is_over(step.at as f64));
    let points: Vec<_> = steps.map(|step| (step.at as f64, step.requests_per_second)).collect();
    let slope = slope(&points);
    // A load that falls is followed when it has fallen.
    let coming = level + slope.max(0.0) * metrics.lead;
    let per_minute = slope * 60.0;
    let because = match slope > 0.0 {
        true => format!("{level:.0}/s, {per_minute:+.0} a minute: {coming:.0}/s in {:.0} s", metrics.lead),
        false => format!("{level:.0}/s, and not rising"),
    };
    Some(Proposal { origins: coming / requests_per_origin, because })
}

/// By how much a second the load rises: least squares. 0 where there is too little to tell.
fn slope(points: &[(f64, f64)]) -> f64 {
    if points.len() < FEWEST {
        return 0.0;
    }
    let count = points.len() as f64;
    let (at, load) = points.iter().fold((0.0, 0.0), |(at, load), point| (at + point.0 / count, load + point.1 / count));
    let (both, spread) = points.iter().fold((0.0, 0.0), |(both, spread), point| {
        (both + (point.0 - at) * (point.1 - load), spread + (point.0 - at).powi(2))
    });
    both / spread
}
