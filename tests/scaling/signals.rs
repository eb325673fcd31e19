//! A pool is measured by what a plugin counts, or by what its origins show, where its requests ask for nothing.

use harness::{Client, PATIENCE, wait_until};

use crate::region::Region;

/// One origin would carry all requests there are.
fn scaling(signal: &str) -> String {
    format!(
        "      floor: 1\n      ceiling: 4\n      stabilisation: 1s\n      reactive: {{window: 2s, headroom: 1.0}}\n      \
         signals: [{{source: requests, per_origin: 100000}}, {signal}]"
    )
}

/// Counts as many tokens as a request says that it has.
const PLUGIN: &str = r#"
local plugin, tokens = {}, nil
function plugin.on_configure()
  tokens = forebay.metric.counter("tokens_total")
end
function plugin.on_request_headers()
  tokens:increment(tonumber(forebay.request.headers.get("x-tokens") or "0"))
end
return plugin
"#;

fn ask(region: &Region, tokens: &str) {
    let mut client = Client::connect(region.address);
    client.request("GET", "/", &[("x-tokens", tokens), ("Connection", "close")], b"");
    client.response();
}

/// Requests, one after another, until so many origins serve.
#[track_caller]
fn ask_until(region: &Region, tokens: &str, serving: usize) {
    wait_until("origins to serve", PATIENCE, || {
        ask(region, tokens);
        (region.origins("serving").len() == serving).then_some(())
    });
}

/// Decisions whose demand was this signal's, and what requests asked for in them.
fn won_by(region: &Region, signal: &str) -> Vec<f64> {
    let journal = region.journal();
    let demands = journal.iter().filter(|line| line["decision"]["to"].as_u64() > Some(1));
    let demands = demands.map(|line| &line["decision"]["inputs"]["demand"]).filter(|demand| demand["winner"] == signal);
    demands.filter_map(|demand| demand["signals"][0]["origins"].as_f64()).collect()
}

#[test]
fn tokens_that_a_plugin_counts_have_origins_started_that_requests_do_not_ask_for() {
    let signal = "{name: tokens, source: metric, metric: tokens_total, plugin: hinter, per_origin: 1000}";
    let region = Region::start_with(&scaling(signal), PLUGIN);
    for _ in 0..20 {
        ask(&region, "0");
    }
    assert_eq!(region.origins("serving").len(), 1, "requests alone");
    ask_until(&region, "100000", 4);
    let requests = won_by(&region, "tokens");
    assert!(!requests.is_empty() && requests.iter().all(|origins| *origins < 1.0), "{requests:?}");
    let shown = region.ask("/v1/pools").unwrap()["pools"]["shop"]["demand"].clone();
    assert_eq!((&shown["signals"][1]["name"], &shown["signals"][1]["source"]), (&"tokens".into(), &"metric".into()));
    ask_until(&region, "0", 1);
}

#[test]
fn what_origins_show_of_their_work_has_more_of_them_started() {
    let signal = "{name: busy, source: origin, metric: forebay_origin_busy_seconds_total, per: rate, per_origin: 0.01, \
                  interval: 200ms}";
    let region = Region::start(&scaling(signal));
    ask_until(&region, "0", 4);
    let requests = won_by(&region, "busy");
    assert!(!requests.is_empty() && requests.iter().all(|origins| *origins < 1.0), "{requests:?}");
    wait_until("the pool to shrink as nothing is worked any more", PATIENCE, || {
        (region.origins("serving").len() == 1).then_some(())
    });
}
