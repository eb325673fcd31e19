//! What an exchange leaves behind, as an operator sees it: metrics as text, the access line.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use abi::Verdict;
use forebay_edge::membership::Memberships;
use forebay_edge::reject::Reject;
use forebay_edge::telemetry::{self, Ledger, Outcome, Telemetry};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tracing::field::{Field, Visit};

/// Runs `what` with a recorder of its own.
fn recorded(what: impl FnOnce()) -> PrometheusHandle {
    let matcher = Matcher::Suffix(telemetry::HISTOGRAM_SUFFIX.to_owned());
    let builder = PrometheusBuilder::new().set_buckets_for_metric(matcher, telemetry::buckets()).unwrap();
    let recorder: PrometheusRecorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, what);
    handle
}

fn memberships(workers: usize) -> Memberships {
    let text = "edge: { listeners: [{ address: 127.0.0.1:0 }] }\nroutes: []\n\
                pools: [{ name: shop, origins: [127.0.0.1:1, 127.0.0.1:2] }]";
    let region = config::parse(text, Path::new("test.yaml"), Path::new("/")).map_err(|errors| errors.to_string());
    Memberships::new(&region.unwrap(), workers)
}

fn outcome(route: Option<&str>, status: u16) -> Outcome {
    Outcome {
        request_id: "id-1".into(),
        route: route.map(Arc::from),
        pool: route.map(|_| "shop".into()),
        origin: Some("127.0.0.1:9001".parse().unwrap()),
        remote: "127.0.0.1:5555".parse().unwrap(),
        method: http::Method::GET,
        path: "/cart?id=1".into(),
        host: "shop.example".into(),
        version: http::Version::HTTP_11,
        status,
        reject: None,
        detail: None,
        bytes_in: 10,
        bytes_out: 100,
        duration: Duration::from_micros(1_500),
        aborted: false,
    }
}

#[test]
fn every_outcome_is_counted_by_route_pool_and_code() {
    let metrics = recorded(|| {
        let telemetry = Telemetry::new(0, Arc::new(Ledger::new(1, false)));
        telemetry.outcome(&outcome(Some("cart"), 200));
        telemetry.outcome(&outcome(Some("cart"), 200));
        telemetry.outcome(&outcome(Some("cart"), 404));
        telemetry.outcome(&Outcome { reject: Some("no_route"), ..outcome(None, 404) });
    });
    let text = metrics.render();
    for line in [
        r#"forebay_requests_total{route="cart",pool="shop",code="200"} 2"#,
        r#"forebay_requests_total{route="cart",pool="shop",code="404"} 1"#,
        r#"forebay_requests_total{route="",pool="",code="404"} 1"#,
        r#"forebay_rejects_total{reject="no_route",route=""} 1"#,
        r#"forebay_request_duration_seconds_bucket{route="cart",le="0.001"} 0"#,
        r#"forebay_request_duration_seconds_bucket{route="cart",le="0.0025"} 3"#,
        r#"forebay_received_bytes_total{route="cart"} 30"#,
        r#"forebay_sent_bytes_total{route="cart"} 300"#,
    ] {
        assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
    }
}

#[test]
fn what_each_worker_counts_is_added_up() {
    let metrics = recorded(|| {
        let (members, ledger) = (memberships(2), Arc::new(Ledger::new(2, false)));
        let pool = members.pool("shop").unwrap();
        let plugin: Arc<str> = "filter".into();
        let mut held = Vec::new();
        for worker in 0..2 {
            let telemetry = Telemetry::new(worker, ledger.clone());
            held.push((telemetry.exchange_started(), telemetry.connection_opened()));
            drop((telemetry.exchange_started(), telemetry.connection_opened()));
            telemetry.plugin_call(&plugin, "on_request_headers");
            telemetry.plugin_call(&plugin, "on_request_headers");
            telemetry.plugin_fault(&plugin, Verdict::Memory);
            telemetry.instance_made(&plugin);
            telemetry.instance_made(&plugin);
            telemetry.instance_dropped(&plugin);
            let mut exchange = telemetry.pool_started(&pool);
            exchange.to(&pool.view().serving[0]);
            exchange.to(&pool.view().serving[1]);
            exchange.answered(200);
        }
        ledger.publish(&members);
        let count = &ledger.plugins()["filter"];
        assert_eq!((count.total_calls(), count.total_faults(), count.instances), (4, 2, 2));
        assert_eq!(count.faults, BTreeMap::from([("MEMORY", 2)]));
    });
    let text = metrics.render();
    for line in [
        "forebay_in_flight 2",
        "forebay_connections_open 2",
        "forebay_connections_accepted_total 4",
        r#"forebay_pool_requests_total{pool="shop"} 2"#,
        r#"forebay_origin_requests_total{pool="shop"} 4"#,
        r#"forebay_origin_failures_total{pool="shop"} 2"#,
        r#"forebay_origin_retries_total{pool="shop"} 2"#,
        r#"forebay_pool_errors_total{pool="shop"} 0"#,
        r#"forebay_pool_in_flight{pool="shop"} 0"#,
        r#"forebay_origin_latency_seconds_count{pool="shop"} 2"#,
    ] {
        assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
    }
}

