//! The report of a fault: one line that says which plugin in which version failed of what, where, in
//! which exchange. (PANIC, which is a bug of ours, is provoked in the engines' own tests.)

use harness::Origin;
use serde_json::Value;

use crate::faults::{ITS_WORDS, fault};
use crate::limits::limits;
use crate::pair::{Engine, Plugin, on_both_engines, setup};

const REQUEST: &str = "an-id-of-the-client";

/// The line about the one fault of `plugin`, which the client sees as `status`.
#[track_caller]
fn report(engine: Engine, plugin: Plugin, verdict: &str, status: u16) -> Value {
    let (shop, side) = (Origin::saying("ok"), Origin::saying("there"));
    let mut edge = setup(&[(engine, plugin)], shop.address, Some(side.address)).start();
    for words in ITS_WORDS {
        edge.process.expect_error(words);
    }
    let mut client = edge.connect();
    client.request("POST", "/bad", &[("x-request-id", REQUEST)], &[b'x'; 100_000]);
    assert_eq!(client.response_head().status(), status, "{verdict}");
    let line = edge.process.wait_for_log(&["forebay::fault", &format!("\"verdict\":\"{verdict}\"")]);
    assert_eq!(edge.metrics().sum("forebay_plugin_faults_total", &[&format!("verdict=\"{verdict}\"")]), 1.0);
    assert_eq!(edge.metrics().sum("forebay_plugin_faults_total", &[]), 1.0, "{verdict}: and no other");
    let line: Value = serde_json::from_str(&line).expect("a line is JSON");
    let shown: Value = serde_json::from_str(edge.admin("/plugins").text()).expect("a view is JSON");
    let version = line["version"].as_str().expect("a version");
    assert!(version.len() == 16 && shown.to_string().contains(version), "{version} in {shown}");
    line
}

on_both_engines! {
    fn each_fault_is_reported_with_its_verdict_version_request_and_place(engine) {
        let callouts = limits("callouts 3", "callouts: 1");
        let cases: [(Plugin, &str, u16); 8] = [
            (fault("loop"), "CPU", 503),
            (limits("sleeps 100", "wall: 100ms"), "WALL", 503),
            (fault("memory"), "MEMORY", 503),
            (limits("buffer", "buffer: 20000"), "BUFFER", 413),
            (callouts, "CALLOUT", 503),
            (fault("trap"), "TRAP", 503),
            (fault("error"), "TRAP", 503),
            (fault("grant"), "CAPABILITY", 503),
        ];
        for (plugin, verdict, status) in cases {
            let (name, words) = (plugin.name, plugin.words.clone());
            let line = report(engine, plugin, verdict, status);
            for (key, value) in [("plugin", name), ("route", "all"), ("request_id", REQUEST), ("level", "WARN")] {
                assert_eq!(line[key].as_str(), Some(value), "{words}: {line}");
            }
            assert!(line["message"].as_str().is_some_and(|message| !message.is_empty()), "{words}: {line}");
            let trace = line["trace"].as_str().unwrap_or_default();
            match engine {
                Engine::Lua => {
                    let place = format!("{name}.lua:");
                    assert!(trace.starts_with("stack traceback:") && trace.contains(&place), "{words}: {line}");
                }
                // What the edge finds while no guest runs has no place in one.
                _ => {
                    let found = matches!(verdict, "WALL" | "BUFFER" | "CALLOUT");
                    assert_eq!(trace.is_empty(), found, "{words}: {line}");
                }
            }
        }
    }
}
