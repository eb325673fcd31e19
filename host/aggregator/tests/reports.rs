//! What a report may not be. Whatever is refused changes nothing.

#[path = "harness.rs"]
mod harness;

use forebay_aggregator as aggregator;
use harness::*;
use serde_json::{Value, json};

fn report(change: impl FnOnce(&mut Value)) -> String {
    let mut report = json!({
        "version": 1, "edge": "e1", "boot": 1, "seq": 2, "period_ms": 1000,
        "pools": { "shop": {
            "requests": 50, "rejects": 0, "errors": 0, "in_flight": 0, "latency_sum_ms": 0.0,
            "latency_count": 0, "latency_p99_ms": 0.0, "origins": {}
        }}
    });
    change(&mut report);
    report.to_string()
}

#[test]
fn a_refused_report_says_why_and_changes_nothing() {
    let folder = Folder::new("refused");
    let mut setup = Setup::new(&folder.0);
    setup.scaling.actuator = config::region::Actuator::DryRun;
    let aggregator = aggregator::start(setup.region()).unwrap();
    let at = aggregator.address();
    let shop = |change: fn(&mut Value)| report(|report| change(&mut report["pools"]["shop"]));
    let cases = [
        ("no JSON", "{".to_string(), 400, "malformed", "EOF"),
        ("version", report(|r| r["version"] = 2.into()), 400, "version", "knows version 1"),
        ("a newer version's field", report(|r| (r["version"], r["new"]) = (2.into(), 1.into())), 400, "version", "2"),
        ("negative", shop(|p| p["requests"] = (-1).into()), 400, "malformed", "-1"),
        ("too many", shop(|p| p["requests"] = 2_000_000_000_u64.into()), 422, "impossible", "pools.shop.requests"),
        ("more rejects than requests", shop(|p| p["rejects"] = 51.into()), 422, "impossible", "at most the 50"),
        ("latency", shop(|p| p["latency_p99_ms"] = (-0.5).into()), 422, "impossible", "latency_p99_ms: -0.5"),
        ("no time at all", report(|r| r["period_ms"] = 0.into()), 422, "impossible", "period_ms: 0"),
        ("a minute and more", report(|r| r["period_ms"] = 60_001.into()), 422, "impossible", "60000"),
        ("nameless", report(|r| r["edge"] = "".into()), 422, "impossible", "edge"),
        (
            "not finite",
            report(|_| ()).replace("\"latency_sum_ms\":0.0", "\"latency_sum_ms\":1e999"),
            400,
            "malformed",
            "",
        ),
    ];
    for (name, body, status, reason, detail) in cases {
        let (found, answer) = post(at, &body);
        assert_eq!(found, status, "{name}: {answer}");
        assert_eq!(answer["error"]["reason"], reason, "{name}: {answer}");
        assert!(answer["error"]["detail"].as_str().unwrap().contains(detail), "{name}: {answer}");
    }
    let (status, answer) = post(at, &" ".repeat((1 << 20) + 1));
    assert_eq!((status, &answer["error"]["reason"]), (413, &Value::from("too_large")));
    let (_, explained) = get(at, "/v1/pools/shop/explain");
    assert_eq!(explained["inputs"]["edges"], json!([]), "no edge is known from what was refused");
    assert_eq!(explained["inputs"]["requests_per_second"], Value::Null);

    // A field that is new does not make the report one that cannot be read.
    let (status, membership) = post(at, &report(|r| r["colour"] = 1.into()));
    assert_eq!((status, &membership["version"]), (200, &Value::from(1)));
    let (_, explained) = get(at, "/v1/pools/shop/explain");
    assert_eq!(explained["inputs"]["requests_per_second"], 50.0);
    aggregator.stop();
}

#[test]
fn a_repeated_report_is_answered_and_counts_once() {
    let folder = Folder::new("repeat");
    let mut setup = Setup::new(&folder.0);
    setup.scaling.actuator = config::region::Actuator::DryRun;
    let aggregator = aggregator::start(setup.region()).unwrap();
    for _ in 0..3 {
        assert_eq!(post(aggregator.address(), &report(|_| ())).0, 200);
    }
    assert_eq!(post(aggregator.address(), &report(|r| r["seq"] = 1.into())).0, 200, "an older one too");
    let (_, explained) = get(aggregator.address(), "/v1/pools/shop/explain");
    assert_eq!(explained["inputs"]["requests_per_second"], 50.0);
    aggregator.stop();
}