#[test]
fn a_pool_exchange_counts_whatever_becomes_of_it() {
    let members = memberships(1);
    let pool = members.pool("shop").unwrap();
    let telemetry = Telemetry::new(0, Arc::new(Ledger::new(1, false)));
    let member = pool.view().serving[0].clone();
    let load = pool.load(0);
    let counts = || [load.requests.get(), load.rejects.get(), load.errors.get(), load.failures.get()];

    drop(telemetry.pool_started(&pool));
    assert_eq!(counts(), [1, 0, 0, 0], "the client went away before an origin was picked");
    let mut gone = telemetry.pool_started(&pool);
    gone.to(&member);
    assert_eq!((load.in_flight.get(), member.in_flight()), (1, 1));
    drop(gone);
    assert_eq!(counts(), [2, 0, 0, 0], "the client went away before the answer");
    assert_eq!((load.in_flight.get(), member.in_flight()), (0, 0));
    let mut timed_out = telemetry.pool_started(&pool);
    timed_out.to(&member);
    timed_out.rejected(&Reject::OriginTimeout { pool: "shop".into() });
    assert_eq!(counts(), [3, 0, 1, 1]);
    let mut shed = telemetry.pool_started(&pool);
    shed.to(&member);
    shed.answered(503);
    assert_eq!(counts(), [4, 1, 2, 1]);
    shed.rejected(&Reject::OriginBroken { pool: "shop".into(), detail: "reset".into(), reset: None });
    assert_eq!(counts(), [4, 1, 2, 2], "one request is one error, however it ends");
    telemetry.pool_started(&pool).rejected(&Reject::NoOrigin { pool: "shop".into(), detail: String::new() });
    assert_eq!(counts(), [5, 2, 2, 2]);
    telemetry.pool_started(&pool).rejected(&Reject::RequestBodyTooLarge);
    assert_eq!(counts(), [6, 2, 2, 2], "the client's own doing is no lack of capacity");
    assert_eq!((load.in_flight.get(), member.in_flight()), (0, 0));
}

/// Keeps the fields of every access line.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<BTreeMap<String, String>>>>);

struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl tracing::Subscriber for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "forebay::access"
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Fields(BTreeMap::new());
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn each_exchange_leaves_one_access_line_if_the_file_wants_them() {
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), || {
        let ledger = Arc::new(Ledger::new(1, true));
        let telemetry = Telemetry::new(0, ledger.clone());
        telemetry.outcome(&outcome(Some("cart"), 200));
        ledger.set_access(false);
        telemetry.outcome(&outcome(Some("cart"), 200));
        ledger.set_access(true);
        let detail = Some("plugin filter: CPU".to_owned());
        let fault = Outcome { reject: Some("plugin_fault"), detail, aborted: true, origin: None, ..outcome(None, 503) };
        telemetry.outcome(&fault);
    });
    let lines = lines.0.lock().unwrap();
    assert_eq!(lines.len(), 2, "none while they are off: {lines:?}");
    for (field, value) in [
        ("request_id", "id-1"),
        ("route", "cart"),
        ("pool", "shop"),
        ("origin", "127.0.0.1:9001"),
        ("remote", "127.0.0.1:5555"),
        ("method", "GET"),
        ("path", "/cart?id=1"),
        ("host", "shop.example"),
        ("version", "HTTP/1.1"),
        ("status", "200"),
        ("bytes_in", "10"),
        ("bytes_out", "100"),
        ("duration_ms", "1.5"),
        ("aborted", "false"),
    ] {
        assert_eq!(lines[0].get(field).map(String::as_str), Some(value), "{field} in {:?}", lines[0]);
    }
    assert!(!lines[0].contains_key("reject"), "what is not there is not written");
    assert_eq!((lines[1]["reject"].as_str(), lines[1]["detail"].as_str()), ("plugin_fault", "plugin filter: CPU"));
    assert_eq!(lines[1]["aborted"], "true");
    assert!(!lines[1].contains_key("route") && !lines[1].contains_key("origin"));
}
