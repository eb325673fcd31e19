//! The plugins that we ship do what their `spec.yaml` says.

use std::path::PathBuf;
use std::rc::Rc;

use abi::*;
use serde_json::Value as Json;

use crate::fake::*;

fn ours(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/lua")).join(name)
}

fn yaml(name: &str, file: &str) -> Json {
    let text = std::fs::read_to_string(ours(name).join(file)).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{name}/{file}: {e}"))
}

/// Pairs of a map of headers.
fn fields(map: &Json) -> Vec<(String, Option<String>)> {
    let Some(map) = map.as_object() else { return Vec::new() };
    map.iter().map(|(name, value)| (name.clone(), value.as_str().map(str::to_owned))).collect()
}

fn as_bytes(map: &Json) -> Vec<(Vec<u8>, Vec<u8>)> {
    fields(map).into_iter().map(|(n, v)| (n.into_bytes(), v.unwrap().into_bytes())).collect()
}

fn check_headers(case: &str, found: &[(Vec<u8>, Vec<u8>)], wanted: &Json) {
    for (name, value) in fields(wanted) {
        let all: Vec<_> = found.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).collect();
        let texts: Vec<_> = all.iter().map(|(_, v)| String::from_utf8_lossy(v).into_owned()).collect();
        assert_eq!(texts, Vec::from_iter(value), "{case}: header {name}");
    }
}

fn run_case(name: &str, case: &Json) {
    let title = format!("{name}: {}", case["name"].as_str().unwrap());
    let manifest = yaml(name, "plugin.yaml");
    let words: Vec<_> = manifest["capabilities"].as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
    let config = if case["config"].is_null() { String::new() } else { case["config"].to_string() };
    let fake = Fake::with(Limits::default(), Capabilities::parse(words).unwrap(), &config);
    let maps = [&case["request"]["headers"], &Json::Null, &case["response"]["headers"], &Json::Null];
    *fake.maps.borrow_mut() = maps.map(as_bytes);
    let host = Rc::new(fake);
    let plugin = forebay_lua::load(&ours(name).join(manifest["lua"].as_str().unwrap())).unwrap();
    let expect = &case["expect"];
    let instance = match (plugin.instantiate(host.clone()), expect["fault"].as_str()) {
        (Err(fault), Some(verdict)) => return assert_eq!(fault.verdict.name(), verdict, "{title}: {fault}"),
        (Err(fault), None) => panic!("{title}: {fault}"),
        (Ok(_), Some(verdict)) => panic!("{title}: no fault {verdict}"),
        (Ok(instance), None) => instance,
    };
    let mut run = Run { host, instance };
    run.open(EXCHANGE.0);
    let mut action = run.headers().unwrap();
    for (i, callout) in case["callouts"].as_array().into_iter().flatten().enumerate() {
        assert_eq!(action, Action::Pause, "{title}: waits for callout {i}");
        let (target, request, token) = run.host.callouts.borrow()[i].clone();
        assert_eq!(target, callout["target"].as_str().unwrap(), "{title}");
        if let Some(path) = callout["request"]["path"].as_str() {
            assert_eq!(request.path, path, "{title}");
        }
        check_headers(&title, &request.headers, &callout["request"]["headers"]);
        action = run.call(Event::Callout { token, result: &result(callout) }).unwrap();
    }
    if expect["answer"].is_null() {
        assert_eq!(action, Action::Continue, "{title}");
        assert!(run.host.answers.borrow().is_empty(), "{title}: answered");
    }
    if !case["response"].is_null() {
        let answered = run.call(Event::ResponseHeaders { end_of_stream: true }).unwrap();
        assert_eq!(answered, Action::Continue, "{title}");
    }
    check(&title, &run.host, expect);
}

fn result(callout: &Json) -> Result<CalloutResponse, CalloutError> {
    if callout["error"].as_str() == Some("timeout") {
        return Err(CalloutError::Timeout);
    }
    let response = &callout["response"];
    let headers = as_bytes(&response["headers"]).into_iter().map(|(n, v)| (n.into(), v.into())).collect();
    Ok(CalloutResponse { status: response["status"].as_u64().unwrap() as u16, headers, ..Default::default() })
}

fn check(title: &str, host: &Fake, expect: &Json) {
    check_headers(title, &host.maps.borrow()[0], &expect["request"]["headers"]);
    check_headers(title, &host.maps.borrow()[2], &expect["response"]["headers"]);
    if let Some(status) = expect["answer"]["status"].as_u64() {
        let answers = host.answers.borrow();
        let [answer] = &answers[..] else { panic!("{title}: {} answers", answers.len()) };
        assert_eq!(u64::from(answer.status), status, "{title}");
        check_headers(title, &answer.headers, &expect["answer"]["headers"]);
        if let Some(body) = expect["answer"]["body"].as_str() {
            assert_eq!(answer.body, body.as_bytes(), "{title}");
        }
    }
    for (name, value) in expect["metrics"].as_object().into_iter().flatten() {
        let metrics = host.metrics.borrow();
        let (.., samples) = metrics.iter().find(|(_, n, _)| n == name).unwrap();
        assert_eq!(samples.iter().sum::<i64>(), value.as_i64().unwrap(), "{title}: {name}");
    }
    if let Some(logs) = expect["logs"].as_array() {
        let logs: Vec<_> = logs.iter().map(|line| line.as_str().unwrap().to_owned()).collect();
        assert_eq!(host.texts(), logs, "{title}");
    }
}

fn run_spec(name: &'static str) {
    on_worker(move || {
        let spec = yaml(name, "spec.yaml");
        let cases = spec.as_array().unwrap();
        assert!(!cases.is_empty());
        cases.iter().for_each(|case| run_case(name, case));
    });
}

#[test]
fn header_filter_does_what_its_spec_says() {
    run_spec("header-filter");
}

#[test]
fn request_stamp_does_what_its_spec_says() {
    run_spec("request-stamp");
}

#[test]
fn callout_auth_does_what_its_spec_says() {
    run_spec("callout-auth");
}

#[test]
fn every_plugin_that_we_ship_has_its_four_files_and_a_spec_that_runs() {
    let mut names: Vec<_> = std::fs::read_dir(ours("")).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["callout-auth", "header-filter", "request-stamp"], "add a test above for a new one");
    for name in names {
        for file in ["plugin.yaml", "main.lua", "spec.yaml", "README.md"] {
            assert!(ours(name.to_str().unwrap()).join(file).is_file(), "{name:?}/{file}");
        }
    }
}
