//! `forebay plugin bench`: what it counts is what happened.

use crate::{plugin, tool};

const MAIN: &str = "local kept, n = {}, 0
    return {
      on_request_headers = function()
        forebay.request.headers.get('a') forebay.request.headers.get('b')
        forebay.request.headers.set('x-c', '1')
        n = n + 1 kept = { ('x'):rep(1000) .. n .. forebay.request.headers.get(':path') }
      end,
      on_log = function() end,
    }";

fn json(arguments: &[&str], main: &str, spec: &str) -> serde_json::Value {
    let folder = plugin("[]", main, spec);
    let said = tool(&[&["bench", "--json", "--exchanges", "50", "--warmup", "5"], arguments].concat(), folder.path());
    assert_eq!(said.code, 0, "{}{}", said.out, said.errors);
    serde_json::from_str(&said.out).expect("it is JSON")
}

#[test]
fn calls_hostcalls_and_memory_are_counted_by_callback() {
    let json = json(&[], MAIN, "- name: never asked\n- name: asked\n  request: { path: /a }\n");
    assert_eq!(json["case"], "asked");
    let headers = &json["callbacks"]["on_request_headers"];
    assert_eq!((&headers["calls"], &headers["hostcalls"], &headers["faults"]), (&50.into(), &4.0.into(), &0.into()));
    let allocated = headers["allocated_bytes"].as_f64().expect("a number");
    assert!((1000.0..20_000.0).contains(&allocated), "{json}");
    assert!(headers["allocations"].as_f64().expect("a number") >= 1.0, "{json}");
    let (p50, p99) = (headers["cpu_p50_nanoseconds"].as_u64(), headers["cpu_p99_nanoseconds"].as_u64());
    assert!(p50.expect("a number") > 0 && p50 <= p99, "{json}");
    assert_eq!(json["callbacks"]["on_log"]["hostcalls"], 0.0);
    assert_eq!(json["callbacks"]["on_log"]["calls"], 50);
    assert!(json["callbacks"].get("on_response_headers").is_none(), "it has none: {json}");
    let (memory, peak) = (json["memory_bytes"].as_u64(), json["peak_memory_bytes"].as_u64());
    assert!(memory.expect("a number") > 10_000 && memory <= peak, "{json}");
}

#[test]
fn a_callback_that_works_more_costs_more() {
    let main = |rounds: u32| {
        format!(
            "return {{ on_request_headers = function() local n = 0 for i = 1, {rounds} do n = n + #tostring(i) end end }}"
        )
    };
    let cost = |rounds| {
        let json = json(&[], &main(rounds), "- name: a\n  limits: { cpu: 1s }\n  request: {}\n");
        json["callbacks"]["on_request_headers"]["cpu_p50_nanoseconds"].as_u64().expect("a number")
    };
    let (little, much) = (cost(10), cost(20_000));
    assert!(much > little * 10, "{little} ns and {much} ns");
}

#[test]
fn the_lines_are_for_people_and_name_the_case() {
    let folder = plugin("[]", MAIN, "- name: the usual\n  request: {}\n- name: another\n  request: { path: /b }\n");
    let said = tool(&["bench", "--exchanges=20", "--warmup=0", "--case=another"], folder.path());
    assert_eq!(said.code, 0, "{}", said.errors);
    for part in [
        "tried: \"another\", 20 exchanges after 0 of warm-up",
        "CPU p50",
        "on_request_headers",
        "memory of an instance",
    ] {
        assert!(said.out.contains(part), "no {part:?} in\n{}", said.out);
    }
}

#[test]
fn what_fails_is_not_measured_and_what_is_not_there_is_refused() {
    let folder = plugin("[]", MAIN, "- name: bad\n  request: {}\n  expect: { response: { status: 418 } }\n");
    let said = tool(&["bench"], folder.path());
    assert_eq!(said.code, 64, "{}", said.out);
    assert!(said.errors.contains("case \"bad\" fails, and what fails is not measured"), "{}", said.errors);
    let said = tool(&["bench", "--case", "none"], folder.path());
    assert!(said.code == 64 && said.errors.contains("no case \"none\"; cases are: \"bad\""), "{}", said.errors);
    let said = tool(&["bench", "--exchanges", "0"], folder.path());
    assert_eq!(said.code, 64, "{}", said.out);
}