#[test]
fn a_report_of_twenty_times_the_most_is_refused_and_told_until_three_agree() {
    let folder = Folder::new("absurd");
    let mut setup = Setup::new(&folder.0);
    setup.scaling.actuator = config::region::Actuator::DryRun;
    let aggregator = aggregator::start(setup.region()).unwrap();
    let at = aggregator.address();
    assert_eq!(post(at, &report(|_| ())).0, 200);
    let crowd = |seq: u64| {
        report(|report| {
            report["seq"] = seq.into();
            report["pools"]["shop"]["requests"] = 90_000.into();
        })
    };
    for (seq, status) in [(3, 422), (3, 422), (4, 422), (5, 200)] {
        let (found, answer) = post(at, &crowd(seq));
        assert_eq!(found, status, "{seq}: {answer}");
        if status == 422 {
            assert_eq!(answer["error"]["reason"], "absurd", "{answer}");
            let (_, explained) = get(at, "/v1/pools/shop/explain");
            assert_eq!(explained["inputs"]["requests_per_second"], 50.0, "{seq}");
            let told = &explained["inputs"]["refused"][0];
            assert_eq!((&told["edge"], &told["reports"]), (&Value::from("e1"), &Value::from(seq - 2)));
        }
    }
    let (_, explained) = get(at, "/v1/pools/shop/explain");
    assert_eq!(explained["inputs"].get("refused"), None, "it was no mistake: {}", explained["inputs"]);
    aggregator.stop();
}

#[test]
fn questions_that_cannot_be_answered_say_what_can() {
    let folder = Folder::new("questions");
    let mut setup = Setup::new(&folder.0);
    setup.scaling.actuator = config::region::Actuator::DryRun;
    let render: aggregator::Render = std::sync::Arc::new(|| "forebay_up 1\n".to_string());
    let aggregator = aggregator::start_with(
        setup.region(),
        aggregator::Options { metrics: Some(render), ..aggregator::Options::default() },
    )
    .unwrap();
    let at = aggregator.address();
    for (path, status, detail) in [
        ("/v1/pools/shap/explain", 404, "run here are: shop"),
        ("/v1/decisions?pool=shap", 404, "run here are: shop"),
        ("/v1/decisions?limit=many", 400, "whole number"),
        ("/v1/decisions?poll=shop", 400, "allowed are pool, from, to and limit"),
        ("/nowhere", 404, "/v1/pools/NAME/explain"),
        ("/v1/reports", 405, "allowed is POST"),
    ] {
        let (found, answer) = get(at, path);
        assert_eq!(found, status, "{path}: {answer}");
        assert!(answer["error"]["detail"].as_str().unwrap().contains(detail), "{path}: {answer}");
    }
    assert_eq!(get(at, "/healthz").0, 200);
    assert_eq!(get(at, "/metrics"), (200, Value::from("forebay_up 1\n")));
    aggregator.stop();
    let bound = setup.region();
    let mut taken = (*bound).clone();
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    taken.aggregator.as_mut().unwrap().address = holder.local_addr().unwrap();
    let error = aggregator::start(std::sync::Arc::new(taken)).err().unwrap();
    assert!(error.to_string().starts_with("aggregator.address 127.0.0.1:"), "{error}");
}

#[test]
fn a_report_over_http2_is_taken_as_well() {
    use http_body_util::{BodyExt, Full};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let folder = Folder::new("http2");
    let mut setup = Setup::new(&folder.0);
    setup.scaling.actuator = config::region::Actuator::DryRun;
    let aggregator = aggregator::start(setup.region()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (status, body) = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(aggregator.address()).await.unwrap();
        let io = TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        let body = Full::new(bytes::Bytes::from(report(|_| ())));
        let request = http::Request::post(format!("http://{}/v1/reports", aggregator.address())).body(body).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.into_body().collect().await.unwrap().to_bytes())
    });
    let membership: wire::Membership = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, membership.version), (200, 1));
    aggregator.stop();
}

#[test]
fn a_connection_of_http2_that_never_speaks_again_is_closed() {
    use std::io::{Read, Write};
    let folder = Folder::new("mute");
    let mut setup = Setup::new(&folder.0);
    setup.scaling.actuator = config::region::Actuator::DryRun;
    let aggregator = aggregator::start(setup.region()).unwrap();
    let mut stream = std::net::TcpStream::connect(aggregator.address()).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(120))).unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let mut answer = Vec::new();
    // Closed or reset: a time-out would be neither.
    let ended = stream.read_to_end(&mut answer);
    let timed_out = ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    assert!(!timed_out && !answer.is_empty(), "it was asked whether it is there, and has kept its place: {answer:?}");
}
